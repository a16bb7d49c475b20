// Package network joins containers of package rootfs to the world: each has a
// network namespace of its own, an address of 127.0.0.0/8 at which this machine
// reaches the ports that something listens on inside, and a way out.
//
// Way in: for each port that a program inside listens on, and that the rules
// let in, this process listens at the outside address, and moves bytes between
// what it accepts and a socket that the container's first process made inside
// (rootfs.Container.Socket). So the kernel does the work on both sides, and
// what nobody listens on, or a rule forbids, is refused by the kernel.
//
// Way out: packets of the container's TUN device go to a network stack in this
// process (gvisor.dev/gvisor/pkg/tcpip: 4 MB of program, 0.2 ms to start),
// which ends TCP and UDP there and makes the connections of this process
// instead. It needs no rights beyond the namespace, so it works without root.
// Names are asked of this machine's own name servers. The instance metadata
// service is not there: connecting to it is refused at once.
package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"

	"bake/internal/rootfs"
)

// resolver is Amazon's own address of the name server that every VPC has.
const resolver = "169.254.169.253"

// An Endpoint is a container's place in the network.
type Endpoint struct {
	// Outside is where this machine reaches it: 127.x.y.z, nobody else's. A zero
	// address: nobody outside reaches it.
	Outside netip.Addr
	Inside  netip.Addr // its own address, as other containers know it
	// Inside6 are IPv6 addresses that it has too. They are one another's in the
	// whole world, so all containers reach it there, not the group alone.
	Inside6 []netip.Addr
	// Group are those that reach one another by their Inside addresses: a VPC's name.
	Group string
	Names []string // host names that the group knows it by
	// Near: this machine is to reach it at Inside and Inside6 too, if this user may bring that
	// about, as the machines of a company reach a VPC that a VPN leads to.
	Near bool
	// Allow says whether a connection may come in; nil: all may. It is asked for each.
	Allow func(from netip.Addr, protocol string, port uint16) bool
	// AllowOut says whether a connection may go out; nil: all may.
	AllowOut func(to netip.Addr, protocol string, port uint16) bool
}

// Config is what rootfs.Config.Network must be for the endpoint. Where this
// machine has no IPv6, the container has none.
func (e Endpoint) Config() *rootfs.Network {
	n := &rootfs.Network{Interface: "eth0", Address: netip.PrefixFrom(e.Inside, 20), MTU: mtu}
	if hasIPv6() {
		n.Address6 = e.Inside6
	}
	return n
}

// ResolvConf is /etc/resolv.conf of every container.
func ResolvConf() []byte {
	return []byte("nameserver " + resolver + "\noptions timeout:3 attempts:3\n")
}

func (e *Endpoint) allows(from netip.Addr, protocol string, port uint16) bool {
	return e.Allow == nil || e.Allow(from.Unmap(), protocol, port)
}

// A Switch holds the ports of all containers of one sandbox.
type Switch struct {
	log func(format string, args ...any)

	mu    sync.Mutex
	ports map[place]*Port
}

type place struct {
	group  string
	inside netip.Addr
}

// New returns a switch without ports. log is told what goes wrong; it may be nil.
func New(log func(format string, args ...any)) *Switch {
	if log == nil {
		log = func(string, ...any) {}
	}
	return &Switch{log: log, ports: map[place]*Port{}}
}

// A Port joins one container. It is safe for concurrent use.
type Port struct {
	Endpoint             // as it was attached
	outside   netip.Addr // guarded by inbound
	network   *Switch
	names     []string // guarded by network.mu
	container *rootfs.Container
	inbound   *inbound
	outbound  *outbound
	cancel    context.CancelFunc
	wg        sync.WaitGroup
}

