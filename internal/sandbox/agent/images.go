package agent

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/registry"
)

// Images finds the images that tasks name.
type Images interface {
	// Image returns what ref names for a platform, as account may pull it in
	// region. The error wraps builder.ErrNotFound if there is no such image,
	// and *registry.PlatformError if it is not made for the platform. ctx
	// bounds the reading of its layers too.
	Image(ctx context.Context, account, region, ref string, p builder.Platform) (v1.Image, error)
}

// Registries finds images wherever their names say, as docker does.
type Registries struct{ client *registry.Client }

// NewRegistries returns Registries that go through client.
func NewRegistries(client *registry.Client) Registries { return Registries{client} }

// Image implements Images; account and region do not matter to registries.
func (r Registries) Image(ctx context.Context, _, _, ref string, p builder.Platform) (v1.Image, error) {
	at, err := registry.ParseReference(ref, false)
	if err != nil {
		return nil, err
	}
	found, err := r.client.Find(ctx, at, registry.Pull{Platform: p})
	if err != nil {
		return nil, err
	}
	img, err := r.client.Image(ctx, at, found, nil)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", ref, err)
	}
	return img, nil
}
