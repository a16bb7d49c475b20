package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/need"
	"bake/internal/registry"
	"bake/internal/registrytest"
)

func newClient(t testing.TB) *registry.Client {
	t.Helper()
	return registry.New(registry.Config{
		Keychain: authn.NewMultiKeychain(),
		CacheDir: t.TempDir(),
		Retry:    registry.Retry{Base: time.Millisecond},
	})
}

func parse(t testing.TB, s string) registry.Reference {
	t.Helper()
	ref, err := registry.ParseRepository(s, false)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// checkPulled pulls host/name and compares every layer and the config.
func checkPulled(t testing.TB, name string, want v1.Image) {
	t.Helper()
	c := newClient(t)
	ref := parse(t, name)
	found, err := c.Find(t.Context(), ref, registry.Pull{Platform: amd64()})
	if err != nil {
		t.Fatal(err)
	}
	img, err := c.Image(t.Context(), ref, found, nil)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		sum, _, err := v1.SHA256(r)
		if err != nil || sum != file.RootFS.DiffIDs[i] {
			t.Fatalf("layer %d is %s (%v), want %s", i, sum, err, file.RootFS.DiffIDs[i])
		}
	}
	wantID, _ := want.ConfigName()
	if gotID, _ := img.ConfigName(); gotID != wantID {
		t.Fatalf("pulled image %s, pushed %s", gotID, wantID)
	}
}

func amd64() builder.Platform { return builder.Platform{OS: "linux", Arch: "amd64"} }

type kind struct {
	name  string
	start func(testing.TB) string
}

func registries() []kind {
	return []kind{{"docker-registry", registrytest.Docker}, {"in memory", registrytest.Memory}}
}

func TestPushMakesAnImageThatPullsWholeAndIsNotSentAgain(t *testing.T) {
	for _, reg := range registries() {
		t.Run(reg.name, func(t *testing.T) {
			proxy := registrytest.NewProxy(t, reg.start(t), nil)
			a, b := registrytest.Layer(t, 1, 3<<20), registrytest.Layer(t, 2, 10<<10)
			for name, img := range map[string]v1.Image{
				"compressed": registrytest.Image(t, a, b), "streamed": registrytest.NewStreamed(t, a, b),
			} {
				proxy.Reset(nil)
				c := newClient(t)
				push := registry.Push{To: parse(t, proxy.Host+"/"+name), Tags: []string{"1", "latest"}}
				first, err := c.Push(t.Context(), push, registry.Variant{Image: img})
				if err != nil {
					t.Fatal(err)
				}
				if first.Uploaded != 3 || first.Unchanged {
					t.Errorf("%s: first push: %+v", name, first)
				}
				for _, tag := range push.Tags {
					checkPulled(t, proxy.Host+"/"+name+":"+tag, img)
				}
				proxy.Reset(nil)
				again, err := c.Push(t.Context(), push, registry.Variant{Image: img})
				if err != nil {
					t.Fatal(err)
				}
				if !again.Unchanged || again.Digest != first.Digest {
					t.Errorf("%s: second push: %+v, first: %+v", name, again, first)
				}
				if proxy.Sent() != 0 || proxy.Count("HEAD") != 2 || len(proxy.Requests()) != 2 {
					t.Errorf("%s: second push asked %q and sent %d bytes", name, proxy.Requests(), proxy.Sent())
				}
			}
		})
	}
}

func TestUploadGoesOnWhereAConnectionWasCut(t *testing.T) {
	tar := registrytest.Layer(t, 3, 24<<20)
	for name, img := range map[string]v1.Image{"compressed": registrytest.Image(t, tar), "streamed": registrytest.NewStreamed(t, tar)} {
		t.Run(name, func(t *testing.T) {
			cuts := 0
			proxy := registrytest.NewProxy(t, registrytest.Resumable(t), func(r *http.Request) *registrytest.Fault {
				if r.Method == http.MethodPatch && cuts < 3 && (r.ContentLength < 0 || r.ContentLength > 1<<20) {
					cuts++
					return &registrytest.Fault{CutRequest: 1 << 20}
				}
				return nil
			})
			pushed, err := newClient(t).Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/cut:1")}, registry.Variant{Image: img})
			if err != nil {
				t.Fatal(err)
			}
			checkPulled(t, proxy.Host+"/cut:1", img)
			if cuts != 3 {
				t.Errorf("%d cuts, want 3", cuts)
			}
			if limit := pushed.Bytes + 1<<20; proxy.Sent() > limit {
				t.Errorf("sent %d bytes for %d after three cuts: it began anew", proxy.Sent(), pushed.Bytes)
			}
		})
	}
}

