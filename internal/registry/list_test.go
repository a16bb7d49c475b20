package registry_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"bake/builder"
	"bake/internal/registry"
	"bake/internal/registrytest"
)

func TestAListTellsWhatEachTagNames(t *testing.T) {
	for _, reg := range registries() {
		host := reg.start(t)
		c := newClient(t)
		amd := registrytest.Image(t, registrytest.Layer(t, 1, 1000))
		arm := registrytest.ForPlatform(t, registrytest.Image(t, registrytest.Layer(t, 2, 1000)), "linux", "arm64")
		single, err := c.Push(t.Context(), registry.Push{To: parse(t, host+"/team/app:1.0"), Tags: []string{"1"}}, registry.Variant{Image: amd})
		if err != nil {
			t.Fatal(err)
		}
		multi, err := c.Push(t.Context(), registry.Push{To: parse(t, host+"/team/app:2.0")}, registry.Variant{Image: amd}, registry.Variant{Image: arm})
		if err != nil {
			t.Fatal(err)
		}
		got, err := newClient(t).List(t.Context(), parse(t, host+"/team/app"), registry.List{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Repository != host+"/team/app" || got.Total != 3 || len(got.Tags) != 3 {
			t.Fatalf("%s: %+v", reg.name, got)
		}
		for _, tag := range got.Tags {
			want, platforms := single, "linux/amd64"
			if tag.Tag == "2.0" {
				want, platforms = multi, "linux/amd64 linux/arm64"
			}
			var have []string
			for _, i := range tag.Images {
				have = append(have, i.Platform.String())
				if i.Size < 100 {
					t.Errorf("%s: %s has %d bytes", reg.name, tag.Tag, i.Size)
				}
			}
			if tag.Digest != want.Digest || strings.Join(have, " ") != platforms || tag.Err != "" {
				t.Errorf("%s: %+v", reg.name, tag)
			}
		}
		some, err := newClient(t).List(t.Context(), parse(t, host+"/team/app"), registry.List{Limit: 1, Match: "1"})
		if err != nil || len(some.Tags) != 1 || some.Tags[0].Tag != "1.0" || some.Total != 3 {
			t.Errorf("%s: %+v, %v", reg.name, some, err)
		}
	}
}

func TestAListFollowsAllPagesAndSaysWhatItCannotRead(t *testing.T) {
	const pages = 3
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), func(r *http.Request) *registrytest.Fault {
		switch {
		case strings.HasSuffix(r.URL.Path, "/tags/list"):
			var n int
			_, _ = fmt.Sscanf(r.URL.Query().Get("last"), "t%d", &n)
			f := &registrytest.Fault{Status: 200, Header: http.Header{}, Body: fmt.Sprintf(`{"tags":["t%d"]}`, n+1)}
			if n+1 < pages {
				f.Header.Set("Link", fmt.Sprintf(`</v2/x/tags/list?last=t%d&n=1>; rel="next"`, n+1))
			}
			return f
		case strings.Contains(r.URL.Path, "/manifests/"):
			return &registrytest.Fault{Status: 403, Body: `{"errors":[{"code":"DENIED","message":"no"}]}`}
		}
		return nil
	})
	got, err := newClient(t).List(t.Context(), parse(t, proxy.Host+"/x"), registry.List{})
	if err != nil || got.Total != pages {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, tag := range got.Tags {
		if tag.Tag != fmt.Sprintf("t%d", i+1) || tag.Err == "" {
			t.Errorf("%+v", tag)
		}
	}
}

func TestDockerHubIsAskedThroughItsOwnAPI(t *testing.T) {
	var asked []string
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		if r.Header.Get("Authorization") != "" {
			t.Error("a registry's token went to the API")
		}
		next := ""
		if r.URL.Query().Get("page") == "" {
			next = "http://" + r.Host + r.URL.Path + "?page=2"
		}
		fmt.Fprintf(w, `{"count": 2, "next": %q, "results": [{"name": "v%d", "digest": "sha256:1", "last_updated": "2024-05-0%dT10:00:00Z",
			"images": [{"architecture": "arm", "os": "linux", "variant": "v7", "digest": "sha256:2", "size": 5}, {"os": "unknown", "architecture": "unknown"}]}]}`,
			next, len(asked), len(asked))
	}))
	t.Cleanup(hub.Close)
	c := registry.New(registry.Config{Keychain: authn.NewMultiKeychain(), HubURL: hub.URL, Transport: offline{hub.Client().Transport}, Retry: registry.Retry{Attempts: 1}})
	got, err := c.List(t.Context(), parse(t, "me/app"), registry.List{})
	if err != nil {
		t.Fatal(err)
	}
	image := []registry.PlatformInfo{{Platform: builder.Platform{OS: "linux", Arch: "arm", Variant: "v7"}, Digest: "sha256:2", Size: 5}}
	want := registry.Listing{Repository: "me/app", Total: 2, Rate: &registry.RateLimit{Limit: 100, Remaining: 76, Window: 6 * time.Hour}, Tags: []registry.TagInfo{
		{Tag: "v2", Digest: "sha256:1", Created: time.Date(2024, 5, 2, 10, 0, 0, 0, time.UTC), Images: image},
		{Tag: "v1", Digest: "sha256:1", Created: time.Date(2024, 5, 1, 10, 0, 0, 0, time.UTC), Images: image},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(asked) != 2 || !strings.HasPrefix(asked[0], "/v2/repositories/me/app/tags?") {
		t.Errorf("asked %q", asked)
	}
	hub.Close() // then as any registry
	got, err = c.List(t.Context(), parse(t, "debian"), registry.List{})
	if err != nil || len(got.Tags) != 1 || got.Tags[0].Tag != "12" {
		t.Errorf("without the API: %+v, %v", got, err)
	}
}

// offline answers for Docker Hub's registry and lets the rest through.
type offline struct{ http.RoundTripper }

func (o offline) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "index.docker.io" {
		return o.RoundTripper.RoundTrip(r)
	}
	w := httptest.NewRecorder()
	switch {
	case strings.HasSuffix(r.URL.Path, "/ratelimitpreview/test/manifests/latest"):
		w.Header().Set("RateLimit-Limit", "100;w=21600")
		w.Header().Set("RateLimit-Remaining", "76;w=21600")
	case strings.HasSuffix(r.URL.Path, "/library/debian/tags/list"):
		fmt.Fprint(w, `{"tags": ["12"]}`)
	case strings.Contains(r.URL.Path, "/manifests/"):
		w.WriteHeader(http.StatusForbidden)
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func TestOneTagIsListedAlone(t *testing.T) {
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), nil)
	c := newClient(t)
	push := registry.Push{To: parse(t, proxy.Host+"/x"), Tags: []string{"1", "2"}}
	pushed, err := c.Push(t.Context(), push, registry.Variant{Image: registrytest.Image(t, registrytest.Layer(t, 1, 1000))})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.List(t.Context(), parse(t, proxy.Host+"/x:2"), registry.List{})
	if err != nil || len(got.Tags) != 1 || got.Tags[0].Tag != "2" || got.Tags[0].Digest != pushed.Digest || got.Tags[0].Size() == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.List(t.Context(), parse(t, proxy.Host+"/x:3"), registry.List{}); !errors.Is(err, builder.ErrNotFound) {
		t.Errorf("a tag that is missing: %v", err)
	}
}

func TestARefusalSaysWhatHelpsAtThatRegistry(t *testing.T) {
	for host, want := range map[string]map[int]string{
		"index.docker.io": {429: "pull_through: ecr", 401: "docker login index.docker.io"},
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com": {403: "ecr:BatchGetImage", 401: "ecr:BatchGetImage"},
		"registry.example.com":                         {429: "mirrors:", 403: "docker login registry.example.com"},
	} {
		for status, words := range want {
			err := &registry.Error{Doing: "pulling x", Host: host, Err: &transport.Error{StatusCode: status}}
			if !strings.Contains(err.Hint(), words) {
				t.Errorf("%s %d: %s, want %s", host, status, err.Hint(), words)
			}
		}
	}
}
