package builder

import (
	"time"

	"bake/templates"
)

// EventType says what happened.
type EventType string

// The events of a run. The comments name the fields that are set besides Time and Run.
const (
	RunStarted      EventType = "run.started"      // Plan, Text: the template
	BuildStarted    EventType = "build.started"    // Build
	BuildDone       EventType = "build.done"       // Build, Artifact
	StepStarted     EventType = "step.started"     // Build, Step, Phase, Kind, Text: its name, Pos
	StepLog         EventType = "step.log"         // Build, Step, Stream, Text: one line without its end
	StepProgress    EventType = "step.progress"    // Build, Step, Progress
	StepRetry       EventType = "step.retry"       // Build, Step, Text: why and when
	StepCached      EventType = "step.cached"      // Build, Step, Phase, Kind, Text, Pos
	StepSkipped     EventType = "step.skipped"     // Build, Step, Text: why
	StepDone        EventType = "step.done"        // Build, Step, Outcome or Published, Elapsed
	StepFailed      EventType = "step.failed"      // Build, Step, Err, Hint, Pos, Elapsed, Stopped
	ResourceCreated EventType = "resource.created" // Build, Step, Resource
	ResourceDeleted EventType = "resource.deleted" // Build, Step, Resource
	Notice          EventType = "notice"           // Text, Hint: something the user should know
	RunDone         EventType = "run.done"         // Elapsed, Err, Left: what could not be removed
)

// An Event is something worth telling the user. Events are best effort; the
// journal is not. It is plain data and holds no secret once a sink has it.
type Event struct {
	Time      time.Time     `json:"time"`
	Run       RunID         `json:"run"`
	Type      EventType     `json:"type"`
	Build     string        `json:"build,omitempty"`
	Step      StepID        `json:"step,omitempty"`
	Phase     Phase         `json:"phase,omitempty"`
	Kind      string        `json:"kind,omitempty"`
	Text      string        `json:"text,omitempty"`
	Stream    string        `json:"stream,omitempty"` // "stdout", "stderr", or "" for bake's own words
	Err       string        `json:"err,omitempty"`
	Hint      string        `json:"hint,omitempty"`
	Stopped   bool          `json:"stopped,omitempty"` // the step did not fail: the run was stopped
	Pos       templates.Pos `json:"pos,omitzero"`
	Elapsed   time.Duration `json:"elapsed,omitempty"` // nanoseconds
	Progress  *Progress     `json:"progress,omitempty"`
	Resource  *Resource     `json:"resource,omitempty"`
	Outcome   *Outcome      `json:"outcome,omitempty"`
	Published *Published    `json:"published,omitempty"`
	Artifact  *Artifact     `json:"artifact,omitempty"`
	Left      []Resource    `json:"left,omitempty"`
	Kept      bool          `json:"kept,omitempty"` // Left was left for a look inside, as the user asked
	Plan      *Plan         `json:"plan,omitempty"`
}

// Progress is how far one transfer or piece of work has come.
type Progress struct {
	ID    string `json:"id"`              // of the transfer, unique in its step: "layer sha256:0123"
	Verb  string `json:"verb,omitempty"`  // "pulling", "pushing", "packing"
	Done  int64  `json:"done"`            // in Unit
	Total int64  `json:"total,omitempty"` // 0: not known
	Unit  string `json:"unit,omitempty"`  // "B" for bytes
	Ended bool   `json:"ended,omitempty"`
}

// A Sink receives events. Emit must not block for long, cannot fail and is
// safe for concurrent use.
type Sink interface{ Emit(Event) }
