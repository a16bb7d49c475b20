package publish_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/imagefile"
	"bake/internal/need"
	"bake/internal/registry"
	"bake/internal/registrytest"
	"bake/steps/publish"
	"bake/templates"
)

// engine holds images as an engine does, and is one they can be loaded into.
type engine struct {
	name   string
	images map[string]v1.Image // by id
	tags   map[string]string   // name -> id
	calls  []string
}

func newEngine(name string) *engine {
	return &engine{name: name, images: map[string]v1.Image{}, tags: map[string]string{}}
}

func (e *engine) Name() string { return e.name }

func (e *engine) OpenImage(_ context.Context, img builder.Image) (v1.Image, error) {
	if found, ok := e.images[img.ID]; ok {
		return found, nil
	}
	return nil, builder.ErrNotFound
}

func (e *engine) LoadImage(ctx context.Context, img v1.Image, tags []string) error {
	e.calls = append(e.calls, "load")
	id, err := img.ConfigName()
	if err != nil {
		return err
	}
	e.images[id.String()] = img
	return e.tag(id.String(), tags)
}

func (e *engine) TagImage(_ context.Context, id string, tags []string) error {
	e.calls = append(e.calls, "tag")
	return e.tag(id, tags)
}

func (e *engine) tag(id string, tags []string) error {
	for _, t := range tags {
		e.tags[t] = id
	}
	return nil
}

func (e *engine) LocalImage(_ context.Context, name string) (v1.Image, string, error) {
	id, ok := e.tags[name]
	if !ok {
		return nil, "", builder.ErrNotFound
	}
	return e.images[id], id, nil
}

// hold puts an image into the engine and returns what an artifact says of it.
func (e *engine) hold(t testing.TB, img v1.Image) builder.Image {
	t.Helper()
	id, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	e.images[id.String()] = img
	return builder.Image{
		Engine: e.name, ID: id.String(), Platform: builder.Platform{OS: file.OS, Arch: file.Architecture},
		Annotations: map[string]string{"org.opencontainers.image.revision": "abc", "org.opencontainers.image.source": "https://example.com/r"},
	}
}

type world struct {
	engine, docker *engine
	deps           publish.Deps
	dir            string
	results        []builder.Result
}

func newWorld(t testing.TB) *world {
	w := &world{engine: newEngine("embedded"), docker: newEngine("docker"), dir: t.TempDir()}
	w.deps = publish.Deps{
		Registry: registry.New(registry.Config{Keychain: authn.NewMultiKeychain(), CacheDir: t.TempDir()}),
		Loader:   func(context.Context) (publish.Loader, error) { return w.docker, nil },
	}
	return w
}

