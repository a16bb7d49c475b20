package rootfs

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bake/internal/drain"
	"bake/internal/rootfs/wire"
)

// scriptName is the script's open descriptor, under the name that a shell can open.
const scriptName = "/proc/self/fd/3"

// Run runs a command. It returns *ExitError if the command ran and failed. If
// ctx ends, every process of the command is gone when Run returns. What a
// command that ended by itself left running goes on until Close.
func (c *Container) Run(ctx context.Context, p Process) error {
	s := streams{}
	defer s.close()
	if err := s.open(p); err != nil {
		return err
	}
	conn, err := c.peer.session(wire.Request{Op: wire.OpExec, Exec: request(p)}, s.far...)
	if err != nil {
		return err
	}
	defer conn.Close()
	s.closeFar()
	_, fds, err := recv(conn)
	if err != nil {
		return err
	}
	s.terminal(p, fds)
	if p.Started != nil {
		p.Started()
	}
	ended := make(chan struct{})
	var signals sync.WaitGroup
	signals.Go(func() { passSignals(ctx, conn, p.Signals, ended) })
	r, _, err := recv(conn)
	close(ended)
	signals.Wait()
	s.finish()
	if err != nil {
		return orCause(ctx, err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if r.Code != 0 {
		return &ExitError{Code: r.Code, Signal: r.Signal}
	}
	return nil
}

// passSignals sends what a running command shall get, until it has ended.
func passSignals(ctx context.Context, conn *wire.Conn, signals <-chan int, ended <-chan struct{}) {
	for {
		select {
		case n := <-signals:
			if n > 0 {
				conn.Send(wire.Kill{Signal: n})
			}
		case <-ctx.Done():
			conn.Send(wire.Kill{})
			return
		case <-ended:
			return
		}
	}
}

func request(p Process) *wire.Exec {
	x := &wire.Exec{Dir: p.Dir, DirOptional: p.DirOptional, User: p.User, TTY: p.TTY, Rows: p.Rows, Cols: p.Cols, Script: p.Script != nil}
	for _, a := range p.Argv {
		x.Argv = append(x.Argv, []byte(a))
	}
	if p.Script != nil {
		x.Argv = append(x.Argv, []byte(scriptName))
	}
	for _, e := range p.Env {
		x.Env = append(x.Env, []byte(e))
	}
	return x
}

// streams are the two sides of a command's standard streams.
type streams struct {
	far    []*os.File // what the command gets
	near   []*os.File // what we read and write
	copies sync.WaitGroup
	ended  chan struct{}
}

func (s *streams) open(p Process) error {
	s.ended = make(chan struct{})
	if err := s.openInput(p); err != nil {
		return err
	}
	if err := s.openOutput(p.Stdout); err != nil {
		return err
	}
	if p.Stderr != nil && p.Stderr == p.Stdout {
		s.far = append(s.far, s.far[1]) // one pipe keeps the order
	} else if err := s.openOutput(p.Stderr); err != nil {
		return err
	}
	if p.Script == nil {
		return nil
	}
	fd, err := unix.MemfdCreate("script", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("passing the script: %w", err)
	}
	f := os.NewFile(uintptr(fd), "script")
	s.far = append(s.far, f)
	if _, err := f.Write(p.Script); err != nil {
		return fmt.Errorf("passing the script: %w", err)
	}
	return nil
}

func (s *streams) openInput(p Process) error {
	if p.Stdin == nil || p.TTY {
		return s.openNull(os.O_RDONLY)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	s.far = append(s.far, r)
	go func() {
		// Not waited for: the reader may be a terminal at which nobody types.
		// A command that does not read all ends this with EPIPE.
		io.Copy(w, p.Stdin)
		w.Close()
	}()
	return nil
}

func (s *streams) openNull(flag int) error {
	f, err := os.OpenFile(os.DevNull, flag, 0)
	if err == nil {
		s.far = append(s.far, f)
	}
	return err
}

func (s *streams) openOutput(w io.Writer) error {
	if w == nil {
		return s.openNull(os.O_WRONLY)
	}
	r, far, err := os.Pipe()
	if err != nil {
		return err
	}
	s.far, s.near = append(s.far, far), append(s.near, r)
	s.copies.Go(func() { s.copy(w, r) })
	return nil
}

// terminal takes the terminal that came with the first reply.
func (s *streams) terminal(p Process, fds []int) {
	for _, fd := range fds {
		syscall.SetNonblock(fd, true)
		f := os.NewFile(uintptr(fd), "terminal")
		s.near = append(s.near, f)
		if p.Stdin != nil {
			go io.Copy(f, p.Stdin) // as with a pipe, not waited for
		}
		if p.Stdout != nil {
			s.copies.Go(func() { s.copy(p.Stdout, f) })
		}
	}
}

// copy copies until the command and all it started have closed their end, or
// the command itself has ended and everything it wrote has been read.
func (s *streams) copy(w io.Writer, r *os.File) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			w.Write(buf[:n]) // a writer that fails does not stop the command
		}
		if err != nil {
			break
		}
	}
	select {
	case <-s.ended:
		drain.File(w, r)
	default:
	}
}

// finish returns when all that the command wrote has been passed on.
func (s *streams) finish() {
	close(s.ended)
	for _, r := range s.near {
		r.SetReadDeadline(time.Now())
	}
	s.copies.Wait()
}

func (s *streams) closeFar() {
	for _, f := range s.far {
		f.Close()
	}
	s.far = nil
}

func (s *streams) close() {
	s.closeFar()
	for _, f := range s.near {
		f.Close()
	}
	s.copies.Wait()
}

// SignalName returns the name of a signal without its "SIG".
func SignalName(n int) string {
	if name := unix.SignalName(syscall.Signal(n)); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	return strconv.Itoa(n)
}
