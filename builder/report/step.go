package report

import (
	"slices"
	"strings"
	"time"

	"bake/builder"
	"bake/templates"
)

// A Step is one step of a build.
type Step struct {
	ID        builder.StepID     `json:"id"`
	Phase     builder.Phase      `json:"phase,omitempty"`
	Kind      string             `json:"kind,omitempty"`
	Name      string             `json:"name,omitempty"`
	Pos       templates.Pos      `json:"pos,omitzero"`
	Number    int                `json:"number,omitempty"` // among those the template asks for; 0: the engine's own
	Status    Status             `json:"status"`
	Started   time.Time          `json:"started,omitzero"`
	Elapsed   time.Duration      `json:"elapsed,omitempty"`
	Outcome   *builder.Outcome   `json:"outcome,omitempty"`
	Published *builder.Published `json:"published,omitempty"`
	Err       string             `json:"err,omitempty"`
	Hint      string             `json:"hint,omitempty"`
	Skipped   string             `json:"skipped,omitempty"` // why
	Retries   []string           `json:"retries,omitempty"`
	Transfers []*Transfer        `json:"-"`
	Tail      []string           `json:"-"` // the last lines of its log, not neutralised; none once it is done
	Lines     int                `json:"-"` // of its log that were seen as events

	build    *Build
	goesOn   bool   // on_error: continue
	config   []byte // as the plan has it
	lastSeen time.Time
}

// A Transfer is one piece of work whose progress is known.
type Transfer struct {
	builder.Progress
	Started time.Time
}

func (r *Run) applyStep(s *Step, e builder.Event) {
	s.lastSeen = e.Time
	switch e.Type {
	case builder.StepStarted:
		s.describe(e)
		s.Started, s.Status, s.Err, s.Hint = e.Time, Running, "", ""
		s.build.goOn(e.Time)
	case builder.StepCached:
		s.describe(e)
		if e.Published != nil {
			s.Published = e.Published
		}
		if s.Status != Done { // by the process before this one
			s.Started, s.Status = e.Time, Cached
		}
		s.build.goOn(e.Time)
		s.settle(e.Time)
	case builder.StepLog:
		s.Lines++
		s.addTail(e.Text)
	case builder.StepProgress:
		if e.Progress != nil {
			s.progress(*e.Progress, e.Time)
		}
	case builder.StepRetry:
		s.Retries = append(s.Retries, retry(e))
	case builder.StepSkipped:
		s.Status, s.Skipped = Skipped, e.Text
		s.settle(e.Time)
	case builder.StepDone:
		s.Status, s.Elapsed, s.Outcome, s.Published = Done, e.Elapsed, e.Outcome, e.Published
		s.Tail = nil
		s.settle(e.Time)
	case builder.StepFailed:
		s.fail(e)
		s.settle(e.Time)
	}
}

// fail ends a step and, unless the template says otherwise, its build.
func (s *Step) fail(e builder.Event) {
	s.Status, s.Elapsed, s.Err, s.Hint = Failed, e.Elapsed, e.Err, e.Hint
	if e.Stopped {
		s.Status, s.Hint = Interrupted, ""
	}
	if !e.Pos.IsZero() {
		s.Pos = e.Pos
	}
	if s.goesOn && s.Status == Failed || s.build.Status == Failed {
		return
	}
	s.build.Status, s.build.Ended = s.Status, e.Time
}

// retry is why a step is tried again, and when.
func retry(e builder.Event) string {
	return join([]string{firstLine(e.Text), firstLine(e.Err)}, ": ")
}

// goOn tells that a step of the build began. A build that had failed runs
// again when the failed step does.
func (b *Build) goOn(now time.Time) {
	failed := slices.ContainsFunc(b.Steps, func(s *Step) bool { return s.Status == Failed && !s.goesOn || s.Status == Interrupted })
	if !failed {
		b.Status = Running
	}
	if b.Started.IsZero() {
		b.Started = now
	}
}

// settle ends the transfers of a step that ended, and its build if it was the
// last: build.done comes before the outputs, or not at all when an earlier
// process finished the build.
func (s *Step) settle(now time.Time) {
	s.Transfers = nil
	if b := s.build; b.Status == Running && b.open() == 0 && (b.planned || b.Artifact != nil) {
		b.Status, b.Ended = Done, now
	}
}

func (b *Build) open() (n int) {
	for _, s := range b.Steps {
		if s.Status == Running || s.Status == Waiting {
			n++
		}
	}
	return n
}

func (s *Step) describe(e builder.Event) {
	if e.Kind != "" {
		s.Kind = e.Kind
	}
	if e.Text != "" {
		s.Name = e.Text
	}
	if !e.Pos.IsZero() {
		s.Pos = e.Pos
	}
}

// tailLines is how many of the last lines of a log are kept to be shown.
const tailLines = 20

func (s *Step) addTail(line string) {
	const longest = 1 << 10
	if len(line) > longest {
		line = line[:longest]
	}
	if len(s.Tail) >= 2*tailLines {
		s.Tail = append(s.Tail[:0], s.Tail[len(s.Tail)-tailLines+1:]...)
	}
	s.Tail = append(s.Tail, strings.Clone(line))
}

// LastLines returns the last n lines of the step's log, at most 20.
func (s *Step) LastLines(n int) []string {
	n = min(n, tailLines, len(s.Tail))
	return s.Tail[len(s.Tail)-n:]
}

func (s *Step) progress(p builder.Progress, now time.Time) {
	for _, t := range s.Transfers {
		if t.ID == p.ID {
			t.Progress = p
			return
		}
	}
	s.Transfers = append(s.Transfers, &Transfer{Progress: p, Started: now})
}

// Label is what the step is called: its name, or what the engine does in its phase.
func (s *Step) Label() string {
	if l := clean(firstLine(s.Name)); l != "" {
		return l
	}
	switch s.Phase {
	case builder.Open:
		if s.build != nil && s.build.Base != "" {
			base, _, _ := strings.Cut(s.build.Base, "@sha256:")
			return "start from " + clean(base)
		}
		return "start"
	case builder.Freeze:
		return "make the image"
	case builder.Join:
		return "join the platforms"
	case builder.TestOpen:
		return "start a machine for the tests"
	case builder.Accept:
		return "accept the image"
	}
	if s.Kind != "" {
		return s.Kind
	}
	return string(s.ID)
}
