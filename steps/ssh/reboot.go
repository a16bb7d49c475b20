package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"bake/builder"
	"bake/internal/shell"
)

// bootScript prints what differs from one start of a machine to the next.
const bootScript = `if [ -r /proc/sys/kernel/random/boot_id ]; then cat /proc/sys/kernel/random/boot_id
else sysctl -n kern.boottime 2>/dev/null || who -b; fi`

// rebootScript is the machine's own way. It is delayed, so that the command
// that asks for it can end.
const rebootScript = `for c in "systemctl reboot" "shutdown -r now" reboot; do
if command -v ${c%% *} >/dev/null 2>&1; then
nohup sh -c "sleep 1; $c" </dev/null >/dev/null 2>&1 &
exit 0
fi
done
echo "neither systemctl nor shutdown nor reboot is there" >&2
exit 1`

// A RebootError is a restart that did not happen, or not in time.
type RebootError struct {
	Addr   string
	Gone   bool // it went, but did not come back
	Waited time.Duration
	Err    error // the last try; may be nil
}

func (e *RebootError) Error() string {
	text := fmt.Sprintf("rebooting %s: it is still up after %v, with the same boot id", e.Addr, e.Waited.Round(time.Second))
	if e.Gone {
		text = fmt.Sprintf("rebooting %s: it did not come back within %v", e.Addr, e.Waited.Round(time.Second))
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *RebootError) Unwrap() error { return e.Err }

// Reboot restarts the machine (see builder.Rebooter). The boot id proves it.
func (m *Communicator) Reboot(ctx context.Context, sc *builder.Scope, command string, wait time.Duration) error {
	before, err := m.bootID(ctx)
	if err != nil {
		return fmt.Errorf("rebooting %s: %w", m.config.Addr(), err)
	}
	if err := m.restart(ctx, command); err != nil {
		return fmt.Errorf("rebooting %s: %w", m.config.Addr(), err)
	}
	began := time.Now()
	sc.Log("waiting for %s to restart", m.config.Addr())
	deadline, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	gone, err := m.awaitNewBoot(deadline, before)
	if err == nil {
		m.forgetFacts()
		sc.Log("%s is back after %v, with a new boot id", m.config.Addr(), time.Since(began).Round(100*time.Millisecond))
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if deadline.Err() != nil {
		return &RebootError{Addr: m.config.Addr(), Gone: gone, Waited: time.Since(began), Err: lastTry(err)}
	}
	return fmt.Errorf("rebooting %s: %w", m.config.Addr(), err)
}

// lastTry leaves out that the time is over: the error says that already.
func lastTry(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// restart runs the command. That the connection breaks meanwhile is what is wanted.
func (m *Communicator) restart(ctx context.Context, command string) error {
	call := shell.Call{Script: command, Home: true}
	if command == "" {
		call = shell.Call{Script: rebootScript, Shell: []string{"/bin/sh"}, Home: true}
	}
	// Going down, some machines forget to tell us: then nothing comes any more.
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var errs tailBuffer
	err := m.do(ctx, job{call: call, as: m.identity(""), stderr: &errs})
	if _, lost := errors.AsType[*LostError](err); lost {
		return nil
	}
	if exit, failed := errors.AsType[*builder.ExitError](err); failed {
		if exit.Signal != "" || exit.Code > 128 {
			return nil // the shell was ended by what it asked for
		}
		return fmt.Errorf("%w: %s", err, errs.String())
	}
	return err
}

// awaitNewBoot asks for the boot id until it is another one. gone tells that
// the machine was away meanwhile.
func (m *Communicator) awaitNewBoot(ctx context.Context, before string) (gone bool, err error) {
	answered := time.Now()
	for {
		now, err := m.bootAgain(ctx)
		switch {
		case err == nil && now != before:
			return true, nil
		case err == nil:
			answered = time.Now()
		case m.finalFor(err):
			return true, err
		}
		gone = gone || err != nil && time.Since(answered) > time.Second // a question cut short by ctx says nothing
		if ctx.Err() != nil {
			return gone, errors.Join(ctx.Err(), err)
		}
		if pause(ctx, 500*time.Millisecond) != nil {
			return gone, ctx.Err()
		}
	}
}

// finalFor reports whether an error will not go away. A login that is refused
// may be one that is not possible yet while the machine starts.
func (m *Communicator) finalFor(err error) bool {
	if _, ok := errors.AsType[*HostKeyError](err); ok {
		return true
	}
	_, ok := errors.AsType[*fatalError](err)
	return ok
}

// bootAgain asks for the boot id, at most for as long as a machine that is up
// may need: one that goes down may take the question and never answer.
func (m *Communicator) bootAgain(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	id, err := m.bootID(ctx)
	if err != nil {
		m.pool.dropAll() // whatever is left of the connections is of no use
	}
	return id, err
}

func (m *Communicator) bootID(ctx context.Context) (string, error) {
	var out bytes.Buffer
	call := shell.Call{Script: bootScript, Shell: []string{"/bin/sh"}}
	if err := m.do(ctx, job{call: call, as: m.identity(""), stdout: &out}); err != nil {
		return "", fmt.Errorf("asking for its boot id: %w", err)
	}
	id := strings.TrimSpace(out.String())
	if id == "" {
		return "", errors.New("asking for its boot id: it has none")
	}
	return id, nil
}

func (m *Communicator) forgetFacts() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.facts = nil
}