func TestUploadBeginsAnewWhereTheRegistryCannotGoOn(t *testing.T) {
	tar := registrytest.Layer(t, 4, 4<<20)
	for _, reg := range registries() {
		for name, img := range map[string]v1.Image{"compressed": registrytest.Image(t, tar), "streamed": registrytest.NewStreamed(t, tar)} {
			t.Run(reg.name+", "+name, func(t *testing.T) {
				cut := false
				proxy := registrytest.NewProxy(t, reg.start(t), func(r *http.Request) *registrytest.Fault {
					if r.Method == http.MethodPatch && !cut && (r.ContentLength < 0 || r.ContentLength > 1<<20) {
						cut = true
						return &registrytest.Fault{CutRequest: 1 << 20}
					}
					return nil
				})
				_, err := newClient(t).Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/cut:1")}, registry.Variant{Image: img})
				if err != nil || !cut {
					t.Fatal(err, cut)
				}
				checkPulled(t, proxy.Host+"/cut:1", img)
			})
		}
	}
}

func TestPushOutlivesWhatRegistriesDo(t *testing.T) {
	tar := registrytest.Layer(t, 5, 2<<20)
	always := func(f registrytest.Fault, methods string, times int) func(*http.Request) *registrytest.Fault {
		seen := map[string]int{}
		return func(r *http.Request) *registrytest.Fault {
			what := r.Method + path.Dir(r.URL.Path)
			if !strings.Contains(methods, r.Method) || seen[what] >= times {
				return nil
			}
			seen[what]++
			return &f
		}
	}
	retryAfter := http.Header{"Retry-After": {"0"}}
	rules := map[string]func(*http.Request) *registrytest.Fault{
		"429 twice on everything":     always(registrytest.Fault{Status: 429, Header: retryAfter}, "GET HEAD POST PATCH PUT", 2),
		"500 twice on everything":     always(registrytest.Fault{Status: 500}, "GET HEAD POST PATCH PUT", 2),
		"503 on uploads":              always(registrytest.Fault{Status: 503}, "POST PATCH PUT", 2),
		"lost answers to PUT":         always(registrytest.Fault{LoseAnswer: true}, "PUT", 2),
		"lost answers to PATCH":       always(registrytest.Fault{LoseAnswer: true}, "PATCH", 2),
		"tokens for three requests":   (&registrytest.TokenServer{Uses: 3}).Rule(nil),
		"tokens for a single request": (&registrytest.TokenServer{Uses: 1}).Rule(nil),
		"unknown uploads":             always(registrytest.Fault{Status: 404}, "PATCH", 2),
	}
	for name, rule := range rules {
		for kind, img := range map[string]v1.Image{"compressed": registrytest.Image(t, tar), "streamed": registrytest.NewStreamed(t, tar)} {
			t.Run(name+", "+kind, func(t *testing.T) {
				proxy := registrytest.NewProxy(t, registrytest.Docker(t), rule)
				if _, err := newClient(t).Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/bad:1")}, registry.Variant{Image: img}); err != nil {
					t.Fatalf("%v\nrequests: %q", err, proxy.Requests())
				}
				proxy.Reset(nil)
				checkPulled(t, proxy.Host+"/bad:1", img)
			})
		}
	}
}

func TestPushWaitsAsLongAsTheRegistrySays(t *testing.T) {
	limited := true
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), func(r *http.Request) *registrytest.Fault {
		if r.Method == http.MethodPost && limited {
			limited = false
			return &registrytest.Fault{Status: 429, Header: http.Header{"Retry-After": {"1"}}}
		}
		return nil
	})
	began := time.Now()
	_, err := newClient(t).Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/x:1")}, registry.Variant{Image: registrytest.Image(t)})
	if err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(began); waited < time.Second {
		t.Errorf("came back after %v although told to wait a second", waited)
	}
}

func TestPushGivesUpWithTheRegistrysWords(t *testing.T) {
	denied := &registrytest.Fault{Status: 403, Body: `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`}
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), func(r *http.Request) *registrytest.Fault {
		if r.Method == http.MethodPost {
			return denied
		}
		return nil
	})
	_, err := newClient(t).Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/x:1")}, registry.Variant{Image: registrytest.Image(t)})
	var hinted interface{ Hint() string }
	if err == nil || !strings.Contains(err.Error(), "requested access to the resource is denied") || !errors.As(err, &hinted) {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(hinted.Hint(), "docker login "+proxy.Host) {
		t.Errorf("hint: %s", hinted.Hint())
	}
	if n := proxy.Count("POST"); n != 1 {
		t.Errorf("asked %d times although denied", n)
	}
}

