package report

import (
	"sync"
	"time"

	"bake/builder"
)

// Status is how far a run, a build or a step has come.
type Status string

// The statuses. Cached and Skipped are of steps. Interrupted is a step that was
// stopped (by the user, or because another build failed) and its build; and a
// run whose events end before it did: it goes on, was stopped or was killed.
const (
	Waiting     Status = "waiting"
	Running     Status = "running"
	Done        Status = "done"
	Cached      Status = "cached"
	Skipped     Status = "skipped"
	Failed      Status = "failed"
	Interrupted Status = "interrupted"
)

// A Run is what the events of a run add up to: what all sinks and pages show.
type Run struct {
	ID        builder.RunID      `json:"id"`
	Dir       string             `json:"dir,omitempty"` // of the run's files; "" if it has none
	Template  string             `json:"template,omitempty"`
	Name      string             `json:"name,omitempty"`
	Status    Status             `json:"status"`
	Started   time.Time          `json:"started,omitzero"`
	Ended     time.Time          `json:"ended,omitzero"`
	Elapsed   time.Duration      `json:"elapsed,omitempty"` // of the last process that worked on it
	Resumed   int                `json:"resumed,omitempty"` // how often it was taken up again
	Err       string             `json:"err,omitempty"`
	Left      []builder.Resource `json:"left,omitempty"`
	Kept      bool               `json:"kept,omitempty"` // Left was left on purpose
	Notices   []Notice           `json:"notices,omitempty"`
	Builds    []*Build           `json:"builds"`
	Resources int                `json:"-"` // temporary things that exist now

	builds map[string]*Build
	steps  map[builder.StepID]*Step
}

