package ec2_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// The volume of a surrogate is formatted, mounted and filled by the template's
// own commands, and becomes the root of an image that can be started.
func TestPackerMakesAnAMIOfASurrogateVolume(t *testing.T) {
	need.Root(t)
	machinetest.Program(t)
	s := sandboxtest.Start(t)
	out, err := packer(t, s, map[string]any{
		"type": "amazon-ebssurrogate", "ami_name": "surrogate", "ami_virtualization_type": "hvm", "instance_type": "t3.micro", "ssh_interface": "private_ip", "ena_support": true,
		"source_ami_filter":            map[string]any{"owners": []string{"amazon"}, "most_recent": true, "filters": map[string]any{"name": "al2023-ami-2023.*-x86_64"}},
		"ami_root_device":              map[string]any{"source_device_name": "/dev/xvdf", "device_name": "/dev/xvda", "delete_on_termination": true, "volume_size": 2, "volume_type": "gp2"},
		"launch_block_device_mappings": []any{map[string]any{"device_name": "/dev/xvdf", "volume_size": 2, "volume_type": "gp2", "delete_on_termination": true}},
	}, map[string]any{"type": "shell", "inline": []string{"sudo mkfs.ext4 /dev/xvdf", "sudo mkdir /new", "sudo mount /dev/xvdf /new",
		"cd / && sudo tar -c -f - bin etc home root usr var | sudo tar -x -f - -C /new", "echo surrogate | sudo tee /new/made", "sudo umount /new"}})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := sdk.NewFromConfig(sandboxtest.Config(s, "us-east-1"))
	nothingLeft(t, c)
	images, err := c.DescribeImages(t.Context(), &sdk.DescribeImagesInput{Owners: []string{"self"}})
	want(t, err, "")
	script := base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\necho it is a $(cat /made) >/dev/console\n"))
	run, err := c.RunInstances(t.Context(), &sdk.RunInstancesInput{ImageId: images.Images[0].ImageId, InstanceType: types.InstanceTypeT3Micro, MinCount: aws.Int32(1), MaxCount: aws.Int32(1), UserData: &script})
	want(t, err, "")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		console, err := c.GetConsoleOutput(t.Context(), &sdk.GetConsoleOutputInput{InstanceId: run.Instances[0].InstanceId, Latest: aws.Bool(true)})
		want(t, err, "")
		text, _ := base64.StdEncoding.DecodeString(aws.ToString(console.Output))
		if strings.Contains(string(text), "it is a surrogate") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not start: %+v\n%s", describe(t, c, *run.Instances[0].InstanceId).StateReason, text)
		}
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
