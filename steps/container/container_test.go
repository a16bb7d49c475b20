package container_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/imagefile"
	"bake/internal/registry"
	"bake/internal/registrytest"
	"bake/steps/container"
	"bake/templates"
)

// A filesEngine is an engine that can only list what a machine starts from:
// enough to see that a source hands over the right content.
type filesEngine struct {
	container.Engine // the rest is not asked for
	name             string
	files            map[string]string // of the last machine: name -> content
	ref              string
	config           *v1.ConfigFile
}

func (e *filesEngine) Name() string { return e.name }

func (e *filesEngine) Open(ctx context.Context, _ *builder.Scope, from builder.Opening, base func(context.Context) (v1.Image, error), ref string) (builder.Machine, error) {
	img, err := base(ctx)
	if err != nil {
		return builder.Machine{}, err
	}
	if e.config, err = img.ConfigFile(); err != nil {
		return builder.Machine{}, err
	}
	layers, err := img.Layers()
	if err != nil {
		return builder.Machine{}, err
	}
	e.files, e.ref = map[string]string{}, ref
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			return builder.Machine{}, err
		}
		in := tar.NewReader(r)
		for {
			h, err := in.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return builder.Machine{}, err
			}
			data, err := io.ReadAll(io.LimitReader(in, 100))
			if err != nil {
				return builder.Machine{}, err
			}
			e.files[strings.TrimPrefix(h.Name, "./")] = string(data)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return builder.Machine{}, err
		}
		if err := r.Close(); err != nil {
			return builder.Machine{}, err
		}
	}
	return builder.Machine{ID: "m", Platform: from.Platform}, nil
}

func (e *filesEngine) Dial(context.Context, *builder.Scope, builder.Machine) (builder.Communicator, error) {
	return nil, fmt.Errorf("dialled %s", e.name)
}

// world is what a source lives in, without a network.
type world struct {
	deps    container.Deps
	engines map[string]*filesEngine
	dir     string
	cache   string
	local   map[string]v1.Image
}

// client returns a new client with the world's cache.
func (w *world) client() *registry.Client {
	return registry.New(registry.Config{Keychain: authn.NewMultiKeychain(), CacheDir: w.cache, Retry: registry.Retry{Attempts: 2, Base: time.Millisecond}})
}

func newWorld(t testing.TB) *world {
	w := &world{dir: t.TempDir(), cache: t.TempDir(), local: map[string]v1.Image{}, engines: map[string]*filesEngine{}}
	for _, name := range []string{"embedded", "docker"} {
		w.engines[name] = &filesEngine{name: name}
	}
	w.deps = container.Deps{
		Engine: func(_ context.Context, name string) (container.Engine, error) {
			if name == "" {
				name = "embedded"
			}
			return w.engines[name], nil
		},
		Registry: w.client(),
		CacheDir: w.cache,
		Local:    func(context.Context) (container.Local, error) { return w, nil },
	}
	return w
}

// LocalImage is container.Local.
func (w *world) LocalImage(_ context.Context, name string) (v1.Image, string, error) {
	for have, img := range w.local {
		id, err := img.ConfigName()
		if err != nil {
			return nil, "", err
		}
		if name == have || name == id.String() {
			return img, id.String(), nil
		}
	}
	return nil, "", builder.ErrNotFound
}

