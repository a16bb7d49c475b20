package inside

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"bake/internal/rootfs/sys"
	"bake/internal/rootfs/wire"
)

// A network is the root's own; nil is this machine's.
type network struct{ fd int }

// newNetwork makes a network and its device, on a thread that is of no other
// use. There is no device, and no error, where TUN devices cannot be had.
func newNetwork(n *wire.Network) (*network, *os.File, error) {
	if n == nil {
		return nil, nil, nil
	}
	type result struct {
		lan    *network
		device *os.File
		err    error
	}
	c := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		lan, device, err := makeNetwork(n)
		c <- result{lan, device, err}
	}()
	r := <-c
	if r.err != nil {
		r.err = fmt.Errorf("making a network: %w", r.err)
	}
	return r.lan, r.device, r.err
}

func makeNetwork(n *wire.Network) (*network, *os.File, error) {
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		return nil, nil, err
	}
	fd, err := syscall.Open("/proc/thread-self/ns/net", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	control, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	defer syscall.Close(control)
	if err := setFlags(control, "lo", syscall.IFF_UP); err != nil {
		return nil, nil, fmt.Errorf("bringing up lo: %w", err)
	}
	device, err := tun(n.Interface)
	if err != nil {
		// Programs can still listen on the addresses.
		if err := setAddress(control, "lo:0", n.Address, [4]byte{255, 255, 255, 255}); err != nil {
			return nil, nil, err
		}
		return &network{fd}, nil, bringUp6("lo", n.Address6)
	}
	if err = bringUp(control, n); err == nil {
		err = bringUp6(n.Interface, n.Address6)
	}
	if err != nil {
		device.Close()
		return nil, nil, fmt.Errorf("setting up %s: %w", n.Interface, err)
	}
	return &network{fd}, device, nil
}

func bringUp(control int, n *wire.Network) error {
	if err := setAddress(control, n.Interface, n.Address, n.Mask); err != nil {
		return err
	}
	r := request(n.Interface)
	*(*int32)(unsafe.Pointer(&r[nameSize])) = n.MTU
	if err := sys.Ioctl(control, syscall.SIOCSIFMTU, unsafe.Pointer(&r)); err != nil {
		return err
	}
	if err := setFlags(control, n.Interface, syscall.IFF_UP); err != nil {
		return err
	}
	return defaultRoute(control, n.Interface)
}

// enter moves the calling thread into the network.
func (n *network) enter() error {
	if n == nil {
		return nil
	}
	if err := sys.Setns(n.fd, syscall.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering the root's network: %w", err)
	}
	return nil
}

// nameSize is where the value begins in a struct ifreq (netdevice(7)).
const nameSize = syscall.IFNAMSIZ

func request(name string) (r [40]byte) {
	copy(r[:nameSize-1], name)
	return r
}

// tun makes a TUN device: what is read from it is what the interface sends.
func tun(name string) (*os.File, error) {
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	const tunSetIff, iffTun, iffNoPI = 0x400454ca, 0x0001, 0x1000
	r := request(name)
	*(*uint16)(unsafe.Pointer(&r[nameSize])) = iffTun | iffNoPI
	if err := sys.Ioctl(fd, tunSetIff, unsafe.Pointer(&r)); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "tun"), nil
}

func setFlags(control int, name string, flags uint16) error {
	r := request(name)
	*(*uint16)(unsafe.Pointer(&r[nameSize])) = flags
	return sys.Ioctl(control, syscall.SIOCSIFFLAGS, unsafe.Pointer(&r))
}

func setAddress(control int, name string, address, mask [4]byte) error {
	r := request(name)
	*(*syscall.RawSockaddrInet4)(unsafe.Pointer(&r[nameSize])) = syscall.RawSockaddrInet4{Family: syscall.AF_INET, Addr: address}
	if err := sys.Ioctl(control, syscall.SIOCSIFADDR, unsafe.Pointer(&r)); err != nil {
		return err
	}
	(*syscall.RawSockaddrInet4)(unsafe.Pointer(&r[nameSize])).Addr = mask
	return sys.Ioctl(control, syscall.SIOCSIFNETMASK, unsafe.Pointer(&r))
}

// routeEntry is struct rtentry (route(7)).
type routeEntry struct {
	_                     uintptr
	dst, gateway, genmask syscall.RawSockaddrInet4
	flags                 uint16
	_                     int16
	_, _                  uintptr
	metric                int16
	dev                   *byte
	mtu, window           uintptr
	irtt                  uint16
}

func defaultRoute(control int, device string) error {
	name, err := syscall.BytePtrFromString(device)
	if err != nil {
		return err
	}
	any := syscall.RawSockaddrInet4{Family: syscall.AF_INET}
	r := routeEntry{dst: any, gateway: any, genmask: any, flags: syscall.RTF_UP, dev: name}
	return sys.Ioctl(control, syscall.SIOCADDRT, unsafe.Pointer(&r))
}

// socket makes a socket in the programs' network and sends it away.
func (s *server) socket(conn *wire.Conn, want [3]int) {
	var fd int
	var err error
	s.procs.onThread(func() { fd, err = syscall.Socket(want[0], want[1]|syscall.SOCK_CLOEXEC, want[2]) })
	if err != nil {
		conn.Send(reply(fmt.Errorf("making a socket: %w", err)))
		return
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	conn.Send(wire.Reply{}, f)
}

// shareNetwork sends the root's own network, for another root to enter.
func (s *server) shareNetwork(conn *wire.Conn) {
	if s.lan == nil {
		conn.Send(wire.Reply{Err: "the container shares this machine's network"})
		return
	}
	fd, err := syscall.Dup(s.lan.fd)
	if err != nil {
		conn.Send(reply(fmt.Errorf("sharing the network: %w", err)))
		return
	}
	f := os.NewFile(uintptr(fd), "network")
	defer f.Close()
	conn.Send(wire.Reply{}, f)
}
