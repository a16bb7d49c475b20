package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
)

// workspaceKind is the kind of resource that a machine is.
const workspaceKind = "workspace"

// The keys of Machine.Detail.
const (
	detailBase = "base" // config digest of the image below the snapshots
	detailRef  = "ref"  // name and digest of the base, if it came from a registry
	detailTest = "test" // the image's own program runs in it
)

// A workspace is a machine's directory as others find it: what it belongs to.
// What its changes stand on is in the name of the directory that takes them.
type workspace struct {
	Run      builder.RunID    `json:"run"`
	Resource builder.Resource `json:"resource"`
	Base     string           `json:"base"`
}

func (s *store) workspace(id string, parts ...string) string {
	return s.path(append([]string{"work", id}, parts...)...)
}

// Open makes a machine over a base, or over the artifact to test.
func (e *Engine) Open(ctx context.Context, sc *builder.Scope, from builder.Opening, base func(ctx context.Context) (v1.Image, error), ref string) (builder.Machine, error) {
	s, err := e.store(ctx)
	if err != nil {
		return builder.Machine{}, err
	}
	if from.Test { // a build may get by without running a program
		if err := canRun(from.Platform); err != nil {
			return builder.Machine{}, err
		}
	}
	image, _, err := e.image(ctx, s, sc, from, base)
	if err != nil {
		return builder.Machine{}, err
	}
	r, err := sc.Create(ctx, builder.Resource{Kind: workspaceKind, Name: "workspace", Where: s.dir}, func(ctx context.Context, r builder.Resource) (string, error) {
		id := workspaceID(r.Token)
		r.ID = id
		return id, s.makeWorkspace(ctx, id, workspace{Run: sc.Run, Resource: r, Base: image})
	})
	if err != nil {
		return builder.Machine{}, err
	}
	m := builder.Machine{ID: r.ID, Where: s.dir, Platform: from.Platform, Detail: map[string]string{detailBase: image}}
	if ref != "" {
		m.Detail[detailRef] = ref
	}
	if from.Base != nil && from.Base.Image != nil && from.Base.Image.Base != "" && ref == "" {
		m.Detail[detailRef] = from.Base.Image.Base
	}
	if from.Test {
		m.Detail[detailTest] = "true"
	}
	return m, nil
}

// workspaceID is made of the token, so that a lost workspace is found by it.
func workspaceID(token string) string { return address("workspace", token)[:16] }

// makeWorkspace leaves a whole workspace or none.
func (s *store) makeWorkspace(ctx context.Context, id string, w workspace) error {
	tmp := s.temp()
	if err := os.Mkdir(tmp, 0o711); err != nil {
		return err
	}
	data, err := json.Marshal(w)
	if err == nil {
		err = os.WriteFile(filepath.Join(tmp, "machine.json"), data, 0o600)
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(tmp, "root"), 0o755)
	}
	if err == nil {
		err = os.Rename(tmp, s.workspace(id))
	}
	if err != nil {
		os.RemoveAll(tmp)
	}
	return err
}

