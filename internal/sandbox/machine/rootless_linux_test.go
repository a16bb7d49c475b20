package machine_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"bake/internal/builtin"
	"bake/internal/need"
	"bake/internal/sandbox/machinetest"
)

// What tells the tests that they run without privileges, and with what.
const (
	rootless  = "BAKE_TEST_ROOTLESS"
	debianTar = "BAKE_TEST_DEBIAN_TAR"
)

// TestRootless runs some of this package's tests as another user, once with one
// id mapped and once with a range that newuidmap maps. Unpacking a Debian takes
// most of the time.
func TestRootless(t *testing.T) {
	need.Root(t)
	if testing.Short() {
		t.Skip("not in short mode")
	}
	t.Run("one id", func(t *testing.T) {
		again(t, "LetsIn/built-in|Reboots/built-in|AppliedOnce/built-in|Ports", "exec setpriv")
	})
	t.Run("a range of ids", func(t *testing.T) {
		need.Tool(t, "newuidmap")
		// /etc/subuid is another file for this one process only.
		again(t, "Reboots|AppliedOnce/built-in|Users/built-in", "mount --make-rprivate / && echo nobody:200000:65536 >ids && mount --bind ids /etc/subuid && mount --bind ids /etc/subgid && exec setpriv")
	})
}

func again(t *testing.T, run, setpriv string) {
	machinetest.Program(t)
	dir, err := os.MkdirTemp("", "rootless")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	program := os.Getenv(builtin.BinaryVariable)
	if program == "" {
		program = "/proc/self/exe"
	}
	for from, name := range map[string]string{"/proc/self/exe": "self.test", program: "program"} {
		copyFile(t, from, filepath.Join(dir, name))
	}
	archive := filepath.Join(dir, "debian.tar")
	if out, err := exec.Command(need.Tool(t, "tar"), "-C", machinetest.Debian(t), "--one-file-system", "-cf", archive, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(need.Tool(t, "unshare"), "-m", "sh", "-ec", setpriv+" --reuid 65534 --regid 65534 --clear-groups ./self.test -test.v -test.run '"+run+"'")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), rootless+"=1", debianTar+"="+archive, "TMPDIR="+dir, "HOME="+dir, "BAKE_REQUIRE_ALL=", builtin.BinaryVariable+"="+filepath.Join(dir, "program"))
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
}
