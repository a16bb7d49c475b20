package oci

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/pgzip"

	"bake/builder"
	"bake/internal/rootfs/untar"
)

// OpenImage returns an image of the store. Its layers are the blobs as they
// are there, a base's as its registry has them, so that nothing is compressed
// again.
func (e *Engine) OpenImage(ctx context.Context, img builder.Image) (v1.Image, error) {
	s, err := e.store(ctx)
	if err != nil {
		return nil, err
	}
	rec, err := s.useImage(img.ID)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", img.ID, err)
	}
	whole, err := partial.CompressedToImage(&core{s, rec})
	if err != nil {
		return nil, err
	}
	return &storedImage{whole, s, rec}, nil
}

// A storedImage hands out its layers as they are, because what partial makes
// of them decompresses at half the speed.
type storedImage struct {
	v1.Image
	store *store
	rec   imageRecord
}

// Layers returns the layers, base first.
func (i *storedImage) Layers() ([]v1.Layer, error) {
	all := make([]v1.Layer, len(i.rec.Layers))
	for n, l := range i.rec.Layers {
		all[n] = &blobLayer{i.store, l}
	}
	return all, nil
}

// LayerByDigest returns the layer, or the config, with that digest.
func (i *storedImage) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	for _, l := range i.rec.Layers {
		if l.Blob == h.String() {
			return &blobLayer{i.store, l}, nil
		}
	}
	return i.Image.LayerByDigest(h)
}

// LayerByDiffID returns the layer of that uncompressed digest.
func (i *storedImage) LayerByDiffID(h v1.Hash) (v1.Layer, error) {
	for _, l := range i.rec.Layers {
		if l.DiffID == h.String() {
			return &blobLayer{i.store, l}, nil
		}
	}
	return nil, fmt.Errorf("layer %s: %w", h, builder.ErrNotFound)
}

// core is what partial makes an image of.
type core struct {
	store *store
	rec   imageRecord
}

func (c *core) RawManifest() ([]byte, error)        { return c.rec.Manifest, nil }
func (c *core) RawConfigFile() ([]byte, error)      { return c.rec.Config, nil }
func (c *core) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

func (c *core) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, l := range c.rec.Layers {
		if l.Blob == h.String() {
			return &blobLayer{c.store, l}, nil
		}
	}
	if h.Hex == sha(c.rec.Config) {
		return partial.ConfigLayer(c)
	}
	return nil, fmt.Errorf("layer %s: %w", h, builder.ErrNotFound)
}

// blobLayer is a layer of the store.
type blobLayer struct {
	store *store
	rec   layerRecord
}

func (l *blobLayer) Digest() (v1.Hash, error) { return v1.NewHash(l.rec.Blob) }
func (l *blobLayer) DiffID() (v1.Hash, error) { return v1.NewHash(l.rec.DiffID) }
func (l *blobLayer) Size() (int64, error)     { return l.rec.BlobSize, nil }
func (l *blobLayer) MediaType() (types.MediaType, error) {
	return types.MediaType(l.rec.MediaType), nil
}
func (l *blobLayer) Compressed() (io.ReadCloser, error) { return os.Open(l.store.blob(l.rec.Blob)) }

// readAhead is the size, in bytes, from which on it is worth it to decompress
// a layer on another processor than the one that reads it.
const readAhead = 1 << 20

// Uncompressed returns the layer's tar.
func (l *blobLayer) Uncompressed() (io.ReadCloser, error) {
	file, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	var plain io.ReadCloser
	content := bufio.NewReaderSize(file, 64<<10)
	if magic, _ := content.Peek(2); l.rec.BlobSize >= readAhead && string(magic) == untar.GzipMagic {
		plain, err = pgzip.NewReaderN(content, 256<<10, 8)
	} else {
		plain, err = untar.Decompress(content)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("layer %s: %w", l.rec.DiffID, err)
	}
	return &reader{plain, file}, nil
}

// A reader closes the file below it too.
type reader struct {
	io.ReadCloser
	file io.Closer
}

func (r *reader) Close() error { return errors.Join(r.ReadCloser.Close(), r.file.Close()) }
