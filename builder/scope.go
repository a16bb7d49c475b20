package builder

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A Scope is what the engine lends to one running step.
type Scope struct {
	Run  RunID
	Step StepID
	// Dir is the absolute directory of the template; relative paths start there.
	Dir string
	// WorkDir is a directory for this run's own files on this machine, mode
	// 0700. It is removed when the run is cleaned.
	WorkDir string
	// CacheDir is where downloads are kept between runs, shared by all of
	// them; empty: nowhere. Anything in it may be gone at any time.
	CacheDir string
	// Env, User and Workdir are the step's shared keys. The communicator that
	// a provisioner gets has them as the defaults of its commands; they stand
	// here for kinds that work on this machine (local, ansible).
	Env     map[string]string
	User    string
	Workdir string
	// Outputs is what earlier outputs of the build published, by kind and by
	// name, for an output.
	Outputs map[string]map[string]string
	// Results is what the whole run made, for an output that is Final.
	Results []Result
	// Plan is what is being run. Read only.
	Plan *Plan

	engine *Engine
	group  group
	keep   []string
}

// Scope returns what the engine lends to a step. Exec makes its own; this is
// for tests of what works with a scope.
func (e *Engine) Scope(run RunID, p *Plan, step StepID) *Scope {
	return &Scope{Run: run, Step: step, Dir: p.Dir, WorkDir: e.WorkDir, CacheDir: e.CacheDir, Plan: p, engine: e, group: step.group()}
}

// A Result is one thing a run made, as reports and manifests list it: an
// artifact, or what an output published.
type Result struct {
	Build      string    `json:"build"`
	Artifact   *Artifact `json:"artifact,omitempty"`
	Output     string    `json:"output,omitempty"` // kind
	*Published           // nil for an artifact
}

// Create makes a resource so that a crash at any point leaves it findable. The
// intent is durable before create is called; create must pass r.Token to the
// API, as a client token or as a label set at creation, and return the id. If
// an earlier process made the resource already, it is returned and create is
// not called.
func (sc *Scope) Create(ctx context.Context, r Resource, create func(ctx context.Context, r Resource) (id string, err error)) (Resource, error) {
	cleaner, ok := sc.engine.Catalog.Cleaners[r.Kind]
	if !ok {
		return r, fmt.Errorf("creating %s %s: nothing knows how to remove a %s", r.Kind, r.Name, r.Kind)
	}
	entries, err := sc.engine.Journal.Entries(ctx)
	if err != nil {
		return r, err
	}
	r.Token = token(sc.Run, sc.Step, generation(entries, sc.group), r)
	switch known, how := lookupToken(entries, r.Token); how {
	case Created:
		return known, nil
	case Intended:
		r.ID, err = cleaner.Find(ctx, r)
		if err == nil {
			return r, sc.created(ctx, r)
		}
		if !errors.Is(err, ErrNotFound) {
			return r, fmt.Errorf("looking for %s %s of an earlier attempt: %w", r.Kind, r.Name, err)
		}
	default:
		if err := sc.append(ctx, Entry{Kind: Intended, Resource: &r}); err != nil {
			return r, err
		}
	}
	id, err := create(ctx, r)
	if ctx.Err() == nil { // a call that was cut short may still come to something
		sc.engine.noteAnswer(r.Token)
	}
	if err != nil {
		return r, fmt.Errorf("creating %s %s: %w", r.Kind, r.Name, err)
	}
	r.ID = id
	return r, sc.created(ctx, r)
}

// created records the resource even if ctx has just ended: it exists.
func (sc *Scope) created(ctx context.Context, r Resource) error {
	if err := sc.append(context.WithoutCancel(ctx), Entry{Kind: Created, Resource: &r}); err != nil {
		return err
	}
	sc.emit(Event{Type: ResourceCreated, Resource: &r})
	return nil
}

// Keep marks a resource as the product: it outlives the run. It takes effect
// in the same entry that records the step as done, so there is no moment at
// which one is true and the other is not. What Freeze keeps outlives the run
// only once the build is accepted: a candidate whose tests do not pass is
// removed when the run ends, and by `bake clean`.
func (sc *Scope) Keep(r Resource) { sc.keep = append(sc.keep, r.Token) }

// Connected hands over the connection with which Open has proved the machine:
// the steps that follow in this process use it, as if they had dialled it, and
// the engine closes it.
func (sc *Scope) Connected(comm Communicator) { sc.engine.adopt(sc.group, comm) }

// Log tells the user something about the step, one line.
func (sc *Scope) Log(format string, args ...any) {
	sc.emit(Event{Type: StepLog, Text: fmt.Sprintf(format, args...)})
}

// Stdout returns a writer whose lines become log events of the step. The
// caller closes it when no more comes, so that a last line without an end is
// told too; a writer that is not closed loses nothing but that.
func (sc *Scope) Stdout() io.WriteCloser { return sc.stream("stdout") }

// Stderr is like Stdout for the other stream.
func (sc *Scope) Stderr() io.WriteCloser { return sc.stream("stderr") }

func (sc *Scope) stream(name string) io.WriteCloser {
	return &lineWriter{line: func(text string) { sc.emit(Event{Type: StepLog, Stream: name, Text: text}) }}
}

// Progress reports how far a transfer has come. It is cheap: call it often.
func (sc *Scope) Progress(p Progress) { sc.emit(Event{Type: StepProgress, Progress: &p}) }

// Image opens the content of an image, whichever engine holds it.
func (sc *Scope) Image(ctx context.Context, img Image) (v1.Image, error) {
	opener, ok := sc.engine.Catalog.Images[img.Engine]
	if !ok {
		return nil, fmt.Errorf("opening image %s: there is no engine %q here", img.ID, img.Engine)
	}
	return opener.OpenImage(ctx, img)
}

func (sc *Scope) emit(e Event) {
	e.Time, e.Run, e.Step, e.Build = time.Now(), sc.Run, sc.Step, sc.Step.Build()
	sc.engine.Sink.Emit(e)
}

func (sc *Scope) append(ctx context.Context, e Entry) error {
	e.Time, e.Run, e.Step = time.Now(), sc.Run, sc.Step
	return sc.engine.Journal.Append(ctx, e)
}

// lookupToken finds the newest entry about a resource.
func lookupToken(entries []Entry, token string) (r Resource, how EntryKind) {
	for _, e := range entries {
		if e.Resource != nil && e.Resource.Token == token {
			r, how = *e.Resource, e.Kind
		}
	}
	return r, how
}

// token is the same for the same step of the same run, in any process, until
// the group of steps has lost a resource.
func token(run RunID, step StepID, generation int, r Resource) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %q %q %q", run, step, generation, r.Kind, r.Where, r.Name))
	return fmt.Sprintf("%x", sum[:16])
}