// Attach joins a container that was started with the endpoint's Config. Its
// listening ports are reached from now on, until Close.
func (s *Switch) Attach(ctx context.Context, c *rootfs.Container, e Endpoint) (*Port, error) {
	if !e.Inside.Is4() || e.Outside.IsValid() && (!e.Outside.Is4() || !e.Outside.IsLoopback()) || slices.ContainsFunc(e.Inside6, netip.Addr.Is4) {
		return nil, fmt.Errorf("joining %s (%s) to the network: want an IPv4 address inside, IPv6 ones besides if any, and one of 127.0.0.0/8 outside", e.Inside, e.Outside)
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if len(e.Inside6) > 0 && !hasIPv6() {
		s.log("nothing reaches %v: this machine's kernel has no IPv6, or it is disabled", e.Inside6)
		e.Inside6 = nil
	}
	p := &Port{Endpoint: e, outside: e.Outside, names: e.Names, network: s, container: c, cancel: cancel}
	var err error
	if p.inbound, err = newInbound(ctx, p); err != nil {
		cancel()
		return nil, fmt.Errorf("joining %s to the network: %w", e.Inside, err)
	}
	if err := s.add(p); err != nil {
		p.inbound.close()
		cancel()
		return nil, err
	}
	if e.Near && e.Outside.IsValid() {
		for _, a := range append([]netip.Addr{e.Inside}, e.Inside6...) {
			if p.bringNear(life, a) {
				p.inbound.near = append(p.inbound.near, a)
			}
		}
	}
	p.wg.Go(func() { p.inbound.watch(life) })
	if device := c.Device(); device != nil {
		p.outbound = &outbound{port: p, device: device}
		p.wg.Go(func() { p.outbound.run(life) })
	}
	return p, nil
}

// Dial connects to a program inside as another program inside would: no rule
// is asked. The caller closes the connection before the port.
func (p *Port) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	return p.dial(ctx, syscall.SOCK_STREAM, netip.AddrPortFrom(p.Inside, port))
}

// ErrAddressInUse says that another container has the address.
var ErrAddressInUse = errors.New("the address is another container's")

func (s *Switch) add(p *Port) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range p.places() {
		if s.ports[at] != nil {
			return fmt.Errorf("joining %s to the network: %w", at.inside, ErrAddressInUse)
		}
	}
	for _, at := range p.places() {
		s.ports[at] = p
	}
	return nil
}

// places are where the port is among all of the switch.
func (p *Port) places() []place {
	all := []place{{p.Group, p.Inside}}
	for _, a := range p.Inside6 {
		all = append(all, place{"", a})
	}
	return all
}

func (s *Switch) remove(p *Port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range p.places() {
		delete(s.ports, at)
	}
}

// at returns the container with an address, nil if there is none.
func (s *Switch) at(group string, inside netip.Addr) *Port {
	if inside.Is6() {
		group = ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ports[place{group, inside}]
}

// named returns the address of the container with a host name.
func (s *Switch) named(group, name string) (netip.Addr, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, p := range s.ports {
		if at.group != group || at.inside.Is6() {
			continue
		}
		for _, n := range p.names {
			if n == name {
				return at.inside, true
			}
		}
	}
	return netip.Addr{}, false
}

// Rename replaces the first of the names that the group knows the container by.
func (p *Port) Rename(name string) {
	p.network.mu.Lock()
	defer p.network.mu.Unlock()
	p.names = append([]string{strings.ToLower(name)}, p.Names[min(1, len(p.Names)):]...)
}

// Move gives the container another address outside, at which it is reached when
// this returns. Nobody reaches it at the old one any more; connections that are there stay.
func (p *Port) Move(outside netip.Addr) { p.inbound.move(outside) }

// Changed looks at once for what listens now and what the rules say; without
// it that is noticed within a tenth of a second. When it returns, the ports are
// as they should be. Connections that are there already stay, as on AWS.
func (p *Port) Changed() { p.inbound.update() }

// HasWayOut reports whether programs inside reach anything outside. They do
// not where this machine has no TUN devices for this user.
func (p *Port) HasWayOut() bool { return p.outbound != nil }

// HostPort is the port at the outside address for one inside: the same, or, if
// this process must not listen on that (ports below 1024 without privileges, or
// another program that listens on all addresses), Shifted of it. It is 0 if nothing
// listens there or the rules forbid it.
func (p *Port) HostPort(port uint16) uint16 { return p.inbound.hostPort(port) }

// Shifted is the port that stands for one that cannot be had: 22 becomes 8022, 80 8080.
func Shifted(port uint16) uint16 { return port + 8000 }

// Close ends all connections and gives the addresses back. Then the container
// may be closed.
func (p *Port) Close() {
	p.cancel()
	p.inbound.close()
	if p.outbound != nil {
		p.outbound.close()
	}
	p.wg.Wait()
	p.network.remove(p)
}
