package imagefile

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/internal/registry"
)

// A RootfsExporter is an image whose engine can write the tar of its root
// filesystem itself, faster than its layers can be put together here.
type RootfsExporter interface {
	ExportRootfs(ctx context.Context, w io.Writer) error
}

// writeRootfs writes the tar of the root filesystem.
func (f File) writeRootfs(ctx context.Context, c *registry.Content) (Written, error) {
	how := f.Compression
	if how == "" {
		how = registry.None
	}
	n, err := atomically(f.Path, func(file *os.File) error {
		out := bufio.NewWriterSize(file, 1<<20)
		z, err := how.Writer(out)
		if err != nil {
			return err
		}
		if err = f.rootfs(ctx, z, c); err != nil {
			z.Close()
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		return out.Flush()
	})
	return Written{Digest: hashOf(c.Config).String(), Size: n}, err
}

func (f File) rootfs(ctx context.Context, w io.Writer, c *registry.Content) error {
	out := tar.NewWriter(w)
	global := &tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{imageComment: hashOf(c.Config).String()}}
	if err := out.WriteHeader(global); err != nil {
		return err
	}
	if e, ok := c.Variant.Image.(RootfsExporter); ok {
		if err := out.Flush(); err != nil {
			return err
		}
		return e.ExportRootfs(ctx, &watchedWriter{w: w, ctx: ctx, report: f.Progress})
	}
	open, done, err := layerOpener(ctx, c)
	if err != nil {
		return err
	}
	defer done()
	if err := Flatten(out, len(c.DiffIDs), open); err != nil {
		return err
	}
	return out.Close()
}

type watchedWriter struct {
	w      io.Writer
	ctx    context.Context
	n      int64
	report func(int64, string)
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.w.Write(p)
	w.n += int64(n)
	if w.report != nil {
		w.report(w.n, "rootfs")
	}
	return n, err
}

// layerOpener gives the plain tars of an image's layers, as often as they are
// asked for. Streamed layers, which come once and in any order, go through
// temporary files without names.
func layerOpener(ctx context.Context, c *registry.Content) (open func(i int) (io.ReadCloser, error), done func(), err error) {
	if c.Streamer == nil {
		return func(i int) (io.ReadCloser, error) {
			r, err := c.Sources[i].Uncompressed()
			if err != nil {
				return nil, fmt.Errorf("layer %s: %w", c.DiffIDs[i], err)
			}
			return r, nil
		}, func() {}, nil
	}
	files := map[v1.Hash]*os.File{}
	done = func() {
		for _, f := range files {
			f.Close()
		}
	}
	err = c.Streamer.StreamLayers(ctx, func(v1.Hash) bool { return true }, func(diffID v1.Hash, r io.Reader) error {
		f, err := os.CreateTemp("", "bake-layer-*")
		if err != nil {
			return err
		}
		os.Remove(f.Name()) // it lives as long as it is open
		files[diffID] = f
		_, err = io.Copy(f, verified(io.NopCloser(r), diffID))
		return err
	})
	if err != nil {
		done()
		return nil, nil, err
	}
	return func(i int) (io.ReadCloser, error) {
		f, ok := files[c.DiffIDs[i]]
		if !ok {
			return nil, fmt.Errorf("the engine did not hand over layer %s", c.DiffIDs[i])
		}
		size, err := f.Seek(0, io.SeekEnd)
		return io.NopCloser(io.NewSectionReader(f, 0, size)), err
	}, done, nil
}

const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// Flatten writes the files that are left when n layers lie on one another, the
// lowest first, whiteouts applied (OCI image specification, layer.md). Layers
// above the lowest are read twice, for their headers and for their content;
// nothing is held in memory but their names.
func Flatten(out *tar.Writer, n int, open func(i int) (io.ReadCloser, error)) error {
	over := &overlay{entries: map[string]place{}, files: map[string]int{}, gone: map[string]int{}, opaque: map[string]int{}}
	for i := 1; i < n; i++ {
		if err := each(open, i, func(h *tar.Header, _ io.Reader) error { return over.note(i, h) }); err != nil {
			return err
		}
	}
	f := &flattener{out: out, over: over, dirs: map[string]bool{}, links: map[string]string{}}
	defer f.close()
	for i := range n {
		f.layer = i
		f.held = map[string]span{}
		f.links = map[string]string{}
		if err := each(open, i, f.entry); err != nil {
			return err
		}
	}
	return nil
}

// each calls fn for the entries of a layer.
func each(open func(i int) (io.ReadCloser, error), i int, fn func(h *tar.Header, r io.Reader) error) error {
	r, err := open(i)
	if err != nil {
		return err
	}
	defer r.Close()
	in := tar.NewReader(bufio.NewReaderSize(r, 256<<10))
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
		h.Name = clean(h.Name)
		if err := fn(h, in); err != nil {
			return fmt.Errorf("layer %d: %s: %w", i+1, h.Name, err)
		}
	}
	_, err = io.Copy(io.Discard, r) // to the end, where digests are checked
	return err
}

// clean makes a name relative to the root it cannot leave; "." is the root.
func clean(name string) string {
	if name = strings.TrimPrefix(path.Clean("/"+name), "/"); name == "" {
		return "."
	}
	return name
}

