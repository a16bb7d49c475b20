package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/internal/registry"
	"bake/internal/registrytest"
)

// keys hands out passwords that open a lock until the next one does.
type keys struct {
	lock *registrytest.Lock

	mu       sync.Mutex
	n        int
	accepted string
}

func (k *keys) Resolve(authn.Resource) (authn.Authenticator, error) { return k, nil }
func (k *keys) now() string                                         { return fmt.Sprintf("token-%d", k.n) }

func (k *keys) Authorization() (*authn.AuthConfig, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return &authn.AuthConfig{Username: "AWS", Password: k.now()}, nil
}

func (k *keys) Accepted(password string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if password == k.now() { // not a late word on the one before
		k.accepted = password
	}
}

func (k *keys) Renew(_ context.Context, password string) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if password != k.now() {
		return true, nil
	}
	if k.accepted != password {
		return false, nil
	}
	k.n++
	k.lock.Set(k.now())
	return true, nil
}

func TestATokenThatRunsOutInTheMiddleOfAnUploadIsRenewedAndTheUploadGoesOn(t *testing.T) {
	const expired = "Your authorization token has expired. Reauthenticate and try again."
	tar := registrytest.Layer(t, 3, 24<<20)
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		for name, img := range map[string]v1.Image{"compressed": registrytest.Image(t, tar), "streamed": registrytest.NewStreamed(t, tar)} {
			t.Run(fmt.Sprintf("%s %d", name, status), func(t *testing.T) {
				lock := &registrytest.Lock{Status: status, Message: expired}
				lock.Set("token-0")
				ends := 0
				proxy := registrytest.NewProxy(t, registrytest.Resumable(t), lock.Rule(func(r *http.Request) *registrytest.Fault {
					if r.Method == http.MethodPatch && ends < 3 && (r.ContentLength < 0 || r.ContentLength > 1<<20) {
						ends++
						lock.Set("none") // until it is renewed
						return &registrytest.Fault{CutRequest: 1 << 20}
					}
					return nil
				}))
				k := &keys{lock: lock}
				c := registry.New(registry.Config{Keychain: k, CacheDir: t.TempDir(), Retry: registry.Retry{Base: time.Millisecond}})
				pushed, err := c.Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/renew:1")}, registry.Variant{Image: img})
				if err != nil {
					t.Fatal(err)
				}
				if ends != 3 || k.n != 3 {
					t.Errorf("%d tokens ran out, %d were renewed, want 3", ends, k.n)
				}
				if limit := pushed.Bytes + 1<<20; proxy.Sent() > limit {
					t.Errorf("sent %d bytes for %d: it began anew", proxy.Sent(), pushed.Bytes)
				}
			})
		}
	}
}

func TestATokenThatRunsOutBetweenRequestsIsRenewed(t *testing.T) {
	for _, at := range []string{http.MethodHead, http.MethodPost, http.MethodPut} {
		t.Run(at, func(t *testing.T) {
			lock := &registrytest.Lock{Status: http.StatusForbidden, Message: "expired"}
			lock.Set("token-0")
			once := false
			next := lock.Rule(nil)
			proxy := registrytest.NewProxy(t, registrytest.Memory(t), func(r *http.Request) *registrytest.Fault {
				if r.Method == at && !once {
					once = true
					lock.Set("none")
				}
				return next(r)
			})
			k := &keys{lock: lock}
			c := registry.New(registry.Config{Keychain: k, Retry: registry.Retry{Base: time.Millisecond}})
			img := registrytest.Image(t, registrytest.Layer(t, 3, 1<<20))
			// The first request must be taken, or the token is not worth renewing.
			if _, err := c.Find(t.Context(), parse(t, proxy.Host+"/renew:0"), registry.Pull{}); at != http.MethodHead && err == nil {
				t.Fatal("there is no such image")
			}
			k.Accepted("token-0")
			if _, err := c.Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/renew:1")}, registry.Variant{Image: img}); err != nil {
				t.Fatal(err)
			}
			if k.n != 1 {
				t.Errorf("%d tokens for one that ran out", k.n)
			}
		})
	}
}

func TestWhatAPolicyForbidsIsNotTriedWithAnotherToken(t *testing.T) {
	lock := &registrytest.Lock{Status: http.StatusForbidden}
	lock.Set("token-0")
	denied := `{"errors":[{"code":"DENIED","message":"User: arn:aws:iam::1:user/x is not authorized to perform: ecr:InitiateLayerUpload on resource: arn:aws:ecr:eu-west-1:1:repository/x"}]}`
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), lock.Rule(func(r *http.Request) *registrytest.Fault {
		if r.Method == http.MethodPost {
			return &registrytest.Fault{Status: http.StatusForbidden, Body: denied}
		}
		return nil
	}))
	k := &keys{lock: lock}
	c := registry.New(registry.Config{Keychain: k, Retry: registry.Retry{Base: time.Millisecond}})
	_, err := c.Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/x:1")}, registry.Variant{Image: registrytest.Image(t, registrytest.Layer(t, 1, 1000))})
	if err == nil || !strings.Contains(err.Error(), "not authorized to perform: ecr:InitiateLayerUpload") || k.n != 0 {
		t.Errorf("%d new tokens, %v", k.n, err)
	}
}

