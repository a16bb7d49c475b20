package oci

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"bake/builder"
	"bake/internal/imageconfig"
)

// Freeze packs the layers that are not packed yet, all at once, and makes the
// image's config and manifest. The image is on the disk when it returns.
func (e *Engine) Freeze(ctx context.Context, sc *builder.Scope, m builder.Machine, f builder.Freezing) (builder.Artifact, error) {
	s, err := e.store(ctx)
	if err != nil {
		return builder.Artifact{}, err
	}
	if m, err = e.saveRest(ctx, s, sc, m, f); err != nil {
		return builder.Artifact{}, err
	}
	base, err := s.useImage(m.Detail[detailBase])
	if err != nil {
		return builder.Artifact{}, fmt.Errorf("the base image %s: %w", m.Detail[detailBase], err)
	}
	packings, err := e.packings(ctx, s, sc, m, base, f)
	if err != nil {
		return builder.Artifact{}, err
	}
	made, err := e.packAll(ctx, s, sc, packings, f)
	if err != nil {
		return builder.Artifact{}, err
	}
	rec := imageRecord{Layers: slices.Concat(base.Layers, made)}
	if rec.Config, err = finalConfig(base.Config, rec.Layers, packings, f); err != nil {
		return builder.Artifact{}, err
	}
	if rec.Manifest, err = manifest(rec.Config, rec.Layers, f.Annotations); err != nil {
		return builder.Artifact{}, err
	}
	id := "sha256:" + sha(rec.Config)
	if err := s.keepImage(id, rec); err != nil {
		return builder.Artifact{}, fmt.Errorf("storing the image: %w", err)
	}
	return builder.Artifact{Image: describe(id, m, rec, packings, f)}, nil
}

// saveRest makes a layer of what has changed since the last snapshot, if anything has.
func (e *Engine) saveRest(ctx context.Context, s *store, sc *builder.Scope, m builder.Machine, f builder.Freezing) (builder.Machine, error) {
	changed, err := os.ReadDir(s.upper(m))
	if err != nil || len(changed) == 0 {
		return m, nil
	}
	return e.Snapshot(ctx, sc, m, builder.SnapshotKey{Key: f.Key, Step: f.Build, Never: true})
}

// packings are the layers above the base's, lowest first.
func (e *Engine) packings(ctx context.Context, s *store, sc *builder.Scope, m builder.Machine, base imageRecord, f builder.Freezing) ([]packing, error) {
	chain, err := s.chain(m)
	if err != nil {
		return nil, err
	}
	var all []packing
	for _, rec := range chain {
		dir, err := e.snapshotDir(ctx, s, sc, rec)
		if err != nil {
			return nil, fmt.Errorf("saved step %s: %w", rec.Step, err)
		}
		all = append(all, packing{dirs: []string{dir}, step: rec.Step})
	}
	if !f.Squash || len(all) == 0 {
		return all, nil
	}
	one := packing{step: f.Build}
	for _, p := range slices.Backward(all) {
		one.dirs = append(one.dirs, p.dirs...)
	}
	for _, l := range base.Layers {
		rec, err := e.layer(ctx, s, sc, l, s.openBlob(l.Blob))
		if err != nil {
			return nil, err
		}
		one.below = append(one.below, rec.Dir)
	}
	return []packing{one}, nil
}

func (e *Engine) packAll(ctx context.Context, s *store, sc *builder.Scope, packings []packing, f builder.Freezing) ([]layerRecord, error) {
	made := make([]layerRecord, len(packings))
	// As many compress at once as there are processors; more wait for the disk.
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, p := range packings {
		g.Go(func() error {
			var err error
			made[i], err = s.pack(gctx, sc, p, f.Created, e.opts.Exact, slots)
			return err
		})
	}
	return made, g.Wait()
}

// keepImage records an image for good: blobs are on the disk already, their
// names and the record follow.
func (s *store) keepImage(id string, rec imageRecord) error {
	for i := range rec.Layers {
		rec.Layers[i].Dir, rec.Layers[i].Boot = "", ""
	}
	if err := write(s, kindImage, id, rec); err != nil {
		return err
	}
	path := s.record(kindImage, id)
	for _, p := range []string{path, filepath.Dir(path), s.path("blobs")} {
		if err := syncPath(p); err != nil {
			return err
		}
	}
	_, err := s.useImage(id)
	return err
}

// syncPath is syncFile for what cannot be opened to be written, like directories.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// describe is the image as the engine and its reports know it.
func describe(id string, m builder.Machine, rec imageRecord, packings []packing, f builder.Freezing) *builder.Image {
	img := &builder.Image{Engine: engineName, ID: id, Platform: m.Platform, Base: m.Detail[detailRef], Created: f.Created.UTC(), Annotations: f.Annotations}
	for i, l := range rec.Layers {
		layer := builder.Layer{DiffID: builder.Digest(l.DiffID), Size: l.Size}
		if n := i - (len(rec.Layers) - len(packings)); n >= 0 {
			layer.Step = packings[n].step
		}
		img.Layers = append(img.Layers, layer)
		img.Size += l.Size
	}
	return img
}

// finalConfig is the base's config with the new layers and the template's changes.
func finalConfig(base []byte, layers []layerRecord, packings []packing, f builder.Freezing) ([]byte, error) {
	var diffIDs, steps []string
	for _, l := range layers {
		diffIDs = append(diffIDs, l.DiffID)
	}
	for _, p := range packings {
		steps = append(steps, p.step)
	}
	return imageconfig.Final(base, diffIDs, steps, f)
}
