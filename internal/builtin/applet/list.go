package applet

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A listing is how ls was asked to show what.
type listing struct {
	c    *Call
	o    options
	more bool // several blocks: each has a head line
}

func ls(_ context.Context, c *Call) error {
	o, err := c.parse("1aAdlhinrRStFpLQ", map[string]byte{"all": 'a', "almost-all": 'A', "directory": 'd'})
	if err != nil {
		return err
	}
	if o.has("n") {
		o.seen = append(o.seen, option{letter: 'l'})
	}
	names := o.rest
	if len(names) == 0 {
		names = []string{"."}
	}
	l := listing{c: c, o: o, more: len(names) > 1 || o.has("R")}
	var files []entry
	var dirs []string
	for _, name := range names {
		e, err := l.stat(name, c.Path(name))
		if err != nil {
			c.Warn(relabel(err, name))
			continue
		}
		target, statErr := os.Stat(c.Path(name))
		if statErr == nil && target.IsDir() && !o.has("d") && (e.IsDir() || !o.has("l")) {
			dirs = append(dirs, name)
		} else {
			files = append(files, e)
		}
	}
	if err := l.print(files); err != nil {
		return err
	}
	slices.Sort(dirs)
	for i, dir := range dirs {
		if err := l.dir(dir, i > 0 || len(files) > 0); err != nil {
			return err
		}
	}
	return nil
}

type entry struct {
	fs.FileInfo
	name, path string
}

func (l listing) stat(name, path string) (entry, error) {
	info, err := os.Lstat(path)
	if err == nil && l.o.has("L") {
		if target, statErr := os.Stat(path); statErr == nil {
			info = target
		}
	}
	return entry{info, name, path}, err
}

func (l listing) dir(name string, gap bool) error {
	list, err := os.ReadDir(l.c.Path(name))
	if err != nil {
		l.c.Warn(relabel(err, name))
		return nil
	}
	names := []string{}
	if l.o.has("a") {
		names = append(names, ".", "..")
	}
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), ".") || l.o.has("aA") {
			names = append(names, e.Name())
		}
	}
	var entries []entry
	for _, n := range names {
		e, err := l.stat(n, filepath.Join(l.c.Path(name), n))
		if err != nil {
			l.c.Warn(err)
			continue
		}
		entries = append(entries, e)
	}
	if l.more {
		head := name + ":\n"
		if gap {
			head = "\n" + head
		}
		if err := l.c.printf("%s", head); err != nil {
			return err
		}
	}
	if l.o.has("l") {
		var blocks int64
		for _, e := range entries {
			blocks += e.Sys().(*syscall.Stat_t).Blocks
		}
		if err := l.c.printf("total %d\n", blocks/2); err != nil {
			return err
		}
	}
	if err := l.print(entries); err != nil || !l.o.has("R") {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && e.name != "." && e.name != ".." {
			if err := l.dir(name+"/"+e.name, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l listing) print(entries []entry) error {
	slices.SortStableFunc(entries, func(a, b entry) int {
		n := 0
		switch l.o.last("tS") {
		case 't':
			n = b.ModTime().Compare(a.ModTime())
		case 'S':
			n = cmp.Compare(b.Size(), a.Size())
		}
		n = cmp.Or(n, cmp.Compare(a.name, b.name))
		if l.o.has("r") {
			n = -n
		}
		return n
	})
	for _, e := range entries {
		line := e.name
		if l.o.has("Q") {
			line = strconv.Quote(line)
		}
		line += l.mark(e)
		if l.o.has("l") {
			line = l.long(e) + line
			if target, err := os.Readlink(e.path); err == nil && e.Mode()&fs.ModeSymlink != 0 {
				line += " -> " + target
			}
		}
		if l.o.has("i") {
			line = fmt.Sprintf("%d %s", e.Sys().(*syscall.Stat_t).Ino, line)
		}
		if err := l.c.printf("%s\n", line); err != nil {
			return err
		}
	}
	return nil
}

func (l listing) mark(e entry) string {
	mode := e.Mode()
	switch {
	case mode.IsDir() && l.o.has("Fp"):
		return "/"
	case !l.o.has("F"):
		return ""
	case mode&fs.ModeSymlink != 0 && !l.o.has("l"):
		return "@"
	case mode&fs.ModeNamedPipe != 0:
		return "|"
	case mode.IsRegular() && mode&0o111 != 0:
		return "*"
	}
	return ""
}

func (l listing) long(e entry) string {
	st := e.Sys().(*syscall.Stat_t)
	user, group := userName(int(st.Uid)), groupName(int(st.Gid))
	if l.o.has("n") {
		user, group = strconv.Itoa(int(st.Uid)), strconv.Itoa(int(st.Gid))
	}
	size := strconv.FormatInt(e.Size(), 10)
	if l.o.has("h") {
		size = humanSize(e.Size())
	}
	if e.Mode()&fs.ModeDevice != 0 {
		size = fmt.Sprintf("%d, %d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))
	}
	when := e.ModTime().In(l.c.location())
	date := when.Format("Jan _2 15:04")
	if age := time.Since(when); age > 182*24*time.Hour || age < -time.Hour {
		date = when.Format("Jan _2  2006")
	}
	return fmt.Sprintf("%s %4d %-8s %-8s %8s %s ", modeString(uint32(st.Mode)), st.Nlink, user, group, size, date)
}

// modeString is "drwxr-sr-t" for the bits of stat.
func modeString(mode uint32) string {
	kinds := map[uint32]byte{unix.S_IFDIR: 'd', unix.S_IFLNK: 'l', unix.S_IFIFO: 'p', unix.S_IFSOCK: 's', unix.S_IFCHR: 'c', unix.S_IFBLK: 'b'}
	b := []byte("-rwxrwxrwx")
	if k := kinds[mode&unix.S_IFMT]; k != 0 {
		b[0] = k
	}
	for i := range 9 {
		if mode&(0o400>>i) == 0 {
			b[1+i] = '-'
		}
	}
	special := func(bit uint32, at int, letter byte) {
		if mode&bit == 0 {
			return
		}
		if b[at] == '-' {
			letter -= 'a' - 'A'
		}
		b[at] = letter
	}
	special(unix.S_ISUID, 3, 's')
	special(unix.S_ISGID, 6, 's')
	special(unix.S_ISVTX, 9, 't')
	return string(b)
}

func humanSize(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10)
	}
	f := float64(n)
	unit := -1
	for ; f >= 1024 && unit < 5; unit++ {
		f /= 1024
	}
	format := "%.1f%c"
	if f >= 10 {
		format = "%.0f%c"
	}
	return fmt.Sprintf(format, f, "KMGTPE"[unit])
}

func userName(uid int) string {
	if u, err := findUser(strconv.Itoa(uid)); err == nil && u.name != "" {
		return u.name
	}
	return strconv.Itoa(uid)
}

func groupName(gid int) string {
	lines, _ := database("/etc/group")
	for _, f := range lines {
		if len(f) >= 3 && f[2] == strconv.Itoa(gid) {
			return f[0]
		}
	}
	return strconv.Itoa(gid)
}

// stat prints what -c says, or a block for people.
func stat(_ context.Context, c *Call) error {
	o, err := c.parse("Lc:f:t", map[string]byte{"dereference": 'L', "format": 'c', "printf": 'f'})
	if err != nil {
		return err
	}
	format := o.get('c', "  File: %N\n  Size: %s\tBlocks: %b\t%F\nInode: %i\tLinks: %h\n"+
		"Access: (%04a/%A)  Uid: (%u/%U)  Gid: (%g/%G)\nModify: %y") + "\n"
	if o.has("f") {
		format = unescape(o.get('f', ""))
	}
	for _, name := range o.rest {
		var st unix.Stat_t
		call := unix.Lstat
		if o.has("L") {
			call = unix.Stat
		}
		if err := call(c.Path(name), &st); err != nil {
			c.Warn(&fs.PathError{Op: "stat", Path: name, Err: err})
			continue
		}
		if err := c.printf("%s", c.statLine(format, name, &st)); err != nil {
			return err
		}
	}
	return nil
}

func (c *Call) statLine(format, name string, st *unix.Stat_t) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		start := i
		for i++; i < len(format)-1 && strings.IndexByte("0123456789-", format[i]) >= 0; i++ {
		}
		flags := format[start+1 : i]
		switch v := c.statField(format[i], name, st).(type) {
		case string:
			fmt.Fprintf(&b, "%"+flags+"s", v)
		case octal:
			fmt.Fprintf(&b, "%"+flags+"o", uint32(v))
		case inHex:
			fmt.Fprintf(&b, "%"+flags+"x", uint32(v))
		default:
			fmt.Fprintf(&b, "%"+flags+"d", v)
		}
	}
	return b.String()
}

