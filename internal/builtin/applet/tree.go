package applet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A copier copies files as cp and mv do.
type copier struct {
	recursive, force, preserve, keepLinks, links, noClobber, update bool
	verbose                                                         io.Writer
}

var errIsDirectory = errors.New("is a directory")

func cp(_ context.Context, c *Call) error {
	o, err := c.parse("aRrfpPdLHinuvTt:l", map[string]byte{"archive": 'a', "recursive": 'r', "force": 'f',
		"no-dereference": 'P', "dereference": 'L', "no-clobber": 'n', "verbose": 'v',
		"no-target-directory": 'T', "target-directory": 't', "preserve": 'p'})
	if err != nil {
		return err
	}
	k := copier{recursive: o.has("aRr"), force: o.has("f"), preserve: o.has("ap"), links: o.has("l"),
		noClobber: o.has("n"), update: o.has("u")}
	// cp -R copies links as links; what stands on the command line is followed without -a, -d or -P.
	k.keepLinks = o.has("aPd") && o.last("aPdLH") != 'L'
	if o.has("v") {
		k.verbose = c.Stdout
	}
	return c.eachTarget(o, func(from, to string) error { return k.copy(from, to, true) })
}

// eachTarget calls do with each source and where it is to go.
func (c *Call) eachTarget(o options, do func(from, to string) error) error {
	from, target := o.rest, o.get('t', "")
	if target == "" {
		if len(from) < 2 {
			return usagef("missing operand")
		}
		target, from = from[len(from)-1], from[:len(from)-1]
	}
	info, err := os.Stat(c.Path(target))
	into := err == nil && info.IsDir() && !o.has("T")
	if !into && (len(from) > 1 || o.get('t', "") != "") {
		return fmt.Errorf("%s: not a directory", target)
	}
	for _, f := range from {
		to := target
		if into {
			to = filepath.Join(target, filepath.Base(f))
		}
		if err := do(c.Path(f), c.Path(to)); err != nil {
			c.Warn(err)
		}
	}
	return nil
}

func (k copier) copy(from, to string, operand bool) error {
	stat := os.Lstat
	if operand && !k.keepLinks && !k.recursive || !operand && !k.recursive {
		stat = os.Stat
	}
	info, err := stat(from)
	if err != nil {
		return err
	}
	if old, err := os.Lstat(to); err == nil {
		if k.noClobber || k.update && !info.ModTime().After(old.ModTime()) && !info.IsDir() {
			return nil
		}
		if same, err := os.Stat(to); err == nil && os.SameFile(info, same) {
			return fmt.Errorf("'%s' and '%s' are the same file", from, to)
		}
	}
	if err := k.one(from, to, info); err != nil {
		return err
	}
	if k.verbose != nil {
		fmt.Fprintf(k.verbose, "'%s' -> '%s'\n", from, to)
	}
	if k.preserve {
		return copyMeta(to, info)
	}
	return nil
}

func (k copier) one(from, to string, info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsDir():
		if !k.recursive {
			return fmt.Errorf("%s: %w (not copied)", from, errIsDirectory)
		}
		return k.dir(from, to, info)
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.Symlink(target, to)
	case mode.IsRegular() && k.links:
		return os.Link(from, to)
	case mode.IsRegular():
		return k.file(from, to, info)
	default:
		st := info.Sys().(*syscall.Stat_t)
		return unix.Mknod(to, uint32(st.Mode), int(st.Rdev))
	}
}

func (k copier) dir(from, to string, info fs.FileInfo) error {
	if rel, err := filepath.Rel(from, to); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return fmt.Errorf("cannot copy %s into itself", from)
	}
	// Writable while it is filled, whatever the original is.
	err := os.Mkdir(to, info.Mode().Perm()|0o700)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, k.copy(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()), false))
	}
	if made && info.Mode().Perm()&0o700 != 0o700 {
		errs = append(errs, os.Chmod(to, info.Mode().Perm()))
	}
	return errors.Join(errs...)
}

