package rootfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bake/internal/need"
	"bake/internal/rootfs"
)

func TestLayersAppearInAContainerThatRuns(t *testing.T) {
	need.Root(t)
	b := newBox(t)
	c := b.start()
	for _, d := range []string{"data/lower", "data/upper", "data/work", "data/spot"} {
		if err := os.MkdirAll(filepath.Join(b.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.write("data/lower/old", "kept\n")
	if _, err := sh(c, "mkdir /data /again"); err != nil {
		t.Fatal(err)
	}
	if err := c.Mount(t.Context(), rootfs.Overlay{Base: b.dir, Lower: []string{"data/lower"}, Upper: "data/upper", Work: "data/work", Spot: "data/spot"}, "/data"); err != nil {
		t.Fatal(err)
	}
	if err := c.Bind(t.Context(), "/data", "/again"); err != nil {
		t.Fatal(err)
	}
	if got, err := sh(c, "cat /data/old; echo new >/data/new; cat /again/new"); err != nil || got != "kept\nnew\n" {
		t.Errorf("in the container: %q, %v", got, err)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), b.dir) {
		t.Errorf("this machine sees the mount: %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(b.dir, "data/upper/new")); err != nil || string(data) != "new\n" {
		t.Errorf("in the upper layer: %q, %v", data, err)
	}
	if err := c.Unmount(t.Context(), "/nowhere", false); err == nil {
		t.Error("what is not mounted was unmounted")
	}
	for _, at := range []string{"/again", "/data"} {
		if err := c.Unmount(t.Context(), at, false); err != nil {
			t.Error(err)
		}
	}
	if got, err := sh(c, "ls /data /again | grep -c ^[a-z] || true"); err != nil || got != "0\n" {
		t.Errorf("after unmounting: %q, %v", got, err)
	}
}
