package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bake/builder"
)

var (
	_ builder.ImageOpener   = (*Engine)(nil)
	_ builder.Cacher        = (*Engine)(nil)
	_ builder.LayerStreamer = (*heldImage)(nil)
)

// OpenImage returns the content of an image that the engine holds. It is a
// builder.LayerStreamer, which is the way to read more than one of its layers.
// Its layers can be read until ctx ends.
func (e *Engine) OpenImage(ctx context.Context, img builder.Image) (v1.Image, error) {
	c := core{engine: e, ctx: ctx, id: img.ID}
	c.config = sync.OnceValues(func() ([]byte, error) { return e.imageConfig(ctx, img.ID, nil) })
	whole, err := partial.UncompressedToImage(c)
	return &heldImage{Image: whole, core: c}, err
}

// A heldImage is an image in an engine.
type heldImage struct {
	v1.Image
	core core
}

// StreamLayers implements builder.LayerStreamer.
func (h *heldImage) StreamLayers(ctx context.Context, want func(v1.Hash) bool, fn func(v1.Hash, io.Reader) error) error {
	return h.core.streamLayers(ctx, want, fn)
}

// core is what partial completes to an image.
type core struct {
	engine *Engine
	ctx    context.Context // v1.Image has no place for one
	id     string
	config func() ([]byte, error)
}

// RawConfigFile is part of partial.UncompressedImageCore.
func (c core) RawConfigFile() ([]byte, error) { return c.config() }

// MediaType is part of partial.UncompressedImageCore.
func (c core) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// LayerByDiffID is part of partial.UncompressedImageCore.
func (c core) LayerByDiffID(id v1.Hash) (partial.UncompressedLayer, error) {
	return heldLayer{core: c, diffID: id}, nil
}

// A heldLayer is a layer in an engine.
type heldLayer struct {
	core   core
	diffID v1.Hash
}

func (l heldLayer) DiffID() (v1.Hash, error)            { return l.diffID, nil }
func (l heldLayer) MediaType() (types.MediaType, error) { return types.OCILayer, nil }

// Uncompressed streams the layer out of the engine.
func (l heldLayer) Uncompressed() (io.ReadCloser, error) {
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(l.core.ctx)
	go func() {
		found := false
		only := func(id v1.Hash) bool { return id == l.diffID && !found }
		err := l.core.streamLayers(ctx, only, func(_ v1.Hash, tar io.Reader) error {
			found = true
			_, err := io.Copy(w, tar)
			return err
		})
		if err == nil && !found {
			err = fmt.Errorf("layer %s of image %s: %w", l.diffID, l.core.id, builder.ErrNotFound)
		}
		w.CloseWithError(err)
	}()
	return &cancelled{r, cancel}, nil
}

// cancelled ends what writes to a pipe when its reader is closed.
type cancelled struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (c *cancelled) Close() error {
	c.cancel()
	return c.PipeReader.Close()
}

// streamLayers reads the layers from the engine's own files, if it runs on
// this machine and they may be read, else out of the archive that it saves.
func (c core) streamLayers(ctx context.Context, want func(v1.Hash) bool, fn func(v1.Hash, io.Reader) error) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	file, err := parseConfig(config)
	if err != nil {
		return err
	}
	wanted := map[v1.Hash]bool{}
	for _, id := range file.RootFS.DiffIDs {
		if want(id) {
			wanted[id] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	store, err := c.engine.localStore(file.RootFS.DiffIDs)
	if err == nil {
		return store.stream(ctx, wanted, fn)
	}
	if !errors.Is(err, errNotReadable) {
		return err
	}
	return c.engine.streamSaved(ctx, c.id, file.RootFS.DiffIDs, wanted, fn)
}