// decode makes a source as a template would.
func (w *world) decode(t testing.TB, kind, body string) builder.Source {
	t.Helper()
	src := container.Sources(w.deps)[kind]()
	b, err := templates.FromJSON(json.RawMessage(body), templates.Pos{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := templates.Decode(b, src).Err(); err != nil {
		t.Fatal(err)
	}
	return src
}

func amd64() builder.Platform { return builder.Platform{OS: "linux", Arch: "amd64"} }

// open pins and opens a source and returns its pin; files and config are the engine's then.
func (w *world) open(t testing.TB, kind, body string) (builder.Pin, error) {
	t.Helper()
	src := w.decode(t, kind, body)
	pin, err := src.Pin(t.Context(), builder.PinEnv{Dir: w.dir, Platform: amd64()})
	if err != nil {
		return pin, err
	}
	return pin, w.reopen(t, kind, body, pin)
}

// reopen opens with a pin that went through JSON, as in a later process.
func (w *world) reopen(t testing.TB, kind, body string, pin builder.Pin) error {
	t.Helper()
	data, err := json.Marshal(pin)
	if err != nil {
		t.Fatal(err)
	}
	var again builder.Pin
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	sc := buildertest.Scope(t, builder.Catalog{}, w.dir)
	_, err = w.decode(t, kind, body).Open(t.Context(), sc, builder.Opening{Dir: w.dir, Platform: amd64(), Pin: again})
	return err
}

func quote(s string) string { data, _ := json.Marshal(s); return string(data) }

func (w *world) has(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, ok := w.engines["embedded"].files[name]; !ok {
			t.Errorf("there is no file %s on the machine, only %d others", name, len(w.engines["embedded"].files))
		}
	}
}

func push(t testing.TB, to string, images ...v1.Image) registry.Pushed {
	t.Helper()
	ref, err := registry.ParseReference(to, false)
	if err != nil {
		t.Fatal(err)
	}
	var variants []registry.Variant
	for _, img := range images {
		variants = append(variants, registry.Variant{Image: img})
	}
	pushed, err := registry.New(registry.Config{Keychain: authn.NewMultiKeychain()}).Push(t.Context(), registry.Push{To: ref}, variants...)
	if err != nil {
		t.Fatal(err)
	}
	return pushed
}

func TestAnImageIsPinnedToWhatItsTagMeans(t *testing.T) {
	w := newWorld(t)
	name := registrytest.Memory(t) + "/base:1"
	first := push(t, name, registrytest.Image(t, registrytest.Layer(t, 1, 10)), registrytest.ForPlatform(t, registrytest.Image(t), "linux", "arm64"))
	pin, err := w.open(t, "image", quote(name))
	if err != nil {
		t.Fatal(err)
	}
	w.has(t, "file-1")
	if got := pin.Values["digest"]; got != first.Digest || string(pin.Digest) != first.Manifests[0] {
		t.Errorf("pinned %s (%s), pushed %+v", got, pin.Digest, first)
	}
	if want := name + "@" + first.Digest; w.engines["embedded"].ref != want || pin.Summary != want {
		t.Errorf("the engine was told %q, the user %q, want %q", w.engines["embedded"].ref, pin.Summary, want)
	}
	push(t, name, registrytest.Image(t, registrytest.Layer(t, 2, 10)))
	if err := w.reopen(t, "image", quote(name), pin); err != nil {
		t.Fatal(err)
	}
	w.has(t, "file-1") // still, although the tag has moved
	if _, err := w.open(t, "image", quote(name)); err != nil {
		t.Fatal(err)
	}
	w.has(t, "file-2")
}

func TestAnIndexThatChangesElsewhereChangesNothingHere(t *testing.T) {
	w := newWorld(t)
	name := registrytest.Memory(t) + "/base:1"
	base := registrytest.Image(t, registrytest.Layer(t, 1, 10))
	push(t, name, base, registrytest.ForPlatform(t, registrytest.Image(t), "linux", "arm64"))
	one, err := w.open(t, "image", quote(name))
	if err != nil {
		t.Fatal(err)
	}
	push(t, name, base, registrytest.ForPlatform(t, registrytest.Image(t, registrytest.Layer(t, 3, 3)), "linux", "arm64"))
	two, err := w.open(t, "image", quote(name))
	if err != nil || one.Digest != two.Digest || one.Values["digest"] == two.Values["digest"] {
		t.Errorf("%v: %+v, then %+v", err, one, two)
	}
}

func TestPullMissingKeepsToWhatItKnows(t *testing.T) {
	w := newWorld(t)
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), nil)
	name := proxy.Host + "/base:1"
	push(t, name, registrytest.Image(t, registrytest.Layer(t, 1, 10)))
	body := `{"name": ` + quote(name) + `, "pull": "missing"}`
	one, err := w.open(t, "image", body)
	if err != nil {
		t.Fatal(err)
	}
	push(t, name, registrytest.Image(t, registrytest.Layer(t, 2, 10)))
	proxy.Reset(func(*http.Request) *registrytest.Fault { return &registrytest.Fault{Status: 500} })
	src := w.decode(t, "image", body)
	two, err := src.Pin(t.Context(), builder.PinEnv{Dir: w.dir, Platform: amd64()})
	if err != nil || two.Digest != one.Digest || len(proxy.Requests()) != 0 {
		t.Errorf("%v: %+v after %q", err, two, proxy.Requests())
	}
}

