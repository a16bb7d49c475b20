package builder

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"bake/templates"
)

// An Engine runs plans. The exported fields are set before its first use; one
// Engine serves one run.
type Engine struct {
	Catalog Catalog
	Journal Journal
	Sink    Sink
	Env     *templates.Env // for the expressions that a plan cannot hold: secrets, outputs
	WorkDir string         // of the run, on this machine
	// CacheDir is for downloads, on this machine; empty: none are kept.
	CacheDir string

	NoCache  bool
	Parallel int  // builds at once; 0: as the machine allows
	FailFast bool // the first failure stops all builds
	// OnFailure decides what becomes of the machines of failed builds; nil: Clean.
	OnFailure func(ctx context.Context, err error) Decision

	mu        sync.Mutex
	conns     map[group]Communicator
	opened    map[group]bool  // groups whose machine this process has opened
	answers   map[string]bool // tokens of creating calls that were answered in this process
	releasing sync.WaitGroup
}

// A Decision is what to do when a run has failed.
type Decision string

// The decisions.
const (
	Clean Decision = "clean" // remove everything temporary
	Keep  Decision = "keep"  // leave the machines for a look inside; `bake clean` removes them
	Retry Decision = "retry" // try the failed steps again
)

// A StepError is a step that failed.
type StepError struct {
	Step Step
	Err  error
}

// Error names the step as the display does.
func (e *StepError) Error() string {
	name := e.Step.Name
	if name == "" {
		name = string(e.Step.ID)
	}
	return fmt.Sprintf("%s: %s: %v", e.Step.ID.Build(), name, e.Err)
}

func (e *StepError) Unwrap() error { return e.Err }

// Pos is where in the template what is wrong stands: the step, unless a
// *PlacedError says otherwise.
func (e *StepError) Pos() templates.Pos {
	if placed, ok := errors.AsType[*PlacedError](e.Err); ok {
		return placed.Pos
	}
	return e.Step.Pos
}

// A PlacedError is an error of a step about another place of the template: a
// source finds, before anything is built, that an output could not work.
type PlacedError struct {
	Pos templates.Pos
	Err error
}

func (e *PlacedError) Error() string { return e.Err.Error() }
func (e *PlacedError) Unwrap() error { return e.Err }

// ErrLeft says that the run is over but something temporary could not be removed.
var ErrLeft = errors.New("something was left behind")

// ErrUnfinished is in the error of a step that gave up waiting for what goes on
// without it, as the making of an AMI does: nothing is removed then, so that a
// resume finds it.
var ErrUnfinished = errors.New("it goes on without bake")

// Run drives a plan in this process, from the beginning or from where its
// journal ends, and releases what is temporary. The error joins a *StepError
// for each failed step; ErrLeft is among them if something could not be removed.
func (e *Engine) Run(ctx context.Context, run RunID, p *Plan) (History, error) {
	e.conns, e.opened = map[group]Communicator{}, map[group]bool{}
	entries, err := e.Journal.Entries(ctx)
	if err != nil {
		return History{}, err
	}
	if len(entries) == 0 {
		err = e.Journal.Append(ctx, Entry{Time: time.Now(), Kind: Began, Run: run, Plan: p})
	} else {
		entries, err = e.takeUp(ctx, p, entries)
	}
	if err != nil {
		return History{}, err
	}
	h := NewHistory(Finished(entries, p))
	r := &runner{Engine: e, run: run, plan: p, h: h, results: make(chan result), begun: map[string]bool{}}
	r.tellResumed()
	decision := Clean
	for {
		err = r.loop(ctx)
		if err == nil || ctx.Err() != nil {
			break
		}
		if errors.Is(err, ErrUnfinished) {
			decision = Keep
			break
		}
		if e.OnFailure == nil {
			break
		}
		if decision = e.OnFailure(ctx, err); decision != Retry {
			break
		}
		r.forgetFailures()
	}
	return r.h, e.end(ctx, run, err, decision)
}

