package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bake/builder"
	"bake/builder/journal"
	"bake/internal/dockertest"
	"bake/internal/need"
)

// threeBuilds is a graph of three builds with steps, tests and outputs, on a
// base that is a tarball: this test binary is not static, so it cannot be the
// built-in base.
const threeBuilds = `
name: graph
builds:
  base:
    source: {rootfs: base.tar}
    steps:
      - run: echo one >>/log
      - run: echo two >>/log
  web:
    source: {build: base}
    steps:
      - run: echo three >>/log
    tests:
      - run: '[ "$(cat /log | tr "\n" " ")" = "one two three " ]'
    outputs:
      - archive: {path: dist/web.tar}
  db:
    source: {build: base}
    steps:
      - run: echo four >>/log
    tests:
      - run: '[ "$(cat /log | tr "\n" " ")" = "one two four " ]'
    outputs:
      - archive: {path: dist/db.tar}
`

// busyboxTar writes a root file system of busybox and a few links.
func busyboxTar(t *testing.T, to string) {
	t.Helper()
	busybox := need.Tool(t, "busybox")
	root := t.TempDir()
	for _, dir := range []string{"bin", "etc", "tmp", "proc", "dev", "sys", "root"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script := fmt.Sprintf("cp %s %s/bin/busybox && cd %s/bin && for a in sh cat tr echo sleep head mkdir ls rm printf test [ id env grep chmod chown ln tar touch kill; do ln -s busybox $a; done; echo root:x:0:0::/root:/bin/sh >%s/etc/passwd; tar -C %s -cf %s .", busybox, root, root, root, root, to)
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("making a root file system: %v\n%s", err, out)
	}
}

func TestKillAtEveryWriteEmbedded(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		need.Tool(t, "newuidmap")
	}
	killAtEveryWrite(t, "embedded", nil, noContainers)
}

// noContainers are those of a world without a Docker engine.
func noContainers(*testing.T, killWorld) []string { return nil }

func TestKillAtEveryWriteDocker(t *testing.T) {
	t.Parallel()
	host := dockertest.Start(t)
	env := []string{"DOCKER_HOST=" + host}
	containers := func(t *testing.T) []string {
		cmd := exec.Command("docker", "ps", "-a", "--filter", "label=bake.run", "--format", `{{.ID}} {{.Label "bake.run"}}`)
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return slices.Collect(strings.Lines(string(out)))
	}
	t.Cleanup(func() { // of any run, when all are over
		if left := containers(t); len(left) > 0 {
			t.Errorf("left behind: containers %q", left)
		}
	})
	killAtEveryWrite(t, "docker", env, func(t *testing.T, w killWorld) []string {
		return slices.DeleteFunc(containers(t), func(line string) bool {
			_, run, _ := strings.Cut(strings.TrimSpace(line), " ")
			_, err := os.Stat(filepath.Join(w.dir, runsDir, run))
			return err != nil
		})
	})
}

// killAtEveryWrite kills bake at each write of the journal of a run of three
// builds: before the write and after it in turn. Then the run is resumed, or
// cleaned, in turn. Nothing may be left, and every image is there once.
func killAtEveryWrite(t *testing.T, engine string, env []string, containers func(*testing.T, killWorld) []string) {
	w := newKillWorld(t, engine, env)
	w.bake(t, 0, "build", "graph.yaml", "--engine", engine)
	writes := w.writes(t)
	t.Logf("%d writes", writes)
	if writes < 20 {
		t.Fatalf("a run of three builds wrote only %d entries", writes)
	}
	for n := 1; n <= writes; n++ {
		at := 2*n - n%2 // before odd writes, after even ones
		cleaned := n%3 == 0
		t.Run(fmt.Sprintf("write %d", n), func(t *testing.T) {
			// Who cleans removes what any killed run left in a Docker engine:
			// these come first, alone.
			if !cleaned || engine == "embedded" {
				t.Parallel()
			}
			w := newKillWorld(t, engine, env)
			if !w.bake(t, at, "build", "graph.yaml", "--engine", engine) {
				return // the releases in the background came in another order, and this run wrote less
			}
			if cleaned {
				w.bake(t, 0, "clean", "--engine", engine)
				w.wantNothingLeft(t, containers)
				w.bake(t, 0, "build", "graph.yaml", "--engine", engine)
			} else {
				w.bake(t, 0, "resume")
			}
			w.wantNothingLeft(t, containers)
			for _, name := range []string{"web", "db"} {
				if _, err := os.Stat(filepath.Join(w.dir, "dist", name+".tar")); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A killWorld is a folder with a template and a cache of its own.
type killWorld struct {
	dir string
	env []string
}

func newKillWorld(t *testing.T, engine string, env []string) killWorld {
	t.Helper()
	w := killWorld{dir: t.TempDir()}
	busyboxTar(t, filepath.Join(w.dir, "base.tar"))
	// A comment makes the keys of this world its own: a Docker engine is shared by all.
	text := strings.ReplaceAll(threeBuilds, "- run: echo one >>/log", "- run: 'echo one >>/log # "+w.dir+"'")
	if err := os.WriteFile(filepath.Join(w.dir, "graph.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env = append(os.Environ(), "BAKE_CACHE_DIR="+filepath.Join(w.dir, "cache"), "NO_COLOR=1")
	w.env = append(w.env, env...)
	return w
}

// bake runs bake, killed at a write if at is not 0, and reports whether it was killed.
func (w killWorld) bake(t *testing.T, at int, args ...string) bool {
	t.Helper()
	cmd := exec.Command("bake", args...)
	cmd.Dir, cmd.Env = w.dir, append(w.env, fmt.Sprintf("%s=%d", killAt, at))
	out, err := cmd.CombinedOutput()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	killed := status.Signaled() && status.Signal() == syscall.SIGKILL
	if err != nil && (!killed || at == 0) {
		t.Fatalf("bake %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return killed
}

func (w killWorld) writes(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, runsDir, "*", "journal.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatalf("journals %v: %v", files, err)
	}
	entries, err := journal.Read(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if last := entries[len(entries)-1]; last.Kind != builder.Ended {
		t.Fatalf("the journal ends with %q", last.Kind)
	}
	return len(entries)
}

// wantNothingLeft looks for mounts in any namespace, processes and folders
// that belong to this world.
func (w killWorld) wantNothingLeft(t *testing.T, containers func(*testing.T, killWorld) []string) {
	t.Helper()
	for _, left := range containers(t, w) {
		t.Errorf("left behind: container %s", left)
	}
	infos, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range infos {
		b, err := os.ReadFile(path)
		if err == nil && bytes.Contains(b, []byte(w.dir)) {
			cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			t.Errorf("left behind: a mount below %s in process %s (%q)", w.dir, filepath.Base(filepath.Dir(path)), cmdline)
		}
	}
	for _, pattern := range []string{"cache/store/*/work/*", "cache/store/*/tmp/*", ".bake/runs/*/work"} {
		found, err := filepath.Glob(filepath.Join(w.dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			t.Errorf("left behind: %s", f)
		}
	}
}
