package registry_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/internal/registry"
	"bake/internal/registrytest"
)

// pushed puts an image with a layer of 4 MiB into a registry behind a proxy.
func pushed(t testing.TB, start func(testing.TB) string) (*registrytest.Proxy, v1.Image) {
	t.Helper()
	proxy := registrytest.NewProxy(t, start(t), nil)
	img := registrytest.Image(t, registrytest.Layer(t, 1, 4<<20))
	if _, err := newClient(t).Push(t.Context(), registry.Push{To: parse(t, proxy.Host+"/app:1")}, registry.Variant{Image: img}); err != nil {
		t.Fatal(err)
	}
	return proxy, img
}

func isBlob(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:")
}

func TestADownloadGoesOnWhereItWasCut(t *testing.T) {
	for _, reg := range registries() {
		for _, dropRange := range []bool{false, true} {
			proxy, img := pushed(t, reg.start)
			var ranges []string
			proxy.Reset(func(r *http.Request) *registrytest.Fault {
				if !isBlob(r) {
					return nil
				}
				if len(ranges) > 3 {
					return &registrytest.Fault{DropRange: dropRange}
				}
				ranges = append(ranges, r.Header.Get("Range"))
				return &registrytest.Fault{CutResponse: 300_000 * int64(len(ranges)), DropRange: dropRange}
			})
			checkPulled(t, proxy.Host+"/app:1", img)
			if len(ranges) != 4 || !strings.HasPrefix(ranges[3], "bytes=") {
				t.Errorf("%s: asked with ranges %q", reg.name, ranges)
			}
		}
	}
}

func TestADownloadThatNeverEndsIsGivenUp(t *testing.T) {
	proxy, _ := pushed(t, registrytest.Memory)
	proxy.Reset(func(r *http.Request) *registrytest.Fault {
		if isBlob(r) && r.Header.Get("Range") != "" {
			return &registrytest.Fault{Status: 404}
		}
		if isBlob(r) {
			return &registrytest.Fault{CutResponse: 100_000}
		}
		return nil
	})
	_, err := readLayer(t, proxy.Host+"/app:1")
	if err == nil {
		t.Fatal("half a layer was taken for a whole one")
	}
}

// readLayer reads the first layer of an image.
func readLayer(t testing.TB, name string) (int64, error) {
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
	r, err := layers[0].Compressed()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.Copy(io.Discard, r)
}

func TestOtherContentThanTheDigestSaysIsAnError(t *testing.T) {
	proxy, img := pushed(t, registrytest.Memory)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	size, err := layers[0].Size()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{size - 1, size, size + 1} {
		proxy.Reset(func(r *http.Request) *registrytest.Fault {
			if isBlob(r) && !strings.HasSuffix(r.URL.Path, configOf(t, img)) {
				return &registrytest.Fault{Status: http.StatusOK, Body: strings.Repeat("x", int(n))}
			}
			return nil
		})
		if _, err := readLayer(t, proxy.Host+"/app:1"); err == nil {
			t.Errorf("%d bytes of something else went for the layer", n)
		}
	}
}

func configOf(t testing.TB, img v1.Image) string {
	t.Helper()
	h, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

func TestWhatIsKnownIsNotFetchedAgain(t *testing.T) {
	proxy, _ := pushed(t, registrytest.Memory)
	c := newClient(t)
	for i, want := range []string{"GET HEAD GET GET", "HEAD"} {
		proxy.Reset(nil)
		if _, err := c.Find(t.Context(), parse(t, proxy.Host+"/app:1"), registry.Pull{Platform: amd64()}); err != nil {
			t.Fatal(err)
		}
		var methods []string
		for _, r := range proxy.Requests() {
			methods = append(methods, strings.Fields(r)[0])
		}
		if got := strings.Join(methods, " "); got != want {
			t.Errorf("time %d: asked %s, want %s", i+1, got, want)
		}
	}
}

func TestAnUnknownImageIsNotFound(t *testing.T) {
	host := registrytest.Docker(t)
	_, err := newClient(t).Find(t.Context(), parse(t, host+"/nothing:1"), registry.Pull{Platform: amd64()})
	if !errors.Is(err, builder.ErrNotFound) || !strings.HasPrefix(err.Error(), "looking up "+host+"/nothing:1: ") {
		t.Errorf("%v", err)
	}
}

func TestPlatformsAreChosenAsTheyRun(t *testing.T) {
	p := func(s string) builder.Platform {
		parsed, err := builder.ParsePlatform(s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for _, tt := range []struct {
		want string
		have string
		pick string // "" if none
	}{
		{"linux/amd64", "linux/arm64 linux/amd64", "linux/amd64"},
		{"linux/arm64", "linux/amd64 linux/arm64/v8", "linux/arm64/v8"},
		{"linux/arm64/v8", "linux/arm64", "linux/arm64"},
		{"linux/arm/v7", "linux/arm/v5 linux/arm/v7 linux/arm/v6", "linux/arm/v7"},
		{"linux/arm/v7", "linux/arm/v5 linux/arm/v6", "linux/arm/v6"},
		{"linux/arm", "linux/arm/v6 linux/arm/v7", "linux/arm/v7"},
		{"linux/arm/v6", "linux/arm/v7", ""},
		{"linux/amd64", "linux/amd64/v3 linux/amd64", "linux/amd64"},
		{"linux/amd64", "windows/amd64", ""},
	} {
		var from []v1.Descriptor
		for i, h := range strings.Fields(tt.have) {
			have := p(h)
			from = append(from, v1.Descriptor{Size: int64(i), Platform: &v1.Platform{OS: have.OS, Architecture: have.Arch, Variant: have.Variant}})
		}
		from = append(from, v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}})
		d, err := registry.ChoosePlatform("x", from, p(tt.want))
		got := ""
		if err == nil {
			got = builder.Platform{OS: d.Platform.OS, Arch: d.Platform.Architecture, Variant: d.Platform.Variant}.String()
		}
		if got != tt.pick {
			t.Errorf("%s of %s: %q, want %q", tt.want, tt.have, got, tt.pick)
		}
	}
}

func TestReferencesAreReadAsDockerReadsThem(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for in, want := range map[string][3]string{ // host, path, tag@digest
		"debian":                              {"index.docker.io", "library/debian", "latest@"},
		"debian:12":                           {"index.docker.io", "library/debian", "12@"},
		"docker.io/me/x":                      {"index.docker.io", "me/x", "latest@"},
		"127.0.0.1:5000/x":                    {"127.0.0.1:5000", "x", "latest@"},
		"localhost/x:1":                       {"localhost", "x", "1@"},
		"ghcr.io/a/b/c:d@" + digest:           {"ghcr.io", "a/b/c", "d@" + digest},
		"public.ecr.aws/debian/debian:stable": {"public.ecr.aws", "debian/debian", "stable@"},
		"x@" + digest:                         {"index.docker.io", "library/x", "@" + digest},
	} {
		ref, err := registry.ParseReference(in, false)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := [3]string{ref.Host(), ref.Repository.RepositoryStr(), ref.Tag + "@" + ref.Digest}; got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
		if full, _, _ := strings.Cut(ref.String(), ":latest"); !strings.HasPrefix(in, full) {
			t.Errorf("%s is written %s", in, ref)
		}
	}
	for _, bad := range []string{"", "UPPER", "x:" + strings.Repeat("y", 200), "x@sha256:12", "a b", "https://x/y", "x:"} {
		if ref, err := registry.ParseReference(bad, false); err == nil && bad != "x:" {
			t.Errorf("%q was read as %s", bad, ref)
		}
	}
}