func TestADigestNeedsNoRegistryOnceItIsKnown(t *testing.T) {
	w := newWorld(t)
	proxy := registrytest.NewProxy(t, registrytest.Memory(t), nil)
	name := proxy.Host + "/base:1"
	arm := registrytest.ForPlatform(t, registrytest.Image(t), "linux", "arm64")
	full := name + "@" + push(t, name, arm, registrytest.Image(t, registrytest.Layer(t, 1, 10))).Digest
	one, err := w.open(t, "image", quote(full))
	if err != nil {
		t.Fatal(err)
	}
	proxy.Reset(func(*http.Request) *registrytest.Fault { return &registrytest.Fault{Status: 500} })
	w.deps.Registry = w.client() // of another process
	two, err := w.decode(t, "image", quote(full)).Pin(t.Context(), builder.PinEnv{Platform: amd64()})
	if err != nil || two.Digest != one.Digest || len(proxy.Requests()) != 0 {
		t.Errorf("%v: %+v after %q", err, two, proxy.Requests())
	}
}

func TestTheLocalEngineHelpsOutWhereTheRegistryHasNothing(t *testing.T) {
	w := newWorld(t)
	host := registrytest.Memory(t)
	w.local[host+"/mine:1"] = registrytest.Image(t, registrytest.Layer(t, 5, 10))
	pin, err := w.open(t, "image", quote(host+"/mine:1"))
	if err != nil {
		t.Fatal(err)
	}
	w.has(t, "file-5")
	if !strings.Contains(pin.Summary, "Docker engine") || w.engines["embedded"].ref != "" {
		t.Errorf("summary %q, ref %q", pin.Summary, w.engines["embedded"].ref)
	}
	push(t, host+"/mine:1", registrytest.Image(t, registrytest.Layer(t, 6, 10)))
	if _, err := w.open(t, "image", quote(host+"/mine:1")); err != nil {
		t.Fatal(err)
	}
	w.has(t, "file-6") // the registry comes first
	if _, err := w.open(t, "image", quote("docker-daemon:"+host+"/mine:1")); err != nil {
		t.Fatal(err)
	}
	w.has(t, "file-5")
	if _, err := w.open(t, "image", `{"name": `+quote(host+"/mine:1")+`, "from": "registry", "pull": "missing"}`); err != nil {
		t.Fatal(err)
	}
	w.has(t, "file-6")
	if _, err := w.open(t, "image", quote(host+"/nobodys:1")); !errors.Is(err, builder.ErrNotFound) {
		t.Errorf("an image that is nowhere: %v", err)
	}
}

