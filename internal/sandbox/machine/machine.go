package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"bake/internal/sandbox/machine/guest"
)

// A Spec is what a machine is started with.
type Spec struct {
	ID       string     // the instance's; cloud-init does once per ID what it does once
	Disk     string     // its root; see Host.NewDisk
	Hostname string     // default: ip-10-0-0-5, of Private
	Address  netip.Addr // where this machine reaches it: 127.x.y.z, nobody else's
	// Private is the address that the machine has inside its network; default:
	// 10.x.y.z, of Address's x.y.z.
	Private netip.Addr
	// Private6 are the IPv6 addresses that it has inside its network.
	Private6 []netip.Addr
	// Near: this machine is to reach it at Private and Private6 too, where it runs as root.
	Near   bool
	Region string
	// Network names those machines that reach one another by their private
	// addresses, which must be different (a VPC's id); default: Region.
	Network string
	// Volumes are those besides the root; NVMe says that the machine shows them as
	// /dev/nvme1n1 and so on, with links of the names that they are attached by.
	Volumes []Volume
	NVMe    bool
	// Login is the user that AuthorizedKeys let in; empty: the one that images
	// of the distribution have on AWS (admin, ubuntu, ec2-user...), or root
	// where there is no sudo.
	Login          string
	AuthorizedKeys []string // lines of authorized_keys(5)
	UserData       []byte   // as it was before base64
	// FirstBoot says that the machine is new. What a disk remembers of its
	// instance id decides, so that a wrong value does no harm.
	FirstBoot bool
	// Allow says whether a connection may come in; nil: all may. It is asked
	// for each, and must not wait.
	Allow func(from netip.Addr, protocol string, port uint16) bool
	// Ended is told, in a goroutine of its own, that the machine ended by
	// itself: it powered off, or reboots, after which it runs on. It is not
	// told about Stop, Reboot and Kill.
	Ended func(rebooting bool)
}

// A Machine is an instance that runs, or has run. It is safe for concurrent use.
type Machine struct {
	host    *Host
	spec    Spec
	console *console
	turn    sync.Mutex // held by who stops, starts or reboots it

	mu    sync.Mutex
	boot  *boot // the current one; nil while it is down
	kill  bool  // somebody kills it
	ended bool  // for good
	login string
	gone  chan struct{} // closed when ended
}

// ErrEnded says that a machine does not run any more.
var ErrEnded = errors.New("the machine does not run")

// Start boots a machine on a disk that no other machine runs on. It returns
// when the machine's first program runs; SSH answers a moment later (see
// Machine.Serving). ctx bounds the start, not the machine's life.
func (h *Host) Start(ctx context.Context, spec Spec) (*Machine, error) {
	m, err := h.claim(spec)
	if err != nil {
		return nil, about("starting machine", spec.ID, err)
	}
	m.turn.Lock()
	defer m.turn.Unlock()
	if err := m.up(ctx); err != nil {
		m.finish()
		return nil, about("starting machine", spec.ID, err)
	}
	return m, nil
}

// claim makes the machine the one that runs on its disk.
func (h *Host) claim(spec Spec) (*Machine, error) {
	if err := errors.Join(checkID(spec.ID), checkID(spec.Disk)); err != nil {
		return nil, err
	}
	if !spec.Address.Is4() || !spec.Address.IsLoopback() {
		return nil, fmt.Errorf("address %s: want one of 127.0.0.0/8", spec.Address)
	}
	if !spec.Private.IsValid() {
		a := spec.Address.As4()
		a[0] = 10
		spec.Private = netip.AddrFrom4(a)
	}
	if spec.Network == "" {
		spec.Network = spec.Region
	}
	if spec.Hostname == "" {
		spec.Hostname = "ip-" + strings.ReplaceAll(spec.Private.String(), ".", "-") // as AWS does
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fs.ErrClosed
	}
	if _, err := os.Lstat(h.store.diskFile(spec.Disk)); err != nil {
		return nil, fmt.Errorf("disk %s: %w", spec.Disk, err)
	}
	if h.running[spec.Disk] != nil {
		return nil, &BusyError{"disk " + spec.Disk}
	}
	m := &Machine{host: h, spec: spec, console: new(console), gone: make(chan struct{}), login: spec.Login}
	h.running[spec.Disk] = m
	return m, nil
}

// up boots. The caller holds m.turn.
func (m *Machine) up(ctx context.Context) error {
	b, err := m.host.boot(ctx, m)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.boot = b
	m.mu.Unlock()
	go m.watch(b)
	return nil
}

// watch deals with a boot that ends by itself.
func (m *Machine) watch(b *boot) {
	<-b.ended
	m.turn.Lock()
	defer m.turn.Unlock()
	if m.current() != b || m.killed() {
		return // Stop, Reboot or Kill did it
	}
	m.down(b)
	rebooting := b.how() == reboot
	if rebooting {
		if err := m.up(context.Background()); err != nil {
			fmt.Fprintf(m.console, "[%s] rebooting: %v\r\n", m.spec.ID, err)
			m.host.options.Log("rebooting machine %s: %v", m.spec.ID, err)
			rebooting = false
		}
	}
	if !rebooting {
		m.finish()
	}
	if m.spec.Ended != nil {
		go m.spec.Ended(rebooting)
	}
}

// now is what the machine is started with; volumes come and go.
func (m *Machine) now() Spec {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.spec
}

func (m *Machine) killed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kill
}

func (m *Machine) current() *boot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boot
}

// down ends a boot, and returns when nothing of it is left. The caller holds m.turn.
func (m *Machine) down(b *boot) {
	b.close()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boot = nil
}