func (k copier) file(from, to string, info fs.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	// An existing file keeps its mode and owner; a new one gets ours under the umask.
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil && k.force && os.Remove(to) == nil {
		out, err = os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	}
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// copyMeta gives a file the owner, mode and times of another. An owner that
// may not be given away is left as it is, as cp -p does.
func copyMeta(to string, info fs.FileInfo) error {
	st := info.Sys().(*syscall.Stat_t)
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	times := timesOf(st)
	if info.Mode()&fs.ModeSymlink == 0 {
		if err := unix.Chmod(to, uint32(st.Mode)&0o7777); err != nil {
			return &fs.PathError{Op: "chmod", Path: to, Err: err}
		}
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, to, times, unix.AT_SYMLINK_NOFOLLOW)
}

func mv(_ context.Context, c *Call) error {
	o, err := c.parse("finuvTt:", map[string]byte{"force": 'f', "no-clobber": 'n', "update": 'u', "verbose": 'v',
		"no-target-directory": 'T', "target-directory": 't'})
	if err != nil {
		return err
	}
	return c.eachTarget(o, func(from, to string) error {
		info, err := os.Lstat(from)
		if err != nil {
			return err
		}
		old, err := os.Lstat(to)
		if err == nil && (o.has("n") || o.has("u") && !info.ModTime().After(old.ModTime())) {
			return nil
		}
		if err == nil && old.IsDir() && !info.IsDir() {
			return fmt.Errorf("%s: %w", to, errIsDirectory)
		}
		err = os.Rename(from, to)
		if errors.Is(err, syscall.EXDEV) {
			k := copier{recursive: true, preserve: true, keepLinks: true, force: true}
			if err = k.copy(from, to, true); err == nil {
				err = os.RemoveAll(from)
			}
		}
		if err == nil && o.has("v") {
			return c.printf("renamed '%s' -> '%s'\n", from, to)
		}
		return err
	})
}

func rm(_ context.Context, c *Call) error {
	o, err := c.parse("rRfivd", map[string]byte{"recursive": 'r', "force": 'f', "verbose": 'v', "dir": 'd'})
	if err != nil {
		return err
	}
	if len(o.rest) == 0 && !o.has("f") {
		return usagef("missing operand")
	}
	for _, name := range o.rest {
		path := strings.TrimRight(c.Path(name), "/")
		if base := filepath.Base(name); path == "" || base == "." || base == ".." {
			c.Warn(fmt.Errorf("refusing to remove '%s'", name))
			continue
		}
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && o.has("f"):
			continue
		case err == nil && info.IsDir() && o.has("rR"):
			err = os.RemoveAll(path)
		case err == nil && info.IsDir() && !o.has("d"):
			err = fmt.Errorf("%s: %w", name, errIsDirectory)
		case err == nil:
			err = os.Remove(path)
		}
		if err != nil {
			c.Warn(relabel(err, name))
		} else if o.has("v") {
			c.printf("removed '%s'\n", name)
		}
	}
	return nil
}

func rmdir(_ context.Context, c *Call) error {
	o, err := c.parse("pv", map[string]byte{"parents": 'p'})
	if err != nil {
		return err
	}
	if len(o.rest) == 0 {
		return usagef("missing operand")
	}
	for _, name := range o.rest {
		for dir := name; ; dir = filepath.Dir(dir) {
			if err := unix.Rmdir(c.Path(dir)); err != nil {
				c.Warn(&fs.PathError{Op: "rmdir", Path: dir, Err: err})
				break
			}
			if parent := filepath.Dir(dir); !o.has("p") || parent == "." || parent == "/" {
				break
			}
		}
	}
	return nil
}

func ln(_ context.Context, c *Call) error {
	o, err := c.parse("sfnvTrt:", map[string]byte{"symbolic": 's', "force": 'f', "no-dereference": 'n',
		"verbose": 'v', "no-target-directory": 'T', "relative": 'r', "target-directory": 't'})
	if err != nil {
		return err
	}
	if len(o.rest) == 1 && !o.has("t") {
		o.rest = append(o.rest, ".")
	}
	if n := len(o.rest); n > 0 && o.has("n") {
		if info, err := os.Lstat(c.Path(o.rest[n-1])); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			o.seen = append(o.seen, option{letter: 'T'})
		}
	}
	// What a symbolic link says is text: it is not made absolute as paths are.
	said := map[string]string{}
	for _, name := range o.rest {
		said[c.Path(name)] = name
	}
	return c.eachTarget(o, func(from, to string) error {
		if o.has("f") {
			if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		switch {
		case o.has("s") && o.has("r"):
			rel, err := filepath.Rel(filepath.Dir(to), from)
			if err != nil {
				return err
			}
			return os.Symlink(rel, to)
		case o.has("s"):
			return os.Symlink(said[from], to)
		}
		return os.Link(from, to)
	})
}

func mkdir(_ context.Context, c *Call) error {
	o, err := c.parse("pm:v", map[string]byte{"parents": 'p', "mode": 'm', "verbose": 'v'})
	if err != nil {
		return err
	}
	if len(o.rest) == 0 {
		return usagef("missing operand")
	}
	for _, name := range o.rest {
		path := c.Path(name)
		make := os.Mkdir
		if o.has("p") {
			make = os.MkdirAll
		}
		_, before := os.Stat(path)
		if err := make(path, 0o777); err != nil {
			c.Warn(relabel(err, name))
			continue
		}
		if o.has("m") && before != nil {
			if err := applyMode(path, o.get('m', "")); err != nil {
				c.Warn(err)
			}
		}
		if o.has("v") {
			c.printf("mkdir: created directory '%s'\n", name)
		}
	}
	return nil
}

