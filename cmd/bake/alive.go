package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/gofrs/flock"

	"bake/builder"
)

// liveDir is where every run of this user on this machine is known while its
// process lives, whatever folder it was started in and whatever cache it uses.
func liveDir() string {
	return filepath.Join(os.TempDir(), "bake-"+strconv.Itoa(os.Getuid()))
}

// announce tells other bake processes that a run is alive, until done is
// called or the process ends: the kernel lets go of the lock then.
func announce(id builder.RunID) (done func(), err error) {
	if err := os.MkdirAll(liveDir(), 0o700); err != nil {
		return nil, fmt.Errorf("announcing the run: %w", err)
	}
	path := filepath.Join(liveDir(), string(id))
	lock := flock.New(path)
	ok, err := lock.TryLock()
	if err == nil && !ok {
		err = errors.New("another process has it")
	}
	if err != nil {
		return nil, fmt.Errorf("announcing the run: %w", err)
	}
	return func() {
		_ = os.Remove(path)
		_ = lock.Unlock()
	}, nil
}

// alive reports whether some process of this machine runs the run.
func alive(id builder.RunID) bool {
	path := filepath.Join(liveDir(), filepath.Base(string(id)))
	if _, err := os.Stat(path); err != nil {
		return false
	}
	lock := flock.New(path)
	ok, err := lock.TryLock()
	if ok {
		_ = os.Remove(path) // of a process that was killed
		_ = lock.Unlock()
	}
	return err == nil && !ok
}
