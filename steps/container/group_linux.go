package container

import "syscall"

// group puts a command into a process group of its own; when bake is gone it
// is told to stop, so that it can still unmount and remove what it made.
func group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
