package buildertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bake/builder"
	"bake/templates"
)

// A World is where a source makes machines and artifacts. Each test has one of its own.
type World struct {
	// Catalog returns what a new process has: Sources, Cleaners, Images. The
	// suite brings its own provisioners; Outputs are not used.
	Catalog func() builder.Catalog
	// Source is the kind of source, and Config its block, that opens a machine
	// with a POSIX shell; "build" must be there to start from another build.
	Source string
	Config templates.JSON
	// Platform of the machines.
	Platform builder.Platform
	// Leftovers lists what is there and should not be when no run goes on:
	// containers, mounts, processes, working folders. Not images, not the cache.
	Leftovers func(t testing.TB) []string
	// Every crashes at each Every-th side effect only; 0 means at each.
	Every int
}

// Source checks that builds on a source leave nothing behind and make every
// artifact exactly once with every step in it exactly once: in a plain run, in
// a second one, after a failure, and when the process dies at any write of its
// journal and the run is cleaned, resumed, or both.
func Source(t *testing.T, newWorld func(t *testing.T) World) {
	t.Run("a run, and a second one that makes nothing", func(t *testing.T) { twice(t, newWorld(t)) })
	t.Run("a changed last step runs alone", func(t *testing.T) { changedLast(t, newWorld(t)) })
	t.Run("a retried step starts clean", func(t *testing.T) { retried(t, newWorld(t)) })
	t.Run("a failed step leaves nothing", func(t *testing.T) { failing(t, newWorld(t)) })
	t.Run("a cancelled run leaves nothing", func(t *testing.T) { cancelled(t, newWorld(t)) })
	t.Run("a step never cached runs again, and what follows it", func(t *testing.T) { neverCached(t, newWorld(t)) })
	t.Run("a crash at every write", func(t *testing.T) { crashes(t, newWorld) })
}

// scriptStep is the suite's provisioner. It counts how often it ran and can
// be told to fail.
type scriptStep struct {
	Text   string `yaml:"text" bake:"main"`
	counts *counts
}

type counts struct {
	mu    sync.Mutex
	ran   map[string]int
	fails map[string]int // how often a script still has to fail after it ran
}

func newCounts() *counts { return &counts{ran: map[string]int{}, fails: map[string]int{}} }

func (s *scriptStep) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	s.counts.mu.Lock()
	s.counts.ran[s.Text]++
	fail := s.counts.fails[s.Text] > 0
	if fail {
		s.counts.fails[s.Text]--
	}
	s.counts.mu.Unlock()
	out, errs := sc.Stdout(), sc.Stderr()
	defer out.Close()
	defer errs.Close()
	if err := comm.Run(ctx, builder.Command{Script: s.Text, Stdout: out, Stderr: errs}); err != nil {
		return builder.Outcome{}, err
	}
	if fail {
		return builder.Outcome{}, errors.New("told to fail")
	}
	return builder.Outcome{}, nil
}

func (w World) engine(t testing.TB, j builder.Journal, c *counts) *builder.Engine {
	cat := w.Catalog()
	cat.Provisioners = map[string]func() builder.Provisioner{"script": func() builder.Provisioner { return &scriptStep{counts: c} }}
	return &builder.Engine{Catalog: cat, Journal: j, Sink: Log(t), Env: new(templates.Env), WorkDir: t.TempDir()}
}

func (w World) build(name, base string, scripts []string, test string) builder.Build {
	kind, config := w.Source, w.Config
	b := builder.Build{Name: name, Platform: w.Platform, Base: base}
	if base != "" {
		kind, config = "build", text(base)
		b.Needs = []string{base}
	}
	add := func(phase builder.Phase, suffix, kind string, config templates.JSON) {
		b.Steps = append(b.Steps, builder.Step{ID: builder.StepID(name + "/" + string(phase) + suffix), Phase: phase, Kind: kind, Config: config, Name: string(phase) + suffix})
	}
	add(builder.Open, "", kind, config)
	for i, s := range scripts {
		add(builder.Provision, fmt.Sprintf("/%d", i+1), "script", text(s))
	}
	add(builder.Freeze, "", "", nil)
	add(builder.TestOpen, "", "", nil)
	add(builder.Test, "/1", "script", text(test))
	add(builder.Accept, "", "", nil)
	return b
}

