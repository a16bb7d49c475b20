package builder

import (
	"context"
	"errors"
)

// Made returns the artifacts of a pinned plan that exist already, by build.
// It only reads. A build that starts from one that would be made anew is not
// among them.
func (e *Engine) Made(ctx context.Context, run RunID, p *Plan) (map[string]Artifact, error) {
	made := map[string]Artifact{}
	for _, b := range p.Builds {
		if !b.makes() {
			continue
		}
		x := &execution{Engine: e, sc: e.Scope(run, p, b.Steps[0].ID), plan: p, build: b, step: b.Steps[0]}
		if b.Base != "" {
			base, ok := made[b.Base]
			if !ok {
				continue
			}
			x.in.Base = &base
		}
		src, err := x.source()
		if err != nil {
			return nil, err
		}
		a, err := x.lookup(ctx, src)
		switch {
		case err == nil:
			made[b.Name] = a
		case !errors.Is(err, ErrNotFound):
			return nil, err
		}
	}
	return made, nil
}
