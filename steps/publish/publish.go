// Package publish hands finished container images on: into the local Docker
// engine, into files, to registries, and into a manifest of everything made.
package publish

import (
	"context"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/registry"
)

// A Loader is an engine that images can be put into. If it also has
// LocalImage, images that it has under the right names are left alone.
type Loader interface {
	Name() string // Image.Engine of its own images: "docker"
	// LoadImage makes the image exist in the engine under all tags.
	LoadImage(ctx context.Context, img v1.Image, tags []string) error
	// TagImage gives an image that the engine holds more names.
	TagImage(ctx context.Context, id string, tags []string) error
}

// Deps is what the outputs need.
type Deps struct {
	Registry *registry.Client
	// Loader returns the local Docker engine; it is not called before an
	// image is to be put there.
	Loader func(ctx context.Context) (Loader, error)
}

// Outputs returns the kinds of outputs for container images.
func Outputs(d Deps) map[string]func() builder.Output {
	return map[string]func() builder.Output{
		"image":    func() builder.Output { return &Image{deps: d} },
		"archive":  func() builder.Output { return &Archive{deps: d} },
		"registry": func() builder.Output { return &Registry{deps: d} },
		"manifest": func() builder.Output { return &Manifest{} },
	}
}

// short is a digest as people read it.
func short(digest string) string {
	algorithm, hex, ok := strings.Cut(digest, ":")
	if !ok || len(hex) < 12 {
		return digest
	}
	return algorithm + ":" + hex[:12]
}
