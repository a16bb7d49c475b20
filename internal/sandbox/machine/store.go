package machine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bake/internal/lazyregexp"
	"bake/internal/rootfs"
)

// The folders of a store. Layers have short names, since overlayfs has little
// room for the names of many (see rootfs.Config.Lower).
const (
	layersDir    = "l"         // one folder per layer
	disksDir     = "disks"     // DISK/record.json, DISK/upper, DISK/work, DISK/root
	snapshotsDir = "snapshots" // SNAPSHOT.json
	tempDir      = "tmp"       // what is being made; emptied when a store is opened
	emptyDir     = "empty"     // the lowest layer of what has no other
)

// A stack is a disk or a snapshot: names of layers, top first. A name is that
// of a folder in layersDir, or the absolute path of a base that is used where it is.
type stack struct {
	Layers []string `json:"layers"`
	// Filesystem is what mkfs made on it; nil on a root, and on what is not formatted.
	Filesystem *Filesystem `json:"filesystem,omitempty"`
}

// A store keeps disks as stacks of layers. A layer never changes; it is removed
// with the last stack that names it. Records are written whole, after what they name.
type store struct {
	dir  string
	host *rootfs.Host
}

// validID is what disks and snapshots may be called: they become names of files.
var validID = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

func checkID(id string) error {
	if !validID.MatchString(id) {
		return fmt.Errorf("disk or snapshot %q: not an id", id)
	}
	return nil
}

func openStore(ctx context.Context, dir string, host *rootfs.Host) (*store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &store{dir: dir, host: host}
	if err := host.Remove(ctx, s.path(tempDir)); err != nil {
		return nil, fmt.Errorf("clearing %s: %w", s.path(tempDir), err)
	}
	for _, d := range []string{layersDir, disksDir, snapshotsDir, tempDir, emptyDir} {
		if err := os.MkdirAll(s.path(d), 0o755); err != nil {
			return nil, err
		}
	}
	return s, s.sweep(ctx)
}

func (s *store) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

func (s *store) diskFile(id string) string     { return s.path(disksDir, id, "record.json") }
func (s *store) snapshotFile(id string) string { return s.path(snapshotsDir, id+".json") }

// temp returns the name of a new folder for what is being made.
func (s *store) temp() (string, error) { return os.MkdirTemp(s.path(tempDir), "") }

// newLayer is a name that no layer has.
func newLayer() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // crypto/rand does not fail
	return hex.EncodeToString(b[:])
}

func readStack(file string) (stack, error) {
	var st stack
	data, err := os.ReadFile(file)
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return st, fmt.Errorf("reading %s: %w", file, err)
	}
	return st, nil
}

