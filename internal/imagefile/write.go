package imagefile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/internal/registry"
)

// Format is a kind of image file.
type Format string

// The formats of image files.
const (
	OCI    Format = "oci"     // tar of an OCI layout
	OCIDir Format = "oci-dir" // OCI layout in a directory
	Docker Format = "docker"  // what `docker save` writes and `docker load` reads
	Rootfs Format = "rootfs"  // tar of the root filesystem
)

// A File says what is to be written.
type File struct {
	Path   string
	Format Format
	// Compression is that of the layers in OCI formats (empty: as they are,
	// gzip if they are not compressed), and of the whole file in the others
	// (empty: none).
	Compression registry.Compression
	Tags        []string
	Annotations map[string]string           // of the index, if there is one
	Progress    func(done int64, id string) // may be nil
}

// Written is what came of it.
type Written struct {
	Digest    string // of the manifest or index; of the config in docker archives and root filesystems
	Size      int64  // bytes of the file; of the blobs in a directory
	Unchanged bool   // it was there already
}

// Write writes images to a file. Several images, one for each platform,
// become an index, which only the OCI formats have. The file appears under
// its name when it is whole; one that holds the same image already is left alone.
func Write(ctx context.Context, f File, variants ...registry.Variant) (Written, error) {
	w, err := write(ctx, f, variants)
	if err != nil {
		return Written{}, fmt.Errorf("writing %s: %w", f.Path, err)
	}
	return w, nil
}

func write(ctx context.Context, f File, variants []registry.Variant) (Written, error) {
	if len(variants) == 0 {
		return Written{}, errors.New("there is no image")
	}
	if len(variants) > 1 && (f.Format == Docker || f.Format == Rootfs) {
		return Written{}, &formatError{f.Format, len(variants)}
	}
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return Written{}, err
	}
	contents := make([]*registry.Content, len(variants))
	for i, v := range variants {
		c, err := registry.NewContent(v)
		if err != nil {
			return Written{}, err
		}
		contents[i] = c
	}
	if w, ok := f.present(ctx, contents); ok {
		return w, nil
	}
	switch f.Format {
	case OCIDir:
		return f.writeDir(ctx, contents)
	case Docker:
		return f.writeDocker(ctx, contents[0])
	case Rootfs:
		return f.writeRootfs(ctx, contents[0])
	}
	return f.writeOCI(ctx, contents)
}

type formatError struct {
	format Format
	images int
}

func (e *formatError) Error() string {
	return fmt.Sprintf("a %s archive holds one image, not one for each of %d platforms", e.format, e.images)
}

// Hint says which format can.
func (e *formatError) Hint() string { return "say `format: oci` or `format: oci-dir`" }

// atomically gives fn a temporary file beside path and renames it to path.
func atomically(path string, fn func(f *os.File) error) (int64, error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(tmp.Name()) // gone already if all went well
	defer tmp.Close()
	if err := fn(tmp); err != nil {
		return 0, err
	}
	info, err := tmp.Stat()
	if err != nil {
		return 0, err
	}
	if err := tmp.Chmod(0o644); err != nil {
		return 0, err
	}
	if err := tmp.Close(); err != nil {
		return 0, err
	}
	return info.Size(), os.Rename(tmp.Name(), path)
}

// A packer is where the blobs of a layout go.
type packer interface {
	// add stores a blob whose digest is known, unless it is there.
	add(d v1.Descriptor, open func() (io.ReadCloser, error)) error
	// pack stores what fn writes and returns its digest and size.
	pack(fn func(w io.Writer) error) (v1.Hash, int64, error)
}

// fill stores all layers and the config of an image.
func (f File) fill(ctx context.Context, to packer, c *registry.Content) error {
	if c.Streamer != nil {
		if err := f.stream(ctx, to, c); err != nil {
			return err
		}
	} else if err := f.copyLayers(ctx, to, c); err != nil {
		return err
	}
	config := v1.Descriptor{Digest: hashOf(c.Config), Size: int64(len(c.Config))}
	return to.add(config, bytesOpener(c.Config))
}

// wanted is the compression of layers that have none of their own.
func (f File) wanted() registry.Compression {
	if f.Compression == "" {
		return registry.Gzip
	}
	return f.Compression
}