func TestAnImmutableTagIsCheckedBeforeTheUpload(t *testing.T) {
	for _, streamed := range []bool{false, true} {
		t.Run(fmt.Sprintf("streamed=%v", streamed), func(t *testing.T) {
			image := func(seed uint64) v1.Image {
				if streamed {
					return registrytest.NewStreamed(t, registrytest.Layer(t, seed, 1<<20))
				}
				return registrytest.Image(t, registrytest.Layer(t, seed, 1<<20))
			}
			proxy := registrytest.NewProxy(t, registrytest.Memory(t), nil)
			push := registry.Push{To: parse(t, proxy.Host+"/fixed:1"), Immutable: true}
			if _, err := newClient(t).Push(t.Context(), push, registry.Variant{Image: image(1)}); err != nil {
				t.Fatal(err)
			}
			proxy.Reset(nil)
			same, err := newClient(t).Push(t.Context(), push, registry.Variant{Image: image(1)})
			if err != nil || !same.Unchanged || proxy.Count("PATCH") != 0 {
				t.Errorf("the same again: %+v, %v, %d uploads", same, err, proxy.Count("PATCH"))
			}
			proxy.Reset(nil)
			_, err = newClient(t).Push(t.Context(), push, registry.Variant{Image: image(2)})
			var exists *registry.TagExistsError
			if !errors.As(err, &exists) || exists.Have != same.Digest {
				t.Errorf("other content: %v", err)
			}
			if proxy.Sent() != 0 {
				t.Errorf("%d bytes were uploaded for nothing", proxy.Sent())
			}
		})
	}
}

func TestARefusalToMoveATagIsATagExistsError(t *testing.T) {
	ecr := &registrytest.Fault{Status: 400, Body: `{"errors":[{"code":"TAG_INVALID","message":"The image tag '1' already exists in the 'x' repository and cannot be overwritten because the tag is immutable."}]}`}
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), func(r *http.Request) *registrytest.Fault {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/1") {
			return ecr
		}
		return nil
	})
	_, err := newClient(t).Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/x:1")}, registry.Variant{Image: registrytest.Image(t)})
	var exists *registry.TagExistsError
	if !errors.As(err, &exists) || !exists.Immutable {
		t.Errorf("got %v", err)
	}
}

func TestLayersAreMountedFromOtherRepositories(t *testing.T) {
	base := registrytest.Layer(t, 6, 1<<20)
	for name, image := range map[string]func(...[]byte) v1.Image{
		"compressed": func(l ...[]byte) v1.Image { return registrytest.Image(t, l...) },
		"streamed":   func(l ...[]byte) v1.Image { return registrytest.NewStreamed(t, l...) },
	} {
		t.Run(name, func(t *testing.T) {
			proxy := registrytest.NewProxy(t, registrytest.Docker(t), nil)
			c := newClient(t)
			if _, err := c.Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/base:1")}, registry.Variant{Image: image(base)}); err != nil {
				t.Fatal(err)
			}
			for i, client := range []*registry.Client{c, newClient(t)} {
				to := fmt.Sprintf("%s/app%d:1", proxy.Host, i)
				got, err := client.Push(t.Context(), registry.Push{To: parse(t, to), MountFrom: []string{proxy.Host + "/base", "docker.io/library/debian"}},
					registry.Variant{Image: image(base, registrytest.Layer(t, 7, 1000))})
				if err != nil {
					t.Fatal(err)
				}
				if name == "compressed" || i == 0 { // a stream's digest is known only where it was pushed before
					if got.Mounted != 1 || got.Uploaded != 2 {
						t.Errorf("push %d: %+v", i, got)
					}
				}
				checkPulled(t, to, image(base, registrytest.Layer(t, 7, 1000)))
			}
		})
	}
}

