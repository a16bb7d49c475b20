package builder

import "strings"

// A group is the steps of a build that live and die together: when one of
// their machines is gone, all of them have to be done again.
type group struct{ build, part string }

// The parts of a build. Each output is a part of its own.
const (
	making  = "make"
	testing = "test"
)

// Phase is the phase that the id names.
func (id StepID) Phase() Phase {
	_, rest, _ := strings.Cut(string(id), "/")
	phase, _, _ := strings.Cut(rest, "/")
	return Phase(phase)
}

func (id StepID) group() group {
	switch id.Phase() {
	case Open, Provision, Freeze, Join:
		return group{id.Build(), making}
	case TestOpen, Test, Accept:
		return group{id.Build(), testing}
	}
	return group{id.Build(), string(id)}
}

// last is the phase whose end closes the group: its temporary resources are
// not needed any more.
func (g group) closedBy(step Step) bool {
	if step.ID.group() != g {
		return false
	}
	switch step.Phase {
	case Freeze, Join, Accept, Publish:
		return true
	}
	return false
}

// generation counts how often the group has lost a resource. It is part of
// every token, so that what is made anew is not taken for what was lost.
func generation(entries []Entry, g group) int {
	tokens := map[string]bool{}
	for _, e := range entries {
		if e.loses() && e.Step.group() == g {
			tokens[e.Resource.Token] = true
		}
	}
	return len(tokens)
}

// loses reports whether from this entry on a resource counts as gone.
func (e Entry) loses() bool { return e.Kind == Releasing || e.Kind == Released }

// Finished returns the results that still hold. A group that lost a machine
// before it was closed has to start over; so has a test that was interrupted,
// because what it had started is gone or unknown; and a build whose candidate
// is gone.
func Finished(entries []Entry, p *Plan) map[StepID]State {
	done := map[StepID]State{}
	gone := map[string]bool{}
	for i, e := range entries {
		switch {
		case e.Kind == StepEnd:
			done[e.Step] = *e.State
		case e.loses() && !gone[e.Resource.Token]: // what is made anew has another token
			gone[e.Resource.Token] = true
			_, candidate := candidates(entries[:i])[e.Resource.Token]
			if g := e.Step.group(); candidate || !closed(p, g, done) {
				forget(p, g, done)
			}
		}
	}
	for _, b := range p.Builds {
		if g := (group{b.Name, testing}); !closed(p, g, done) {
			forget(p, g, done)
		}
	}
	return done
}

func closed(p *Plan, g group, done map[StepID]State) bool {
	b, _ := p.Build(g.build)
	for _, s := range b.Steps {
		if _, ok := done[s.ID]; ok && g.closedBy(s) {
			return true
		}
		if st, ok := done[s.ID]; ok && st.Artifact != nil && st.Through != "" {
			return true // the artifact came from the cache, nothing was made
		}
	}
	return false
}

func forget(p *Plan, g group, done map[StepID]State) {
	b, _ := p.Build(g.build)
	for _, s := range b.Steps {
		if s.ID.group() == g {
			delete(done, s.ID)
		}
	}
}
