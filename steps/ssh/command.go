package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"bake/builder"
	"bake/internal/shell"
)

// A job is one exchange with the machine.
type job struct {
	call           shell.Call
	as             identity
	stdin          io.Reader        // what follows the call's own stream; may be nil
	again          func() io.Reader // returns stdin from its beginning; nil: that cannot be had
	stdout, stderr io.Writer        // may be nil
	whole          bool             // output that was cut short counts as lost, whatever the status
	spread         spread           // zero: that of commands
}

// linger is for how long output may still come from a command that has ended
// before it is taken to be that of a process it left behind.
const linger = 2 * time.Second

// do runs a command on a session of its own and returns *builder.ExitError if
// it failed, *LostError if nobody knows.
func (m *Communicator) do(ctx context.Context, cmd job) error {
	if cmd.spread == (spread{}) {
		cmd.spread = forCommands()
	}
	s, err := m.pool.session(ctx, cmd.spread)
	if err != nil {
		return err
	}
	defer func() { m.pool.release(s) }()
	if s.started && (cmd.call.TTY || cmd.as != m.identity("") || s.over()) {
		if err := m.renew(ctx, &s); err != nil {
			return err
		}
	}
	e := m.exchange(s, cmd)
	err = e.run(ctx)
	if !e.unborn() || ctx.Err() != nil {
		return err
	}
	s.conn.renewAhead()
	if err := m.renew(ctx, &s); err != nil {
		return err
	}
	if cmd.again != nil {
		cmd.stdin = cmd.again()
	}
	return m.exchange(s, cmd).run(ctx)
}

func (m *Communicator) exchange(s *session, cmd job) *exchange {
	return &exchange{m: m, s: s, cmd: cmd, failed: make(chan error, 4)}
}

