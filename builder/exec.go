package builder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bake/templates"
)

// Exec runs one step. Every side effect of a run happens in here, whatever
// drives the plan. The step is durable in the journal when it returns nil.
func (e *Engine) Exec(ctx context.Context, run RunID, p *Plan, step Step, in Input) (State, error) {
	b, ok := p.Build(step.ID.Build())
	if !ok {
		return State{}, fmt.Errorf("step %s: the plan has no such build", step.ID)
	}
	sc := e.Scope(run, p, step.ID)
	sc.Outputs, sc.Results, sc.User, sc.Workdir = in.Outputs, in.Results, step.User, step.Workdir
	x := &execution{Engine: e, sc: sc, plan: p, build: b, step: step, in: in}
	out, err := x.run(ctx)
	if err != nil {
		return State{}, err
	}
	return out, sc.append(context.WithoutCancel(ctx), Entry{Kind: StepEnd, State: &out, Keep: sc.keep})
}

// An execution is one step being run.
type execution struct {
	*Engine
	sc    *Scope
	plan  *Plan
	build Build
	step  Step
	in    Input
}

func (x *execution) run(ctx context.Context) (State, error) {
	if skip, err := x.skip(); skip || err != nil {
		return x.unchanged("skipped: if is false"), err
	}
	switch x.step.Phase {
	case Open:
		return x.open(ctx)
	case Provision:
		return x.provision(ctx)
	case Freeze:
		return x.freeze(ctx)
	case Join:
		return x.join()
	case TestOpen:
		return x.testOpen(ctx)
	case Test:
		return x.test(ctx)
	case Accept:
		return x.accept(ctx)
	case Publish:
		return x.publish(ctx)
	}
	return State{}, fmt.Errorf("step %s: unknown phase %q", x.step.ID, x.step.Phase)
}

// env is what the step's remaining expressions may name.
func (x *execution) env() *templates.Env {
	return x.Env.WithSource(x.build.Pin.Values).WithOutputs(x.in.Outputs)
}

func (x *execution) skip() (bool, error) {
	if x.step.If == "" {
		return false, nil
	}
	yes, err := x.env().Truth(x.step.If)
	if err != nil {
		return false, fmt.Errorf("if: %w", err)
	}
	return !yes, nil
}

// unchanged is the state of a step that did nothing.
func (x *execution) unchanged(note string) State {
	out := x.in.State
	out.Through, out.Published, out.Outcome = "", nil, &Outcome{Unchanged: true, Note: note}
	return out
}

// source makes the build's source as the template configured it.
func (x *execution) source() (Source, error) {
	return x.Engine.source(x.plan, x.build, x.env())
}

// configured makes the value that serves a step, all expressions resolved.
func configured[T any](kinds map[string]func() T, step Step, env *templates.Env) (T, error) {
	var zero T
	b, err := templates.FromJSON(step.Config, step.Pos, env)
	if err != nil {
		return zero, err
	}
	b, diags := b.Resolve(env, true)
	if err := diags.Err(); err != nil {
		return zero, err
	}
	v, diags := decode(kinds, step.Kind, b)
	return v, diags.Err()
}

func (x *execution) open(ctx context.Context) (State, error) {
	src, err := x.source()
	if err != nil {
		return State{}, err
	}
	if a, err := x.lookup(ctx, src); err == nil {
		return State{Artifact: &a, Through: x.build.Steps[x.index(Accept)].ID}, nil
	} else if !errors.Is(err, ErrNotFound) {
		return State{}, err
	}
	m, err := src.Open(ctx, x.sc, Opening{Dir: x.plan.Dir, Platform: x.build.Platform, Pin: x.build.Pin, Base: x.in.Base, Squash: x.build.Squash})
	if err != nil {
		return State{}, err
	}
	snap, ok := src.(Snapshotter)
	if !ok || x.NoCache {
		return State{Machine: &m}, nil
	}
	keys := x.build.snapshotKeys()
	m, n, err := snap.Restore(ctx, x.sc, m, keys)
	if err != nil || n == 0 {
		return State{Machine: &m}, err
	}
	return State{Machine: &m, Through: x.build.Steps[n].ID}, nil // Steps[0] is the open step
}

func (x *execution) index(phase Phase) int {
	return slices.IndexFunc(x.build.Steps, func(s Step) bool { return s.Phase == phase })
}

// lookup finds the artifact of an earlier run. A build with a step whose
// result expires is decided step by step instead.
func (x *execution) lookup(ctx context.Context, src Source) (Artifact, error) {
	cache, ok := src.(Cacher)
	if !ok || x.NoCache || x.build.expires() {
		return Artifact{}, ErrNotFound
	}
	return cache.Lookup(ctx, x.sc, x.recordKey(x.in.Base))
}