// takeUp clears away what an interrupted test of an earlier process left: its
// machine may have been changed by half a step; what an interrupted release was
// about to remove; and what has lost its machine.
func (e *Engine) takeUp(ctx context.Context, p *Plan, entries []Entry) ([]Entry, error) {
	done, given := Finished(entries, p), lost(entries)
	err := e.release(ctx, func(entry Entry, _ bool) bool {
		g := entry.Step.group()
		return given[entry.Resource.Token] || g.part == testing && !closed(p, g, done)
	})
	if err == nil {
		err = e.releaseGone(ctx, p, done)
	}
	if err != nil {
		return nil, err
	}
	return e.Journal.Entries(ctx)
}

// releaseGone clears away what belongs to machines that have ended meanwhile,
// so that their builds start over.
func (e *Engine) releaseGone(ctx context.Context, p *Plan, done map[StepID]State) error {
	for _, b := range p.Builds {
		g := group{b.Name, making}
		m := b.state(NewHistory(done)).Machine
		if m == nil || !b.makes() || closed(p, g, done) {
			continue
		}
		x := &execution{Engine: e, sc: e.Scope("", p, b.Steps[0].ID), plan: p, build: b, step: b.Steps[0]}
		src, err := x.source()
		if err != nil {
			return err
		}
		mortal, ok := src.(Mortal)
		if !ok {
			continue
		}
		gone, err := mortal.Gone(ctx, x.sc, *m)
		if err == nil && gone {
			err = e.release(ctx, func(entry Entry, _ bool) bool { return entry.Step.group() == g })
		}
		if err != nil {
			return fmt.Errorf("looking for machine %s: %w", m.ID, err)
		}
	}
	return nil
}

// end hangs up, releases and writes the last entry.
func (e *Engine) end(ctx context.Context, run RunID, err error, decision Decision) error {
	e.releasing.Wait()
	e.hangUpAll()
	if err != nil && decision == Keep {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Minute)
	defer cancel()
	if left := e.Release(ctx); left != nil {
		return errors.Join(err, fmt.Errorf("%w: %w", ErrLeft, left))
	}
	last := Entry{Time: time.Now(), Kind: Ended, Run: run}
	if err != nil {
		last.Err = "failed"
	}
	return errors.Join(err, e.Journal.Append(ctx, last))
}

type result struct {
	step    Step
	out     State
	err     error
	elapsed time.Duration
}

// A runner is the loop of one Run: one goroutine owns the history, each
// running step has a goroutine that sends its result.
type runner struct {
	*Engine
	run     RunID
	plan    *Plan
	h       History
	results chan result
	running int
	begun   map[string]bool // builds whose start was told
}

func (r *runner) loop(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := r.Parallel
	if limit <= 0 {
		limit = max(10, 4*runtime.NumCPU()) // steps wait for networks and disks more than they compute
	}
	var errs []error
	for {
		if ctx.Err() == nil {
			for _, step := range r.plan.Next(r.h) {
				if r.running == limit {
					break
				}
				r.start(ctx, step)
			}
		}
		if r.running == 0 {
			break
		}
		res := <-r.results
		r.running--
		if res.err != nil {
			errs = append(errs, r.failed(ctx, res))
			if r.FailFast {
				cancel()
			}
			continue
		}
		r.done(res)
	}
	if err := context.Cause(ctx); err != nil && len(errs) == 0 {
		return err
	}
	return errors.Join(errs...)
}

func (r *runner) start(ctx context.Context, step Step) {
	if b := step.ID.Build(); !r.begun[b] {
		r.begun[b] = true
		r.Sink.Emit(Event{Time: time.Now(), Run: r.run, Type: BuildStarted, Build: b})
	}
	if step.Phase == Open || step.Phase == TestOpen {
		r.mu.Lock()
		r.opened[step.ID.group()] = true
		r.mu.Unlock()
	}
	r.h.Started[step.ID] = true
	r.running++
	in := r.plan.Input(step, r.h)
	r.emit(step, Event{Type: StepStarted})
	go func() {
		began := time.Now()
		out, err := r.Exec(ctx, r.run, r.plan, step, in)
		r.results <- result{step, out, err, time.Since(began)}
	}()
}

