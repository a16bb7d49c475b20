package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How often programs that begin or cease to listen are looked for: nobody
// tells. Soon after something changed, more is likely to change.
const (
	lively = 20 * time.Millisecond
	calm   = 100 * time.Millisecond
	// livelyFor is how long after a change it is lively.
	livelyFor = 3 * time.Second
)

// inbound is a container's way in.
type inbound struct {
	port *Port
	diag *os.File     // asks which sockets listen
	near []netip.Addr // those of the container's addresses that this machine has

	mu        sync.Mutex
	listeners map[uint16]*net.TCPListener         // by the port inside
	nearby    map[netip.AddrPort]*net.TCPListener // those at addresses that were brought near
	shifted   map[uint16]bool                     // those that have another port outside
	told      map[netip.AddrPort]bool             // those whose trouble was logged
	conns     map[net.Conn]bool
	changed   time.Time
	closed    bool
	wg        sync.WaitGroup
}

func newInbound(ctx context.Context, p *Port) (*inbound, error) {
	diag, err := p.container.Socket(ctx, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	return &inbound{port: p, diag: diag, listeners: map[uint16]*net.TCPListener{}, nearby: map[netip.AddrPort]*net.TCPListener{}, shifted: map[uint16]bool{}, told: map[netip.AddrPort]bool{},
		conns: map[net.Conn]bool{}, changed: time.Now()}, nil
}

// watch keeps the listeners as they should be, until ctx ends.
func (in *inbound) watch(ctx context.Context) {
	if !in.port.Outside.IsValid() {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		in.update()
		in.mu.Lock()
		wait := calm
		if time.Since(in.changed) < livelyFor {
			wait = lively
		}
		in.mu.Unlock()
		timer.Reset(wait)
	}
}

// update opens and closes listeners.
func (in *inbound) update() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed || !in.port.outside.IsValid() {
		return
	}
	ports, err := in.wanted(in.port.Inside)
	if err != nil {
		in.port.network.log("%v", err)
		return
	}
	for port := range ports {
		if in.listeners[port] == nil {
			in.open(port)
		}
	}
	for port, l := range in.listeners {
		if !ports[port] {
			l.Close()
			delete(in.listeners, port)
			delete(in.shifted, port)
			in.changed = time.Now()
		}
	}
	for _, at := range in.near {
		if at.Is6() {
			if ports, err = in.wanted(at); err != nil {
				in.port.network.log("%v", err)
				return
			}
		}
		in.updateNear(at, ports)
	}
}

// move gives the container another address outside.
func (in *inbound) move(outside netip.Addr) {
	in.mu.Lock()
	in.port.outside = outside
	for port, l := range in.listeners {
		l.Close()
		delete(in.listeners, port)
		delete(in.shifted, port)
	}
	in.mu.Unlock()
	in.update()
}

// wanted are the ports that programs listen on at an address of the container,
// and that the rules let this machine reach. The caller holds in.mu.
func (in *inbound) wanted(at netip.Addr) (map[uint16]bool, error) {
	ports, err := listening(in.diag, at)
	if err != nil {
		return nil, fmt.Errorf("looking for what listens in %s: %w", at, err)
	}
	others := in.port.outside
	if at.Is6() {
		others = at
	}
	for port := range ports {
		if !in.port.allows(here(at), "tcp", port) && !in.port.allows(others, "tcp", port) {
			delete(ports, port)
		}
	}
	return ports, nil
}

// here is where connections of this machine to an address come from, as a rule.
func here(to netip.Addr) netip.Addr {
	if to.Is6() {
		return netip.IPv6Loopback()
	}
	return loopback
}

// loopback is this machine's own address.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// updateNear opens and closes listeners at an address that was brought near.
// The caller holds in.mu.
func (in *inbound) updateNear(at netip.Addr, ports map[uint16]bool) {
	for port := range ports {
		place := netip.AddrPortFrom(at, port)
		if in.nearby[place] != nil {
			continue
		}
		l, err := listenNear(place)
		if err != nil {
			in.tell(place, "listening on %s: %v", place, err)
			continue
		}
		in.nearby[place] = l
		in.changed = time.Now()
		in.wg.Go(func() { in.accept(l, place) })
	}
	for place, l := range in.nearby {
		if place.Addr() == at && !ports[place.Port()] {
			l.Close()
			delete(in.nearby, place)
		}
	}
}

