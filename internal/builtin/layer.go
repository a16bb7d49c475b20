package builtin

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bake/internal/builtin/applet"
)

// A layer is the root filesystem as an uncompressed tar, made anew each time it
// is read: the program is the only large part and lies on disk anyway.
type layer struct {
	b binary

	once sync.Once
	hash v1.Hash
	size int64
	err  error
}

func (l *layer) measure() {
	l.once.Do(func() {
		h := sha256.New()
		l.size, l.err = writeRoot(h, l.b)
		l.hash = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
	})
}

// Digest is that of the uncompressed tar, which is the layer's only form.
func (l *layer) Digest() (v1.Hash, error) { return l.DiffID() }

// DiffID hashes the tar when it is asked for the first time.
func (l *layer) DiffID() (v1.Hash, error) {
	l.measure()
	return l.hash, l.err
}

// Compressed returns the tar as it is: whoever pushes compresses as they like.
func (l *layer) Compressed() (io.ReadCloser, error) { return l.Uncompressed() }

// Uncompressed streams the tar.
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	r, w := io.Pipe()
	go func() {
		buffered := bufio.NewWriterSize(w, 1<<20)
		_, err := writeRoot(buffered, l.b)
		if err == nil {
			err = buffered.Flush()
		}
		w.CloseWithError(err)
	}()
	return r, nil
}

// Size is in bytes.
func (l *layer) Size() (int64, error) {
	l.measure()
	return l.size, l.err
}

// MediaType says that the layer is not compressed.
func (l *layer) MediaType() (types.MediaType, error) { return types.OCIUncompressedLayer, nil }

// writeRoot writes the root filesystem and returns its size in bytes. All
// owners are root and all times 1980, the earliest that every tool takes.
func writeRoot(w io.Writer, b binary) (int64, error) {
	counter := &countingWriter{w: w}
	t := &rootWriter{tar.NewWriter(counter)}
	for _, step := range []func() error{t.dirs, t.files, t.links, func() error { return t.program(b) }, t.tw.Close} {
		if err := step(); err != nil {
			return 0, fmt.Errorf("writing the built-in base: %w", err)
		}
	}
	return counter.n, nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

type rootWriter struct{ tw *tar.Writer }

func (t *rootWriter) header(h tar.Header) error {
	h.ModTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	h.Uname, h.Gname = "root", "root"
	return t.tw.WriteHeader(&h)
}

func (t *rootWriter) dirs() error {
	special := map[string]int64{"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}
	for _, name := range strings.Fields("bin dev etc home proc root run srv sys tmp usr usr/lib usr/local usr/local/bin usr/share " +
		"var var/cache var/lib var/log var/tmp") {
		mode := special[name]
		if mode == 0 {
			mode = 0o755
		}
		if err := t.header(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}); err != nil {
			return err
		}
	}
	return nil
}

func (t *rootWriter) files() error {
	for _, f := range []struct{ name, text string }{
		{"etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"},
		{"etc/os-release", "NAME=\"bake built-in base\"\nID=bake\nPRETTY_NAME=\"bake built-in base\"\n"},
		{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"},
		{"etc/shells", "/bin/sh\n"},
	} {
		if err := t.header(tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.text))}); err != nil {
			return err
		}
		if _, err := io.WriteString(t.tw, f.text); err != nil {
			return err
		}
	}
	return nil
}

// links make /bin/NAME for every utility, and the other places that scripts
// expect programs in.
func (t *rootWriter) links() error {
	all := names()
	slices.Sort(all)
	for _, name := range all {
		if err := t.header(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "bake", Mode: 0o777}); err != nil {
			return err
		}
	}
	for _, l := range []struct{ name, to string }{{"sbin", "bin"}, {"usr/bin", "../bin"}, {"usr/sbin", "../bin"}} {
		if err := t.header(tar.Header{Typeflag: tar.TypeSymlink, Name: l.name, Linkname: l.to, Mode: 0o777}); err != nil {
			return err
		}
	}
	return nil
}

func (t *rootWriter) program(b binary) error {
	f, err := os.Open(b.path)
	if err != nil {
		return err
	}
	defer f.Close()
	name := strings.TrimPrefix(applet.Program, "/")
	if err := t.header(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: b.size}); err != nil {
		return err
	}
	_, err = io.Copy(t.tw, f)
	return err
}