// An overlay knows what the upper layers do to the lower ones.
type overlay struct {
	entries map[string]place // the highest layer that has it
	files   map[string]int   // the highest layer in which it is not a directory
	gone    map[string]int   // the highest layer with a whiteout for it
	opaque  map[string]int   // the highest layer in which it hides what is below
}

type place struct {
	layer int
	dir   *tar.Header // if it is a directory: its header there
}

func (o *overlay) note(layer int, h *tar.Header) error {
	dir, base := path.Split(h.Name)
	dir = clean(dir)
	switch {
	case base == opaque:
		o.opaque[dir] = layer
	case strings.HasPrefix(base, whiteout):
		o.gone[clean(path.Join(dir, strings.TrimPrefix(base, whiteout)))] = layer
	case h.Typeflag == tar.TypeDir:
		o.entries[h.Name] = place{layer, h}
	default:
		o.entries[h.Name] = place{layer, nil}
		o.files[h.Name] = layer
	}
	return nil
}

// hidden reports whether what lies at name in a layer is not seen from above.
func (o *overlay) hidden(layer int, name string, isDir bool) bool {
	if p, ok := o.entries[name]; ok && p.layer > layer && !(isDir && p.dir != nil) {
		return true
	}
	if at, ok := o.gone[name]; ok && at > layer {
		return true
	}
	for dir := name; dir != "."; {
		dir = path.Dir(dir)
		if at, ok := o.opaque[dir]; ok && at > layer {
			return true
		}
		if at, ok := o.gone[dir]; ok && at > layer {
			return true
		}
		if at, ok := o.files[dir]; ok && at > layer {
			return true // a file stands where the directory was
		}
	}
	return false
}

type span struct {
	header *tar.Header
	off    int64
}

// A flattener writes what is seen of each layer.
type flattener struct {
	out   *tar.Writer
	over  *overlay
	layer int
	dirs  map[string]bool // written

	held  map[string]span   // hidden files of this layer: a hard link to one may be seen
	spool *os.File          // their content
	size  int64             // of spool
	links map[string]string // hidden name -> the link that has its content now
}

func (f *flattener) entry(h *tar.Header, r io.Reader) error {
	base := path.Base(h.Name)
	if strings.HasPrefix(base, whiteout) {
		return nil
	}
	isDir := h.Typeflag == tar.TypeDir
	if f.over.hidden(f.layer, h.Name, isDir) {
		return f.hold(h, r)
	}
	switch {
	case isDir:
		return f.dir(h)
	case h.Typeflag == tar.TypeLink:
		return f.link(h)
	}
	return f.write(h, r)
}

// dir writes a directory where it first appears, as the highest layer has it.
func (f *flattener) dir(h *tar.Header) error {
	if f.dirs[h.Name] {
		return nil
	}
	f.dirs[h.Name] = true
	if p, ok := f.over.entries[h.Name]; ok && p.dir != nil && p.layer > f.layer {
		h = p.dir
	}
	return f.write(h, nil)
}

// hold keeps a hidden file's content, for a link to it that is seen.
func (f *flattener) hold(h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeLink { // hidden itself, but it may be linked to in turn
		if s, ok := f.held[clean(h.Linkname)]; ok {
			f.held[h.Name] = s
		} else {
			f.links[h.Name] = clean(h.Linkname)
		}
		return nil
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	if f.spool == nil {
		spool, err := os.CreateTemp("", "bake-flatten-*")
		if err != nil {
			return err
		}
		os.Remove(spool.Name()) // it lives as long as it is open
		f.spool = spool
	}
	n, err := io.Copy(io.NewOffsetWriter(f.spool, f.size), r)
	f.held[h.Name] = span{header: h, off: f.size}
	f.size += n
	return err
}

// link writes a hard link. If what it links to is hidden, the first such link
// becomes the file, and the others link to that.
func (f *flattener) link(h *tar.Header) error {
	target := clean(h.Linkname)
	for range 10 {
		to, ok := f.links[target]
		if !ok {
			break
		}
		target = to
	}
	s, hidden := f.held[target]
	if !hidden {
		link := *h
		link.Linkname = target
		return f.write(&link, nil)
	}
	for name, other := range f.held { // all names of that content
		if other.off == s.off && other.header == s.header {
			f.links[name] = h.Name
			delete(f.held, name)
		}
	}
	file := *s.header
	file.Name = h.Name
	return f.write(&file, io.NewSectionReader(f.spool, s.off, file.Size))
}

// write copies an entry. Access and change times are left out: they are not
// the image's. The name of a directory ends in a slash, as tar writes it.
func (f *flattener) write(h *tar.Header, r io.Reader) error {
	out := *h
	out.AccessTime, out.ChangeTime = time.Time{}, time.Time{}
	out.Format = tar.FormatUnknown // whatever it takes
	if out.PAXRecords != nil {
		out.Format = tar.FormatPAX
	}
	if out.Typeflag == tar.TypeDir {
		out.Name = strings.TrimSuffix(out.Name, "/") + "/"
		if h.Name == "." {
			out.Name = "./"
		}
	}
	if err := f.out.WriteHeader(&out); err != nil {
		return err
	}
	if r == nil || out.Typeflag != tar.TypeReg {
		return nil
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{f.out}, r, make([]byte, 64<<10))
	if err == nil && n != out.Size {
		err = errors.New("its content is cut short")
	}
	return err
}

func (f *flattener) close() {
	if f.spool != nil {
		f.spool.Close()
	}
}
