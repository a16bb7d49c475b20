package ecr

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
)

// pullThrough is a rule: what is pulled from below a prefix is fetched from
// another registry the first time.
type pullThrough struct {
	Prefix         string    `json:"ecrRepositoryPrefix"`
	URL            string    `json:"upstreamRegistryUrl"`
	Upstream       string    `json:"upstreamRegistry,omitempty"`
	UpstreamPrefix string    `json:"upstreamRepositoryPrefix,omitempty"`
	Credential     string    `json:"credentialArn,omitempty"`
	Role           string    `json:"customRoleArn,omitempty"`
	Registry       string    `json:"registryId,omitempty"`
	Created        time.Time `json:"createdAt"`
	Updated        time.Time `json:"updatedAt"`
}

// upstreams are the registries that ECR knows, and whether they want a login.
func upstreams() map[string]bool {
	return map[string]bool{"public.ecr.aws": false, "registry.k8s.io": false, "quay.io": false,
		"registry-1.docker.io": true, "ghcr.io": true, "registry.gitlab.com": true, "cgr.dev": true}
}

var ecrHost = lazyregexp.New(`^[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com$|\.azurecr\.io$`)

// isLoopback reports whether a registry is on this machine: AWS could not reach
// it, the sandbox lets it be an upstream so that the cache can be tried.
func isLoopback(host string) bool {
	a, err := netip.ParseAddrPort(host)
	return err == nil && a.Addr().IsLoopback()
}

type rulesIn struct {
	paging
	Registry string   `json:"registryId"`
	Prefixes []string `json:"ecrRepositoryPrefixes"`
}

type rulesOut struct {
	Rules []pullThrough `json:"pullThroughCacheRules"`
	Next  string        `json:"nextToken,omitempty"`
}

