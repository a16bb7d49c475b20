package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/net/proxy"
)

// A dialer makes connections to one machine.
type dialer struct {
	config Config // with defaults
}

// dial connects and logs in, once, through all hops. ctx bounds only that.
func (d *dialer) dial(ctx context.Context) (*conn, error) {
	hops := append(d.config.Jumps[:len(d.config.Jumps):len(d.config.Jumps)], d.config.Hop)
	if d.config.Prepare != nil {
		if err := d.config.Prepare(ctx); err != nil {
			return nil, err
		}
	}
	answer, err := d.config.Forward.server()
	if err != nil {
		return nil, &fatalError{err}
	}
	began := time.Now()
	raw, err := d.first(ctx, hops[0])
	if err != nil {
		return nil, err
	}
	heard := newHearing(raw)
	if d.config.ProxyCommand == "" && d.config.Dial == nil {
		heard.reached = time.Since(began) // at least one round trip, to the first hop
	}
	var chain []io.Closer
	var nc net.Conn = heard
	for i, h := range hops {
		end := &cutConn{Conn: nc}
		nc = end
		client, err := d.login(ctx, nc, h, i == len(hops)-1)
		if err != nil {
			closeAll(append(chain, nc))
			return nil, err
		}
		chain = append(chain, client)
		if i == len(hops)-1 {
			return newConn(client, heard, end, chain, d.config, answer), nil
		}
		if nc, err = through(ctx, client, hops[i+1].Addr()); err != nil {
			closeAll(chain)
			return nil, fmt.Errorf("going through %s: %w", h.Addr(), err)
		}
	}
	panic("no hops")
}

func closeAll(chain []io.Closer) {
	for i := len(chain) - 1; i >= 0; i-- {
		chain[i].Close()
	}
}

// through connects from a jump host to addr.
func through(ctx context.Context, client *gossh.Client, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	return client.DialContext(ctx, "tcp", addr)
}

// dialTime bounds one attempt to reach a machine. While a machine boots, its
// packets are lost: short attempts notice it soon after it is up, since the
// kernel asks again only after 1, 3, 7 seconds.
const dialTime = 3 * time.Second

// first reaches the first hop: directly, through a SOCKS proxy or a command, or
// as the Config does.
func (d *dialer) first(ctx context.Context, h Hop) (net.Conn, error) {
	if d.config.Dial != nil {
		ctx, cancel := context.WithTimeout(ctx, handshakeTime)
		defer cancel()
		return d.config.Dial(ctx)
	}
	if d.config.ProxyCommand != "" {
		return commandConn(d.config.ProxyCommand, d.config.Log)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	direct := &net.Dialer{KeepAlive: -1}
	if d.config.Proxy == "" {
		return tuned(d.config, func() (net.Conn, error) { return direct.DialContext(ctx, "tcp", h.Addr()) })
	}
	socks, err := socksDialer(d.config.Proxy, direct)
	if err != nil {
		return nil, err
	}
	return tuned(d.config, func() (net.Conn, error) { return socks.DialContext(ctx, "tcp", h.Addr()) })
}

func socksDialer(address string, direct proxy.Dialer) (proxy.ContextDialer, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, &fatalError{fmt.Errorf("proxy: want socks5://[USER:PASSWORD@]HOST:PORT")} // not the address: it may hold a password
	}
	d, err := proxy.FromURL(u, direct)
	if err != nil {
		return nil, &fatalError{fmt.Errorf("proxy %s: %w", u.Redacted(), err)}
	}
	cd, ok := d.(proxy.ContextDialer)
	if !ok {
		return nil, &fatalError{fmt.Errorf("proxy %s: it cannot be cancelled", u.Redacted())}
	}
	return cd, nil
}

func tuned(config Config, dial func() (net.Conn, error)) (net.Conn, error) {
	c, err := dial()
	if err != nil {
		return nil, err
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		tuneTCP(tcp, config.DeadAfter)
		return quickACK(tcp), nil
	}
	return c, nil
}

