package machine

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"bake/internal/rootfs"
	"bake/internal/sandbox/machine/guest"
	"bake/internal/sandbox/network"
)

const reboot = guest.Reboot

// A boot is one time that a machine is up.
type boot struct {
	machine   *Machine
	container *rootfs.Container
	port      *network.Port // nil: it shares this machine's network
	orders    *os.File      // the first program's standard input
	grace     time.Duration

	up, serving, done chan struct{} // closed when it says so
	ended             chan struct{} // closed when the first program has ended
	end               error         // why, if it did not end by itself; set when ended is closed

	mu      sync.Mutex
	down    string // guest.PowerOff, guest.Reboot
	volumes []*attached
	changed chan struct{} // closed, and another made, when something is unmounted
	once    sync.Once

	writing sync.Mutex // held by who gives an order
}

// boot mounts the disk, starts the first program and returns when it runs.
func (h *Host) boot(ctx context.Context, m *Machine) (*boot, error) {
	spec := m.now()
	b := &boot{machine: m, volumes: attachedAt(spec), changed: make(chan struct{}), grace: h.options.Grace, up: make(chan struct{}), serving: make(chan struct{}), done: make(chan struct{}), ended: make(chan struct{})}
	if err := h.mount(ctx, b, spec); err != nil {
		return nil, err
	}
	if err := b.begin(b.describe(h.rootfs.Identity())); err != nil {
		b.release()
		return nil, err
	}
	var err error
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

// mount starts the container and joins it to the network.
func (h *Host) mount(ctx context.Context, b *boot, spec Spec) error {
	config, err := h.config(ctx, spec)
	if err != nil {
		return err
	}
	end := network.Endpoint{Outside: spec.Address, Inside: spec.Private, Inside6: spec.Private6, Group: spec.Network, Names: []string{spec.Hostname, dnsName(spec.Private)}, Near: spec.Near, Allow: spec.Allow}
	h.mu.Lock()
	shared := h.shared
	h.mu.Unlock()
	if !shared {
		config.Network = end.Config()
		config.Capabilities = append(config.Capabilities, capNetAdmin)
		config.Files = append(config.Files, rootfs.ExtraFile{Path: "/etc/resolv.conf", Data: network.ResolvConf()})
		if b.container, err = h.rootfs.Start(ctx, config); err == nil {
			if b.port, err = h.network.Attach(ctx, b.container, end); err != nil {
				b.container.Close()
			}
			return err
		}
		if config, err = h.config(ctx, spec); err != nil {
			return err
		}
	}
	own := err
	config.Files = append(config.Files, rootfs.NetworkFiles(spec.Hostname)...)
	if b.container, err = h.rootfs.Start(ctx, config); err == nil && !shared {
		h.mu.Lock()
		h.shared = true // it was the network that could not be had
		h.mu.Unlock()
		h.options.Log("machines share this machine's network: %v", own)
	}
	return err
}

// dnsName is the first part of the private DNS name that EC2 tells of a machine.
func dnsName(address netip.Addr) string {
	return "ip-" + strings.ReplaceAll(address.String(), ".", "-")
}

// Numbers of capability(7).
const (
	capNetAdmin     = 12
	capAuditControl = 30 // sshd's PAM says who logged in, also if that was said of this process before
)

// describe says what machine it is.
func (b *boot) describe(id rootfs.Identity) guest.Boot {
	spec := b.machine.now()
	g := guest.Boot{
		InstanceID: spec.ID, Hostname: spec.Hostname, Region: spec.Region, Login: spec.Login, AuthorizedKeys: spec.AuthorizedKeys,
		UserData: spec.UserData, Address: spec.Private.String(), Listen: ":22", OneID: id.OneID, Volumes: *b.shown(), NVMe: spec.NVMe, Grace: int(b.grace.Milliseconds()),
		Resolver: string(network.ResolvConf()),
	}
	if len(g.Volumes) > 0 && id.Rootless {
		g.Notes = append(g.Notes, "Volumes besides the root cannot be mounted: bake does not run as root.")
	}
	switch {
	case b.port == nil:
		g.Listen, g.Resolver = spec.Address.String()+":22", ""
		g.Notes = append(g.Notes, "It shares the network of the machine it runs on: SSH is at "+spec.Address.String()+", other ports are where programs listen.")
	case !b.port.HasWayOut():
		g.Notes = append(g.Notes, "There is no way out: the machine it runs on has no /dev/net/tun, or this user may not open it.")
	}
	return g
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
	layers := []string{filepath.Join(disk, "upper")}
	for _, l := range lower {
		if !filepath.IsAbs(l) {
			l = h.store.path(l)
		}
		layers = append(layers, l)
	}
	if err := h.shims(ctx, filepath.Join(disk, "shims"), layers); err != nil {
		return rootfs.Config{}, err
	}
	lower = append([]string{at + "/shims"}, lower...)
	return rootfs.Config{
		Base: h.store.dir, Lower: append(lower, skeletonDir), Upper: at + "/upper", Work: at + "/work", Root: at + "/root",
		Hostname:     spec.Hostname,
		Tmpfs:        []rootfs.Tmpfs{{Path: "/run", Mode: 0o755}},
		Files:        []rootfs.ExtraFile{{Path: "/proc/sys/kernel/random/boot_id", Data: []byte(newUUID() + "\n")}},
		Binds:        []rootfs.Bind{{From: h.program, To: guest.Program, ReadOnly: true, Make: true}},
		Capabilities: []uint{capAuditControl},
	}, nil
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand does not fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// begin starts the first program and tells it what machine it is.
func (b *boot) begin(what guest.Boot) error {
	in, orders, err := os.Pipe()
	if err != nil {
		return err
	}
	b.orders = orders
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
	b.writing.Lock()
	defer b.writing.Unlock()
	if err := json.NewEncoder(orders).Encode(what); err != nil {
		orders.Close()
		return err
	}
	return nil
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
		b.open()
		close(b.serving)
	case m.Hostname != "":
		if b.port != nil {
			b.port.Rename(m.Hostname)
		}
		if err := b.container.SetHostname(context.Background(), m.Hostname); err != nil {
			b.machine.host.options.Log("naming machine %s: %v", b.machine.spec.ID, err)
		}
	case m.Ask != nil:
		go b.answer(*m.Ask)
	case m.Done:
		close(b.done)
	case m.Down != "":
		b.mu.Lock()
		b.down = m.Down
		b.mu.Unlock()
	}
}

// open sees to it that SSH is reached from outside.
func (b *boot) open() {
	if b.port == nil {
		return
	}
	b.port.Changed()
	if at := b.port.HostPort(22); at != 0 && at != 22 {
		fmt.Fprintf(b.machine.console, "[%s] The machine it runs on does not let bake listen on port 22 of %s: SSH is at port %d.\r\n",
			b.machine.spec.ID, b.machine.Address(), at)
	}
}

// how is what somebody inside wanted: to power off if they did not say.
func (b *boot) how() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.down
}

// order has the machine's first program do something.
func (b *boot) order(o guest.Order) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	return json.NewEncoder(b.orders).Encode(o)
}

// stop takes the machine down gently.
func (b *boot) stop(ctx context.Context) {
	if b.order(guest.Order{Stop: true}) != nil {
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
		b.release()
		<-b.ended
	})
}

func (b *boot) release() {
	if b.port != nil {
		b.port.Close()
	}
	b.container.Close()
	b.unmountAll()
}
