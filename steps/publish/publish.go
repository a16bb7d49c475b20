// Package publish hands finished container images on: into the local Docker
// engine, into files, to registries, and into a manifest of everything made.
package publish

import (
	"context"
	"maps"
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

// variants opens the images of an artifact: one, or those of an index that
// platforms allows (all if it is empty).
func variants(ctx context.Context, sc *builder.Scope, in builder.Image, platforms []string) ([]registry.Variant, error) {
	all := in.Manifests
	if len(all) == 0 {
		all = []builder.Image{in}
	}
	var out []registry.Variant
	var have []builder.Platform
	for _, img := range all {
		have = append(have, img.Platform)
		if !wanted(img.Platform, platforms) {
			continue
		}
		content, err := sc.Image(ctx, img)
		if err != nil {
			return nil, err
		}
		annotations := maps.Clone(in.Annotations)
		if annotations == nil {
			annotations = map[string]string{}
		}
		maps.Copy(annotations, img.Annotations)
		out = append(out, registry.Variant{Image: content, Platform: img.Platform, Annotations: annotations})
	}
	if len(out) == 0 {
		want, err := builder.ParsePlatform(platforms[0])
		if err != nil {
			return nil, err
		}
		return nil, &registry.PlatformError{Image: "the image", Want: want, Have: have}
	}
	return out, nil
}

func wanted(have builder.Platform, platforms []string) bool {
	for _, p := range platforms {
		if want, err := builder.ParsePlatform(p); err == nil && registry.Suits(want, have) {
			return true
		}
	}
	return len(platforms) == 0
}

// short is a digest as people read it.
func short(digest string) string {
	algorithm, hex, ok := strings.Cut(digest, ":")
	if !ok || len(hex) < 12 {
		return digest
	}
	return algorithm + ":" + hex[:12]
}
