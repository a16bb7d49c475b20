package filetree

import (
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"time"
)

// An Entry is one file, directory or link of a source.
type Entry struct {
	Path    string // slash-separated, below the source; the base name if the source is a file
	Mode    fs.FileMode
	Size    int64 // bytes, of regular files
	ModTime time.Time
	Link    string // where a symlink points, as it is written in it

	root *os.Root
	name string

	identity   identity
	identified bool // identity says something
}

// Open returns the content of a regular file.
func (e Entry) Open() (*os.File, error) {
	f, err := e.root.Open(e.name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.name, cause(err))
	}
	return f, nil
}

// Walk yields what is in a source, sorted by name, a directory before what is
// in it; the source's own directory is not yielded. Links are yielded as links,
// never followed, except the one the user named. Sockets are passed over; other
// special files are an error, which ends the walk.
func (s *Selection) Walk(src Source) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		f, err := newFilter(s.ignore.patterns, s.opts.Exclude)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		w := &walker{s: s, filter: f, yield: yield}
		if !src.follow {
			w.below = src.Rel
		}
		v, err := f.enter(src)
		switch {
		case err != nil:
			w.fail(err)
		case src.Dir:
			w.dir(src.Name, "", v)
		default:
			w.file(src)
		}
	}
}

type walker struct {
	s      *Selection
	filter *filter
	yield  func(Entry, error) bool
	below  string // what exclude patterns see above the path below the source
	// pending are directories that are left out themselves, to be yielded once
	// something below them is not.
	pending []Entry
}

func (w *walker) fail(err error) bool {
	w.yield(Entry{}, err)
	return false
}

// file yields a source that is not a directory: through the link if one was named.
func (w *walker) file(src Source) {
	stat := w.s.root.Lstat
	if src.follow {
		stat = w.s.root.Stat
	}
	info, err := stat(src.Name)
	if err != nil {
		w.fail(fmt.Errorf("%s: %w", src.Name, cause(err)))
		return
	}
	e, ok, err := w.s.entry(src.Name, path.Base(src.Name), info)
	if err != nil {
		w.fail(err)
	} else if ok {
		w.yield(e, nil)
	}
}

func (w *walker) dir(name, rel string, v verdict) bool {
	names, err := w.s.readNames(name)
	if err != nil {
		return w.fail(fmt.Errorf("%s: %w", name, cause(err)))
	}
	for _, base := range names {
		if !w.child(path.Join(name, base), path.Join(rel, base), v) {
			return false
		}
	}
	return true
}

func (w *walker) child(name, rel string, parent verdict) bool {
	seen := path.Join(w.below, rel)
	v, err := w.filter.step(parent, name, seen)
	if err != nil {
		return w.fail(err)
	}
	info, err := w.s.root.Lstat(name)
	if err != nil {
		return w.fail(fmt.Errorf("%s: %w", name, cause(err)))
	}
	if v.out() && !(info.IsDir() && w.filter.mayHold(v, name, seen)) {
		return true
	}
	e, ok, err := w.s.entry(name, rel, info)
	if err != nil {
		return w.fail(err)
	}
	if !ok {
		return true
	}
	if !v.out() {
		if !w.flush() || !w.yield(e, nil) {
			return false
		}
		return !info.IsDir() || w.dir(name, rel, v)
	}
	depth := len(w.pending)
	w.pending = append(w.pending, e)
	if !w.dir(name, rel, v) {
		return false
	}
	w.pending = w.pending[:min(depth, len(w.pending))]
	return true
}

func (w *walker) flush() bool {
	for _, e := range w.pending {
		if !w.yield(e, nil) {
			return false
		}
	}
	w.pending = w.pending[:0]
	return true
}

func (s *Selection) readNames(dir string) ([]string, error) {
	f, err := s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// entry describes a file; ok is false for what is passed over.
func (s *Selection) entry(name, rel string, info fs.FileInfo) (e Entry, ok bool, err error) {
	e = Entry{Path: rel, Mode: info.Mode(), ModTime: info.ModTime(), root: s.root, name: name}
	switch info.Mode().Type() {
	case 0:
		e.Size = info.Size()
		e.identity, e.identified = identityOf(info)
	case fs.ModeDir:
	case fs.ModeSymlink:
		if e.Link, err = s.root.Readlink(name); err != nil {
			return e, false, fmt.Errorf("%s: %w", name, cause(err))
		}
	case fs.ModeSocket:
		return e, false, nil
	default:
		return e, false, fmt.Errorf("%s: neither a file nor a directory nor a link; leave it out with an exclude pattern", name)
	}
	if !s.opts.KeepModes {
		e.Mode = normal(e.Mode)
	}
	return e, true, nil
}

// normal returns the mode that files get on a machine unless their own is asked
// for: only whether the owner may execute a file counts, as git has it.
func normal(mode fs.FileMode) fs.FileMode {
	switch {
	case mode&fs.ModeSymlink != 0:
		return fs.ModeSymlink | 0o777
	case mode.IsDir():
		return fs.ModeDir | 0o755
	case mode&0o100 != 0:
		return 0o755
	}
	return 0o644
}
