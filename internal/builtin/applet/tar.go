package applet

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	securejoin "github.com/cyphar/filepath-securejoin"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// A tarCommand is how tar was asked to work.
type tarCommand struct {
	c       *Call
	o       options
	dir     string // absolute
	strip   int
	exclude []string
	links   map[[2]uint64]string
}

func tarball(_ context.Context, c *Call) error {
	if len(c.Args) > 0 && !strings.HasPrefix(c.Args[0], "-") {
		c.Args[0] = "-" + c.Args[0] // tar xzf: the old style
	}
	o, err := c.parse("cxtzvf:C:pkOhmoaX:S:E:T:", map[string]byte{"create": 'c', "extract": 'x', "get": 'x', "list": 't', "gzip": 'z',
		"verbose": 'v', "file": 'f', "directory": 'C', "exclude": 'E', "strip-components": 'S', "preserve-permissions": 'p',
		"to-stdout": 'O', "no-same-owner": 'o', "dereference": 'h', "touch": 'm', "files-from": 'T'})
	if err != nil {
		return err
	}
	t := &tarCommand{c: c, o: o, dir: c.Path(o.get('C', ".")), exclude: o.all('E'), links: map[[2]uint64]string{}}
	if t.strip, err = strconv.Atoi(o.get('S', "0")); err != nil {
		return usagef("invalid number of elements '%s'", o.get('S', ""))
	}
	switch o.last("cxt") {
	case 'c':
		return t.create()
	case 'x', 't':
		return t.read()
	}
	return usagef("you must specify one of -c, -x, -t")
}

func (t *tarCommand) create() (err error) {
	out := t.c.Stdout
	name := t.o.get('f', "-")
	if name != "-" {
		f, err := os.Create(t.c.Path(name))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	if t.o.has("z") || t.o.has("a") && strings.HasSuffix(name, "gz") {
		gz := gzip.NewWriter(out)
		defer func() { err = errors.Join(err, gz.Close()) }()
		out = gz
	}
	tw := tar.NewWriter(out)
	names := t.o.rest
	if list := t.o.get('T', ""); list != "" {
		lines, err := t.c.allLines([]string{list})
		if err != nil {
			return err
		}
		names = append(names, lines...)
	}
	if len(names) == 0 {
		return usagef("cowardly refusing to create an empty archive")
	}
	for _, name := range names {
		if err := t.add(tw, name); err != nil {
			return err
		}
	}
	return tw.Close()
}

func (t *tarCommand) excluded(name string) bool {
	for _, pattern := range t.exclude {
		for part := name; part != "." && part != "/" && part != ""; part = path.Dir(part) {
			if ok, _ := path.Match(pattern, part); ok {
				return true
			}
			if ok, _ := path.Match(pattern, path.Base(part)); ok {
				return true
			}
		}
	}
	return false
}

func (t *tarCommand) add(tw *tar.Writer, name string) error {
	root := name
	if !filepath.IsAbs(name) {
		root = filepath.Join(t.dir, name)
	}
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		entry := strings.TrimSuffix(name, "/")
		if rel != "." {
			entry += "/" + rel
		}
		if t.excluded(entry) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return t.entry(tw, entry, p, info)
	})
}

func (t *tarCommand) entry(tw *tar.Writer, name, file string, info fs.FileInfo) error {
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if link, err = os.Readlink(file); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name = strings.TrimLeft(name, "/")
	if info.IsDir() {
		h.Name += "/"
	}
	st := info.Sys().(*syscall.Stat_t)
	h.Uname, h.Gname = userName(int(st.Uid)), groupName(int(st.Gid))
	if id := [2]uint64{uint64(st.Dev), st.Ino}; info.Mode().IsRegular() && st.Nlink > 1 {
		if first, ok := t.links[id]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else {
			t.links[id] = h.Name
		}
	}
	if t.o.has("v") {
		fmt.Fprintln(t.c.Stderr, h.Name)
	}
	if err := tw.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(tw, f)
	return err
}

