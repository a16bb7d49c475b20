package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"bake/internal/rootfs"
	"bake/internal/rootfs/untar"
)

// An Image is unpacked and can be started.
type Image struct {
	Digest string // of its manifest
	Config v1.Config
	layers []string // names below layers/, top first
}

// unpackers is how many layers are unpacked at once.
const unpackers = 2

// Unpack brings the layers of img that are not there yet.
func (a *Agent) Unpack(ctx context.Context, img v1.Image) (*Image, error) {
	if a.host == nil {
		return nil, rootfs.ErrUnsupported
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the config of %s: %w", digest, err)
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	if len(layers) != len(config.RootFS.DiffIDs) {
		return nil, fmt.Errorf("image %s has %d layers, but its config names %d", digest, len(layers), len(config.RootFS.DiffIDs))
	}
	out := &Image{Digest: digest.String(), Config: config.Config, layers: make([]string, len(layers))}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(unpackers)
	for i, l := range layers {
		diff := config.RootFS.DiffIDs[i]
		out.layers[len(layers)-1-i] = layerName(diff)
		g.Go(func() error { return a.layer(gctx, l, diff) })
	}
	return out, g.Wait()
}

// layerName is short, because overlayfs has one page for the names of all layers.
func layerName(diff v1.Hash) string { return diff.Hex[:20] }

func (a *Agent) layer(ctx context.Context, l v1.Layer, diff v1.Hash) error {
	name := layerName(diff)
	_, err, _ := a.flight.Do(name, func() (any, error) {
		if _, err := os.Lstat(a.path("layers", name)); err == nil {
			return nil, nil
		}
		return nil, a.unpackLayer(ctx, l, diff)
	})
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		return a.layer(ctx, l, diff) // it was another task that gave up
	}
	return err
}

func (a *Agent) unpackLayer(ctx context.Context, l v1.Layer, diff v1.Hash) error {
	dir, err := os.MkdirTemp(a.path("tmp"), "layer-")
	if err != nil {
		return err
	}
	defer a.host.Remove(context.WithoutCancel(ctx), dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	body, err := l.Compressed()
	if err != nil {
		return err
	}
	defer body.Close()
	if err := a.apply(ctx, dir, body, diff); err != nil {
		return fmt.Errorf("unpacking layer %s: %w", diff, err)
	}
	return a.host.Rename(ctx, dir, a.path("layers", layerName(diff)))
}

// apply unpacks the tar in body, which must have the digest that the image's config names.
func (a *Agent) apply(ctx context.Context, dir string, body io.Reader, diff v1.Hash) error {
	plain, err := untar.Decompress(body)
	if err != nil {
		return err
	}
	defer plain.Close()
	sum := sha256.New()
	tar := io.TeeReader(plain, sum)
	if err := a.host.Apply(ctx, dir, rootfs.Options{Layer: true}, untar.Feed(tar)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, tar); err != nil { // padding after the end is part of what is hashed
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != diff.Hex {
		return fmt.Errorf("content has digest sha256:%s", got)
	}
	return nil
}
