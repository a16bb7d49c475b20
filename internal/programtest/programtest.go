// Package programtest builds programs of this module for tests that run them.
package programtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// Build returns the path of the static program of a package ("bake/cmd/bake"),
// alone in its folder and under its name. It lies in the user's cache, so that
// it is linked when it has changed only, and is no test's to remove or change.
func Build(pkg string) (path string, err error) {
	dir, err := folder()
	if err != nil {
		return "", err
	}
	// Tests of several packages run at once: the first one links, the others find it done.
	busy := flock.New(filepath.Join(dir, "lock"))
	if err := busy.Lock(); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, busy.Unlock()) }()
	path = filepath.Join(dir, strings.ReplaceAll(pkg, "/", "-"), filepath.Base(pkg))
	// Without -buildvcs a commit that does not touch it would make it another;
	// linking the debugger's tables takes most of the time.
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("building %s: %w", pkg, err), errors.New(string(out)))
	}
	return path, nil
}

// folder is where this checkout's programs are: another one must not replace
// what this test uses.
func folder() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "bake").Output()
	if err != nil {
		return "", fmt.Errorf("looking for bake's source: %w", err)
	}
	checkout := strings.ReplaceAll(strings.Trim(strings.TrimSpace(string(module)), "/"), "/", "-")
	dir := filepath.Join(cache, "bake-programtest", checkout)
	return dir, os.MkdirAll(dir, 0o755)
}
