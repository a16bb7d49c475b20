// Package journal keeps a run's journal in a file: one JSON object a line,
// synced to disk before Append returns, locked against a second writer.
package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"

	"bake/builder"
)

// ErrLocked says that another process is running this run.
var ErrLocked = errors.New("another bake process has this run open")

// A File is a builder.Journal in a file. Make one with Open.
type File struct {
	lock *flock.Flock

	mu      sync.Mutex
	synced  *sync.Cond
	f       *os.File
	entries []builder.Entry
	written int  // entries handed to the file
	durable int  // entries known to be on disk
	syncing bool // somebody is in fsync for all written before
	err     error
}

// Open opens the journal at path, makes it if there is none, and locks it for
// this process. What a crash left of a half-written last line is cut off: that
// entry was never reported as durable.
func Open(path string) (*File, error) {
	lock := flock.New(path + ".lock")
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("locking journal: %w", err)
	}
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, ErrLocked)
	}
	j, err := open(path, lock)
	if err != nil {
		_ = lock.Unlock()
		return nil, err
	}
	return j, nil
}

func open(path string, lock *flock.Flock) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	entries, good, err := read(f)
	if err == nil {
		err = f.Truncate(good)
	}
	if err == nil {
		_, err = f.Seek(good, io.SeekStart)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("opening journal %s: %w", path, err)
	}
	j := &File{lock: lock, f: f, entries: entries, written: len(entries), durable: len(entries)}
	j.synced = sync.NewCond(&j.mu)
	return j, nil
}

// Read returns the entries of a journal that another process may be writing.
func Read(path string) ([]builder.Entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, _, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("reading journal %s: %w", path, err)
	}
	return entries, nil
}

// Locked reports whether a process has the journal open for writing.
func Locked(path string) bool {
	lock := flock.New(path + ".lock")
	ok, err := lock.TryLock()
	if ok {
		_ = lock.Unlock()
	}
	return err == nil && !ok
}

// read returns the whole entries and the offset after the last of them. Only
// the last line may be damaged; damage before it is an error, because what
// follows would be lost.
func read(r io.Reader) (entries []builder.Entry, good int64, err error) {
	br := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := br.ReadBytes('\n')
		if err == io.EOF {
			return entries, good, nil // an unfinished line, or none
		}
		if err != nil {
			return nil, 0, err
		}
		var e builder.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			if _, more := br.Peek(1); more == io.EOF && bytes.IndexByte(line, 0) >= 0 {
				return entries, good, nil // blocks that a power loss left unwritten
			}
			return nil, 0, fmt.Errorf("line %d: %w", n, err)
		}
		entries = append(entries, e)
		good += int64(len(line))
	}
}

// Append implements builder.Journal. Entries that are appended at the same
// time share one fsync.
func (j *File) Append(_ context.Context, e builder.Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("writing journal: %w", err)
	}
	var own builder.Entry // what readers will see, sharing nothing with the caller
	if err := json.Unmarshal(line, &own); err != nil {
		return fmt.Errorf("writing journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	if _, err := j.f.Write(append(line, '\n')); err != nil {
		j.err = fmt.Errorf("writing journal: %w", err) // a part of the line may be there: no more after it
		return j.err
	}
	j.entries = append(j.entries, own)
	j.written++
	return j.sync(j.written)
}

// sync returns when entry n is on disk. j.mu is held, and let go during fsync.
func (j *File) sync(n int) error {
	for j.durable < n && j.err == nil {
		if j.syncing {
			j.synced.Wait()
			continue
		}
		j.syncing = true
		upto := j.written
		j.mu.Unlock()
		err := j.f.Sync()
		j.mu.Lock()
		j.syncing = false
		if err != nil {
			j.err = fmt.Errorf("writing journal: %w", err)
		} else {
			j.durable = upto
		}
		j.synced.Broadcast()
	}
	return j.err
}

// Entries implements builder.Journal.
func (j *File) Entries(context.Context) ([]builder.Entry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.entries[:len(j.entries):len(j.entries)], nil
}

// Close closes the file and lets go of the lock.
func (j *File) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.f.Close(), j.lock.Unlock())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