func TestSeveralPlatformsBecomeOneIndex(t *testing.T) {
	host := registrytest.Docker(t)
	amd := registrytest.ForPlatform(t, registrytest.Image(t, registrytest.Layer(t, 8, 1000)), "linux", "amd64")
	arm := registrytest.ForPlatform(t, registrytest.Image(t, registrytest.Layer(t, 9, 1000)), "linux", "arm64")
	c := newClient(t)
	push := registry.Push{To: parse(t, host+"/multi:1"), Annotations: map[string]string{"org.opencontainers.image.version": "1"}}
	variants := []registry.Variant{{Image: amd}, {Image: arm, Annotations: map[string]string{"a": "b"}}}
	first, err := c.Push(t.Context(), push, variants...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []builder.Platform{amd64(), {OS: "linux", Arch: "arm64", Variant: "v8"}} {
		found, err := newClient(t).Find(t.Context(), parse(t, host+"/multi:1"), registry.Pull{Platform: p})
		if err != nil || found.Digest != first.Digest || found.Platform.Arch != p.Arch {
			t.Errorf("%s: %+v, %v", p, found, err)
		}
	}
	_, err = c.Find(t.Context(), parse(t, host+"/multi:1"), registry.Pull{Platform: builder.Platform{OS: "linux", Arch: "s390x"}})
	var missing *registry.PlatformError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "linux/s390x, only for linux/amd64, linux/arm64") {
		t.Errorf("s390x: %v", err)
	}
	again, err := c.Push(t.Context(), push, variants...)
	if err != nil || !again.Unchanged || again.Digest != first.Digest {
		t.Errorf("again: %+v, %v", again, err)
	}
	out, err := exec.Command(need.Tool(t, "skopeo"), "inspect", "--raw", "--tls-verify=false", "docker://"+host+"/multi:1").CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"org.opencontainers.image.version":"1"`) || !strings.Contains(string(out), "arm64") {
		t.Errorf("skopeo: %v\n%s", err, out)
	}
}

func TestSkopeoTakesWhatWasPushed(t *testing.T) {
	host := registrytest.Docker(t)
	skopeo := need.Tool(t, "skopeo")
	for _, compression := range []registry.Compression{registry.Gzip, registry.Zstd, registry.None} {
		img := registrytest.NewStreamed(t, registrytest.Layer(t, 10, 1<<20), registrytest.Layer(t, 11, 5000))
		to := fmt.Sprintf("%s/app:%s", host, compression)
		_, err := newClient(t).Push(t.Context(), registry.Push{To: parse(t, to), Compression: compression}, registry.Variant{Image: img, Annotations: map[string]string{"x": "y"}})
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(skopeo, "copy", "--src-tls-verify=false", "docker://"+to, "dir:"+t.TempDir()).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", compression, err, out)
		}
		checkPulled(t, to, img)
	}
}

func TestATokenServerThatRefusesAnotherRepositoryDoesNotStopThePush(t *testing.T) {
	server := &registrytest.TokenServer{}
	inner := server.Rule(nil)
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), func(r *http.Request) *registrytest.Fault {
		if r.URL.Path == "/token" && strings.Contains(r.URL.RawQuery, "secret") {
			return &registrytest.Fault{Status: 403}
		}
		return inner(r)
	})
	img := registrytest.Image(t)
	_, err := newClient(t).Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/x:1"), MountFrom: []string{proxy.Host + "/secret"}}, registry.Variant{Image: img})
	if err != nil {
		t.Fatal(err)
	}
	checkPulled(t, proxy.Host+"/x:1", img)
}

func TestARegistryThatHidesDigestsIsAskedForTheWhole(t *testing.T) {
	host := registrytest.Memory(t)
	proxy := registrytest.NewProxy(t, host, func(r *http.Request) *registrytest.Fault {
		if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/manifests/") {
			return &registrytest.Fault{Status: 405}
		}
		return nil
	})
	push := registry.Push{To: parse(t, proxy.Host+"/x:1"), Immutable: true}
	if _, err := newClient(t).Push(t.Context(), registry.Push{To: parse(t, host+"/x:1")}, registry.Variant{Image: registrytest.Image(t)}); err != nil {
		t.Fatal(err)
	}
	if got, err := newClient(t).Push(t.Context(), push, registry.Variant{Image: registrytest.Image(t)}); err != nil || !got.Unchanged {
		t.Errorf("the same: %+v, %v", got, err)
	}
	var exists *registry.TagExistsError
	if _, err := newClient(t).Push(t.Context(), push, registry.Variant{Image: registrytest.Image(t, registrytest.Layer(t, 1, 1))}); !errors.As(err, &exists) {
		t.Errorf("other content: %v", err)
	}
}

func TestACancelledPushStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), func(r *http.Request) *registrytest.Fault {
		if r.Method == http.MethodPatch {
			cancel()
			return &registrytest.Fault{Status: 503}
		}
		return nil
	})
	_, err := newClient(t).Push(ctx, registry.Push{To: parse(t, proxy.Host+"/x:1")}, registry.Variant{Image: registrytest.NewStreamed(t, registrytest.Layer(t, 1, 1<<20))})
	if err == nil || proxy.Count("PATCH") > 2 {
		t.Errorf("%v after %q", err, proxy.Requests())
	}
}