func TestAWrongPasswordIsTriedOnce(t *testing.T) {
	lock := &registrytest.Lock{Status: http.StatusForbidden, Message: "no"}
	lock.Set("another")
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), lock.Rule(nil))
	k := &keys{lock: lock}
	c := registry.New(registry.Config{Keychain: k, Retry: registry.Retry{Base: time.Millisecond}})
	_, err := c.Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/x:1")}, registry.Variant{Image: registrytest.Image(t)})
	if registry.StatusOf(err) != http.StatusForbidden || k.n != 0 || len(proxy.Requests()) > 3 {
		t.Errorf("%v after %q, %d new tokens", err, proxy.Requests(), k.n)
	}
}

func TestOnlySomeTagsAreHeldToBeFixed(t *testing.T) {
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), nil)
	push := registry.Push{To: parse(t, proxy.Host+"/fixed"), Tags: []string{"latest", "1"}, Fixed: func(tag string) bool { return tag != "latest" }}
	image := func(seed uint64) registry.Variant {
		return registry.Variant{Image: registrytest.Image(t, registrytest.Layer(t, seed, 1000))}
	}
	if _, err := newClient(t).Push(t.Context(), push, image(1)); err != nil {
		t.Fatal(err)
	}
	proxy.Reset(nil)
	_, err := newClient(t).Begin(t.Context(), push, image(2))
	if exists, ok := errors.AsType[*registry.TagExistsError](err); !ok || !strings.HasSuffix(exists.Ref, ":1") || proxy.Sent() != 0 {
		t.Errorf("%v after %d bytes", err, proxy.Sent())
	}
	push.Tags = []string{"latest"}
	if _, err := newClient(t).Push(t.Context(), push, image(2)); err != nil {
		t.Error(err)
	}
}

func TestAnIndexOfStreamedImagesIsKnownAgainUnderAnImmutableTag(t *testing.T) {
	proxy := registrytest.NewProxy(t, registrytest.Docker(t), nil)
	push := registry.Push{To: parse(t, proxy.Host+"/multi:1"), Immutable: true}
	images := func() []registry.Variant {
		return []registry.Variant{
			{Image: registrytest.NewStreamed(t, registrytest.Layer(t, 1, 1000))},
			{Image: registrytest.NewStreamed(t, registrytest.Layer(t, 2, 1000))},
		}
	}
	first, err := newClient(t).Push(t.Context(), push, images()...)
	if err != nil {
		t.Fatal(err)
	}
	proxy.Reset(nil)
	again, err := newClient(t).Push(t.Context(), push, images()...) // a new machine, with nothing in its cache
	if err != nil || !again.Unchanged || again.Digest != first.Digest || proxy.Sent() != 0 {
		t.Errorf("%+v, %v, %d bytes sent", again, err, proxy.Sent())
	}
	other := append(images()[:1], registry.Variant{Image: registrytest.NewStreamed(t, registrytest.Layer(t, 3, 1000))})
	if _, err := newClient(t).Push(t.Context(), push, other...); err == nil || proxy.Sent() != 0 {
		t.Errorf("%v after %d bytes", err, proxy.Sent())
	}
}

func TestALayerTheRegistryDoesNotTakeIsToldBeforeTheUpload(t *testing.T) {
	for name, img := range map[string]v1.Image{"compressed": registrytest.Image(t, registrytest.Layer(t, 1, 4<<20)), "streamed": registrytest.NewStreamed(t, registrytest.Layer(t, 1, 4<<20))} {
		proxy := registrytest.NewProxy(t, registrytest.Memory(t), nil)
		_, err := newClient(t).Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/big:1"), MaxLayer: 1 << 20}, registry.Variant{Image: img})
		if big, ok := errors.AsType[*registry.LayerTooBigError](err); !ok || big.Max != 1<<20 {
			t.Errorf("%s: %v", name, err)
		}
		if name == "compressed" && proxy.Sent() != 0 {
			t.Errorf("%d bytes were sent for nothing", proxy.Sent())
		}
	}
}

func TestAnIndexIsCopiedByteForByte(t *testing.T) {
	from, to := registrytest.Docker(t), registrytest.Docker(t)
	c := newClient(t)
	amd := registrytest.ForPlatform(t, registrytest.Image(t, registrytest.Layer(t, 8, 1000)), "linux", "amd64")
	arm := registrytest.ForPlatform(t, registrytest.Image(t, registrytest.Layer(t, 9, 1000)), "linux", "arm64")
	first, err := c.Push(t.Context(), registry.Push{To: parse(t, from+"/a:1"), Annotations: map[string]string{"x": "y"}}, registry.Variant{Image: amd}, registry.Variant{Image: arm, Annotations: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	ref := parse(t, from+"/a").WithDigest(first.Digest)
	document, err := c.Document(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	var images []registry.Variant
	for _, m := range first.Manifests {
		img, err := c.Image(t.Context(), ref, registry.Found{Manifest: m}, nil)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, registry.Variant{Image: img})
	}
	copied, err := c.Push(t.Context(), registry.Push{To: parse(t, to+"/b:1"), Document: &document}, images...)
	if err != nil || copied.Digest != first.Digest {
		t.Errorf("%+v, %v, want %s", copied, err, first.Digest)
	}
}