func mkfifo(_ context.Context, c *Call) error {
	o, err := c.parse("m:", nil)
	if err != nil {
		return err
	}
	for _, name := range o.rest {
		if err := unix.Mkfifo(c.Path(name), 0o666); err != nil {
			c.Warn(&fs.PathError{Op: "mkfifo", Path: name, Err: err})
		} else if o.has("m") {
			if err := applyMode(c.Path(name), o.get('m', "")); err != nil {
				c.Warn(err)
			}
		}
	}
	return nil
}

// install copies files and sets their mode and owner, or makes directories (-d).
func install(_ context.Context, c *Call) error {
	o, err := c.parse("dDm:o:g:t:Tvcsp", map[string]byte{"directory": 'd', "mode": 'm', "owner": 'o', "group": 'g', "target-directory": 't'})
	if err != nil {
		return err
	}
	finish := func(path string) error {
		if err := applyMode(path, o.get('m', "0755")); err != nil {
			return err
		}
		if !o.has("og") {
			return nil
		}
		return applyOwner(path, o.get('o', "")+":"+o.get('g', ""), os.Chown)
	}
	if o.has("d") {
		for _, name := range o.rest {
			if err := os.MkdirAll(c.Path(name), 0o777); err != nil {
				return err
			}
			if err := finish(c.Path(name)); err != nil {
				return err
			}
		}
		return nil
	}
	if o.has("D") && len(o.rest) > 0 {
		dir := o.get('t', filepath.Dir(o.rest[len(o.rest)-1]))
		if err := os.MkdirAll(c.Path(dir), 0o777); err != nil {
			return err
		}
	}
	return c.eachTarget(o, func(from, to string) error {
		k := copier{force: true, preserve: o.has("p")}
		if err := k.copy(from, to, true); err != nil {
			return err
		}
		return finish(to)
	})
}

func touch(_ context.Context, c *Call) error {
	o, err := c.parse("acmhd:r:t:", map[string]byte{"date": 'd', "reference": 'r', "no-create": 'c', "no-dereference": 'h'})
	if err != nil {
		return err
	}
	if len(o.rest) == 0 {
		return usagef("missing file operand")
	}
	when, err := c.touchTime(o)
	if err != nil {
		return err
	}
	at, mt := unix.NsecToTimespec(when.UnixNano()), unix.NsecToTimespec(when.UnixNano())
	if o.has("m") && !o.has("a") {
		at.Nsec = unchangedTime
	}
	if o.has("a") && !o.has("m") {
		mt.Nsec = unchangedTime
	}
	flags := 0
	if o.has("h") {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	for _, name := range o.rest {
		err := unix.UtimesNanoAt(unix.AT_FDCWD, c.Path(name), []unix.Timespec{at, mt}, flags)
		if errors.Is(err, unix.ENOENT) && o.has("c") {
			continue
		}
		if errors.Is(err, unix.ENOENT) {
			if f, createErr := os.OpenFile(c.Path(name), os.O_CREATE|os.O_WRONLY, 0o666); createErr != nil {
				c.Warn(relabel(createErr, name))
				continue
			} else {
				f.Close()
			}
			err = unix.UtimesNanoAt(unix.AT_FDCWD, c.Path(name), []unix.Timespec{at, mt}, flags)
		}
		if err != nil {
			c.Warn(&fs.PathError{Op: "touch", Path: name, Err: err})
		}
	}
	return nil
}

func (c *Call) touchTime(o options) (time.Time, error) {
	switch {
	case o.has("r"):
		info, err := os.Stat(c.Path(o.get('r', "")))
		if err != nil {
			return time.Time{}, err
		}
		return info.ModTime(), nil
	case o.has("t"):
		return parseStamp(o.get('t', ""), c.location())
	case o.has("d"):
		return parseDate(o.get('d', ""), c.location())
	}
	return time.Now(), nil
}

func truncate(_ context.Context, c *Call) error {
	o, err := c.parse("cs:", map[string]byte{"size": 's', "no-create": 'c'})
	if err != nil {
		return err
	}
	text := o.get('s', "")
	sign := text != "" && (text[0] == '+' || text[0] == '-')
	size, err := parseSize(strings.TrimPrefix(text, "+"))
	if err != nil {
		return err
	}
	for _, name := range o.rest {
		flags := os.O_WRONLY | os.O_CREATE
		if o.has("c") {
			flags = os.O_WRONLY
		}
		f, err := os.OpenFile(c.Path(name), flags, 0o666)
		if errors.Is(err, fs.ErrNotExist) && o.has("c") {
			continue
		}
		if err != nil {
			c.Warn(relabel(err, name))
			continue
		}
		want := size
		if info, err := f.Stat(); err == nil && sign {
			want = max(0, info.Size()+size)
		}
		if err := errors.Join(f.Truncate(want), f.Close()); err != nil {
			c.Warn(err)
		}
	}
	return nil
}
