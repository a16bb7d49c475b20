package builder

import (
	"context"
	"maps"
)

// shared is a communicator whose commands get what the step's shared keys
// say: env, user, workdir. What the command says itself wins. Files are put
// as the connection's own user.
type shared struct {
	Communicator
	env     map[string]string
	user    string
	workdir string
}

func (s shared) Run(ctx context.Context, cmd Command) error {
	if len(s.env) > 0 {
		env := maps.Clone(s.env)
		maps.Copy(env, cmd.Env)
		cmd.Env = env
	}
	if cmd.User == "" {
		cmd.User = s.user
	}
	if cmd.Dir == "" {
		cmd.Dir = s.workdir
	}
	return s.Communicator.Run(ctx, cmd)
}

// Unwrap returns the communicator itself, for its optional abilities.
func (s shared) Unwrap() Communicator { return s.Communicator }

// As finds an optional ability of a communicator, such as Chrooter.
func As[T any](c Communicator) (T, bool) {
	for {
		if t, ok := c.(T); ok {
			return t, true
		}
		u, ok := c.(interface{ Unwrap() Communicator })
		if !ok {
			var zero T
			return zero, false
		}
		c = u.Unwrap()
	}
}
