package sandbox

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/registry"
	"bake/internal/sandbox/agent"
	"bake/internal/sandbox/ecr"
)

// images finds the images of tasks: in the sandbox's ECR, else wherever their
// names say, as docker does.
type images struct {
	ecr       *ecr.T
	elsewhere agent.Images
}

func pulls(e *ecr.T) agent.Images {
	return &images{e, agent.NewRegistries(registry.New(registry.Config{}))}
}

// Image implements agent.Images.
func (i *images) Image(ctx context.Context, account, region, ref string, p builder.Platform) (v1.Image, error) {
	image, err := i.ecr.Image(ctx, account, ref, v1.Platform{OS: p.OS, Architecture: p.Arch, Variant: p.Variant})
	none, isNone := errors.AsType[*ecr.PlatformError](err)
	switch {
	case isNone:
		e := &registry.PlatformError{Image: ref, Want: p}
		for _, h := range none.Have {
			e.Have = append(e.Have, builder.Platform{OS: h.OS, Arch: h.Architecture, Variant: h.Variant})
		}
		return nil, e
	case errors.Is(err, ecr.ErrElsewhere):
		return i.elsewhere.Image(ctx, account, region, ref, p)
	case errors.Is(err, ecr.ErrNoImage):
		return nil, fmt.Errorf("%w: %w", err, builder.ErrNotFound)
	}
	return image, err
}
