package ecr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bake/internal/sandbox/api"
)

// ErrElsewhere says that a reference names none of the sandbox's registries.
var ErrElsewhere = errors.New("it is not in this ECR")

// ErrNoImage says that there is no such image.
var ErrNoImage = errors.New("there is no such image")

// A PlatformError says that an image is not made for the platform that is wanted.
type PlatformError struct {
	Ref  string
	Want v1.Platform
	Have []v1.Platform
}

func (e *PlatformError) Error() string {
	return fmt.Sprintf("image %s is not made for %s", e.Ref, e.Want.String())
}

// Image returns the image that a reference ("127.0.0.1:PORT/NAME:TAG", or with
// a digest) names for a platform, as an account may pull it. The error wraps
// ErrElsewhere if no registry of the sandbox is meant, ErrNoImage if it has no
// such image; it is a *PlatformError if the image is not made for the platform.
func (t *T) Image(_ context.Context, account, ref string, platform v1.Platform) (v1.Image, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, id, err := t.locate(ref)
	if err != nil {
		return nil, err
	}
	if !r.lets(p, account, "arn:aws:iam::"+account+":root", "ecr:BatchGetImage") {
		return nil, fmt.Errorf("image %s: %w to account %s: the repository's policy does not allow ecr:BatchGetImage", ref, ErrNoImage, account)
	}
	m, err := r.image(p, id)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w: %w", ref, ErrNoImage, err)
	}
	m.Pulled = t.now()
	return t.pick(p, m, ref, platform)
}

// locate reads a reference to a registry of the sandbox.
func (t *T) locate(ref string) (*registry, *repository, imageID, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return nil, nil, imageID{}, err
	}
	id := imageID{Tag: parsed.Identifier()}
	if strings.HasPrefix(parsed.Identifier(), "sha256:") {
		id = imageID{Digest: parsed.Identifier()}
	}
	for _, r := range t.registries {
		if r.host() != parsed.Context().RegistryStr() {
			continue
		}
		repository := parsed.Context().RepositoryStr()
		if r.Public {
			repository = strings.TrimPrefix(repository, r.alias()+"/")
		}
		p, err := r.repository(&api.Call{}, repository)
		if err != nil {
			return nil, nil, id, fmt.Errorf("image %s: %w: %w", ref, ErrNoImage, err)
		}
		return r, p, id, nil
	}
	return nil, nil, id, fmt.Errorf("image %s: %w", ref, ErrElsewhere)
}

// pick returns the image of a manifest: of an index, the one for the platform.
func (t *T) pick(p *repository, m *manifest, ref string, platform v1.Platform) (v1.Image, error) {
	data, err := t.blobs.read(m.Digest)
	if err != nil {
		return nil, err
	}
	if len(m.Layers) > 0 {
		return partial.CompressedToImage(&stored{t: t, m: m, raw: data})
	}
	index, err := v1.ParseIndexManifest(strings.NewReader(string(data)))
	if err != nil {
		return nil, err
	}
	var have []v1.Platform
	for _, d := range index.Manifests {
		child := p.Images[d.Digest.String()]
		if d.Platform != nil {
			have = append(have, *d.Platform)
		}
		if child != nil && d.Platform != nil && d.Platform.Satisfies(platform) {
			return t.pick(p, child, ref, platform)
		}
	}
	return nil, &PlatformError{Ref: ref, Want: platform, Have: have}
}

// stored is an image whose layers are in the store.
type stored struct {
	t   *T
	m   *manifest
	raw []byte
}

func (s *stored) RawManifest() ([]byte, error) { return s.raw, nil }

func (s *stored) MediaType() (types.MediaType, error) { return types.MediaType(s.m.MediaType), nil }

func (s *stored) RawConfigFile() ([]byte, error) {
	m, err := partial.Manifest(s)
	if err != nil {
		return nil, err
	}
	return s.t.blobs.read(m.Config.Digest.String())
}

func (s *stored) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	m, err := partial.Manifest(s)
	if err != nil {
		return nil, err
	}
	for _, d := range append(m.Layers, m.Config) {
		if d.Digest == h {
			return &storedLayer{s.t, d}, nil
		}
	}
	return nil, fmt.Errorf("layer %s: %w", h, ErrNoImage)
}

type storedLayer struct {
	t *T
	d v1.Descriptor
}

func (l *storedLayer) Digest() (v1.Hash, error)            { return l.d.Digest, nil }
func (l *storedLayer) Size() (int64, error)                { return l.d.Size, nil }
func (l *storedLayer) MediaType() (types.MediaType, error) { return l.d.MediaType, nil }
func (l *storedLayer) Compressed() (io.ReadCloser, error)  { return l.t.blobs.open(l.d.Digest.String()) }