func text(s string) templates.JSON { b, _ := json.Marshal(s); return b }

// logged is a script whose effect can be counted in the image.
func logged(word string) string { return "echo " + word + " >>/log" }

// holds is a test that wants exactly those effects, once each.
func holds(words ...string) string {
	var b bytes.Buffer
	b.WriteString("want=$(printf '%s\\n'")
	for _, w := range words {
		b.WriteString(" " + w)
	}
	b.WriteString(")\n[ \"$(cat /log)\" = \"$want\" ] || { cat /log; exit 1; }\n")
	return b.String()
}

func (w World) graph() *builder.Plan {
	return &builder.Plan{Created: time.Unix(1700000000, 0).UTC(), Builds: []builder.Build{
		w.build("base", "", []string{logged("one"), logged("two")}, holds("one", "two")),
		w.build("web", "base", []string{logged("three")}, holds("one", "two", "three")),
		w.build("db", "base", []string{logged("four"), logged("five")}, holds("one", "two", "four", "five")),
	}}
}

// run pins and runs a plan as a new process would.
func (w World) run(t *testing.T, e *builder.Engine, p *builder.Plan) (builder.History, error) {
	t.Helper()
	if err := e.Pin(t.Context(), "r1", p); err != nil {
		t.Fatal(err)
	}
	return e.Run(t.Context(), "r1", p)
}

func (w World) wantClean(t testing.TB, when string) {
	t.Helper()
	if left := w.Leftovers(t); len(left) > 0 {
		t.Errorf("%s: left behind: %q", when, left)
	}
}

func artifact(h builder.History, build string) string {
	st := h.Done[builder.StepID(build+"/accept")]
	if st.Artifact == nil {
		st = h.Done[builder.StepID(build+"/open")] // found in the cache
	}
	if st.Artifact == nil || st.Artifact.Image == nil {
		return ""
	}
	return st.Artifact.Image.ID
}

func twice(t *testing.T, w World) {
	c := newCounts()
	first, err := w.run(t, w.engine(t, new(Memory), c), w.graph())
	if err != nil {
		t.Fatal(err)
	}
	w.wantClean(t, "after the first run")
	ran := len(c.ran)
	second, err := w.run(t, w.engine(t, new(Memory), c), w.graph())
	if err != nil {
		t.Fatal(err)
	}
	w.wantClean(t, "after the second run")
	for script, n := range c.ran {
		if n != 1 {
			t.Errorf("script %q ran %d times", script, n)
		}
	}
	if ran != 8 {
		t.Errorf("%d scripts ran, want 8", ran)
	}
	for _, b := range []string{"base", "web", "db"} {
		if a, z := artifact(first, b), artifact(second, b); a == "" || a != z {
			t.Errorf("%s: first %q, then %q", b, a, z)
		}
	}
}

func changedLast(t *testing.T, w World) {
	c := newCounts()
	plan := func(last string) *builder.Plan {
		return &builder.Plan{Created: time.Unix(1700000000, 0).UTC(), Builds: []builder.Build{
			w.build("a", "", []string{logged("one"), logged("two"), logged(last)}, holds("one", "two", last))}}
	}
	ids := map[string]bool{}
	for _, last := range []string{"three", "other", "three"} {
		h, err := w.run(t, w.engine(t, new(Memory), c), plan(last))
		if err != nil {
			t.Fatal(err)
		}
		ids[artifact(h, "a")] = true
	}
	if c.ran[logged("one")] != 1 || c.ran[logged("two")] != 1 || c.ran[logged("three")] != 1 || c.ran[logged("other")] != 1 {
		t.Errorf("ran %v, want each once", c.ran)
	}
	if len(ids) != 2 {
		t.Errorf("images %v, want two", ids)
	}
}

func retried(t *testing.T, w World) {
	c := newCounts()
	c.fails[logged("two")] = 2
	p := &builder.Plan{Builds: []builder.Build{w.build("a", "", []string{logged("one"), logged("two")}, holds("one", "two"))}}
	p.Builds[0].Steps[2].Retries = 2
	if _, err := w.run(t, w.engine(t, new(Memory), c), p); err != nil {
		t.Fatal(err)
	}
	if c.ran[logged("two")] != 3 {
		t.Errorf("ran %d times, want 3", c.ran[logged("two")])
	}
	w.wantClean(t, "after the run")
}

