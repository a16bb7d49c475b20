package rootfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bake/internal/need"
	"bake/internal/rootfs"
)

// asUser says that this process is the one that a test runs without privileges.
const asUser = "BAKE_TEST_ROOTLESS"

// A box is a root file system of busybox and a host to run it.
type box struct {
	t    testing.TB
	host *rootfs.Host
	dir  string // base, upper, work, root, skel
}

func newBox(t testing.TB) *box {
	t.Helper()
	h, err := rootfs.Open()
	if err != nil {
		t.Fatal(err)
	}
	if h.Identity().Rootless && os.Getenv(asUser) == "" {
		need.Missing(t, "needs root; TestRootless runs all of this again without")
	}
	b := &box{t: t, host: h, dir: t.TempDir()}
	t.Cleanup(func() {
		for _, d := range []string{"upper", "work"} {
			if err := h.Remove(context.Background(), filepath.Join(b.dir, d)); err != nil {
				t.Error(err)
			}
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	busybox := need.Tool(t, "busybox")
	for _, d := range []string{"base/bin", "base/etc", "upper", "work", "root", "skel"} {
		if err := os.MkdirAll(filepath.Join(b.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.write("base/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/sh\n")
	b.write("base/etc/group", "root:x:0:\nweb:x:34:\nadm:x:44:web,other\n")
	data, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	b.write("base/bin/busybox", string(data))
	if err := os.Chmod(filepath.Join(b.dir, "base/bin/busybox"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, applet := range strings.Fields("sh cat echo ls id mkdir rm sleep kill true false ln chown chmod mknod hostname env ps touch mount setsid seq tty mv cut grep readlink wc head stat sync nproc od") {
		if err := os.Symlink("busybox", filepath.Join(b.dir, "base/bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	if err := rootfs.Skeleton(filepath.Join(b.dir, "skel")); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *box) write(name, data string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(data), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) config() rootfs.Config {
	return rootfs.Config{Base: b.dir, Lower: []string{"base", "skel"}, Upper: "upper", Work: "work", Root: "root",
		Hostname: "box", Files: rootfs.NetworkFiles("box")}
}

func (b *box) start() *rootfs.Container {
	b.t.Helper()
	c, err := b.host.Start(context.Background(), b.config())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return c
}

// sh runs a script and returns its output and error.
func sh(c *rootfs.Container, script string) (string, error) {
	var out bytes.Buffer
	err := c.Run(context.Background(), rootfs.Process{Argv: []string{"/bin/sh", "-e"}, Script: []byte(script), Stdout: &out, Stderr: &out})
	return out.String(), err
}

func TestCommandsHaveTheRootsOwnView(t *testing.T) {
	b := newBox(t)
	c := b.start()
	for script, want := range map[string]string{
		"hostname":                               "box\n",
		"id -u":                                  "0\n",
		"echo $HOME":                             "/root\n",
		"cat; echo empty stdin":                  "empty stdin\n",
		"echo x >/dev/null; ls /dev/pts":         "ptmx\n",
		"grep -c box /etc/hosts":                 "1\n",
		"readlink /proc/1/exe || echo protected": "protected\n",
		"echo 1 2>/dev/null >/proc/sys/vm/swappiness || echo read-only": "read-only\n",
		"mount -t tmpfs x /tmp 2>/dev/null || echo no mounts":           "no mounts\n",
		"ls -d /oldroot /.pivot* 2>/dev/null || true":                   "",
		"ls / | wc -l": "6\n",
	} {
		got, err := sh(c, script)
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", script, got, err, want)
		}
	}
	c.Close()
	left, err := os.ReadDir(filepath.Join(b.dir, "upper"))
	if err != nil || len(left) > 0 {
		t.Errorf("running left %v in the upper layer (%v)", left, err)
	}
}

func TestExitCodesAndSignalsAreTold(t *testing.T) {
	c := newBox(t).start()
	for script, want := range map[string]rootfs.ExitError{
		"exit 3":             {Code: 3},
		"false; echo no":     {Code: 1},
		"kill -9 $$":         {Code: 137, Signal: 9},
		"kill -TERM $$":      {Code: 143, Signal: 15},
		"kill -TERM 1; true": {},
	} {
		_, err := sh(c, script)
		var got *rootfs.ExitError
		if !errors.As(err, &got) {
			got = &rootfs.ExitError{}
		}
		if *got != want {
			t.Errorf("%s: got %+v (%v), want %+v", script, *got, err, want)
		}
	}
	if err := c.Run(context.Background(), rootfs.Process{Argv: []string{"nothing"}}); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing program: %v", err)
	}
}

func TestUsersAreResolvedInTheRoot(t *testing.T) {
	b := newBox(t)
	if b.host.Identity().OneID {
		need.Missing(t, "one id is mapped")
	}
	c := b.start()
	for user, want := range map[string]string{
		"":       "0 0 0 /root\n",
		"web":    "33 34 34 44 /var/www\n",
		"web:0":  "33 0 0 /var/www\n",
		"33:web": "33 34 34 /var/www\n",
		"1234":   "1234 0 0 /\n",
		"7:8":    "7 8 8 /\n",
	} {
		var out bytes.Buffer
		err := c.Run(context.Background(), rootfs.Process{Argv: []string{"sh", "-c", "echo $(id -u) $(id -g) $(id -G) $HOME"}, User: user, Stdout: &out, Stderr: &out})
		if err != nil || out.String() != want {
			t.Errorf("user %q: got %q, %v; want %q", user, out.String(), err, want)
		}
	}
	if err := c.Run(context.Background(), rootfs.Process{Argv: []string{"true"}, User: "nobody"}); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("unknown user: %v", err)
	}
}

func TestCancelLeavesNoProcessOfTheCommand(t *testing.T) {
	b := newBox(t)
	c := b.start()
	ctx, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("enough")
	out := &trigger{want: "started", fire: func() { cancel(reason) }}
	err := c.Run(ctx, rootfs.Process{Argv: []string{"sh"}, Stdout: out,
		Script: []byte("setsid sh -c 'setsid sleep 1000 & sleep 1000' & sh -c 'sleep 1000 & exit' ; (sleep 1000 &) ; echo started; sleep 1000")})
	if err != reason {
		t.Errorf("got %v, want the cause of the cancel", err)
	}
	got, err := sh(c, "ps | grep -c [s]leep || true")
	if err != nil || got != "0\n" {
		t.Errorf("processes left: %q, %v", got, err)
	}
}

func TestCancelOfOneCommandSparesTheOthers(t *testing.T) {
	c := newBox(t).start()
	ready := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- c.Run(context.Background(), rootfs.Process{Argv: []string{"sh", "-c", "echo up; while ! [ -e /stop ]; do sleep 0.05; done; exit 7"},
			Stdout: &trigger{want: "up", fire: func() { close(ready) }}})
	}()
	<-ready
	ctx, cancel := context.WithCancel(context.Background())
	err := c.Run(ctx, rootfs.Process{Argv: []string{"sh", "-c", "sleep 999 & echo up; sleep 999"}, Stdout: &trigger{want: "up", fire: cancel}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled command: %v", err)
	}
	if got, _ := sh(c, "ps | grep -c '[s]leep 999' || true; touch /stop"); got != "0\n" {
		t.Errorf("processes left: %q", got)
	}
	var exit *rootfs.ExitError
	if err := <-done; !errors.As(err, &exit) || exit.Code != 7 {
		t.Errorf("the other command: %v", err)
	}
}

// trigger calls fire once, when it is written something that contains want.
type trigger struct {
	want string
	fire func()
	seen strings.Builder
}

func (w *trigger) Write(p []byte) (int, error) {
	w.seen.Write(p)
	if w.fire != nil && strings.Contains(w.seen.String(), w.want) {
		w.fire()
		w.fire = nil
	}
	return len(p), nil
}

func TestRunReturnsWhenTheCommandEndsThoughADaemonHoldsItsOutput(t *testing.T) {
	c := newBox(t).start()
	got, err := sh(c, "(sleep 1000 &) ; seq 1 20000 | cut -c1-5 | head -n 20000; echo end")
	if err != nil || !strings.HasSuffix(got, "20000\nend\n") || strings.Count(got, "\n") != 20001 {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if got, _ := sh(c, "ps | grep -c '[s]leep 1000'"); got != "1\n" {
		t.Errorf("the daemon should live until Close: %q", got)
	}
}

func TestCloseEndsAForkBombThatDaemonises(t *testing.T) {
	b := newBox(t)
	c := b.start()
	marker := fmt.Sprintf("bomb%d", os.Getpid())
	_, err := sh(c, `i=0; while [ $i -lt 50 ]; do (setsid sh -c 'while :; do (sleep 0.01 &) ; sleep 0.01; done' `+marker+` >/dev/null 2>&1 &) ; i=$((i+1)); done`)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if pids := processesWith(t, marker); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}

// processesWith lists processes of this machine whose arguments contain s.
func processesWith(t *testing.T, s string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err == nil && bytes.Contains(data, []byte(s)) && filepath.Dir(f) != fmt.Sprintf("/proc/%d", os.Getpid()) {
			found = append(found, f)
		}
	}
	return found
}

func TestATerminalIsGivenOnRequest(t *testing.T) {
	c := newBox(t).start()
	var out bytes.Buffer
	err := c.Run(context.Background(), rootfs.Process{Argv: []string{"sh", "-c", "tty; read x; echo got $x; exit 4"}, TTY: true, Stdin: strings.NewReader("hello\n"), Stdout: &out})
	var exit *rootfs.ExitError
	if !errors.As(err, &exit) || exit.Code != 4 {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(out.String(), "/dev/pts/0\r\n") || !strings.Contains(out.String(), "got hello\r\n") {
		t.Errorf("got %q", out.String())
	}
}

func TestSpecialNamesInTheRootLeadNowhere(t *testing.T) {
	b := newBox(t)
	outside := filepath.Join(b.dir, "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(b.dir, "base/dev")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.host.Start(context.Background(), b.config()); err == nil || !strings.Contains(err.Error(), "/dev is not a directory") {
		t.Errorf("a root whose /dev leads outside: %v", err)
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("made outside: %v", left)
	}
}

func TestAPlainDirectoryIsUsedAsItIs(t *testing.T) {
	b := newBox(t)
	for _, d := range []string{"proc", "dev", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(b.dir, "base", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c, err := b.host.Start(context.Background(), rootfs.Config{Root: filepath.Join(b.dir, "base"),
		Binds: []rootfs.Bind{{From: filepath.Join(b.dir, "skel"), To: "/tmp", ReadOnly: true}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := sh(c, "echo hi >/made; touch /tmp/x 2>/dev/null || echo read-only"); err != nil || got != "read-only\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if data, err := os.ReadFile(filepath.Join(b.dir, "base/made")); string(data) != "hi\n" {
		t.Errorf("got %q, %v", data, err)
	}
}

func TestAHundredAndFiftyLayersStack(t *testing.T) {
	b := newBox(t)
	cfg := b.config()
	var layers []string
	for i := range 500 {
		name := fmt.Sprintf("l%07d", i)
		if err := os.Mkdir(filepath.Join(b.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		b.write(name+"/f", fmt.Sprint(i))
		b.write(fmt.Sprintf("%s/f%d", name, i), "x")
		layers = append(layers, name)
	}
	for _, n := range []int{150, 400} {
		cfg.Lower = append(append([]string{}, layers[:n]...), "base", "skel")
		c, err := b.host.Start(context.Background(), cfg)
		if err != nil {
			t.Fatalf("%d layers: %v", n, err)
		}
		got, err := sh(c, fmt.Sprintf("cat /f /f%d", n-1))
		if err != nil || got != "0x" {
			t.Errorf("%d layers: got %q, %v", n, got, err)
		}
		c.Close()
		b.host.Remove(context.Background(), filepath.Join(b.dir, "work"))
		os.Mkdir(filepath.Join(b.dir, "work"), 0o755)
	}
}

// TestKillOfBakeEndsTheContainer starts this test again as a child that boots
// a container and is then killed without a chance to clean up.
func TestKillOfBakeEndsTheContainer(t *testing.T) {
	if os.Getenv("BAKE_TEST_VICTIM") != "" {
		b := newBox(t)
		c := b.start()
		marker := os.Getenv("BAKE_TEST_VICTIM")
		c.Run(context.Background(), rootfs.Process{Argv: []string{"/bin/sh", "-c", "setsid sh -c 'while :; do sleep 1; done' " + marker + " & echo up; sleep 1000", marker}, Stdout: os.Stdout})
		return
	}
	b := newBox(t)
	marker := "victim" + filepath.Base(t.TempDir()) + fmt.Sprint(os.Getpid())
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestKillOfBakeEndsTheContainer$")
	cmd.Env = append(os.Environ(), "BAKE_TEST_VICTIM="+marker, "TMPDIR="+filepath.Join(b.dir, "upper"))
	up := make(chan struct{})
	cmd.Stdout = &trigger{want: "up", fire: func() { close(up) }}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-up:
	case <-time.After(30 * time.Second):
		t.Error("the container does not start")
	}
	if len(processesWith(t, marker)) == 0 {
		t.Fatal("the container does not run")
	}
	cmd.Process.Kill()
	cmd.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for len(processesWith(t, marker)) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("processes left: %v", processesWith(t, marker))
		}
		syscall.Select(0, nil, nil, nil, &syscall.Timeval{Usec: 5000}) // the kernel tells nobody when a stranger's process ends
	}
}

// TestRootless runs this package's tests as another user, once with one id
// mapped and once with a range that newuidmap maps.
func TestRootless(t *testing.T) {
	need.Root(t)
	t.Run("one id", func(t *testing.T) { again(t, "exec setpriv") })
	t.Run("a range of ids", func(t *testing.T) {
		need.Tool(t, "newuidmap")
		// /etc/subuid is another file for this one process only.
		again(t, "mount --make-rprivate / && echo nobody:200000:65536 >ids && mount --bind ids /etc/subuid && mount --bind ids /etc/subgid && exec setpriv")
	})
}

func again(t *testing.T, setpriv string) {
	dir, err := os.MkdirTemp("", "rootless")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(dir, "self.test")
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(self, data, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(need.Tool(t, "unshare"), "-m", "sh", "-ec", setpriv+" --reuid 65534 --regid 65534 --clear-groups ./self.test -test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asUser+"=1", "TMPDIR="+dir, "HOME="+dir, "BAKE_REQUIRE_ALL=")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

func BenchmarkStart(b *testing.B) {
	box := newBox(b)
	for b.Loop() {
		c := box.start()
		c.Close()
		os.RemoveAll(filepath.Join(box.dir, "work"))
		os.Mkdir(filepath.Join(box.dir, "work"), 0o755)
	}
}

func BenchmarkStep(b *testing.B) {
	box := newBox(b)
	for b.Loop() {
		c := box.start()
		if _, err := sh(c, "echo hi >/f"); err != nil {
			b.Fatal(err)
		}
		c.Close()
		os.RemoveAll(filepath.Join(box.dir, "work"))
		os.Mkdir(filepath.Join(box.dir, "work"), 0o755)
	}
}

func BenchmarkRun(b *testing.B) {
	c := newBox(b).start()
	for b.Loop() {
		if _, err := sh(c, "true"); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNothingOutlivesItsHost is about the init that waits for the next container.
func TestNothingOutlivesItsHost(t *testing.T) {
	box := newBox(t)
	for range 3 {
		if c := box.start(); c.Close() != nil {
			t.Fatal("a container did not end")
		}
		if err := box.host.Remove(t.Context(), filepath.Join(box.dir, "work")); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(box.dir, "work"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"upper", "work"} { // what a closed host cannot remove without privileges
		if err := box.host.Remove(t.Context(), filepath.Join(box.dir, d)); err != nil {
			t.Fatal(err)
		}
	}
	if err := box.host.Close(); err != nil {
		t.Fatal(err)
	}
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(lists) == 0 {
		t.Fatal("this kernel does not list children", err)
	}
	for _, list := range lists {
		if children, _ := os.ReadFile(list); len(children) > 0 {
			t.Errorf("processes are left: %s", children)
		}
	}
}
