package network

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A container is brought near: its addresses become this machine's own, on the loopback interface, as if a
// VPN led to its network. It takes CAP_NET_ADMIN. The kernel forgets the address
// soon after this process does, however it ends, since it is lent for a short
// time again and again; what listens there is bound to the interface, so that
// no other machine can come in.
const (
	lentFor   = 60 * time.Second
	lendAgain = 20 * time.Second
)

// hasIPv6 reports whether this machine's kernel has IPv6, and it is not disabled.
func hasIPv6() bool {
	off, err := os.ReadFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
	return err == nil && strings.TrimSpace(string(off)) == "0"
}

// bringNear makes this machine reach the container at an address inside, until
// ctx ends. It reports whether that could be done.
func (p *Port) bringNear(ctx context.Context, inside netip.Addr) bool {
	err := elsewhere(inside)
	if err == nil {
		err = lend(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, inside)
	}
	if err != nil {
		p.network.log("nothing on this machine reaches %s but its own containers: %v", inside, err)
		return false
	}
	p.wg.Go(func() {
		again := time.NewTicker(lendAgain)
		defer again.Stop()
		for {
			select {
			case <-again.C:
				if err := lend(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, inside); err != nil {
					p.network.log("keeping %s: %v", inside, err)
				}
			case <-ctx.Done():
				if err := lend(unix.RTM_DELADDR, 0, inside); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
					p.network.log("giving up %s: %v", inside, err)
				}
				return
			}
		}
	})
	return true
}

// elsewhere is an error if this machine has a route to the address other than
// the one to everywhere: a network of its own, of a Docker engine or a VPN, that
// the loopback interface must not hide.
func elsewhere(a netip.Addr) error {
	if a.Is6() {
		return elsewhere6(a)
	}
	data, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil // it has no IPv4
	}
	wanted := binary.NativeEndian.Uint32(a.AsSlice()) // as the file has it: the network's order read as this machine's
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		to, err1 := strconv.ParseUint(f[1], 16, 32)
		mask, err2 := strconv.ParseUint(f[7], 16, 32)
		if errors.Join(err1, err2) == nil && mask != 0 && uint64(wanted)&mask == to {
			return fmt.Errorf("it is in a network of this machine's own, that of %s", f[0])
		}
	}
	return nil
}

// elsewhere6 is elsewhere for IPv6.
func elsewhere6(a netip.Addr) error {
	data, err := os.ReadFile("/proc/net/ipv6_route")
	if err != nil {
		return err // it has no IPv6
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 10 || f[9] == "lo" {
			continue
		}
		to, err1 := hex.DecodeString(f[0])
		bits, err2 := strconv.ParseUint(f[1], 16, 8)
		first, ok := netip.AddrFromSlice(to)
		if errors.Join(err1, err2) == nil && ok && bits > 0 && netip.PrefixFrom(first, int(bits)).Contains(a) {
			return fmt.Errorf("it is in a network of this machine's own, that of %s", f[9])
		}
	}
	return nil
}

// lend adds an address to the loopback interface for a while, or removes it
// (rtnetlink(7)).
func lend(kind, flags uint16, address netip.Addr) error {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, lendRequest(kind, flags, uint32(lo.Index), address), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return err
	}
	messages, err := syscall.ParseNetlinkMessage(buf[:n])
	if err != nil || len(messages) == 0 || len(messages[0].Data) < 4 {
		return errors.Join(err, unix.EPROTO)
	}
	if code := -int32(binary.NativeEndian.Uint32(messages[0].Data)); code != 0 {
		return fmt.Errorf("giving this machine the address: %w", syscall.Errno(code))
	}
	return nil
}

func lendRequest(kind, flags uint16, index uint32, address netip.Addr) []byte {
	bits := uint8(address.BitLen())
	family := uint8(unix.AF_INET)
	if address.Is6() {
		family = unix.AF_INET6
	}
	var body []byte
	head := unix.IfAddrmsg{Family: family, Prefixlen: bits, Scope: unix.RT_SCOPE_HOST, Index: index}
	body = append(body, unsafe.Slice((*byte)(unsafe.Pointer(&head)), unsafe.Sizeof(head))...)
	attribute := func(kind uint16, value []byte) {
		body = binary.NativeEndian.AppendUint16(body, uint16(4+len(value)))
		body = binary.NativeEndian.AppendUint16(body, kind)
		body = append(body, value...)
	}
	attribute(unix.IFA_LOCAL, address.AsSlice())
	attribute(unix.IFA_ADDRESS, address.AsSlice())
	if kind == unix.RTM_NEWADDR {
		valid := uint32(lentFor.Seconds())
		preferred := valid
		if address.Is6() {
			preferred = 0 // or what this machine sends elsewhere might come from it
		}
		var life []byte // struct ifa_cacheinfo: preferred, valid, two that the kernel fills
		for _, seconds := range []uint32{preferred, valid, 0, 0} {
			life = binary.NativeEndian.AppendUint32(life, seconds)
		}
		attribute(unix.IFA_CACHEINFO, life)
	}
	message := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	message = append(message, make([]byte, 8)...) // sequence, port: the kernel's answer needs neither
	return append(message, body...)
}

// listenNear listens at an address that was brought near, for what comes from this machine.
func listenNear(at netip.AddrPort) (*net.TCPListener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "lo") }), err)
	}}
	l, err := config.Listen(context.Background(), "tcp", at.String())
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}