// read lists or unpacks an archive, compressed with gzip or not.
func (t *tarCommand) read() error {
	in := t.c.Stdin
	if name := t.o.get('f', "-"); name != "-" {
		f, err := os.Open(t.c.Path(name))
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	buffered := bufio.NewReader(in)
	in = buffered
	if magic, _ := buffered.Peek(2); string(magic) == "\x1f\x8b" {
		gz, err := gzip.NewReader(buffered)
		if err != nil {
			return err
		}
		in = gz
	}
	tr := tar.NewReader(in)
	var dirs []*tar.Header
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if !t.wanted(h.Name) {
			continue
		}
		if t.o.has("t") {
			if err := t.list(h); err != nil {
				return err
			}
			continue
		}
		if err := t.unpack(tr, h); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		if h.Typeflag == tar.TypeDir {
			dirs = append(dirs, h)
		}
	}
	// Last, because filling a directory changes its time.
	for i := len(dirs) - 1; i >= 0; i-- {
		if err := t.setMeta(dirs[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *tarCommand) wanted(name string) bool {
	clean := path.Clean(name)
	if t.excluded(clean) {
		return false
	}
	if len(t.o.rest) == 0 {
		return true
	}
	for _, want := range t.o.rest {
		want = path.Clean(want)
		if clean == want || strings.HasPrefix(clean, want+"/") {
			return true
		}
	}
	return false
}

func (t *tarCommand) list(h *tar.Header) error {
	if !t.o.has("v") {
		return t.c.printf("%s\n", h.Name)
	}
	line := fmt.Sprintf("%s %s/%s %9d %s %s", modeString(uint32(h.Mode)|tarKind(h)), h.Uname, h.Gname, h.Size,
		h.ModTime.In(t.c.location()).Format("2006-01-02 15:04"), h.Name)
	switch h.Typeflag {
	case tar.TypeSymlink:
		line += " -> " + h.Linkname
	case tar.TypeLink:
		line += " link to " + h.Linkname
	}
	return t.c.printf("%s\n", line)
}

func tarKind(h *tar.Header) uint32 {
	switch h.Typeflag {
	case tar.TypeDir:
		return unix.S_IFDIR
	case tar.TypeSymlink:
		return unix.S_IFLNK
	case tar.TypeChar:
		return unix.S_IFCHR
	case tar.TypeBlock:
		return unix.S_IFBLK
	case tar.TypeFifo:
		return unix.S_IFIFO
	}
	return unix.S_IFREG
}

// target is where an entry goes, "" if stripping leaves nothing of it. No
// link that the archive brought, and no "..", leads out of the directory.
func (t *tarCommand) target(name string) (string, error) {
	parts := strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/")
	if len(parts) <= t.strip || parts[0] == "" {
		return "", nil
	}
	parts = parts[t.strip:]
	dir, err := securejoin.SecureJoin(t.dir, path.Join(parts[:len(parts)-1]...))
	return filepath.Join(dir, parts[len(parts)-1]), err
}

func (t *tarCommand) unpack(r io.Reader, h *tar.Header) error {
	if t.o.has("O") {
		_, err := io.Copy(t.c.Stdout, r)
		return err
	}
	to, err := t.target(h.Name)
	if err != nil || to == "" {
		return err
	}
	if t.o.has("v") {
		t.c.printf("%s\n", h.Name)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		if err := os.Mkdir(to, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		err = writeFile(to, r)
	case tar.TypeSymlink:
		err = os.Symlink(h.Linkname, to)
	case tar.TypeLink:
		from, targetErr := t.target(h.Linkname)
		if targetErr != nil {
			return targetErr
		}
		return os.Link(from, to)
	case tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		err = unix.Mknod(to, tarKind(h)|0o600, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
	default:
		return nil
	}
	if err != nil {
		return err
	}
	return t.setMeta(h)
}

func writeFile(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// setMeta gives an entry its owner (root only), mode and time.
func (t *tarCommand) setMeta(h *tar.Header) error {
	to, err := t.target(h.Name)
	if err != nil || to == "" {
		return err
	}
	if os.Geteuid() == 0 && !t.o.has("o") {
		if err := os.Lchown(to, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if h.Typeflag != tar.TypeSymlink {
		mode := uint32(h.Mode) & 0o7777
		if os.Geteuid() != 0 && !t.o.has("p") {
			mode &^= uint32(umask())
		}
		if err := unix.Chmod(to, mode); err != nil {
			return err
		}
	}
	if t.o.has("m") {
		return nil
	}
	ts := unix.NsecToTimespec(h.ModTime.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}
