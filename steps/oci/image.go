package oci

import (
	"context"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bake/builder"
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
	return partial.CompressedToImage(&core{s, rec})
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
