package builder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"bake/templates"
)

// pinners is how many sources are looked up at once. It is a courtesy to
// registries and APIs, not a limit of ours.
const pinners = 8

// Pin completes a compiled plan: names that move become digests and ids, input
// files become hashes, every step gets its key. It only reads. A source that
// is pinned already (PinAs) is not looked up again. run makes the keys of
// steps that must never be taken from the cache. The error joins those of all
// builds, so that one run tells all that is wrong; each is a *StepError.
func (e *Engine) Pin(ctx context.Context, run RunID, p *Plan) error {
	// The plan stays as it is until all is known: looking up one build's source
	// reads others, down to the one that it stands on.
	pinned := slices.Clone(p.Builds)
	err := all(pinned, func(b *Build) error {
		if !b.makes() || b.Pin.Digest != "" {
			return nil
		}
		if err := e.pinSource(ctx, p, b); err != nil {
			return fmt.Errorf("%s: %w", b.Name, &StepError{Step: b.Steps[0], Err: err})
		}
		return nil
	})
	if err != nil {
		return err
	}
	copy(p.Builds, pinned)
	for i := range p.Builds {
		if err := e.pinBuild(ctx, run, p, &p.Builds[i]); err != nil {
			return err
		}
	}
	return e.vet(ctx, p)
}

func (e *Engine) pinSource(ctx context.Context, p *Plan, b *Build) error {
	src, err := e.source(p, *b, e.Env)
	if err != nil {
		return err
	}
	if pre, ok := src.(Preflighter); ok && b.runs() {
		if err := pre.Preflight(ctx, b.Platform); err != nil {
			return err
		}
	}
	if b.Base != "" {
		return nil // it is what the other build makes
	}
	b.Pin, err = src.Pin(ctx, PinEnv{Dir: p.Dir, Platform: b.Platform})
	if err == nil && b.Pin.Platform != nil {
		b.Platform = *b.Pin.Platform
	}
	return err
}

// source makes the build's source as the template configured it, for the kind
// of artifact that the build starts from.
func (e *Engine) source(p *Plan, b Build, env *templates.Env) (Source, error) {
	src, err := configured(e.Catalog.Sources, b.Steps[0], env)
	if err != nil {
		return nil, err
	}
	if branch, ok := src.(Brancher); ok {
		return branch.For(e.Catalog.kind(p, b))
	}
	return src, nil
}

// kind is what the build makes: what the first of the builds that it stands on makes.
func (c Catalog) kind(p *Plan, b Build) ArtifactKind {
	for base, ok := p.Build(b.Base); ok; base, ok = p.Build(b.Base) {
		b = base
	}
	if b.Given != nil {
		return b.Given.Kind()
	}
	if make, ok := c.Sources[b.Steps[0].Kind]; ok {
		if m, ok := make().(Maker); ok {
			return m.Makes()
		}
	}
	return ImageArtifact
}

// Makes reports whether a build of the plan makes an artifact of this kind.
func (c Catalog) Makes(p *Plan, kind ArtifactKind) bool {
	return slices.ContainsFunc(p.Builds, func(b Build) bool { return len(b.Steps) > 0 && c.kind(p, b) == kind })
}

// vet asks the sources that can tell whether their builds can work.
func (e *Engine) vet(ctx context.Context, p *Plan) error {
	return all(p.Builds, func(b *Build) error {
		if !b.makes() {
			return nil
		}
		src, err := e.source(p, *b, e.Env)
		if err != nil {
			return err
		}
		if v, ok := src.(Vetter); ok {
			if err := v.Vet(ctx, p, *b); err != nil {
				return &StepError{Step: b.Steps[0], Err: err}
			}
		}
		return nil
	})
}

// all calls do for each build, some at once, and joins the errors in the
// builds' order.
func all(builds []Build, do func(*Build) error) error {
	var g errgroup.Group
	g.SetLimit(pinners)
	errs := make([]error, len(builds))
	for i := range builds {
		g.Go(func() error {
			errs[i] = do(&builds[i])
			return nil
		})
	}
	_ = g.Wait()
	return errors.Join(errs...)
}

// runs reports whether the build changes or tests a machine, so that it has to
// be able to run programs of its platform.
func (b Build) runs() bool {
	return slices.ContainsFunc(b.Steps, func(s Step) bool { return s.Phase == Provision && !s.FilesOnly || s.Phase == Test })
}

