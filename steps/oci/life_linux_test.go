package oci_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"bake/builder"
	"bake/internal/need"
	"bake/steps/oci"
)

func TestTheImagesProgramRunsWhileItIsTested(t *testing.T) {
	severalIDs(t)
	e := newEngine(t, oci.Options{})
	img, err := mutate.Config(busybox(t), v1.Config{Env: []string{"PATH=/bin", "WHO=me"}, Entrypoint: []string{"sh", "-c"}, WorkingDir: "/srv/app", User: "65534",
		Cmd: []string{"echo $WHO $(id -u) $(pwd) >/tmp/ready; exec sleep 1234"}})
	if err != nil {
		t.Fatal(err)
	}
	a := build(t, e, img, builder.Freezing{}, nil, "mkdir -p /srv/app; [ $(pwd) = / ]; [ $(id -u) = 0 ]; [ $WHO = me ]")
	cat := catalog(e, nil)
	sc := scope(t, cat)
	src := cat.Sources["box"]()
	m, err := src.Open(t.Context(), sc, builder.Opening{Platform: here(t), Base: &a, Test: true})
	if err != nil {
		t.Fatal(err)
	}
	comm, err := src.Dial(t.Context(), sc, m)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := comm.Run(t.Context(), builder.Command{Script: "until [ -s /tmp/ready ]; do sleep 0.01; done; cat /tmp/ready; id -u; pwd; ps | grep -c '[s]leep 1234'", Stdout: &out, Stderr: &out}); err != nil {
		t.Errorf("%v: %s", err, out.String())
	}
	if want := "me 65534 /srv/app\n65534\n/srv/app\n1\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	if err := comm.Close(); err != nil {
		t.Error(err)
	}
	if left := inits(t, e.Dir()); len(left) > 0 {
		t.Errorf("still running: %v", left)
	}
}

// severalIDs skips a test that runs once more where there is one user id only.
func severalIDs(t *testing.T) {
	t.Helper()
	if os.Getenv("BAKE_TEST_ONE_ID") != "" {
		t.Skip("one id is mapped")
	}
}

// TestAMissingIDIsExplained says what to do where there is one user id only.
func TestAMissingIDIsExplained(t *testing.T) {
	if os.Getenv("BAKE_TEST_ONE_ID") == "" {
		return // TestRootless runs this where one id is mapped
	}
	_, comm, _ := machine(t, newEngine(t, oci.Options{}), busybox(t))
	for name, err := range map[string]error{
		"chown": comm.Run(t.Context(), builder.Command{Script: "chown 1:2 /etc/passwd"}),
		"user":  comm.Run(t.Context(), builder.Command{Script: "true", User: "nobody"}),
		"put": comm.Put(t.Context(), "/x", func(yield func(builder.File, error) bool) {
			yield(builder.File{Path: "f", Mode: 0o644, UID: 5}, nil)
		}),
	} {
		hint, ok := errors.AsType[interface {
			error
			Hint() string
		}](err)
		if !ok || !strings.Contains(hint.Hint(), "/etc/subuid") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStacksAboveTheLimitOfOverlayfsWork builds on a base of more layers than
// overlayfs takes.
func TestStacksAboveTheLimitOfOverlayfsWork(t *testing.T) {
	for _, n := range []int{130, 520} {
		var layers []v1.Layer
		for i := range n {
			files := []tarHeader{file("f"), file(fmt.Sprintf("f%d", i))}
			if i > 0 {
				files = append(files, file(fmt.Sprintf(".wh.f%d", i-1)))
			}
			layers = append(layers, layerOf(t, files, map[string]string{"f": fmt.Sprint(i)}))
		}
		e := newEngine(t, oci.Options{})
		a := build(t, e, busybox(t, layers...), builder.Freezing{}, nil,
			fmt.Sprintf("[ $(cat /f) = %d ]; [ $(ls -d /f* | wc -l) = 2 ]; test -e /f%d; rm /f; echo x >/new", n-1, n-1), "test ! -e /f; test -e /new")
		if len(a.Image.Layers) != n+3 {
			t.Errorf("%d layers, want %d", len(a.Image.Layers), n+3)
		}
	}
}

// TestProcessesShareTheStore builds the same at once in engines that each
// think they are alone.
func TestProcessesShareTheStore(t *testing.T) {
	first := newEngine(t, oci.Options{})
	img := busybox(t)
	ids := make([]string, 4)
	var wg sync.WaitGroup
	for i := range ids {
		e := newEngine(t, oci.Options{Dir: first.Dir()})
		wg.Go(func() { ids[i] = build(t, e, img, builder.Freezing{}, nil, "echo 1 >/x", "echo 2 >/y").Image.ID })
	}
	wg.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Errorf("images %v", ids)
		}
	}
}

