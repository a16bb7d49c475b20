package ssh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"bake/builder"
	"bake/internal/shell"
)

// A Communicator runs commands on one machine and moves files. It connects
// again when a connection breaks. It is safe for concurrent use.
type Communicator struct {
	config Config
	dialer *dialer
	pool   *pool

	mu    sync.Mutex
	facts *asking
}

// Connect reaches a machine, however long it takes to come up, up to
// c.Patience, and returns when the login works. Errors: *HostKeyError,
// *AuthError, *WrongUserError, *ConnectError.
func Connect(ctx context.Context, c Config) (*Communicator, error) {
	m, err := prepare(ctx, c)
	if err != nil {
		return nil, err
	}
	first, err := m.connect(ctx, false)
	if err != nil {
		return nil, err
	}
	m.pool.conns = append(m.pool.conns, first)
	return m, nil
}

func prepare(ctx context.Context, c Config) (*Communicator, error) {
	if c.Host == "" {
		return nil, errors.New("SSH: no host")
	}
	full, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := full.unlock(ctx); err != nil {
		return nil, err
	}
	m := &Communicator{config: full, dialer: &dialer{config: full}}
	m.pool = newPool(m.connect)
	return m, nil
}

// Close ends all connections. Commands that still run get a *LostError.
func (m *Communicator) Close() error {
	m.pool.close()
	return nil
}

// Run runs a command: one session, one exchange.
func (m *Communicator) Run(ctx context.Context, cmd builder.Command) error {
	if cmd.Script != "" && cmd.Argv != nil {
		return errors.New("a command is a script or a program, not both")
	}
	as := m.identity(cmd.User)
	call := shell.Call{Script: cmd.Script, Shell: cmd.Shell, Argv: cmd.Argv, Env: cmd.Env, Dir: cmd.Dir,
		Home: as.user != "", TTY: cmd.TTY || m.config.TTY && cmd.Argv == nil}
	c := job{call: call, as: as, stdout: cmd.Stdout, stderr: cmd.Stderr}
	if cmd.Argv != nil && cmd.Stdin != nil {
		c.call.Stdin, c.stdin = true, cmd.Stdin
	}
	return m.do(ctx, c)
}

// connect reaches the machine, trying until Patience is over, or once.
func (m *Communicator) connect(ctx context.Context, once bool) (*conn, error) {
	w := &waiting{m: m, began: time.Now()}
	for {
		c, err := w.try(ctx, once)
		if err == nil {
			if w.tries > 0 {
				m.config.Log("connected to %s after %v", m.config.Addr(), time.Since(w.began).Round(100*time.Millisecond))
			}
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("connecting to %s: %w", m.config.Addr(), context.Cause(ctx))
		}
		if once {
			return nil, err
		}
		if err := w.next(ctx, err); err != nil {
			return nil, err
		}
	}
}