// renew replaces a session whose loader cannot be used by one without. The old
// one is closed first: the machine may allow no more than one.
func (m *Communicator) renew(ctx context.Context, s **session) error {
	c := (*s).conn
	(*s).close()
	for {
		fresh, err := c.fresh(ctx)
		if err == nil {
			*s = fresh
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		refusal, ok := errors.AsType[*gossh.OpenChannelError](err)
		if !ok {
			return c.lost()
		}
		if err := c.closing(ctx, refusal); err != nil {
			return err
		}
	}
}

// loaderAhead is the command that sessions opened ahead wait with; empty: they
// wait without, since sudo does not wait for a password for ever.
func loaderAhead(config Config) string {
	m := &Communicator{config: config}
	as := m.identity("")
	if as.asks() && config.Become.Password != "" {
		return ""
	}
	return as.line(false, shell.AheadLoader)
}

// An exchange is a command under way.
type exchange struct {
	m      *Communicator
	s      *session
	cmd    job
	out    *marked
	errs   *marked
	failed chan error // what ends the command early: its writers, its reader, a refusal
	moved  moment     // when output last came

	refused atomic.Bool // the machine said no before anything ran
}

func (e *exchange) run(ctx context.Context) error {
	if !e.s.started {
		if err := e.s.start(e.cmd.as.line(e.m.config.Become.Password != "", shell.CallLoader), e.cmd.call.TTY); err != nil {
			return e.s.conn.lost()
		}
	}
	e.readers()
	var copying sync.WaitGroup
	copying.Go(func() { e.copy(e.out, e.s.ch) })
	copying.Go(func() { e.copy(e.errs, e.s.ch.Stderr()) })
	go e.feed() // ends when the session does
	drained := make(chan struct{})
	go func() { copying.Wait(); close(drained) }()

	late := time.AfterFunc(startTime, func() {
		if !e.out.found() {
			e.fail(&NoShellError{Addr: e.s.conn.addr, User: e.m.config.User, Said: e.said()})
		}
	})
	defer late.Stop()
	err := e.wait(ctx, drained)
	e.s.close()
	e.out.stop() // nothing writes to the caller's writers once this has returned
	e.errs.stop()
	return err
}

// wait returns when the command has ended, its output is there, or it has to be given up.
func (e *exchange) wait(ctx context.Context, drained chan struct{}) error {
	select {
	case <-drained: // the usual end: output, status, end of session
		select {
		case <-e.s.exited:
		case <-e.s.ended:
		case <-e.s.conn.ended:
		case <-ctx.Done():
		}
		select {
		case err := <-e.failed:
			return err
		default:
		}
		return e.result(ctx)
	case <-e.s.exited:
		return e.drain(ctx, drained)
	case err := <-e.failed:
		return e.stop(ctx, err)
	case <-ctx.Done():
		return e.stop(ctx, context.Cause(ctx))
	}
}

// drain waits for the rest of the output of a command that has ended. If a
// process it left behind still holds the output, nothing comes for a while.
func (e *exchange) drain(ctx context.Context, drained chan struct{}) error {
	tick := time.NewTicker(linger / 4)
	defer tick.Stop()
	ended := time.Now()
	for {
		select {
		case <-drained:
			select {
			case err := <-e.failed:
				return err
			default:
			}
			return e.result(ctx)
		case err := <-e.failed:
			return e.stop(ctx, err)
		case <-ctx.Done():
			return e.stop(ctx, context.Cause(ctx))
		case now := <-tick.C:
			if now.Sub(ended) > linger && e.moved.ago() > linger {
				return e.result(ctx)
			}
		}
	}
}

// result tells how the command ended.
func (e *exchange) result(ctx context.Context) error {
	st := e.s.result()
	if !e.out.found() {
		if user := rightUser(e.said()); user != "" {
			return &WrongUserError{Addr: e.s.conn.addr, User: e.m.config.User, Right: user}
		}
		switch {
		case st == nil:
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return e.s.conn.lost()
		case e.cmd.as.user != "":
			return &BecomeError{User: e.cmd.as.user, Said: strings.ReplaceAll(e.said(), sudoPrompt, "")}
		}
		return &NoShellError{Addr: e.s.conn.addr, User: e.m.config.User, Said: e.said()}
	}
	switch {
	case st == nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case st == nil:
		return e.s.conn.lost()
	case st.code != 0 || st.signal != "":
		return &builder.ExitError{Code: st.code, Signal: st.signal}
	case e.cmd.whole && e.s.conn.end.cut.Load():
		return e.s.conn.lost() // the status may have overtaken the output
	}
	return nil
}

// unborn reports whether the loader that waited for the command has ended
// without running it: the login is not like one of now, or somebody ended it,
// maybe before its first word.
func (e *exchange) unborn() bool {
	st := e.s.result()
	return e.s.started && st != nil && !e.errs.found() && (e.out.found() || st.signal != "")
}

// born waits until the loader that waited runs the command, and reports
// whether it does.
func (e *exchange) born() bool {
	select {
	case <-e.errs.ready:
	case <-e.s.ended:
	case <-e.s.conn.ended:
	}
	return e.errs.found()
}

// stop ends the command with all its processes, and returns why.
func (e *exchange) stop(ctx context.Context, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	if e.refused.Load() {
		return why // nothing has started
	}
	pid := e.out.pid(ctx, e.s)
	if pid == 0 {
		return why
	}
	if err := e.m.kill(ctx, e.s.conn, e.cmd.as, pid); err != nil {
		return fmt.Errorf("%w (what it ran may still run: %w)", why, err)
	}
	return why
}

// kill ends the process, its session and all that comes from it.
func (m *Communicator) kill(ctx context.Context, c *conn, as identity, pid int) error {
	argv := shell.Kill(pid)
	script := fmt.Sprintf("{ IFS= read -r l </proc/%d/stat; } 2>/dev/null || exit 0\nset -- ${l##*) }\nexec %s \"$4\"\n",
		pid, shell.Join(argv[:len(argv)-1]...))
	cmd := job{call: shell.Call{Script: script, Shell: []string{"/bin/sh"}}, as: as}
	s, err := c.session(ctx, 0) // the same connection: its last place is kept for this
	if err != nil {
		if c.dead() {
			return m.do(ctx, cmd)
		}
		return err
	}
	defer func() { s.close() }()
	if s.started { // as somebody else, or it may be stale: both do not matter here, but it must run
		if err := m.renew(ctx, &s); err != nil {
			return err
		}
	}
	return m.exchange(s, cmd).run(ctx)
}

// fail ends the command early, for a reason.
func (e *exchange) fail(err error) {
	select {
	case e.failed <- err:
	default: // there is one already
	}
}

// readers prepares what takes the command's output.
func (e *exchange) readers() {
	stdout, stderr := e.cmd.stdout, e.cmd.stderr
	if stdout == nil {
		stdout = io.Discard
	}
	if stderr == nil {
		stderr = io.Discard
	}
	e.out = &marked{to: stdout, mark: shell.CallMarkOut, numbered: true, watch: e.refusal, ready: make(chan struct{})}
	if e.cmd.call.TTY {
		e.out.second = shell.CallMarkErr // both come through the terminal
	}
	e.errs = &marked{to: stderr, mark: shell.CallMarkErr, watch: e.refusal, ready: make(chan struct{})}
}

// refusal looks at what comes before the command's own output.
func (e *exchange) refusal(said []byte) {
	if user := rightUser(string(said)); user != "" {
		e.refused.Store(true)
		e.fail(&WrongUserError{Addr: e.s.conn.addr, User: e.m.config.User, Right: user})
	}
	if bytes.Count(said, []byte(sudoPrompt)) > 1 {
		e.refused.Store(true)
		e.fail(&BecomeError{User: e.cmd.as.user, Said: "sudo does not accept the password"})
	}
}

// said returns what came instead of the command's own output.
func (e *exchange) said() string { return e.errs.before() + e.out.before() }

func (e *exchange) copy(to *marked, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			e.moved.now()
			if _, werr := to.Write(buf[:n]); werr != nil {
				e.fail(werr)
				_, _ = io.Copy(io.Discard, from) // until the session is closed: what is sent must be taken
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// feed writes the command's stream: the password, the call, its stdin.
func (e *exchange) feed() {
	head := e.cmd.call.Stream()
	if e.cmd.as.asks() && e.m.config.Become.Password != "" {
		head = e.m.config.Become.Password + "\n" + head
	}
	if _, err := io.WriteString(e.s.ch, head); err != nil {
		return // the session has ended: its status says why
	}
	if e.cmd.stdin != nil {
		if e.s.started && e.cmd.again == nil && !e.born() {
			return // what is read from it would be lost
		}
		buf := make([]byte, 64<<10)
		// The reader's own WriteTo would hide which side failed.
		if _, err := io.CopyBuffer(e.s.ch, reader{e.cmd.stdin}, buf); err != nil && !errors.Is(err, io.EOF) {
			if read, ok := errors.AsType[*readError](err); ok {
				e.fail(fmt.Errorf("reading the command's input: %w", read.error))
				return
			}
		}
	}
	if !e.cmd.call.TTY {
		_ = e.s.ch.CloseWrite()
	}
}

// reader marks the errors of an input, as opposed to those of the session.
type reader struct{ io.Reader }

type readError struct{ error }

func (r reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = &readError{err}
	}
	return n, err
}

// A moment is when something last happened.
type moment struct {
	mu sync.Mutex
	t  time.Time
}

func (m *moment) now() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.t = time.Now()
}

func (m *moment) ago() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.t)
}

