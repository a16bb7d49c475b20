package ecr_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"bake/builder"
	"bake/internal/registry"
	"bake/internal/sandbox/api"
	sandboxecr "bake/internal/sandbox/ecr"
)

// A bigImage has one layer of noise, which is made as it is read.
type bigImage struct {
	v1.Image
	size     int64
	config   []byte
	manifest []byte
	desc     v1.Descriptor
}

func (b *bigImage) noise() io.ReadCloser {
	return io.NopCloser(io.LimitReader(rand.NewChaCha8([32]byte{7}), b.size))
}

func newBigImage(t testing.TB, size int64) *bigImage {
	t.Helper()
	b := &bigImage{size: size}
	sum := sha256.New()
	if _, err := io.Copy(sum, b.noise()); err != nil {
		t.Fatal(err)
	}
	b.desc = v1.Descriptor{MediaType: types.OCIUncompressedLayer, Size: size, Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}}
	config, err := json.Marshal(v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{b.desc.Digest}}})
	if err != nil {
		t.Fatal(err)
	}
	id := sha256.Sum256(config)
	b.config = config
	b.manifest, err = json.Marshal(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{b.desc},
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(config)), Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(id[:])}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bigImage) RawConfigFile() ([]byte, error) { return b.config, nil }
func (b *bigImage) RawManifest() ([]byte, error)   { return b.manifest, nil }
func (b *bigImage) Layers() ([]v1.Layer, error)    { return []v1.Layer{bigLayer{b}}, nil }

type bigLayer struct{ *bigImage }

func (l bigLayer) Digest() (v1.Hash, error)             { return l.desc.Digest, nil }
func (l bigLayer) DiffID() (v1.Hash, error)             { return l.desc.Digest, nil }
func (l bigLayer) Size() (int64, error)                 { return l.size, nil }
func (l bigLayer) MediaType() (types.MediaType, error)  { return l.desc.MediaType, nil }
func (l bigLayer) Compressed() (io.ReadCloser, error)   { return l.noise(), nil }
func (l bigLayer) Uncompressed() (io.ReadCloser, error) { return l.noise(), nil }

// streamedBig is the same as an engine hands it over: once, from its beginning.
type streamedBig struct{ *bigImage }

func (s streamedBig) StreamLayers(_ context.Context, want func(v1.Hash) bool, fn func(v1.Hash, io.Reader) error) error {
	if !want(s.desc.Digest) {
		return nil
	}
	return fn(s.desc.Digest, s.noise())
}

// A meter counts what leaves this side.
type meter struct {
	next http.RoundTripper
	sent atomic.Int64
}

func (m *meter) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r = r.Clone(r.Context())
		r.Body = &metered{r.Body, m}
	}
	return m.next.RoundTrip(r)
}

type metered struct {
	io.ReadCloser
	meter *meter
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.meter.sent.Add(int64(n))
	return n, err
}

// inFlight is what a cut may cost: the part that ECR has not stored, up to 5
// MiB, and what the kernel holds of the connection, up to 4 MiB on the way out
// and 6 on the way in.
const inFlight = 16 << 20

func TestATokenThatExpiresInAPushOfAGibibyteDoesNotStopIt(t *testing.T) {
	size := int64(1 << 30)
	if testing.Short() {
		size = 64 << 20
	}
	big := newBigImage(t, size)
	for name, img := range map[string]v1.Image{"stored": big, "streamed": streamedBig{big}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := &meter{next: http.DefaultTransport.(*http.Transport).Clone()}
			w.deps.Registry = registry.New(registry.Config{Transport: m, CacheDir: t.TempDir(), Retry: registry.Retry{Base: time.Millisecond}})
			held := builder.Image{Engine: "engine", ID: "big", Platform: builder.Platform{OS: "linux", Arch: "amd64"}}
			w.images["big"] = img
			// Every token is spent soon, and the connection is cut three times in
			// the layer: each time the upload goes on with another token.
			const cuts = 3
			w.Services.ECR.Turn(sandboxecr.Knobs{TokenLasts: api.Duration(100 * time.Millisecond), CutAfter: size / 5, Cuts: cuts})
			began := time.Now()
			p := w.mustPush(t, `{repository: api, region: eu-west-1, tags: ["1"], create: true, compression: none}`, held)
			tokens := w.calls("GetAuthorizationToken")
			t.Logf("%d MiB in %s with %d tokens: %d MiB sent", size>>20, time.Since(began).Round(time.Millisecond), tokens, m.sent.Load()>>20)
			if tokens < 2 {
				t.Error("no token has expired")
			}
			if most := size + cuts*inFlight + 1<<20; m.sent.Load() > most {
				t.Errorf("%d bytes were sent for %d after %d cuts, at most %d are allowed", m.sent.Load(), size, cuts, most)
			}
			if got := w.held(t, region, "api"); fmt.Sprint(got[p.Values["digest"]]) != "[1]" {
				t.Errorf("the repository holds %v", got)
			}
		})
	}
}

func TestACutAtAnyPointCostsAtMostWhatIsInFlight(t *testing.T) {
	const size = 48 << 20
	big := newBigImage(t, size)
	for _, at := range []int64{1, 64 << 10, 5<<20 - 1, 5 << 20, 5<<20 + 1, 17 << 20, 40<<20 + 12345, size - 1} {
		for name, img := range map[string]v1.Image{"stored": big, "streamed": streamedBig{big}} {
			t.Run(fmt.Sprintf("%d %s", at, name), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				m := &meter{next: http.DefaultTransport.(*http.Transport).Clone()}
				w.deps.Registry = registry.New(registry.Config{Transport: m, CacheDir: t.TempDir(), Retry: registry.Retry{Base: time.Millisecond}})
				held := builder.Image{Engine: "engine", ID: "big", Platform: builder.Platform{OS: "linux", Arch: "amd64"}}
				w.images["big"] = img
				w.Services.ECR.Turn(sandboxecr.Knobs{CutAfter: at})
				w.mustPush(t, `{repository: api, region: eu-west-1, tags: ["1"], create: true, compression: none}`, held)
				if most := int64(size + inFlight + 1<<20); m.sent.Load() > most {
					t.Errorf("%d bytes were sent for %d", m.sent.Load(), size)
				}
			})
		}
	}
}
