package inside

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"bake/internal/rootfs/sys"
	"bake/internal/rootfs/wire"
)

// pageSize bounds the options of mount(2), the terminating zero included.
const pageSize = 4096

// enter mounts the root that s describes and makes it this process's root. It
// mounts nothing by a path before it is inside, where a link that the image
// has in the way cannot lead out.
func enter(s *wire.Setup) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := os.Chdir(s.Dir); err != nil {
		return err
	}
	if err := mountRoot(s); err != nil {
		return err
	}
	old, err := syscall.Open("/", sys.OPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening the old root: %w", err)
	}
	defer syscall.Close(old)
	if err := os.Chdir(s.Root); err != nil {
		return err
	}
	// The old root ends up stacked on the new one, which needs no directory in it.
	if err := syscall.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := mountInside(s, old); err != nil {
		return err
	}
	if err := syscall.Fchdir(old); err != nil {
		return fmt.Errorf("entering the old root: %w", err)
	}
	if err := syscall.Unmount(".", syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("detaching the old root: %w", err)
	}
	return os.Chdir("/")
}

func mountRoot(s *wire.Setup) error {
	if s.Upper == "" {
		if err := syscall.Mount(s.Root, s.Root, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", s.Root, err)
		}
		return nil
	}
	// volatile: what a step syncs need not reach the disk, and unmounting does
	// not wait for it; the store syncs what it keeps. redirect_dir, metacopy and
	// index would leave marks in the layer that only this machine understands.
	options := []string{"upperdir=" + s.Upper, "workdir=" + s.Work, "index=off", "xino=off"}
	if s.Userns {
		options = append(options, "userxattr") // it rules out the other two
	} else {
		options = append(options, "redirect_dir=off", "metacopy=off")
	}
	err := overlay(s, append(options, "volatile"))
	if err == syscall.EINVAL { // a kernel before 5.10
		err = overlay(s, options)
	}
	if err == nil {
		return nil
	}
	if err == syscall.EINVAL || err == syscall.ENOTSUP {
		return fmt.Errorf("mounting overlayfs on %s: %w (is it on a file system that overlayfs can write to? Another overlayfs and network file systems are not)", s.Dir, err)
	}
	return fmt.Errorf("mounting overlayfs on %s: %w", s.Dir, err)
}

func overlay(s *wire.Setup, options []string) error {
	data := "lowerdir=" + strings.Join(s.Lower, ":") + "," + strings.Join(options, ",")
	if len(data) < pageSize {
		return syscall.Mount("overlay", s.Root, "overlay", 0, data)
	}
	return overlayDeep(s, options)
}

// overlayDeep mounts more layers than mount(2) has room for, one by one
// (Linux 6.7 and later).
func overlayDeep(s *wire.Setup, options []string) error {
	fd, err := sys.Fsopen("overlay")
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	for _, dir := range s.Lower {
		if err := sys.Fsconfig(fd, sys.FsconfigSetString, "lowerdir+", dir); err != nil {
			return fmt.Errorf("%d layers: %w", len(s.Lower), err)
		}
	}
	for _, o := range options {
		cmd := sys.FsconfigSetFlag
		key, value, ok := strings.Cut(o, "=")
		if ok {
			cmd = sys.FsconfigSetString
		}
		if err := sys.Fsconfig(fd, cmd, key, value); err != nil {
			return err
		}
	}
	if err := sys.Fsconfig(fd, sys.FsconfigCreate, "", ""); err != nil {
		return err
	}
	return sys.Fsmount(fd, s.Root)
}

// mountInside mounts what every root has. old is the old root's descriptor.
func mountInside(s *wire.Setup, old int) error {
	if err := directory("/proc"); err != nil {
		return err
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := devices(s, old); err != nil {
		return err
	}
	if err := sysfs(s, old); err != nil {
		return err
	}
	if err := protectProc(); err != nil {
		return err
	}
	for _, t := range s.Tmpfs {
		if err := tmpfs(t); err != nil {
			return err
		}
	}
	for _, f := range s.Files {
		if err := file(f); err != nil {
			return err
		}
	}
	for _, b := range s.Binds {
		if b.Make {
			if err := makeSpot(old, b); err != nil {
				return err
			}
		}
		if err := bind(old, b.From, b.To, b.ReadOnly); err != nil {
			return err
		}
	}
	if s.ReadOnly { // the root alone: what is mounted below it stays as it is
		if err := syscall.Mount("", "/", "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("making the root read-only: %w", err)
		}
	}
	return nil
}

func tmpfs(t wire.Tmpfs) error {
	if directory(t.Path) != nil {
		return nil
	}
	options := "mode=" + strconv.FormatUint(uint64(t.Mode), 8)
	if err := syscall.Mount("tmpfs", t.Path, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, options); err != nil {
		return fmt.Errorf("mounting %s: %w", t.Path, err)
	}
	return nil
}

// makeSpot makes what b is mounted on, of the kind that b.From is.
func makeSpot(old int, b wire.Bind) error {
	var st syscall.Stat_t
	if err := sys.Fstatat(old, strings.TrimLeft(b.From, "/"), &st); err != nil {
		return fmt.Errorf("binding %s: %w", b.From, err)
	}
	dir := b.To
	if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		dir = b.To[:strings.LastIndexByte(b.To, '/')+1]
	}
	if err := os.MkdirAll(dir, 0o755); err != nil || dir == b.To {
		return err
	}
	f, err := os.OpenFile(b.To, os.O_CREATE|os.O_RDONLY, 0o755)
	if err != nil {
		return err
	}
	return f.Close()
}

