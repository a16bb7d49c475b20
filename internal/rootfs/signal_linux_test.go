package rootfs_test

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bake/internal/rootfs"
)

// ready tells when a program has said that it is.
type ready struct {
	bytes.Buffer
	said chan struct{}
	once sync.Once
}

func (r *ready) Write(p []byte) (int, error) {
	n, err := r.Buffer.Write(p)
	if strings.Contains(r.String(), "ready\n") {
		r.once.Do(func() { close(r.said) })
	}
	return n, err
}

func TestASignalReachesTheProgramAndNoOther(t *testing.T) {
	c := newBox(t).start()
	signals, out := make(chan int, 1), &ready{said: make(chan struct{})}
	started := false
	go func() {
		<-out.said // the trap is set
		signals <- int(syscall.SIGTERM)
	}()
	err := c.Run(context.Background(), rootfs.Process{
		Argv:   []string{"sh", "-c", "sleep 60 & child=$!; trap 'kill -0 $child && echo child lives; exit 7' TERM; echo ready; wait"},
		Stdout: out, Stderr: out, Signals: signals,
		Started: func() { started = true },
	})
	var exit *rootfs.ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || out.String() != "ready\nchild lives\n" {
		t.Errorf("got %v, output %q; want exit status 7 of the trap", err, out.String())
	}
	if !started {
		t.Error("the start was not told")
	}
}

func TestAReadOnlyRootTakesNoWrites(t *testing.T) {
	b := newBox(t)
	cfg := b.config()
	cfg.ReadOnly = true
	c, err := b.host.Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := sh(c, "echo x 2>/dev/null >/new && echo wrote; echo x >/dev/shm/y; echo x >/dev/null; mount | grep -c ' / .*ro' || true")
	if err != nil || got != "1\n" && got != "0\n" { // /proc/mounts may not be shown
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTwoContainersShareANetwork(t *testing.T) {
	first := newBox(t)
	cfg := first.config()
	cfg.Network = &rootfs.Network{Interface: "eth0", Address: netip.MustParsePrefix("10.1.2.3/24"), MTU: 9001}
	one, err := first.host.Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	dir := newBox(t)
	cfg = dir.config()
	cfg.Beside = one
	two, err := first.host.Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	a, err := sh(one, "readlink /proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := sh(two, "readlink /proc/self/ns/net"); err != nil || a != b {
		t.Errorf("networks %q and %q (%v), want the same", a, b, err)
	}
	alone := newBox(t).start()
	if _, err := first.host.Start(context.Background(), rootfs.Config{Base: dir.dir, Root: "base", Beside: alone}); err == nil {
		t.Error("a container was put beside one that has no network of its own")
	}
}
