package docker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"bake/builder"
)

var _ builder.Snapshotter = (*snapshots)(nil)

// snapshots are the methods of Engine that builder.Snapshotter asks for.
type snapshots = Engine

// Snapshot commits the container as the step's image, and returns a machine in
// a new container of it. A squashed build keeps its container: its steps have
// no images of their own, and so no cache.
func (e *Engine) Snapshot(ctx context.Context, sc *builder.Scope, m builder.Machine, key builder.SnapshotKey) (builder.Machine, error) {
	if m.Detail[detailSquash] != "" {
		return m, nil
	}
	at := e.at(m.Where)
	c, err := at.client(ctx)
	if err != nil {
		return m, err
	}
	if err := at.silence(ctx, c, m.ID); err != nil {
		return m, err
	}
	commit, err := at.commit(ctx, c, m.ID, container.CommitOptions{
		Comment: "bake: " + key.Step, Config: &container.Config{Labels: stepLabels(key, standsOn(m))},
	})
	if err != nil {
		return m, fmt.Errorf("committing container %s: %w", m.ID, err)
	}
	old := m.ID
	m.Snapshot = commit.ID
	m.Detail = withDetail(m.Detail, detailSteps, append(layersOf(m), layer{Image: commit.ID, Step: key.Step}).String())
	m, err = at.withContainer(ctx, sc, m, "after-"+short(commit.ID)[:12], commit.ID)
	if err == nil {
		at.discard(ctx, c, old)
	}
	return m, err
}

// commit makes an image of a container, which no process may run in. It takes
// as long as there is to read.
func (e *Engine) commit(ctx context.Context, c *client.Client, id string, opts container.CommitOptions) (container.CommitResponse, error) {
	done, err := e.turn(ctx)
	if err != nil {
		return container.CommitResponse{}, err
	}
	defer done()
	return c.ContainerCommit(ctx, id, opts)
}

// silence ends all processes of a container: nothing of a step may go on
// writing while the engine reads.
func (e *Engine) silence(ctx context.Context, c *client.Client, id string) error {
	if e.forgetEnd(id) {
		return nil
	}
	return (&communicator{docker: c, id: id}).killContainer(ctx)
}

// noteEnd remembers that a container's processes have ended, before the engine
// has put its own affairs in order.
func (e *Engine) noteEnd(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.quiet[id] = true
}

// forgetEnd returns what noteEnd has noted, once.
func (e *Engine) forgetEnd(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	quiet := e.quiet[id]
	delete(e.quiet, id)
	return quiet
}

// discard removes, in the background, a container that nobody needs any more.
// It goes by the container's id: a run that is resumed may make another of the
// same name before this one is gone. If this process ends before that, or it
// fails, the release at the end of the run does it again.
func (e *Engine) discard(ctx context.Context, c *client.Client, name string) {
	found, err := c.ContainerInspect(ctx, name)
	if err != nil {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = e.removeContainer(ctx, found.ID)
	}()
}

// Restore looks for the images of the steps, each made on top of the one before.
func (e *Engine) Restore(ctx context.Context, sc *builder.Scope, m builder.Machine, keys []builder.SnapshotKey) (builder.Machine, int, error) {
	if m.Detail[detailSquash] != "" || len(keys) == 0 || keys[0].Never {
		return m, 0, nil
	}
	at := e.at(m.Where)
	c, err := at.client(ctx)
	if err != nil {
		return m, 0, err
	}
	list, err := c.ImageList(ctx, image.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", labelKey))})
	if err != nil {
		return m, 0, fmt.Errorf("looking for images of earlier runs: %w", err)
	}
	found := chain(list, standsOn(m), keys, time.Now())
	if len(found) == 0 {
		return m, 0, nil
	}
	last := found[len(found)-1].Image
	old := m.ID
	m.Snapshot = last
	m.Detail = withDetail(m.Detail, detailSteps, append(layersOf(m), found...).String())
	m, err = at.withContainer(ctx, sc, m, "after-"+short(last)[:12], last)
	if err != nil {
		return m, 0, err
	}
	at.discard(ctx, c, old)
	return m, len(found), nil
}

// chain follows keys from the image parent through the step images that there
// are, as far as they are valid.
func chain(images []image.Summary, parent string, keys []builder.SnapshotKey, now time.Time) layers {
	type link struct{ key, parent string }
	newest := map[link]image.Summary{}
	for _, img := range images {
		at := link{img.Labels[labelKey], img.Labels[labelParent]}
		if known, ok := newest[at]; !ok || img.Created > known.Created {
			newest[at] = img
		}
	}
	var found layers
	for _, key := range keys {
		img, ok := newest[link{string(key.Key), parent}]
		if !ok || key.Never || key.MaxAge > 0 && now.Sub(time.Unix(img.Created, 0)) > key.MaxAge {
			break
		}
		found = append(found, layer{Image: img.ID, Step: key.Step})
		parent = img.ID
	}
	return slices.Clip(found)
}

// Rollback makes the machine's container anew, under its name, from the image
// it stands on. The container of a squashed build has no image of what earlier
// steps did: there only the processes end.
func (e *Engine) Rollback(ctx context.Context, sc *builder.Scope, m builder.Machine) error {
	e = e.at(m.Where)
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	if m.Detail[detailSquash] != "" {
		sc.Log("the build is squashed: the step goes on where the last attempt ended")
		return (&communicator{docker: c, id: m.ID}).killContainer(ctx)
	}
	if err := e.removeContainer(ctx, m.ID); err != nil {
		return fmt.Errorf("removing container %s: %w", m.ID, err)
	}
	_, err = e.createContainer(ctx, m.ID, buildContainer(standsOn(m), containerLabels(sc.Run, sc.Step.Build(), m.Detail[detailToken])), buildNetwork)
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("image %s of the last finished step is gone: %w", standsOn(m), err)
	}
	return err
}
