package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// controlSocket is where the machine's first program takes the commands that
// its other faces (shutdown, systemctl...) are asked for.
const controlSocket = RunDir + "/control"

// A command is what somebody in the machine typed.
type command struct {
	Name string
	Args []string
	uid  uint32 // who did
}

// An answer is what a command prints, and its exit status.
type answer struct {
	Out, Err string
	Code     int
	then     func() // done when the answer is on its way
}

// control takes commands until the machine is down.
func (m *machine) control() error {
	if err := os.Remove(controlSocket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", controlSocket)
	if err != nil {
		return err
	}
	if err := os.Chmod(controlSocket, 0o666); err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go m.take(c)
		}
	}()
	return nil
}

func (m *machine) take(c net.Conn) {
	defer c.Close()
	var cmd command
	if json.NewDecoder(c).Decode(&cmd) != nil {
		return
	}
	cmd.uid = peer(c)
	a := m.obey(cmd)
	_ = json.NewEncoder(c).Encode(a) // who asked may be gone
	c.Close()
	if a.then != nil {
		a.then()
	}
}

// peer is the user at the other end of a connection; nobody if it cannot be told.
func peer(c net.Conn) uint32 {
	uid := uint32(65534)
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return uid
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = cred.Uid
		}
	})
	return uid
}

func (m *machine) obey(cmd command) answer {
	switch cmd.Name {
	case "shutdown", "reboot", "poweroff", "halt":
		if cmd.uid != 0 {
			return answer{Err: cmd.Name + ": must be superuser.\n", Code: 1}
		}
		return m.power(cmd)
	case "systemctl":
		return m.systemctl(cmd)
	case "cloud-init":
		return m.cloudInit(cmd)
	}
	return answer{Err: fmt.Sprintf("%s: not a command of the machine\n", cmd.Name), Code: 1}
}

// ask is such a command: it has the machine's first program do it.
func ask(name string) func() error {
	return func() error {
		c, err := net.Dial("unix", controlSocket)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := json.NewEncoder(c).Encode(command{Name: name, Args: os.Args[1:]}); err != nil {
			return err
		}
		var a answer
		if err := json.NewDecoder(c).Decode(&a); err != nil {
			return err
		}
		_, _ = os.Stdout.WriteString(a.Out)
		_, _ = os.Stderr.WriteString(a.Err)
		if a.Code != 0 {
			os.Exit(a.Code)
		}
		return nil
	}
}

// askOr is ask for the verbs that are the machine's to do; for others it is the
// image's own program, which works on files.
func askOr(name string, real []string, ours func(args []string) bool) func() error {
	return func() error {
		if ours(os.Args[1:]) {
			return ask(name)()
		}
		for _, path := range real {
			if err := syscall.Exec(path, append([]string{name}, os.Args[1:]...), append(os.Environ(), offline)); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return fmt.Errorf("%v: not possible in this machine", os.Args[1:])
	}
}
