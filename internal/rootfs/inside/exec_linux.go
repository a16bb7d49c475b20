package inside

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"bake/internal/rootfs/wire"
)

// defaultPath is what Docker gives a container whose image sets no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// exec runs one command. It replies when the command has started and when it
// has ended, and ends it when bake says so or is gone.
func (s *server) exec(conn *wire.Conn, x *wire.Exec, files []*os.File) {
	p, master, err := s.startCommand(x, files)
	if err != nil {
		conn.Send(reply(err))
		return
	}
	for _, f := range files {
		f.Close() // else the pipes of the command would never end
	}
	started := wire.Reply{Pid: p.pid}
	if master != nil {
		err = conn.Send(started, master)
		master.Close()
	} else {
		err = conn.Send(started)
	}
	kill := make(chan struct{})
	go func() {
		defer close(kill)
		for {
			var m wire.Kill
			if _, err := conn.Recv(&m); err != nil || m.Signal == 0 {
				return // the end of the connection is as good as the message
			}
			s.procs.signal(p, syscall.Signal(m.Signal))
		}
	}()
	if err == nil {
		select {
		case <-p.done:
			conn.Send(p.reply())
			return
		case <-kill:
		}
	}
	s.procs.kill(p)
	<-p.done
	conn.Send(p.reply())
}

func (s *server) startCommand(x *wire.Exec, files []*os.File) (*proc, *os.File, error) {
	who, err := lookUp(x.User)
	if err != nil {
		return nil, nil, err
	}
	if s.oneID && (who.uid != 0 || who.gid != 0) {
		return nil, nil, fmt.Errorf("user %q: this user may map no other user or group id than root's", x.User)
	}
	argv, env := texts(x.Argv), environment(texts(x.Env), who, x.TTY)
	if len(argv) == 0 {
		return nil, nil, errors.New("no command")
	}
	dir := x.Dir
	if dir == "" {
		dir = "/"
	}
	if st, err := os.Stat(dir); x.DirOptional && (err != nil || !st.IsDir()) {
		dir = "/"
	}
	path, err := findProgram(argv[0], env, dir)
	if err != nil {
		return nil, nil, err
	}
	attr := &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: who.uid, Gid: who.gid, Groups: who.groups, NoSetGroups: s.oneID}}
	var master, slave *os.File
	if x.TTY {
		if master, slave, err = openTerminal(x.Rows, x.Cols); err != nil {
			return nil, nil, err
		}
		defer slave.Close()
		slave.Chown(int(who.uid), -1) // so that the user may open /dev/tty by its name; without, only the descriptors work
		attr.Setctty = true
		for len(files) < 3 {
			files = append(files, nil)
		}
		files[0], files[1], files[2] = slave, slave, slave
	}
	fds := make([]uintptr, len(files))
	for i, f := range files {
		fds[i] = f.Fd()
	}
	p, err := s.procs.start(func() (int, error) {
		return syscall.ForkExec(path, argv, &syscall.ProcAttr{Dir: dir, Env: env, Files: fds, Sys: attr})
	})
	if err != nil {
		if master != nil {
			master.Close()
		}
		return nil, nil, explain(err, argv[0], dir)
	}
	return p, master, nil
}

// explain says what a failing exec was about, which the error number alone does not.
func explain(err error, program, dir string) error {
	if st, serr := os.Stat(dir); serr != nil || !st.IsDir() {
		return fmt.Errorf("working directory %s: %w", dir, syscall.ENOENT)
	}
	if err == syscall.ENOEXEC {
		return fmt.Errorf("running %s: %w (is it a program for another processor?)", program, err)
	}
	return fmt.Errorf("running %s: %w", program, err)
}

func texts(raw [][]byte) []string {
	all := make([]string, len(raw))
	for i, b := range raw {
		all[i] = string(b)
	}
	return all
}

func environment(env []string, who identity, tty bool) []string {
	set := func(name, value string) {
		for _, e := range env {
			if strings.HasPrefix(e, name+"=") {
				return
			}
		}
		env = append(env, name+"="+value)
	}
	set("PATH", defaultPath)
	set("HOME", who.home)
	if tty {
		set("TERM", "xterm")
	}
	return env
}

func findProgram(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	list := defaultPath
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			list = v
		}
	}
	for _, d := range strings.Split(list, ":") {
		if !strings.HasPrefix(d, "/") {
			d = dir + "/" + d
		}
		path := d + "/" + name
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("running %s: %w in PATH %s", name, os.ErrNotExist, list)
}

// openTerminal makes a pseudo-terminal of the root's own devpts.
func openTerminal(rows, cols uint16) (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/pts/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("opening a terminal: %w", err)
	}
	var unlock, n int32
	if err = ioctl(master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock)); err == nil {
		err = ioctl(master, syscall.TIOCGPTN, unsafe.Pointer(&n))
	}
	if err == nil && rows > 0 && cols > 0 {
		size := [4]uint16{rows, cols}
		err = ioctl(master, syscall.TIOCSWINSZ, unsafe.Pointer(&size))
	}
	if err == nil {
		slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(int(n)), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("opening a terminal: %w", err)
	}
	return master, slave, nil
}

func ioctl(f *os.File, req uintptr, arg unsafe.Pointer) error {
	_, _, e := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), req, uintptr(arg))
	if e != 0 {
		return e
	}
	return nil
}
