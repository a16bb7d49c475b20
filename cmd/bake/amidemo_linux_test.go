package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bake/internal/need"
)

// TestTheAMIDemo runs `make demo-ami` as on a machine that has nothing but a shell.
func TestTheAMIDemo(t *testing.T) {
	t.Parallel()
	need.Root(t)
	bare := t.TempDir() // of the programs that the script calls
	for _, tool := range []string{"sh", "sed", "grep", "id", "sleep", "mkdir", "dirname", "cat", "curl"} {
		if err := os.Symlink(need.Tool(t, tool), filepath.Join(bare, tool)); err != nil {
			t.Fatal(err)
		}
	}
	amiDemo(t, bare, "the base AMI is bake's built-in one")
}

// TestTheAMIDemoFromPackages runs it where there is mmdebstrap: from a Debian
// made of packages.
func TestTheAMIDemoFromPackages(t *testing.T) {
	t.Parallel()
	need.Root(t)
	need.Tool(t, "mmdebstrap")
	amiDemo(t, os.Getenv("PATH"), "Debian, made from packages")
}

// amiDemo runs the demo with a PATH, and looks for what it says of its base and
// of all that it does.
func amiDemo(t *testing.T, path, base string) {
	t.Helper()
	bin, err := staticBake()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(repository, "testdata", "demo-ami", "run"), bin, t.TempDir())
	cmd.Env = append(os.Environ(), "PATH="+path, "BAKE_CACHE_DIR="+t.TempDir(), "NO_COLOR=1", "AWS_EC2_METADATA_DISABLED=true")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := string(out)
	_, again, _ := strings.Cut(text, "== again:")
	again, without, _ := strings.Cut(again, "== without the account:")
	for _, w := range []struct{ part, want string }{
		{text, base}, {text, "may be launched by 222233334444"}, {text, "us-east-1: copied ami-"}, {text, "<h1>Baked into an AMI</h1>"},
		{again, "exists: ami-"}, {again, "launch_permissions: {accounts: ["}, {again, "ami web-1.0.0: unchanged"}, {again, "instance web: unchanged"},
		{without, "may no longer be launched by 222233334444"}, {without, "instance web: unchanged"},
	} {
		if !strings.Contains(w.part, w.want) {
			t.Errorf("%q is not told in\n%s", w.want, w.part)
		}
	}
	if strings.Contains(again, "making AMI") || strings.Contains(again, "started instance") {
		t.Errorf("something was built again:\n%s", again)
	}
}
