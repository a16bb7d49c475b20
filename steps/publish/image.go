package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/registry"
	"bake/templates"
)

// Image names the image in the local Docker engine; an image of another
// engine is loaded into it.
type Image struct {
	Name     string            `yaml:"name" bake:"main" doc:"Name of the image, with its tag; latest if it has none."`
	Tags     templates.Strings `yaml:"tags" doc:"More tags: TAG for the same name, or NAME:TAG."`
	Platform string            `yaml:"platform" doc:"Which of several platforms; the engine's own if not given."`

	deps Deps
}

// Validate wants at least one name, and names that docker takes.
func (o *Image) Validate(b templates.Block) templates.Diagnostics {
	if o.Name == "" && len(o.Tags) == 0 && !b.Unresolved() {
		d := b.Errorf("the image needs a name")
		d.Hint = "say `image: web:1.0`"
		return templates.Diagnostics{d}
	}
	var out templates.Diagnostics
	if _, err := registry.ParseRepository(o.Name, false); o.Name != "" && err != nil {
		out = append(out, b.At("name").Errorf("%v", err))
	}
	if _, err := builder.ParsePlatform(o.Platform); o.Platform != "" && err != nil {
		out = append(out, b.At("platform").Errorf("%v", err))
	}
	for i, t := range o.Tags {
		if _, err := o.full(t); t != "" && err != nil {
			out = append(out, b.At("tags", fmt.Sprint(i)).Errorf("%v", err))
		}
	}
	return out
}

// full is a whole name for what stands under tags.
func (o *Image) full(tag string) (string, error) {
	if o.Name != "" && !strings.ContainsAny(tag, ":/") {
		ref, err := registry.ParseRepository(o.Name, false)
		if err != nil {
			return "", err
		}
		tag = ref.Name() + ":" + tag
	}
	ref, err := registry.ParseReference(tag, false)
	return ref.String(), err
}

func (o *Image) names() ([]string, error) {
	var out []string
	if o.Name != "" {
		ref, err := registry.ParseReference(o.Name, false)
		if err != nil {
			return nil, err
		}
		out = append(out, ref.String())
	}
	for _, t := range o.Tags {
		name, err := o.full(t)
		if err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	return out, nil
}

// Accepts says that only container images can be loaded.
func (o *Image) Accepts(k builder.ArtifactKind) bool { return k == builder.ImageArtifact }

// Publish loads the image, if it is not there, and names it.
func (o *Image) Publish(ctx context.Context, sc *builder.Scope, in builder.Artifact) (builder.Published, error) {
	names, err := o.names()
	if err != nil {
		return builder.Published{}, err
	}
	img, err := o.choose(*in.Image)
	if err != nil {
		return builder.Published{}, err
	}
	if o.deps.Loader == nil {
		return builder.Published{}, &noEngineError{errors.New("this bake knows none")}
	}
	engine, err := o.deps.Loader(ctx)
	if err != nil {
		return builder.Published{}, &noEngineError{err}
	}
	unchanged := has(ctx, engine, img.ID, names)
	switch {
	case unchanged:
	case img.Engine == engine.Name():
		err = engine.TagImage(ctx, img.ID, names)
	default:
		var content v1.Image
		if content, err = sc.Image(ctx, img); err == nil {
			err = engine.LoadImage(ctx, content, names)
		}
	}
	if err != nil {
		return builder.Published{}, fmt.Errorf("image %s: %w", names[0], err)
	}
	verb := "loaded"
	if unchanged {
		verb = "already there:"
	}
	return builder.Published{
		Values:    map[string]string{"name": names[0], "names": strings.Join(names, ","), "id": img.ID, "ref": names[0], "digest": img.ID},
		Summary:   fmt.Sprintf("%s %s (%s)", verb, strings.Join(names, ", "), short(img.ID)),
		Unchanged: unchanged,
	}, nil
}

// has reports whether all names mean the image already, as far as the engine tells.
func has(ctx context.Context, engine Loader, id string, names []string) bool {
	local, ok := engine.(interface {
		LocalImage(ctx context.Context, name string) (v1.Image, string, error)
	})
	if !ok {
		return false
	}
	for _, name := range names {
		if _, have, err := local.LocalImage(ctx, name); err != nil || have != id {
			return false
		}
	}
	return true
}

// choose takes the image for the engine out of an index.
func (o *Image) choose(in builder.Image) (builder.Image, error) {
	if len(in.Manifests) == 0 {
		return in, nil
	}
	want := hostPlatform()
	if o.Platform != "" {
		var err error
		if want, err = builder.ParsePlatform(o.Platform); err != nil {
			return builder.Image{}, err
		}
	}
	var have []builder.Platform
	for _, m := range in.Manifests {
		if registry.Suits(want, m.Platform) {
			return m, nil
		}
		have = append(have, m.Platform)
	}
	return builder.Image{}, &registry.PlatformError{Image: "the image", Want: want, Have: have}
}

type noEngineError struct{ err error }

func (e *noEngineError) Error() string {
	return "there is no Docker engine to load into: " + e.err.Error()
}

func (e *noEngineError) Unwrap() error { return e.err }

// Hint names what works without an engine.
func (e *noEngineError) Hint() string {
	return "start Docker or set DOCKER_HOST; `archive: image.tar` needs no engine"
}
