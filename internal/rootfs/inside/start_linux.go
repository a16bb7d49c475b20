package inside

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"bake/internal/rootfs/sys"
	"bake/internal/rootfs/wire"
)

// The names that a process of ours has for itself, as its argv[0].
const (
	initName   = "bake-init"   // pid 1 of a root
	helperName = "bake-helper" // owner of a user namespace
	mappedName = "bake-mapped" // the helper, once its ids are mapped
)

// controlFD is where a process of ours finds its connection.
const controlFD = 3

func init() {
	if len(os.Args) == 0 {
		return
	}
	run := map[string]func(*wire.Conn) error{initName: serveRoot, helperName: awaitMapping, mappedName: serveHelper}[os.Args[0]]
	if run == nil {
		return
	}
	conn, err := wire.New(controlFD)
	if err == nil {
		err = run(conn)
	}
	if err != nil && !gone(err) {
		fmt.Fprintln(os.Stderr, os.Args[0]+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// gone reports whether an error says that bake has closed its end or died: this
// process then has nobody to serve, and nobody to tell. Reading shows it as the
// end, or as a reset if what this process had sent was not read; sending as a
// broken pipe.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

const namespaces = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS

// StartInit starts the init process of a root with control as its connection
// and returns its pid. It dies with the thread that calls, and when the other
// end of control is closed.
func StartInit(control *os.File) (int, error) {
	// It mostly waits, and a second processor is one more thread to start and to end.
	return start(initName, control, 1, &syscall.SysProcAttr{Cloneflags: namespaces})
}

// A Mapping is what a user namespace's ids are outside.
type Mapping struct {
	UIDs, GIDs []syscall.SysProcIDMap
	// Later: ids are mapped from outside, with newuidmap, when the process runs.
	Later bool
	// Setgroups: processes inside may change their supplementary groups.
	Setgroups bool
}

// StartHelper starts the process that owns a user namespace.
func StartHelper(control *os.File, m Mapping) (int, error) {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	if m.Later {
		return start(helperName, control, 2, attr)
	}
	attr.UidMappings, attr.GidMappings, attr.GidMappingsEnableSetgroups = m.UIDs, m.GIDs, m.Setgroups
	return start(mappedName, control, 2, attr)
}

func start(name string, control *os.File, processors int, attr *syscall.SysProcAttr) (int, error) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	attr.Setsid = true // the terminal's Ctrl-C is bake's to handle
	attr.Pdeathsig = syscall.SIGKILL
	files := []uintptr{null.Fd(), null.Fd(), 2, control.Fd()}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{name}, &syscall.ProcAttr{Dir: "/", Env: []string{"GOMAXPROCS=" + strconv.Itoa(processors), "GODEBUG=" + os.Getenv("GODEBUG")}, Files: files, Sys: attr})
	if err != nil {
		return 0, fmt.Errorf("starting %s: %w", name, err)
	}
	return pid, nil
}

// awaitMapping waits until this process's ids are mapped and then becomes the
// helper: only a program that is started by root, here of the namespace, gets
// root's capabilities.
func awaitMapping(conn *wire.Conn) error {
	if _, err := conn.Recv(&struct{}{}); err != nil {
		return err
	}
	if err := syscall.Setgid(0); err != nil {
		return fmt.Errorf("becoming group 0 of the user namespace: %w", err)
	}
	if err := syscall.Setuid(0); err != nil {
		return fmt.Errorf("becoming user 0 of the user namespace: %w", err)
	}
	if err := sys.Prctl(sys.PrSetPdeathsig, uintptr(syscall.SIGKILL)); err != nil {
		return err
	}
	// The descriptor must survive; everything else is closed on exec.
	if err := syscall.SetNonblock(controlFD, false); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", []string{mappedName}, os.Environ())
}