func (f File) copyLayers(ctx context.Context, to packer, c *registry.Content) error {
	repack := f.repacks(c)
	if repack {
		c.Repack()
	}
	for i, l := range c.Sources {
		open := l.Compressed
		if !repack {
			if !c.Layers[i].MediaType.IsDistributable() {
				continue
			}
			if err := to.add(c.Layers[i], f.watched(ctx, c.Layers[i].Digest, open)); err != nil {
				return fmt.Errorf("layer %s: %w", c.Layers[i].Digest, err)
			}
			continue
		}
		d, err := f.packed(ctx, to, c.DiffIDs[i], l.Uncompressed)
		if err != nil {
			return fmt.Errorf("layer %s: %w", c.DiffIDs[i], err)
		}
		c.Layers[i] = d
	}
	return nil
}

// repacks reports whether layers have another compression than is asked for.
func (f File) repacks(c *registry.Content) bool {
	if f.Compression == "" || c.Streamer != nil {
		return false
	}
	for _, d := range c.Layers {
		if !compressedAs(d, f.Compression) {
			return true
		}
	}
	return false
}

// packed compresses a layer into the layout.
func (f File) packed(ctx context.Context, to packer, diffID v1.Hash, open func() (io.ReadCloser, error)) (v1.Descriptor, error) {
	h, size, err := to.pack(func(w io.Writer) error {
		r, err := f.watched(ctx, diffID, open)()
		if err != nil {
			return err
		}
		defer r.Close()
		return compress(w, f.wanted(), r)
	})
	return v1.Descriptor{MediaType: f.wanted().MediaType(), Digest: h, Size: size}, err
}

// stream compresses the layers as an engine hands them over.
func (f File) stream(ctx context.Context, to packer, c *registry.Content) error {
	done := map[v1.Hash]v1.Descriptor{}
	want := func(h v1.Hash) bool { _, have := done[h]; return !have }
	err := c.Streamer.StreamLayers(ctx, want, func(diffID v1.Hash, tar io.Reader) error {
		d, err := f.packed(ctx, to, diffID, func() (io.ReadCloser, error) { return verified(io.NopCloser(tar), diffID), nil })
		if err != nil {
			return fmt.Errorf("layer %s: %w", diffID, err)
		}
		done[diffID] = d
		return nil
	})
	if err != nil {
		return err
	}
	for i, diffID := range c.DiffIDs {
		d, ok := done[diffID]
		if !ok {
			return fmt.Errorf("the engine did not hand over layer %s", diffID)
		}
		c.Layers[i] = d
	}
	return nil
}

func compress(w io.Writer, how registry.Compression, r io.Reader) error {
	z, err := how.Writer(w)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{z}, r, make([]byte, 256<<10))
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	return err
}

// watched opens something that reports progress and stops when ctx ends.
func (f File) watched(ctx context.Context, h v1.Hash, open func() (io.ReadCloser, error)) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		r, err := open()
		if err != nil {
			return nil, err
		}
		return &watcher{ReadCloser: r, ctx: ctx, id: "layer " + h.String()[:19], report: f.Progress}, nil
	}
}

type watcher struct {
	io.ReadCloser
	ctx    context.Context
	id     string
	n      int64
	report func(int64, string)
}

func (w *watcher) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.ReadCloser.Read(p)
	w.n += int64(n)
	if w.report != nil {
		w.report(w.n, w.id)
	}
	return n, err
}

// finish stores the manifests and returns what the layout's index.json lists,
// and the digest of what the tags name.
func (f File) finish(to packer, contents []*registry.Content) (v1.Descriptor, error) {
	for _, c := range contents {
		if err := addDocument(to, c.Document()); err != nil {
			return v1.Descriptor{}, err
		}
	}
	if len(contents) == 1 {
		return contents[0].Descriptor(), nil
	}
	top := registry.Index(contents, f.Annotations)
	return v1.Descriptor{MediaType: top.MediaType, Digest: top.Digest, Size: int64(len(top.Raw))}, addDocument(to, top)
}

func addDocument(to packer, d registry.Document) error {
	return to.add(v1.Descriptor{Digest: d.Digest, Size: int64(len(d.Raw))}, bytesOpener(d.Raw))
}

// compressedAs reports whether a layer has a compression already.
func compressedAs(d v1.Descriptor, c registry.Compression) bool {
	return ociLayer(d.MediaType) == c.MediaType()
}

// size adds up the blobs of an image.
func size(contents []*registry.Content) int64 {
	var n int64
	seen := map[v1.Hash]bool{}
	for _, c := range contents {
		for _, d := range c.Layers {
			if !seen[d.Digest] {
				n += d.Size
				seen[d.Digest] = true
			}
		}
		n += int64(len(c.Config))
	}
	return n
}
