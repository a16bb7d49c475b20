package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// mtu is as large as can be: nothing but memory lies between.
	mtu = 65520
	nic = 1
	// connectTime bounds a connection to the world.
	connectTime = 30 * time.Second
	// udpIdle is after how long a silence a UDP conversation is over.
	udpIdle = 60 * time.Second
)

// outbound is a container's way out. Its network stack is made when the first
// packet comes: many containers never send one.
type outbound struct {
	port   *Port
	device *os.File

	mu     sync.Mutex
	stack  *stack.Stack
	link   *channel.Endpoint
	conns  map[net.Conn]bool
	closed bool
	wg     sync.WaitGroup
}

// run takes in packets until the device is closed or ctx ends.
func (o *outbound) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = o.device.SetReadDeadline(time.Now()) })
	defer stop()
	buf := make([]byte, mtu)
	for {
		n, err := o.device.Read(buf)
		if err != nil {
			return
		}
		protocol := protocolOf(buf[:n])
		if protocol == 0 || protocol == header.IPv6ProtocolNumber && len(o.port.Inside6) == 0 {
			continue // IPv6 looks for routers, also where there is none
		}
		link := o.start(ctx)
		if link == nil {
			return
		}
		packet := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(append([]byte(nil), buf[:n]...))})
		link.InjectInbound(protocol, packet)
		packet.DecRef()
	}
}

// protocolOf is the network protocol of a packet; 0: none that is known.
func protocolOf(packet []byte) tcpip.NetworkProtocolNumber {
	switch {
	case len(packet) >= header.IPv4MinimumSize && packet[0]>>4 == 4:
		return header.IPv4ProtocolNumber
	case len(packet) >= header.IPv6MinimumSize && packet[0]>>4 == 6:
		return header.IPv6ProtocolNumber
	}
	return 0
}

// start returns the stack's side of the device, and makes the stack if need be.
func (o *outbound) start(ctx context.Context) *channel.Endpoint {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.link != nil || o.closed {
		return o.link
	}
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	link := channel.New(512, mtu, "")
	if err := s.CreateNIC(nic, link); err != nil {
		o.port.network.log("making the way out of %s: %v", o.port.Inside, err)
		return nil
	}
	// It stands for the whole world: it takes what is for any address, and answers as that.
	s.SetPromiscuousMode(nic, true)
	s.SetSpoofing(nic, true)
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	sack := tcpip.TCPSACKEnabled(true)
	s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(s, 0, 4096, o.tcp).HandlePacket)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(s, o.udp).HandlePacket)
	o.stack, o.link, o.conns = s, link, map[net.Conn]bool{}
	o.wg.Go(func() { o.send(ctx, link) })
	return link
}

// send writes what the stack answers.
func (o *outbound) send(ctx context.Context, link *channel.Endpoint) {
	for {
		packet := link.ReadContext(ctx)
		if packet == nil {
			return
		}
		view := packet.ToView()
		_, _ = o.device.Write(view.AsSlice()) // a network may lose packets
		view.Release()
		packet.DecRef()
	}
}

// tcp makes the connection that the container asks for. It is refused if the
// real one is.
func (o *outbound) tcp(r *tcp.ForwarderRequest) {
	to := netip.AddrPortFrom(address(r.ID().LocalAddress), r.ID().LocalPort)
	conn, err := o.dial("tcp", unix.SOCK_STREAM, to)
	if err != nil {
		r.Complete(true)
		return
	}
	var queue waiter.Queue
	end, terr := r.CreateEndpoint(&queue)
	if terr != nil {
		conn.Close()
		r.Complete(true)
		return
	}
	r.Complete(false)
	o.serve(gonet.NewTCPConn(&queue, end), conn)
}

func (o *outbound) serve(a stream, b net.Conn) {
	if !o.keep(a, b) {
		return
	}
	defer o.drop(a, b)
	relay(a, b.(stream))
}

// udp begins a conversation.
func (o *outbound) udp(r *udp.ForwarderRequest) {
	to := netip.AddrPortFrom(address(r.ID().LocalAddress), r.ID().LocalPort)
	var queue waiter.Queue
	end, err := r.CreateEndpoint(&queue) // before this returns, or the next packet would begin another one
	if err != nil {
		return
	}
	a := gonet.NewUDPConn(&queue, end)
	go func() {
		if to.Addr().String() == resolver && to.Port() == 53 {
			o.names(a)
			return
		}
		b, err := o.dial("udp", unix.SOCK_DGRAM, to)
		if err != nil {
			a.Close()
			return
		}
		if !o.keep(a, b) {
			return
		}
		defer o.drop(a, b)
		converse(a, b)
	}()
}

// converse moves datagrams both ways until both are silent.
func converse(a, b net.Conn) {
	var wg sync.WaitGroup
	for _, d := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			buf := make([]byte, 64<<10)
			for {
				_ = d[1].SetReadDeadline(time.Now().Add(udpIdle))
				n, err := d[1].Read(buf)
				if err != nil {
					// Silence in one direction only is no end; a broken one is.
					if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
						a.Close()
						b.Close()
					}
					return
				}
				if _, err := d[0].Write(buf[:n]); err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

// errForbidden is a connection that is not made.
var errForbidden = errors.New("there is no way to that address")

// dial connects to another container, or to the world.
func (o *outbound) dial(protocol string, kind int, to netip.AddrPort) (net.Conn, error) {
	p := o.port
	if p.AllowOut != nil && !p.AllowOut(to.Addr(), protocol, to.Port()) {
		return nil, errForbidden
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTime)
	defer cancel()
	if other := p.network.at(p.Group, to.Addr()); other != nil {
		from := p.Inside
		if to.Addr().Is6() && len(p.Inside6) > 0 {
			from = p.Inside6[0]
		}
		if !other.allows(from, protocol, to.Port()) {
			return nil, errForbidden
		}
		return other.dial(ctx, kind, to)
	}
	if to.Addr().String() == resolver && to.Port() == 53 {
		return dialServer(ctx, protocol)
	}
	if !to.Addr().IsGlobalUnicast() { // loopback, link-local (the metadata service), multicast
		return nil, errForbidden
	}
	var d net.Dialer
	return d.DialContext(ctx, protocol, net.JoinHostPort(to.Addr().String(), strconv.Itoa(int(to.Port()))))
}

func address(a tcpip.Address) netip.Addr {
	if a.Len() == header.IPv6AddressSize {
		return netip.AddrFrom16(a.As16())
	}
	return netip.AddrFrom4(a.As4())
}

func (o *outbound) keep(conns ...net.Conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range conns {
		if o.closed {
			c.Close()
			continue
		}
		o.conns[c] = true
	}
	return !o.closed
}

func (o *outbound) drop(conns ...net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(o.conns, c)
	}
}

// close ends all connections. The port's context has ended.
func (o *outbound) close() {
	o.mu.Lock()
	o.closed = true
	for c := range o.conns {
		c.Close()
	}
	s := o.stack
	o.mu.Unlock()
	o.wg.Wait()
	if s != nil {
		s.Destroy()
	}
}
