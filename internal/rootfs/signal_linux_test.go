package rootfs_test

import (
	"bytes"
	"context"
	"errors"
	"syscall"
	"testing"

	"bake/internal/rootfs"
)

func TestASignalReachesTheProgramAndNoOther(t *testing.T) {
	c := newBox(t).start()
	signals, started := make(chan int, 1), make(chan struct{})
	var out bytes.Buffer
	go func() {
		<-started
		signals <- int(syscall.SIGTERM)
	}()
	err := c.Run(context.Background(), rootfs.Process{
		Argv:   []string{"sh", "-c", "sleep 60 & child=$!; trap 'kill -0 $child && echo child lives; exit 7' TERM; wait"},
		Stdout: &out, Stderr: &out, Signals: signals,
		Started: func() { close(started) },
	})
	var exit *rootfs.ExitError
	if errors.As(err, &exit) && exit.Signal == int(syscall.SIGTERM) {
		t.Skip("the signal came before the trap was set") // the kernel's order, not ours
	}
	if exit == nil || exit.Code != 7 || out.String() != "child lives\n" {
		t.Errorf("got %v, output %q; want exit status 7 of the trap", err, out.String())
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