// open begins to listen for a port. The caller holds in.mu.
func (in *inbound) open(port uint16) {
	place := netip.AddrPortFrom(in.port.outside, port)
	l, err := in.listen(port)
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EADDRINUSE) {
		first := err
		if l, err = in.listen(Shifted(port)); err == nil {
			in.shifted[port] = true
			in.tell(place, "listening on %s port %d: %v; port %d stands for it", in.port.outside, port, first, Shifted(port))
		}
	}
	if err != nil {
		in.tell(place, "listening on %s port %d: %v", in.port.outside, port, err)
		return
	}
	in.listeners[port] = l
	in.changed = time.Now()
	in.wg.Go(func() { in.accept(l, netip.AddrPortFrom(in.port.Inside, port)) })
}

func (in *inbound) listen(port uint16) (*net.TCPListener, error) {
	return net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(in.port.outside, port)))
}

// tell logs trouble with a place once.
func (in *inbound) tell(place netip.AddrPort, format string, args ...any) {
	if !in.told[place] {
		in.told[place] = true
		in.port.network.log(format, args...)
	}
}

func (in *inbound) hostPort(port uint16) uint16 {
	in.update()
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.listeners[port] == nil:
		return 0
	case in.shifted[port]:
		return Shifted(port)
	}
	return port
}

// accept takes connections for a place inside, until the listener is closed.
func (in *inbound) accept(l *net.TCPListener, to netip.AddrPort) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return // closed
		}
		in.wg.Go(func() { in.connect(c, to) })
	}
}

// connect joins a connection from outside to the program that listens inside.
// One that the rules forbid by now, or that nobody takes, is reset.
func (in *inbound) connect(c *net.TCPConn, to netip.AddrPort) {
	peer, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	from := peer.Addr()
	if from == to.Addr() {
		from = here(from) // who connects to an address of its own comes from there
	}
	if !in.port.allows(from, "tcp", to.Port()) {
		reset(c)
		return
	}
	inside, err := in.port.dial(context.Background(), unix.SOCK_STREAM, to)
	if err != nil {
		reset(c)
		in.update()
		return
	}
	in.join(c, inside.(*net.TCPConn))
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	c.Close()
}

// join moves bytes both ways until both are done, or the port is closed.
func (in *inbound) join(a, b *net.TCPConn) {
	if !in.keep(a, b) {
		return
	}
	defer in.drop(a, b)
	relay(a, b)
}

// keep remembers connections, to be closed with the port.
func (in *inbound) keep(conns ...net.Conn) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, c := range conns {
		if in.closed {
			c.Close()
			continue
		}
		in.conns[c] = true
	}
	return !in.closed
}

func (in *inbound) drop(conns ...net.Conn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(in.conns, c)
	}
}

// A stream is a connection of which one direction can be ended.
type stream interface {
	net.Conn
	CloseWrite() error
}

// relay moves bytes both ways until both directions have ended.
func relay(a, b stream) {
	var wg sync.WaitGroup
	for _, d := range [][2]stream{{a, b}, {b, a}} {
		wg.Go(func() {
			_, err := io.Copy(d[0], d[1]) // on Linux the kernel moves them, between two TCP connections
			_ = d[0].CloseWrite()
			if err != nil { // a connection that broke takes the other along
				a.Close()
				b.Close()
			}
		})
	}
	wg.Wait()
}

// dialTime bounds a connection inside; it takes longer than a moment only if
// the program does not accept.
const dialTime = 10 * time.Second

// dial connects to a program inside, at one of the container's addresses.
func (p *Port) dial(ctx context.Context, kind int, to netip.AddrPort) (net.Conn, error) {
	family, place := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(to.Port())})
	if to.Addr().Is6() {
		family, place = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	} else {
		place.(*unix.SockaddrInet4).Addr = to.Addr().As4()
	}
	f, err := p.container.Socket(ctx, family, kind, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fd := int(f.Fd())
	limit := unix.NsecToTimeval(int64(dialTime))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, place); err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", to, err)
	}
	return net.FileConn(f)
}

func (in *inbound) close() {
	in.mu.Lock()
	in.closed = true
	for _, l := range in.listeners {
		l.Close()
	}
	for _, l := range in.nearby {
		l.Close()
	}
	for c := range in.conns {
		c.Close()
	}
	in.diag.Close()
	in.mu.Unlock()
	in.wg.Wait()
}
