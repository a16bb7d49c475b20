package container

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bake/builder"
	"bake/internal/imagefile"
)

// tarImage is the core of an image whose layers are tars on disk.
type tarImage struct {
	file   v1.ConfigFile
	layers []*tarLayer
}

// newImage makes an image with nothing but a platform and the layers.
func newImage(p builder.Platform, layers ...*tarLayer) (v1.Image, error) {
	img := &tarImage{layers: layers, file: v1.ConfigFile{
		OS: p.OS, Architecture: p.Arch, Variant: p.Variant,
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
	}}
	for _, l := range layers {
		img.file.RootFS.DiffIDs = append(img.file.RootFS.DiffIDs, l.diffID)
	}
	return partial.UncompressedToImage(img)
}

// MediaType is part of partial.UncompressedImageCore.
func (i *tarImage) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// RawConfigFile is part of partial.UncompressedImageCore.
func (i *tarImage) RawConfigFile() ([]byte, error) { return json.Marshal(i.file) }

// LayerByDiffID is part of partial.UncompressedImageCore.
func (i *tarImage) LayerByDiffID(h v1.Hash) (partial.UncompressedLayer, error) {
	for _, l := range i.layers {
		if l.diffID == h {
			return l, nil
		}
	}
	return nil, fmt.Errorf("there is no layer %s", h)
}

// A tarLayer is a tar on disk, compressed or not. It holds a context because
// the methods of v1.Layer take none.
type tarLayer struct {
	ctx    context.Context
	path   string
	diffID v1.Hash
}

func (l *tarLayer) DiffID() (v1.Hash, error)            { return l.diffID, nil }
func (l *tarLayer) MediaType() (types.MediaType, error) { return types.OCILayer, nil }

// Uncompressed returns the tar; its end is an error if it is not what it was.
func (l *tarLayer) Uncompressed() (io.ReadCloser, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	plain, err := imagefile.Decompress(l.ctx, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	sum := sha256.New()
	return &checkedReader{Reader: io.TeeReader(plain, sum), check: func() error {
		if got := hex.EncodeToString(sum.Sum(nil)); got != l.diffID.Hex {
			return fmt.Errorf("%s has changed while it was used", l.path)
		}
		return nil
	}, closers: []io.Closer{plain, f}}, nil
}

type checkedReader struct {
	io.Reader
	check   func() error
	closers []io.Closer
}

func (r *checkedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		if bad := r.check(); bad != nil {
			return n, bad
		}
	}
	return n, err
}

func (r *checkedReader) Close() error {
	var err error
	for _, c := range r.closers {
		if cerr := c.Close(); err == nil {
			err = cerr
		}
	}
	return err
}

// diffIDOf reads a tar through and returns the digest of its plain content.
func diffIDOf(ctx context.Context, path string) (v1.Hash, error) {
	f, err := os.Open(path)
	if err != nil {
		return v1.Hash{}, err
	}
	defer f.Close()
	plain, err := imagefile.Decompress(ctx, f)
	if err != nil {
		return v1.Hash{}, err
	}
	defer plain.Close()
	return hashReader(ctx, plain)
}

// hashReader reads to the end; it stops when ctx ends.
func hashReader(ctx context.Context, r io.Reader) (v1.Hash, error) {
	sum := sha256.New()
	if _, err := io.CopyBuffer(onlyWriter{sum}, ctxReader{ctx, r}, make([]byte, 256<<10)); err != nil {
		return v1.Hash{}, err
	}
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}, nil
}

type onlyWriter struct{ io.Writer }

type ctxReader struct {
	ctx context.Context
	io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// isTar reports whether the beginning of a plain file looks like a tar.
func isTar(head []byte) bool {
	return len(head) >= 512 && (bytes.Equal(head[257:262], []byte("ustar")) || bytes.Count(head[:512], []byte{0}) == 512)
}
