package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bake/builder"
	"bake/internal/sshtest"
)

// sparse makes a file of n bytes with some content here and there.
func sparse(t testing.TB, n int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := rand.NewChaCha8([32]byte{3})
	data := make([]byte, 100_003)
	for offset := int64(12345); offset+int64(len(data)) < n; offset += n / 37 {
		_, _ = r.Read(data)
		if _, err := f.WriteAt(data, offset); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(n); err != nil {
		t.Fatal(err)
	}
	return path
}

// same compares what r reads with a file.
func same(t testing.TB, r io.Reader, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, want := make([]byte, 1<<20), make([]byte, 1<<20)
	for offset := int64(0); ; {
		n, err := io.ReadFull(r, got)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Fatalf("in the MiB at %d: %v", offset, err)
		}
		m, _ := io.ReadFull(f, want)
		if !bytes.Equal(got[:n], want[:m]) {
			t.Fatalf("it differs in the MiB at %d", offset)
		}
		offset += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return
		}
	}
}

// putAndGet moves a file there and back and compares it.
func putAndGet(t *testing.T, m *Communicator, path string, meanwhile func()) {
	t.Helper()
	meanwhile()
	if err := m.Put(t.Context(), "/run/files", localFiles(t, path)); err != nil {
		t.Fatal(err)
	}
	name := "/run/files/" + filepath.Base(path)
	output(t, m, rootCommand("cmp "+name+" "+path)) // the server sees the files of this machine
	meanwhile()
	n := 0
	for f, err := range m.Get(t.Context(), name) {
		if err != nil {
			t.Fatal(err)
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		same(t, r, path)
		n++
	}
	if n != 1 {
		t.Errorf("%d files came back", n)
	}
	if got := output(t, m, rootCommand("ls -A /run/files; rm -r /run/files")); got != filepath.Base(path)+"\n" {
		t.Errorf("left: %q", got)
	}
}

func TestALargeFileArrivesWhole(t *testing.T) {
	path := sparse(t, 2<<30)
	s := sshtest.Start(t, sshtest.Options{})
	putAndGet(t, connect(t, config(s)), path, func() {})
}

func TestALargeFileArrivesWholeAlsoWhenTheConnectionIsCut(t *testing.T) {
	path := sparse(t, 2<<30)
	s := sshtest.Start(t, sshtest.Options{})
	p, c := behind(t, s)
	m := connect(t, c)
	putAndGet(t, m, path, func() { p.CutAfter(700 << 20) })
	// A busy machine may seem to be far away: most of the file is then compressed away.
	if p.Cuts < 2 && m.pool.roundTrip(t.Context()) < farAway/2 {
		t.Errorf("the connection was cut %d times", p.Cuts)
	}
}

func TestALargeFileArrivesWholeFarAway(t *testing.T) {
	path := sparse(t, 2<<30)
	s := sshtest.Start(t, sshtest.Options{Delay: eighty})
	p, c := behind(t, s)
	putAndGet(t, connect(t, c), path, func() { p.CutAfter(2 << 20) }) // most of it is compressed away
	if p.Cuts < 2 {
		t.Errorf("the connection was cut %d times", p.Cuts)
	}
}

func TestALargeFileThatIsGivenUpHasNotEnded(t *testing.T) {
	path := sparse(t, 256<<20)
	m := connect(t, config(sshtest.Start(t, sshtest.Options{})))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for f, err := range m.Get(ctx, path) {
		if err != nil {
			t.Fatal(err)
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r, 1<<20); err != nil {
			t.Fatal(err)
		}
		cancel()
		if n, err := io.Copy(io.Discard, r); err == nil {
			t.Errorf("after %d bytes more it seems to be whole", n)
		}
		break
	}
}

// oddTree makes n files with names, modes and links that trip programs up.
func oddTree(n int) []builder.File {
	when := time.Unix(1600000000, 0)
	all := []builder.File{{Path: "tree", Mode: fs.ModeDir | 0o755, ModTime: when}}
	add := func(f builder.File, content string) {
		f.ModTime, f.Size = when, int64(len(content))
		if f.Mode.IsRegular() && !f.Hard {
			f.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }
		} else {
			f.Size = 0
		}
		all = append(all, f)
	}
	odd := []string{"-rf", "a b", "new\nline", "tab\t", "'q'", `"d"`, `back\slash`, "$HOME", "`x`", "*", "?", "ünï", "\xff\xfe", " lead", "trail ", "#", "~", "..x", ".hidden", strings.Repeat("long", 60)}
	modes := []fs.FileMode{0o644, 0o755, 0o600, 0o400, 0o755 | fs.ModeSetuid, 0o755 | fs.ModeSetgid, 0o4 | 0o200}
	for i := range n {
		dir := fmt.Sprintf("tree/d%02d%s", i%50, odd[i%50%len(odd)])
		if i < 50 {
			add(builder.File{Path: dir, Mode: fs.ModeDir | []fs.FileMode{0o755, 0o700, 0o555, 0o1777&0o777 | fs.ModeSticky}[i%4]}, "")
		}
		name := fmt.Sprintf("%s/%s%d", dir, odd[i%len(odd)], i)
		switch {
		case i%97 == 5:
			add(builder.File{Path: name, Mode: fs.ModeSymlink | 0o777, Link: []string{"/etc/passwd", "nowhere", "../.."}[i%3]}, "")
		case i%101 == 60:
			add(builder.File{Path: name, Mode: 0o644, Hard: true, Link: all[2].Path, UID: all[2].UID, GID: all[2].GID}, "")
		default:
			add(builder.File{Path: name, Mode: modes[i%len(modes)], UID: i % 7 * 1000, GID: i % 3}, strings.Repeat(fmt.Sprint(i), i%700))
		}
	}
	return all
}

