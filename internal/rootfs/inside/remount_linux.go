package inside

import (
	"os"
	"syscall"

	"bake/internal/rootfs/sys"
	"bake/internal/rootfs/wire"
)

// mount puts a mount that bake made, or a directory of the root, at a
// directory. Programs of the root may not mount; this process may.
func mount(req *wire.Request, files []*os.File) error {
	if len(files) == 1 {
		return sys.MoveMount(int(files[0].Fd()), req.Path)
	}
	if len(req.Dirs) != 1 {
		return syscall.EINVAL
	}
	return syscall.Mount(req.Dirs[0], req.Path, "", syscall.MS_BIND, "")
}

func unmount(req *wire.Request) error {
	flags := 0
	if req.Lazy {
		flags = syscall.MNT_DETACH
	}
	return syscall.Unmount(req.Path, flags)
}
