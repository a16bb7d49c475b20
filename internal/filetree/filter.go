package filetree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// An ignoreList is the patterns of a root's ignore file.
type ignoreList struct {
	file     string // its name; empty if there is none
	patterns []string
}

// ownDir is where bake keeps its runs, beside the template. It changes with
// every run and is never part of a context.
const ownDir = ".bake"

func readIgnore(root *os.Root) (ignoreList, error) {
	list := ignoreList{file: ownDir, patterns: []string{ownDir}}
	for _, name := range []string{".bakeignore", ".dockerignore"} {
		f, err := root.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return list, fmt.Errorf("%s: %w", name, cause(err))
		}
		defer f.Close()
		patterns, err := ignorefile.ReadAll(f)
		if err != nil {
			return list, fmt.Errorf("%s: %w", name, err)
		}
		return ignoreList{file: name, patterns: append(patterns, ownDir)}, nil
	}
	return list, nil
}

// A matcher is one list of patterns, used by one goroutine.
type matcher struct{ *patternmatcher.PatternMatcher }

func newMatcher(patterns []string) (matcher, error) {
	pm, err := patternmatcher.New(patterns)
	if err != nil {
		return matcher{}, err
	}
	return matcher{pm}, nil
}

// reaches reports whether a pattern beginning with ! may bring back something
// below dir, which is left out itself.
func (m matcher) reaches(dir string) bool {
	if !m.Exclusions() {
		return false
	}
	for _, p := range m.Patterns() {
		if !p.Exclusion() {
			continue
		}
		fixed := filepath.ToSlash(p.String())
		if i := strings.IndexAny(fixed, `*?[\`); i >= 0 {
			fixed = fixed[:strings.LastIndex(fixed[:i], "/")+1]
		}
		if dir == "." || fixed == "" || strings.HasPrefix(fixed, dir+"/") || strings.HasPrefix(dir+"/", strings.TrimSuffix(fixed, "/")+"/") {
			return true
		}
	}
	return false
}

// A filter decides which paths below a root are taken: ignore patterns see the
// path below the root, exclude patterns that below the directory that was named
// or the fixed part of the pattern that was.
type filter struct {
	ignore, exclude matcher
}

func newFilter(ignore, exclude []string) (*filter, error) {
	ig, err := newMatcher(ignore)
	if err != nil {
		return nil, fmt.Errorf("ignore patterns: %w", err)
	}
	ex, err := newMatcher(exclude)
	if err != nil {
		return nil, fmt.Errorf("exclude patterns: %w", err)
	}
	return &filter{ig, ex}, nil
}

// A verdict is what a filter says of one path, and what it needs to judge those below it.
type verdict struct {
	ignored, excluded bool
	ignore, exclude   patternmatcher.MatchInfo
}

func (v verdict) out() bool { return v.ignored || v.excluded }

// enter judges a source, having passed through the directories above it.
func (f *filter) enter(src Source) (verdict, error) {
	var v verdict
	if src.Name == "." {
		return v, nil
	}
	parts := strings.Split(src.Name, "/")
	for i := range parts {
		var err error
		if v, err = f.ignoreStep(v, path.Join(parts[:i+1]...)); err != nil {
			return v, err
		}
	}
	if src.Dir && src.follow {
		return v, nil
	}
	parts = strings.Split(src.Rel, "/")
	for i := range parts {
		var err error
		if v, err = f.excludeStep(v, path.Join(parts[:i+1]...)); err != nil {
			return v, err
		}
	}
	return v, nil
}

// step judges an entry by its path below the root and by that which exclude
// patterns see; v is the verdict on its parent.
func (f *filter) step(v verdict, name, seen string) (verdict, error) {
	v, err := f.ignoreStep(v, name)
	if err != nil {
		return v, err
	}
	return f.excludeStep(v, seen)
}

func (f *filter) ignoreStep(v verdict, name string) (verdict, error) {
	var err error
	v.ignored, v.ignore, err = f.ignore.MatchesUsingParentResults(name, v.ignore)
	return v, err
}

func (f *filter) excludeStep(v verdict, rel string) (verdict, error) {
	var err error
	v.excluded, v.exclude, err = f.exclude.MatchesUsingParentResults(rel, v.exclude)
	return v, err
}

// mayHold reports whether something in the directory may be taken although the
// directory itself is left out.
func (f *filter) mayHold(v verdict, name, rel string) bool {
	return (!v.ignored || f.ignore.reaches(name)) && (!v.excluded || f.exclude.reaches(rel))
}
