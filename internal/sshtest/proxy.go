package sshtest

import (
	"net"
	"strconv"
	"sync"
	"testing"
)

// A Proxy is a TCP proxy in front of a server that can break its connections
// in the ways networks do.
type Proxy struct {
	Host string
	Port int

	target string
	mu     sync.Mutex
	cond   *sync.Cond
	conns  map[net.Conn]bool
	frozen bool
	budget int64 // bytes until the next cut; negative: no cut
	refuse bool
	Cuts   int
	seen   int // connections
	wg     sync.WaitGroup
}

// NewProxy starts a proxy in front of target for one test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	p := &Proxy{Host: "127.0.0.1", Port: addr.Port, target: target, conns: map[net.Conn]bool{}, budget: -1}
	p.cond = sync.NewCond(&p.mu)
	p.wg.Go(func() { p.accept(l) })
	t.Cleanup(func() {
		l.Close()
		p.Freeze(false)
		p.Cut()
		p.wg.Wait()
	})
	return p
}

// Addr is the proxy's address, HOST:PORT.
func (p *Proxy) Addr() string { return net.JoinHostPort(p.Host, strconv.Itoa(p.Port)) }

// Freeze makes the proxy forward nothing more, in either direction, while its
// connections stay open; or go on.
func (p *Proxy) Freeze(frozen bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = frozen
	p.cond.Broadcast()
}

// Refuse makes the proxy close new connections at once.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// Cut breaks all connections now.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

// CutAfter breaks all connections when n more bytes have passed.
func (p *Proxy) CutAfter(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.budget = n
}

// Connections is how many connections the proxy has seen.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

func (p *Proxy) cut() {
	p.Cuts++
	p.budget = -1
	for c := range p.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // a reset, not an orderly end
		}
		c.Close()
	}
	clear(p.conns)
}

func (p *Proxy) accept(l net.Listener) {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.seen++
		refuse := p.refuse
		p.mu.Unlock()
		if refuse {
			near.Close()
			continue
		}
		far, err := net.Dial("tcp", p.target)
		if err != nil {
			near.Close()
			continue
		}
		p.mu.Lock()
		p.conns[near], p.conns[far] = true, true
		p.mu.Unlock()
		p.wg.Go(func() { p.forward(near, far) })
		p.wg.Go(func() { p.forward(far, near) })
	}
}

func (p *Proxy) forward(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.pass(n) {
			return
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, from)
	delete(p.conns, to)
}

// pass waits until n bytes may pass, and reports whether they may.
func (p *Proxy) pass(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.frozen {
		p.cond.Wait()
	}
	if p.budget < 0 {
		return true
	}
	if p.budget -= int64(n); p.budget < 0 {
		p.cut()
		return false
	}
	return true
}
