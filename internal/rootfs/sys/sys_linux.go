// Package sys holds the Linux system calls that package syscall lacks. It uses
// the standard library only: the process inside a root must be ready before the
// program's larger dependencies are initialised (see package inside).
package sys

import (
	"strings"
	"syscall"
	"unsafe"
)

// Flags and numbers from the kernel's headers; the numbers above 400 are the same on every architecture.
const (
	atFdcwd           = -100
	AtSymlinkNofollow = 0x100
	atRecursive       = 0x8000
	atEmptyPath       = 0x1000
	OPath             = 0x200000
	ResolveInRoot     = 0x10 // openat2: links and ".." stay below the directory
	ResolveNoMagic    = 0x02

	fsopenCloexec            = 1
	FsconfigSetString        = 1
	FsconfigSetFlag          = 0
	FsconfigCreate           = 6
	moveMountFromEmpty       = 0x4
	mountAttrRdonly          = 1
	PrSetPdeathsig           = 1
	PrCapbsetDrop            = 24
	prSetName                = 15
	sysMoveMount             = 429
	sysFsopen                = 430
	sysFsconfig              = 431
	sysFsmount               = 432
	sysOpenat2               = 437
	sysMountSetattr          = 442
	utimeOmit          int64 = (1 << 30) - 2
)

func str(s string) (*byte, error) { return syscall.BytePtrFromString(s) }

func result(e syscall.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

// Openat2 opens path below dirfd as openat2(2) does. The descriptor is closed on exec.
func Openat2(dirfd int, path string, flags int, resolve uint64) (int, error) {
	p, err := str(path)
	if err != nil {
		return -1, err
	}
	how := struct{ flags, mode, resolve uint64 }{uint64(flags | syscall.O_CLOEXEC), 0, resolve}
	for {
		fd, _, e := syscall.Syscall6(sysOpenat2, uintptr(dirfd), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
		// EAGAIN: something on the way was renamed meanwhile; the kernel asks to try again.
		if e == syscall.EINTR || e == syscall.EAGAIN {
			continue
		}
		if e != 0 {
			return -1, e
		}
		return int(fd), nil
	}
}

// Symlinkat makes name in dirfd a symlink to target.
func Symlinkat(target string, dirfd int, name string) error {
	t, err := str(target)
	if err != nil {
		return err
	}
	n, err := str(name)
	if err != nil {
		return err
	}
	_, _, e := syscall.Syscall(syscall.SYS_SYMLINKAT, uintptr(unsafe.Pointer(t)), uintptr(dirfd), uintptr(unsafe.Pointer(n)))
	return result(e)
}

// Linkat makes a hard link; links are not followed.
func Linkat(olddir int, oldname string, newdir int, newname string) error {
	o, err := str(oldname)
	if err != nil {
		return err
	}
	n, err := str(newname)
	if err != nil {
		return err
	}
	_, _, e := syscall.Syscall6(syscall.SYS_LINKAT, uintptr(olddir), uintptr(unsafe.Pointer(o)), uintptr(newdir), uintptr(unsafe.Pointer(n)), 0, 0)
	return result(e)
}

// Utimensat sets the modification time of name in dirfd, not following a link.
func Utimensat(dirfd int, name string, sec int64, nsec int64) error {
	n, err := str(name)
	if err != nil {
		return err
	}
	ts := [2]syscall.Timespec{{Nsec: utimeOmit}, {Sec: sec, Nsec: nsec}}
	_, _, e := syscall.Syscall6(syscall.SYS_UTIMENSAT, uintptr(dirfd), uintptr(unsafe.Pointer(n)), uintptr(unsafe.Pointer(&ts)), AtSymlinkNofollow, 0, 0)
	return result(e)
}

// Fstatat is stat relative to dirfd, not following a link at the end.
func Fstatat(dirfd int, name string, st *syscall.Stat_t) error {
	fd, err := syscall.Openat(dirfd, name, OPath|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return syscall.Fstat(fd, st)
}

// Setxattr sets an extended attribute of path, not following a link.
func Setxattr(path, name string, value []byte) error {
	p, err := str(path)
	if err != nil {
		return err
	}
	n, err := str(name)
	if err != nil {
		return err
	}
	_, _, e := syscall.Syscall6(syscall.SYS_LSETXATTR, uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(n)), bytesPtr(value), uintptr(len(value)), 0, 0)
	return result(e)
}

// Xattrs returns the extended attributes of path, not following a link.
func Xattrs(path string) (map[string]string, error) {
	p, err := str(path)
	if err != nil {
		return nil, err
	}
	// The size that the call would tell beforehand is wrong on overlayfs.
	names := make([]byte, 256)
	n, _, e := syscall.Syscall(syscall.SYS_LLISTXATTR, uintptr(unsafe.Pointer(p)), bytesPtr(names), uintptr(len(names)))
	if e == syscall.ERANGE {
		names = make([]byte, 1<<16) // XATTR_LIST_MAX
		n, _, e = syscall.Syscall(syscall.SYS_LLISTXATTR, uintptr(unsafe.Pointer(p)), bytesPtr(names), uintptr(len(names)))
	}
	if e == syscall.ENOTSUP || e == 0 && n == 0 {
		return nil, nil
	}
	if e != 0 {
		return nil, e
	}
	all := map[string]string{}
	for _, name := range strings.Split(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		v, err := getxattr(p, name)
		if err == syscall.ENODATA {
			continue
		}
		if err != nil {
			return nil, err
		}
		all[name] = v
	}
	return all, nil
}

func getxattr(path *byte, name string) (string, error) {
	np, err := str(name)
	if err != nil {
		return "", err
	}
	buf := make([]byte, 256)
	for {
		n, _, e := syscall.Syscall6(syscall.SYS_LGETXATTR, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(np)), bytesPtr(buf), uintptr(len(buf)), 0, 0)
		if e == syscall.ERANGE && len(buf) < 1<<16 {
			buf = make([]byte, 1<<16) // XATTR_SIZE_MAX
			continue
		}
		if e != 0 {
			return "", e
		}
		return string(buf[:n]), nil
	}
}

func bytesPtr(b []byte) uintptr {
	if len(b) == 0 {
		return 0
	}
	return uintptr(unsafe.Pointer(&b[0]))
}

// Prctl calls prctl(option, arg) on the calling thread.
func Prctl(option int, arg uintptr) error {
	_, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, uintptr(option), arg, 0)
	return result(e)
}

