package steps

import (
	"context"
	"fmt"

	"bake/builder"
	"bake/steps/amazon"
	"bake/steps/amazon/ami"
	"bake/steps/amazon/image"
	"bake/steps/amazon/permit"
	"bake/templates"
)

// base is the source `build`: what another build of the template makes is what
// this one starts from, a container image or an AMI.
type base struct {
	Name string `yaml:"build" bake:"main,required" doc:"Name of another build in this template whose image is the base."`
	ami.Build

	builder.Source // for container images; it serves until the base is known
	cloud          *amazon.Cloud
}

// newBase returns a source whose container images are those of images.
func newBase(images func() builder.Source, cloud *amazon.Cloud) func() builder.Source {
	return func() builder.Source { return &base{Source: images(), cloud: cloud} }
}

// Validate checks the keys that are for AMIs.
func (s *base) Validate(b templates.Block) templates.Diagnostics { return s.Build.Check(b) }

// Permissions is what building on another build's AMI has to be allowed; on a
// container image, nothing.
func (s *base) Permissions(env permit.Env) []permit.Statement {
	b, ok := env.Plan.Build(env.Build)
	for ok && b.Base != "" {
		b, ok = env.Plan.Build(b.Base)
	}
	if !ok || len(b.Steps) == 0 || b.Steps[0].Kind != image.Kind {
		return nil
	}
	return (&ami.OnBase{Build: s.Build}).Permissions(env)
}

// Freeze, Dial and the rest are those of the source that For returns.
func (s *base) Freeze(ctx context.Context, sc *builder.Scope, m builder.Machine, f builder.Freezing) (builder.Artifact, error) {
	return s.Source.Freeze(ctx, sc, m, f)
}

// Dial is the container image's until For is asked.
func (s *base) Dial(ctx context.Context, sc *builder.Scope, m builder.Machine) (builder.Communicator, error) {
	return s.Source.Dial(ctx, sc, m)
}

// For returns the source that starts from the kind of artifact that the other
// build makes (builder.Brancher).
func (s *base) For(kind builder.ArtifactKind) (builder.Source, error) {
	if kind == builder.AMIArtifact {
		return &ami.OnBase{Build: s.Build.With(s.cloud)}, nil
	}
	if !s.Build.IsZero() {
		return nil, fmt.Errorf("build %q makes a container image: machine, ssh, capture, extra_volumes and lifetime are for AMIs", s.Name)
	}
	return s.Source, nil
}
