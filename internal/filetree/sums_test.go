package filetree

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A ground is a folder of files and a clock that can be put forward: the times
// of files are the kernel's own.
type ground struct {
	t          *testing.T
	dir, cache string
	ahead      time.Duration
	clock      func() time.Time // if not nil, instead
}

func newGround(t *testing.T) *ground {
	g := &ground{t: t, dir: t.TempDir(), cache: t.TempDir(), ahead: time.Minute}
	g.write("a", "first")
	g.write("sub/b", "second file")
	return g
}

func (g *ground) write(name, text string) {
	g.t.Helper()
	path := filepath.Join(g.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		g.t.Fatal(err)
	}
}

// digest is what a new process finds, and how many bytes it reads for it. It
// is checked against a digest without any memory.
func (g *ground) digest() (string, int64) {
	g.t.Helper()
	clock := g.clock
	if clock == nil {
		clock = func() time.Time { return time.Now().Add(g.ahead) }
	}
	sums := NewSums(g.cache, clock)
	got, err := Digest(g.t.Context(), g.dir, "./", Options{Sums: sums})
	if err != nil {
		g.t.Fatal(err)
	}
	want, err := Digest(g.t.Context(), g.dir, "./", Options{})
	if err != nil {
		g.t.Fatal(err)
	}
	if got != want {
		g.t.Errorf("remembered digest %s, read %s", got, want)
	}
	return got, sums.Read()
}

func (g *ground) reads(want int64) {
	g.t.Helper()
	if _, n := g.digest(); n != want {
		g.t.Errorf("read %d bytes, want %d", n, want)
	}
}

const both = int64(len("first") + len("second file"))

func TestFilesThatNobodyTouchedAreNotReadAgain(t *testing.T) {
	g := newGround(t)
	g.reads(both)
	g.reads(0)
	g.write("sub/b", "other")
	g.reads(int64(len("other")))
	g.reads(0)
}

func TestAFileThatChangedJustNowIsNotTrusted(t *testing.T) {
	g := newGround(t)
	info, err := os.Stat(filepath.Join(g.dir, "sub/b"))
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []time.Duration{
		time.Second,
		-time.Hour, // a clock set back: the files are of the future
	} {
		g.clock = func() time.Time { return info.ModTime().Add(after) }
		g.reads(both)
		g.reads(both)
	}
	g.clock = nil
	g.reads(both)
	g.reads(0)
}

func TestEveryChangeIsSeen(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path string){
		"other content of the same length, the time set back": func(t *testing.T, path string) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("FIRST"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		},
		"another file in its place": func(t *testing.T, path string) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path+".new", []byte("FIRST"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path+".new", info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		},
		"gone": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"a link to another file": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("sub/b", path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGround(t)
			before, _ := g.digest()
			change(t, filepath.Join(g.dir, "a"))
			if after, _ := g.digest(); after == before {
				t.Error("the change was not seen")
			}
		})
	}
}

func TestWhatIsDamagedIsAsGoodAsNothing(t *testing.T) {
	g := newGround(t)
	g.reads(both)
	files, err := filepath.Glob(filepath.Join(g.cache, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("remembered in %v, %v; want one file", files, err)
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for cut := range good {
		if _, err := decodeSums(good[:cut]); err == nil {
			t.Errorf("the first %d of %d bytes were believed", cut, len(good))
		}
		flipped := append([]byte(nil), good...)
		flipped[cut] ^= 1
		if _, err := decodeSums(flipped); err == nil {
			t.Errorf("byte %d changed and nobody saw it", cut)
		}
	}
	if err := os.WriteFile(files[0], good[:len(good)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	g.reads(both)
	g.reads(0)
}

// What holds no longer is forgotten, or a tree of changing names would grow
// what is remembered without end.
func TestNoMoreIsRememberedThanThereIs(t *testing.T) {
	g := newGround(t)
	size := func() int64 {
		files, err := filepath.Glob(filepath.Join(g.cache, "*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("remembered in %v, %v; want one file", files, err)
		}
		info, err := os.Stat(files[0])
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	g.digest()
	first := size()
	for i := range 20 {
		g.write(fmt.Sprint("extra-", i), "x")
		g.digest()
		if err := os.Remove(filepath.Join(g.dir, fmt.Sprint("extra-", i))); err != nil {
			t.Fatal(err)
		}
	}
	g.digest()
	if last := size(); last != first {
		t.Errorf("%d bytes for two files, %d after twenty others came and went", first, last)
	}
}

func TestWithoutAFolderNothingIsRemembered(t *testing.T) {
	g := newGround(t)
	if NewSums("", time.Now) != nil {
		t.Error("a memory without a folder")
	}
	g.cache = filepath.Join(g.dir, "a", "below a file")
	g.reads(both)
	g.reads(both)
}

func TestSeveralProcessesMayRememberAtOnce(t *testing.T) {
	g := newGround(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { g.digest() })
	}
	all.Wait()
	g.reads(0)
}
