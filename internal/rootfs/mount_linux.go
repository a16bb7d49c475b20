package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"bake/internal/rootfs/wire"
)

// An Overlay is layers that appear in a container that runs already. Paths
// that are not absolute are below Base.
type Overlay struct {
	Base string
	// Lower are the read-only layers, top first; there is at least one.
	Lower []string
	// Upper takes all that changes, Work is an empty directory beside it.
	Upper, Work string
	// Spot is a directory of this machine that the layers are mounted on for a
	// moment, where nobody else sees it.
	Spot     string
	ReadOnly bool
}

// ErrNoMounts says that a container without privileges takes no mounts once it runs.
var ErrNoMounts = errors.New("without root nothing can be mounted in a container that runs")

// Mount makes the overlay appear at a directory of the container, until
// Unmount, or until the container ends.
func (c *Container) Mount(ctx context.Context, o Overlay, target string) error {
	if os.Geteuid() != 0 {
		return ErrNoMounts
	}
	mount, err := o.detached()
	if err != nil {
		return fmt.Errorf("mounting the layers of %s: %w", target, err)
	}
	defer mount.Close()
	_, err = c.peer.askWith(ctx, wire.Request{Op: wire.OpMount, Path: target}, mount)
	return err
}

// Bind makes a directory of the container appear at another one of it too.
func (c *Container) Bind(ctx context.Context, from, to string) error {
	_, err := c.peer.ask(ctx, wire.Request{Op: wire.OpMount, Path: to, Dirs: []string{from}})
	return err
}

// Unmount takes away what Mount or Bind put at a directory. It is syscall.EBUSY
// in text if programs use it, unless it is done lazily: then it is gone for
// those that come.
func (c *Container) Unmount(ctx context.Context, target string, lazily bool) error {
	r := wire.Request{Op: wire.OpUnmount, Path: target, Lazy: lazily}
	_, err := c.peer.ask(ctx, r)
	return err
}

// detached mounts the layers where nobody sees it and returns the mount, which
// is gone with its last descriptor unless it is put somewhere. That takes a
// mount namespace of a thread's own: mount(2) has room for more layers than
// fsconfig(2) has on kernels before 6.7.
func (o Overlay) detached() (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	done := make(chan result, 1)
	onOwnThread(func() {
		f, err := o.mountApart()
		done <- result{f, err}
	})
	r := <-done
	return r.file, r.err
}

// onOwnThread has f run on a thread that ends with it. That cannot be the
// process's first, which Go keeps, and whose namespaces /proc shows as the process's.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done := make(chan struct{})
			go func() {
				defer close(done)
				runtime.LockOSThread() // another thread: the first is held
				f()
			}()
			<-done
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
}

func (o Overlay) mountApart() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return nil, err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, err
	}
	if err := unix.Chdir(o.Base); err != nil {
		return nil, err
	}
	data := "lowerdir=" + strings.Join(o.Lower, ":") + ",index=off,xino=off,redirect_dir=off,metacopy=off"
	flags := uintptr(0)
	if o.ReadOnly {
		flags = unix.MS_RDONLY
	}
	data += ",upperdir=" + o.Upper + ",workdir=" + o.Work
	err := unix.Mount("overlay", o.Spot, "overlay", flags, data+",volatile")
	if err == unix.EINVAL { // a kernel before 5.10
		err = unix.Mount("overlay", o.Spot, "overlay", flags, data)
	}
	if err != nil {
		return nil, err
	}
	spot := o.Spot
	if !filepath.IsAbs(spot) {
		spot = filepath.Join(o.Base, spot)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, spot, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "mount"), nil
}
