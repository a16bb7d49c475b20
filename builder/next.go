package builder

import "slices"

// History is what has happened so far in a run.
type History struct {
	Started map[StepID]bool
	Done    map[StepID]State
	Failed  map[StepID]string
}

// NewHistory returns the history of a run of which done is known from its journal.
func NewHistory(done map[StepID]State) History {
	return History{Started: map[StepID]bool{}, Done: done, Failed: map[StepID]string{}}
}

// Next returns the steps that may start now, in plan order. It is pure: the
// same plan and history give the same answer in the in-process runner, in a
// workflow engine and in a replay. A failed step stops its build and the
// builds that need it; the others go on.
func (p *Plan) Next(h History) []Step {
	var ready []Step
	for _, b := range p.Builds {
		if !p.needsMet(b, h) {
			continue
		}
		if step, ok := b.next(h); ok && !h.Started[step.ID] && (!step.Last || p.onlyLastLeft(h)) {
			ready = append(ready, step)
		}
	}
	return ready
}

// next returns the first step of the build that is not done; none if it failed.
func (b Build) next(h History) (Step, bool) {
	for _, step := range b.Steps {
		if _, failed := h.Failed[step.ID]; failed {
			return Step{}, false
		}
	}
	i := b.done(h)
	if i == len(b.Steps) {
		return Step{}, false
	}
	return b.Steps[i], true
}

// done counts the steps from the first on whose work exists, either because
// they ran or because Open found it in the cache.
func (b Build) done(h History) int {
	n := 0
	for n < len(b.Steps) {
		state, ok := h.Done[b.Steps[n].ID]
		if !ok {
			break
		}
		n++
		if state.Through != "" {
			n = max(n, 1+slices.IndexFunc(b.Steps, func(s Step) bool { return s.ID == state.Through }))
		}
	}
	return n
}

// state returns what the build's last finished step left.
func (b Build) state(h History) State {
	var last State
	for _, s := range b.Steps[:b.done(h)] {
		if st, ok := h.Done[s.ID]; ok {
			last = st
		}
	}
	return last
}

func (p *Plan) needsMet(b Build, h History) bool {
	return !slices.ContainsFunc(b.Needs, func(name string) bool {
		need, ok := p.Build(name)
		return !ok || !need.made(h)
	})
}

// made reports whether the build's artifact exists and is accepted. Builds
// that start from it need not wait until it is published.
func (b Build) made(h History) bool {
	if b.Given != nil {
		return true
	}
	for i, s := range b.Steps[:b.done(h)] {
		if s.Phase == Accept && i < len(b.Steps) {
			return true
		}
	}
	return false
}

// onlyLastLeft reports whether all that is left to do in the whole plan are
// the steps that want to see everything else done.
func (p *Plan) onlyLastLeft(h History) bool {
	return !slices.ContainsFunc(p.Builds, func(b Build) bool {
		step, more := b.next(h)
		return more && !step.Last || b.failed(h)
	})
}

func (b Build) failed(h History) bool {
	return slices.ContainsFunc(b.Steps, func(s Step) bool { _, ok := h.Failed[s.ID]; return ok })
}

// Build returns the build of that name.
func (p *Plan) Build(name string) (Build, bool) {
	i := slices.IndexFunc(p.Builds, func(b Build) bool { return b.Name == name })
	if i < 0 {
		return Build{}, false
	}
	return p.Builds[i], true
}

// An Input is all that a step starts from: plain data.
type Input struct {
	State   State                        `json:"state"`
	Base    *Artifact                    `json:"base,omitempty"`    // of the build it starts from
	Needs   []Artifact                   `json:"needs,omitempty"`   // of a join, in the order of Build.Needs
	Outputs map[string]map[string]string `json:"outputs,omitempty"` // what earlier outputs of the build published, by kind and name
	Results []Result                     `json:"results,omitempty"` // of the whole run so far, for a step that is Last
}

// Input returns what the step starts from.
func (p *Plan) Input(step Step, h History) Input {
	b, _ := p.Build(step.ID.Build())
	in := Input{State: b.state(h)}
	if in.State.Artifact == nil {
		in.State.Artifact = b.Given
	}
	if base, ok := p.Build(b.Base); ok {
		in.Base = base.artifact(h)
	}
	switch step.Phase {
	case Join:
		for _, name := range b.Needs {
			if need, ok := p.Build(name); ok {
				in.Needs = append(in.Needs, *need.artifact(h))
			}
		}
	case Publish:
		in.Outputs = b.published(h)
		if step.Last {
			in.Results = p.Results(h)
		}
	}
	return in
}

// artifact returns what the build made; nil if it is not made yet.
func (b Build) artifact(h History) *Artifact {
	a := b.Given
	for _, s := range b.Steps {
		if st, ok := h.Done[s.ID]; ok && st.Artifact != nil {
			a = st.Artifact
		}
	}
	return a
}

// published is what the build's outputs have made so far, by kind and by name.
func (b Build) published(h History) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, s := range b.Steps {
		if st, ok := h.Done[s.ID]; ok && st.Published != nil {
			out[s.Kind], out[s.Name] = st.Published.Values, st.Published.Values
		}
	}
	return out
}

// Results lists what the run has made so far, in plan order: for each build
// its artifact, then what its outputs published.
func (p *Plan) Results(h History) []Result {
	var all []Result
	for _, b := range p.Builds {
		if a := b.artifact(h); a != nil && b.made(h) {
			all = append(all, Result{Build: b.Name, Artifact: a})
		}
		for _, s := range b.Steps {
			if st, ok := h.Done[s.ID]; ok && st.Published != nil {
				all = append(all, Result{Build: b.Name, Output: s.Kind, Published: st.Published})
			}
		}
	}
	return all
}
