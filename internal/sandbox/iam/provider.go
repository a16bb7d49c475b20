package iam

import (
	"context"
	"strings"

	"bake/internal/sandbox/api"
)

// A provider of web identities: GitHub Actions and the like.
type provider struct {
	ARN     string   `json:"arn"`
	URL     string   `json:"url"` // without https://
	Clients []string `json:"clients,omitempty"`
}

type createProviderIn struct {
	URL         string   `q:"Url,required"`
	Clients     []string `q:"ClientIDList"`
	Thumbprints []string `q:"ThumbprintList"`
}

func (t *T) createProvider(_ context.Context, c *api.Call, in *createProviderIn) (*struct {
	ARN string `xml:"OpenIDConnectProviderArn"`
}, error) {
	url, ok := strings.CutPrefix(in.URL, "https://")
	if !ok {
		return nil, api.Errorf("ValidationError", "Invalid Open ID Connect Provider URL")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	p := &provider{ARN: "arn:aws:iam::" + c.Account + ":oidc-provider/" + url, URL: url, Clients: in.Clients}
	if a.Providers[p.ARN] != nil {
		return nil, conflict("EntityAlreadyExists", "Provider with url %s already exists.", in.URL)
	}
	a.Providers[p.ARN] = p
	return &struct {
		ARN string `xml:"OpenIDConnectProviderArn"`
	}{p.ARN}, nil
}

type providerXML struct {
	ARN string `xml:"Arn"`
}

type listProvidersOut struct {
	Providers []providerXML `xml:"OpenIDConnectProviderList>member"`
}

func (t *T) listProviders(_ context.Context, c *api.Call, _ *struct{}) (*listProvidersOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out listProvidersOut
	for _, p := range sorted(t.of(c.Account).Providers) {
		out.Providers = append(out.Providers, providerXML{p.ARN})
	}
	return &out, nil
}

func (t *T) deleteProvider(_ context.Context, c *api.Call, in *struct {
	ARN string `q:"OpenIDConnectProviderArn,required"`
}) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	if a.Providers[in.ARN] == nil {
		return nil, missing("OpenIDConnect Provider not found for arn %s", in.ARN)
	}
	delete(a.Providers, in.ARN)
	return &done{}, nil
}