// login does the handshake with one hop over nc.
func (d *dialer) login(ctx context.Context, nc net.Conn, h Hop, last bool) (*gossh.Client, error) {
	var console func(context.Context) (string, error)
	if last {
		console = d.config.Console
	}
	v, err := h.HostKeys.verifier(ctx, h.Addr(), console)
	if err != nil {
		if h.HostKeys.Console {
			return nil, err // it may show them later
		}
		return nil, &fatalError{err}
	}
	l, err := newLogin(h.Auth)
	if err != nil {
		return nil, &fatalError{err}
	}
	defer l.close()
	said := &banner{}
	config := &gossh.ClientConfig{
		User: h.User, Auth: l.methods(), HostKeyCallback: v.check, HostKeyAlgorithms: v.algorithms,
		BannerCallback: said.add, ClientVersion: "SSH-2.0-bake",
	}
	config.Ciphers, config.KeyExchanges, config.MACs = d.config.Ciphers, d.config.KeyExchanges, d.config.MACs

	ctx, cancel := context.WithTimeoutCause(ctx, handshakeTime, errHandshakeTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { nc.Close() }) // works on every kind of connection, unlike deadlines
	defer stop()
	cc, chans, reqs, err := gossh.NewClientConn(nc, v.addr, config)
	if err == nil && ctx.Err() == nil {
		return gossh.NewClient(cc, chans, reqs), nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("logging in to %s: %w", h.Addr(), context.Cause(ctx))
	}
	return nil, loginError(err, h, l, v, said)
}

var errHandshakeTime = errors.New("it accepts connections, but does not answer")

// loginError tells a refused login from a machine that is not ready.
func loginError(err error, h Hop, l *login, v *verifier, said *banner) error {
	if key, ok := errors.AsType[*HostKeyError](err); ok {
		return key
	}
	if fatal, ok := errors.AsType[*fatalError](err); ok {
		return fatal
	}
	if _, ok := errors.AsType[*gossh.AlgorithmNegotiationError](err); ok {
		if v.algorithms != nil && !v.passed {
			return &fatalError{fmt.Errorf("logging in to %s: it has no host key of a kind that is known for it (%v), or no other algorithm in common: %w", h.Addr(), v.algorithms, err)}
		}
		return &fatalError{fmt.Errorf("logging in to %s: %w", h.Addr(), err)}
	}
	if user := rightUser(said.text()); user != "" {
		return &WrongUserError{Addr: h.Addr(), User: h.User, Right: user}
	}
	if v.passed && !isNetwork(err) {
		return &AuthError{Addr: h.Addr(), User: h.User, Offered: l.offered, Unable: l.unable, Said: said.text(), err: err}
	}
	if v.callback != nil && !v.passed && !isNetwork(err) {
		return fmt.Errorf("verifying %s: %w", h.Addr(), err)
	}
	return fmt.Errorf("logging in to %s: %w", h.Addr(), err)
}

// isNetwork reports whether err is the connection's, not the peer's answer.
func isNetwork(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// banner collects what a machine says before a login.
type banner struct {
	mu  sync.Mutex
	all string
}

func (b *banner) add(message string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.all) < 4096 {
		b.all += message
	}
	return nil
}

func (b *banner) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all
}

// hearing notes when the peer was last heard.
type hearing struct {
	net.Conn
	last    atomic.Int64  // nanoseconds since the epoch
	reached time.Duration // how long it took to connect; 0: not known
}

func newHearing(c net.Conn) *hearing {
	h := &hearing{Conn: c}
	h.last.Store(time.Now().UnixNano())
	return h
}

func (h *hearing) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if n > 0 {
		h.last.Store(time.Now().UnixNano())
	}
	return n, err
}

func (h *hearing) silence() time.Duration {
	return time.Duration(time.Now().UnixNano() - h.last.Load())
}

// cutConn notes that nothing more can be read before its reader sees it: what
// ends after that may have ended only because of it.
type cutConn struct {
	net.Conn
	cut atomic.Bool
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.cut.Store(true)
	}
	return n, err
}

// pipeConn is a connection through a command's stdin and stdout.
type pipeConn struct {
	io.Reader
	io.WriteCloser
	cmd  *exec.Cmd
	once sync.Once
}

func commandConn(command string, log func(string, ...any)) (net.Conn, error) {
	cmd := exec.Command("/bin/sh", "-c", "exec "+command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us to handle
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting proxy command: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting proxy command: %w", err)
	}
	cmd.Stderr = &lines{emit: func(line string) { log("proxy command: %s", line) }}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting proxy command: %w", err)
	}
	return &pipeConn{Reader: out, WriteCloser: in, cmd: cmd}, nil
}

func (p *pipeConn) Close() error {
	p.once.Do(func() {
		p.WriteCloser.Close()
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		_ = p.cmd.Wait()
	})
	return nil
}

// lines calls emit for each line that is written to it.
type lines struct {
	emit func(string)
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.emit(strings.TrimRight(string(line), "\r"))
		l.rest = rest
	}
}

type commandAddr struct{}

func (commandAddr) Network() string { return "command" }
func (commandAddr) String() string  { return "0.0.0.0:0" } // known_hosts wants one that parses

func (p *pipeConn) LocalAddr() net.Addr              { return commandAddr{} }
func (p *pipeConn) RemoteAddr() net.Addr             { return commandAddr{} }
func (p *pipeConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (p *pipeConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (p *pipeConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }
