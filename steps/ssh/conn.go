package ssh

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// perConn is how many sessions one connection gets. OpenSSH allows ten; one
// of ours is opened ahead, one is left for what must not wait (ending a command).
const perConn = 8

// A conn is one connection to the machine, perhaps through others.
type conn struct {
	client *gossh.Client
	heard  *hearing
	end    *cutConn
	chain  []io.Closer // hops, the last is client
	addr   string
	rtt    atomic.Int64 // nanoseconds; 0: not measured yet
	// loader is the command that is started in sessions ahead of use, so that
	// the machine's shell waits for the script when it comes: it starts while
	// other commands run, and a session takes no input before its command is
	// started, which would be a second round trip.
	loader string
	timed  chan struct{}

	mu    sync.Mutex
	busy  int        // sessions in use, guarded by the pool
	limit int        // of them, guarded by the pool
	agent bool       // programs may ask for keys (Forwarded)
	ahead []*opening // sessions opened ahead of use, the oldest first
	tight bool       // the machine refused one of them
	lulls int        // how often in a row it refused one while none was in use
	works bool       // it has opened one
	cause error      // why it ended

	ended chan struct{}
	done  sync.WaitGroup
}

// newConn takes over a connection that is logged in, and opens its first sessions.
// answer is asked for forwarded keys; it may be nil.
func newConn(client *gossh.Client, heard *hearing, end *cutConn, chain []io.Closer, config Config, answer func(io.ReadWriter) error) *conn {
	c := &conn{client: client, heard: heard, end: end, chain: chain, addr: config.Addr(), limit: perConn,
		loader: loaderAhead(config), timed: make(chan struct{}), ended: make(chan struct{})}
	c.rtt.Store(int64(heard.reached))
	if answer != nil {
		c.forward(answer)
	}
	c.openAhead(c.limit)
	c.done.Go(func() {
		_ = client.Wait()
		close(c.ended)
	})
	c.done.Go(func() { c.watch(config.KeepAlive, config.DeadAfter) })
	return c
}

// watch closes the connection when the peer is not heard for deadAfter. While
// nothing else comes, it is asked for a sign of life.
func (c *conn) watch(keepAlive, deadAfter time.Duration) {
	c.done.Go(c.ping)
	tick := time.NewTicker(min(keepAlive, deadAfter/4))
	defer tick.Stop()
	var asking atomic.Bool
	for {
		select {
		case <-c.ended:
			return
		case <-tick.C:
		}
		silence := c.heard.silence()
		if silence >= deadAfter {
			c.fail(&DeadPeerError{Addr: c.addr, Silence: silence})
			return
		}
		if silence >= keepAlive && asking.CompareAndSwap(false, true) {
			c.done.Go(func() {
				defer asking.Store(false)
				_, _, _ = c.client.SendRequest("keepalive@openssh.com", true, nil) // any answer will do
			})
		}
	}
}

// ping measures the round trip: the shorter of two, since the server may hold
// back its first answer, and both may have to wait for a busy processor. How
// long it took to connect counts only until then: a proxy is nearer than the machine.
func (c *conn) ping() {
	defer close(c.timed)
	var shortest time.Duration
	for range 2 {
		began := time.Now()
		if _, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil); err != nil {
			return
		}
		if took := time.Since(began); shortest == 0 || took < shortest {
			shortest = took
		}
	}
	c.rtt.Store(int64(shortest))
}

// fail ends the connection for a reason.
func (c *conn) fail(cause error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
	}
	c.mu.Unlock()
	_ = c.heard.Close() // first the socket: closing an SSH connection writes to it
	closeAll(c.chain)
}

// close ends the connection and returns when nothing of it is left.
func (c *conn) close() {
	c.fail(errClosed)
	c.done.Wait()
}

var errClosed = errors.New("the connection is closed")

// dead reports whether the connection has ended or is about to.
func (c *conn) dead() bool {
	c.mu.Lock()
	failed := c.cause != nil
	c.mu.Unlock()
	if failed {
		return true
	}
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// lost returns the error of what was under way when the connection ended.
func (c *conn) lost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &LostError{Addr: c.addr, Err: c.cause}
}

