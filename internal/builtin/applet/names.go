package applet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func basename(_ context.Context, c *Call) error {
	o, err := c.parse("+as:", nil)
	if err != nil {
		return err
	}
	names, suffix := o.rest, o.get('s', "")
	if !o.has("as") && len(names) == 2 {
		names, suffix = names[:1], names[1]
	}
	if len(names) == 0 {
		return usagef("missing operand")
	}
	for _, name := range names {
		base := filepath.Base(name)
		if short := strings.TrimSuffix(base, suffix); short != "" {
			base = short
		}
		if err := c.printf("%s\n", base); err != nil {
			return err
		}
	}
	return nil
}

func dirname(_ context.Context, c *Call) error {
	if len(c.Args) == 0 {
		return usagef("missing operand")
	}
	for _, name := range c.Args {
		// Not filepath.Dir: it would clean the rest of the name.
		dir := strings.TrimRight(name, "/")
		i := strings.LastIndexByte(dir, '/')
		switch {
		case dir == "" && name != "":
			dir = "/"
		case i < 0:
			dir = "."
		default:
			if dir = strings.TrimRight(dir[:i], "/"); dir == "" {
				dir = "/"
			}
		}
		if err := c.printf("%s\n", dir); err != nil {
			return err
		}
	}
	return nil
}

func readlink(_ context.Context, c *Call) error {
	o, err := c.parse("fenqs", nil)
	if err != nil {
		return err
	}
	for _, name := range o.rest {
		target, err := "", error(nil)
		if o.has("fe") {
			target, err = resolve(c.Path(name), o.has("e"))
		} else {
			target, err = os.Readlink(c.Path(name))
		}
		if err != nil {
			return &Exit{1} // GNU says nothing either
		}
		end := "\n"
		if o.has("n") {
			end = ""
		}
		if err := c.printf("%s%s", target, end); err != nil {
			return err
		}
	}
	return nil
}

func realpath(_ context.Context, c *Call) error {
	o, err := c.parse("emsq", nil)
	if err != nil {
		return err
	}
	for _, name := range o.rest {
		path, err := resolve(c.Path(name), o.has("e"))
		if err != nil {
			c.Warn(relabel(err, name))
			continue
		}
		if err := c.printf("%s\n", path); err != nil {
			return err
		}
	}
	return nil
}

// resolve follows all links; the last element need not exist unless strict.
func resolve(path string, strict bool) (string, error) {
	full, err := filepath.EvalSymlinks(path)
	if err == nil || strict || !errors.Is(err, fs.ErrNotExist) {
		return full, err
	}
	if target, linkErr := os.Readlink(path); linkErr == nil {
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		return resolve(target, false)
	}
	path = filepath.Clean(path)
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

// mktemp makes a file or directory from a template whose last X's are replaced.
func mktemp(_ context.Context, c *Call) error {
	o, err := c.parse("dup:qt", map[string]byte{"directory": 'd', "dry-run": 'u', "quiet": 'q', "tmpdir": 'p'})
	if err != nil {
		return err
	}
	template, dir := "tmp.XXXXXXXXXX", ""
	if len(o.rest) > 0 {
		template = o.rest[0]
	}
	if len(o.rest) == 0 || o.has("pt") {
		dir = o.get('p', "")
		if dir == "" {
			dir = c.Getenv("TMPDIR")
		}
		if dir == "" {
			dir = "/tmp"
		}
	}
	stem := strings.TrimRight(template, "X")
	count := len(template) - len(stem)
	if count < 3 {
		return usagef("too few X's in template '%s'", template)
	}
	for range 100 {
		name := filepath.Join(dir, stem+rand.Text()[:min(count, 26)])
		switch {
		case o.has("u"):
		case o.has("d"):
			err = os.Mkdir(c.Path(name), 0o700)
		default:
			var f *os.File
			if f, err = os.OpenFile(c.Path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
				err = f.Close()
			}
		}
		if !errors.Is(err, fs.ErrExist) {
			if err != nil {
				return fmt.Errorf("creating %s: %w", name, err)
			}
			return c.printf("%s\n", name)
		}
	}
	return err
}