// Ioctl calls ioctl(2) with a pointer.
func Ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	_, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	return result(e)
}

// Fsopen begins a new mount of a file system type; configure it with Fsconfig.
func Fsopen(fstype string) (int, error) {
	t, err := str(fstype)
	if err != nil {
		return -1, err
	}
	fd, _, e := syscall.Syscall(sysFsopen, uintptr(unsafe.Pointer(t)), fsopenCloexec, 0)
	return int(fd), result(e)
}

// Fsconfig sets one option of a mount in the making; value is not used by a flag.
func Fsconfig(fd int, cmd int, key, value string) error {
	var k, v *byte
	var err error
	if cmd != FsconfigCreate {
		if k, err = str(key); err != nil {
			return err
		}
	}
	if cmd == FsconfigSetString {
		if v, err = str(value); err != nil {
			return err
		}
	}
	_, _, e := syscall.Syscall6(sysFsconfig, uintptr(fd), uintptr(cmd), uintptr(unsafe.Pointer(k)), uintptr(unsafe.Pointer(v)), 0, 0)
	return result(e)
}

// Fsmount mounts what Fsopen and Fsconfig made at target.
func Fsmount(fd int, target string) error {
	mnt, _, e := syscall.Syscall(sysFsmount, uintptr(fd), fsopenCloexec, 0)
	if e != 0 {
		return e
	}
	defer syscall.Close(int(mnt))
	return MoveMount(int(mnt), target)
}

// MoveMount puts a mount that is nowhere, given by its descriptor, at target.
func MoveMount(mount int, target string) error {
	empty, _ := str("")
	t, err := str(target)
	if err != nil {
		return err
	}
	cwd := atFdcwd
	_, _, e := syscall.Syscall6(sysMoveMount, uintptr(mount), uintptr(unsafe.Pointer(empty)), uintptr(cwd), uintptr(unsafe.Pointer(t)), moveMountFromEmpty, 0)
	return result(e)
}

// ReadonlyTree makes the mount at path and all below it read-only.
func ReadonlyTree(path string) error {
	p, err := str(path)
	if err != nil {
		return err
	}
	attr := struct{ set, clear, propagation, userns uint64 }{set: mountAttrRdonly}
	cwd := atFdcwd
	_, _, e := syscall.Syscall6(sysMountSetattr, uintptr(cwd), uintptr(unsafe.Pointer(p)), atRecursive, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	return result(e)
}

// Mkdev returns a device number as the kernel and tar know it.
func Mkdev(major, minor uint32) int {
	return int(uint64(major&0xfff)<<8 | uint64(major&^0xfff)<<32 | uint64(minor&0xff) | uint64(minor&^0xff)<<12)
}

// Major and Minor take a device number apart.
func Major(dev uint64) uint32 { return uint32(dev>>8)&0xfff | uint32(dev>>32)&^0xfff }

// Minor is the other half of Major.
func Minor(dev uint64) uint32 { return uint32(dev)&0xff | uint32(dev>>12)&^0xff }
