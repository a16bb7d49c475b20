package ec2_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bake/internal/sandbox/machinetest"
	"bake/internal/sandbox/sandboxtest"
)

func TestTheAWSCLIMakesAnImageFromTheFirstCommandToTheLast(t *testing.T) {
	machinetest.Program(t)
	s := sandboxtest.Start(t)
	aws := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(sandboxtest.CLI(t, s, "eu-west-1", append([]string{"ec2", "--output", "text"}, args...)...))
	}
	public := filepath.Join(t.TempDir(), "key.pub")
	if err := os.WriteFile(public, []byte(ed25519Key), 0o600); err != nil {
		t.Fatal(err)
	}
	image := aws("describe-images", "--owners", "amazon", "--filters", "Name=name,Values=al2023-ami-2023*-x86_64", "--query", "sort_by(Images,&CreationDate)[-1].ImageId")
	aws("import-key-pair", "--key-name", "k", "--public-key-material", "fileb://"+public)
	group := aws("create-security-group", "--group-name", "g", "--description", "d", "--query", "GroupId", "--tag-specifications", "ResourceType=security-group,Tags=[{Key=a,Value=b}]")
	aws("authorize-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port", "22", "--cidr", "127.0.0.1/32")
	instance := aws("run-instances", "--image-id", image, "--instance-type", "t3.micro", "--key-name", "k", "--security-group-ids", group, "--user-data", "#!/bin/sh\ntrue",
		"--tag-specifications", "ResourceType=instance,Tags=[{Key=Name,Value=x}]", "--query", "Instances[0].InstanceId", "--block-device-mappings", "DeviceName=/dev/xvda,Ebs={VolumeSize=9}")
	until := func(state string) { // the waiters ask every 15 s
		t.Helper()
		got := ""
		for deadline := time.Now().Add(20 * time.Second); got != state; {
			if got = aws("describe-instances", "--instance-ids", instance, "--query", "Reservations[0].Instances[0].State.Name"); time.Now().After(deadline) {
				t.Fatalf("it is %s, not %s", got, state)
			}
		}
	}
	until("running")
	if got := aws("describe-instances", "--filters", "Name=tag:Name,Values=x", "--query", "Reservations[].Instances[].[State.Name,KeyName,SecurityGroups[0].GroupName]"); got != "running\tk\tg" {
		t.Errorf("described as %q", got)
	}
	aws("stop-instances", "--instance-ids", instance)
	until("stopped")
	made := aws("create-image", "--instance-id", instance, "--name", "cli", "--query", "ImageId")
	aws("wait", "image-available", "--image-ids", made)
	aws("modify-image-attribute", "--image-id", made, "--launch-permission", "Add=[{UserId=123456789012}]")
	if got := aws("describe-image-attribute", "--image-id", made, "--attribute", "launchPermission", "--query", "LaunchPermissions[].UserId"); got != "123456789012" {
		t.Errorf("shared with %q", got)
	}
	if got := aws("describe-images", "--image-ids", made, "--query", "Images[0].BlockDeviceMappings[0].Ebs.VolumeSize"); got != "9" {
		t.Errorf("the image's disk has %s GiB", got)
	}
	aws("terminate-instances", "--instance-ids", instance)
	until("terminated")
	aws("deregister-image", "--image-id", made)
	if _, stderr, err := sandboxtest.TryCLI(t, s, "eu-west-1", "ec2", "describe-instances", "--instance-ids", "i-1"); err == nil || !strings.Contains(stderr, "InvalidInstanceID.Malformed") {
		t.Errorf("a wrong id: %v, %s", err, stderr)
	}
	var empty struct{ Images []any }
	if err := json.Unmarshal([]byte(sandboxtest.CLI(t, s, "eu-west-1", "ec2", "describe-images", "--owners", "self")), &empty); err != nil || empty.Images == nil || len(empty.Images) != 0 {
		t.Errorf("an empty list: %v, %v", empty, err)
	}
}