func failing(t *testing.T, w World) {
	c := newCounts()
	plan := func(last string) *builder.Plan {
		return &builder.Plan{Builds: []builder.Build{w.build("a", "", []string{logged("one"), last}, holds("one", "two"))}}
	}
	_, err := w.run(t, w.engine(t, new(Memory), c), plan("echo half >>/log; exit 3"))
	if exit, ok := errors.AsType[*builder.ExitError](err); !ok || exit.Code != 3 {
		t.Fatalf("error %v, want exit status 3", err)
	}
	w.wantClean(t, "after the failure")
	if _, err := w.run(t, w.engine(t, new(Memory), c), plan(logged("two"))); err != nil {
		t.Fatal(err)
	}
	if c.ran[logged("one")] != 1 {
		t.Errorf("the step before the failed one ran %d times", c.ran[logged("one")])
	}
}

func cancelled(t *testing.T, w World) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e := w.engine(t, new(Memory), newCounts())
	e.Sink = sinkFunc(func(ev builder.Event) {
		if ev.Type == builder.StepLog && ev.Text == "waiting" {
			cancel()
		}
	})
	p := &builder.Plan{Builds: []builder.Build{w.build("a", "", []string{"sleep 1000 & echo waiting; wait"}, "true")}}
	if err := e.Pin(ctx, "r1", p); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := e.Run(ctx, "r1", p); err == nil {
		t.Error("a cancelled run returned nil")
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("cancelling took %s", took)
	}
	w.wantClean(t, "after the cancel")
}

type sinkFunc func(builder.Event)

func (f sinkFunc) Emit(e builder.Event) { f(e) }

func neverCached(t *testing.T, w World) {
	c := newCounts()
	for i := range 2 {
		p := &builder.Plan{Builds: []builder.Build{w.build("a", "", []string{logged("one"), logged("two"), logged("three")}, holds("one", "two", "three"))}}
		p.Builds[0].Steps[2].Cache.Never = true
		e := w.engine(t, new(Memory), c)
		run := builder.RunID(fmt.Sprintf("r%d", i))
		if err := e.Pin(t.Context(), run, p); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Run(t.Context(), run, p); err != nil {
			t.Fatal(err)
		}
	}
	if c.ran[logged("one")] != 1 || c.ran[logged("two")] != 2 || c.ran[logged("three")] != 2 {
		t.Errorf("ran %v, want one once and the others twice", c.ran)
	}
}

func crashes(t *testing.T, newWorld func(t *testing.T) World) {
	w := newWorld(t)
	whole := NewFuse(0)
	e := w.engine(t, whole.Journal(new(Memory)), newCounts())
	if _, err := w.run(t, e, w.graph()); err != nil {
		t.Fatal(err)
	}
	points, every := whole.Seen(), max(1, w.Every)
	t.Logf("%d crash points, at every %d", points, every)
	var tested atomic.Int32
	for n := 1; n <= points; n += every {
		for _, then := range []string{"clean", "resume", "clean, then resume"} {
			t.Run(fmt.Sprintf("%s after %d", then, n), func(t *testing.T) {
				tested.Add(1)
				crash(t, newWorld(t), n, then)
			})
		}
	}
	if tested.Load() == 0 {
		t.Error("nothing was tested")
	}
}

func crash(t *testing.T, w World, n int, then string) {
	fuse, j := NewFuse(n), new(Memory)
	p := w.graph()
	if _, err := w.run(t, w.engine(t, fuse.Journal(j), newCounts()), p); err == nil && fuse.Seen() < n {
		return // which release came first differs: this run had fewer side effects
	}
	if then != "resume" {
		if err := w.engine(t, j, newCounts()).Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantClean(t, "after clean")
	}
	if then == "clean" {
		return
	}
	c := newCounts()
	h, err := w.engine(t, j, c).Run(t.Context(), "r1", p)
	if err != nil {
		t.Fatal(err)
	}
	w.wantClean(t, "after resume")
	var missing []string
	for _, b := range p.Builds {
		if artifact(h, b.Name) == "" {
			missing = append(missing, b.Name)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		t.Errorf("no artifact of %q", missing)
	}
}