func TestPruneKeepsTheLimitAndWhatIsUsed(t *testing.T) {
	first := newEngine(t, oci.Options{})
	again := func() *oci.Engine { return newEngine(t, oci.Options{Dir: first.Dir()}) }
	const mb = 1 << 20
	var made []builder.Artifact
	for i := range 3 {
		e := again()
		a := build(t, e, busybox(t), builder.Freezing{}, nil, fmt.Sprintf("dd if=/dev/urandom of=/blob%d bs=1M count=8 2>/dev/null", i))
		if err := e.Record(t.Context(), nil, builder.Digest(fmt.Sprint("sha256:k", i)), a); err != nil {
			t.Fatal(err)
		}
		made = append(made, a)
		sweep(t, e)
		if err := e.Close(); err != nil { // as a process does when it ends
			t.Fatal(err)
		}
		age(t, e.Dir(), time.Duration(3-i)*time.Hour)
	}
	user := again()
	if _, err := user.OpenImage(t.Context(), *made[0].Image); err != nil { // the oldest, but in use
		t.Fatal(err)
	}
	const limit = 45 * mb // three images of 16 MiB each, packed and unpacked
	usage, err := again().Prune(t.Context(), limit)
	if err != nil {
		t.Fatal(err)
	}
	if usage.Size > limit || usage.Freed < 8*mb {
		t.Errorf("usage %+v", usage)
	}
	for i, want := range []bool{true, false, true} {
		a, err := again().Lookup(t.Context(), nil, builder.Digest(fmt.Sprint("sha256:k", i)))
		if (err == nil) != want {
			t.Errorf("image %d: found %t, want %t (%v, %v)", i, err == nil, want, a, err)
		}
	}
	// What is left still works.
	viewOf(t, again(), made[2], "/etc")
}

// sweep removes the one workspace that runs left behind.
func sweep(t *testing.T, e *oci.Engine) {
	t.Helper()
	cleaner := e.Cleaners()["workspace"]
	left, err := cleaner.(builder.Sweeper).Sweep(t.Context(), func(builder.RunID) bool { return false })
	if err != nil || len(left) != 1 {
		t.Fatalf("swept %v, %v", left, err)
	}
	if err := cleaner.Delete(t.Context(), left[0]); err != nil {
		t.Error(err)
	}
}

// age sets all records that are younger back by d.
func age(t *testing.T, dir string, d time.Duration) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*/records/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if st, err := os.Stat(f); err == nil && time.Since(st.ModTime()) < time.Hour {
			if err := os.Chtimes(f, time.Now().Add(-d), time.Now().Add(-d)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestPruneToNothingLeavesNothing(t *testing.T) {
	e := newEngine(t, oci.Options{})
	build(t, e, busybox(t), builder.Freezing{}, nil, "echo 1 >/x", "mkdir /d; chmod 0 /d")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	// The workspace of build is not released yet, and keeps what it stands on.
	usage, err := e.Prune(t.Context(), 0)
	if err != nil || usage.Size == 0 {
		t.Errorf("with a workspace: %+v, %v", usage, err)
	}
	sweep(t, e)
	if usage, err = e.Prune(t.Context(), 0); err != nil || usage.Size != 0 {
		t.Errorf("without: %+v, %v", usage, err)
	}
	for _, dir := range []string{"blobs", "records", "tmp", "work"} {
		filepath.WalkDir(filepath.Join(e.Dir(), "root", dir), func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				t.Errorf("left: %s", path)
			}
			return nil
		})
	}
}

