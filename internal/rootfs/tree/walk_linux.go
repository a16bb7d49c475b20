package tree

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"bake/internal/rootfs/sys"
)

// Walk calls fn with every file below dirs, sorted by name, a directory before
// what is in it and whiteouts before their siblings. Several directories are
// layers, top first, and are seen as one.
// Sockets are left out, as tar does.
func Walk(dirs []string, o Options, fn Func) error {
	w := &walker{o: o, fn: fn, links: map[inode]string{}}
	return w.dir(dirs, ".")
}

// WalkPath calls fn with the file at path and, if it is a directory, all below
// it; names begin with the last element of path.
func WalkPath(path string, o Options, fn Func) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return &os.PathError{Op: "read", Path: path, Err: err}
	}
	w := &walker{o: o, fn: fn, links: map[inode]string{}}
	_, name := split(strings.TrimRight(path, "/"))
	if name == "" {
		name = "."
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return w.file(path, name)
	}
	if err := w.emit(path+"/.", name, &st); err != nil {
		return err
	}
	return w.dir([]string{path}, name)
}

// Size adds up the disk space of all files below dir, in bytes.
func Size(dir string) (int64, error) { return sizer{}.dir(dir) }

// A sizer has seen files with several names.
type sizer map[inode]bool

func (s sizer) dir(path string) (int64, error) {
	size, err := s.file(path)
	if err != nil {
		return 0, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		add := s.file
		if e.IsDir() {
			add = s.dir
		}
		n, err := add(path + "/" + e.Name())
		if err != nil {
			return 0, err
		}
		size += n
	}
	return size, nil
}

func (s sizer) file(path string) (int64, error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	id := inode{uint64(st.Dev), st.Ino}
	if st.Nlink > 1 && st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		if s[id] {
			return 0, nil
		}
		s[id] = true
	}
	return st.Blocks * 512, nil
}

type inode struct {
	dev, ino uint64
}

type walker struct {
	o     Options
	fn    Func
	links map[inode]string // first path of files with several names
}

// child is one name in a directory, and the directories of all layers that it is merged from.
type child struct {
	name     string
	path     string
	whiteout bool
	opaque   bool // hides what layers below those walked have there
	merged   []string
}

// dir walks the contents of one directory; rel is its path in the tree.
func (w *walker) dir(dirs []string, rel string) error {
	children, err := w.children(dirs)
	if err != nil {
		return err
	}
	for _, c := range children {
		path := join(rel, c.name)
		if (c.whiteout || c.opaque) && !w.hides(path) {
			if c.opaque = false; c.whiteout {
				continue
			}
		}
		if c.whiteout {
			if err := w.fn(&Entry{Path: join(rel, whiteoutPrefix+c.name)}, nil); err != nil {
				return err
			}
			continue
		}
		if err := w.file(c.path, path); err != nil {
			return err
		}
		if len(c.merged) == 0 {
			continue
		}
		if c.opaque {
			if err := w.fn(&Entry{Path: join(path, whiteoutOpaque)}, nil); err != nil {
				return err
			}
		}
		if err := w.dir(c.merged, path); err != nil {
			return err
		}
	}
	return nil
}

// hides reports whether there is anything below the walked layers that a
// whiteout of path could hide.
func (w *walker) hides(path string) bool {
	if !w.o.Squash {
		return true
	}
	for _, dir := range w.o.Below {
		if _, err := os.Lstat(dir + "/" + path); err == nil {
			return true
		}
	}
	return false
}

