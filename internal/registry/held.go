package registry

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"bake/builder"
)

// Engine is what builder.Image.Engine says of an image that a registry holds.
const Engine = "registry"

// Held describes what ref names as an image that the registry holds: with the
// images of an index, attestations included, so that the whole can be copied.
// It reads manifests and configs, no layers.
func (c *Client) Held(ctx context.Context, ref Reference) (builder.Image, error) {
	img, err := c.held(ctx, ref)
	if err != nil {
		return builder.Image{}, &Error{Doing: "looking up " + ref.String(), Host: ref.Host(), Err: err}
	}
	return img, nil
}

func (c *Client) held(ctx context.Context, ref Reference) (builder.Image, error) {
	s, err := c.session(ctx, ref, "pull")
	if err != nil {
		return builder.Image{}, err
	}
	m, err := c.manifest(ctx, s, ref)
	if err != nil {
		return builder.Image{}, err
	}
	if m.index == nil {
		return c.heldImage(ctx, s, ref, m)
	}
	out := builder.Image{Engine: Engine, ID: m.digest.String(), Ref: ref.WithTag("").WithDigest(m.digest.String()).String()}
	out.Manifests = make([]builder.Image, len(m.index.Manifests))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.cfg.Jobs)
	for i, d := range m.index.Manifests {
		g.Go(func() error {
			at := ref.WithDigest(d.Digest.String())
			one, err := c.manifest(gctx, s, at)
			if err != nil {
				return err
			}
			if one.image == nil {
				return fmt.Errorf("%s is an index in an index", d.Digest)
			}
			out.Manifests[i], err = c.heldImage(gctx, s, at, one)
			if d.Platform != nil {
				out.Manifests[i].Platform = platformOf(d.Platform)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return builder.Image{}, err
	}
	for _, i := range out.Manifests {
		out.Size += i.Size
		if i.Created.After(out.Created) {
			out.Created = i.Created
		}
	}
	return out, nil
}

func (c *Client) heldImage(ctx context.Context, s *session, ref Reference, m *manifest) (builder.Image, error) {
	out := builder.Image{Engine: Engine, ID: m.image.Config.Digest.String(), Ref: ref.WithTag("").WithDigest(m.digest.String()).String()}
	for _, l := range m.image.Layers {
		out.Size += l.Size
	}
	config, err := c.config(ctx, s, m)
	if err != nil {
		return out, err
	}
	out.Platform, out.Created = platformOf(config.Platform()), config.Created.Time
	return out, nil
}

// Index returns the index of an image that a registry holds, to be pushed
// elsewhere byte for byte; nil if it has none.
func (c *Client) Index(ctx context.Context, img builder.Image) (*Document, error) {
	if img.Ref == "" || len(img.Manifests) == 0 {
		return nil, nil
	}
	ref, err := ParseReference(img.Ref, false)
	if err != nil {
		return nil, err
	}
	document, err := c.Document(ctx, ref)
	return &document, err
}

// OpenImage opens an image that a registry holds; with it a Client is a
// builder.ImageOpener.
func (c *Client) OpenImage(ctx context.Context, img builder.Image) (v1.Image, error) {
	ref, err := ParseReference(img.Ref, false)
	if err != nil {
		return nil, err
	}
	return c.Image(ctx, ref, Found{Manifest: ref.Digest}, nil)
}
