package applet

import (
	"context"
	"os"
	"strconv"
	"syscall"
)

// du adds up blocks, each file once however many names it has.
func du(_ context.Context, c *Call) error {
	o, err := c.parse("sakhmbcxd:", map[string]byte{"summarize": 's', "all": 'a', "human-readable": 'h', "bytes": 'b', "total": 'c'})
	if err != nil {
		return err
	}
	names := o.rest
	if len(names) == 0 {
		names = []string{"."}
	}
	u := &usage{c: c, o: o, seen: map[[2]uint64]bool{}}
	var all int64
	for _, name := range names {
		n, err := u.of(name, true)
		if err != nil {
			return err
		}
		all += n
	}
	if o.has("c") {
		return u.show(all, "total")
	}
	return nil
}

// usage is what files take up, as it is added up.
type usage struct {
	c    *Call
	o    options
	seen map[[2]uint64]bool // by device and inode
}

// of returns the bytes of a file and all below it, and prints what is asked for;
// top is one that was named.
func (u *usage) of(name string, top bool) (int64, error) {
	info, err := os.Lstat(u.c.Path(name))
	if err != nil {
		u.c.Warn(relabel(err, name))
		return 0, nil
	}
	st := info.Sys().(*syscall.Stat_t)
	id := [2]uint64{uint64(st.Dev), st.Ino}
	if u.seen[id] {
		return 0, nil
	}
	u.seen[id] = true
	total := st.Blocks * 512
	if u.o.has("b") {
		total = st.Size
	}
	if info.IsDir() {
		below, err := u.below(name)
		if err != nil {
			return 0, err
		}
		total += below
	}
	if top || !u.o.has("s") && (info.IsDir() || u.o.has("a")) {
		return total, u.show(total, name)
	}
	return total, nil
}

// below returns the bytes of what a directory holds.
func (u *usage) below(dir string) (total int64, err error) {
	list, err := os.ReadDir(u.c.Path(dir))
	if err != nil {
		u.c.Warn(relabel(err, dir))
	}
	for _, e := range list {
		n, err := u.of(dir+"/"+e.Name(), false)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

func (u *usage) show(n int64, name string) error {
	text := strconv.FormatInt((n+1023)/1024, 10)
	switch u.o.last("kmhb") {
	case 'b':
		text = strconv.FormatInt(n, 10)
	case 'm':
		text = strconv.FormatInt((n+1<<20-1)>>20, 10)
	case 'h':
		text = humanSize(n)
	}
	return u.c.printf("%s\t%s\n", text, name)
}
