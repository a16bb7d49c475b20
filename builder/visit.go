package builder

import (
	"context"
	"fmt"
)

// Machines returns, by build, the machines of a run that are still there: where
// the last step of each build that ended left off.
func Machines(entries []Entry) map[string]Machine {
	there := map[string]Machine{}
	for _, e := range entries {
		switch {
		case e.Kind == StepEnd && e.State != nil && e.State.Machine != nil:
			there[e.Step.Build()] = *e.State.Machine
		case e.loses():
			for build, m := range there {
				if m.ID == e.Resource.ID {
					delete(there, build)
				}
			}
		}
	}
	return there
}

// Visit connects to a machine of a run, for a look inside. It changes nothing
// and makes nothing; the caller closes the communicator.
func (e *Engine) Visit(ctx context.Context, run RunID, p *Plan, build string, m Machine) (Communicator, error) {
	b, ok := p.Build(build)
	if !ok || len(b.Steps) == 0 {
		return nil, fmt.Errorf("run %s has no build %q", run, build)
	}
	x := &execution{Engine: e, sc: e.Scope(run, p, b.Steps[0].ID), plan: p, build: b, step: b.Steps[0]}
	src, err := x.source()
	if err != nil {
		return nil, err
	}
	comm, err := src.Dial(ctx, x.sc, m)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", m.ID, err)
	}
	return comm, nil
}
