package ssh

import (
	"context"
	"errors"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

const (
	commandConns  = 32 // connections that commands may use
	transferConns = 4  // connections that blocks of files may use
	dialsAtOnce   = 4  // OpenSSH drops logins when ten are under way
)

// A pool is the connections to one machine. They are made when needed, and
// again when they break.
type pool struct {
	// connect makes a connection; once says to try only once.
	connect func(ctx context.Context, once bool) (*conn, error)

	mu      sync.Mutex
	conns   []*conn
	dialing int
	closed  bool
	pause   time.Time     // until when no further connection is tried
	changed chan struct{} // closed, and made anew, when something changes
}

func newPool(connect func(context.Context, bool) (*conn, error)) *pool {
	return &pool{connect: connect, changed: make(chan struct{})}
}

// A spread says over how many connections sessions go, and how many one takes.
type spread struct{ conns, each int }

func forCommands() spread { return spread{commandConns, perConn} }

// session returns a session to run a command in. It waits while all places
// are taken, and connects if there is none.
func (p *pool) session(ctx context.Context, sp spread) (*session, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, errClosed
		}
		c, changed := p.reserve(sp), p.changed
		room := 0
		if c != nil {
			room = c.limit - c.busy
		}
		dial := c == nil && p.dialing < dialsAtOnce && len(p.conns)+p.dialing < sp.conns && time.Now().After(p.pause)
		if dial {
			p.dialing++
		}
		p.mu.Unlock()
		switch {
		case c != nil:
			s, err := c.session(ctx, room)
			if err == nil {
				return s, nil
			}
			if err := p.refused(ctx, c, err); err != nil {
				return nil, err
			}
		case dial:
			if err := p.add(ctx); err != nil {
				return nil, err
			}
		default:
			select {
			case <-changed:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
	}
}

// reserve takes a place on the connection with the most room, if one has any.
func (p *pool) reserve(sp spread) *conn {
	live := p.conns[:0]
	for _, c := range p.conns {
		if !c.dead() {
			live = append(live, c)
		}
	}
	clear(p.conns[len(live):])
	p.conns = live
	var best *conn
	for _, c := range p.conns[:min(sp.conns, len(p.conns))] {
		if c.busy < min(c.limit, sp.each) && (best == nil || c.busy < best.busy) {
			best = c
		}
	}
	if best != nil {
		best.busy++
	}
	return best
}

// refused takes note that c did not open a session. It returns an error if
// there is no use in going on.
func (p *pool) refused(ctx context.Context, c *conn, err error) error {
	p.mu.Lock()
	c.busy--
	p.broadcast()
	full, ok := errors.AsType[*gossh.OpenChannelError](err)
	alone := ok && c.busy == 0
	switch {
	case ctx.Err() != nil, alone:
	case ok:
		c.limit = c.busy
	default:
		go c.fail(err)
		p.conns = without(p.conns, c)
	}
	p.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if alone {
		return c.closing(ctx, full)
	}
	return nil
}

// add makes one more connection.
func (p *pool) add(ctx context.Context) error {
	p.mu.Lock()
	once := len(p.conns) > 0
	p.mu.Unlock()
	c, err := p.connect(ctx, once)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	p.broadcast()
	if err != nil {
		if once && ctx.Err() == nil {
			// The machine lets no more in at the moment: those there are will
			// do. If they have ended meanwhile, the next try is a patient one.
			p.pause = time.Now().Add(200 * time.Millisecond)
			time.AfterFunc(210*time.Millisecond, p.wake)
			return nil
		}
		return err
	}
	if p.closed {
		go c.close()
		return errClosed
	}
	p.conns = append(p.conns, c)
	return nil
}

// release gives a session's place back.
func (p *pool) release(s *session) {
	s.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	s.conn.busy--
	p.broadcast()
}

func (p *pool) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broadcast()
}

func (p *pool) broadcast() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// roundTrip returns how long the machine takes to answer, or 0 if it is not known.
func (p *pool) roundTrip(ctx context.Context) time.Duration {
	p.mu.Lock()
	var c *conn
	if len(p.conns) > 0 {
		c = p.conns[0]
	}
	p.mu.Unlock()
	if c == nil {
		return 0
	}
	select {
	case <-c.timed:
	case <-c.ended:
	case <-ctx.Done():
	}
	return time.Duration(c.rtt.Load())
}

// dropAll closes the connections; the next session makes a new one.
func (p *pool) dropAll() {
	p.mu.Lock()
	conns := p.conns
	p.conns = nil
	p.broadcast()
	p.mu.Unlock()
	for _, c := range conns {
		c.close()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.dropAll()
}

func without(conns []*conn, c *conn) []*conn {
	var rest []*conn
	for _, x := range conns {
		if x != c {
			rest = append(rest, x)
		}
	}
	return rest
}

// idle reports whether there is no connection.
func (p *pool) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if !c.dead() {
			return false
		}
	}
	return true
}
