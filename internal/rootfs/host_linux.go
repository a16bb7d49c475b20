package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"

	"bake/internal/rootfs/inside"
	"bake/internal/rootfs/tree"
	"bake/internal/rootfs/wire"
)

// A Host is this machine's ability to run containers. Safe for concurrent use.
type Host struct {
	mapping inside.Mapping
	id      Identity
	forks   chan func()

	mu      sync.Mutex
	helper  *peer // owner of the user namespace, started when it is first needed
	helperP int
	spare   *spare // see prepare
	starts  int
	closed  bool
}

// Open finds out what this machine and this user may do. Nothing is started yet.
func Open() (*Host, error) {
	id, mapping := identify()
	h := &Host{id: id, mapping: mapping, forks: make(chan func())}
	go func() {
		// Children die with the thread that forked them, so it is one that
		// lives as long as this goroutine does.
		runtime.LockOSThread()
		for f := range h.forks {
			f()
		}
	}()
	return h, nil
}

// Identity says which ids containers have.
func (h *Host) Identity() Identity { return h.id }

// Close ends what waits to be used, the helper if there is one, and every
// container in its namespace.
func (h *Host) Close() error {
	h.mu.Lock()
	closed := h.closed
	h.closed = true
	h.mu.Unlock()
	if closed {
		return nil
	}
	h.closeSpare()
	close(h.forks)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.helper == nil {
		return nil
	}
	h.helper.conn.Close()
	return waitFor(h.helperP)
}

// fork runs start, which starts a process, on the thread for it.
func (h *Host) fork(start func() (int, error)) (int, error) {
	type result struct {
		pid int
		err error
	}
	c := make(chan result, 1)
	h.forks <- func() {
		pid, err := start()
		c <- result{pid, err}
	}
	r := <-c
	return r.pid, r.err
}

func waitFor(pid int) error {
	for {
		_, err := syscall.Wait4(pid, nil, 0, nil)
		if err != syscall.EINTR {
			return err
		}
	}
}

// Apply makes the files that feed brings below dir, an existing directory of
// this machine. See tree.Applier for what it holds to.
func (h *Host) Apply(ctx context.Context, dir string, o Options, feed Feed) error {
	o.UserXattr, o.Lenient = h.id.Rootless, h.id.Rootless
	if !h.id.Rootless {
		a, err := tree.NewApplier(dir, ".", o)
		if err != nil {
			return err
		}
		err = feed(func(e *tree.Entry, r io.Reader) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return a.Apply(e, r)
		})
		return errors.Join(err, a.Close())
	}
	p, err := h.userns()
	if err != nil {
		return err
	}
	opts := wire.Tree(o)
	return p.send(ctx, wire.Request{Op: wire.OpPut, Root: dir, Path: ".", Tree: &opts}, feed)
}

// Walk calls fn with every file below dirs, which are layers, top first.
func (h *Host) Walk(ctx context.Context, dirs []string, o Options, fn tree.Func) error {
	o.UserXattr = h.id.Rootless
	if !h.id.Rootless {
		return tree.Walk(dirs, o, func(e *tree.Entry, r io.Reader) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fn(e, r)
		})
	}
	p, err := h.userns()
	if err != nil {
		return err
	}
	opts := wire.Tree(o)
	return p.receive(ctx, wire.Request{Op: wire.OpWalk, Dirs: dirs, Tree: &opts}, fn)
}

// Remove removes path and all below it. It is not an error if there is nothing.
func (h *Host) Remove(ctx context.Context, path string) error {
	if !h.id.Rootless {
		return os.RemoveAll(path)
	}
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	_, err := h.ask(ctx, wire.Request{Op: wire.OpRemove, Path: path})
	return err
}

// Rename renames a directory whose owner may be one of a container's users.
func (h *Host) Rename(ctx context.Context, from, to string) error {
	err := os.Rename(from, to)
	if !h.id.Rootless || !errors.Is(err, os.ErrPermission) {
		return err
	}
	_, err = h.ask(ctx, wire.Request{Op: wire.OpRename, Dirs: []string{from, to}})
	return err
}

// Size adds up the disk space, in bytes, of all files below dir.
func (h *Host) Size(ctx context.Context, dir string) (int64, error) {
	if !h.id.Rootless {
		return tree.Size(dir)
	}
	r, err := h.ask(ctx, wire.Request{Op: wire.OpSize, Path: dir})
	return r.Size, err
}

func (h *Host) ask(ctx context.Context, req wire.Request) (wire.Reply, error) {
	p, err := h.userns()
	if err != nil {
		return wire.Reply{}, err
	}
	return p.ask(ctx, req)
}

// userns returns the helper.
func (h *Host) userns() (*peer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.helper != nil {
		return h.helper, nil
	}
	if h.closed {
		return nil, errors.New("the container engine is closed")
	}
	conn, pid, err := h.startHelper(h.mapping)
	if err != nil {
		return nil, err
	}
	h.helper, h.helperP = &peer{conn: conn}, pid
	return h.helper, nil
}

func (h *Host) startHelper(m inside.Mapping) (*wire.Conn, int, error) {
	conn, far, err := wire.Pair()
	if err != nil {
		return nil, 0, err
	}
	defer far.Close()
	pid, err := h.fork(func() (int, error) { return inside.StartHelper(far, m) })
	if err != nil {
		conn.Close()
		return nil, 0, notPossible(err)
	}
	if m.Later {
		err = mapIDs(pid, m)
		if err == nil {
			err = conn.Send(struct{}{})
		}
	}
	if err == nil {
		var r wire.Reply
		if _, rerr := conn.Recv(&r); rerr != nil {
			err = fmt.Errorf("starting the helper of the user namespace: %w", rerr)
		}
	}
	if err != nil {
		conn.Close()
		waitFor(pid)
		return nil, 0, err
	}
	return conn, pid, nil
}

func notPossible(err error) error {
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return &NotPossibleError{err, "this machine does not let this user make namespaces; run as root, allow it " +
		"(sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0), " +
		"give the container that bake runs in --privileged, or use --engine docker"}
}