// finish ends the machine for good. The caller holds m.turn.
func (m *Machine) finish() {
	m.host.mu.Lock()
	if m.host.running[m.spec.Disk] == m {
		delete(m.host.running, m.spec.Disk)
	}
	m.host.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		m.ended = true
		close(m.gone)
	}
}

// unmounted reports that the machine is between two boots.
func (m *Machine) unmounted() bool { return m.current() == nil }

// Stop asks all processes to end, waits for them for Options.Grace, kills those
// that are left, and returns when the machine is down. Its disk can then be
// used again. Stopping what does not run is fine.
func (m *Machine) Stop(ctx context.Context) error {
	m.turn.Lock()
	defer m.turn.Unlock()
	if b := m.current(); b != nil {
		b.stop(ctx)
		m.down(b)
	}
	m.finish()
	return nil
}

// Reboot stops the machine and boots it again. It is ErrEnded if it does not run.
func (m *Machine) Reboot(ctx context.Context) error { return m.RebootWith(ctx, nil) }

// RebootWith stops the machine, calls whileDown, and boots it again, also if
// whileDown fails. A Snapshot of its disk made meanwhile is consistent and
// copies nothing.
func (m *Machine) RebootWith(ctx context.Context, whileDown func(ctx context.Context) error) error {
	m.turn.Lock()
	defer m.turn.Unlock()
	b := m.current()
	if b == nil {
		return about("rebooting machine", m.spec.ID, ErrEnded)
	}
	b.stop(ctx)
	m.down(b)
	var err error
	if whileDown != nil {
		err = whileDown(ctx)
	}
	if uerr := m.up(ctx); uerr != nil {
		m.finish()
		return errors.Join(err, about("rebooting machine", m.spec.ID, uerr))
	}
	return err
}

// Kill ends the machine as a power cut does, and returns when nothing of it is left.
func (m *Machine) Kill() {
	m.mu.Lock()
	m.kill = true
	b := m.boot
	m.mu.Unlock()
	if b != nil {
		b.close() // also while somebody waits for it to stop
	}
	m.turn.Lock()
	defer m.turn.Unlock()
	if b := m.current(); b != nil {
		m.down(b)
	}
	m.finish()
}

// Console returns the last 64 KB that were written to the machine's console, of all its boots.
func (m *Machine) Console() []byte { return m.console.tail() }

// Address is where the machine is reached.
func (m *Machine) Address() netip.Addr { return m.now().Address }

// Move gives the machine another address at which this machine reaches it. One
// that shares this machine's network has it from its next boot on.
func (m *Machine) Move(address netip.Addr) {
	m.mu.Lock()
	m.spec.Address = address
	b := m.boot
	m.mu.Unlock()
	if b != nil && b.port != nil {
		b.port.Move(address)
	}
}

// HostPort is the port at Address for one of the machine: the same, or
// network.Shifted of it if this process must not listen there. It is 0 if
// nothing listens there or Spec.Allow forbids it.
func (m *Machine) HostPort(port uint16) uint16 {
	b := m.current()
	switch {
	case b == nil:
		return 0
	case b.port == nil:
		return port
	}
	return b.port.HostPort(port)
}

// Dial connects to a port of the machine as a program inside would: Spec.Allow
// is not asked. The connection breaks when the machine goes down.
func (m *Machine) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	b := m.current()
	switch {
	case b == nil:
		return nil, about("connecting to machine", m.spec.ID, ErrEnded)
	case b.port == nil:
		return new(net.Dialer).DialContext(ctx, "tcp", netip.AddrPortFrom(m.Address(), port).String())
	}
	return b.port.Dial(ctx, port)
}

// Lend lets a user log in with a key, a line of authorized_keys(5), for a
// while, as EC2 Instance Connect does.
func (m *Machine) Lend(user, line string, while time.Duration) error {
	b := m.current()
	if b == nil {
		return about("lending a key to machine", m.spec.ID, ErrEnded)
	}
	return about("lending a key to machine", m.spec.ID, b.order(guest.Order{Key: &guest.Key{User: user, Line: line, Until: time.Now().Add(while)}}))
}

// Ready reports whether somebody can log in now.
func (m *Machine) Ready() bool {
	b := m.current()
	if b == nil {
		return false
	}
	select {
	case <-b.ended:
		return false
	default:
	}
	select {
	case <-b.serving:
		return true
	default:
		return false
	}
}

// RulesChanged is called when what Spec.Allow answers has changed: ports that
// were closed are open when it returns, and the other way round. Connections
// that are there already stay.
func (m *Machine) RulesChanged() {
	if b := m.current(); b != nil && b.port != nil {
		b.port.Changed()
	}
}

// Gone is closed when the machine has ended for good.
func (m *Machine) Gone() <-chan struct{} { return m.gone }

// Login is the user that the authorized keys let in: Spec.Login, or what the
// machine found when it booted; empty until then.
func (m *Machine) Login() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.login
}

// Serving returns when somebody can log in, or with an error if the machine
// ends before or ctx does.
func (m *Machine) Serving(ctx context.Context) error {
	return m.await(ctx, func(b *boot) <-chan struct{} { return b.serving })
}

// Booted returns when everything is done that is done at a boot, user data too.
func (m *Machine) Booted(ctx context.Context) error {
	return m.await(ctx, func(b *boot) <-chan struct{} { return b.done })
}

func (m *Machine) await(ctx context.Context, what func(*boot) <-chan struct{}) error {
	for {
		b := m.current()
		if b == nil {
			select {
			case <-m.gone:
				return about("waiting for machine", m.spec.ID, ErrEnded)
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Millisecond): // it is between two boots
			}
			continue
		}
		select {
		case <-what(b):
			return nil
		case <-b.ended:
			if m.current() == b { // it is being taken down
				<-time.After(time.Millisecond)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
