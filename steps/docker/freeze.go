package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/docker/docker/api/types/container"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/imageconfig"
)

// Freeze makes the image: the layers that the engine holds, and a config that
// is the base image's with the template's changes, in exactly our words. A
// commit would leave the container's own labels, user and entrypoint in it,
// and the time of day.
func (e *Engine) Freeze(ctx context.Context, sc *builder.Scope, m builder.Machine, f builder.Freezing) (builder.Artifact, error) {
	e = e.at(m.Where)
	top, made, err := e.finalLayers(ctx, m, f)
	if err != nil {
		return builder.Artifact{}, err
	}
	original, err := e.imageConfig(ctx, m.Detail[detailFrom], nil)
	if err != nil {
		return builder.Artifact{}, err
	}
	held, err := e.inspect(ctx, top)
	if err != nil {
		return builder.Artifact{}, err
	}
	if made, err = e.withContent(ctx, m, made, len(held.RootFS.Layers)); err != nil {
		return builder.Artifact{}, err
	}
	config, err := imageconfig.Final(original, held.RootFS.Layers, made.steps(), f)
	if err != nil {
		return builder.Artifact{}, err
	}
	img := builder.Image{
		Engine: engineName, Platform: m.Platform, Base: m.Detail[detailBase],
		Size: held.Size, Created: f.Created.UTC(), Annotations: f.Annotations,
	}
	if img.Layers, err = e.describe(ctx, top, held.RootFS.Layers, made); err != nil {
		return builder.Artifact{}, err
	}
	if err := e.assemble(ctx, top, config, &img); err != nil {
		return builder.Artifact{}, fmt.Errorf("making the image of %s: %w", f.Build, err)
	}
	return builder.Artifact{Image: &img}, nil
}

// finalLayers returns the image that holds all of the machine's layers, and
// the steps' images above the base. What has happened since the last snapshot
// is committed first.
func (e *Engine) finalLayers(ctx context.Context, m builder.Machine, f builder.Freezing) (top string, made layers, err error) {
	c, err := e.client(ctx)
	if err != nil {
		return "", nil, err
	}
	if m.Detail[detailSquash] == "" {
		return standsOn(m), layersOf(m), nil
	}
	if err := (&communicator{docker: c, id: m.ID}).killContainer(ctx); err != nil {
		return "", nil, err
	}
	changes, err := c.ContainerDiff(ctx, m.ID)
	if err == nil && len(changes) == 0 {
		return standsOn(m), nil, nil
	}
	commit, err := e.commit(ctx, c, m.ID, container.CommitOptions{
		Comment: "bake: " + f.Build, Config: &container.Config{Labels: stepLabels(builder.SnapshotKey{Key: f.Key, Step: f.Build}, standsOn(m))},
	})
	if err != nil {
		return "", nil, fmt.Errorf("committing container %s: %w", m.ID, err)
	}
	return commit.ID, layers{{Image: commit.ID, Step: f.Build}}, nil
}

// withContent leaves out the steps that changed nothing: the engine gives
// their images no layer of their own. total is how many layers the last has.
func (e *Engine) withContent(ctx context.Context, m builder.Machine, made layers, total int) (layers, error) {
	base, err := e.inspect(ctx, m.Detail[detailImage])
	if err != nil {
		return nil, err
	}
	before := len(base.RootFS.Layers)
	if before+len(made) == total {
		return made, nil // as a rule: nobody has to be asked
	}
	var out layers
	for _, l := range made {
		img, err := e.inspect(ctx, l.Image)
		if err != nil {
			return nil, err
		}
		if n := len(img.RootFS.Layers); n > before {
			out, before = append(out, l), n
		}
	}
	return out, nil
}

// steps returns what made the layers.
func (l layers) steps() []string {
	var names []string
	for _, one := range l {
		names = append(names, one.Step)
	}
	return names
}

// describe returns the layers for reports; sizes are the engine's.
func (e *Engine) describe(ctx context.Context, top string, diffIDs []string, made layers) ([]builder.Layer, error) {
	c, err := e.client(ctx)
	if err != nil {
		return nil, err
	}
	history, err := c.ImageHistory(ctx, top)
	if err != nil {
		return nil, err
	}
	size := map[string]int64{} // by image
	for _, h := range history {
		size[h.ID] = h.Size
	}
	described := make([]builder.Layer, len(diffIDs))
	for i, id := range diffIDs {
		described[i].DiffID = builder.Digest(id)
		if n := i - (len(diffIDs) - len(made)); n >= 0 {
			described[i].Step, described[i].Size = made[n].Step, size[made[n].Image]
		}
	}
	return described, nil
}

// assemble makes the image of a config and the layers of the image top, and
// leaves a note of what bake knows of it.
func (e *Engine) assemble(ctx context.Context, top string, config []byte, img *builder.Image) error {
	img.ID = digestOf(config)
	note, err := noteOfImage(config, *img)
	if err != nil {
		return err
	}
	fast := e.loadConfig(ctx, loading{config: config}, note)
	if fast == nil {
		_, fast = e.inspect(ctx, img.ID)
	}
	if fast == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := e.rewrite(ctx, top, config, img); err != nil {
		return err
	}
	if note, err = noteOfImage(config, *img); err != nil {
		return err
	}
	return e.loadConfig(ctx, note)
}

func noteOfImage(config []byte, img builder.Image) (loading, error) {
	artifact, err := json.Marshal(img)
	if err != nil {
		return loading{}, err
	}
	return noteOf(img.ID, config, artifact)
}

// rewrite makes the image by streaming the layers of top out of the engine and
// back in under another config, for engines that want to see them.
func (e *Engine) rewrite(ctx context.Context, top string, config []byte, img *builder.Image) error {
	held, err := e.OpenImage(ctx, builder.Image{ID: top, Engine: engineName})
	if err != nil {
		return err
	}
	sizes := map[v1.Hash]int64{}
	stream := held.(builder.LayerStreamer)
	all := func(v1.Hash) bool { return true }
	err = stream.StreamLayers(ctx, all, func(id v1.Hash, tar io.Reader) error {
		n, err := io.Copy(io.Discard, tar)
		sizes[id] = n
		return err
	})
	if err != nil {
		return err
	}
	tag := cacheRepository + ":final-" + short(img.ID) // such an engine may forget what has no name
	if err := e.loadStream(ctx, config, tag, sizes, stream); err != nil {
		return err
	}
	made, err := e.inspect(ctx, tag)
	if err == nil {
		img.ID = made.ID
	}
	return err
}

func parseConfig(config []byte) (*v1.ConfigFile, error) {
	return v1.ParseConfigFile(bytes.NewReader(config))
}
