package oci

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gofrs/flock"
)

// A lease is what one process uses of the store. It is a file that the process
// holds a lock on for as long as it lives, one used thing per line. Pruning
// takes the store's lock alone and leaves alone what a living lease names;
// whoever is about to use something takes the lock with others, looks whether
// it is there, and names it.
type lease struct {
	lock  string
	file  *os.File
	flock *flock.Flock

	mu   sync.Mutex
	used map[string]bool
}

func newLease(lock, dir string) (*lease, error) {
	guard := flock.New(lock) // a lease that is not locked yet looks like a dead one's
	if err := guard.RLock(); err != nil {
		return nil, fmt.Errorf("the store of the embedded engine: %w", err)
	}
	defer guard.Close()
	path := filepath.Join(dir, newID())
	l := &lease{lock: lock, flock: flock.New(path), used: map[string]bool{}}
	if err := l.flock.Lock(); err != nil {
		return nil, fmt.Errorf("the store of the embedded engine: %w", err)
	}
	var err error
	l.file, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600)
	return l, err
}

func (l *lease) end() error {
	l.file.Close()
	os.Remove(l.flock.Path())
	return l.flock.Close()
}

// use runs find, which looks for things and returns what it found, while
// nothing can be pruned; what it returns is kept until the process ends.
func (l *lease) use(find func() ([]string, error)) error {
	lock := flock.New(l.lock)
	if err := lock.RLock(); err != nil {
		return fmt.Errorf("locking the store: %w", err)
	}
	defer lock.Close()
	names, err := find()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines strings.Builder
	for _, n := range names {
		if !l.used[n] {
			l.used[n] = true
			lines.WriteString(n + "\n")
		}
	}
	if lines.Len() == 0 {
		return nil
	}
	_, err = l.file.WriteString(lines.String())
	return err
}

// alone reports whether no other process lives that uses the store. It is
// true only after others has removed the leases of dead ones.
func (l *lease) alone() (bool, error) {
	entries, err := os.ReadDir(filepath.Dir(l.flock.Path()))
	return len(entries) == 1, err
}

// afterCrash removes what processes that died were making, once one has died
// and nobody else uses the store. A process that ends well takes its lease with
// it, so that as a rule there is one to count and nothing to do.
func (s *store) afterCrash(ctx context.Context) error {
	if alone, err := s.alone(); alone || err != nil {
		return err
	}
	lock := flock.New(s.lock)
	free, err := lock.TryLock()
	if err != nil || !free {
		return err
	}
	defer lock.Close()
	if _, err := s.others(s.path("leases")); err != nil {
		return err
	}
	return (&pruning{store: s}).clearTemp(ctx)
}

// others returns what living processes use, this one included, and removes the
// leases of dead ones. The caller holds the store's lock alone.
func (l *lease) others(dir string) (map[string]bool, error) {
	used := map[string]bool{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if path != l.flock.Path() {
			lock := flock.New(path)
			if free, err := lock.TryLock(); err == nil && free {
				os.Remove(path)
				lock.Close()
				continue
			}
			lock.Close()
		}
		data, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			used[strings.TrimSpace(line)] = true
		}
	}
	return used, nil
}