// directory makes sure that a mount goes where its path says.
func directory(path string) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return fmt.Errorf("the image's %s: %w", path, err)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return fmt.Errorf("the image's %s is not a directory", path)
	}
	return nil
}

// bind mounts from, a path in the old root, on to.
func bind(old int, from, to string, readOnly bool) error {
	src, err := sys.Openat2(old, strings.TrimLeft(from, "/"), sys.OPath, 0)
	if err != nil {
		return fmt.Errorf("binding %s: %w", from, err)
	}
	defer syscall.Close(src)
	if err := syscall.Mount("/proc/self/fd/"+strconv.Itoa(src), to, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("binding %s to %s: %w", from, to, err)
	}
	if !readOnly {
		return nil
	}
	if err := sys.ReadonlyTree(to); err != nil {
		return fmt.Errorf("making %s read-only: %w", to, err)
	}
	return nil
}

// file mounts a file that is gone when the process is. Without anything to
// mount it on, the image is one that does not want it.
func file(f wire.File) error {
	const spot = "/dev/.bake"
	if err := os.WriteFile(spot, f.Data, 0o644); err != nil {
		return err
	}
	defer os.Remove(spot)
	err := syscall.Mount(spot, f.Path, "", syscall.MS_BIND, "")
	if err == nil || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return fmt.Errorf("mounting %s: %w", f.Path, err)
}

type device struct {
	name         string
	major, minor uint32
}

func devices(s *wire.Setup, old int) error {
	if err := directory("/dev"); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", "/dev", "tmpfs", syscall.MS_NOSUID|syscall.MS_STRICTATIME, "mode=755,size=65536k"); err != nil {
		return fmt.Errorf("mounting /dev: %w", err)
	}
	for _, d := range []device{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}} {
		if err := makeDevice(s, old, d); err != nil {
			return err
		}
	}
	for link, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"} {
		if err := os.Symlink(target, "/dev/"+link); err != nil {
			return err
		}
	}
	if err := os.Mkdir("/dev/pts", 0o755); err != nil {
		return err
	}
	options := "newinstance,ptmxmode=0666,mode=0620"
	if !s.OneID {
		options += ",gid=5" // tty, by convention in every distribution
	}
	if err := syscall.Mount("devpts", "/dev/pts", "devpts", syscall.MS_NOSUID|syscall.MS_NOEXEC, options); err != nil {
		return fmt.Errorf("mounting /dev/pts: %w", err)
	}
	if err := os.Mkdir("/dev/shm", 0o1777); err != nil {
		return err
	}
	if err := syscall.Mount("shm", "/dev/shm", "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, "mode=1777,size=65536k"); err != nil {
		return fmt.Errorf("mounting /dev/shm: %w", err)
	}
	return nil
}

func makeDevice(s *wire.Setup, old int, d device) error {
	path := "/dev/" + d.name
	if !s.Userns {
		err := syscall.Mknod(path, syscall.S_IFCHR|0o666, sys.Mkdev(d.major, d.minor))
		if err == nil {
			return os.Chmod(path, 0o666) // whatever umask bake was started with
		}
		if err != syscall.EPERM {
			return err
		}
	}
	fd, err := syscall.Open(path, syscall.O_CREAT|syscall.O_WRONLY|syscall.O_CLOEXEC, 0o666)
	if err != nil {
		return err
	}
	syscall.Close(fd)
	return bind(old, path, path, false)
}

// sysfs is there to be read. In a user namespace that has not its own network
// it cannot be mounted afresh, so this machine's is bound; where even that is
// not allowed the root goes without.
func sysfs(s *wire.Setup, old int) error {
	if directory("/sys") != nil {
		return nil
	}
	if !s.Userns {
		err := syscall.Mount("sysfs", "/sys", "sysfs", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC|syscall.MS_RDONLY, "")
		if err == nil {
			return nil
		}
	}
	err := bind(old, "/sys", "/sys", true)
	if err != nil {
		syscall.Unmount("/sys", syscall.MNT_DETACH)
	}
	return nil
}

// protectProc keeps root in the root from changing this machine through /proc,
// where many files ask for the user id only. The lists are Docker's.
func protectProc() error {
	for _, name := range []string{"bus", "fs", "irq", "sys", "sysrq-trigger"} {
		path := "/proc/" + name
		err := syscall.Mount(path, path, "", syscall.MS_BIND|syscall.MS_REC, "")
		if err == syscall.ENOENT {
			continue
		}
		if err == nil {
			err = syscall.Mount("", path, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY|syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, "")
		}
		if err != nil {
			return fmt.Errorf("protecting %s: %w", path, err)
		}
	}
	for _, name := range []string{"kcore", "keys", "timer_list", "latency_stats", "sched_debug"} {
		err := syscall.Mount("/dev/null", "/proc/"+name, "", syscall.MS_BIND, "")
		if err != nil && err != syscall.ENOENT {
			return fmt.Errorf("masking /proc/%s: %w", name, err)
		}
	}
	for _, name := range []string{"acpi", "scsi"} {
		err := syscall.Mount("tmpfs", "/proc/"+name, "tmpfs", syscall.MS_RDONLY, "")
		if err != nil && err != syscall.ENOENT {
			return fmt.Errorf("masking /proc/%s: %w", name, err)
		}
	}
	return nil
}
