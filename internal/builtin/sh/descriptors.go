package sh

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
)

// first and last are the descriptors that scripts may use by number.
const first, last = 3, 9

// descriptors are the process's own from 3 to 9. Programs that the shell
// starts inherit those that are open.
type descriptors struct {
	mu    sync.Mutex
	open  [last + 1]bool
	saved [last + 1][]int // what push put aside; -1: it was closed
	spare int             // holds the place of one that is closed
	// sourcing: the next file that is opened is read by `.`.
	sourcing atomic.Bool
}

// reserve keeps the runtime from using the numbers that scripts may want. It
// must run before anything is opened.
func reserve() (*descriptors, error) {
	d := &descriptors{}
	var err error
	if d.spare, err = memoryFile("reserved"); err != nil {
		return nil, fmt.Errorf("reserving descriptors: %w", err)
	}
	if d.spare >= first && d.spare <= last {
		high, err := unix.FcntlInt(uintptr(d.spare), unix.F_DUPFD_CLOEXEC, last+1)
		if err != nil {
			return nil, fmt.Errorf("reserving descriptors: %w", err)
		}
		unix.Close(d.spare)
		d.spare = high
	}
	for n := first; n <= last; n++ {
		flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0)
		if err == nil {
			d.open[n] = flags&unix.FD_CLOEXEC == 0 // inherited
			continue
		}
		if err := replace(d.spare, n); err != nil {
			return nil, fmt.Errorf("reserving descriptors: %w", err)
		}
	}
	return d, nil
}

// inherited returns /dev/fd/N of the caller's, nil if there is none.
func (d *descriptors) inherited(path string) *os.File {
	f, ok, err := d.file(interp.HandlerContext{}, path)
	if !ok || err != nil {
		return nil
	}
	return f
}

// run is the descriptor command: what N [op target].
func (d *descriptors) run(hc interp.HandlerContext, args []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := strconv.Atoi(args[1])
	if err != nil || n < first || n > last {
		return fmt.Errorf("descriptor %s", args[1])
	}
	if args[0] == "pop" {
		d.pop(n)
		// The command's status passes through.
		if hc.LastExitStatus != 0 {
			return interp.ExitStatus(hc.LastExitStatus)
		}
		return nil
	}
	fd, err := d.source(hc, args[2], args[3])
	if err == nil && args[0] == "push" {
		err = d.push(n)
	}
	if err == nil {
		err = d.put(n, fd)
	}
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%d%s%s: %v\n", n, args[2], args[3], err)
		return interp.ExitStatus(1)
	}
	return nil
}

// source opens what a redirection names; -1 is "close it".
func (d *descriptors) source(hc interp.HandlerContext, op, target string) (int, error) {
	path := target
	if !filepath.IsAbs(path) {
		path = filepath.Join(hc.Dir, path)
	}
	switch op {
	case "<":
		return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	case ">", ">|":
		return unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o666)
	case ">>":
		return unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_CLOEXEC, 0o666)
	case "<>":
		return unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o666)
	case "<&", ">&":
		if target == "-" {
			return -1, nil
		}
		return d.duplicate(hc, target)
	case "<<", "<<<", "<<-":
		if op == "<<<" {
			target += "\n"
		}
		return text(target)
	}
	return -1, fmt.Errorf("redirection %s is not supported", op)
}

// text makes a descriptor that reads s.
func text(s string) (int, error) {
	fd, err := memoryFile("here-document")
	if err != nil {
		return -1, err
	}
	if _, err := unix.Write(fd, []byte(s)); err != nil {
		return -1, err
	}
	_, err = unix.Seek(fd, 0, io.SeekStart)
	return fd, err
}

// duplicate returns a copy of a descriptor as the script sees it.
func (d *descriptors) duplicate(hc interp.HandlerContext, name string) (int, error) {
	n, err := strconv.Atoi(name)
	if err != nil || n < 0 || n > last || n >= first && !d.open[n] {
		return -1, unix.EBADF
	}
	if n < first {
		f, ok := [...]any{hc.Stdin, hc.Stdout, hc.Stderr}[n].(*os.File)
		if !ok || f == nil {
			return -1, unix.EBADF
		}
		n = int(f.Fd())
	}
	return unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, last+1)
}

// put makes fd the descriptor n.
func (d *descriptors) put(n, fd int) error {
	if fd < 0 {
		d.open[n] = false
		return replace(d.spare, n)
	}
	defer unix.Close(fd)
	if err := unix.Dup2(fd, n); err != nil {
		return err
	}
	d.open[n] = true
	return nil
}

func (d *descriptors) push(n int) error {
	old := -1
	if d.open[n] {
		var err error
		if old, err = unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, last+1); err != nil {
			return err
		}
	}
	d.saved[n] = append(d.saved[n], old)
	return nil
}

func (d *descriptors) pop(n int) {
	if len(d.saved[n]) == 0 {
		return // push failed, and with it the command
	}
	old := d.saved[n][len(d.saved[n])-1]
	d.saved[n] = d.saved[n][:len(d.saved[n])-1]
	// Neither can fail: both descriptors are open.
	d.put(n, old)
}

// file opens /dev/fd/N without asking the system, which may have no /proc; ok
// is false for another path.
func (d *descriptors) file(hc interp.HandlerContext, path string) (f *os.File, ok bool, err error) {
	name, ok := strings.CutPrefix(path, "/dev/fd/")
	if n, err := strconv.Atoi(name); !ok || err != nil || n < first || n > last {
		return nil, false, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	fd, err := d.duplicate(hc, name)
	if err != nil {
		return nil, true, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), true, nil
}

// opener is the interpreter's way to open files.
func (d *descriptors) opener(ctx context.Context, path string, flag int, perm os.FileMode) (io.ReadWriteCloser, error) {
	if d.sourcing.Swap(false) {
		return source(ctx, path)
	}
	hc := interp.HandlerCtx(ctx)
	if f, ok, err := d.file(hc, path); ok {
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	return interp.DefaultOpenHandler()(ctx, path, flag, perm)
}

// source opens a file that is to be interpreted, rewritten.
func source(ctx context.Context, path string) (io.ReadWriteCloser, error) {
	f, err := interp.DefaultOpenHandler()(ctx, path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return &script{strings.NewReader(rewriteText(string(data)))}, nil
}

// A script is read only.
type script struct{ *strings.Reader }

func (*script) Write([]byte) (int, error) { return 0, os.ErrInvalid }
func (*script) Close() error              { return nil }