func TestMirrorsAreAskedFirst(t *testing.T) {
	w := newWorld(t)
	mirror := registrytest.NewProxy(t, registrytest.Memory(t), nil)
	origin := registrytest.NewProxy(t, registrytest.Memory(t), nil)
	img := registrytest.Image(t, registrytest.Layer(t, 1, 10))
	push(t, mirror.Host+"/hub/base:1", img)
	push(t, origin.Host+"/base:1", img)
	origin.Reset(nil)
	body := `{"name": ` + quote(origin.Host+"/base:1") + `, "mirrors": ["127.0.0.1:1", ` + quote(mirror.Host+"/hub") + `]}`
	if _, err := w.open(t, "image", body); err != nil {
		t.Fatal(err)
	}
	w.has(t, "file-1")
	for _, r := range origin.Requests() {
		if r != "GET /v2/" {
			t.Errorf("the registry itself was asked %s", r)
		}
	}
	mirror.Reset(func(r *http.Request) *registrytest.Fault {
		if strings.Contains(r.URL.Path, "/blobs/") {
			return &registrytest.Fault{Status: 404}
		}
		return nil
	})
	w2 := newWorld(t) // remembers nothing
	if _, err := w2.open(t, "image", body); err != nil {
		t.Errorf("a mirror without the blobs: %v", err)
	}
}

func TestFilesAreSources(t *testing.T) {
	w := newWorld(t)
	for i, tt := range []struct {
		format imagefile.Format
		name   string
		body   string
	}{
		{imagefile.OCIDir, "layout", `"oci:layout:1"`},
		{imagefile.OCIDir, "layout2", `{"name": "layout2", "from": "layout", "tag": "1"}`},
		{imagefile.OCI, "o.tar", `"oci-archive:o.tar"`},
		{imagefile.Docker, "d.tar", `"docker-archive:d.tar"`},
		{imagefile.Docker, "with:colon.tar", `{"name": "with:colon.tar", "from": "archive"}`},
		{imagefile.Docker, "n.tar", `"docker-archive:n.tar:web:1"`},
	} {
		img := registrytest.Image(t, registrytest.Layer(t, uint64(i), 10))
		f := imagefile.File{Path: filepath.Join(w.dir, tt.name), Format: tt.format, Tags: []string{"web:1"}}
		if _, err := imagefile.Write(t.Context(), f, registry.Variant{Image: img}); err != nil {
			t.Fatal(err)
		}
		pin, err := w.open(t, "image", tt.body)
		if err != nil {
			t.Errorf("%s: %v", tt.body, err)
			continue
		}
		w.has(t, fmt.Sprintf("file-%d", i))
		other := registrytest.Image(t, registrytest.Layer(t, 99, 10))
		if _, err := imagefile.Write(t.Context(), f, registry.Variant{Image: other}); err != nil {
			t.Fatal(err)
		}
		if err := w.reopen(t, "image", tt.body, pin); err == nil || !strings.Contains(err.Error(), "has changed since the plan was made") {
			t.Errorf("%s has changed, but: %v", tt.body, err)
		}
	}
}