func TestASnapshotThatIsTooOldBreaksTheChain(t *testing.T) {
	e := newEngine(t, oci.Options{})
	img := busybox(t)
	cat := catalog(e, func(context.Context) (v1.Image, error) { return img, nil })
	sc := scope(t, cat)
	src := cat.Sources["box"]().(*boxSource)
	open, err := src.Open(t.Context(), sc, builder.Opening{Platform: here(t), Pin: builder.Pin{Digest: "sha256:box"}})
	if err != nil {
		t.Fatal(err)
	}
	m := open
	for _, k := range []builder.Digest{"1", "2", "3"} {
		if m, err = src.Snapshot(t.Context(), sc, m, builder.SnapshotKey{Key: k}); err != nil {
			t.Fatal(err)
		}
	}
	keys := func(change func(k []builder.SnapshotKey)) []builder.SnapshotKey {
		k := []builder.SnapshotKey{{Key: "1"}, {Key: "2"}, {Key: "3"}}
		change(k)
		return k
	}
	for name, tc := range map[string]struct {
		keys []builder.SnapshotKey
		want int
	}{
		"all":          {keys(func(k []builder.SnapshotKey) {}), 3},
		"never":        {keys(func(k []builder.SnapshotKey) { k[1].Never = true }), 1},
		"expired":      {keys(func(k []builder.SnapshotKey) { k[0].MaxAge = time.Nanosecond }), 0},
		"young enough": {keys(func(k []builder.SnapshotKey) { k[0].MaxAge = time.Hour }), 3},
		"changed":      {keys(func(k []builder.SnapshotKey) { k[2].Key = "other" }), 2},
	} {
		if _, n, err := src.Restore(t.Context(), sc, open, tc.keys); n != tc.want || err != nil {
			t.Errorf("%s: %d, %v; want %d", name, n, err, tc.want)
		}
	}
	// The second is made again: what stood on the old one does not stand on it.
	m, _, err = src.Restore(t.Context(), sc, open, keys(func(k []builder.SnapshotKey) { k[1].Never = true }))
	if err == nil {
		m, err = src.Snapshot(t.Context(), sc, m, builder.SnapshotKey{Key: "2"})
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, n, err := src.Restore(t.Context(), sc, open, keys(func([]builder.SnapshotKey) {})); n != 2 || err != nil || got.Snapshot != m.Snapshot {
		t.Errorf("after a predecessor was made again: %d, %v", n, err)
	}
}

// TestAKilledBakeLeavesOnlyWhatCleanRemoves kills a process in the middle of a step.
func TestAKilledBakeLeavesOnlyWhatCleanRemoves(t *testing.T) {
	if dir := os.Getenv("BAKE_TEST_VICTIM"); dir != "" {
		_, comm, _ := machine(t, newEngine(t, oci.Options{Dir: dir}), busybox(t))
		comm.Run(t.Context(), builder.Command{Script: "echo half >/half; setsid sleep 1000 & echo up; sleep 1000", Stdout: os.Stdout})
		return
	}
	e := newEngine(t, oci.Options{})
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestAKilledBakeLeavesOnlyWhatCleanRemoves$")
	cmd.Env = append(os.Environ(), "BAKE_TEST_VICTIM="+e.Dir())
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for sc := bufio.NewScanner(out); sc.Scan() && sc.Text() != "up"; {
		t.Log(sc.Text())
	}
	cmd.Process.Kill()
	cmd.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for len(inits(t, e.Dir())) > 0 && time.Now().Before(deadline) {
		syscall.Select(0, nil, nil, nil, &syscall.Timeval{Usec: 5000}) // nobody tells when a stranger's process ends
	}
	sweep(t, e)
	if left := leftovers(t, e.Dir()); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestRootless runs this package's tests as another user, once with one id
// mapped and once with a range, and compares the digests of an image.
func TestRootless(t *testing.T) {
	need.Root(t)
	ids := map[string]string{"root": ""}
	file := filepath.Join(t.TempDir(), "id")
	t.Setenv("BAKE_TEST_IDS", file)
	t.Run("root", TestSameInputsSameDigest)
	ids["root"] = content(t, file)
	t.Run("one id", func(t *testing.T) { t.Setenv("BAKE_TEST_ONE_ID", "1"); ids["one id"] = again(t, "exec setpriv") })
	t.Run("a range of ids", func(t *testing.T) {
		need.Tool(t, "newuidmap")
		// /etc/subuid is another file for this one process only.
		ids["a range of ids"] = again(t, "mount --make-rprivate / && echo nobody:200000:65536 >ids && mount --bind ids /etc/subuid && mount --bind ids /etc/subgid && exec setpriv")
	})
	for who, id := range ids {
		if id != ids["root"] {
			t.Errorf("%s makes %s, root makes %s", who, id, ids["root"])
		}
	}
}

func content(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

func again(t *testing.T, setpriv string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rootless")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "self.test"), data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(need.Tool(t, "unshare"), "-m", "sh", "-ec", setpriv+" --reuid 65534 --regid 65534 --clear-groups ./self.test -test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asUser+"=1", "TMPDIR="+dir, "HOME="+dir, "BAKE_REQUIRE_ALL=", "BAKE_TEST_IDS="+filepath.Join(dir, "id"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%d tests passed, %d skipped", strings.Count(string(out), "--- PASS"), strings.Count(string(out), "--- SKIP"))
	return content(t, filepath.Join(dir, "id"))
}
