package machine

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bake/internal/rootfs"
	"bake/internal/sandbox/machine/guest"
)

const reboot = guest.Reboot

// A boot is one time that a machine is up.
type boot struct {
	machine   *Machine
	container *rootfs.Container
	orders    *os.File // the first program's standard input
	grace     time.Duration

	up, serving, done chan struct{} // closed when it says so
	ended             chan struct{} // closed when the first program has ended
	end               error         // why, if it did not end by itself; set when ended is closed

	mu   sync.Mutex
	down string // guest.PowerOff, guest.Reboot
	once sync.Once
}

// boot mounts the disk, starts the first program and returns when it runs.
func (h *Host) boot(ctx context.Context, m *Machine) (*boot, error) {
	b := &boot{machine: m, grace: h.options.Grace, up: make(chan struct{}), serving: make(chan struct{}), done: make(chan struct{}), ended: make(chan struct{})}
	config, err := h.config(ctx, m.spec)
	if err != nil {
		return nil, err
	}
	if b.container, err = h.rootfs.Start(ctx, config); err != nil {
		return nil, err
	}
	orders, err := b.begin(guest.Boot{
		InstanceID: m.spec.ID, Hostname: m.spec.Hostname, Region: m.spec.Region, Login: m.spec.Login, AuthorizedKeys: m.spec.AuthorizedKeys,
		UserData: m.spec.UserData, Listen: m.spec.Address.String() + ":22", OneID: h.rootfs.Identity().OneID,
		Grace: int(h.options.Grace.Milliseconds()),
		Notes: []string{"It shares this machine's network: its ports are those of " + m.spec.Address.String() + " only if what listens says so."},
	})
	if err != nil {
		b.container.Close()
		return nil, err
	}
	b.orders = orders
	select {
	case <-b.up:
		return b, nil
	case <-b.ended:
		err = fmt.Errorf("its first program ended: %w: %s", b.end, bytes.TrimSpace(m.console.tail()))
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	b.close()
	return nil, err
}

// config is the root: the disk's layers, and what is different at each boot.
func (h *Host) config(ctx context.Context, spec Spec) (rootfs.Config, error) {
	lower, err := h.store.lower(spec.Disk)
	if err != nil {
		return rootfs.Config{}, err
	}
	disk := h.store.path(disksDir, spec.Disk)
	// What overlayfs keeps there says that it was not unmounted.
	if err := h.rootfs.Remove(ctx, filepath.Join(disk, "work")); err != nil {
		return rootfs.Config{}, err
	}
	for _, d := range []string{"upper", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(disk, d), 0o755); err != nil {
			return rootfs.Config{}, err
		}
	}
	at := disksDir + "/" + spec.Disk
	return rootfs.Config{
		Base: h.store.dir, Lower: append(lower, skeletonDir), Upper: at + "/upper", Work: at + "/work", Root: at + "/root",
		Hostname: spec.Hostname,
		Tmpfs:    []rootfs.Tmpfs{{Path: "/run", Mode: 0o755}},
		Files:    append(rootfs.NetworkFiles(spec.Hostname), rootfs.ExtraFile{Path: "/proc/sys/kernel/random/boot_id", Data: []byte(newUUID() + "\n")}),
		Binds:    []rootfs.Bind{{From: h.program, To: guest.Program, ReadOnly: true, Make: true}},
	}, nil
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand does not fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// begin starts the first program and tells it what machine it is.
func (b *boot) begin(what guest.Boot) (*os.File, error) {
	in, orders, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, messages := io.Pipe()
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		b.listen(out)
	}()
	go func() {
		err := b.container.Run(context.Background(), rootfs.Process{Argv: []string{guest.Program}, Stdin: in, Stdout: messages, Stderr: b.machine.console})
		messages.Close()
		<-heard
		in.Close()
		if err == nil {
			err = errors.New("without saying why")
		}
		b.end = err
		close(b.ended)
	}()
	if err := json.NewEncoder(orders).Encode(what); err != nil {
		orders.Close()
		return nil, err
	}
	return orders, nil
}

// listen takes in what the first program tells.
func (b *boot) listen(r io.Reader) {
	d := json.NewDecoder(r)
	for {
		var m guest.Message
		if err := d.Decode(&m); err != nil {
			_, _ = io.Copy(io.Discard, r)
			return
		}
		b.heard(m)
	}
}

func (b *boot) heard(m guest.Message) {
	switch {
	case m.Up:
		close(b.up)
	case m.Serving:
		b.machine.mu.Lock()
		b.machine.login = m.Login
		b.machine.mu.Unlock()
		close(b.serving)
	case m.Done:
		close(b.done)
	case m.Down != "":
		b.mu.Lock()
		b.down = m.Down
		b.mu.Unlock()
	}
}

// how is what somebody inside wanted: to power off if they did not say.
func (b *boot) how() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.down
}

// stop takes the machine down gently.
func (b *boot) stop(ctx context.Context) {
	if json.NewEncoder(b.orders).Encode(guest.Order{Stop: true}) != nil {
		return // it is gone
	}
	timer := time.NewTimer(b.grace + 3*time.Second)
	defer timer.Stop()
	select {
	case <-b.ended:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// close ends what is left and returns when it is gone.
func (b *boot) close() {
	b.once.Do(func() {
		if b.orders != nil {
			b.orders.Close()
		}
		b.container.Close()
		<-b.ended
	})
}
