// Package filetree picks files of this machine that go to another one: by path
// or pattern, less what ignore files and exclude patterns leave out, and never
// through a link that leads out of the directory they are taken from.
package filetree

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Options are what else decides which files are picked and how.
type Options struct {
	// Exclude holds patterns in the syntax of .dockerignore, relative to the
	// named directory, or to the fixed part of the pattern that names.
	Exclude []string
	// KeepModes leaves permissions as they are on this machine. Without it
	// they are 0755 for directories and for files their owner may execute and
	// 0644 for the rest, so that two checkouts under different umasks are alike.
	KeepModes bool
	// AllFiles passes over .bakeignore and .dockerignore.
	AllFiles bool
	// Sums remembers digests of contents; nil reads every file.
	Sums *Sums
}

// A Selection is the files that one path or pattern names. Close it.
type Selection struct {
	Sources []Source // sorted by name; at least one

	root   *os.Root
	dir    string // absolute path of root
	ignore ignoreList
	opts   Options
}

// A Source is one file or directory of a selection.
type Source struct {
	Name     string // slash-separated path below the selection's root; "." is the root itself
	Rel      string // path below the fixed part of the pattern; the base name if there is no pattern
	Dir      bool
	Contents bool // it was named with a slash at its end: what is in it is meant, not itself

	follow bool // it was named itself: if it is a link, its target is meant
}

// An OutsideError is a path that links lead out of the directory it belongs to.
type OutsideError struct {
	Path string // as the user wrote it
	Dir  string
}

func (e *OutsideError) Error() string {
	return fmt.Sprintf("%s: a link leads out of %s", e.Path, e.Dir)
}

// Hint tells what to do about it.
func (e *OutsideError) Hint() string {
	return "name the file the link points to, or put the file where the link is"
}

// An IgnoredError is a path that exists and is left out by an ignore file or pattern.
type IgnoredError struct {
	Path string
	By   string // ".dockerignore", ".bakeignore" or "exclude"
}

func (e *IgnoredError) Error() string {
	return fmt.Sprintf("%s: all of it is left out by %s", e.Path, e.By)
}

// Hint tells what to do about it.
func (e *IgnoredError) Hint() string {
	return fmt.Sprintf("add `!%s` to %s, or name something else", strings.TrimPrefix(e.Path, "./"), e.By)
}

// Open picks what from names, a path or a doublestar pattern (*, ?, [a-z],
// {a,b}, **) relative to dir. Inside dir, dir is the root that no link may lead
// out of and whose .bakeignore (or .dockerignore, if it has no other) counts;
// outside, the named directory, or the one the file or pattern is in, is.
// The error is fs.ErrNotExist if nothing is named so, an *IgnoredError or an *OutsideError.
func Open(dir, from string, opts Options) (*Selection, error) {
	if from == "" {
		return nil, errors.New("no file named")
	}
	rootDir, name, err := locate(dir, from)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(rootDir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, cause(err))
	}
	s := &Selection{root: root, dir: rootDir, opts: opts}
	if err := s.pick(from, name); err != nil {
		root.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the use of the selection; entries cannot be opened any more.
func (s *Selection) Close() error { return s.root.Close() }

// locate splits what from names into a root directory and a slash-separated
// path or pattern below it.
func locate(dir, from string) (root, name string, err error) {
	abs := filepath.Clean(from)
	if !filepath.IsAbs(abs) {
		abs = filepath.Join(dir, abs)
	}
	if rel, err := filepath.Rel(dir, abs); err == nil && filepath.IsLocal(rel) {
		return dir, filepath.ToSlash(rel), nil
	}
	info, err := os.Stat(abs)
	switch {
	case err == nil && info.IsDir():
		return abs, ".", nil
	case err == nil:
		return filepath.Dir(abs), filepath.Base(abs), nil
	case !hasMeta(abs):
		return "", "", fmt.Errorf("%s: %w", from, cause(err))
	}
	base, pattern := doublestar.SplitPattern(filepath.ToSlash(abs))
	return filepath.FromSlash(base), pattern, nil
}

// pick fills Sources with what name matches below the root.
func (s *Selection) pick(from, name string) error {
	if !s.opts.AllFiles {
		ignore, err := readIgnore(s.root)
		if err != nil {
			return err
		}
		s.ignore = ignore
	}
	contents := name == "." || strings.HasSuffix(filepath.ToSlash(from), "/") || strings.HasSuffix(filepath.ToSlash(from), "/.")
	if base, ok := strings.CutSuffix(name, "/**"); ok && !hasMeta(base) {
		name, contents = base, true
	} else if name == "**" {
		name, contents = ".", true
	}
	info, err := s.root.Stat(name)
	switch {
	case err == nil && contents && !info.IsDir():
		return fmt.Errorf("%s: not a directory", from)
	case err == nil:
		s.Sources = []Source{{Name: name, Rel: path.Base(name), Dir: info.IsDir(), Contents: contents && info.IsDir(), follow: true}}
	case s.leadsOut(name):
		return &OutsideError{Path: from, Dir: s.dir}
	case errors.Is(err, fs.ErrNotExist) && hasMeta(name):
		if s.Sources, err = s.glob(name, contents); err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
	default:
		return fmt.Errorf("%s: %w", from, cause(err))
	}
	return s.dropIgnored(from)
}

func (s *Selection) glob(pattern string, onlyDirs bool) ([]Source, error) {
	if n := alternatives(pattern); n > maxAlternatives {
		return nil, fmt.Errorf("its braces stand for more than %d patterns", maxAlternatives)
	}
	if !doublestar.ValidatePattern(pattern) {
		return nil, errors.New("not a valid pattern")
	}
	names, err := doublestar.Glob(s.root.FS(), pattern, doublestar.WithNoFollow(), doublestar.WithFailOnIOErrors())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, cause(err)
	}
	base, _ := doublestar.SplitPattern(pattern)
	matched := make(map[string]bool, len(names))
	for _, name := range names {
		matched[name] = true
	}
	var sources []Source
	for _, name := range names {
		if within(name, matched) {
			continue // it comes with its directory
		}
		info, err := s.root.Lstat(name)
		if err != nil {
			return nil, cause(err)
		}
		if onlyDirs && !info.IsDir() {
			continue
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(name, base), "/")
		sources = append(sources, Source{Name: name, Rel: rel, Dir: info.IsDir(), Contents: onlyDirs})
	}
	if len(sources) == 0 {
		return nil, fs.ErrNotExist
	}
	slices.SortFunc(sources, func(a, b Source) int { return cmp.Compare(a.Name, b.Name) })
	return sources, nil
}

