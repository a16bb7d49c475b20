package ssh

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// waiting is the state of an attempt to reach a machine that is not up yet.
type waiting struct {
	m     *Communicator
	began time.Time
	tries int
	state string    // what it waits for
	told  time.Time // when the user was last told
}

// How often a machine is tried: at first as often as a boot may need, later
// as often as somebody who waits minutes may notice. A refused login is tried
// less often: some machines lock out who fails too often.
const (
	fastest   = 200 * time.Millisecond
	slowest   = 2 * time.Second
	slowLogin = 3 * time.Second
	slowCall  = time.Second // at least between two tries that call an API
	tellAgain = 30 * time.Second
)

// leastTry is how long the last try may take at least, so that giving up says
// what is wrong with the machine and not only that the time is over.
const leastTry = time.Second

// try dials once, for as long as there is patience left.
func (w *waiting) try(ctx context.Context, once bool) (*conn, error) {
	if once {
		return w.m.dialer.dial(ctx)
	}
	left := max(w.m.config.Patience-time.Since(w.began), leastTry)
	ctx, cancel := context.WithTimeoutCause(ctx, left, errHandshakeTime)
	defer cancel()
	return w.m.dialer.dial(ctx)
}

// next takes note of a failed try, and returns nil when it is time for the next.
func (w *waiting) next(ctx context.Context, err error) error {
	w.tries++
	if w.isFinal(err) {
		return err
	}
	waited, patience := time.Since(w.began), w.patience(err)
	if waited >= patience {
		return w.giveUp(ctx, err, waited)
	}
	state := stateOf(err)
	if state != w.state || time.Since(w.told) > tellAgain {
		w.m.config.Log("waiting for SSH on %s: %s", w.m.config.Addr(), state)
		w.state, w.told = state, time.Now()
	}
	wait := min(fastest+waited/20, slowest)
	if _, refused := errors.AsType[*AuthError](err); refused {
		wait = slowLogin
	}
	if w.m.config.Dial != nil || w.m.config.Prepare != nil {
		wait = max(wait, slowCall)
	}
	return pause(ctx, min(wait, patience-waited))
}

// unknownName is how long the name of a machine that is up may be unknown. A
// new machine's may come as late as the machine.
const unknownName = 15 * time.Second

// patience is how long err is got over.
func (w *waiting) patience(err error) time.Duration {
	all := w.m.config.Patience
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound && !w.m.config.Fresh {
		return min(all, unknownName)
	}
	return all
}

// isFinal reports whether trying again is of no use.
func (w *waiting) isFinal(err error) bool {
	if _, ok := errors.AsType[*fatalError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*HostKeyError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*WrongUserError](err); ok {
		return true
	}
	_, refused := errors.AsType[*AuthError](err)
	return refused && !w.m.config.Fresh
}

// giveUp adds what the machine's console shows.
func (w *waiting) giveUp(ctx context.Context, err error, waited time.Duration) error {
	e := &ConnectError{Addr: w.m.config.Addr(), Waited: waited, Tries: w.tries, Err: err}
	if w.m.config.Console != nil {
		ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		if text, err := w.m.config.Console(ctx); err == nil {
			e.Console = lastLines(text, 30)
		}
	}
	return e
}

// stateOf says in a few words what is not ready.
func stateOf(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "its name is not known: " + dns.Error()
	}
	if _, ok := errors.AsType[*AuthError](err); ok {
		return "it does not let us in yet: " + err.Error()
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused: no SSH server is running yet"
	case errors.Is(err, errHandshakeTime):
		return errHandshakeTime.Error()
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer: the machine is not up, or a firewall drops our packets"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to it"
	case errors.Is(err, errNoConsoleKeys):
		return errNoConsoleKeys.Error()
	}
	if isNetwork(err) {
		return "it closes the connection: its SSH server is still starting, or busy"
	}
	return err.Error()
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(text, "\r", ""), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
