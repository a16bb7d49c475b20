package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bake/builder"
)

// manifestTypes are the kinds of manifests bake understands.
func manifestTypes() []string {
	return []string{
		string(types.OCIImageIndex), string(types.DockerManifestList),
		string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
	}
}

// maxManifest is how big a manifest may be, in bytes (registries allow 4 MiB).
const maxManifest = 8 << 20

// A Pull says how an image is found.
type Pull struct {
	Platform builder.Platform
	Mirrors  []string // hosts, with a path if need be, that are asked first; "http://" allows plain HTTP
}

// A Found image is what a name means now: plain data that Open takes.
type Found struct {
	Digest   string           `json:"digest"`   // of what the name stands for: an index, or the manifest itself
	Manifest string           `json:"manifest"` // of the image for the platform
	ID       string           `json:"id"`       // of its config
	Platform builder.Platform `json:"platform"`
	Config   *v1.ConfigFile   `json:"-"`
}

// Find asks what a name means for a platform. Manifests that are known from
// an earlier time are not fetched again: if the name has not moved it takes
// one HEAD request, which Docker Hub does not count. The error is a
// *PlatformError if the image is not made for the platform.
func (c *Client) Find(ctx context.Context, ref Reference, p Pull) (Found, error) {
	if found, ok := c.known(ref, p.Platform); ok {
		return found, nil
	}
	var found Found
	err := c.anywhere(ctx, ref, p.Mirrors, func(s *session, at Reference) error {
		m, err := c.manifest(ctx, s, at)
		if err != nil {
			return err
		}
		digest := m.digest
		if m, err = c.choose(ctx, s, ref, m, p.Platform); err != nil {
			return err
		}
		config, err := c.config(ctx, s, m)
		if err != nil {
			return err
		}
		found = foundIn(digest.String(), m, config)
		if !Suits(p.Platform, found.Platform) {
			return &PlatformError{Image: ref.String(), Want: p.Platform, Have: []builder.Platform{found.Platform}}
		}
		return nil
	})
	if err != nil {
		return Found{}, &Error{Doing: "looking up " + ref.String(), Host: ref.Host(), Err: err}
	}
	return found, nil
}

// known answers Find for a digest whose documents are all in the cache: what
// it means cannot change, so nobody need be asked.
func (c *Client) known(ref Reference, want builder.Platform) (Found, bool) {
	m := c.remembered(ref.Digest)
	for depth := 0; m != nil && m.index != nil && depth <= maxDepth; depth++ {
		desc, err := ChoosePlatform(ref.String(), m.index.Manifests, want)
		if err != nil {
			return Found{}, false // asking leads to the same error, with its details
		}
		m = c.remembered(desc.Digest.String())
	}
	if m == nil || m.image == nil {
		return Found{}, false
	}
	raw := c.cache.document(m.image.Config.Digest)
	var config v1.ConfigFile
	if raw == nil || json.Unmarshal(raw, &config) != nil {
		return Found{}, false
	}
	found := foundIn(ref.Digest, m, &config)
	return found, Suits(want, found.Platform)
}

// remembered returns a manifest from the cache, or nil.
func (c *Client) remembered(digest string) *manifest {
	h, err := v1.NewHash(digest)
	if err != nil {
		return nil
	}
	raw := c.cache.document(h)
	if raw == nil {
		return nil
	}
	m, err := readManifest(h, raw, "")
	if err != nil {
		return nil
	}
	return m
}

func foundIn(digest string, m *manifest, config *v1.ConfigFile) Found {
	return Found{Digest: digest, Manifest: m.digest.String(), ID: m.image.Config.Digest.String(), Config: config, Platform: platformOf(config.Platform())}
}

// Image returns the image with the manifest that Find found. Its layers are
// read when asked for; a download that is cut goes on where it ended, and
// content is checked against its digest. ctx bounds all of that.
func (c *Client) Image(ctx context.Context, ref Reference, found Found, mirrors []string) (v1.Image, error) {
	img := &image{client: c, ctx: ctx, ref: ref}
	err := c.anywhere(ctx, ref, mirrors, func(s *session, at Reference) error {
		m, err := c.manifest(ctx, s, at.WithDigest(found.Manifest))
		if err != nil {
			return err
		}
		if m.image == nil {
			return fmt.Errorf("%s is not an image but %s", found.Manifest, m.mediaType)
		}
		if _, err := c.config(ctx, s, m); err != nil {
			return err
		}
		img.manifest = m
		img.sessions = append(img.sessions, s)
		return nil
	})
	if err != nil {
		return nil, &Error{Doing: "pulling " + ref.String(), Host: ref.Host(), Err: err}
	}
	if len(mirrors) > 0 { // what a mirror turns out not to have comes from the registry itself
		if s, err := c.session(ctx, ref, "pull"); err == nil && s != img.sessions[0] {
			img.sessions = append(img.sessions, s)
		}
	}
	return img.complete()
}

