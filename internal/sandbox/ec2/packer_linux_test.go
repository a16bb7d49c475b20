package ec2_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/internal/need"
	"bake/internal/sandbox"
	"bake/internal/sandbox/machinetest"
	"bake/internal/sandbox/sandboxtest"
)

// packer runs a build of a template against the sandbox.
func packer(t *testing.T, s *sandbox.Sandbox, builder map[string]any, provisioners ...map[string]any) (string, error) {
	t.Helper()
	for k, v := range map[string]any{"type": "amazon-ebs", "region": "us-east-1", "custom_endpoint_ec2": s.URL, "skip_metadata_api_check": true,
		"ssh_username": "ec2-user", "ssh_timeout": "60s"} {
		if builder[k] == nil {
			builder[k] = v
		}
	}
	data, err := json.Marshal(map[string]any{"builders": []any{builder}, "provisioners": provisioners})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "template.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), need.Tool(t, "packer"), "build", "-color=false", file)
	cmd.Env = append(sandboxtest.Env(s, "us-east-1"), "PACKER_LOG="+os.Getenv("PACKER_LOG"), "CHECKPOINT_DISABLE=1", "AWS_POLL_DELAY_SECONDS=1", "AWS_MAX_ATTEMPTS=60", "PACKER_CONFIG_DIR="+t.TempDir(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestPackerBuildsAnAMIWithShellAndFileProvisioners(t *testing.T) {
	machinetest.Program(t)
	s := sandboxtest.Start(t)
	local := filepath.Join(t.TempDir(), "page")
	if err := os.WriteFile(local, []byte("hello from packer\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := packer(t, s, map[string]any{
		"ami_name": "from-packer", "ami_description": "a test", "instance_type": "t3.micro", "ami_users": []string{"123456789012"}, "ami_regions": []string{"us-east-1", "eu-west-1"},
		"source_ami_filter": map[string]any{"owners": []string{"amazon"}, "most_recent": true, "filters": map[string]any{"name": "al2023-ami-2023.*-x86_64", "root-device-type": "ebs"}},
		"tags":              map[string]any{"app": "web", "base": "{{ .SourceAMIName }}"}, "run_tags": map[string]any{"role": "builder"},
		"launch_block_device_mappings": []any{map[string]any{"device_name": "/dev/xvda", "volume_size": 9, "volume_type": "gp2", "delete_on_termination": true}},
	}, map[string]any{"type": "shell", "inline": []string{"echo baked | sudo tee /baked", "id"}},
		map[string]any{"type": "file", "source": local, "destination": "/page"})
	if err != nil {
		for _, c := range s.Faults.Calls() {
			t.Logf("%s %s %s", c.Time.Format("05.000"), c.Action, c.Code)
		}
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(out, "AMIs were created") {
		t.Errorf("packer says\n%s", out)
	}
	for _, region := range []string{"us-east-1", "eu-west-1"} {
		c := sdk.NewFromConfig(sandboxtest.Config(s, region))
		images, err := c.DescribeImages(t.Context(), &sdk.DescribeImagesInput{Owners: []string{"self"}, Filters: []types.Filter{{Name: aws.String("tag:app"), Values: []string{"web"}}}})
		want(t, err, "")
		if len(images.Images) != 1 || *images.Images[0].Name != "from-packer" || *images.Images[0].BlockDeviceMappings[0].Ebs.VolumeSize != 9 {
			t.Fatalf("%s: %+v", region, images.Images)
		}
		p, err := c.DescribeImageAttribute(t.Context(), &sdk.DescribeImageAttributeInput{ImageId: images.Images[0].ImageId, Attribute: "launchPermission"})
		want(t, err, "")
		if len(p.LaunchPermissions) != 1 || *p.LaunchPermissions[0].UserId != "123456789012" {
			t.Errorf("%s: shared with %+v", region, p.LaunchPermissions)
		}
		nothingLeft(t, c)
	}
}

// nothingLeft fails the test if a builder, its key or its group is there.
func nothingLeft(t *testing.T, c *sdk.Client) {
	t.Helper()
	instances, err := c.DescribeInstances(t.Context(), &sdk.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}}}})
	want(t, err, "")
	keys, err := c.DescribeKeyPairs(t.Context(), &sdk.DescribeKeyPairsInput{})
	want(t, err, "")
	groups, err := c.DescribeSecurityGroups(t.Context(), &sdk.DescribeSecurityGroupsInput{})
	want(t, err, "")
	if len(instances.Reservations)+len(keys.KeyPairs) != 0 || len(groups.SecurityGroups) != 1 {
		t.Errorf("left: %d instances, %d keys, %d groups", len(instances.Reservations), len(keys.KeyPairs), len(groups.SecurityGroups))
	}
}