// marked passes on what follows the loader's mark. What comes before (the
// talk of a login shell, sudo's) is kept apart.
type marked struct {
	to       io.Writer
	mark     string
	numbered bool   // the mark goes on with a process id
	second   string // a second mark behind it
	watch    func([]byte)

	writing sync.Mutex // guards to

	mu     sync.Mutex
	held   []byte
	number int
	passed bool
	ready  chan struct{}
}

const mostTalk = 64 << 10 // more than that before the mark is cut

func (w *marked) Write(p []byte) (int, error) {
	w.mu.Lock()
	passed := w.passed
	if !passed {
		w.held = append(w.held, p...)
	}
	w.mu.Unlock()
	if passed {
		return w.pass(p)
	}
	rest, ok := w.find()
	if !ok {
		w.watch(w.held)
		return len(p), nil
	}
	if len(rest) > 0 {
		if _, err := w.pass(rest); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// pass hands output on.
func (w *marked) pass(p []byte) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	return w.to.Write(p)
}

// stop waits for a write that is under way, and throws away what comes later.
func (w *marked) stop() {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.to = io.Discard
}

// find looks for the mark in what is held, and returns what follows it.
func (w *marked) find() ([]byte, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, rest, ok := bytes.Cut(w.held, []byte(w.mark))
	if ok && w.numbered {
		var number []byte
		if number, rest, ok = bytes.Cut(rest, []byte("\x1e\n")); ok {
			w.number, _ = strconv.Atoi(string(number))
		}
	}
	if ok && w.second != "" {
		_, rest, ok = bytes.Cut(rest, []byte(w.second))
	}
	if !ok {
		if len(w.held) > mostTalk {
			w.held = append(w.held[:0], w.held[len(w.held)-mostTalk/2:]...)
		}
		return nil, false
	}
	w.passed, w.held = true, nil
	close(w.ready)
	return rest, true
}

func (w *marked) found() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.passed
}

func (w *marked) before() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.held)
}

// pid waits for the id of the process the loader runs in; 0 if it never comes.
func (w *marked) pid(ctx context.Context, s *session) int {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	select {
	case <-w.ready:
	case <-s.ended:
	case <-s.conn.ended:
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.number
}
