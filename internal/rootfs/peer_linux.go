package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"bake/internal/rootfs/tree"
	"bake/internal/rootfs/wire"
)

// A peer is a process of ours that serves sessions.
type peer struct {
	mu   sync.Mutex // one sender at a time
	conn *wire.Conn
}

// session begins a session. It ends when the connection is closed.
func (p *peer) session(req wire.Request, files ...*os.File) (*wire.Conn, error) {
	conn, far, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	err = p.conn.Send(struct{}{}, far)
	p.mu.Unlock()
	far.Close()
	if err == nil {
		err = conn.Send(req, files...)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// recv waits for a reply and returns the error that it carries.
func recv(conn *wire.Conn) (wire.Reply, []int, error) {
	var r wire.Reply
	fds, err := conn.Recv(&r)
	if err != nil {
		return r, nil, fmt.Errorf("the container's first process is gone: %w", err)
	}
	if r.Err != "" {
		return r, nil, &remoteError{r.Err, r.NotFound}
	}
	return r, fds, nil
}

// A remoteError is an error of a process of ours.
type remoteError struct {
	text     string
	notFound bool
}

func (e *remoteError) Error() string { return e.text }

// Is makes errors.Is(err, fs.ErrNotExist) work across processes.
func (e *remoteError) Is(target error) bool { return e.notFound && target == fs.ErrNotExist }

// ask does an operation that needs nothing but a reply.
func (p *peer) ask(ctx context.Context, req wire.Request) (wire.Reply, error) {
	return p.askWith(ctx, req)
}

// askWith is ask with descriptors that go with the request.
func (p *peer) askWith(ctx context.Context, req wire.Request, files ...*os.File) (wire.Reply, error) {
	conn, err := p.session(req, files...)
	if err != nil {
		return wire.Reply{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	r, _, err := recv(conn)
	return r, orCause(ctx, err)
}

// send streams what feed brings and waits until it is all there.
func (p *peer) send(ctx context.Context, req wire.Request, feed Feed) error {
	conn, err := p.session(req)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	w := tree.NewWriter(conn)
	ferr := feed(w.Write)
	werr := w.Close(ferr)
	// What the other side says is why we could not write, if it says something.
	if _, _, err = recv(conn); err == nil {
		err = werr
	}
	if ferr != nil && werr == nil {
		err = ferr
	}
	return orCause(ctx, err)
}

// receive reads a stream.
func (p *peer) receive(ctx context.Context, req wire.Request, fn tree.Func) error {
	conn, err := p.session(req)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, _, err = recv(conn); err == nil {
		err = tree.Read(conn, fn)
	}
	return orCause(ctx, err)
}

// orCause returns why ctx ended, if that is why there is an error.
func orCause(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(err, cause) {
		return cause
	}
	return err
}
