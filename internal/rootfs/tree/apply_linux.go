package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"bake/internal/rootfs/sys"
)

// An Applier makes files below a directory. No name and no link, whether it
// was there before or comes with the entries, leads it out: every parent is
// opened with openat2(RESOLVE_IN_ROOT), and the last element is never followed.
type Applier struct {
	o      Options
	root   int
	prefix string
	parent int // descriptor of the directory dir, or -1
	dir    string
	times  []dirTime
	buf    []byte
}

// dirTime is set last: making files in a directory changes its time.
type dirTime struct {
	path      string
	sec, nsec int64
}

// NewApplier returns an Applier to the directory below inside root, which is
// made if need be. root itself must exist.
func NewApplier(root, below string, o Options) (*Applier, error) {
	prefix, err := clean(below)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", below, err)
	}
	fd, err := syscall.Open(root, sys.OPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: root, Err: err}
	}
	a := &Applier{o: o, root: fd, prefix: prefix, parent: -1, buf: make([]byte, 64<<10)}
	if _, err := a.open(prefix); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// Apply makes the file that e describes; it is a Func.
func (a *Applier) Apply(e *Entry, r io.Reader) error {
	if err := a.apply(e, r); err != nil {
		return fmt.Errorf("%s: %w", e.Path, err)
	}
	return nil
}

// Close sets the times of directories and releases the applier.
func (a *Applier) Close() error {
	var errs []error
	for i := len(a.times) - 1; i >= 0; i-- {
		d := a.times[i]
		dir, name := split(d.path)
		fd, err := a.open(dir)
		if err == nil {
			err = sys.Utimensat(fd, name, d.sec, d.nsec)
		}
		// A later entry may have replaced the directory.
		if err != nil && err != syscall.ENOENT {
			errs = append(errs, fmt.Errorf("%s: %w", d.path, err))
		}
	}
	a.times = nil
	a.forget()
	if a.root >= 0 {
		syscall.Close(a.root)
		a.root = -1
	}
	return errors.Join(errs...)
}

func (a *Applier) apply(e *Entry, r io.Reader) error {
	path, err := clean(e.Path)
	if err != nil {
		return err
	}
	path = join(a.prefix, path)
	if e.Path = path; path == "." || strings.HasSuffix(path, "/.") {
		return a.top(e)
	}
	dir, name := split(path)
	parent, err := a.open(dir)
	if err != nil {
		return err
	}
	if a.o.Layer && strings.HasPrefix(name, whiteoutPrefix) {
		return a.whiteout(parent, name)
	}
	made, err := a.clear(parent, name, e)
	if err != nil || made == present {
		return err
	}
	if e.Hard {
		return a.link(e, name)
	}
	ok, err := a.make(e, r, name, made)
	if err != nil || !ok {
		return err
	}
	return a.finish(e, a.parent, name)
}

// top gives the tree's own directory the attributes that the entry "." has.
func (a *Applier) top(e *Entry) error {
	if !e.Mode.IsDir() {
		return fmt.Errorf("%w: the top is not a directory", errUnsafe)
	}
	fd, err := a.open(strings.TrimSuffix(e.Path, "/."))
	if err != nil {
		return err
	}
	return a.finish(e, fd, ".")
}

// open returns the directory at path, made if need be. The descriptor is valid until the next call.
func (a *Applier) open(path string) (int, error) {
	if a.parent >= 0 && a.dir == path {
		return a.parent, nil
	}
	a.forget()
	fd, err := a.descend(path)
	if err != nil {
		return -1, err
	}
	a.parent, a.dir = fd, path
	return fd, nil
}

func (a *Applier) descend(path string) (int, error) {
	fd, err := sys.Openat2(a.root, path, sys.OPath|syscall.O_DIRECTORY, sys.ResolveInRoot|sys.ResolveNoMagic)
	if err != syscall.ENOENT || path == "." {
		return fd, wrap("opening directory", path, err)
	}
	dir, name := split(path)
	up, err := a.descend(dir)
	if err != nil {
		return -1, err
	}
	err = syscall.Mkdirat(up, name, 0o755)
	syscall.Close(up)
	if err != nil {
		return -1, wrap("making directory", path, err)
	}
	fd, err = sys.Openat2(a.root, path, sys.OPath|syscall.O_DIRECTORY, sys.ResolveInRoot|sys.ResolveNoMagic)
	return fd, wrap("opening directory", path, err)
}

