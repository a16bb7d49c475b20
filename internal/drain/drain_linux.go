// Package drain reads what a command that has ended left in a pipe or a
// terminal, without waiting for processes it left behind: those may hold the
// other end open, and write, for ever.
package drain

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// heldByTerminal is more than Linux keeps of what was written to a terminal:
// 64 KiB on the way and 4 KiB to be read.
const heldByTerminal = 128 << 10

// File writes to w what was written to the other end of r until now. r is the
// reading end of a pipe or the master of a terminal, opened non-blocking; a
// deadline that ended its last Read is taken off. What w refuses is lost.
func File(w io.Writer, r *os.File) {
	_ = r.SetReadDeadline(time.Time{}) // a file without deadlines has none to take off
	raw, err := r.SyscallConn()
	if err != nil {
		return // it is closed
	}
	_ = raw.Read(func(fd uintptr) bool {
		read(w, int(fd))
		return true
	})
}

func read(w io.Writer, fd int) {
	// Of a terminal TIOCINQ tells only what has arrived, and what was written
	// comes by way of a work queue; a read waits for that queue first.
	left := heldByTerminal
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
		if left, err = unix.IoctlGetInt(fd, unix.TIOCINQ); err != nil {
			return
		}
	}
	buf := make([]byte, 32<<10)
	for left > 0 {
		n, err := unix.Read(fd, buf[:min(left, len(buf))])
		if err != nil || n == 0 {
			return // nothing more, or nobody writes any more
		}
		_, _ = w.Write(buf[:n])
		left -= n
	}
}
