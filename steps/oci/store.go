package oci

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"bake/builder"
	"bake/internal/rootfs"
)

// A store is a directory:
//
//	layers/ID       one layer as overlayfs takes it; layers/skeleton lies below all
//	blobs/HEX       content by its sha256: packed layers, configs, manifests
//	records/KIND/NAME.json  what is known, one fact per file (see records.go)
//	work/ID         machines: machine.json, pid, root, upper-SNAPSHOT and overlayfs's work
//	tmp/            what is being made
//	leases/         what running processes use (see lease.go)
//
// Everything is made in tmp and renamed, so what has a name is whole. A record
// is written after what it speaks of. What no record speaks of is garbage.
type store struct {
	dir  string
	host *rootfs.Host
	boot string // changes when the machine is booted
	*lease
	// known are records of what this process uses: nobody prunes it, so they stay true.
	known sync.Map
	// compressors are *pgzip.Writer that are not in use.
	compressors sync.Pool
}

// openStore opens the store for the user ids that containers have here: the
// owners of files in layers depend on them, so each mapping has a store of its own.
func openStore(dir string, host *rootfs.Host) (*store, error) {
	switch id := host.Identity(); {
	case id.OneID:
		dir = filepath.Join(dir, "one-id")
	case id.Rootless:
		dir = filepath.Join(dir, "rootless")
	default:
		dir = filepath.Join(dir, "root")
	}
	s := &store{dir: dir, host: host}
	for _, d := range []string{"layers", "blobs", "work", "tmp", "leases", "records"} {
		if err := os.MkdirAll(s.path(d), 0o700); err != nil {
			return nil, fmt.Errorf("the store of the embedded engine: %w", err)
		}
	}
	// Other users' ids in a user namespace must reach the layers.
	for _, d := range []string{"", "layers", "work"} {
		if err := os.Chmod(s.path(d), 0o711); err != nil {
			return nil, fmt.Errorf("the store of the embedded engine: %w", err)
		}
	}
	if _, err := os.Stat(s.path("layers", "skeleton")); err != nil {
		if err := rootfs.Skeleton(s.path("layers", "skeleton")); err != nil {
			return nil, fmt.Errorf("the store of the embedded engine: %w", err)
		}
	}
	if boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		s.boot = strings.TrimSpace(string(boot))
	}
	var err error
	s.lease, err = newLease(s.path("lock"), s.path("leases"))
	return s, err
}

func (s *store) close() error {
	return errors.Join(s.host.Close(), s.lease.end())
}

func (s *store) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// newID returns a name that nothing else has. It is short, because overlayfs
// has one page for the names of all layers.
func newID() string {
	var b [10]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))[:10]
}

// temp returns a new path in tmp.
func (s *store) temp() string { return s.path("tmp", newID()) }

// writeFile writes a file that is whole or not there.
func (s *store) writeFile(path string, data []byte) error {
	tmp := s.temp()
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	err := os.Rename(tmp, path)
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// remove deletes a tree of the store. It leaves its place at once, so that
// nobody finds half of it.
func (s *store) remove(ctx context.Context, path string) error {
	tmp := s.temp()
	err := s.host.Rename(ctx, path, tmp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		tmp = path
	}
	return s.host.Remove(ctx, tmp)
}

// read reads a record; builder.ErrNotFound if there is none.
func read[T any](s *store, kind, name string) (T, error) {
	var v T
	data, err := os.ReadFile(s.record(kind, name))
	if errors.Is(err, fs.ErrNotExist) {
		return v, builder.ErrNotFound
	}
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, builder.ErrNotFound // torn by a power loss: it is as if it were not there
	}
	return v, nil
}

// write writes a record.
func write[T any](s *store, kind, name string, v T) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	path := s.record(kind, name)
	err = s.writeFile(path, data)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		err = s.writeFile(path, data)
	}
	return err
}

// alias gives a record a second name, in place of what had it before.
func (s *store) alias(kind, name, otherKind, other string) error {
	tmp, path := s.temp(), s.record(otherKind, other)
	if err := os.Link(s.record(kind, name), tmp); err != nil {
		return err
	}
	err := os.Rename(tmp, path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = os.Rename(tmp, path)
		}
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

func (s *store) remember(name string, rec any, err error) {
	if err == nil {
		s.known.Store(name, rec)
	}
}

func (s *store) record(kind, name string) string {
	return s.path("records", kind, strings.TrimPrefix(name, "sha256:")+".json")
}

// touch notes that a record was used; what was not used longest is pruned first.
func (s *store) touch(kind, name string) {
	now := time.Now()
	os.Chtimes(s.record(kind, name), now, now) // at worst it is pruned too early
}
