package container

import (
	"context"
	"errors"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/templates"
)

// Scratch is an image with nothing in it: `scratch: true`.
type Scratch struct {
	Yes bool `yaml:"scratch" bake:"main" default:"true" doc:"Start from an image with nothing in it."`
	delegate
}

// Validate refuses `scratch: false`, which says nothing.
func (s *Scratch) Validate(b templates.Block) templates.Diagnostics {
	if !s.Yes && !b.Unresolved() {
		return templates.Diagnostics{b.Errorf("scratch can only be true; name another source instead")}
	}
	return nil
}

// Pin has nothing to look up.
func (s *Scratch) Pin(_ context.Context, env builder.PinEnv) (builder.Pin, error) {
	return builder.Pin{
		Digest:  digestOf("scratch", env.Platform),
		Values:  map[string]string{"name": "scratch"},
		Summary: "scratch",
	}, nil
}

// Open makes a machine with an empty root.
func (s *Scratch) Open(ctx context.Context, sc *builder.Scope, from builder.Opening) (builder.Machine, error) {
	return s.open(ctx, sc, from, func(context.Context) (v1.Image, error) { return newImage(from.Platform) }, "")
}

// Build starts from what another build of the template makes: `build: base`.
type Build struct {
	Name string `yaml:"build" bake:"main,required" doc:"Name of another build in this template whose image is the base."`
	delegate
}

// Pin names the build; what it makes is part of this build's key already.
func (s *Build) Pin(_ context.Context, env builder.PinEnv) (builder.Pin, error) {
	return builder.Pin{
		Digest:  digestOf("build", []any{s.Name, env.Platform}),
		Values:  map[string]string{"name": s.Name},
		Summary: "build " + s.Name,
	}, nil
}

// Open makes a machine from the other build's image.
func (s *Build) Open(ctx context.Context, sc *builder.Scope, from builder.Opening) (builder.Machine, error) {
	if from.Base == nil {
		return builder.Machine{}, errors.New("build " + s.Name + " has no image to start from")
	}
	return s.open(ctx, sc, from, nil, "")
}

// Builtin is a small system out of bake's own program: `builtin: true`. It
// has a shell and the usual tools, needs no network and nothing installed.
type Builtin struct {
	Yes bool `yaml:"builtin" bake:"main" default:"true" doc:"Start from a small system made of bake's own program: a shell and the usual tools, no network needed. For trying things out and for tests."`
	delegate
}

// Validate refuses `builtin: false`, which says nothing.
func (s *Builtin) Validate(b templates.Block) templates.Diagnostics {
	if !s.Yes && !b.Unresolved() {
		return templates.Diagnostics{b.Errorf("builtin can only be true; name another source instead")}
	}
	return nil
}

// Pin is the digest of what the program makes.
func (s *Builtin) Pin(ctx context.Context, env builder.PinEnv) (builder.Pin, error) {
	if s.deps.Builtin == nil {
		return builder.Pin{}, errors.New("this bake has no built-in base")
	}
	_, digest, err := s.deps.Builtin(ctx, env.Platform)
	if err != nil {
		return builder.Pin{}, err
	}
	return builder.Pin{
		Digest:  digest,
		Values:  map[string]string{"digest": string(digest)},
		Summary: "builtin@" + string(digest),
	}, nil
}

// Open makes a machine from the built-in base.
func (s *Builtin) Open(ctx context.Context, sc *builder.Scope, from builder.Opening) (builder.Machine, error) {
	base := func(ctx context.Context) (v1.Image, error) {
		img, digest, err := s.deps.Builtin(ctx, from.Platform)
		if err == nil && digest != from.Pin.Digest {
			err = errors.New("the built-in base is not the one of the plan: bake was replaced by another version; start anew")
		}
		return img, err
	}
	return s.open(ctx, sc, from, base, "")
}
