package registry

import (
	"context"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
)

// Variants opens the images of an artifact: one, or those of an index that
// platforms allows (all if it is empty). open is builder.Scope.Image.
func Variants(ctx context.Context, open func(context.Context, builder.Image) (v1.Image, error), in builder.Image, platforms []string) ([]Variant, error) {
	all := in.Manifests
	if len(all) == 0 {
		all = []builder.Image{in}
	}
	var out []Variant
	var have []builder.Platform
	for _, img := range all {
		have = append(have, img.Platform)
		if !wanted(img.Platform, platforms) {
			continue
		}
		content, err := open(ctx, img)
		if err != nil {
			return nil, err
		}
		annotations := maps.Clone(in.Annotations)
		if annotations == nil {
			annotations = map[string]string{}
		}
		maps.Copy(annotations, img.Annotations)
		out = append(out, Variant{Image: content, Platform: img.Platform, Annotations: annotations})
	}
	if len(out) == 0 {
		want, err := builder.ParsePlatform(platforms[0])
		if err != nil {
			return nil, err
		}
		return nil, &PlatformError{Image: "the image", Want: want, Have: have}
	}
	return out, nil
}

func wanted(have builder.Platform, platforms []string) bool {
	for _, p := range platforms {
		if want, err := builder.ParsePlatform(p); err == nil && Suits(want, have) {
			return true
		}
	}
	return len(platforms) == 0
}

// MountFrom lists the repositories that may have layers of the images
// already: above all those that their bases are from, then more.
func MountFrom(img builder.Image, insecure bool, more ...string) []string {
	from := slices.Clone(more)
	for _, i := range append([]builder.Image{img}, img.Manifests...) {
		for _, name := range []string{i.Ref, i.Base} {
			if ref, err := ParseRepository(name, insecure); name != "" && err == nil {
				from = append(from, ref.Name())
			}
		}
	}
	return from
}
