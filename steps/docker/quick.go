package docker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/docker/docker/api/types"
)

// atOnce is how many containers bake lets one engine make, start, commit and
// remove at the same time. More take longer each, and none is done sooner.
const atOnce = 4

// How long an engine gets for what takes it a moment, and under heavy load seconds.
const (
	quickTimeout  = 2 * time.Minute
	removeTimeout = 30 * time.Second
	pingTimeout   = 5 * time.Second
)

// turn waits until the engine has no more than atOnce calls to work on, and
// returns what ends the turn.
func (e *Engine) turn(ctx context.Context) (done func(), err error) {
	select {
	case e.turns <- struct{}{}:
		return func() { <-e.turns }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// quick makes a call in its turn that the engine answers soon, if it is well.
func (e *Engine) quick(ctx context.Context, what string, timeout time.Duration, call func(ctx context.Context) error) error {
	done, err := e.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	late := &stuckError{what: what, after: timeout}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, late)
	defer cancel()
	err = call(ctx)
	if err != nil && errors.Is(context.Cause(ctx), late) {
		return late
	}
	return err
}

// stuckError is a call that an engine has not answered in time.
type stuckError struct {
	what  string
	after time.Duration
}

func (e *stuckError) Error() string {
	return fmt.Sprintf("%s: no answer from the Docker engine within %s", e.what, e.after)
}

// Hint tells what to try.
func (e *stuckError) Hint() string {
	return "the engine or its containerd is stuck or overloaded: look at its log, restart it, then `bake resume`"
}

// hijack makes a call that takes over its connection. The client heeds no
// context while it waits for the answer, so somebody else waits: if the answer
// comes too late, the connection is closed.
func hijack(ctx context.Context, call func() (types.HijackedResponse, error)) (types.HijackedResponse, error) {
	type answer struct {
		conn types.HijackedResponse
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		conn, err := call()
		answered <- answer{conn, err}
	}()
	select {
	case a := <-answered:
		return a.conn, a.err
	case <-ctx.Done():
		go func() {
			if a := <-answered; a.err == nil {
				a.conn.Close()
			}
		}()
		return types.HijackedResponse{}, context.Cause(ctx)
	}
}

// awake returns an error at once if the engine does not answer at all: nobody
// shall wait long at the end of a run for what cannot happen.
func (e *Engine) awake(ctx context.Context) error {
	late := &stuckError{what: "asking whether it is there", after: pingTimeout}
	ctx, cancel := context.WithTimeoutCause(ctx, pingTimeout, late)
	defer cancel()
	c, err := e.client(ctx)
	if err == nil {
		_, err = c.Ping(ctx)
	}
	if err != nil && errors.Is(context.Cause(ctx), late) {
		return late
	}
	return err
}