type shape struct {
	Mode       fs.FileMode
	UID, GID   int
	Time       int64
	Link, Body string
}

// shapes reads all files. Hard links are resolved: which of the names of a
// file comes first is up to the machine.
func shapes(t *testing.T, seq func(func(builder.File, error) bool)) map[string]shape {
	t.Helper()
	all := map[string]shape{}
	for f, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		if f.Hard {
			first := all[f.Link]
			first.Link = "hard"
			all[f.Path], all[f.Link] = first, first
			continue
		}
		s := shape{Mode: f.Mode, UID: f.UID, GID: f.GID, Time: f.ModTime.Unix(), Link: f.Link}
		switch {
		case f.Mode.IsRegular():
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			s.Body = string(body)
		case f.Mode&fs.ModeSymlink != 0:
			s.Mode, s.Time = fs.ModeSymlink, 0
		}
		all[f.Path] = s
	}
	return all
}

func each(files []builder.File) func(func(builder.File, error) bool) {
	return func(yield func(builder.File, error) bool) {
		for _, f := range files {
			if !yield(f, nil) {
				return
			}
		}
	}
}

func treeThereAndBack(t *testing.T, m *Communicator, meanwhile func()) {
	t.Helper()
	files := oddTree(10_000)
	want := shapes(t, each(files))
	meanwhile()
	if err := m.Put(t.Context(), "/run/files", each(files)); err != nil {
		t.Fatal(err)
	}
	meanwhile()
	if diff := cmp.Diff(want, shapes(t, m.Get(t.Context(), "/run/files/tree"))); diff != "" {
		t.Errorf("tree (-want +got):\n%.3000s", diff)
	}
	output(t, m, rootCommand("rm -r /run/files"))
}

func TestATreeOfOddFilesArrivesIntact(t *testing.T) {
	treeThereAndBack(t, connect(t, config(sshtest.Start(t, sshtest.Options{}))), func() {})
}

func TestATreeOfOddFilesArrivesIntactAlsoWhenTheConnectionIsCut(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	p, c := behind(t, s)
	treeThereAndBack(t, connect(t, c), func() { p.CutAfter(40 << 10) })
	if p.Cuts < 2 {
		t.Errorf("the connection was cut %d times", p.Cuts)
	}
}

func TestATreeOfOddFilesArrivesIntactFarAway(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Delay: eighty})
	p, c := behind(t, s)
	treeThereAndBack(t, connect(t, c), func() { p.CutAfter(60 << 10) })
	if p.Cuts < 2 {
		t.Errorf("the connection was cut %d times", p.Cuts)
	}
}

func TestAMachineWithoutTarTakesFilesOverSFTP(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	m := connect(t, config(s))
	facts, err := m.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.facts.facts.tar = "" // as if
	facts.tar = ""
	files := oddTree(300)
	want := shapes(t, each(files))
	for k, v := range want { // SFTP tells nothing of hard links
		if v.Link == "hard" {
			v.Link = ""
			want[k] = v
		}
	}
	if err := m.Put(t.Context(), "/run/files", each(files)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, shapes(t, m.Get(t.Context(), "/run/files/tree"))); diff != "" {
		t.Errorf("tree (-want +got):\n%.3000s", diff)
	}
	for _, err := range m.Get(t.Context(), "/run/files/none") {
		if !errors.Is(err, builder.ErrNotFound) {
			t.Errorf("error %v", err)
		}
	}
	var big bytes.Buffer
	big.Write(bytes.Repeat([]byte("0123456789abcdef"), 1<<18))
	one := builder.File{Path: "big", Mode: 0o640, Size: int64(big.Len()), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(big.Bytes())), nil }}
	if err := m.Put(t.Context(), "/run/files", each([]builder.File{one})); err != nil {
		t.Fatal(err)
	}
	if got := output(t, m, rootCommand("cksum </run/files/big; stat -c %a /run/files/big")); got != fmt.Sprintf("%d %d\n640\n", cksum(0).update(big.Bytes(), make([]byte, 4096)).sum(int64(big.Len())), big.Len()) {
		t.Errorf("got %q", got)
	}
}

func TestOwnersNeedRoot(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Accounts: []sshtest.Account{{Name: "deploy"}}})
	c := config(s)
	c.User = "deploy"
	m := connect(t, c)
	err := m.Put(t.Context(), "files", each([]builder.File{{Path: "f", Mode: 0o600, UID: 1, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }}}))
	if owner, ok := errors.AsType[*OwnerError](err); !ok || owner.Hint() == "" {
		t.Errorf("error %v", err)
	}
}
