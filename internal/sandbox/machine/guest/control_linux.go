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
	Dir  string // where
	uid  uint32 // who did
}

// An answer is what a command prints, and its exit status.
type answer struct {
	Out, Err string
	Code     int
	Pass     bool   // it is not the machine's to do: the image's own program is to
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
	if do := m.volumeCommands()[cmd.Name]; do != nil {
		return do(cmd)
	}
	return answer{Err: fmt.Sprintf("%s: not a command of the machine\n", cmd.Name), Code: 1}
}

// volumeCommands are those that people use with volumes, and what does them for the machine's own.
func (m *machine) volumeCommands() map[string]func(command) answer {
	all := map[string]func(command) answer{
		"mount": m.mount, "umount": m.umount, "blkid": m.blkid, "lsblk": m.lsblk, "file": m.file, "wipefs": m.wipefs, "resize2fs": m.resize, "xfs_growfs": m.resize,
	}
	for _, name := range []string{"mkfs", "mke2fs", "mkfs.ext2", "mkfs.ext3", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs"} {
		all[name] = m.mkfs
	}
	return all
}

// ask is such a command: it has the machine's first program do it.
func ask(name string) func() error {
	return func() error {
		a, err := answered(name)
		if err != nil {
			return err
		}
		a.print()
		return nil
	}
}

// answered is what the machine's first program says to a command.
func answered(name string) (answer, error) {
	var a answer
	c, err := net.Dial("unix", controlSocket)
	if err != nil {
		return a, err
	}
	defer c.Close()
	dir, err := os.Getwd()
	if err != nil {
		dir = "/" // it was removed
	}
	if err := json.NewEncoder(c).Encode(command{Name: name, Args: os.Args[1:], Dir: dir}); err != nil {
		return a, err
	}
	return a, json.NewDecoder(c).Decode(&a)
}

// print does what the command would have done, and ends the process if that was to fail.
func (a answer) print() {
	_, _ = os.Stdout.WriteString(a.Out)
	_, _ = os.Stderr.WriteString(a.Err)
	if a.Code != 0 {
		os.Exit(a.Code)
	}
}

// askOr is ask for the verbs that are the machine's to do; for others it is the
// image's own program, which works on files.
func askOr(name string, real []string, ours func(args []string) bool) func() error {
	return func() error {
		if ours(os.Args[1:]) {
			return ask(name)()
		}
		return become(name, real, offline)
	}
}

// askFirst is ask for commands of which the machine's first program itself says
// whether they are its to do; those that are not the image's own program does.
func askFirst(name string) func() error {
	return func() error {
		if a, err := answered(name); err == nil && !a.Pass {
			a.print()
			return nil
		}
		var real []string
		for _, dir := range []string{"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"} {
			real = append(real, dir+name)
		}
		return become(name, real)
	}
}

// become is the first of some programs that is there.
func become(name string, real []string, env ...string) error {
	for _, path := range real {
		if err := syscall.Exec(path, append([]string{name}, os.Args[1:]...), append(os.Environ(), env...)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("%v is not the machine's to do, and the image has no %s of its own", os.Args[1:], name)
}