func wrap(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}

func (a *Applier) forget() {
	if a.parent >= 0 {
		syscall.Close(a.parent)
	}
	a.parent = -1
}

// state is what is at an entry's name before it is made.
type state int

const (
	empty   state = iota // nothing, or something that was removed
	kept                 // a directory that stays
	hidden               // a whiteout was there: a directory made here hides those of lower layers
	present              // a link to a directory, which stands for the entry
)

func (a *Applier) clear(parent int, name string, e *Entry) (state, error) {
	var st syscall.Stat_t
	err := sys.Fstatat(parent, name, &st)
	if err == syscall.ENOENT {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	mode := st.Mode & syscall.S_IFMT
	if e.Mode.IsDir() && !e.Hard {
		if mode == syscall.S_IFDIR {
			return kept, nil
		}
		if mode == syscall.S_IFLNK && a.o.KeepLinks && a.isDir(e.Path) {
			return present, nil
		}
	}
	result := empty
	if a.o.Layer && mode == syscall.S_IFCHR && st.Rdev == 0 {
		result = hidden
	}
	a.forget() // what is removed may be, or lie above, the directory remembered
	if parent, err = a.open(e.dir()); err != nil {
		return empty, err
	}
	return result, a.remove(parent, name, mode == syscall.S_IFDIR)
}

func (e *Entry) dir() string { d, _ := split(e.Path); return d }

func (a *Applier) isDir(path string) bool {
	fd, err := sys.Openat2(a.root, path, sys.OPath|syscall.O_DIRECTORY, sys.ResolveInRoot|sys.ResolveNoMagic)
	if err != nil {
		return false
	}
	syscall.Close(fd)
	return true
}

// remove unlinks what is there. A directory goes with all it holds in a layer,
// where the later entry counts; elsewhere only if it is empty.
func (a *Applier) remove(parent int, name string, isDir bool) error {
	if !isDir {
		return syscall.Unlinkat(parent, name)
	}
	path := procPath(parent, name)
	if a.o.Layer {
		return os.RemoveAll(path)
	}
	return syscall.Rmdir(path)
}

func procPath(dirfd int, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(dirfd) + "/" + name
}

func (a *Applier) link(e *Entry, name string) error {
	target, err := clean(e.Link)
	if err != nil {
		return err
	}
	dir, base := split(join(a.prefix, target))
	if base == "." {
		return errUnsafe
	}
	fd, err := sys.Openat2(a.root, dir, sys.OPath|syscall.O_DIRECTORY, sys.ResolveInRoot|sys.ResolveNoMagic)
	if err != nil {
		return fmt.Errorf("hard link to %s: %w", e.Link, err)
	}
	defer syscall.Close(fd)
	parent, err := a.open(e.dir())
	if err != nil {
		return err
	}
	if err := sys.Linkat(fd, base, parent, name); err != nil {
		return fmt.Errorf("hard link to %s: %w", e.Link, err)
	}
	return nil
}

// make makes the file without its attributes; it reports whether there is one now.
func (a *Applier) make(e *Entry, r io.Reader, name string, was state) (bool, error) {
	parent, err := a.open(e.dir())
	if err != nil {
		return false, err
	}
	switch e.Mode.Type() {
	case 0:
		return true, a.regular(e, r, parent, name)
	case fs.ModeDir:
		if was == kept {
			return true, nil
		}
		err := syscall.Mkdirat(parent, name, 0o700)
		if err == nil && was == hidden {
			err = a.opaque(parent, name)
		}
		return true, err
	case fs.ModeSymlink:
		return true, sys.Symlinkat(e.Link, parent, name)
	case fs.ModeNamedPipe:
		return true, syscall.Mknodat(parent, name, syscall.S_IFIFO|0o600, 0)
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		return a.device(e, parent, name)
	}
	return false, fmt.Errorf("files of type %s are not supported", e.Mode.Type())
}

func (a *Applier) device(e *Entry, parent int, name string) (bool, error) {
	kind := uint32(syscall.S_IFBLK)
	if e.Mode&fs.ModeCharDevice != 0 {
		kind = syscall.S_IFCHR
	}
	if kind == syscall.S_IFCHR && e.Major == 0 && e.Minor == 0 {
		return false, fmt.Errorf("%w: a device that overlayfs takes for a whiteout", errUnsafe)
	}
	err := syscall.Mknodat(parent, name, kind|0o600, sys.Mkdev(e.Major, e.Minor))
	if err == syscall.EPERM && a.o.Lenient {
		return false, nil
	}
	return true, err
}

func (a *Applier) regular(e *Entry, r io.Reader, parent int, name string) error {
	fd, err := syscall.Openat(parent, name, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	if err := a.copy(f, r, e.Size); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// copy writes size bytes of r; blocks of zeros become holes.
func (a *Applier) copy(f *os.File, r io.Reader, size int64) error {
	hole := false
	for left := size; left > 0; {
		n, err := io.ReadFull(r, a.buf[:min(left, int64(len(a.buf)))])
		if err != nil {
			return fmt.Errorf("content ends early: %w", io.ErrUnexpectedEOF)
		}
		left -= int64(n)
		if hole = isZero(a.buf[:n]); hole {
			_, err = f.Seek(int64(n), io.SeekCurrent)
		} else {
			_, err = f.Write(a.buf[:n])
		}
		if err != nil {
			return err
		}
	}
	if hole {
		return f.Truncate(size)
	}
	return nil
}

func isZero(b []byte) bool {
	if len(b) < 4096 {
		return false
	}
	for len(b) >= 8 {
		if b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7] != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// finish sets owner, attributes, mode and time, in an order in which none undoes another.
func (a *Applier) finish(e *Entry, parent int, name string) error {
	const nofollow = sys.AtSymlinkNofollow
	if err := syscall.Fchownat(parent, name, e.UID, e.GID, nofollow); err != nil && !a.tolerates(err) {
		return fmt.Errorf("owner %d:%d: %w", e.UID, e.GID, err)
	}
	if e.Mode&fs.ModeSymlink == 0 {
		if err := syscall.Fchmodat(parent, name, unixMode(e.Mode), 0); err != nil {
			return fmt.Errorf("mode: %w", err)
		}
	}
	for attr, value := range e.Xattrs {
		if !keepAttr(attr) {
			continue
		}
		if err := sys.Setxattr(procPath(parent, name), attr, []byte(value)); err != nil && !a.tolerates(err) {
			return fmt.Errorf("attribute %s: %w", attr, err)
		}
	}
	if e.Mode.IsDir() {
		a.times = append(a.times, dirTime{e.Path, e.Sec, e.Nsec})
		return nil
	}
	return sys.Utimensat(parent, name, e.Sec, e.Nsec)
}

func (a *Applier) tolerates(err error) bool {
	return a.o.Lenient && (err == syscall.EPERM || err == syscall.EINVAL || err == syscall.ENOTSUP)
}

// whiteout hides a name of the layers below. It does not touch what this layer
// itself has there, whichever comes first.
func (a *Applier) whiteout(parent int, marker string) error {
	if marker == whiteoutOpaque {
		return a.opaque(parent, ".")
	}
	name := strings.TrimPrefix(marker, whiteoutPrefix)
	if strings.HasPrefix(name, whiteoutPrefix) {
		return nil // aufs's own bookkeeping
	}
	if name == "" || name == "." || name == ".." {
		return errUnsafe
	}
	err := syscall.Mknodat(parent, name, syscall.S_IFCHR, 0)
	if err != syscall.EEXIST {
		return err
	}
	var st syscall.Stat_t
	if err := sys.Fstatat(parent, name, &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return err
	}
	return a.opaque(parent, name)
}

func (a *Applier) opaque(parent int, name string) error {
	attr := "trusted.overlay.opaque"
	if a.o.UserXattr {
		attr = "user.overlay.opaque"
	}
	return sys.Setxattr(procPath(parent, name), attr, []byte("y"))
}