// publish decodes an output as a template would and runs it.
func (w *world) publish(t testing.TB, kind, body string, img builder.Image) (builder.Published, error) {
	t.Helper()
	out := publish.Outputs(w.deps)[kind]()
	b, err := templates.FromJSON(json.RawMessage(body), templates.Pos{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := templates.Decode(b, out).Err(); err != nil {
		t.Fatal(err)
	}
	if !out.Accepts(builder.ImageArtifact) {
		t.Fatalf("%s does not accept images", kind)
	}
	sc := buildertest.Scope(t, builder.Catalog{Images: map[string]builder.ImageOpener{"embedded": w.engine, "docker": w.docker}}, w.dir)
	sc.Results = w.results
	return out.Publish(t.Context(), sc, builder.Artifact{Image: &img})
}

func quote(s string) string { data, _ := json.Marshal(s); return string(data) }

func TestRegistryPushesAndThenSaysUnchanged(t *testing.T) {
	w := newWorld(t)
	host := registrytest.Docker(t)
	img := w.engine.hold(t, registrytest.Image(t, registrytest.Layer(t, 1, 1000)))
	body := `{"repository": ` + quote(host+"/api") + `, "tags": ["1.0", "latest"]}`
	first, err := w.publish(t, "registry", body, img)
	if err != nil || first.Unchanged {
		t.Fatalf("%+v, %v", first, err)
	}
	want := map[string]string{
		"repository": host + "/api", "tag": "1.0", "tags": "1.0,latest", "name": host + "/api:1.0",
		"digest": first.Values["digest"], "ref": host + "/api@" + first.Values["digest"],
	}
	if diff := cmp.Diff(want, first.Values); diff != "" || !strings.HasPrefix(want["digest"], "sha256:") {
		t.Errorf("-want +got:\n%s", diff)
	}
	again, err := w.publish(t, "registry", body, img)
	if err != nil || !again.Unchanged || again.Values["digest"] != first.Values["digest"] {
		t.Errorf("%+v, %v", again, err)
	}
	raw, err := exec.Command(need.Tool(t, "skopeo"), "inspect", "--raw", "--tls-verify=false", "docker://"+host+"/api:latest").Output()
	var m v1.Manifest
	if err != nil || json.Unmarshal(raw, &m) != nil || m.Annotations["org.opencontainers.image.revision"] != "abc" {
		t.Errorf("%v: %s", err, raw)
	}
}

func TestRegistryRepairsATagThatSomebodyMoved(t *testing.T) {
	w := newWorld(t)
	host := registrytest.Memory(t)
	one := w.engine.hold(t, registrytest.Image(t, registrytest.Layer(t, 1, 10)))
	two := w.engine.hold(t, registrytest.Image(t, registrytest.Layer(t, 2, 10)))
	body := quote(host + "/api:1")
	first, err := w.publish(t, "registry", body, one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.publish(t, "registry", body, two); err != nil {
		t.Fatal(err)
	}
	third, err := w.publish(t, "registry", body, one)
	if err != nil || third.Unchanged || third.Values["digest"] != first.Values["digest"] {
		t.Errorf("%+v, %v", third, err)
	}
}

func index(t testing.TB, w *world) builder.Image {
	amd := w.engine.hold(t, registrytest.Image(t, registrytest.Layer(t, 1, 10)))
	arm := w.engine.hold(t, registrytest.ForPlatform(t, registrytest.Image(t, registrytest.Layer(t, 2, 10)), "linux", "arm64"))
	return builder.Image{Manifests: []builder.Image{amd, arm}, Annotations: map[string]string{"x": "y"}}
}

func TestPlatformsAreJoinedOrChosen(t *testing.T) {
	w := newWorld(t)
	host := registrytest.Memory(t)
	img := index(t, w)
	find := func(arch string) error {
		ref, err := registry.ParseReference(host+"/multi", false)
		if err != nil {
			t.Fatal(err)
		}
		_, err = registry.New(registry.Config{}).Find(t.Context(), ref, registry.Pull{Platform: builder.Platform{OS: "linux", Arch: arch}})
		return err
	}
	if _, err := w.publish(t, "registry", quote(host+"/multi"), img); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(find("amd64"), find("arm64")); err != nil {
		t.Error(err)
	}
	if _, err := w.publish(t, "registry", `{"repository": `+quote(host+"/multi")+`, "platforms": ["linux/arm64"]}`, img); err != nil {
		t.Fatal(err)
	}
	var missing *registry.PlatformError
	if err := find("amd64"); !errors.As(err, &missing) {
		t.Errorf("amd64 is still there: %v", err)
	}
	_, err := w.publish(t, "archive", `{"path": "x.tar", "platforms": ["linux/s390x"]}`, img)
	if !errors.As(err, &missing) || len(missing.Have) != 2 {
		t.Errorf("a platform that was not built: %v", err)
	}
}

func TestArchivesAreWrittenBesideTheTemplate(t *testing.T) {
	w := newWorld(t)
	img := w.engine.hold(t, registrytest.Image(t, registrytest.Layer(t, 1, 1000)))
	for _, format := range []string{"oci", "oci-dir", "docker", "rootfs"} {
		body := `{"path": "out/` + format + `", "format": "` + format + `"}`
		for i, unchanged := range []bool{false, true} {
			got, err := w.publish(t, "archive", body, img)
			if err != nil || got.Unchanged != unchanged || got.Values["path"] != filepath.Join(w.dir, "out", format) {
				t.Errorf("%s, time %d: %+v, %v", format, i+1, got, err)
			}
		}
		if format == "rootfs" {
			continue
		}
		found, err := imagefile.Open(t.Context(), imagefile.Source{Path: filepath.Join(w.dir, "out", format), Platform: img.Platform})
		if err != nil || found.ID != img.ID {
			t.Errorf("%s: %+v, %v", format, found, err)
		}
	}
}

func TestAnEmbeddedImageIsLoadedAndADockerImageIsTagged(t *testing.T) {
	w := newWorld(t)
	embedded := w.engine.hold(t, registrytest.Image(t, registrytest.Layer(t, 1, 10)))
	docker := w.docker.hold(t, registrytest.Image(t, registrytest.Layer(t, 2, 10)))
	body := `{"name": "web:1", "tags": ["2", "other:3"]}`
	for _, tt := range []struct {
		img  builder.Image
		call string
	}{{embedded, "load"}, {docker, "tag"}} {
		w.docker.calls = nil
		got, err := w.publish(t, "image", body, tt.img)
		if err != nil || got.Unchanged || !slices.Equal(w.docker.calls, []string{tt.call}) {
			t.Errorf("%s: %+v, %v, %q", tt.call, got, err, w.docker.calls)
		}
		for _, name := range []string{"web:1", "web:2", "other:3"} {
			if w.docker.tags[name] != tt.img.ID {
				t.Errorf("%s: %s is %s", tt.call, name, w.docker.tags[name])
			}
		}
		again, err := w.publish(t, "image", body, tt.img)
		if err != nil || !again.Unchanged || len(w.docker.calls) != 1 {
			t.Errorf("%s again: %+v, %v, %q", tt.call, again, err, w.docker.calls)
		}
	}
	w.deps.Loader = func(context.Context) (publish.Loader, error) { return nil, errors.New("nobody answers") }
	_, err := w.publish(t, "image", `"web"`, embedded)
	var hinted interface{ Hint() string }
	if !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "archive") {
		t.Errorf("without an engine: %v", err)
	}
}

func TestTheManifestListsEverythingAndOnlyChangesWithIt(t *testing.T) {
	w := newWorld(t)
	img := w.engine.hold(t, registrytest.Image(t, registrytest.Layer(t, 1, 10)))
	w.results = []builder.Result{
		{Build: "web", Artifact: &builder.Artifact{Image: &img}},
		{Build: "web", Output: "registry", Published: &builder.Published{Values: map[string]string{"digest": "sha256:1"}}},
		{Build: "api", Output: "archive", Published: &builder.Published{Values: map[string]string{"path": "x"}}},
	}
	first, err := w.publish(t, "manifest", `"out/m.json"`, img)
	if err != nil || first.Unchanged {
		t.Fatalf("%+v, %v", first, err)
	}
	got, err := publish.ReadManifest(filepath.Join(w.dir, "out/m.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := publish.ManifestFile{
		Version: publish.ManifestVersion, Run: "test-run", Revision: "abc",
		Builds: []publish.ManifestBuild{
			{Build: "api", Outputs: []publish.ManifestOutput{{Output: "archive", Values: map[string]string{"path": "x"}}}},
			{Build: "web", Artifact: &builder.Artifact{Image: &img}, Outputs: []publish.ManifestOutput{{Output: "registry", Values: map[string]string{"digest": "sha256:1"}}}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	again, err := w.publish(t, "manifest", `"out/m.json"`, img)
	if err != nil || !again.Unchanged {
		t.Errorf("again: %+v, %v", again, err)
	}
	w.results[1].Values["digest"] = "sha256:2"
	third, err := w.publish(t, "manifest", `"out/m.json"`, img)
	if err != nil || third.Unchanged {
		t.Errorf("with another digest: %+v, %v", third, err)
	}
	left, err := os.ReadDir(filepath.Join(w.dir, "out"))
	if err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestAManifestOfALaterVersionIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.json")
	if err := os.WriteFile(path, []byte(`{"version": 99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := publish.ReadManifest(path); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("%v", err)
	}
}

func TestMistakesInOutputsAreFoundBeforeAnythingStarts(t *testing.T) {
	for _, tt := range []struct{ kind, body, want string }{
		{"registry", `"UPPER/x"`, "UPPER"},
		{"registry", `{"repository": "x/y", "tags": ["a:b"]}`, "not a tag"},
		{"registry", `{"repository": "x/y@sha256:` + strings.Repeat("0", 64) + `"}`, "digest"},
		{"registry", `{"repository": "x/y", "platforms": ["amd64"]}`, "OS/ARCH"},
		{"archive", `{"path": "x", "format": "zip"}`, "zip"},
		{"archive", `{"path": "x", "format": "docker", "tags": ["A:b"]}`, "A:b"},
		{"image", `{}`, "name"},
		{"image", `{"name": "x", "tags": ["UP:1"]}`, "UP"},
	} {
		b, err := templates.FromJSON(json.RawMessage(tt.body), templates.Pos{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = templates.Decode(b, publish.Outputs(publish.Deps{})[tt.kind]()).Err()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %v", tt.kind, tt.body, err)
		}
	}
}
