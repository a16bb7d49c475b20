package applet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func chmod(_ context.Context, c *Call) error {
	// A mode may begin with a minus: it is no option then.
	var flags []string
	args := c.Args
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && strings.Trim(args[0], "-Rvfc") == "" {
		flags, args = append(flags, args[0]), args[1:]
	}
	if len(args) < 2 {
		return usagef("missing operand")
	}
	recursive := strings.Contains(strings.Join(flags, ""), "R")
	for _, name := range args[1:] {
		if err := eachFile(c.Path(name), recursive, func(path string, info fs.FileInfo) error {
			if info.Mode()&fs.ModeSymlink != 0 {
				return nil
			}
			return applyMode(path, args[0])
		}); err != nil {
			c.Warn(relabel(err, name))
		}
	}
	return nil
}

// eachFile calls do for the file, followed if it is a link, and with
// recursive for all below it, not followed.
func eachFile(path string, recursive bool, do func(string, fs.FileInfo) error) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !recursive || !info.IsDir() {
		return do(path, info)
	}
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return do(p, info)
	})
}

// applyMode changes a file's mode as chmod's operand says.
func applyMode(path, mode string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &fs.PathError{Op: "chmod", Path: path, Err: err}
	}
	bits, err := newMode(uint32(st.Mode)&0o7777, st.Mode&unix.S_IFMT == unix.S_IFDIR, mode)
	if err != nil {
		return err
	}
	if err := unix.Chmod(path, bits); err != nil {
		return &fs.PathError{Op: "chmod", Path: path, Err: err}
	}
	return nil
}

// newMode works out an octal or symbolic mode ("u=rwX,go-w") on top of old bits.
func newMode(old uint32, isDir bool, text string) (uint32, error) {
	if n, err := strconv.ParseUint(text, 8, 32); err == nil {
		if n > 0o7777 {
			return 0, usagef("invalid mode: '%s'", text)
		}
		return uint32(n), nil
	}
	bits := old
	for clause := range strings.SplitSeq(text, ",") {
		i := strings.IndexAny(clause, "+-=")
		if i < 0 || strings.Trim(clause[:i], "ugoa") != "" {
			return 0, usagef("invalid mode: '%s'", text)
		}
		who := clause[:i]
		mask := whoMask(who)
		if who == "" {
			mask = 0o7777 &^ uint32(umask())
		}
		for rest := clause[i:]; rest != ""; {
			op := rest[0]
			j := strings.IndexAny(rest[1:], "+-=")
			perms := rest[1:]
			if j >= 0 {
				perms = rest[1 : 1+j]
			}
			rest = rest[1+len(perms):]
			set, ok := permBits(perms, bits, isDir)
			if !ok {
				return 0, usagef("invalid mode: '%s'", text)
			}
			switch set &= mask; op {
			case '+':
				bits |= set
			case '-':
				bits &^= set
			case '=':
				bits = bits&^mask | set
			}
		}
	}
	return bits, nil
}

// whoMask is the bits that "u", "g", "o" and "a" stand for; sticky is everybody's.
func whoMask(who string) uint32 {
	var mask uint32
	for _, w := range who {
		mask |= map[rune]uint32{'u': 0o4700, 'g': 0o2070, 'o': 0o0007, 'a': 0o7777}[w]
	}
	return mask | 0o1000
}

// permBits is what the letters set for all, before it is cut to who is meant.
func permBits(perms string, old uint32, isDir bool) (uint32, bool) {
	var bits uint32
	for _, p := range perms {
		switch p {
		case 'r':
			bits |= 0o444
		case 'w':
			bits |= 0o222
		case 'x':
			bits |= 0o111
		case 'X':
			if isDir || old&0o111 != 0 {
				bits |= 0o111
			}
		case 's':
			bits |= 0o6000
		case 't':
			bits |= 0o1000
		case 'u':
			bits |= (old >> 6 & 7) * 0o111
		case 'g':
			bits |= (old >> 3 & 7) * 0o111
		case 'o':
			bits |= (old & 7) * 0o111
		default:
			return 0, false
		}
	}
	return bits, true
}

// umask reads the process's umask, which can only be read by setting it.
func umask() int {
	old := unix.Umask(0)
	unix.Umask(old)
	return old
}

func chown(_ context.Context, c *Call) error {
	return c.own(func(owner string) string { return owner })
}
func chgrp(_ context.Context, c *Call) error {
	return c.own(func(group string) string { return ":" + group })
}

func (c *Call) own(owner func(string) string) error {
	o, err := c.parse("RhHLPvcf", map[string]byte{"recursive": 'R', "no-dereference": 'h', "verbose": 'v'})
	if err != nil {
		return err
	}
	if len(o.rest) < 2 {
		return usagef("missing operand")
	}
	change := os.Chown
	if o.has("hR") {
		change = os.Lchown
	}
	for _, name := range o.rest[1:] {
		path := c.Path(name)
		err := error(nil)
		if o.has("R") {
			err = eachFile(path, true, func(p string, _ fs.FileInfo) error { return applyOwner(p, owner(o.rest[0]), change) })
		} else {
			err = applyOwner(path, owner(o.rest[0]), change)
		}
		if err != nil {
			c.Warn(relabel(err, name))
		}
	}
	return nil
}

// applyOwner sets "user", "user:group", ":group" or "user:", names or numbers.
func applyOwner(path, owner string, change func(string, int, int) error) error {
	user, group, hasGroup := strings.Cut(owner, ":")
	uid, gid := -1, -1
	if user != "" {
		u, err := findUser(user)
		if err != nil {
			return err
		}
		uid = u.uid
		if hasGroup && group == "" {
			gid = u.gid
		}
	}
	if group != "" {
		g, err := findGroup(group)
		if err != nil {
			return err
		}
		gid = g
	}
	return change(path, uid, gid)
}

type account struct {
	name     string
	uid, gid int
}

// findUser looks a name or number up in /etc/passwd. A number needs no entry.
func findUser(name string) (account, error) {
	lines, err := database("/etc/passwd")
	if err != nil {
		return account{}, err
	}
	for _, f := range lines {
		if len(f) >= 4 && (f[0] == name || f[2] == name) {
			uid, err1 := strconv.Atoi(f[2])
			gid, err2 := strconv.Atoi(f[3])
			return account{f[0], uid, gid}, errors.Join(err1, err2)
		}
	}
	if uid, err := strconv.Atoi(name); err == nil {
		return account{uid: uid, gid: -1}, nil
	}
	return account{}, fmt.Errorf("unknown user %s", name)
}

func findGroup(name string) (int, error) {
	lines, err := database("/etc/group")
	if err != nil {
		return 0, err
	}
	for _, f := range lines {
		if len(f) >= 3 && f[0] == name {
			return strconv.Atoi(f[2])
		}
	}
	if gid, err := strconv.Atoi(name); err == nil {
		return gid, nil
	}
	return 0, fmt.Errorf("unknown group %s", name)
}

// database reads the colon-separated lines of /etc/passwd or /etc/group.
func database(path string) ([][]string, error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var lines [][]string
	for line := range strings.Lines(string(data)) {
		lines = append(lines, strings.Split(strings.TrimSpace(line), ":"))
	}
	return lines, nil
}
