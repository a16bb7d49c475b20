package sshtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bake/internal/need"
)

// A Link joins the machine's network to that of a server by two TUN devices
// and holds every packet for a while, since not every kernel has netem. It
// can lose all packets, as a dead peer does.
type Link struct {
	Near, Far string // addresses of its ends
	Delay     time.Duration
	lost      atomic.Bool

	t    testing.TB
	near int // descriptor of the TUN device here
	dev  string
	far  int
	stop chan struct{}
	wg   sync.WaitGroup
}

// Lose makes the link lose every packet from now on, or no more.
func (l *Link) Lose(lost bool) { l.lost.Store(lost) }

func newLink(t testing.TB, delay time.Duration) *Link {
	t.Helper()
	need.Tool(t, "ip")
	l := &Link{Delay: delay, t: t, near: -1, far: -1}
	network := freeNetwork(t)
	l.Near, l.Far = fmt.Sprintf("%s.1", network), fmt.Sprintf("%s.2", network)
	fd, dev, err := tun("bake%d")
	if err != nil {
		need.Missing(t, "no TUN device: %v", err)
	}
	l.near, l.dev = fd, dev
	t.Cleanup(func() { unix.Close(fd) })
	for _, args := range [][]string{{"addr", "add", l.Near + "/30", "dev", dev}, {"link", "set", dev, "up"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	return l
}

// enter puts the far end into the network of process pid.
func (l *Link) enter(pid int) error {
	got := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is of no use outside that network
		got <- l.make(pid)
	}()
	if err := <-got; err != nil {
		return err
	}
	l.stop = make(chan struct{})
	l.wg.Go(func() { l.carry(l.near, l.far) })
	l.wg.Go(func() { l.carry(l.far, l.near) })
	return nil
}

func (l *Link) make(pid int) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering the network of process %d: %w", pid, err)
	}
	l.far, _, err = tun("tun0")
	return err
}

// leave takes the far end down.
func (l *Link) leave() {
	if l.stop == nil {
		return
	}
	close(l.stop)
	l.wg.Wait()
	unix.Close(l.far)
	l.stop = nil
}

type packet struct {
	due  time.Time
	data []byte
}

// carry moves packets from one device to the other.
func (l *Link) carry(from, to int) {
	queue := make(chan packet, 100000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		for p := range queue {
			if d := time.Until(p.due); d > 0 {
				ts := unix.NsecToTimespec(int64(d)) // finer than Go's timers
				_ = unix.Nanosleep(&ts, nil)
			}
			_, _ = unix.Write(to, p.data) // a device that is down loses it
		}
	}()
	buf := make([]byte, 70000)
	poll := []unix.PollFd{{Fd: int32(from), Events: unix.POLLIN}}
	for {
		select {
		case <-l.stop:
			close(queue)
			<-done
			return
		default:
		}
		if n, err := unix.Poll(poll, 20); n <= 0 || err != nil {
			continue
		}
		n, err := unix.Read(from, buf)
		if err != nil || l.lost.Load() {
			continue
		}
		queue <- packet{time.Now().Add(l.Delay), append([]byte(nil), buf[:n]...)}
	}
}

// tun makes a TUN device in the thread's network and returns its name. Large
// segments pass it whole (virtio-net header).
func tun(name string) (fd int, dev string, err error) {
	fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, "", err
	}
	var request [40]byte // struct ifreq
	copy(request[:unix.IFNAMSIZ-1], name)
	*(*uint16)(unsafe.Pointer(&request[unix.IFNAMSIZ])) = unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&request))); e != 0 {
		unix.Close(fd)
		return -1, "", fmt.Errorf("making a TUN device: %w", e)
	}
	const checksumAndTSO = 1 | 2 | 4 // TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, checksumAndTSO); err != nil {
		unix.Close(fd)
		return -1, "", fmt.Errorf("setting up a TUN device: %w", err)
	}
	return fd, unix.ByteSliceToString(request[:unix.IFNAMSIZ]), nil
}

// freeNetwork returns the first three numbers of a network nobody here is in.
func freeNetwork(t testing.TB) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		network := fmt.Sprintf("10.213.%d", (os.Getpid()+i*7)%250)
		_, wanted, err := net.ParseCIDR(network + ".0/24")
		if err != nil {
			t.Fatal(err)
		}
		free := true
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && (wanted.Contains(n.IP) || n.Contains(wanted.IP)) {
				free = false
			}
		}
		if free {
			return network
		}
	}
	t.Fatal("no free network in 10.213.0.0/16")
	return ""
}
