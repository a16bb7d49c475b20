package filetree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lay makes files in a new directory: "a/b" is a file that holds its own name,
// "a/" a directory, "a -> b" a link.
func lay(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		link, target, isLink := strings.Cut(name, " -> ")
		path := filepath.Join(dir, link)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case isLink:
			err = os.Symlink(target, path)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		default:
			err = os.WriteFile(path, []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// list returns "source: path" of everything picked, directories with a slash, links with their target.
func list(dir, from string, opts Options) ([]string, error) {
	s, err := Open(dir, from, opts)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var got []string
	for _, src := range s.Sources {
		for e, err := range s.Walk(src) {
			if err != nil {
				return got, err
			}
			line := src.Rel + ": " + e.Path
			if e.Mode.IsDir() {
				line += "/"
			}
			if e.Link != "" {
				line += " -> " + e.Link
			}
			got = append(got, line)
		}
	}
	return got, nil
}

func TestOpenPicks(t *testing.T) {
	files := []string{"site/index.html", "site/img/a.png", "site/img/b.png", "site/notes.log", "conf/a.conf", "conf/b.conf", "conf/sub/c.conf",
		"a[1].txt", "empty/", "current -> site", "one -> site/index.html", "conf/l.conf -> a.conf"}
	for _, tt := range []struct {
		name, from string
		exclude    []string
		want       []string
	}{
		{"a file", "site/index.html", nil, []string{"index.html: index.html"}},
		{"a tree, directories first", "site", nil, []string{"site: img/", "site: img/a.png", "site: img/b.png", "site: index.html", "site: notes.log"}},
		{"a tree less exclusions", "site/", []string{"*.log", "img/b*"}, []string{"site: img/", "site: img/a.png", "site: index.html"}},
		{"the whole context by dot", ".", []string{"**", "!empty"}, []string{".: empty/"}},
		{"an exclusion brought back, with its directory", "site", []string{"img", "!img/b.png"}, []string{"site: img/", "site: img/b.png", "site: index.html", "site: notes.log"}},
		{"an empty directory", "empty", nil, nil},
		{"a pattern, links as links", "conf/*.conf", nil, []string{"a.conf: a.conf", "b.conf: b.conf", "l.conf: l.conf -> a.conf"}},
		{"a pattern at any depth", "conf/**/*.conf", nil, []string{"a.conf: a.conf", "b.conf: b.conf", "l.conf: l.conf -> a.conf", "sub/c.conf: c.conf"}},
		{"all below by two stars", "conf/sub/**", nil, []string{"sub: c.conf"}},
		{"alternatives", "conf/{a,b}.conf", nil, []string{"a.conf: a.conf", "b.conf: b.conf"}},
		{"directories by a pattern that ends in a slash", "conf/*/", nil, []string{"sub: c.conf"}},
		{"a pattern less exclusions", "conf/*", []string{"b.conf", "sub", "l*"}, []string{"a.conf: a.conf"}},
		{"a name that looks like a pattern", "a[1].txt", nil, []string{"a[1].txt: a[1].txt"}},
		{"a directory through a named link", "current", []string{"img", "*.log"}, []string{"current: index.html"}},
		{"a file through a named link", "one", nil, []string{"one: one"}},
		{"a path that goes up and comes back", "site/../conf/a.conf", nil, []string{"a.conf: a.conf"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := list(lay(t, files...), tt.from, Options{Exclude: tt.exclude})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	outside := lay(t, "secret")
	dir := lay(t, "site/a", "out -> "+outside, "f -> "+outside+"/secret", "up -> ../../..", "loop -> loop", "in/deep -> "+outside)
	write(t, dir, ".dockerignore", "site\n")
	for _, tt := range []struct{ from, want string }{
		{"", "no file named"},
		{"nope", "nope: no such file or directory"},
		{"nope/*.txt", "nope/*.txt: file does not exist"},
		{"*.nope", "*.nope: file does not exist"},
		{"out", "out: a link leads out of " + dir},
		{"out/secret", "out/secret: a link leads out of " + dir},
		{"f", "f: a link leads out of " + dir},
		{"up", "up: a link leads out of " + dir},
		{"in/deep/secret", "in/deep/secret: a link leads out of " + dir},
		{"loop", "loop: too many levels of symbolic links"},
		{"site", "site: all of it is left out by .dockerignore"},
		{"site/a", "site/a: all of it is left out by .dockerignore"},
		{"site/*", "site/*: all of it is left out by .dockerignore"},
		{".dockerignore/", ".dockerignore/: not a directory"},
		{"a[", "a[: not a valid pattern"},
	} {
		_, err := list(dir, tt.from, Options{})
		if fmt.Sprint(err) != tt.want {
			t.Errorf("%q: got %v, want %s", tt.from, err, tt.want)
		}
		if outside := new(OutsideError); strings.Contains(tt.want, "leads out") && !errors.As(err, &outside) {
			t.Errorf("%q: %T is not an OutsideError", tt.from, err)
		}
	}
	if _, err := list(dir, "nope", Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

func TestLinksInsideATreeAreNeverFollowed(t *testing.T) {
	outside := lay(t, "secret")
	dir := lay(t, "site/a", "site/out -> "+outside, "site/etc -> /etc", "site/up -> ../../../etc/passwd")
	got, err := list(dir, "site", Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"site: a", "site: etc -> /etc", "site: out -> " + outside, "site: up -> ../../../etc/passwd"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestIgnoreFilesCountAtTheRoot(t *testing.T) {
	for _, tt := range []struct {
		name       string
		bake, dock string
		from       string
		want       []string
	}{
		{"dockerignore", "", "**/*.log\n# not this\n\n/b\n", ".", []string{".: .dockerignore", ".: a/", ".: a/x"}},
		{"bakeignore instead of dockerignore", "a\n", "b\n", ".", []string{".: .bakeignore", ".: .dockerignore", ".: b/", ".: b/y"}},
		{"a file brought back by name", "", "*\n!b/y\n", "b/y", []string{"y: y"}},
		{"a directory of which only a part is brought back", "", "*\n!b/y\n", ".", []string{".: b/", ".: b/y"}},
		{"the same with the directory named", "", "*\n!b/y\n", "b", []string{"b: y"}},
		{"bake's own directory never goes along", "", "!.bake\n!.bake/**\na\nb\n", ".", []string{".: .dockerignore"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := lay(t, "a/x", "a/z.log", "b/y", ".bake/runs/1/journal")
			if tt.bake != "" {
				write(t, dir, ".bakeignore", tt.bake)
			}
			if tt.dock != "" {
				write(t, dir, ".dockerignore", tt.dock)
			}
			got, err := list(dir, tt.from, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestPathsOutsideTheTemplateDirectoryHaveTheirOwnRoot(t *testing.T) {
	dir := lay(t, "deploy/", "bin/api", "bin/api.debug", "bin/.dockerignore", "web/out -> /etc")
	write(t, dir, "bin/.dockerignore", "*.debug\n.dockerignore\n")
	for from, want := range map[string][]string{
		"../bin/api":              {"api: api"},
		"../bin":                  {".: api"},
		"../bin/*":                {"api: api"},
		filepath.Join(dir, "bin"): {".: api"},
	} {
		got, err := list(filepath.Join(dir, "deploy"), from, Options{})
		if err != nil {
			t.Errorf("%s: %v", from, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", from, diff)
		}
	}
	if _, err := list(filepath.Join(dir, "deploy"), "../nope", Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestSpecialFiles(t *testing.T) {
	dir := lay(t, "d/a")
	l, err := net.Listen("unix", filepath.Join(dir, "d/s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got, err := list(dir, "d", Options{}); err != nil || len(got) != 1 {
		t.Errorf("with a socket: %v, %v", got, err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "d/p"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := list(dir, "d", Options{}); err == nil || !strings.HasPrefix(err.Error(), "d/p: neither a file") {
		t.Errorf("with a pipe: %v", err)
	}
	if _, err := list(dir, "d", Options{Exclude: []string{"p"}}); err != nil {
		t.Errorf("with the pipe left out: %v", err)
	}
}

func TestEntriesOpen(t *testing.T) {
	dir := lay(t, "site/a", "one -> site/a")
	for _, from := range []string{"site", "one"} {
		s, err := Open(dir, from, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range s.Walk(s.Sources[0]) {
			if err != nil {
				t.Fatal(err)
			}
			f, err := e.Open()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(f)
			f.Close()
			if err != nil || string(got) != "site/a" || e.Size != int64(len(got)) {
				t.Errorf("%s: %q (size %d), %v", from, got, e.Size, err)
			}
		}
		s.Close()
	}
}

func TestDigestChangesWithWhatCounts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(dir string) error
		opts   Options
		same   bool
	}{
		{"nothing", func(string) error { return nil }, Options{}, true},
		{"content", func(dir string) error { return os.WriteFile(dir+"/site/a", []byte("x"), 0o644) }, Options{}, false},
		{"content of the same size", func(dir string) error { return os.WriteFile(dir+"/site/a", []byte("site/x"), 0o644) }, Options{}, false},
		{"a name", func(dir string) error { return os.Rename(dir+"/site/a", dir+"/site/aa") }, Options{}, false},
		{"an empty directory", func(dir string) error { return os.Mkdir(dir+"/site/new", 0o755) }, Options{}, false},
		{"a link", func(dir string) error {
			os.Remove(dir + "/site/l")
			return os.Symlink("b", dir+"/site/l")
		}, Options{}, false},
		{"the exec bit", func(dir string) error { return os.Chmod(dir+"/site/a", 0o755) }, Options{}, false},
		{"what a umask makes of modes", func(dir string) error {
			return errors.Join(os.Chmod(dir+"/site/a", 0o600), os.Chmod(dir+"/site/sub", 0o700))
		}, Options{}, true},
		{"the same, modes kept", func(dir string) error { return os.Chmod(dir+"/site/a", 0o600) }, Options{KeepModes: true}, false},
		{"an excluded file", func(dir string) error { return os.WriteFile(dir+"/site/x.log", nil, 0o644) }, Options{Exclude: []string{"*.log"}}, true},
		{"a file beside it", func(dir string) error { return os.WriteFile(dir+"/other", nil, 0o644) }, Options{}, true},
		{"what a link points to", func(dir string) error { return os.WriteFile(dir+"/target", []byte("y"), 0o644) }, Options{}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := lay(t, "site/a", "site/sub/b", "site/l -> ../target", "target")
			before, err := Digest(t.Context(), dir, "site", tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.change(dir); err != nil {
				t.Fatal(err)
			}
			after, err := Digest(t.Context(), dir, "site", tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			if (before == after) != tt.same {
				t.Errorf("before %s, after %s; want the same: %v", before, after, tt.same)
			}
		})
	}
}

func TestDigestTellsOfAnUnreadableTree(t *testing.T) {
	dir := lay(t, "site/a")
	if err := syscall.Mkfifo(filepath.Join(dir, "site/p"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := Digest(t.Context(), dir, "site", Options{}); err == nil {
		t.Errorf("got %s", got)
	}
}

func BenchmarkDigestOf10000Files(b *testing.B) {
	dir := b.TempDir()
	for i := range 10000 {
		sub := filepath.Join(dir, fmt.Sprint(i%100))
		os.MkdirAll(sub, 0o755)
		os.WriteFile(filepath.Join(sub, fmt.Sprint(i)), make([]byte, 1024), 0o644)
	}
	for b.Loop() {
		if _, err := Digest(b.Context(), dir, ".", Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestBracesThatStandForTooManyPatternsAreRefused(t *testing.T) {
	dir := t.TempDir()
	for pattern, refused := range map[string]bool{
		"{a,b}/{c,d}*":                    false,
		strings.Repeat("{a,b}", 8):        false,
		strings.Repeat("{a,b}", 40):       true,
		`\{a,b}` + strings.Repeat("*", 3): false,
	} {
		_, err := Open(dir, pattern+"*", Options{})
		if got := err != nil && strings.Contains(err.Error(), "braces stand for more than"); got != refused {
			t.Errorf("%q: %v, want it refused: %v", pattern, err, refused)
		}
	}
}