func (t *T) createPullThroughCacheRule(_ context.Context, c *api.Call, in *pullThrough) (*pullThrough, error) {
	wants, known := upstreams()[in.URL]
	switch {
	case !known && !ecrHost.MatchString(in.URL) && !isLoopback(in.URL):
		return nil, api.Errorf("UnsupportedUpstreamRegistryException", "The upstream registry '%s' is not supported", in.URL)
	case wants && in.Credential == "":
		return nil, invalid("Invalid parameter at 'credentialArn' failed to satisfy constraint: 'Credential ARN is required for upstream registry %s'", in.URL)
	}
	if in.Credential != "" && t.deps.Secret != nil {
		if _, err := t.deps.Secret(c.Account, c.Region, in.Credential); err != nil {
			return nil, api.Errorf("SecretNotFoundException", "The ARN of the secret specified in the pull through cache rule was not found. Update the pull through cache rule with a valid secret ARN and try again.")
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.at(c, in.Registry)
	if err != nil {
		return nil, err
	}
	if r.Rules[in.Prefix] != nil {
		return nil, api.Errorf("PullThroughCacheRuleAlreadyExistsException", "A pull through cache rule with ecrRepositoryPrefix '%s' already exists", in.Prefix)
	}
	in.Registry, in.Created, in.Updated = r.Account, t.now(), t.now()
	r.Rules[in.Prefix] = in
	return in, nil
}

func (r *registry) rule(prefix string) (*pullThrough, error) {
	if rule := r.Rules[prefix]; rule != nil {
		return rule, nil
	}
	return nil, api.Errorf("PullThroughCacheRuleNotFoundException", "Pull through cache rule with ecrRepositoryPrefix '%s' does not exist in the registry with id '%s'", prefix, r.Account)
}

func (t *T) describePullThroughCacheRules(_ context.Context, c *api.Call, in *rulesIn) (*rulesOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.at(c, in.Registry)
	if err != nil {
		return nil, err
	}
	var all []pullThrough
	for _, prefix := range in.Prefixes {
		rule, err := r.rule(prefix)
		if err != nil {
			return nil, err
		}
		all = append(all, *rule)
	}
	for _, prefix := range slices.Sorted(maps.Keys(r.Rules)) {
		if len(in.Prefixes) == 0 {
			all = append(all, *r.Rules[prefix])
		}
	}
	page, next, err := cut(all, in.paging)
	return &rulesOut{page, next}, err
}

func (t *T) updatePullThroughCacheRule(_ context.Context, c *api.Call, in *pullThrough) (*pullThrough, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.at(c, in.Registry)
	if err != nil {
		return nil, err
	}
	rule, err := r.rule(in.Prefix)
	if err != nil {
		return nil, err
	}
	rule.Credential, rule.Role, rule.Updated = in.Credential, in.Role, t.now()
	return rule, nil
}

func (t *T) deletePullThroughCacheRule(_ context.Context, c *api.Call, in *pullThrough) (*pullThrough, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.at(c, in.Registry)
	if err != nil {
		return nil, err
	}
	rule, err := r.rule(in.Prefix)
	if err != nil {
		return nil, err
	}
	delete(r.Rules, in.Prefix)
	return rule, nil
}

// ruleFor finds the rule of a repository's name, and the name that it has upstream.
func (r *registry) ruleFor(repository string) (*pullThrough, string) {
	for _, prefix := range slices.Backward(slices.Sorted(maps.Keys(r.Rules))) { // longer ones first
		rest, ok := strings.CutPrefix(repository, prefix+"/")
		if prefix == "ROOT" {
			rest, ok = repository, true
		}
		if !ok {
			continue
		}
		rule := r.Rules[prefix]
		if rule.UpstreamPrefix != "" && rule.UpstreamPrefix != "ROOT" {
			rest = rule.UpstreamPrefix + "/" + rest
		}
		return rule, rest
	}
	return nil, ""
}

// fetch gets what is not here from upstream, if a rule says so; else it returns
// the error that it is not here. It holds the lock only before and after.
func (t *T) fetch(v *visit, id imageID, missing error) error {
	rule, path := v.r.ruleFor(v.p.Name)
	if rule == nil {
		return missing
	}
	if no := v.may("BatchImportUpstreamImage", v.r.arn(v.p.Name)); no != nil {
		return &api.Error{Code: accessDenied, Message: no.message, Status: no.status}
	}
	t.mu.Unlock()
	err := t.download(v, rule, path, id)
	t.mu.Lock()
	if err != nil {
		if len(v.p.Images) == 0 { // it was made for this
			delete(v.r.Repositories, v.p.Name)
		}
		return missing
	}
	return nil
}

func (t *T) download(v *visit, rule *pullThrough, path string, id imageID) error {
	ref := rule.URL + "/" + path
	if rule.URL == "registry-1.docker.io" {
		ref = "index.docker.io/" + path
	}
	if id.Digest != "" {
		ref += "@" + id.Digest
	} else {
		ref += ":" + id.Tag
	}
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	auth, err := t.login(v.r, rule)
	if err != nil {
		return err
	}
	options := []remote.Option{remote.WithContext(v.req.Context()), remote.WithAuth(auth)}
	got, err := remote.Get(parsed, options...)
	if err != nil {
		return err
	}
	if err := t.take(v, parsed.Context(), got, options); err != nil {
		return err
	}
	if id.Tag != "" {
		t.mu.Lock()
		v.p.Labels[id.Tag] = got.Digest.String()
		t.mu.Unlock()
	}
	return nil
}

// login is what an upstream registry is asked with.
func (t *T) login(r *registry, rule *pullThrough) (authn.Authenticator, error) {
	if rule.Credential == "" || t.deps.Secret == nil {
		return authn.Anonymous, nil
	}
	text, err := t.deps.Secret(r.Account, r.Region, rule.Credential)
	if err != nil {
		return nil, err
	}
	var secret struct{ Username, AccessToken string }
	if err := json.Unmarshal([]byte(text), &secret); err != nil {
		return nil, fmt.Errorf("the secret %s: %w", rule.Credential, err)
	}
	return &authn.Basic{Username: secret.Username, Password: secret.AccessToken}, nil
}

// take keeps a manifest, and first everything that it names.
func (t *T) take(v *visit, from name.Repository, got *remote.Descriptor, options []remote.Option) error {
	if got.MediaType.IsIndex() {
		index, err := got.ImageIndex()
		if err != nil {
			return err
		}
		m, err := index.IndexManifest()
		if err != nil {
			return err
		}
		for _, child := range m.Manifests {
			one, err := remote.Get(from.Digest(child.Digest.String()), options...)
			if err != nil {
				return err
			}
			if err := t.take(v, from, one, options); err != nil {
				return err
			}
		}
	} else if err := t.takeLayers(v, got); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _, err := t.put(v.r, v.p, got.Manifest, string(got.MediaType), "")
	return err
}

func (t *T) takeLayers(v *visit, got *remote.Descriptor) error {
	image, err := got.Image()
	if err != nil {
		return err
	}
	m, err := image.Manifest()
	if err != nil {
		return err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	if _, err := t.blobs.put(config); err != nil {
		return err
	}
	sizes := map[string]int64{m.Config.Digest.String(): m.Config.Size}
	for _, l := range m.Layers {
		if err := t.takeLayer(image, l); err != nil {
			return err
		}
		sizes[l.Digest.String()] = l.Size
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.Copy(v.p.Blobs, sizes)
	return nil
}

func (t *T) takeLayer(image v1.Image, d v1.Descriptor) error {
	layer, err := image.LayerByDigest(d.Digest)
	if err != nil {
		return err
	}
	from, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = t.blobs.keep(d.Digest.String(), from)
	return err
}
