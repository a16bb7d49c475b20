// Package rootfs runs commands in a root file system: in mount, PID, IPC and
// UTS namespaces of their own, over overlayfs or a plain directory, as root or,
// without privileges, in a user namespace. It knows nothing of images or
// builds. The network is this machine's, unless the container gets one of its own.
//
// A Host is this machine's ability to do that; Start boots a Container, whose
// pid 1 is a process of bake's own binary (package inside) that serves Run, Put
// and Get until Close. When bake dies, however it dies, that process dies, and
// with it every process and mount of the container.
//
// Commands run with Docker's default capabilities and may gain privileges
// through setuid programs. There are no cgroups and no seccomp filter: it
// keeps builds apart from the machine, it is not a sandbox for hostile programs.
package rootfs

import (
	"fmt"
	"io"
	"net/netip"

	"bake/internal/rootfs/tree"
)

// ErrUnsupported says that this operating system cannot run containers itself.
var ErrUnsupported error = unsupported{}

type unsupported struct{}

func (unsupported) Error() string { return "running commands in a root file system needs Linux" }

// Hint tells what works instead.
func (unsupported) Hint() string {
	return "start Docker and use --engine docker; the sandbox's machines and tasks need Linux too"
}

// A Config is what a container is made of. Paths that are not absolute are
// below Base; overlayfs has room for some 450 layers if they are short.
type Config struct {
	Base string
	// Lower are the read-only layers, top first. The last one should be a
	// Skeleton, so that mounts need not leave anything in Upper.
	Lower []string
	// Upper takes all that changes. Empty: Root is used as it is, and changes stay in it.
	Upper string
	// Work is an empty directory on the file system of Upper.
	Work string
	// Root is where the layers are mounted, seen by this container only; or
	// the root file system itself.
	Root     string
	Hostname string
	// Tmpfs are directories that are empty at the start and forgotten at the
	// end; one that the root does not have is left out.
	Tmpfs []Tmpfs
	Binds []Bind
	// ReadOnly: programs cannot change the root; binds that are not read-only they can.
	ReadOnly bool
	// Files appear in the container while it runs and leave nothing behind.
	Files []ExtraFile
	// Capabilities are numbers of capability(7) that root has inside besides Docker's default set.
	Capabilities []uint
	// Network is a network of the container's own; nil: it shares this machine's.
	Network *Network
	// Beside is a running container whose network this one shares, if it is not nil.
	Beside *Container
}

// A Network is one that nothing but the container is in, besides whoever reads
// and writes its device. The address is the loopback interface's too, so that
// it works without the device.
type Network struct {
	Interface string // name of the device, "eth0"
	Address   netip.Prefix
	// Address6 are IPv6 addresses that it has too; this machine must have IPv6.
	Address6 []netip.Addr
	MTU      int
}

// A Tmpfs is a directory in memory.
type Tmpfs struct {
	Path string
	Mode uint32 // permissions, as chmod(2) takes them
}

// A Bind is a file or directory of this machine that appears at To.
type Bind struct {
	From, To string
	ReadOnly bool
	Make     bool // To is made if it is missing; what lies on a Tmpfs leaves nothing behind
}

// An ExtraFile is a file that appears at Path, if there is one to cover.
type ExtraFile struct {
	Path string
	Data []byte
}

// A Process is a command to run in a container.
type Process struct {
	Argv []string
	// Script is passed as an open file; Argv gets its name as last argument.
	Script []byte
	Env    []string
	Dir    string // "" is "/"
	// DirOptional: "/" is as good if Dir does not exist.
	DirOptional bool
	User        string // "name", "uid", with ":group"; empty: root
	// Stdin nil means empty. A reader that never returns is left behind when the command ends.
	Stdin          io.Reader
	Stdout, Stderr io.Writer // nil: thrown away
	// TTY gives the command a terminal of Rows and Cols, its output goes to Stdout.
	TTY        bool
	Rows, Cols uint16
	// Started, if it is not nil, is called once the program runs.
	Started func()
	// Signals, if it is not nil, brings numbers of signals for the program
	// (and no other process of the container).
	Signals <-chan int
}

// An ExitError is a command that ran and did not end with status 0.
type ExitError struct {
	Code   int
	Signal int // what ended it, or 0
}

func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("killed by signal %d", e.Signal)
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// An Identity says which user and group ids containers have.
type Identity struct {
	// Rootless: containers live in a user namespace.
	Rootless bool
	// OneID: only one id is mapped, so changing owners fails.
	OneID bool
}

// Tree options, see package tree.
type Options = tree.Options

// A Feed calls its argument with every file of a tree.
type Feed func(tree.Func) error

// A NotPossibleError says that this machine does not let us make a container.
type NotPossibleError struct {
	Err  error
	hint string
}

func (e *NotPossibleError) Error() string { return "making a container: " + e.Err.Error() }

// Unwrap returns what the kernel said.
func (e *NotPossibleError) Unwrap() error { return e.Err }

// Hint says what to do about it.
func (e *NotPossibleError) Hint() string { return e.hint }
