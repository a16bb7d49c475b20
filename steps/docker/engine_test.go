package docker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/need"
	"bake/templates"
)

// left is a config of which nothing may get in the way of a build.
var left = v1.Config{
	Env: []string{"PATH=/bin", "COLOR=blue"}, Entrypoint: []string{"/bin/false"}, Cmd: []string{"left"}, User: "nobody",
	Labels: map[string]string{"base": "yes"}, Volumes: map[string]struct{}{"/data": {}}, WorkingDir: "/tmp",
}

func TestFinishedImageHasExactlyTheConfigAsked(t *testing.T) {
	e, img := engine(t), busybox(t, left)
	sc, m := machine(t, e, img, builder.Opening{})
	m = step(t, e, sc, m, "mkdir -p /data; echo kept >/data/file; pwd >/where; id -u >/who", builder.SnapshotKey{Key: builder.Digest(unique()), Step: "first"})
	m = step(t, e, sc, m, "rm /where", builder.SnapshotKey{Key: builder.Digest(unique()), Step: "second"})
	block, err := templates.FromJSON([]byte(`{"entrypoint":["/bin/cat"],"env":{"LOG":"json"},"user":"65532"}`), templates.Pos{}, new(templates.Env))
	if err != nil {
		t.Fatal(err)
	}
	f := builder.Freezing{Build: "test", Config: block, Created: time.Unix(1700000000, 0), Annotations: map[string]string{"a": "b"}}
	a, err := e.Freeze(t.Context(), sc, m, f)
	if err != nil {
		t.Fatal(err)
	}
	made, err := e.OpenImage(t.Context(), *a.Image)
	if err != nil {
		t.Fatal(err)
	}
	file, err := made.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := *left.DeepCopy()
	want.Entrypoint, want.Cmd, want.User = []string{"/bin/cat"}, nil, "65532"
	want.Env = append(want.Env, "LOG=json")
	if diff := cmp.Diff(want, file.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	inspected, err := e.inspect(t.Context(), a.Image.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(inspected.Config.Entrypoint, want.Entrypoint) || len(inspected.Config.Cmd) > 0 || !cmp.Equal(inspected.Config.Labels, want.Labels) {
		t.Errorf("the engine says %+v", inspected.Config)
	}
	var steps []string
	for _, l := range a.Image.Layers {
		steps = append(steps, l.Step)
	}
	if diff := cmp.Diff([]string{"", "first", "second"}, steps); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
	// The same by the way that engines take which want to see all layers.
	again := *a.Image
	if err := e.rewrite(t.Context(), standsOn(m), mustConfig(t, made), &again); err != nil {
		t.Fatal(err)
	}
	if again.ID != a.Image.ID {
		t.Errorf("rewritten as %s, assembled as %s", again.ID, a.Image.ID)
	}
}

func unique() string { return fmt.Sprint(time.Now().UnixNano()) }

func mustConfig(t *testing.T, img v1.Image) []byte {
	t.Helper()
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestLayersAreTheSameFromFilesAndFromSavedArchives(t *testing.T) {
	e, img := engine(t), busybox(t, left)
	sc, m := machine(t, e, img, builder.Opening{})
	m = step(t, e, sc, m, "echo one >/one; rm /etc/unique; ln -s /one /link; ln /one /hard; touch '/tmp/ü b'", builder.SnapshotKey{Key: builder.Digest(unique())})
	m = step(t, e, sc, m, "head -c 3000000 /dev/zero >/big", builder.SnapshotKey{Key: builder.Digest(unique())})
	m = step(t, e, sc, m, "rm /one", builder.SnapshotKey{Key: builder.Digest(unique())})
	a, err := e.Freeze(t.Context(), sc, m, builder.Freezing{Created: time.Unix(1700000000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	config, err := e.imageConfig(t.Context(), a.Image.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parseConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ids := file.RootFS.DiffIDs
	collect := func(sums map[v1.Hash]string) func(v1.Hash, io.Reader) error {
		return func(id v1.Hash, r io.Reader) error {
			h := sha256.New()
			_, err := io.Copy(h, r)
			sums[id] = fmt.Sprintf("%x", h.Sum(nil))
			return err
		}
	}
	wanted := func() map[v1.Hash]bool {
		return map[v1.Hash]bool{ids[0]: true, ids[1]: true, ids[2]: true, ids[3]: true}
	}
	saved := map[v1.Hash]string{}
	if err := e.streamSaved(t.Context(), a.Image.ID, ids, wanted(), collect(saved)); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if saved[id] != id.Hex {
			t.Errorf("saved layer %s has digest %s", id, saved[id])
		}
	}
	store, err := e.localStore(ids)
	if errors.Is(err, errNotReadable) {
		need.Missing(t, "the engine's files cannot be read here")
	}
	local := map[v1.Hash]string{}
	if err := store.stream(t.Context(), wanted(), collect(local)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(saved, local); diff != "" {
		t.Errorf("layers (-saved +files):\n%s", diff)
	}
}

func TestSquashedBuildIsOneLayer(t *testing.T) {
	e := engine(t)
	sc, m := machine(t, e, busybox(t, left), builder.Opening{Squash: true})
	for i := range 3 {
		m = step(t, e, sc, m, fmt.Sprintf("echo %d >>/log", i), builder.SnapshotKey{Key: builder.Digest(unique())})
	}
	a, err := e.Freeze(t.Context(), sc, m, builder.Freezing{Build: "one", Squash: true, Created: time.Unix(1700000000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(a.Image.Layers); n != 2 || a.Image.Layers[1].Step != "one" {
		t.Errorf("layers %+v", a.Image.Layers)
	}
}

func TestMachineFromNothingTakesFilesWithoutAShell(t *testing.T) {
	e := engine(t)
	sc, m := machine(t, e, oneLayer(t, make([]byte, 1024), v1.Config{}), builder.Opening{})
	comm := dialled(t, e, sc, m)
	put(t, comm, "/opt/app", builder.File{Path: "run", Mode: 0o755, Size: 2, Open: content("hi")})
	err := comm.Run(t.Context(), builder.Command{Script: "true"})
	if hinted, ok := errors.AsType[*noShellError](err); !ok || hinted.Hint() == "" {
		t.Errorf("running a script: %v", err)
	}
	for f, err := range comm.Get(t.Context(), "/opt/app/run") {
		if err != nil || f.Path != "run" || f.Mode != 0o755 {
			t.Errorf("%+v, %v", f, err)
		}
	}
}

func content(s string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

func put(t *testing.T, comm builder.Communicator, dst string, files ...builder.File) {
	t.Helper()
	err := comm.Put(t.Context(), dst, func(yield func(builder.File, error) bool) {
		for _, f := range files {
			if !yield(f, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesFollowLinksToDirectoriesButNeverOut(t *testing.T) {
	e := engine(t)
	sc, m := machine(t, e, busybox(t, left), builder.Opening{})
	comm := dialled(t, e, sc, m)
	sh(t, comm, "mkdir /real /up; ln -s real /alias; ln -s ../../../../../../tmp /up/out")
	dir := builder.File{Path: "alias", Mode: fs.ModeDir | 0o755}
	put(t, comm, "/", dir, builder.File{Path: "alias/f", Mode: 0o644, Size: 1, Open: content("x")})
	put(t, comm, "/up/out/deep", builder.File{Path: "g", Mode: 0o644, Size: 1, Open: content("y")})
	put(t, comm, "/alias", builder.File{Path: "h", Mode: fs.ModeSetuid | 0o755, Size: 1, Open: content("z"), Xattrs: map[string]string{"security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}})
	if got := sh(t, comm, "readlink /alias; cat /real/f /tmp/deep/g /real/h; stat -c %a /real/h"); got != "real\nxyz4755\n" {
		t.Errorf("got %q", got)
	}
	for f, err := range comm.Get(t.Context(), "/real/h") {
		if err != nil || len(f.Xattrs["security.capability"]) != 20 {
			t.Errorf("%+v, %v", f, err)
		}
	}
}

func sh(t *testing.T, comm builder.Communicator, script string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if err := comm.Run(t.Context(), builder.Command{Script: script, Stdout: &out, Stderr: &errs}); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, errs.String())
	}
	return out.String()
}

func TestTerminal(t *testing.T) {
	e := engine(t)
	sc, m := machine(t, e, busybox(t, left), builder.Opening{})
	var out bytes.Buffer
	cmd := builder.Command{Script: "[ -t 1 ] && echo \"terminal $A\"; ls /dev/shm; exit 4", TTY: true, Env: map[string]string{"A": `\n "b"`}, Stdout: &out}
	err := dialled(t, e, sc, m).Run(t.Context(), cmd)
	if exit, ok := errors.AsType[*builder.ExitError](err); !ok || exit.Code != 4 || out.String() != "terminal \\n \"b\"\r\n" {
		t.Errorf("error %v, output %q", err, out.String())
	}
}

// tested opens a machine to test a finished image with.
func tested(t *testing.T, e *Engine, config v1.Config) builder.Communicator {
	t.Helper()
	img := busybox(t, config)
	sc, m := machine(t, e, img, builder.Opening{Test: true})
	return dialled(t, e, sc, m)
}

func TestImageUnderTestRunsItsOwnProcess(t *testing.T) {
	e := engine(t)
	comm := tested(t, e, v1.Config{Env: []string{"PATH=/bin", "A=image"}, User: "nobody", Entrypoint: []string{"/bin/sh", "-c"}, Cmd: []string{"id -u >/tmp/who; echo $A >>/tmp/who; sleep 1000"}})
	if got := sh(t, comm, "while ! grep -q image /tmp/who; do sleep 0.05; done; cat /tmp/who; id -u"); got != "65534\nimage\n65534\n" {
		t.Errorf("got %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	begun := &notify{got: make(chan struct{})}
	go func() { <-begun.got; cancel() }()
	if err := comm.Run(ctx, builder.Command{Script: "setsid sleep 2000 & sleep 2000 & echo ready; wait", Stdout: begun}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if got := sh(t, comm, "ps -o args | grep -c '^sleep 2000' || true; ps -o args | grep -c '^sleep 1000'"); got != "0\n1\n" {
		t.Errorf("processes of the command and of the image: %q", got)
	}
}

// notify closes got with the first write.
type notify struct{ got chan struct{} }

func (n *notify) Write(p []byte) (int, error) {
	select {
	case <-n.got:
	default:
		close(n.got)
	}
	return len(p), nil
}

func TestImageThatEndsCanStillBeLookedAt(t *testing.T) {
	comm := tested(t, engine(t), v1.Config{Env: []string{"PATH=/bin"}, Cmd: []string{"touch", "/tmp/done"}})
	sh(t, comm, "while [ ! -e /tmp/done ]; do sleep 0.05; done")
}

func TestRecordedImageIsFoundUntilItIsPruned(t *testing.T) {
	e := engine(t)
	sc, m := machine(t, e, busybox(t, left), builder.Opening{})
	m = step(t, e, sc, m, "echo cached >/file", builder.SnapshotKey{Key: builder.Digest("sha256:" + unique()), Step: "s"})
	a, err := e.Freeze(t.Context(), sc, m, builder.Freezing{Build: "b", Created: time.Unix(1700000000, 0).UTC(), Annotations: map[string]string{"k": "v"}})
	if err != nil {
		t.Fatal(err)
	}
	key := builder.Digest("sha256:" + fmt.Sprintf("%x", sha256.Sum256([]byte(unique()))))
	if _, err := e.Lookup(t.Context(), sc, key); !errors.Is(err, builder.ErrNotFound) {
		t.Errorf("before it was recorded: %v", err)
	}
	if err := e.Record(t.Context(), sc, key, a); err != nil {
		t.Fatal(err)
	}
	other := engine(t)
	found, err := other.Lookup(t.Context(), sc, key)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, found); diff != "" {
		t.Errorf("recorded and found (-want +got):\n%s", diff)
	}
	if err := e.removeContainer(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Prune(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Lookup(t.Context(), sc, key); !errors.Is(err, builder.ErrNotFound) {
		t.Errorf("after pruning: %v", err)
	}
	if rest, err := e.cached(t.Context()); err != nil || len(rest) > 0 {
		t.Errorf("left after pruning: %v, %v", rest, err)
	}
	if _, err := e.inspect(t.Context(), a.Image.ID); err != nil {
		t.Errorf("pruning took the finished image: %v", err)
	}
}

func TestForgottenContainersAreSweptUp(t *testing.T) {
	e := engine(t)
	_, m := machine(t, e, busybox(t, left), builder.Opening{})
	sweeper := e.Cleaners()[containerKind].(builder.Sweeper)
	for _, alive := range []bool{true, false} {
		found, err := sweeper.Sweep(t.Context(), func(builder.RunID) bool { return alive })
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.ContainsFunc(found, func(r builder.Resource) bool { return r.ID == m.ID }); got == alive {
			t.Errorf("its run is alive: %t; swept: %t", alive, got)
		}
	}
}

func TestEnginePullsByDigest(t *testing.T) {
	e, img := engine(t), busybox(t, left)
	server := httptest.NewServer(registry.New())
	defer server.Close()
	ref, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://")+"/base", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	sc := buildertest.Scope(t, builder.Catalog{Cleaners: e.Cleaners()}, t.TempDir())
	full := ref.Context().Digest(digest.String()).Name()
	from := builder.Opening{Platform: platform, Pin: builder.Pin{Digest: builder.Digest(digest.String())}}
	m, err := e.Open(t.Context(), sc, from, func(context.Context) (v1.Image, error) { return img, nil }, full)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.inspect(t.Context(), full); err != nil {
		t.Errorf("it was not pulled under its name: %v", err)
	}
	a, err := e.Freeze(t.Context(), sc, m, builder.Freezing{Created: time.Unix(1700000000, 0)})
	if err != nil || a.Image.Base != full {
		t.Errorf("base %q, %v", a.Image.Base, err)
	}
}

func TestImagesGetNames(t *testing.T) {
	e, img := engine(t), busybox(t, left)
	if err := e.LoadImage(t.Context(), img, []string{"bake-test/loaded:1", "bake-test/loaded:2"}); err != nil {
		t.Fatal(err)
	}
	want, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	got, id, err := e.LocalImage(t.Context(), "bake-test/loaded:2")
	if err != nil || id != want.String() {
		t.Fatalf("id %s, %v; want %s", id, err, want)
	}
	layers, err := got.Layers()
	if err != nil {
		t.Fatal(err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); err != nil || n < 1<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, _, err := e.LocalImage(t.Context(), "bake-test/none"); !errors.Is(err, builder.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
}
