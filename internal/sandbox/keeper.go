package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gofrs/flock"
	"github.com/moby/sys/atomicwriter"

	"bake/internal/sandbox/api"
)

// A keeper keeps what the services know in a folder: state/NAME.json of each,
// and url, where the sandbox that uses the folder listens.
type keeper struct {
	dir        string
	persistent bool
	parts      []part
	names      []string // of the parts
	held       *flock.Flock

	mu   sync.Mutex
	last map[string][]byte // what was written
}

// A BusyError says that another process runs a sandbox in the folder.
type BusyError struct {
	Dir string
	// URL is where that one listens.
	URL string
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("the sandbox in %s is in use: it listens on %s", e.Dir, e.URL)
}

// lock takes the folder, so that no two sandboxes write it.
func (k *keeper) lock() error {
	held := flock.New(filepath.Join(k.dir, "lock"))
	ok, err := held.TryLock()
	if err != nil {
		return err
	}
	if !ok {
		url, err := os.ReadFile(filepath.Join(k.dir, "url"))
		if err != nil {
			return fmt.Errorf("the sandbox in %s is just being started by another process", k.dir)
		}
		return &BusyError{Dir: k.dir, URL: strings.TrimSpace(string(url))}
	}
	k.held = held
	return nil
}

// announce writes where the sandbox listens, for others that find the folder in use.
func (k *keeper) announce(url string) error {
	return atomicwriter.WriteFile(filepath.Join(k.dir, "url"), []byte(url+"\n"), 0o600)
}

func (k *keeper) file(name string) string { return filepath.Join(k.dir, "state", name+".json") }

// load gives every service what it kept.
func (k *keeper) load(parts []part) error {
	k.parts, k.last = parts, map[string][]byte{}
	for _, p := range parts {
		k.names = append(k.names, p.Service().Name)
	}
	if err := os.MkdirAll(filepath.Join(k.dir, "state"), 0o700); err != nil {
		return err
	}
	for i, p := range k.parts {
		data, err := os.ReadFile(k.file(k.names[i]))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = p.Load(data)
		}
		if err != nil {
			return fmt.Errorf("state of %s in %s: %w", k.names[i], k.dir, err)
		}
		k.last[k.names[i]] = data
	}
	return nil
}

// save writes what changed since the last time. A crash leaves the file of a
// service as it was or as it is to be.
func (k *keeper) save() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, p := range k.parts {
		name := k.names[i]
		data, err := p.Save()
		if err != nil {
			return fmt.Errorf("saving the state of %s: %w", name, err)
		}
		if bytes.Equal(data, k.last[name]) {
			continue
		}
		if err := atomicwriter.WriteFile(k.file(name), data, 0o600); err != nil {
			return err
		}
		k.last[name] = data
	}
	return nil
}

// state is what all services keep, by name.
func (k *keeper) state() (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	for i, p := range k.parts {
		data, err := p.Save()
		if err != nil {
			return nil, err
		}
		all[k.names[i]] = data
	}
	return all, nil
}

// close ends what the services hold, the last first, and saves what they know.
func (k *keeper) close() error {
	var errs []error
	for i := len(k.parts) - 1; i >= 0; i-- {
		if c, ok := k.parts[i].(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	if k.persistent {
		errs = append(errs, k.save())
	}
	if k.held != nil {
		if err := os.Remove(filepath.Join(k.dir, "url")); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
		errs = append(errs, k.held.Unlock())
	}
	return errors.Join(errs...)
}

var _ api.Keys = Services{}
