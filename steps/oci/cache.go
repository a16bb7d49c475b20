package oci

import (
	"context"
	"errors"

	"bake/builder"
)

// Lookup finds the image that was recorded under key.
func (e *Engine) Lookup(ctx context.Context, sc *builder.Scope, key builder.Digest) (builder.Artifact, error) {
	if !e.exists() {
		return builder.Artifact{}, builder.ErrNotFound
	}
	s, err := e.store(ctx)
	if err != nil {
		return builder.Artifact{}, err
	}
	a, err := read[builder.Artifact](s, kindArtifact, string(key))
	if err != nil {
		return builder.Artifact{}, err
	}
	if a.Image == nil {
		return builder.Artifact{}, builder.ErrNotFound
	}
	if _, err := s.useImage(a.Image.ID); err != nil {
		return builder.Artifact{}, err
	}
	s.touch(kindArtifact, string(key))
	return a, nil
}

// Record makes an image findable. The store must have it.
func (e *Engine) Record(ctx context.Context, sc *builder.Scope, key builder.Digest, a builder.Artifact) error {
	if a.Image == nil {
		return errors.New("the embedded engine keeps container images only")
	}
	s, err := e.store(ctx)
	if err != nil {
		return err
	}
	if _, err := s.useImage(a.Image.ID); err != nil {
		return err
	}
	return write(s, kindArtifact, string(key), a)
}
