package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"bake/builder"
	"bake/internal/registry"
)

// unpackers is how many layers are unpacked at once; each needs memory for
// one decompressor, whose window is up to 8 MiB.
const unpackers = 3

// image makes sure that what a build starts from is in the store, all its
// layers unpacked, and returns its config digest and record.
func (e *Engine) image(ctx context.Context, s *store, sc *builder.Scope, from builder.Opening, base func(ctx context.Context) (v1.Image, error)) (string, imageRecord, error) {
	if from.Base != nil && from.Base.Image != nil && from.Base.Image.Engine == engineName {
		id := from.Base.Image.ID
		if rec, err := e.knownImage(ctx, s, sc, id); err == nil || !errors.Is(err, builder.ErrNotFound) {
			return id, rec, err
		}
	}
	pin := string(from.Pin.Digest)
	if from.Base != nil && from.Base.Image != nil {
		pin = from.Base.Image.ID
	}
	name := address(pin, from.Platform.String())
	if id, err := read[string](s, kindBase, name); err == nil {
		s.touch(kindBase, name)
		if rec, err := e.knownImage(ctx, s, sc, id); err == nil || !errors.Is(err, builder.ErrNotFound) {
			return id, rec, err
		}
	}
	img, err := base(ctx)
	if err != nil {
		return "", imageRecord{}, err
	}
	id, rec, err := e.addImage(ctx, s, sc, img)
	if err != nil {
		return "", rec, err
	}
	return id, rec, write(s, kindBase, name, id)
}

// knownImage reads an image's record and unpacks layers of which only the blob
// is there. It is ErrNotFound if anything is missing.
func (e *Engine) knownImage(ctx context.Context, s *store, sc *builder.Scope, id string) (imageRecord, error) {
	rec, err := s.useImage(id)
	if err != nil {
		return rec, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(unpackers)
	for _, l := range rec.Layers {
		g.Go(func() error {
			_, err := e.layer(gctx, s, sc, l, s.openBlob(l.Blob))
			return err
		})
	}
	return rec, g.Wait()
}

// addImage brings an image's layers into the store.
func (e *Engine) addImage(ctx context.Context, s *store, sc *builder.Scope, img v1.Image) (string, imageRecord, error) {
	var rec imageRecord
	config, err := img.RawConfigFile()
	if err != nil {
		return "", rec, fmt.Errorf("reading the config of the base image: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return "", rec, fmt.Errorf("reading the config of the base image: %w", err)
	}
	rec.Config = config
	diffs := file.RootFS.DiffIDs
	if streamer, ok := img.(builder.LayerStreamer); ok {
		rec.Layers, err = e.streamLayers(ctx, s, sc, streamer, diffs)
	} else {
		rec.Layers, err = e.pullLayers(ctx, s, sc, img, diffs)
	}
	if err != nil {
		return "", rec, err
	}
	if rec.Manifest, err = manifest(rec.Config, rec.Layers, nil); err != nil {
		return "", rec, err
	}
	id := "sha256:" + sha(config)
	if err := s.lasting(rec.Layers); err != nil {
		return "", rec, err
	}
	if err := write(s, kindImage, id, rec); err != nil {
		return "", rec, err
	}
	_, err = s.useImage(id)
	return id, rec, err
}

func (e *Engine) pullLayers(ctx context.Context, s *store, sc *builder.Scope, img v1.Image, diffs []v1.Hash) ([]layerRecord, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("reading the base image: %w", err)
	}
	if len(layers) != len(diffs) {
		return nil, fmt.Errorf("the base image has %d layers, but its config names %d", len(layers), len(diffs))
	}
	recs := make([]layerRecord, len(layers))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(unpackers)
	for i, l := range layers {
		g.Go(func() error {
			var err error
			recs[i], err = e.pullLayer(gctx, s, sc, l, diffs[i])
			return err
		})
	}
	return recs, g.Wait()
}

func (e *Engine) pullLayer(ctx context.Context, s *store, sc *builder.Scope, l v1.Layer, diff v1.Hash) (layerRecord, error) {
	if rec, err := e.layer(ctx, s, sc, layerRecord{DiffID: diff.String()}, nil); err == nil {
		return rec, nil
	}
	digest, err := l.Digest()
	if err != nil {
		return layerRecord{}, fmt.Errorf("reading layer %s: %w", diff, err)
	}
	size, err := l.Size()
	if err != nil {
		return layerRecord{}, fmt.Errorf("reading layer %s: %w", diff, err)
	}
	media, err := l.MediaType()
	if err != nil {
		return layerRecord{}, fmt.Errorf("reading layer %s: %w", diff, err)
	}
	want := layerRecord{DiffID: diff.String(), Blob: digest.String(), BlobSize: size, MediaType: string(registry.OCILayerType(media))}
	return e.layer(ctx, s, sc, want, l.Compressed)
}

// layer returns the record of a layer whose directory is there. If it is not,
// open gives its compressed content, which must have the digests that want says.
func (e *Engine) layer(ctx context.Context, s *store, sc *builder.Scope, want layerRecord, open func() (io.ReadCloser, error)) (layerRecord, error) {
	if rec, err := s.useLayer(want.DiffID); err == nil || open == nil {
		return rec, err
	}
	// Builds that start from the same image unpack it once.
	v, err, _ := e.flight.Do(s.dir+want.DiffID, func() (any, error) {
		if rec, err := s.useLayer(want.DiffID); err == nil {
			return rec, nil
		}
		return s.unpack(ctx, sc, want, open)
	})
	rec, _ := v.(layerRecord)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.Canceled) {
		return e.layer(ctx, s, sc, want, open) // it was another build that gave up
	}
	return rec, err
}

// lasting syncs the store's file system, so that directories of layers outlive
// a power loss, and says so in their records.
func (s *store) lasting(layers []layerRecord) error {
	if err := s.sync(); err != nil {
		return err
	}
	for _, l := range layers {
		if l.Boot == "" {
			continue
		}
		l.Boot = ""
		if err := write(s, kindLayer, l.DiffID, l); err != nil {
			return err
		}
	}
	return nil
}

// manifest returns the manifest of an image.
func manifest(config []byte, layers []layerRecord, annotations map[string]string) ([]byte, error) {
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Annotations: annotations, Layers: []v1.Descriptor{},
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(config)), Digest: v1.Hash{Algorithm: "sha256", Hex: sha(config)}},
	}
	for _, l := range layers {
		digest, err := v1.NewHash(l.Blob)
		if err != nil {
			return nil, err
		}
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: types.MediaType(l.MediaType), Size: l.BlobSize, Digest: digest})
	}
	return json.Marshal(m)
}
