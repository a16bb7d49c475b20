package ssh

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// tuneTCP makes the kernel notice a peer that does not acknowledge.
func tuneTCP(c *net.TCPConn, deadAfter time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
	})
}

// quick acknowledges at once what arrives. OpenSSH's server keeps Nagle's
// algorithm on until the first command: our delayed acknowledgement would hold
// back each of its answers for 40 ms. The kernel forgets the setting, so it is
// renewed with every read.
type quick struct{ *net.TCPConn }

func quickACK(c *net.TCPConn) net.Conn { return quick{c} }

func (q quick) Read(p []byte) (int, error) {
	if raw, err := q.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
	}
	return q.TCPConn.Read(p)
}