func (s *store) writeStack(file string, st stack) error {
	data, err := json.Marshal(st)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(s.path(tempDir), "record-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}

// sweep removes what no record names: half-made disks and unused layers.
func (s *store) sweep(ctx context.Context) error {
	used := map[string]bool{}
	snapshots, err := os.ReadDir(s.path(snapshotsDir))
	if err != nil {
		return err
	}
	for _, e := range snapshots {
		if err := mark(used, s.path(snapshotsDir, e.Name())); err != nil {
			return err
		}
	}
	disks, err := os.ReadDir(s.path(disksDir))
	if err != nil {
		return err
	}
	for _, e := range disks {
		err := mark(used, s.diskFile(e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			err = s.host.Remove(ctx, s.path(disksDir, e.Name()))
		}
		if err != nil {
			return err
		}
	}
	layers, err := os.ReadDir(s.path(layersDir))
	if err != nil {
		return err
	}
	for _, e := range layers {
		if used[e.Name()] {
			continue
		}
		if err := s.host.Remove(ctx, s.path(layersDir, e.Name())); err != nil {
			return fmt.Errorf("removing layer %s: %w", e.Name(), err)
		}
	}
	return nil
}

func mark(used map[string]bool, file string) error {
	st, err := readStack(file)
	for _, l := range st.Layers {
		used[l] = true
	}
	return err
}

// newDisk makes a disk of a snapshot, or an empty one if snapshot is "".
func (s *store) newDisk(ctx context.Context, id, snapshot string) error {
	if err := checkID(id); err != nil {
		return err
	}
	if _, err := os.Lstat(s.diskFile(id)); err == nil {
		return fmt.Errorf("making disk %s: %w", id, fs.ErrExist)
	}
	st := stack{}
	if snapshot != "" {
		if err := checkID(snapshot); err != nil {
			return err
		}
		var err error
		if st, err = readStack(s.snapshotFile(snapshot)); err != nil {
			return fmt.Errorf("making disk %s of snapshot %s: %w", id, snapshot, err)
		}
	}
	if err := s.host.Remove(ctx, s.path(disksDir, id)); err != nil { // of a sandbox that was killed half-way
		return err
	}
	for _, d := range []string{"upper", "root"} {
		if err := os.MkdirAll(s.path(disksDir, id, d), 0o755); err != nil {
			return err
		}
	}
	return s.writeStack(s.diskFile(id), st)
}

// freeze makes a snapshot of a disk that no machine writes to: what was its
// upper layer becomes a layer of both. It takes the same time however much was written.
func (s *store) freeze(ctx context.Context, disk, snapshot string) error {
	st, err := readStack(s.diskFile(disk))
	if err != nil {
		return err
	}
	upper := s.path(disksDir, disk, "upper")
	changed, err := s.changed(upper)
	if err != nil {
		return err
	}
	if changed {
		name := newLayer()
		st.Layers = append([]string{name}, st.Layers...)
		// First the record: a layer that is not there yet is an empty one (see
		// lower), one that no record names would be swept.
		if err := s.writeStack(s.diskFile(disk), st); err != nil {
			return err
		}
		if err := s.host.Rename(ctx, upper, s.path(layersDir, name)); err != nil {
			return err
		}
		if err := os.Mkdir(upper, 0o755); err != nil {
			return err
		}
	}
	return s.writeStack(s.snapshotFile(snapshot), st)
}

// wipe empties a disk that no machine writes to, and notes its file system.
func (s *store) wipe(ctx context.Context, disk string, made *Filesystem) error {
	if _, err := readStack(s.diskFile(disk)); err != nil {
		return err
	}
	upper := s.path(disksDir, disk, "upper")
	if err := s.host.Remove(ctx, upper); err != nil {
		return err
	}
	if err := os.Mkdir(upper, 0o755); err != nil {
		return err
	}
	return s.writeStack(s.diskFile(disk), stack{Filesystem: made})
}

// changed reports whether there is anything in an upper layer.
func (s *store) changed(upper string) (bool, error) {
	f, err := os.Open(upper)
	if errors.Is(err, fs.ErrNotExist) { // killed between the two steps of freeze
		return false, os.Mkdir(upper, 0o755)
	}
	if err != nil {
		// A user of the machine's owns it and keeps it closed.
		return true, nil
	}
	defer f.Close()
	names, err := f.Readdirnames(1)
	return len(names) > 0, ignoreEOF(err)
}

// copyUpper makes a snapshot of a disk that a machine writes to meanwhile: a
// copy of its upper layer as it is found, file by file.
func (s *store) copyUpper(ctx context.Context, disk, snapshot string) error {
	st, err := readStack(s.diskFile(disk))
	if err != nil {
		return err
	}
	tmp, err := s.temp()
	if err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := s.copyTree(ctx, s.path(disksDir, disk, "upper"), tmp, rootfs.Options{Layer: true}); err != nil {
		return err
	}
	name := newLayer()
	if err := s.host.Rename(ctx, tmp, s.path(layersDir, name)); err != nil {
		return err
	}
	st.Layers = append([]string{name}, st.Layers...)
	return s.writeStack(s.snapshotFile(snapshot), st)
}

func (s *store) copyTree(ctx context.Context, from, to string, o rootfs.Options) error {
	return s.host.Apply(ctx, to, o, func(fn treeFunc) error {
		return s.host.Walk(ctx, []string{from}, o, fn)
	})
}

// lower returns the layers that a disk's root is mounted of, top first, as
// rootfs takes them below the store's folder.
func (s *store) lower(disk string) ([]string, error) {
	st, err := readStack(s.diskFile(disk))
	if err != nil {
		return nil, err
	}
	var all []string
	for _, l := range st.Layers {
		path := l
		if !filepath.IsAbs(l) {
			path = layersDir + "/" + l
			if _, err := os.Lstat(s.path(path)); errors.Is(err, fs.ErrNotExist) {
				continue // killed while it was frozen: what should be it is still the upper layer
			}
		} else if strings.ContainsAny(l, ":,\\") {
			return nil, fmt.Errorf("base %s: overlayfs cannot use a folder with such a name", l)
		}
		all = append(all, path)
	}
	return all, nil
}

// list returns the ids of all disks and snapshots.
func (s *store) list() (disks, snapshots []string, err error) {
	ds, err := os.ReadDir(s.path(disksDir))
	if err != nil {
		return nil, nil, err
	}
	for _, e := range ds {
		disks = append(disks, e.Name())
	}
	ss, err := os.ReadDir(s.path(snapshotsDir))
	for _, e := range ss {
		snapshots = append(snapshots, strings.TrimSuffix(e.Name(), ".json"))
	}
	slices.Sort(snapshots)
	return disks, snapshots, err
}