func (s *store) readWorkspace(id string) (workspace, error) {
	var w workspace
	data, err := os.ReadFile(s.workspace(id, "machine.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return w, fmt.Errorf("workspace %s: %w", id, builder.ErrNotFound)
	}
	if err == nil {
		err = json.Unmarshal(data, &w)
	}
	return w, err
}

// ensureWorkspace returns a machine's workspace. One that is gone, because a
// release was cut off before the journal knew, is made again: all that counts
// of a machine is its base and its snapshots.
func (s *store) ensureWorkspace(ctx context.Context, sc *builder.Scope, m builder.Machine) (workspace, error) {
	w, err := s.readWorkspace(m.ID)
	if !errors.Is(err, builder.ErrNotFound) {
		return w, err
	}
	w = workspace{Run: sc.Run, Resource: builder.Resource{Kind: workspaceKind, Name: "workspace", Where: s.dir, ID: m.ID}, Base: m.Detail[detailBase]}
	return w, s.makeWorkspace(ctx, m.ID, w)
}

// upperPrefix begins the name of the directory that takes changes; the
// snapshot that they stand on follows.
const upperPrefix = "upper-"

// upper is the directory that takes a machine's changes. After a crash there
// may be one more, with what was done on another snapshot.
func (s *store) upper(m builder.Machine) string { return s.workspace(m.ID, upperPrefix+m.Snapshot) }

// prepareUpper makes sure that it is there.
func (s *store) prepareUpper(m builder.Machine) error {
	err := os.Mkdir(s.upper(m), 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// A PlatformError says that this machine cannot run programs of a platform.
type PlatformError struct{ Platform builder.Platform }

func (e *PlatformError) Error() string {
	return fmt.Sprintf("platform %s: this machine (linux/%s) cannot run its programs", e.Platform, runtime.GOARCH)
}

// Hint says what would let it.
func (e *PlatformError) Hint() string {
	return "register an emulator with binfmt_misc (Debian package qemu-user-static)"
}

// canRun reports whether programs of a platform run here, by themselves or
// emulated (binfmt_misc with its F flag, so that the emulator works in any root).
func canRun(p builder.Platform) error {
	if p.OS != "" && p.OS != "linux" {
		return &PlatformError{p}
	}
	native := map[string][]string{"amd64": {"386"}, "arm64": {"arm"}}[runtime.GOARCH]
	if p.Arch == "" || p.Arch == runtime.GOARCH {
		return nil
	}
	for _, a := range native {
		if a == p.Arch {
			return nil
		}
	}
	name := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i386"}[p.Arch]
	if name == "" {
		name = p.Arch
	}
	data, err := os.ReadFile("/proc/sys/fs/binfmt_misc/qemu-" + name)
	if err == nil && strings.HasPrefix(string(data), "enabled") {
		return nil
	}
	return &PlatformError{p}
}

// Cleaners returns what removes the engine's resources, by kind.
func (e *Engine) Cleaners() map[string]builder.Cleaner {
	return map[string]builder.Cleaner{workspaceKind: cleaner{e}}
}

// A cleaner removes workspaces. It implements builder.Sweeper.
type cleaner struct{ engine *Engine }

// Find looks for the workspace that was made with r.Token.
func (c cleaner) Find(ctx context.Context, r builder.Resource) (string, error) {
	if !c.engine.exists() {
		return "", builder.ErrNotFound
	}
	s, err := c.engine.store(ctx)
	if err != nil {
		return "", err
	}
	id := workspaceID(r.Token)
	if !exists(s.workspace(id)) {
		return "", builder.ErrNotFound
	}
	return id, nil
}

// Delete ends what still runs in the workspace and removes it.
func (c cleaner) Delete(ctx context.Context, r builder.Resource) error {
	if !c.engine.exists() {
		return nil
	}
	s, err := c.engine.store(ctx)
	if err != nil {
		return err
	}
	id := r.ID
	if id == "" {
		id = workspaceID(r.Token)
	}
	if id != filepath.Base(id) {
		return fmt.Errorf("workspace %q: not the name of one", id)
	}
	s.endProcess(id)
	return s.remove(ctx, s.workspace(id))
}

// Sweep lists workspaces of runs that are over.
func (c cleaner) Sweep(ctx context.Context, alive func(builder.RunID) bool) ([]builder.Resource, error) {
	if !c.engine.exists() {
		return nil, nil
	}
	s, err := c.engine.store(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.path("work"))
	if err != nil {
		return nil, err
	}
	var left []builder.Resource
	for _, entry := range entries {
		w, err := s.readWorkspace(entry.Name())
		if err != nil {
			continue // being made or removed
		}
		if !alive(w.Run) {
			left = append(left, w.Resource)
		}
	}
	return left, nil
}

// noteProcess writes down which process runs in a workspace. When bake dies it
// dies by itself; this is for a release while bake lives. The file is written
// over in its full length: one that is cut off and closed has the file system
// write it to the disk at once.
func (s *store) noteProcess(id string, pid int) error {
	f, err := os.OpenFile(s.workspace(id, "pid"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "%-10d %-20s", pid, startOf(pid))
	return err
}

// endProcess ends the process that was noted, if it is still that one.
func (s *store) endProcess(id string) {
	data, err := os.ReadFile(s.workspace(id, "pid"))
	if err != nil {
		return
	}
	f := strings.Fields(string(data))
	if len(f) != 2 {
		return
	}
	pid, err := strconv.Atoi(f[0])
	if err != nil || pid <= 1 || startOf(pid) != f[1] {
		return
	}
	if p, err := os.FindProcess(pid); err == nil {
		p.Signal(syscall.SIGKILL)
	}
}

// startOf returns when a process started, in ticks since boot, which with its
// pid is what it is (proc(5): the 22nd field of stat); empty if there is none.
func startOf(pid int) string {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(data[strings.LastIndexByte(string(data), ')')+1:]), " ")
	f := strings.Fields(rest)
	if len(f) < 20 {
		return ""
	}
	return f[19]
}