type (
	octal uint32
	inHex uint32
)

func (c *Call) statField(letter byte, name string, st *unix.Stat_t) any {
	at := func(ts unix.Timespec) string {
		return time.Unix(ts.Unix()).In(c.location()).Format("2006-01-02 15:04:05.000000000 -0700")
	}
	switch letter {
	case 'n':
		return name
	case 'N':
		if target, err := os.Readlink(c.Path(name)); err == nil {
			return fmt.Sprintf("'%s' -> '%s'", name, target)
		}
		return "'" + name + "'"
	case 's':
		return st.Size
	case 'b':
		return st.Blocks
	case 'B':
		return 512
	case 'o':
		return st.Blksize
	case 'a':
		return octal(st.Mode & 0o7777)
	case 'A':
		return modeString(uint32(st.Mode))
	case 'f':
		return inHex(st.Mode)
	case 'F':
		return kindName(st)
	case 'u':
		return st.Uid
	case 'U':
		return userName(int(st.Uid))
	case 'g':
		return st.Gid
	case 'G':
		return groupName(int(st.Gid))
	case 'h':
		return st.Nlink
	case 'i':
		return st.Ino
	case 'd':
		return st.Dev
	case 'X':
		return st.Atim.Sec
	case 'Y':
		return st.Mtim.Sec
	case 'Z':
		return st.Ctim.Sec
	case 'x':
		return at(st.Atim)
	case 'y':
		return at(st.Mtim)
	case 'z':
		return at(st.Ctim)
	case '%':
		return "%"
	}
	return "?"
}

func kindName(st *unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symbolic link"
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFCHR:
		return "character special file"
	case unix.S_IFBLK:
		return "block special file"
	}
	if st.Size == 0 {
		return "regular empty file"
	}
	return "regular file"
}
