package ec2_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"

	"bake/internal/need"
	"bake/internal/sandbox/machinetest"
	"bake/internal/sandbox/sandboxtest"
)

func TestAnsibleMakesEverythingOnceAndFindsNothingToChangeTheSecondTime(t *testing.T) {
	need.Tool(t, "ansible-playbook")
	python := need.Tool(t, "/usr/bin/python3")
	if out, err := exec.Command(python, "-c", "import boto3, ansible_collections.amazon.aws").CombinedOutput(); err != nil {
		need.Missing(t, "no amazon.aws of Ansible's, or no boto3: %s", out)
	}
	machinetest.Program(t)
	s := sandboxtest.Start(t)
	client := sdk.NewFromConfig(sandboxtest.Config(s, "us-east-1"))
	home := t.TempDir()
	play := func() string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "ansible-playbook", "-i", "localhost,", "-c", "local", "-e", "image="+*amazonLinux(t, client).ImageId, "-e", "public_key='"+strings.TrimSpace(ed25519Key)+"'", "testdata/ansible.yaml")
		cmd.Env = append(os.Environ(), "HOME="+home, "ANSIBLE_HOME="+home, "ANSIBLE_LOCAL_TEMP="+home, "ANSIBLE_NOCOLOR=1", "ANSIBLE_FORCE_COLOR=0", "ANSIBLE_LOCALHOST_WARNING=0",
			"ANSIBLE_PYTHON_INTERPRETER="+python, "AWS_URL="+s.URL, "AWS_ACCESS_KEY_ID=AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret", "AWS_EC2_METADATA_DISABLED=true")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		return regexp.MustCompile(`ok=\d+ +changed=\d+`).FindString(string(out))
	}
	if got := play(); strings.Join(strings.Fields(got), " ") != "ok=10 changed=9" {
		t.Errorf("the first run: %s", got)
	}
	if got := play(); strings.Join(strings.Fields(got), " ") != "ok=9 changed=0" {
		t.Errorf("the second run: %s", got)
	}
}