// An opening is a session that is being opened.
type opening struct {
	done chan struct{}
	s    *session
	err  error
}

func (c *conn) open() *opening {
	o := &opening{done: make(chan struct{})}
	c.done.Go(func() {
		defer close(o.done)
		ch, reqs, err := c.client.OpenChannel("session", nil)
		if err != nil {
			o.err = err
			return
		}
		o.s = newSession(c, ch, reqs)
		o.s.started = c.loader != "" && o.s.start(c.loader, false) == nil
	})
	return o
}

// fresh returns a session in which nothing was started.
func (c *conn) fresh(ctx context.Context) (*session, error) {
	type result struct {
		s   *session
		err error
	}
	got := make(chan result, 1)
	c.done.Go(func() {
		ch, reqs, err := c.client.OpenChannel("session", nil)
		if err != nil {
			got <- result{nil, err}
			return
		}
		got <- result{newSession(c, ch, reqs), nil}
	})
	select {
	case r := <-got:
		return r.s, r.err
	case <-ctx.Done():
		go func() {
			if r := <-got; r.s != nil {
				r.s.close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// depth is how many sessions are opened ahead. One that waits with its loader
// takes two round trips to get ready: one until it is open, one until the
// machine takes input. A far machine gets two, so that commands which end at
// once are not held up.
func (c *conn) depth() int {
	if c.loader != "" && time.Duration(c.rtt.Load()) > farAway {
		return 2
	}
	return 1
}

// openAhead opens sessions ahead of use, as many as there is room for. c.mu is
// held, or nobody else knows c yet.
func (c *conn) openAhead(room int) {
	for !c.tight && len(c.ahead) < min(c.depth(), room) {
		c.ahead = append(c.ahead, c.open())
	}
}

// session returns a session: the oldest that was opened ahead. More are opened
// while there is room.
func (c *conn) session(ctx context.Context, room int) (*session, error) {
	c.mu.Lock()
	var o *opening
	early := len(c.ahead) > 0
	if early {
		o, c.ahead = c.ahead[0], c.ahead[1:]
	} else {
		o = c.open()
	}
	c.mu.Unlock()
	select {
	case <-o.done:
	case <-ctx.Done():
		c.giveBack(o)
		return nil, context.Cause(ctx)
	}
	_, refused := errors.AsType[*gossh.OpenChannelError](o.err)
	if early && refused { // there was no room then; there may be now
		c.mu.Lock()
		c.tight = true
		c.mu.Unlock()
		return c.session(ctx, 0)
	}
	if o.err != nil {
		return nil, o.err
	}
	c.mu.Lock()
	c.works, c.lulls = true, 0
	c.openAhead(room)
	c.mu.Unlock()
	return o.s, nil
}

// A machine that allows one session needs a moment to end the last one.
const (
	lull      = 10 * time.Millisecond
	mostLulls = 200
)

// closing waits until the machine may have ended the last session. It returns
// the refusal if the machine opens none at all.
func (c *conn) closing(ctx context.Context, refusal error) error {
	c.mu.Lock()
	c.lulls++
	hopeless := !c.works || c.lulls > mostLulls
	c.mu.Unlock()
	if hopeless {
		return &fatalError{refusal}
	}
	return pause(ctx, lull)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// giveBack keeps an opening that nobody waits for any more.
func (c *conn) giveBack(o *opening) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ahead) == 0 {
		c.ahead = append(c.ahead, o)
		return
	}
	o.giveUp()
}

// renewAhead replaces the sessions opened ahead: what they wait with is stale.
func (c *conn) renewAhead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.ahead)
	for _, o := range c.ahead {
		o.giveUp()
	}
	c.ahead = nil
	c.openAhead(n)
}

// giveUp closes the session as soon as it is open.
func (o *opening) giveUp() {
	go func() { // ends with the connection at the latest
		<-o.done
		if o.s != nil {
			o.s.close()
		}
	}()
}
