package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/dockertest"
	"bake/internal/need"
	"bake/templates"
)

var shared dockertest.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	if err := shared.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the private dockerd:", err)
		code = 1
	}
	os.Exit(code)
}

// engine returns a new Engine, as a new process would have it, on the shared dockerd.
func engine(t testing.TB) *Engine {
	t.Helper()
	return New(Options{Host: shared.Start(t)})
}

var platform = builder.Platform{OS: "linux", Arch: runtime.GOARCH}

// applets are the programs of the test's base image: what the suites call for.
var applets = []string{"sh", "ash", "cat", "ls", "echo", "sleep", "ps", "id", "stat", "mkdir", "touch", "head", "tail", "kill", "setsid", "env", "ln", "rm", "rmdir", "chmod", "chown", "grep", "sed", "tr", "seq", "test", "[", "printf", "pwd", "true", "false", "sort", "wc", "find", "readlink", "mkfifo", "dd", "cut", "basename", "dirname", "od", "xargs", "date", "sync", "md5sum", "sha256sum", "nohup", "cp", "mv", "awk"}

// busybox is an image with a static busybox, and a file that no other image has.
func busybox(t testing.TB, config v1.Config) v1.Image {
	t.Helper()
	program, err := os.ReadFile(need.Tool(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, content []byte) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "etc", "root", "usr", "var"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, nil)
	add(tar.Header{Name: "bin/busybox", Mode: 0o755}, program)
	for _, name := range applets {
		add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox", Mode: 0o777}, nil)
	}
	add(tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"))
	add(tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nnogroup:x:65534:\n"))
	add(tar.Header{Name: "etc/unique", Mode: 0o644}, []byte(rand.Text()))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return oneLayer(t, b.Bytes(), config)
}

// oneLayer is an image with one layer.
func oneLayer(t testing.TB, layer []byte, config v1.Config) v1.Image {
	t.Helper()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = platform.OS, platform.Arch, config
	if img, err = mutate.ConfigFile(img, file); err != nil {
		t.Fatal(err)
	}
	return img
}

// source is a kind of source on an Engine; steps/container has the real ones.
type source struct {
	*Engine
	img  v1.Image // nil: the artifact of another build
	Text string   `yaml:"text" bake:"main"`
}

func (s *source) Pin(context.Context, builder.PinEnv) (builder.Pin, error) {
	if s.img == nil {
		return builder.Pin{}, nil
	}
	d, err := s.img.ConfigName()
	return builder.Pin{Digest: builder.Digest(d.String())}, err
}

func (s *source) Open(ctx context.Context, sc *builder.Scope, from builder.Opening) (builder.Machine, error) {
	return s.Engine.Open(ctx, sc, from, func(ctx context.Context) (v1.Image, error) {
		if s.img == nil {
			return sc.Image(ctx, *from.Base.Image)
		}
		return s.img, nil
	}, "")
}

// world is a place for one test of the source suite.
func world(t *testing.T) buildertest.World {
	img := busybox(t, v1.Config{Env: []string{"PATH=/bin"}, Cmd: []string{"sh"}})
	host := shared.Start(t)
	return buildertest.World{
		Catalog: func() builder.Catalog {
			e := New(Options{Host: host})
			return builder.Catalog{
				Sources: map[string]func() builder.Source{
					"busybox": func() builder.Source { return &source{Engine: e, img: img} },
					"build":   func() builder.Source { return &source{Engine: e} },
				},
				Cleaners: e.Cleaners(),
				Images:   map[string]builder.ImageOpener{e.Name(): e},
			}
		},
		Source: "busybox", Config: templates.JSON(`{}`), Platform: platform,
		Leftovers: func(t testing.TB) []string { return containerNames(t, New(Options{Host: host})) },
	}
}

// containerNames lists the engine's containers. One that is being removed counts.
func containerNames(t testing.TB, e *Engine) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := e.client(ctx)
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, found := range list {
		if name := ownName(found); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// machine opens a machine of img in a scope that lasts as long as the test.
func machine(t testing.TB, e *Engine, img v1.Image, from builder.Opening) (*builder.Scope, builder.Machine) {
	t.Helper()
	sc := buildertest.Scope(t, builder.Catalog{Cleaners: e.Cleaners()}, t.TempDir())
	id, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	from.Platform, from.Pin.Digest = platform, builder.Digest(id.String())
	m, err := e.Open(t.Context(), sc, from, func(context.Context) (v1.Image, error) { return img, nil }, "")
	if err != nil {
		t.Fatal(err)
	}
	return sc, m
}

func dialled(t testing.TB, e *Engine, sc *builder.Scope, m builder.Machine) builder.Communicator {
	t.Helper()
	comm, err := e.Dial(t.Context(), sc, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := comm.Close(); err != nil {
			t.Error(err)
		}
	})
	return comm
}
