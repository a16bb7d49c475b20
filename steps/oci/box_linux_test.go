package oci_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"bake/builder"
	"bake/internal/need"
	"bake/steps/oci"
)

// here is the platform of this machine's busybox.
func here(t testing.TB) builder.Platform {
	t.Helper()
	p, err := builder.ParsePlatform("linux/" + arch)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const applets = "sh cat echo ls id mkdir rm rmdir sleep kill true false ln chown chmod mknod mkfifo hostname env ps touch mount setsid seq tty mv cp cut grep readlink wc head tail stat sync od printf sed tr dd test [ sha256sum find xargs pwd whoami sort uniq awk basename dirname date expr tee truncate mktemp"

// busybox is an image with a shell and the usual utilities.
func busybox(t testing.TB, layers ...v1.Layer) v1.Image {
	t.Helper()
	data, err := os.ReadFile(need.Tool(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	var files []tar.Header
	for _, d := range []string{"bin/", "etc/", "root/"} {
		files = append(files, tar.Header{Typeflag: tar.TypeDir, Name: d, Mode: 0o755})
	}
	files = append(files, tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777})
	content := map[string]string{"bin/busybox": string(data), "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n", "etc/group": "root:x:0:\nnogroup:x:65534:\n"}
	files = append(files, tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644})
	for _, a := range strings.Fields(applets) {
		files = append(files, tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + a, Linkname: "busybox", Mode: 0o777})
	}
	img, err := mutate.AppendLayers(empty.Image, append([]v1.Layer{layerOf(t, files, content)}, layers...)...)
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", arch
	file.Config.Env = []string{"PATH=/bin", "COLOR=blue"}
	file.Config.Cmd, file.Config.Entrypoint, file.Config.Labels = []string{"left"}, []string{"over"}, map[string]string{"base": "yes"}
	img, err = mutate.ConfigFile(img, file)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func layerOf(t testing.TB, files []tar.Header, content map[string]string) v1.Layer {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range files {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(content[h.Name]))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, content[h.Name]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// boxSource is a source over the engine, as package container makes them.
type boxSource struct {
	Name string `yaml:"name" bake:"main"`
	*oci.Engine
	base func(ctx context.Context) (v1.Image, error)
	pin  builder.Digest
}

func (s *boxSource) Pin(ctx context.Context, env builder.PinEnv) (builder.Pin, error) {
	return builder.Pin{Digest: s.pin}, nil
}

func (s *boxSource) Open(ctx context.Context, sc *builder.Scope, from builder.Opening) (builder.Machine, error) {
	base := s.base
	if from.Base != nil {
		base = func(ctx context.Context) (v1.Image, error) { return s.OpenImage(ctx, *from.Base.Image) }
	}
	return s.Engine.Open(ctx, sc, from, base, "example.com/box:1@sha256:0")
}

// storeDir is a directory that is removed though other users' files are in it.
func storeDir(t testing.TB, e func() *oci.Engine) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e().Close() // what it has used may go now
		if _, err := e().Prune(context.Background(), 0); err != nil {
			t.Error(err)
		}
		e().Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// newEngine returns an engine over a store of its own.
func newEngine(t testing.TB, o oci.Options) *oci.Engine {
	t.Helper()
	mayRun(t)
	var e *oci.Engine
	if o.Dir == "" {
		o.Dir = storeDir(t, func() *oci.Engine { return e })
	}
	e, err := oci.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// mayRun skips what needs root, unless the test is being run without on purpose.
func mayRun(t testing.TB) {
	t.Helper()
	if os.Getenv(asUser) == "" {
		need.Root(t)
	}
}

// asUser says that this process is the one that a test runs without privileges.
const asUser = "BAKE_TEST_ROOTLESS"

// catalog is what a new process has.
func catalog(e *oci.Engine, base func(ctx context.Context) (v1.Image, error)) builder.Catalog {
	src := func() builder.Source { return &boxSource{Engine: e, base: base, pin: "sha256:box"} }
	return builder.Catalog{
		Sources:  map[string]func() builder.Source{"box": src, "build": src},
		Cleaners: e.Cleaners(),
		Images:   map[string]builder.ImageOpener{e.Name(): e},
	}
}

// leftovers lists workspaces, mounts and temporary files under dir.
func leftovers(t testing.TB, dir string) []string {
	t.Helper()
	var left []string
	for _, pattern := range []string{"*/work/*", "*/tmp/*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) {
			left = append(left, line)
		}
	}
	return append(left, inits(t, dir)...)
}

// inits lists our container processes whose root is one of dir's workspaces.
func inits(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(data), dir) {
			found = append(found, f)
		}
	}
	return found
}