// anywhere calls ask for each mirror and at last for the registry itself,
// until one succeeds. The registry's error is the one that counts.
func (c *Client) anywhere(ctx context.Context, ref Reference, mirrors []string, ask func(*session, Reference) error) error {
	places := make([]Reference, 0, len(mirrors)+1)
	for _, m := range mirrors {
		at, err := ref.On(m)
		if err != nil {
			return fmt.Errorf("mirror %q: %w", m, err)
		}
		places = append(places, at)
	}
	places = append(places, ref)
	var err error
	for _, at := range places {
		var s *session
		if s, err = c.session(ctx, at, "pull"); err == nil {
			err = ask(s, at)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// A manifest is one document of a registry: an index or an image.
type manifest struct {
	digest    v1.Hash
	mediaType types.MediaType
	raw       []byte
	index     *v1.IndexManifest
	image     *v1.Manifest
	config    []byte
}

// manifest fetches what ref names, asking only for its digest if the rest is known.
func (c *Client) manifest(ctx context.Context, s *session, ref Reference) (*manifest, error) {
	digest := ref.Digest
	if digest == "" {
		var err error
		if digest, err = s.head(ctx, ref.Tag); err != nil {
			return nil, err
		}
	}
	if m := c.remembered(digest); m != nil {
		return m, nil
	}
	m, err := s.get(ctx, digest)
	if err == nil {
		c.cache.keep(m.digest, m.raw)
	}
	return m, err
}

// head returns the digest of a tag. It asks with HEAD, and with GET where the
// registry does not tell the digest that way.
func (s *session) head(ctx context.Context, id string) (string, error) {
	header := http.Header{"Accept": manifestTypes()}
	resp, err := s.do(ctx, http.MethodHead, s.url("manifests", id).String(), header, http.StatusOK)
	if err == nil {
		drain(resp)
		if digest := resp.Header.Get("Docker-Content-Digest"); digest != "" {
			return digest, nil
		}
	} else if StatusOf(err) != http.StatusMethodNotAllowed {
		return "", err
	}
	m, err := s.get(ctx, id)
	if err != nil {
		return "", err
	}
	return m.digest.String(), nil
}

// get fetches a manifest and checks it against its digest, if id is one.
func (s *session) get(ctx context.Context, id string) (*manifest, error) {
	header := http.Header{"Accept": manifestTypes()}
	var raw []byte
	var mediaType string
	err := s.retry.do(ctx, func() error {
		resp, err := s.do(ctx, http.MethodGet, s.url("manifests", id).String(), header, http.StatusOK)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		mediaType = resp.Header.Get("Content-Type")
		raw, err = io.ReadAll(io.LimitReader(resp.Body, maxManifest))
		return err
	})
	if err != nil {
		return nil, err
	}
	h := hashOf(raw)
	if strings.HasPrefix(id, "sha256:") && h.String() != id {
		return nil, fmt.Errorf("manifest %s has other content than its digest says", id)
	}
	return readManifest(h, raw, types.MediaType(mediaType))
}

// readManifest takes a manifest apart. What kind it is it says itself; the
// header is asked only if it does not.
func readManifest(h v1.Hash, raw []byte, header types.MediaType) (*manifest, error) {
	var probe struct {
		MediaType types.MediaType `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
		Schema    int             `json:"schemaVersion"`
	}
	if err := json.Unmarshal(raw, &probe); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", h, err)
	}
	m := &manifest{digest: h, raw: raw, mediaType: probe.MediaType}
	if m.mediaType == "" {
		switch {
		case header.IsImage() || header.IsIndex():
			m.mediaType = header
		case probe.Manifests != nil:
			m.mediaType = types.OCIImageIndex
		default:
			m.mediaType = types.OCIManifestSchema1
		}
	}
	switch {
	case m.mediaType.IsIndex():
		m.index = &v1.IndexManifest{}
		return m, json.Unmarshal(raw, m.index)
	case m.mediaType.IsImage() && probe.Schema == 2:
		m.image = &v1.Manifest{}
		return m, json.Unmarshal(raw, m.image)
	}
	return nil, fmt.Errorf("manifest %s is of a kind that bake does not read (%s, schema %d)", h, m.mediaType, probe.Schema)
}

// maxDepth is how deep indexes may hold indexes.
const maxDepth = 3

// choose goes from an index to the image for a platform.
func (c *Client) choose(ctx context.Context, s *session, ref Reference, m *manifest, want builder.Platform) (*manifest, error) {
	for depth := 0; m.index != nil; depth++ {
		if depth > maxDepth {
			return nil, fmt.Errorf("%s is an index of indexes without end", ref)
		}
		desc, err := ChoosePlatform(ref.String(), m.index.Manifests, want)
		if err != nil {
			return nil, err
		}
		if m, err = c.manifest(ctx, s, ref.WithDigest(desc.Digest.String())); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// ChoosePlatform picks the manifest for a platform out of an index, or
// returns a *PlatformError that lists what there is. name is for that error.
func ChoosePlatform(name string, from []v1.Descriptor, want builder.Platform) (v1.Descriptor, error) {
	var have []builder.Platform
	best, rank := v1.Descriptor{}, 0
	for _, d := range from {
		if d.Platform == nil {
			if len(from) == 1 { // an index that does not say what its only image is for
				return d, nil
			}
			continue
		}
		if d.Platform.OS == "unknown" || d.Annotations["vnd.docker.reference.type"] != "" {
			continue // a buildkit attestation, not an image
		}
		p := platformOf(d.Platform)
		have = append(have, p)
		if r := fit(want, p); r > rank {
			best, rank = d, r
		}
	}
	if rank == 0 {
		return v1.Descriptor{}, &PlatformError{Image: name, Want: want, Have: slices.Compact(have)}
	}
	return best, nil
}

// Suits reports whether an image for have runs where want is asked for.
func Suits(want, have builder.Platform) bool { return fit(want, have) > 0 }

// fit ranks how well have serves want; 0 is not at all. An older ARM variant
// serves a newer one; images with no platform at all serve everybody.
func fit(want, have builder.Platform) int {
	if have.OS == "" && have.Arch == "" {
		return 1
	}
	if have.OS != want.OS || have.Arch != want.Arch {
		return 0
	}
	w, h := variant(want), variant(have)
	switch {
	case w == h:
		return 100
	case h == "":
		return 50
	case want.Variant == "" && want.Arch != "arm":
		return 10
	case want.Arch == "arm" && h < w:
		return 10 + int(h[len(h)-1]-'0') // the newest that still runs
	}
	return 0
}

// variant is a platform's variant with the usual one filled in.
func variant(p builder.Platform) string {
	switch {
	case p.Arch == "arm64" && p.Variant == "v8", p.Arch == "amd64" && p.Variant == "v1":
		return ""
	case p.Arch == "arm" && p.Variant == "":
		return "v7"
	}
	return p.Variant
}

func platformOf(p *v1.Platform) builder.Platform {
	if p == nil {
		return builder.Platform{}
	}
	return builder.Platform{OS: p.OS, Arch: p.Architecture, Variant: p.Variant}
}

// config fetches an image's config, if it is not known, and reads it.
func (c *Client) config(ctx context.Context, s *session, m *manifest) (*v1.ConfigFile, error) {
	if m.config == nil {
		m.config = c.cache.document(m.image.Config.Digest)
	}
	if m.config == nil {
		raw, err := s.document(ctx, m.image.Config)
		if err != nil {
			return nil, fmt.Errorf("config of %s: %w", m.digest, err)
		}
		m.config = raw
		c.cache.keep(m.image.Config.Digest, raw)
	}
	var file v1.ConfigFile
	if err := json.Unmarshal(m.config, &file); err != nil {
		return nil, fmt.Errorf("config of %s: %w", m.digest, err)
	}
	return &file, nil
}

// document reads a small blob whole.
func (s *session) document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if d.Size > maxManifest {
		return nil, fmt.Errorf("%s: %d bytes are too many", d.Digest, d.Size)
	}
	r := &blobReader{ctx: ctx, sessions: []*session{s}, desc: d}
	defer r.Close()
	return io.ReadAll(r)
}

// Document returns the manifest or index that ref names, byte for byte.
func (c *Client) Document(ctx context.Context, ref Reference) (Document, error) {
	s, err := c.session(ctx, ref, "pull")
	if err == nil {
		var m *manifest
		if m, err = c.manifest(ctx, s, ref); err == nil {
			return Document{Digest: m.digest, MediaType: m.mediaType, Raw: m.raw}, nil
		}
	}
	return Document{}, &Error{Doing: "looking up " + ref.String(), Host: ref.Host(), Err: err}
}
