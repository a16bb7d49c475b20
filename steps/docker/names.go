package docker

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
)

// LocalImage returns the image that name means to the engine, and its id, or
// ErrNotFound. Its content is read when asked for, until ctx ends.
func (e *Engine) LocalImage(ctx context.Context, name string) (v1.Image, string, error) {
	found, err := e.inspect(ctx, name)
	if err != nil {
		return nil, "", err
	}
	img, err := e.OpenImage(ctx, builder.Image{Engine: engineName, ID: found.ID})
	return img, found.ID, err
}

// LoadImage makes an image exist in the engine under all tags. Layers that it
// holds already are not sent.
func (e *Engine) LoadImage(ctx context.Context, img v1.Image, tags []string) error {
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	id := digestOf(config)
	if _, err := e.inspect(ctx, id); err != nil {
		if err := e.put(ctx, nil, img, config, true); err != nil {
			return err
		}
	}
	return e.TagImage(ctx, id, tags)
}

// TagImage gives an image that the engine holds more names.
func (e *Engine) TagImage(ctx context.Context, id string, tags []string) error {
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if err := c.ImageTag(ctx, id, tag); err != nil {
			return fmt.Errorf("naming image %s %s: %w", id, tag, err)
		}
	}
	return nil
}