// pinBuild resolves source.* and makes the keys. The builds it needs are pinned already.
func (e *Engine) pinBuild(ctx context.Context, run RunID, p *Plan, b *Build) error {
	if b.joins() {
		var keys []any
		for _, name := range b.Needs {
			need, _ := p.Build(name)
			keys = append(keys, need.Key)
		}
		b.Key = digest("join", keys...)
		return nil
	}
	if base, ok := p.Build(b.Base); ok {
		b.Pin = Pin{Digest: base.Key, Values: base.Pin.Values, Summary: "build " + b.Base, Platform: base.Pin.Platform}
		if b.Pin.Platform != nil {
			b.Platform = *b.Pin.Platform
		}
		src, err := e.source(p, *b, e.Env)
		if err != nil {
			return err
		}
		if v, ok := src.(Varied); ok {
			b.Pin.Digest = digest("variant", base.Key, v.Variant())
		}
	}
	env := e.Env.WithSource(b.Pin.Values)
	for i := range b.Steps {
		if s := &b.Steps[i]; s.Phase != Open {
			if err := resolveSource(s, env); err != nil {
				return err
			}
		}
	}
	inputs, err := e.allInputs(ctx, p.Dir, b.Steps, env)
	if err != nil {
		return err
	}
	var key Digest
	for i := range b.Steps {
		s := &b.Steps[i]
		switch s.Phase {
		case Open:
			key = digest("open", s.Kind, b.Pin.Digest, b.Platform, b.Squash)
			s.Key = key
		case Publish:
			s.Key = digest("output", s.Kind, string(s.Config), s.If)
		default:
			key = stepKey(key, *s, inputs[i], run)
			s.Key = key
		}
	}
	b.Key = key // of the accept step: all that was done and all that was tested
	return nil
}

// allInputs is inputs of several steps at once: each hashes files, and one
// processor hashes slower than a disk reads.
func (e *Engine) allInputs(ctx context.Context, dir string, steps []Step, env *templates.Env) ([]Digest, error) {
	out, errs := make([]Digest, len(steps)), make([]error, len(steps))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, s := range steps {
		g.Go(func() error {
			out[i], errs[i] = e.inputs(ctx, dir, s, env)
			return nil
		})
	}
	_ = g.Wait() // the first step's error counts, not the first that came
	for i, err := range errs {
		if err != nil {
			return nil, &StepError{Step: steps[i], Err: err}
		}
	}
	return out, nil
}

// stepKey is the content address of a step: what it does, to what, with which
// files. What a step is called, how long it may take and how often it is tried
// do not change what it makes.
func stepKey(prev Digest, s Step, inputs Digest, run RunID) Digest {
	env, _ := json.Marshal(s.Env) // sorted by key; a map of strings always marshals
	parts := []any{prev, s.Phase, s.Kind, string(s.Config), inputs, string(env), s.User, s.Workdir, s.If}
	if s.Cache.Never {
		parts = append(parts, run) // nothing after it is found in the cache either
	}
	return digest("step", parts...)
}

// inputs hashes what the step reads on this machine, and the version of its kind.
func (e *Engine) inputs(ctx context.Context, dir string, s Step, env *templates.Env) (Digest, error) {
	if s.Phase != Provision && s.Phase != Test {
		return "", nil
	}
	b, err := templates.FromJSON(s.Config, s.Pos, env)
	if err != nil {
		return "", err
	}
	v, diags := decode(e.Catalog.Provisioners, s.Kind, b)
	if err := diags.Err(); err != nil {
		return "", err
	}
	var files Digest
	if f, ok := v.(Fingerprinter); ok {
		if files, err = f.Fingerprint(ctx, dir); err != nil {
			return "", err
		}
	}
	return digest("inputs", version(v), files), nil
}

// resolveSource replaces what a step says of source.* and leaves what names secrets and outputs.
func resolveSource(s *Step, env *templates.Env) error {
	if len(s.Config) > 0 {
		b, err := templates.FromJSON(s.Config, s.Pos, env)
		if err != nil {
			return err
		}
		if b.Unresolved() {
			resolved, diags := b.Resolve(env, false)
			if err := diags.Err(); err != nil {
				return err
			}
			s.Config = resolved.JSON()
		}
	}
	for name, value := range s.Env {
		resolved, err := env.ResolveString(value, false)
		if err != nil {
			return fmt.Errorf("env %s: %w", name, err)
		}
		if resolved != value {
			s.Env = cloneWith(s.Env, name, resolved)
		}
	}
	return nil
}

// cloneWith copies the map first: builds for several platforms share it.
func cloneWith(m map[string]string, k, v string) map[string]string {
	out := make(map[string]string, len(m))
	for name, value := range m {
		out[name] = value
	}
	out[k] = v
	return out
}

// Has reports whether the plan contains a build of that name, or one for a platform of it.
func (p *Plan) Has(name string) bool {
	return slices.ContainsFunc(p.Builds, func(b Build) bool { return b.Name == name })
}

// Only drops all builds but those named (a name, or NAME for NAME@PLATFORM)
// and those they need. It returns the names that no build has. No names at all
// mean every build.
func (p *Plan) Only(names []string) (unknown []string) {
	if len(names) == 0 {
		return nil
	}
	want := map[string]bool{}
	var need func(name string)
	need = func(name string) {
		if b, ok := p.Build(name); ok && !want[name] {
			want[name] = true
			for _, n := range b.Needs {
				need(n)
			}
		}
	}
	for _, name := range names {
		if !p.Has(name) {
			unknown = append(unknown, name)
		}
		need(name)
	}
	p.Builds = slices.DeleteFunc(p.Builds, func(b Build) bool { return !want[b.Name] })
	return unknown
}