func within(name string, dirs map[string]bool) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if dirs[dir] {
			return true
		}
	}
	return false
}

// dropIgnored removes sources that patterns leave out; one is an error if none is left.
func (s *Selection) dropIgnored(from string) error {
	by := s.ignore.file
	kept := s.Sources[:0]
	for _, src := range s.Sources {
		keep, why, err := s.keeps(src)
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		if keep {
			kept = append(kept, src)
		} else {
			by = why
		}
	}
	if s.Sources = kept; len(kept) == 0 {
		return &IgnoredError{Path: from, By: by}
	}
	return nil
}

// keeps reports whether any of the source is left, and what took it away.
func (s *Selection) keeps(src Source) (bool, string, error) {
	f, err := newFilter(s.ignore.patterns, s.opts.Exclude)
	if err != nil {
		return false, "", err
	}
	at, err := f.enter(src)
	if err != nil {
		return false, "", err
	}
	switch {
	case at.ignored && !(src.Dir && f.ignore.reaches(src.Name)):
		return false, s.ignore.file, nil
	case at.excluded && !(src.Dir && f.exclude.reaches(src.Rel)):
		return false, "exclude", nil
	}
	return true, "", nil
}

// leadsOut reports whether links lead name out of the root, which os.Root
// refuses without a typed error.
func (s *Selection) leadsOut(name string) bool {
	real, err := filepath.EvalSymlinks(filepath.Join(s.dir, filepath.FromSlash(name)))
	if err != nil {
		return false
	}
	root, err := filepath.EvalSymlinks(s.dir)
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(root, real)
	return err != nil || !filepath.IsLocal(rel)
}

func hasMeta(p string) bool { return strings.ContainsAny(p, `*?[{\`) }

// cause drops the operation and path of a file system error: the caller names
// the path as its user wrote it.
func cause(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// maxAlternatives bounds how many patterns the braces of one may stand for:
// each is looked for by itself, and a few braces in a row make millions.
const maxAlternatives = 256

// alternatives counts the patterns that the braces of a pattern stand for, at
// most a little more than maxAlternatives.
func alternatives(pattern string) int {
	total, open := 1, []int{} // how many alternatives each open brace has so far
	escaped := false
	for _, r := range pattern {
		switch {
		case escaped:
			escaped = false
		case r == '\\':
			escaped = true
		case r == '{':
			open = append(open, 1)
		case r == ',' && len(open) > 0:
			open[len(open)-1]++
		case r == '}' && len(open) > 0:
			total *= open[len(open)-1]
			open = open[:len(open)-1]
		}
		if total > maxAlternatives {
			return total
		}
	}
	return total
}