// recordKey is the build's key and the identity of what it was built on: a
// base that was made anew, with other content, does not count as the same.
func (x *execution) recordKey(base *Artifact) Digest {
	switch {
	case base != nil && base.Image != nil:
		return digest("record", x.build.Key, base.Image.ID)
	case base != nil && base.AMI != nil:
		return digest("record", x.build.Key, base.AMI.ID)
	}
	return x.build.Key
}

func (b Build) expires() bool {
	return slices.ContainsFunc(b.Steps, func(s Step) bool { return s.Cache.Expires > 0 })
}

func (b Build) snapshotKeys() []SnapshotKey {
	var keys []SnapshotKey
	for _, s := range b.Steps {
		if s.Phase == Provision {
			keys = append(keys, s.snapshotKey())
		}
	}
	return keys
}

func (s Step) snapshotKey() SnapshotKey {
	return SnapshotKey{Key: s.Key, Step: s.Name, MaxAge: s.Cache.Expires, Never: s.Cache.Never}
}

func (x *execution) provision(ctx context.Context) (State, error) {
	src, err := x.source()
	if err != nil {
		return State{}, err
	}
	m := *x.in.State.Machine
	snap, _ := src.(Snapshotter)
	if snap != nil && x.resumed(x.sc.group) {
		if err := snap.Rollback(ctx, x.sc, m); err != nil {
			return State{}, fmt.Errorf("going back to the last finished step: %w", err)
		}
	}
	outcome, err := x.attempts(ctx, src, snap, m)
	key := x.step.snapshotKey()
	if err != nil {
		if !x.step.Continue || ctx.Err() != nil {
			return State{}, err
		}
		x.sc.Log("failed, going on (on_error: continue): %v", err)
		outcome, key.Never = Outcome{Note: "failed: " + err.Error()}, true
	}
	if snap != nil {
		if m, err = snap.Snapshot(ctx, x.sc, m, key); err != nil {
			return State{}, fmt.Errorf("saving the step's result: %w", err)
		}
	}
	return State{Machine: &m, Outcome: &outcome}, nil
}

// attempts provisions, again after a failure as often as the step allows.
// Each attempt of a source with snapshots starts from a clean machine.
func (x *execution) attempts(ctx context.Context, src Source, snap Snapshotter, m Machine) (Outcome, error) {
	for n := 0; ; n++ {
		outcome, err := x.attempt(ctx, src, m)
		if err == nil || n >= x.step.Retries || ctx.Err() != nil {
			return outcome, err
		}
		x.sc.emit(Event{Type: StepRetry, Text: fmt.Sprintf("attempt %d of %d failed, next in %s", n+1, x.step.Retries+1, x.step.RetryDelay), Err: err.Error()})
		if err := sleep(ctx, x.step.RetryDelay); err != nil {
			return outcome, err
		}
		if snap != nil {
			if err := snap.Rollback(ctx, x.sc, m); err != nil {
				return outcome, fmt.Errorf("going back before the next attempt: %w", err)
			}
		}
	}
}

func (x *execution) attempt(ctx context.Context, src Source, m Machine) (_ Outcome, err error) {
	if x.step.Timeout > 0 {
		late := fmt.Errorf("timed out after %s", x.step.Timeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, x.step.Timeout, late)
		defer cancel()
		defer func() {
			if err != nil && context.Cause(ctx) == late {
				err = tooLate(late, err)
			}
		}()
	}
	p, err := configured(x.Catalog.Provisioners, x.step, x.env())
	if err != nil {
		return Outcome{}, err
	}
	comm, done, err := x.dial(ctx, src, m)
	if err != nil {
		return Outcome{}, err
	}
	defer func() { err = errors.Join(err, done(err)) }()
	if x.sc.Env, err = x.environment(); err != nil {
		return Outcome{}, err
	}
	return p.Provision(ctx, x.sc, shared{comm, x.sc.Env, x.step.User, x.step.Workdir})
}

// dial connects to the machine. A source with snapshots is dialled for each
// step, because each step stands on another snapshot; other machines, and the
// ones under test, keep their connection until their group of steps ends.
func (x *execution) dial(ctx context.Context, src Source, m Machine) (Communicator, func(error) error, error) {
	if _, ok := src.(Snapshotter); ok && x.step.Phase == Provision {
		comm, err := src.Dial(ctx, x.sc, m)
		if err != nil {
			return nil, nil, fmt.Errorf("connecting to %s: %w", m.ID, err)
		}
		return comm, func(error) error { return comm.Close() }, nil
	}
	comm, err := x.connection(x.sc.group, func() (Communicator, error) { return src.Dial(ctx, x.sc, m) })
	if err != nil {
		return nil, nil, fmt.Errorf("connecting to %s: %w", m.ID, err)
	}
	return comm, func(err error) error {
		if err == nil {
			return nil
		}
		return x.hangUp(x.sc.group) // the next attempt starts with a fresh connection
	}, nil
}

func (x *execution) environment() (map[string]string, error) {
	env := make(map[string]string, len(x.step.Env))
	for _, name := range slices.Sorted(maps.Keys(x.step.Env)) {
		value, err := x.env().ResolveString(x.step.Env[name], true)
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", name, err)
		}
		env[name] = value
	}
	return env, nil
}