// children merges the names of dirs, top first, as overlayfs would.
func (w *walker) children(dirs []string) ([]*child, error) {
	seen := map[string]*child{}
	ended := map[string]bool{} // nothing further below shows
	var all []*child
	for _, dir := range dirs {
		names, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, d := range names {
			name := d.Name()
			if ended[name] {
				continue
			}
			c := seen[name]
			if c == nil {
				c = &child{name: name, path: dir + "/" + name}
				seen[name] = c
				all = append(all, c)
			}
			if err := w.merge(c, dir+"/"+name, d, ended); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(all, func(a, b *child) int {
		if a.whiteout != b.whiteout {
			if a.whiteout {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.name, b.name)
	})
	return all, nil
}

func (w *walker) merge(c *child, path string, d fs.DirEntry, ended map[string]bool) error {
	if d.IsDir() {
		c.merged = append(c.merged, path)
		opaque, err := w.isOpaque(path)
		if opaque {
			c.opaque, ended[c.name] = true, true
		}
		return err
	}
	ended[c.name] = true
	hidden := len(c.merged) > 0 // by directories of the layers above
	if hidden {
		c.opaque = w.o.Layer
		return nil
	}
	if w.o.Layer && d.Type()&fs.ModeCharDevice != 0 {
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return &os.PathError{Op: "stat", Path: path, Err: err}
		}
		c.whiteout = st.Rdev == 0
	}
	return nil
}

func (w *walker) overlayPrefix() string {
	if w.o.UserXattr {
		return "user.overlay."
	}
	return "trusted.overlay."
}

func (w *walker) isOpaque(dir string) (bool, error) {
	if !w.o.Layer {
		return false, nil
	}
	attrs, err := sys.Xattrs(dir)
	return attrs[w.overlayPrefix()+"opaque"] == "y", err
}

func (w *walker) file(path, rel string) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return w.emit(path, rel, &st)
}

func (w *walker) emit(path, rel string, st *syscall.Stat_t) error {
	e := &Entry{Path: rel, Mode: fileMode(st.Mode), UID: int(st.Uid), GID: int(st.Gid), Sec: int64(st.Mtim.Sec), Nsec: int64(st.Mtim.Nsec)}
	if e.Mode&fs.ModeSocket != 0 {
		return nil
	}
	if st.Nlink > 1 && !e.Mode.IsDir() {
		id := inode{uint64(st.Dev), st.Ino}
		if first, ok := w.links[id]; ok {
			e.Link, e.Hard = first, true
			return w.fn(e, nil)
		}
		w.links[id] = rel
	}
	if err := w.attrs(path, e); err != nil {
		return err
	}
	switch e.Mode.Type() {
	case 0:
		e.Size = st.Size
		return w.content(path, e)
	case fs.ModeSymlink:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		e.Link = target
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		e.Major, e.Minor = sys.Major(uint64(st.Rdev)), sys.Minor(uint64(st.Rdev))
	}
	return w.fn(e, nil)
}

// attrs keeps what belongs to the file and not to this machine or to overlayfs.
func (w *walker) attrs(path string, e *Entry) error {
	all, err := sys.Xattrs(path)
	if err != nil {
		return fmt.Errorf("reading the attributes of %s: %w", path, err)
	}
	for name, value := range all {
		if !keepAttr(name) {
			continue
		}
		if e.Xattrs == nil {
			e.Xattrs = map[string]string{}
		}
		e.Xattrs[name] = value
	}
	return nil
}

// keepAttr reports whether an attribute is part of an image: those of a security
// module depend on the machine, trusted.* and user.overlay.* are overlayfs's own.
func keepAttr(name string) bool {
	switch {
	case strings.HasPrefix(name, "user.overlay."):
		return false
	case strings.HasPrefix(name, "user."):
		return true
	}
	return name == "security.capability" || name == "system.posix_acl_access" || name == "system.posix_acl_default"
}

func (w *walker) content(path string, e *Entry) error {
	if e.Size == 0 {
		return w.fn(e, strings.NewReader(""))
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return w.fn(e, io.LimitReader(f, e.Size))
}

func fileMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & syscall.S_IFMT {
	case syscall.S_IFBLK:
		mode |= fs.ModeDevice
	case syscall.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case syscall.S_IFDIR:
		mode |= fs.ModeDir
	case syscall.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case syscall.S_IFLNK:
		mode |= fs.ModeSymlink
	case syscall.S_IFSOCK:
		mode |= fs.ModeSocket
	}
	if m&syscall.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if m&syscall.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if m&syscall.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

func unixMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		mode |= syscall.S_ISUID
	}
	if m&fs.ModeSetgid != 0 {
		mode |= syscall.S_ISGID
	}
	if m&fs.ModeSticky != 0 {
		mode |= syscall.S_ISVTX
	}
	return mode
}
