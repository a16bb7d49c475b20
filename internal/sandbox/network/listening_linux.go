package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers of sock_diag(7).
const (
	sockDiagByFamily = 20
	tcpListen        = 10
)

// diagRequest is struct inet_diag_req_v2.
type diagRequest struct {
	family, protocol, ext, _ uint8
	states                   uint32
	_                        [48]byte // which socket: any
}

// diagMessage is the beginning of struct inet_diag_msg.
type diagMessage struct {
	family, state, timer, retrans uint8
	sport, dport                  [2]byte
	src, dst                      [16]byte
}

// listening asks a socket of a network (NETLINK_SOCK_DIAG) which TCP ports
// programs there listen on, at an address or at all.
func listening(diag *os.File, at netip.Addr) (map[uint16]bool, error) {
	ports := map[uint16]bool{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if err := dump(int(diag.Fd()), family, func(m *diagMessage) {
			if m.state == tcpListen && hears(family, m.src, at) {
				ports[binary.BigEndian.Uint16(m.sport[:])] = true
			}
		}); err != nil {
			return nil, fmt.Errorf("listing sockets: %w", err)
		}
	}
	return ports, nil
}

// hears reports whether what listens at src takes what comes to at. A socket of
// all IPv6 addresses takes IPv4 too, as a rule.
func hears(family uint8, src [16]byte, at netip.Addr) bool {
	a := netip.AddrFrom16(src)
	if family == unix.AF_INET {
		a = netip.AddrFrom4([4]byte(src[:4]))
		if at.Is6() {
			return false
		}
	}
	return a.IsUnspecified() || a.Unmap() == at
}

// dump asks for all listening sockets of a family.
func dump(fd int, family uint8, each func(*diagMessage)) error {
	var request struct {
		unix.NlMsghdr
		diagRequest
	}
	request.NlMsghdr = unix.NlMsghdr{Len: uint32(unsafe.Sizeof(request)), Type: sockDiagByFamily, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP}
	request.diagRequest = diagRequest{family: family, protocol: unix.IPPROTO_TCP, states: 1 << tcpListen}
	if err := unix.Sendto(fd, unsafe.Slice((*byte)(unsafe.Pointer(&request)), unsafe.Sizeof(request)), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 32<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				if len(m.Data) >= 4 {
					return syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
				}
				return unix.EPROTO
			}
			if len(m.Data) >= int(unsafe.Sizeof(diagMessage{})) {
				each((*diagMessage)(unsafe.Pointer(&m.Data[0])))
			}
		}
	}
}