func (r *runner) emit(step Step, ev Event) {
	ev.Time, ev.Run, ev.Build, ev.Step = time.Now(), r.run, step.ID.Build(), step.ID
	ev.Phase, ev.Kind = step.Phase, step.Kind
	if ev.Pos.IsZero() {
		ev.Pos = step.Pos
	}
	if ev.Text == "" {
		ev.Text = step.Name
	}
	r.Sink.Emit(ev)
}

func (r *runner) failed(ctx context.Context, res result) error {
	r.h.Failed[res.step.ID] = res.err.Error()
	err := &StepError{Step: res.step, Err: res.err}
	ev := Event{Type: StepFailed, Pos: err.Pos(), Err: res.err.Error(), Hint: Hint(res.err), Elapsed: res.elapsed}
	if ctx.Err() != nil {
		ev.Hint = ""
		ev.Stopped = errors.Is(res.err, context.Canceled) || errors.Is(res.err, context.Cause(ctx))
	}
	r.emit(res.step, ev)
	return err
}

func (r *runner) done(res result) {
	r.h.Done[res.step.ID] = res.out
	b, _ := r.plan.Build(res.step.ID.Build())
	r.emit(res.step, Event{Type: StepDone, Outcome: res.out.Outcome, Published: res.out.Published, Elapsed: res.elapsed})
	if res.out.Through != "" {
		i := slices.IndexFunc(b.Steps, func(s Step) bool { return s.ID == res.out.Through })
		for _, s := range b.Steps[1 : i+1] {
			r.emit(s, Event{Type: StepCached})
		}
	}
	if b.done(r.h) == len(b.Steps) {
		r.Sink.Emit(Event{Time: time.Now(), Run: r.run, Type: BuildDone, Build: b.Name, Artifact: b.artifact(r.h)})
	}
	if g := res.step.ID.group(); g.closedBy(res.step) {
		r.close(g)
	}
}

// close removes, in the background, what the group made and nobody needs any
// more. What fails here is tried again, and told, at the end of the run.
func (r *runner) close(g group) {
	r.releasing.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		_ = r.hangUp(g)
		_ = r.release(ctx, func(e Entry, candidate bool) bool { return e.Step.group() == g && !candidate })
	})
}

// tellResumed tells the display of the steps that an earlier process finished.
func (r *runner) tellResumed() {
	for _, b := range r.plan.Builds {
		for _, s := range b.Steps[:b.done(r.h)] {
			r.emit(s, Event{Type: StepCached, Published: r.h.Done[s.ID].Published})
		}
	}
}

func (r *runner) forgetFailures() {
	for id := range r.h.Failed {
		delete(r.h.Failed, id)
		delete(r.h.Started, id)
		r.mu.Lock()
		delete(r.opened, id.group()) // its machine may hold half a step
		r.mu.Unlock()
	}
}

// resumed reports whether the group's machine was opened by an earlier
// process, so that it may hold half a step.
func (e *Engine) resumed(g group) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	first := !e.opened[g]
	e.opened[g] = true
	return first
}

func (e *Engine) connection(g group, dial func() (Communicator, error)) (Communicator, error) {
	e.mu.Lock()
	comm := e.conns[g]
	e.mu.Unlock()
	if comm != nil {
		return comm, nil
	}
	comm, err := dial() // a group's steps run one after another: nobody else dials
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conns[g] = comm
	return comm, nil
}

// adopt keeps comm for the group's steps. Outside of a run there are none.
func (e *Engine) adopt(g group, comm Communicator) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conns == nil || e.conns[g] != nil {
		_ = comm.Close() // it has done its work
		return
	}
	e.conns[g] = comm
}

func (e *Engine) hangUp(g group) error {
	e.mu.Lock()
	comm := e.conns[g]
	delete(e.conns, g)
	e.mu.Unlock()
	if comm == nil {
		return nil
	}
	return comm.Close()
}

func (e *Engine) hangUpAll() {
	e.mu.Lock()
	conns := e.conns
	e.conns = map[group]Communicator{}
	e.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}
