package sshd

import (
	"os"
	"strconv"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// openTerminal makes the terminal that the peer asks for (RFC 4254, 6.2). Its
// modes are left as the kernel has them.
func (x *session) openTerminal(payload []byte) bool {
	var v struct {
		Term                    string
		Columns, Rows, Wide, Up uint32
		Modes                   string
	}
	if ssh.Unmarshal(payload, &v) != nil || x.master != nil {
		return false
	}
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	slave, err := slaveOf(master)
	if err != nil {
		master.Close()
		return false
	}
	_ = slave.Chown(int(x.who.uid), -1) // so that the user may open it by its name
	x.master, x.slave, x.term = master, slave, v.Term
	x.window(v.Columns, v.Rows)
	return true
}

// slaveOf opens the other end of a terminal. The calls go through the
// descriptor without making it a blocking one, as File.Fd would.
func slaveOf(master *os.File) (*os.File, error) {
	raw, err := master.SyscallConn()
	if err != nil {
		return nil, err
	}
	var n int
	var ierr error
	err = raw.Control(func(fd uintptr) {
		if ierr = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); ierr == nil {
			n, ierr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err == nil {
		err = ierr
	}
	if err != nil {
		return nil, err
	}
	return os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
}

func (x *session) resize(payload []byte) bool {
	var v struct{ Columns, Rows, Wide, Up uint32 }
	return ssh.Unmarshal(payload, &v) == nil && x.window(v.Columns, v.Rows)
}

func (x *session) window(columns, rows uint32) bool {
	if x.master == nil {
		return false
	}
	raw, err := x.master.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)}) // a hint
	})
	return err == nil
}

func (x *session) closeTerminal() {
	for _, f := range []*os.File{x.master, x.slave} {
		if f != nil {
			f.Close()
		}
	}
}