func TestMistakesInImagesAreFoundBeforeAnythingStarts(t *testing.T) {
	for body, want := range map[string]string{
		`"UPPER/case"`: "UPPER/case", `"docker-daemon:"`: "nothing behind", `{"name": "oci:x", "from": "registry"}`: "the name says layout",
		`{"name": "a", "pull": "never"}`: "never", `{}`: "name",
	} {
		b, err := templates.FromJSON(json.RawMessage(body), templates.Pos{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = templates.Decode(b, container.Sources(container.Deps{})["image"]()).Err()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf strings.Builder
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(buf.String())
}

func TestARootfsIsTheFirstLayer(t *testing.T) {
	w := newWorld(t)
	plain := registrytest.Layer(t, 1, 10)
	for name, data := range map[string][]byte{"r.tar": plain, "r.tar.gz": gzipped(t, plain)} {
		if err := os.WriteFile(filepath.Join(w.dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
		pin, err := w.open(t, "rootfs", quote(name))
		if err != nil {
			t.Fatal(err)
		}
		w.has(t, "file-1")
		if err := os.WriteFile(filepath.Join(w.dir, name), registrytest.Layer(t, 2, 10), 0o644); err != nil {
			t.Fatal(err)
		}
		changed, err := w.open(t, "rootfs", quote(name))
		if err != nil || changed.Digest == pin.Digest {
			t.Errorf("%s: %v, the pin stays %s although the file has changed", name, err, pin.Digest)
		}
		w.has(t, "file-2")
	}
	if err := os.WriteFile(filepath.Join(w.dir, "no.tar"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := w.open(t, "rootfs", `"no.tar"`); err == nil || !strings.Contains(err.Error(), "not a tar archive") {
		t.Errorf("no tar: %v", err)
	}
	if _, err := w.open(t, "rootfs", `{"path": "no.tar", "checksum": "sha256:`+strings.Repeat("0", 64)+`"}`); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("wrong checksum: %v", err)
	}
}

func TestARootfsIsDownloadedOnceAndGoesOnAfterACut(t *testing.T) {
	w := newWorld(t)
	data := registrytest.Layer(t, 1, 3<<20)
	sum := sha256.Sum256(data)
	asked := []string{}
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Range"))
		if len(asked) == 1 {
			rw.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = rw.Write(data[:1<<20])
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(rw, r, "r.tar", time.Time{}, strings.NewReader(string(data)))
	}))
	t.Cleanup(srv.Close)
	body := `{"path": ` + quote(srv.URL+"/r.tar") + `, "checksum": "sha256:` + hex.EncodeToString(sum[:]) + `"}`
	for range 2 {
		if _, err := w.open(t, "rootfs", body); err != nil {
			t.Fatal(err)
		}
		w.has(t, "file-1")
	}
	if len(asked) != 2 || asked[1] == "" {
		t.Errorf("asked with ranges %q, want one whole and one rest", asked)
	}
}

func TestScratchIsEmptyAndKnowsItsPlatform(t *testing.T) {
	w := newWorld(t)
	if _, err := w.open(t, "scratch", "true"); err != nil {
		t.Fatal(err)
	}
	if e := w.engines["embedded"]; len(e.files) != 0 || e.config.Architecture != "amd64" || e.config.OS != "linux" {
		t.Errorf("%v %+v", e.files, e.config)
	}
}

func TestABuildStartsFromAnothersImage(t *testing.T) {
	w := newWorld(t)
	base := registrytest.Image(t, registrytest.Layer(t, 4, 10))
	img := builder.Image{Engine: "test", ID: "x", Manifests: []builder.Image{
		{Engine: "test", ID: "arm", Platform: builder.Platform{OS: "linux", Arch: "arm64"}},
		{Engine: "test", ID: "amd", Platform: amd64()},
	}}
	asked := []string{}
	cat := builder.Catalog{Images: map[string]builder.ImageOpener{"test": opener(func(i builder.Image) (v1.Image, error) {
		asked = append(asked, i.ID)
		return base, nil
	})}}
	src := w.decode(t, "build", `"base"`)
	_, err := src.Open(t.Context(), buildertest.Scope(t, cat, w.dir), builder.Opening{Platform: amd64(), Base: &builder.Artifact{Image: &img}})
	if err != nil {
		t.Fatal(err)
	}
	w.has(t, "file-4")
	if !slices.Equal(asked, []string{"amd"}) {
		t.Errorf("asked for %q", asked)
	}
}

type opener func(builder.Image) (v1.Image, error)

func (o opener) OpenImage(_ context.Context, img builder.Image) (v1.Image, error) { return o(img) }

func TestALaterProcessAsksTheSameEngine(t *testing.T) {
	w := newWorld(t)
	src := w.decode(t, "scratch", "true")
	sc := buildertest.Scope(t, builder.Catalog{}, w.dir)
	m, err := src.Open(t.Context(), sc, builder.Opening{Platform: amd64()})
	if err != nil {
		t.Fatal(err)
	}
	embedded := w.deps.Engine
	w.deps.Engine = func(ctx context.Context, name string) (container.Engine, error) {
		if name == "" {
			name = "docker" // another --engine, this time
		}
		return embedded(ctx, name)
	}
	if _, err := w.decode(t, "scratch", "true").Dial(t.Context(), sc, m); err == nil || err.Error() != "dialled embedded" {
		t.Errorf("%v", err)
	}
}
