// Package machinetest gives tests what machines are made of: a program that
// runs inside them, and bases.
package machinetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/builtin"
	"bake/internal/need"
	"bake/internal/programtest"
)

// Program makes sure that machines run a program of bake's: a test's own binary
// is not the shell and the utilities of the built-in base, and may be linked to
// C libraries. It sets builtin.BinaryVariable for the whole process, once.
func Program(t testing.TB) {
	t.Helper()
	if os.Getenv(builtin.BinaryVariable) != "" {
		return
	}
	path, err := buildProgram()
	if err != nil {
		t.Fatal(err)
	}
	os.Setenv(builtin.BinaryVariable, path)
}

// buildProgram returns the path of the program.
var buildProgram = sync.OnceValues(func() (string, error) {
	return programtest.Build("bake/internal/sandbox/machinetest/program")
})

// Builtin is bake's built-in base.
func Builtin(t testing.TB) v1.Image {
	t.Helper()
	Program(t)
	img, _, err := builtin.Image(context.Background(), builder.Platform{OS: "linux", Arch: runtime.GOARCH})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// debianPackages are what a Debian AMI has that a minimal root has not.
const debianPackages = "openssh-server,sudo,ca-certificates"

// Debian is the folder of a Debian root with OpenSSH and sudo, made once and
// kept in the user's cache. It must not be changed: use it as a fixed base.
func Debian(t testing.TB) string {
	t.Helper()
	need.Root(t)
	tool := need.Tool(t, "mmdebstrap")
	dir, err := debian(tool)
	if err != nil {
		need.Missing(t, "no Debian: %v", err)
	}
	return dir
}

func debian(tool string) (string, error) {
	debianOnce.Lock()
	defer debianOnce.Unlock()
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "bake-machinetest", "debian-bookworm-1")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "debian-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command(tool, "--variant=apt", "--include="+debianPackages, "--quiet", "bookworm", tmp)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mmdebstrap: %w: %s", err, out)
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return dir, nil
}

// debianOnce is held by who makes the root.
var debianOnce sync.Mutex
