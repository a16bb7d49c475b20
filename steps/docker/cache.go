package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"bake/builder"
)

func keyName(key builder.Digest) string { return cacheRepository + ":key-" + short(string(key)) }

// Lookup returns the image that Record filed under key, if the engine still
// holds it. Finding it counts as a use, for Prune.
func (e *Engine) Lookup(ctx context.Context, _ *builder.Scope, key builder.Digest) (builder.Artifact, error) {
	note, err := e.inspect(ctx, keyName(key))
	if err != nil {
		return builder.Artifact{}, err
	}
	var img builder.Image
	if err := json.Unmarshal([]byte(note.Config.Labels[labelArtifact]), &img); err != nil {
		return builder.Artifact{}, fmt.Errorf("what is known of image %s: %w", keyName(key), builder.ErrNotFound)
	}
	if _, err := e.inspect(ctx, img.ID); err != nil {
		return builder.Artifact{}, err
	}
	c, err := e.client(ctx)
	if err != nil {
		return builder.Artifact{}, err
	}
	if err := c.ImageTag(ctx, note.ID, keyName(key)); err != nil {
		return builder.Artifact{}, err
	}
	return builder.Artifact{Image: &img}, nil
}

// Record files the image under key.
func (e *Engine) Record(ctx context.Context, _ *builder.Scope, key builder.Digest, a builder.Artifact) error {
	if a.Image == nil {
		return errors.New("only images can be recorded")
	}
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	if err := c.ImageTag(ctx, noteName(a.Image.ID), keyName(key)); err != nil {
		return fmt.Errorf("recording image %s: %w", a.Image.ID, err)
	}
	return nil
}

// Prune removes images that only bake needs, least recently used first, until
// those that are left hold at most limit bytes. What containers or images with
// names use stays. It returns how many bytes the removed ones held.
func (e *Engine) Prune(ctx context.Context, limit int64) (int64, error) {
	c, err := e.client(ctx)
	if err != nil {
		return 0, err
	}
	all, err := e.cached(ctx)
	if err != nil {
		return 0, err
	}
	var total, freed int64
	for _, img := range all {
		total += img.size
	}
	for progress := true; progress && total > limit; {
		progress = false
		for i, img := range all {
			if total <= limit {
				break
			}
			if img.id == "" {
				continue
			}
			if err := ctx.Err(); err != nil {
				return freed, err
			}
			if _, err := c.ImageRemove(ctx, img.name, image.RemoveOptions{PruneChildren: false}); err != nil && !errdefs.IsNotFound(err) {
				if errdefs.IsConflict(err) {
					continue // in use, or the parent of another: it may go in the next round
				}
				return freed, fmt.Errorf("removing image %s: %w", img.name, err)
			}
			all[i].id, progress = "", true
			total, freed = total-img.size, freed+img.size
		}
	}
	return freed, nil
}

// A cachedImage is one that only bake needs.
type cachedImage struct {
	id, name string // name is what removes it: a tag, or the id
	size     int64  // bytes of its own layer
	used     time.Time
}

// cached lists what Prune may remove, least recently used first.
func (e *Engine) cached(ctx context.Context) ([]cachedImage, error) {
	c, err := e.client(ctx)
	if err != nil {
		return nil, err
	}
	var found []cachedImage
	steps, err := c.ImageList(ctx, image.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", labelKey))})
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for _, img := range steps {
		sizes[img.ID] = img.Size
	}
	for _, img := range steps {
		size := img.Size
		if parent, ok := sizes[img.Labels[labelParent]]; ok {
			size -= parent
		} else if parent, err := e.inspect(ctx, img.Labels[labelParent]); err == nil {
			size -= parent.Size
		}
		found = append(found, cachedImage{id: img.ID, name: img.ID, size: size, used: time.Unix(img.Created, 0)})
	}
	named, err := c.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", cacheRepository))})
	if err != nil {
		return nil, err
	}
	for _, img := range named {
		for _, tag := range img.RepoTags {
			if !strings.HasPrefix(tag, cacheRepository+":") {
				continue
			}
			detail, err := e.inspect(ctx, tag)
			if err != nil {
				continue
			}
			size := int64(len(detail.Config.Labels[labelConfig]))
			if strings.HasPrefix(tag, cacheRepository+":base-") {
				size = img.Size
			}
			found = append(found, cachedImage{id: img.ID, name: tag, size: size, used: detail.Metadata.LastTagTime})
		}
	}
	slices.SortStableFunc(found, func(a, b cachedImage) int { return cmp.Compare(a.used.Unix(), b.used.Unix()) })
	return found, nil
}
