package inside

import (
	"fmt"
	"syscall"
	"unsafe"

	"bake/internal/rootfs/sys"
)

// address6 is struct in6_ifreq (netdevice(7)).
type address6 struct {
	addr  [16]byte
	bits  uint32
	index int32
}

// routeEntry6 is struct in6_rtmsg.
type routeEntry6 struct {
	dst, src, gateway [16]byte
	kind              uint32
	dstBits, srcBits  uint16
	metric            uint32
	info              uintptr
	flags             uint32
	index             int32
}

// bringUp6 gives a device IPv6 addresses and, if it has any, the route to everywhere.
// The kernel does not look for others with the address: neither a TUN device
// nor the loopback interface has neighbours.
func bringUp6(device string, addresses [][16]byte) error {
	if len(addresses) == 0 {
		return nil
	}
	control, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(control)
	index := request(device)
	if err := sys.Ioctl(control, syscall.SIOCGIFINDEX, unsafe.Pointer(&index)); err != nil {
		return err
	}
	at := *(*int32)(unsafe.Pointer(&index[nameSize]))
	for _, a := range addresses {
		r := address6{addr: a, bits: 128, index: at}
		if err := sys.Ioctl(control, syscall.SIOCSIFADDR, unsafe.Pointer(&r)); err != nil {
			return fmt.Errorf("adding an IPv6 address: %w", err)
		}
	}
	if device == "lo" {
		return nil
	}
	r := routeEntry6{metric: 1, flags: syscall.RTF_UP, index: at}
	return sys.Ioctl(control, syscall.SIOCADDRT, unsafe.Pointer(&r))
}
