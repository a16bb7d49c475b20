package oci_test

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"bake/builder"
	"bake/internal/need"
	"bake/internal/rootfs/tree"
	"bake/steps/oci"
	"bake/templates"
)

// created is later than nothing that a test makes, so all times are set back to it.
var created = time.Unix(1_000_000_000, 0)

// build runs scripts as steps, each a layer, and freezes.
func build(t *testing.T, e *oci.Engine, img v1.Image, f builder.Freezing, before func(builder.Communicator), scripts ...string) builder.Artifact {
	t.Helper()
	cat := catalog(e, func(context.Context) (v1.Image, error) { return img, nil })
	sc := scope(t, cat)
	src := cat.Sources["box"]().(*boxSource)
	m, err := src.Open(t.Context(), sc, builder.Opening{Platform: here(t), Pin: builder.Pin{Digest: "sha256:box"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, script := range scripts {
		comm, err := src.Dial(t.Context(), sc, m)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 && before != nil {
			before(comm)
		}
		var out strings.Builder
		if err := comm.Run(t.Context(), builder.Command{Script: script, Stdout: &out, Stderr: &out}); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out.String())
		}
		if err := comm.Close(); err != nil {
			t.Fatal(err)
		}
		if m, err = src.Snapshot(t.Context(), sc, m, builder.SnapshotKey{Key: builder.Digest(script), Step: fmt.Sprint("step ", i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	if f.Created.IsZero() {
		f.Created = created
	}
	a, err := src.Freeze(t.Context(), sc, m, f)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// view is a tree as text, one line per file.
type view struct {
	lines []string
}

func (v *view) add(e *tree.Entry, r io.Reader) error {
	h := sha256.New()
	if r != nil {
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
	}
	var attrs []string
	for k, x := range e.Xattrs {
		attrs = append(attrs, fmt.Sprintf("%s=%q", k, x))
	}
	slices.Sort(attrs)
	mode := e.Mode
	if e.Hard {
		mode = 0
	}
	sec := e.Sec
	if e.Hard || sec > created.Unix() {
		sec = created.Unix()
	}
	v.lines = append(v.lines, fmt.Sprintf("%q %v %d:%d %d %q hard=%t %d,%d %v %x %d", e.Path, mode, e.UID, e.GID, e.Size, e.Link, e.Hard, e.Major, e.Minor, attrs, h.Sum(nil)[:4], sec))
	return nil
}

// viewOf lists a directory of a machine.
func viewOf(t *testing.T, e *oci.Engine, a builder.Artifact, dir string) []string {
	t.Helper()
	cat := catalog(e, nil)
	sc := scope(t, cat)
	src := cat.Sources["box"]()
	m, err := src.Open(t.Context(), sc, builder.Opening{Platform: here(t), Base: &a})
	if err != nil {
		t.Fatal(err)
	}
	comm, err := src.Dial(t.Context(), sc, m)
	if err != nil {
		t.Fatal(err)
	}
	defer comm.Close()
	var v view
	for f, err := range comm.Get(t.Context(), dir) {
		if err != nil {
			t.Fatal(err)
		}
		en := &tree.Entry{Path: f.Path, Mode: f.Mode, UID: f.UID, GID: f.GID, Size: f.Size, Link: f.Link, Hard: f.Hard, Xattrs: f.Xattrs, Sec: f.ModTime.Unix()}
		r, err := f.Open()
		if err == nil {
			err = v.add(en, r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return undevice(v.lines)
}

// undevice drops device numbers, which builder.File does not have.
func undevice(lines []string) []string {
	for i, l := range lines {
		for _, d := range []string{" 1,3 ", " 7,8 "} {
			l = strings.ReplaceAll(l, d, " 0,0 ")
		}
		lines[i] = l
	}
	return lines
}

// unpacked lists a directory of the image as umoci unpacks it.
func unpacked(t *testing.T, img v1.Image, dir string) []string {
	t.Helper()
	tmp := t.TempDir()
	path, err := layout.Write(filepath.Join(tmp, "layout"), empty.Index)
	if err == nil {
		err = path.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "x"}))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{need.Tool(t, "umoci"), "unpack", "--image", tmp + "/layout:x", tmp + "/bundle"},
		{need.Tool(t, "skopeo"), "inspect", "oci:" + tmp + "/layout:x"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	var v view
	if err := tree.WalkPath(filepath.Join(tmp, "bundle/rootfs", dir), tree.Options{}, v.add); err != nil {
		t.Fatal(err)
	}
	return undevice(v.lines)
}

// everything makes one of each kind of file, and changes what the base has.
const everything = `
mkdir -p /data/dir /data/sticky; chmod 1777 /data/sticky; chmod 2750 /data/dir
echo content >/data/dir/file; chmod 4711 /data/dir/file
ln /data/dir/file /data/hard; ln -s ../dir/file /data/soft; ln -s /nowhere /data/dangling; ln /data/soft /data/hardsoft
mkfifo /data/fifo
dd if=/dev/zero of=/data/sparse bs=1 count=1 seek=64000000 2>/dev/null
dd if=/dev/urandom of=/data/large bs=1M count=20 2>/dev/null
n=0123456789; for i in 1 2 3; do n=$n$n; done; mkdir -p /data/long/$n; echo x >/data/long/$n/$n; ln -s $n/$n /data/long/link
printf x >"/data/$(printf 'n\303\266n-ascii \377 byte')"
touch -d '1999-12-31 23:59:59' /data/old
`

func TestEveryKindOfFileSurvives(t *testing.T) {
	e := newEngine(t, oci.Options{})
	script := everything
	if os.Getenv(asUser) == "" {
		script += "mknod /data/null c 1 3; mknod /data/block b 7 8; chown 1000:2000 /data/old /data/dir; chown -h 5:6 /data/soft\n"
	}
	caps := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // cap_net_bind_service=ep
	before := func(comm builder.Communicator) {
		err := comm.Put(t.Context(), "/data", func(yield func(builder.File, error) bool) {
			for _, f := range []builder.File{
				{Path: "caps", Mode: 0o755, Xattrs: map[string]string{"security.capability": caps}},
				{Path: "xattr", Mode: 0o644, Xattrs: map[string]string{"user.note": "a\x00b"}},
			} {
				if !yield(f, nil) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	a := build(t, e, busybox(t), builder.Freezing{Build: "a"}, before, script)
	img, err := e.OpenImage(t.Context(), *a.Image)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	seen := viewOf(t, e, a, "/data")
	if n := len(seen); n < 18 || !strings.Contains(strings.Join(seen, "\n"), "security.capability") {
		t.Errorf("only %d files:\n%s", n, strings.Join(seen, "\n"))
	}
	// Another store gets it from the image alone.
	e2 := newEngine(t, oci.Options{})
	again := build(t, e2, img, builder.Freezing{Build: "b"}, nil)
	if diff := cmp.Diff(seen, viewOf(t, e2, again, "/data")); diff != "" {
		t.Errorf("unpacked by another store (-made +unpacked):\n%s", diff)
	}
	if os.Getenv(asUser) == "" {
		if diff := cmp.Diff(seen, unpacked(t, img, "data")); diff != "" {
			t.Errorf("unpacked by umoci (-made +unpacked):\n%s", diff)
		}
	}
	sparse(t, e2)
}

// sparse looks for the hole of /data/sparse in the store.
func sparse(t *testing.T, e *oci.Engine) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(e.Dir(), "*/layers/*/data/sparse"))
	if err != nil || len(found) != 1 {
		t.Fatalf("found %v, %v", found, err)
	}
	out, err := exec.Command("du", "-k", found[0]).Output()
	if err != nil {
		t.Fatal(err)
	}
	var kb int
	if fmt.Sscan(string(out), &kb); kb > 1000 {
		t.Errorf("the sparse file takes %d KiB", kb)
	}
}

// TestDeletionsAndReplacementsSurvive compares the machine's own view after
// steps that take away with what others make of the image.
func TestDeletionsAndReplacementsSurvive(t *testing.T) {
	e := newEngine(t, oci.Options{})
	steps := []string{
		"mkdir -p /data/a/b /data/c /data/k; echo 1 >/data/a/b/f; echo 1 >/data/a/g; echo 1 >/data/c/h; echo 1 >/data/one; echo 1 >/data/k/z",
		"rm -r /data/a; rm /data/one; mkdir /data/a; echo 2 >/data/a/new", // opaque
		"rm -r /data/c; echo now a file >/data/c; rm /data/a/new",
		"rm /data/c; mkdir /data/c; echo 3 >/data/c/again; rm -r /data/k; ln -s /bin /data/k",
		"rm /data/k; mkdir -p /data/k; touch /data/k/.keep; mv /data/c /data/moved",
	}
	for name, squash := range map[string]bool{"layers": false, "squashed": true} {
		t.Run(name, func(t *testing.T) {
			a := build(t, e, busybox(t), builder.Freezing{Build: "a", Squash: squash}, nil, steps...)
			want := 1 + len(steps)
			if squash {
				want = 2
			}
			if len(a.Image.Layers) != want {
				t.Errorf("%d layers, want %d", len(a.Image.Layers), want)
			}
			img, err := e.OpenImage(t.Context(), *a.Image)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, l := range viewOf(t, e, a, "/data") {
				names = append(names, strings.Fields(l)[0])
			}
			if diff := cmp.Diff([]string{`"data"`, `"data/a"`, `"data/k"`, `"data/k/.keep"`, `"data/moved"`, `"data/moved/again"`}, names); diff != "" {
				t.Error(diff)
			}
			if os.Getenv(asUser) == "" {
				if diff := cmp.Diff(viewOf(t, e, a, "/data"), unpacked(t, img, "data")); diff != "" {
					t.Errorf("unpacked by umoci (-made +unpacked):\n%s", diff)
				}
			}
		})
	}
}

// TestWhiteoutsOfBaseLayersCount takes layers that other tools made.
func TestWhiteoutsOfBaseLayersCount(t *testing.T) {
	dir := func(n string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: n, Mode: 0o755} }
	file := func(n string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: n, Mode: 0o644} }
	img := busybox(t,
		layerOf(t, []tar.Header{dir("d/"), file("d/gone"), file("d/stays"), dir("o/"), file("o/hidden"), dir("r/"), file("r/hidden"), dir("s/"), file("s/hidden")}, nil),
		layerOf(t, []tar.Header{file("d/.wh.gone"), dir("o/"), file("o/.wh..wh..opq"), file("o/new"),
			file(".wh.r"), dir("r/"), file("r/new"), // removed, and there again
			dir("s/"), file("s/new"), file(".wh.s"), // the same, the other way round
			file(".wh..wh.plnk"), file("implicit/deep/file")}, nil))
	a := build(t, newEngine(t, oci.Options{}), img, builder.Freezing{}, nil,
		"test ! -e /d/gone -a -e /d/stays -a ! -e /o/hidden -a -e /o/new -a ! -e /r/hidden -a -e /r/new -a ! -e /s/hidden -a -e /s/new -a -f /implicit/deep/file")
	if len(a.Image.Layers) != 4 {
		t.Errorf("%d layers", len(a.Image.Layers))
	}
}

func TestConfigIsTheBasesWithTheTemplatesChanges(t *testing.T) {
	e := newEngine(t, oci.Options{})
	block, err := templates.FromJSON(json.RawMessage(`{"entrypoint":["/bin/app"],"env":{"COLOR":"red","B":"2","A":"1"},"user":"7","workdir":"/tmp","ports":["80","53/udp"],
		"labels":{"l":"1"},"volumes":["/v"],"stop_signal":"SIGINT","healthcheck":{"test":"true","interval":"3s"},"shell":["/bin/ash","-c"]}`), templates.Pos{}, new(templates.Env))
	if err != nil {
		t.Fatal(err)
	}
	a := build(t, e, busybox(t), builder.Freezing{Build: "a", Config: block, Annotations: map[string]string{"x": "y"}}, nil, "true")
	img, err := e.OpenImage(t.Context(), *a.Image)
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		Entrypoint: []string{"/bin/app"}, Env: []string{"PATH=/bin", "COLOR=red", "A=1", "B=2"}, User: "7", WorkingDir: "/tmp",
		ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}}, Volumes: map[string]struct{}{"/v": {}}, Labels: map[string]string{"base": "yes", "l": "1"},
		StopSignal: "SIGINT", Healthcheck: &v1.HealthConfig{Test: []string{"CMD-SHELL", "true"}, Interval: 3 * time.Second}, Shell: []string{"/bin/ash", "-c"},
	}
	if diff := cmp.Diff(want, file.Config); diff != "" {
		t.Error(diff)
	}
	if n := len(file.History); n == 0 || file.History[n-1].CreatedBy != "step 1" || !file.Created.Equal(created) {
		t.Errorf("history %+v, created %v", file.History, file.Created)
	}
	m, err := img.Manifest()
	if err != nil || m.Annotations["x"] != "y" || a.Image.ID != m.Config.Digest.String() {
		t.Errorf("manifest %+v, %v", m, err)
	}
	plain := build(t, e, busybox(t), builder.Freezing{Build: "a"}, nil, "true")
	if img, err = e.OpenImage(t.Context(), *plain.Image); err == nil {
		file, err = img.ConfigFile()
	}
	if err != nil || !slices.Equal(file.Config.Cmd, []string{"left"}) || !slices.Equal(file.Config.Entrypoint, []string{"over"}) {
		t.Errorf("without config: %+v, %v", file.Config, err)
	}
}

func TestBaseLayersKeepTheirBytes(t *testing.T) {
	e := newEngine(t, oci.Options{})
	base := busybox(t)
	a := build(t, e, base, builder.Freezing{}, nil, "echo x >/x")
	img, err := e.OpenImage(t.Context(), *a.Image)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := base.Layers()
	if err != nil {
		t.Fatal(err)
	}
	got, err1 := mine[0].Digest()
	want, err2 := theirs[0].Digest()
	if got != want || err1 != nil || err2 != nil {
		t.Errorf("digest %v, want %v (%v, %v)", got, want, err1, err2)
	}
}

// TestSameInputsSameDigest builds in stores that know nothing of each other.
func TestSameInputsSameDigest(t *testing.T) {
	steps := []string{"echo 1 >/tmp/x; rm /tmp/x; mkdir /d; ln -s a /d/l", "echo 2 >/d/f; chmod 600 /d/f; rm -r /root; rm /etc/group", "true"}
	ids := map[string]bool{}
	for range 3 {
		e := newEngine(t, oci.Options{Exact: true})
		ids[build(t, e, busybox(t), builder.Freezing{Build: "a"}, nil, steps...).Image.ID] = true
	}
	if len(ids) != 1 {
		t.Errorf("different images: %v", ids)
	}
	for id := range ids {
		if file := os.Getenv("BAKE_TEST_IDS"); file != "" {
			if err := os.WriteFile(file, []byte(id), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		t.Log("image", id)
	}
}

func TestARepackedLayerHasTheTimeThatIsAskedFor(t *testing.T) {
	early, late := created, created.Add(time.Hour)
	for name, tc := range map[string]struct{ exact, same bool }{"exact": {true, false}, "unchanged layers keep their digest": {false, true}} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, oci.Options{Exact: tc.exact})
			first := build(t, e, busybox(t), builder.Freezing{Created: early}, nil, "echo x >/x")
			// The second finds the first's layer, as Restore would.
			second := refreeze(t, e, busybox(t), late, "echo x >/x")
			if same := first.Image.Layers[1].DiffID == second.Image.Layers[1].DiffID; same != tc.same {
				t.Errorf("same layer: %t, want %t", same, tc.same)
			}
		})
	}
}

// refreeze restores a step that was built before, and freezes.
func refreeze(t *testing.T, e *oci.Engine, img v1.Image, at time.Time, script string) builder.Artifact {
	t.Helper()
	cat := catalog(e, func(context.Context) (v1.Image, error) { return img, nil })
	sc := scope(t, cat)
	src := cat.Sources["box"]().(*boxSource)
	m, err := src.Open(t.Context(), sc, builder.Opening{Platform: here(t), Pin: builder.Pin{Digest: "sha256:box"}})
	if err != nil {
		t.Fatal(err)
	}
	m, n, err := src.Restore(t.Context(), sc, m, []builder.SnapshotKey{{Key: builder.Digest(script)}})
	if err != nil || n != 1 {
		t.Fatalf("restored %d, %v", n, err)
	}
	a, err := src.Freeze(t.Context(), sc, m, builder.Freezing{Created: at})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestALargeLayerReadsAsItWasPacked is about layers that are decompressed on
// another processor than the one that reads them.
func TestALargeLayerReadsAsItWasPacked(t *testing.T) {
	e := newEngine(t, oci.Options{})
	a := build(t, e, busybox(t), builder.Freezing{Key: "sha256:large", Build: "a"}, nil, "dd if=/dev/urandom of=/large bs=1M count=5", "echo small >/small")
	img, err := e.OpenImage(t.Context(), *a.Image)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(make([]byte, 10)); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("closing a layer that was not read to its end: %v", err)
		}
	}
}