// A Notice is something the user should know.
type Notice struct {
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

// A Build is one build of a run.
type Build struct {
	Name     string            `json:"name"`
	Status   Status            `json:"status"`
	Platform builder.Platform  `json:"platform,omitzero"`
	Base     string            `json:"base,omitempty"` // what it starts from
	Needs    []string          `json:"needs,omitempty"`
	Started  time.Time         `json:"started,omitzero"`
	Ended    time.Time         `json:"ended,omitzero"`
	Artifact *builder.Artifact `json:"artifact,omitempty"`
	Steps    []*Step           `json:"steps"`
	Total    int               `json:"-"` // steps the template asks for, the engine's own left out

	planned bool // all its steps are known
}

// Apply adds what e says. Events of one step come in order; else any order will do.
func (r *Run) Apply(e builder.Event) {
	if r.steps == nil {
		r.builds, r.steps = map[string]*Build{}, map[builder.StepID]*Step{}
	}
	switch e.Type {
	case builder.RunStarted:
		r.begin(e)
	case builder.RunDone:
		r.Status, r.Err, r.Left, r.Kept, r.Elapsed, r.Ended = Done, e.Err, e.Left, e.Kept, e.Elapsed, e.Time
		if e.Err != "" {
			r.Status = Failed
		}
		if e.Err != "" && len(r.Failures()) == 0 && r.countBuilds(Interrupted) > 0 {
			r.Status = Interrupted
		}
	case builder.Notice:
		r.Notices = append(r.Notices, Notice{e.Text, e.Hint})
	case builder.ResourceCreated:
		r.Resources++
	case builder.ResourceDeleted:
		r.Resources--
	case builder.BuildStarted:
		b := r.build(e.Build)
		b.Status, b.Started, b.Ended = Running, e.Time, time.Time{}
	case builder.BuildDone:
		b := r.build(e.Build)
		b.Status, b.Ended = Done, e.Time
		if e.Artifact != nil {
			b.Artifact = e.Artifact
		}
	default:
		if e.Step != "" {
			r.applyStep(r.step(e), e)
		}
	}
}

func (r *Run) begin(e builder.Event) {
	if !r.Started.IsZero() {
		r.Resumed++
	}
	r.ID, r.Template, r.Started, r.Status = e.Run, e.Text, e.Time, Running
	r.Ended, r.Err, r.Left, r.Kept, r.Resources = time.Time{}, "", nil, false, 0
	for _, b := range r.Builds { // what the process before this one did not finish
		if b.Status != Done {
			b.Status = Waiting
		}
		for _, s := range b.Steps {
			if s.Status == Running || s.Status == Failed || s.Status == Interrupted {
				s.Status, s.Err, s.Hint, s.Retries, s.Transfers = Waiting, "", "", nil, nil
			}
		}
	}
	if e.Plan == nil {
		return
	}
	r.Name = e.Plan.Name
	for _, pb := range e.Plan.Builds {
		b := r.build(pb.Name)
		b.Platform, b.Base, b.Needs, b.planned = pb.Platform, pb.Pin.Summary, pb.Needs, true
		if b.Base == "" {
			b.Base = pb.Base
		}
		for _, ps := range pb.Steps {
			s := r.step(builder.Event{Build: pb.Name, Step: ps.ID, Phase: ps.Phase})
			s.Kind, s.Name, s.Pos, s.goesOn, s.config = ps.Kind, ps.Name, ps.Pos, ps.Continue, ps.Config
		}
	}
}

// build returns the build of that name, and makes it if events speak of one
// that no plan had.
func (r *Run) build(name string) *Build {
	b := r.builds[name]
	if b == nil {
		b = &Build{Name: name, Status: Waiting}
		r.builds[name] = b
		r.Builds = append(r.Builds, b)
	}
	return b
}

func (r *Run) step(e builder.Event) *Step {
	s := r.steps[e.Step]
	if s == nil {
		name := e.Build
		if name == "" {
			name = e.Step.Build()
		}
		b := r.build(name)
		s = &Step{ID: e.Step, Phase: e.Phase, Status: Waiting, build: b}
		switch e.Phase {
		case builder.Provision, builder.Test, builder.Publish, "":
			b.Total++
			s.Number = b.Total
		}
		r.steps[e.Step] = s
		b.Steps = append(b.Steps, s)
	}
	return s
}

// Results lists what the run made: each thing an output published, and the
// artifacts of builds without outputs.
func (r *Run) Results() []builder.Result {
	var all []builder.Result
	for _, b := range r.Builds {
		n := len(all)
		for _, s := range b.Steps {
			if s.Published != nil {
				all = append(all, builder.Result{Build: b.Name, Artifact: b.Artifact, Output: s.Kind, Published: s.Published})
			}
		}
		if len(all) == n && b.Artifact != nil && b.Status == Done {
			all = append(all, builder.Result{Build: b.Name, Artifact: b.Artifact})
		}
	}
	return all
}

// Failures lists the steps that failed their builds, in the order of the plan.
func (r *Run) Failures() []*Step {
	var all []*Step
	for _, b := range r.Builds {
		for _, s := range b.Steps {
			if s.Status == Failed && !s.goesOn {
				all = append(all, s)
			}
		}
	}
	return all
}

// count tells how many of the template's own steps there are of a status ("" for all).
func (b *Build) count(of Status) (n int) {
	for _, s := range b.Steps {
		if s.Number > 0 && (of == "" || s.Status == of) {
			n++
		}
	}
	return n
}

func (r *Run) countBuilds(of Status) (n int) {
	for _, b := range r.Builds {
		if b.Status == of {
			n++
		}
	}
	return n
}

func (r *Run) countSteps(of Status) (n int) {
	for _, b := range r.Builds {
		n += b.count(of)
	}
	return n
}

// A Collector is a sink that keeps what a run has come to. The zero Collector
// is ready to use.
type Collector struct {
	mu  sync.Mutex
	run Run
}

// Emit adds the event.
func (c *Collector) Emit(e builder.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.run.Apply(e)
}

// With calls fn with the run as it is now; fn must not keep it.
func (c *Collector) With(fn func(*Run)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(&c.run)
}
