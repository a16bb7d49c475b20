package image

import (
	"context"
	"errors"

	"bake/builder"
)

// Publish is written next.
func (o *AMI) Publish(ctx context.Context, sc *builder.Scope, in builder.Artifact) (builder.Published, error) {
	return builder.Published{}, errors.New("publishing an AMI: not written yet")
}