func (x *execution) freeze(ctx context.Context) (State, error) {
	src, err := x.source()
	if err != nil {
		return State{}, err
	}
	f := Freezing{Key: x.build.Key, Build: x.build.Name, Squash: x.build.Squash, Created: x.plan.Created, Annotations: x.annotations()}
	if len(x.step.Config) > 0 {
		b, err := templates.FromJSON(x.step.Config, x.step.Pos, x.env())
		if err != nil {
			return State{}, err
		}
		resolved, diags := b.Resolve(x.env(), true)
		if err := diags.Err(); err != nil {
			return State{}, err
		}
		f.Config = resolved
	}
	a, err := src.Freeze(ctx, x.sc, *x.in.State.Machine, f)
	return State{Artifact: &a}, err
}

// annotations are the OCI image-spec's predefined keys that bake can fill in
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md).
func (x *execution) annotations() map[string]string {
	a := maps.Clone(x.plan.Annotations)
	if a == nil {
		a = map[string]string{}
	}
	a["org.opencontainers.image.created"] = x.plan.Created.UTC().Format(time.RFC3339)
	if name, dgst := x.build.Pin.Values["name"], x.build.Pin.Values["digest"]; strings.HasPrefix(dgst, "sha256:") && name != "" {
		a["org.opencontainers.image.base.name"], a["org.opencontainers.image.base.digest"] = name, dgst
	}
	return a
}

// join makes one index of the images of all platforms.
func (x *execution) join() (State, error) {
	index := Image{Created: x.plan.Created, Annotations: x.annotations()}
	for _, a := range x.in.Needs {
		if a.Image == nil {
			return State{}, fmt.Errorf("joining platforms: %s is not a container image", x.build.Name)
		}
		index.Manifests = append(index.Manifests, *a.Image)
		index.Size += a.Image.Size
		index.Engine = a.Image.Engine
	}
	index.ID = string(digest("index", index.ids()...))
	return State{Artifact: &Artifact{Image: &index}}, nil
}

func (i Image) ids() []any {
	ids := make([]any, len(i.Manifests))
	for n, m := range i.Manifests {
		ids[n] = m.Platform.String() + " " + m.ID
	}
	return ids
}

func (x *execution) testOpen(ctx context.Context) (State, error) {
	src, err := x.source()
	if err != nil {
		return State{}, err
	}
	a := x.in.State.Artifact
	m, err := src.Open(ctx, x.sc, Opening{Dir: x.plan.Dir, Platform: x.build.Platform, Pin: x.build.Pin, Base: a, Test: true})
	return State{Artifact: a, Machine: &m}, err
}

func (x *execution) test(ctx context.Context) (State, error) {
	src, err := x.source()
	if err != nil {
		return State{}, err
	}
	outcome, err := x.attempts(ctx, src, nil, *x.in.State.Machine)
	if err != nil && x.step.Continue && ctx.Err() == nil {
		x.sc.Log("failed, going on (on_error: continue): %v", err)
		outcome, err = Outcome{Note: "failed: " + err.Error()}, nil
	}
	return State{Artifact: x.in.State.Artifact, Machine: x.in.State.Machine, Outcome: &outcome}, err
}

// accept makes the artifact findable for later runs: all tests have passed.
func (x *execution) accept(ctx context.Context) (State, error) {
	a := x.in.State.Artifact
	if x.build.joins() {
		return State{Artifact: a}, nil
	}
	src, err := x.source()
	if err != nil {
		return State{}, err
	}
	if cache, ok := src.(Cacher); ok {
		if err := cache.Record(ctx, x.sc, x.recordKey(x.in.Base), *a); err != nil {
			return State{}, fmt.Errorf("recording the artifact: %w", err)
		}
	}
	return State{Artifact: a}, nil
}

func (b Build) joins() bool { return len(b.Steps) > 0 && b.Steps[0].Phase == Join }

func (x *execution) publish(ctx context.Context) (State, error) {
	out, err := configured(x.Catalog.Outputs, x.step, x.env())
	if err != nil {
		return State{}, err
	}
	if x.step.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, x.step.Timeout, fmt.Errorf("timed out after %s", x.step.Timeout))
		defer cancel()
	}
	p, err := out.Publish(ctx, x.sc, *x.in.State.Artifact)
	artifact := x.in.State.Artifact
	if p.Artifact != nil {
		artifact = p.Artifact
	}
	return State{Artifact: artifact, Published: &p}, err
}

// tooLate is what ended an attempt that ran into its timeout: late, and what
// the step answered if that is more.
func tooLate(late, err error) error {
	switch {
	case errors.Is(err, late):
		return err // the step says itself what it was waiting for
	case err == context.DeadlineExceeded:
		return late
	}
	return fmt.Errorf("%w: %w", late, err)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
