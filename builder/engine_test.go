package builder_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/templates"
)

// A cloud has machines and images, outlives every process that uses it, and
// may crash the caller before and after each change.
type cloud struct {
	fuse *buildertest.Fuse

	mu     sync.Mutex
	things map[string]thing // by id
	made   map[string]int   // by kind, ever
	puts   map[string][]string
	failAt map[string]int // script -> how often it fails
	wait   map[string]chan struct{}
	ready  map[string]bool // recorded keys
}

type thing struct{ kind, token, from string }

func newCloud(crashAt int) *cloud {
	return &cloud{
		fuse: buildertest.NewFuse(crashAt), things: map[string]thing{}, made: map[string]int{},
		puts: map[string][]string{}, failAt: map[string]int{}, ready: map[string]bool{}, wait: map[string]chan struct{}{},
	}
}

func (c *cloud) create(kind, from string) func(context.Context, builder.Resource) (string, error) {
	return func(_ context.Context, r builder.Resource) (string, error) {
		if err := c.fuse.Burn(); err != nil {
			return "", err
		}
		c.mu.Lock()
		c.made[kind]++
		id := fmt.Sprintf("%s-%d", kind, c.made[kind])
		c.things[id] = thing{kind, r.Token, from}
		if kind == "image" { // an image has what its machine had when it was taken
			c.puts[id] = slices.Clone(c.puts[from])
		}
		c.mu.Unlock()
		return id, c.fuse.Burn() // made, but the answer is lost
	}
}

func (c *cloud) count(kind string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, t := range c.things {
		if t.kind == kind {
			n++
		}
	}
	return n
}

type cleaner struct {
	*cloud
	kind string
}

func (c cleaner) Find(_ context.Context, r builder.Resource) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, t := range c.things {
		if t.token == r.Token && t.kind == c.kind {
			return id, nil
		}
	}
	return "", builder.ErrNotFound
}

func (c cleaner) Delete(_ context.Context, r builder.Resource) error {
	if err := c.fuse.Burn(); err != nil {
		return err
	}
	c.mu.Lock()
	delete(c.things, r.ID)
	c.mu.Unlock()
	return c.fuse.Burn()
}

// vm is a source like EC2: the machine lives on between steps.
type vm struct {
	cloud *cloud
	Size  string `yaml:"size" bake:"main"`
}

func (s *vm) Pin(context.Context, builder.PinEnv) (builder.Pin, error) {
	return builder.Pin{Digest: "sha256:base", Values: map[string]string{"id": "ami-1"}}, nil
}

func (s *vm) Open(ctx context.Context, sc *builder.Scope, from builder.Opening) (builder.Machine, error) {
	r, err := sc.Create(ctx, builder.Resource{Kind: "machine", Name: "builder"}, s.cloud.create("machine", ""))
	return builder.Machine{ID: r.ID, Platform: from.Platform}, err
}

func (s *vm) Dial(_ context.Context, _ *builder.Scope, m builder.Machine) (builder.Communicator, error) {
	s.cloud.mu.Lock()
	defer s.cloud.mu.Unlock()
	if _, ok := s.cloud.things[m.ID]; !ok {
		return nil, fmt.Errorf("machine %s is gone", m.ID)
	}
	return &line{s.cloud, m.ID}, nil
}

func (s *vm) Freeze(ctx context.Context, sc *builder.Scope, m builder.Machine, f builder.Freezing) (builder.Artifact, error) {
	if _, err := s.Dial(ctx, sc, m); err != nil {
		return builder.Artifact{}, err
	}
	r, err := sc.Create(ctx, builder.Resource{Kind: "image", Name: "ami"}, s.cloud.create("image", m.ID))
	if err != nil {
		return builder.Artifact{}, err
	}
	sc.Keep(r)
	return builder.Artifact{Image: &builder.Image{ID: r.ID}}, nil
}

// cachingVM also finds what it made before.
type cachingVM struct{ vm }

func (s *cachingVM) Lookup(_ context.Context, _ *builder.Scope, key builder.Digest) (builder.Artifact, error) {
	s.cloud.mu.Lock()
	defer s.cloud.mu.Unlock()
	if !s.cloud.ready[string(key)] {
		return builder.Artifact{}, builder.ErrNotFound
	}
	return builder.Artifact{Image: &builder.Image{ID: "found"}}, nil
}

func (s *cachingVM) Record(_ context.Context, _ *builder.Scope, key builder.Digest, _ builder.Artifact) error {
	s.cloud.mu.Lock()
	defer s.cloud.mu.Unlock()
	s.cloud.ready[string(key)] = true
	return nil
}

type line struct {
	cloud *cloud
	id    string
}

func (l *line) Run(ctx context.Context, cmd builder.Command) error {
	if err := l.cloud.fuse.Burn(); err != nil {
		return err
	}
	l.cloud.mu.Lock()
	hold := l.cloud.wait[cmd.Script]
	fails := l.cloud.failAt[cmd.Script]
	if fails > 0 {
		l.cloud.failAt[cmd.Script]--
	}
	l.cloud.mu.Unlock()
	if hold != nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-hold:
		}
	}
	if fails > 0 {
		return &builder.ExitError{Code: 7}
	}
	l.cloud.mu.Lock()
	env := slices.Sorted(maps.Keys(cmd.Env))
	l.cloud.puts[l.id] = append(l.cloud.puts[l.id], strings.TrimSpace(cmd.Script+" "+strings.Join(env, ",")))
	l.cloud.mu.Unlock()
	return l.cloud.fuse.Burn()
}

func (l *line) Put(context.Context, string, iter.Seq2[builder.File, error]) error { return nil }
func (l *line) Get(context.Context, string) iter.Seq2[builder.File, error]        { return nil }
func (l *line) Close() error                                                      { return nil }

type script struct {
	Text string `yaml:"text" bake:"main"`
}

func (s *script) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	return builder.Outcome{}, comm.Run(ctx, builder.Command{Script: s.Text})
}

type output struct {
	cloud *cloud
	To    string `yaml:"to" bake:"main"`
}

func (o *output) Accepts(builder.ArtifactKind) bool { return true }
func (o *output) Publish(_ context.Context, sc *builder.Scope, in builder.Artifact) (builder.Published, error) {
	if err := o.cloud.fuse.Burn(); err != nil {
		return builder.Published{}, err
	}
	o.cloud.mu.Lock()
	defer o.cloud.mu.Unlock()
	o.cloud.puts[o.To] = append(o.cloud.puts[o.To], in.Image.ID)
	return builder.Published{Values: map[string]string{"to": o.To}}, nil
}

type finalOutput struct{ output }

func (o *finalOutput) Final() {}
func (o *finalOutput) Publish(_ context.Context, sc *builder.Scope, in builder.Artifact) (builder.Published, error) {
	o.cloud.mu.Lock()
	defer o.cloud.mu.Unlock()
	for _, r := range sc.Results {
		o.cloud.puts["manifest"] = append(o.cloud.puts["manifest"], r.Build+" "+r.Output)
	}
	return builder.Published{}, nil
}

func (c *cloud) catalog() builder.Catalog {
	return builder.Catalog{
		Sources: map[string]func() builder.Source{
			"vm":      func() builder.Source { return &vm{cloud: c} },
			"caching": func() builder.Source { return &cachingVM{vm{cloud: c}} },
			"build":   func() builder.Source { return &vm{cloud: c} },
		},
		Provisioners: map[string]func() builder.Provisioner{"script": func() builder.Provisioner { return new(script) }},
		Outputs: map[string]func() builder.Output{
			"send":  func() builder.Output { return &output{cloud: c} },
			"final": func() builder.Output { return &finalOutput{output{cloud: c}} },
		},
		Cleaners: map[string]builder.Cleaner{"machine": cleaner{c, "machine"}, "image": cleaner{c, "image"}},
	}
}

func (c *cloud) engine(j builder.Journal) *builder.Engine {
	return &builder.Engine{Catalog: c.catalog(), Journal: c.fuse.Journal(j), Sink: buildertest.Discard, Env: new(templates.Env)}
}

func quoted(s string) json.RawMessage { b, _ := json.Marshal(s); return b }

type buildOption func(*builder.Build)

func needs(names ...string) buildOption {
	return func(b *builder.Build) { b.Needs = names; b.Base = names[0] }
}

// build returns a build with a step for each script, a test and an output.
func build(name, kind string, scripts []string, opts ...buildOption) builder.Build {
	id := func(s string) builder.StepID { return builder.StepID(name + "/" + s) }
	b := builder.Build{Name: name, Key: builder.Digest("key-" + name)}
	b.Steps = append(b.Steps, builder.Step{ID: id("open"), Phase: builder.Open, Kind: kind, Config: quoted("")})
	for i, s := range scripts {
		b.Steps = append(b.Steps, builder.Step{ID: id(fmt.Sprintf("provision/%d", i+1)), Phase: builder.Provision, Kind: "script", Config: quoted(s)})
	}
	b.Steps = append(b.Steps,
		builder.Step{ID: id("freeze"), Phase: builder.Freeze},
		builder.Step{ID: id("test-open"), Phase: builder.TestOpen},
		builder.Step{ID: id("test/1"), Phase: builder.Test, Kind: "script", Config: quoted("check " + name)},
		builder.Step{ID: id("accept"), Phase: builder.Accept},
		builder.Step{ID: id("publish/1"), Phase: builder.Publish, Kind: "send", Config: quoted("to-" + name)})
	for _, o := range opts {
		o(&b)
	}
	return b
}

func threeBuilds() *builder.Plan {
	return &builder.Plan{Builds: []builder.Build{
		build("base", "vm", []string{"one", "two"}),
		build("web", "vm", []string{"three"}, needs("base")),
		build("db", "vm", []string{"four"}, needs("base")),
	}}
}

// TestCrashEverywhere kills the process at each side effect of a run in turn,
// then cleans, resumes, or both, and wants no machine left and each image
// exactly once, with each step in it exactly once.
func TestCrashEverywhere(t *testing.T) {
	ctx := t.Context()
	whole := newCloud(0)
	if _, err := whole.engine(new(buildertest.Memory)).Run(ctx, "r1", threeBuilds()); err != nil {
		t.Fatal(err)
	}
	points := whole.fuse.Seen()
	if points < 80 {
		t.Fatalf("only %d crash points: the fuse is not in all the right places", points)
	}
	for n := 1; n <= points; n++ {
		for _, then := range []string{"clean", "resume", "clean, then resume"} {
			c, j := newCloud(n), new(buildertest.Memory)
			if _, err := c.engine(j).Run(ctx, "r1", threeBuilds()); !errors.Is(err, buildertest.ErrCrash) {
				// A crash in the background release is met by the release at the end.
				if c.fuse.Seen() < n {
					continue
				}
				t.Fatalf("%s after %d: first run: %v, want a crash", then, n, err)
			}
			c.fuse.Mend()
			if then != "resume" {
				if err := c.engine(j).Release(ctx); err != nil {
					t.Fatalf("%s after %d: release: %v", then, n, err)
				}
			}
			if then == "clean" {
				if got := c.count("machine"); got != 0 {
					t.Errorf("clean after %d: %d machines left", n, got)
				}
				if got, want := c.count("image"), accepted(t, j); got != want {
					t.Errorf("clean after %d: %d images, want the %d that were accepted", n, got, want)
				}
				continue
			}
			h, err := c.engine(j).Run(ctx, "r1", threeBuilds())
			if err != nil {
				t.Fatalf("%s after %d: %v", then, n, err)
			}
			c.checkWhole(t, fmt.Sprintf("%s after %d", then, n), h)
		}
	}
	t.Logf("%d crash points, 3 ways to go on", points)
}

// TestCrashInARelease lets a run fail at a script and kills the process at each
// side effect of the release that follows. What was deleted, though nothing says
// so, is not gone on with.
func TestCrashInARelease(t *testing.T) {
	ctx := t.Context()
	for _, script := range []string{"two", "three", "check web"} {
		whole := newCloud(0)
		whole.failAt[script] = 1
		e := whole.engine(new(buildertest.Memory))
		before := 0
		e.OnFailure = func(context.Context, error) builder.Decision {
			before = whole.fuse.Seen()
			return builder.Clean
		}
		if _, err := e.Run(ctx, "r1", threeBuilds()); err == nil {
			t.Fatal("it did not fail")
		}
		if before == whole.fuse.Seen() {
			t.Fatalf("%s: nothing was released", script)
		}
		for n := before + 1; n <= whole.fuse.Seen(); n++ {
			c, j := newCloud(n), new(buildertest.Memory)
			c.failAt[script] = 1
			if _, err := c.engine(j).Run(ctx, "r1", threeBuilds()); !errors.Is(err, buildertest.ErrCrash) {
				t.Fatalf("%s, %d: %v, want a crash", script, n, err)
			}
			c.fuse.Mend()
			c.failAt[script] = 0
			h, err := c.engine(j).Run(ctx, "r1", threeBuilds())
			if err != nil {
				t.Errorf("%s, resumed after %d: %v", script, n, err)
				continue
			}
			c.checkWhole(t, fmt.Sprintf("%s, resumed after %d", script, n), h)
		}
	}
}

// accepted counts the builds whose tests have passed.
func accepted(t *testing.T, j builder.Journal) int {
	t.Helper()
	entries, err := j.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	builds := map[string]bool{}
	for _, e := range entries {
		if e.Kind == builder.StepEnd && e.Step.Phase() == builder.Accept {
			builds[e.Step.Build()] = true
		}
	}
	return len(builds)
}

func (c *cloud) checkWhole(t *testing.T, when string, h builder.History) {
	t.Helper()
	if got := c.count("machine"); got != 0 {
		t.Errorf("%s: %d machines left", when, got)
	}
	if got := c.count("image"); got != 3 {
		t.Errorf("%s: %d images, want 3", when, got)
	}
	for _, b := range threeBuilds().Builds {
		img := h.Done[builder.StepID(b.Name+"/freeze")].Artifact.Image.ID
		c.mu.Lock()
		got := slices.Compact(slices.Clone(c.puts[img])) // the step in flight at the crash may run twice on a machine without snapshots
		sent := c.puts["to-"+b.Name]
		c.mu.Unlock()
		var want []string
		for _, s := range b.Steps {
			if s.Phase == builder.Provision {
				var text string
				_ = json.Unmarshal(s.Config, &text)
				want = append(want, text)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: image of %s holds %q, want %q", when, b.Name, got, want)
		}
		if len(sent) == 0 || sent[len(sent)-1] != img {
			t.Errorf("%s: %s sent %q, want %s", when, b.Name, sent, img)
		}
	}
}

func TestFailedBuildStopsItsDependentsAndNobodyElse(t *testing.T) {
	c := newCloud(0)
	c.failAt["boom"] = 1
	p := &builder.Plan{Builds: []builder.Build{
		build("bad", "vm", []string{"boom"}), build("child", "vm", nil, needs("bad")), build("good", "vm", []string{"ok"})}}
	h, err := c.engine(new(buildertest.Memory)).Run(t.Context(), "r1", p)
	se, ok := errors.AsType[*builder.StepError](err)
	if !ok || se.Step.ID != "bad/provision/1" {
		t.Fatalf("error %v, want the failed step", err)
	}
	if exit, ok := errors.AsType[*builder.ExitError](err); !ok || exit.Code != 7 {
		t.Errorf("error %v, want exit status 7 inside", err)
	}
	if _, ok := h.Done["good/publish/1"]; !ok {
		t.Error("the good build did not finish")
	}
	if h.Started["child/open"] {
		t.Error("the dependent build was started")
	}
	if n := c.count("machine"); n != 0 {
		t.Errorf("%d machines left", n)
	}
}

func TestFailFastStopsAll(t *testing.T) {
	c := newCloud(0)
	c.failAt["boom"] = 1
	c.wait["slow"] = make(chan struct{}) // never closed: only the cancel ends it
	p := &builder.Plan{Builds: []builder.Build{build("bad", "vm", []string{"boom"}), build("slow", "vm", []string{"slow"})}}
	e := c.engine(new(buildertest.Memory))
	e.FailFast = true
	if _, err := e.Run(t.Context(), "r1", p); err == nil {
		t.Fatal("no error")
	}
	if n := c.count("machine"); n != 0 {
		t.Errorf("%d machines left", n)
	}
}

func TestCancelReleasesEverything(t *testing.T) {
	c := newCloud(0)
	c.wait["slow"] = make(chan struct{})
	ctx, cancel := context.WithCancelCause(t.Context())
	e := c.engine(new(buildertest.Memory))
	stopped := false
	e.Sink = sinkFunc(func(ev builder.Event) {
		if ev.Type == builder.StepStarted && ev.Phase == builder.Provision {
			cancel(errors.New("interrupted"))
		}
		stopped = stopped || ev.Type == builder.StepFailed && ev.Stopped
	})
	_, err := e.Run(ctx, "r1", &builder.Plan{Builds: []builder.Build{build("a", "vm", []string{"slow"})}})
	if err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("error %v, want the cause", err)
	}
	if !stopped {
		t.Error("the step is told as one that failed")
	}
	if n := c.count("machine"); n != 0 {
		t.Errorf("%d machines left", n)
	}
}

type sinkFunc func(builder.Event)

func (f sinkFunc) Emit(e builder.Event) { f(e) }

func TestRetryAndContinueAndTimeout(t *testing.T) {
	for name, tc := range map[string]struct {
		fails   int
		change  func(*builder.Step)
		wantErr string
	}{
		"fails once, retried once":     {1, func(s *builder.Step) { s.Retries = 1 }, ""},
		"fails twice, retried once":    {2, func(s *builder.Step) { s.Retries = 1 }, "exit status 7"},
		"fails, on_error: continue":    {1, func(s *builder.Step) { s.Continue = true }, ""},
		"hangs, timeout":               {-1, func(s *builder.Step) { s.Timeout = time.Millisecond }, "timed out after 1ms"},
		"hangs, timeout, and continue": {-1, func(s *builder.Step) { s.Timeout, s.Continue = time.Millisecond, true }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(0)
			c.failAt["x"] = tc.fails
			if tc.fails < 0 {
				c.wait["x"] = make(chan struct{})
			}
			b := build("a", "vm", []string{"x"})
			tc.change(&b.Steps[1])
			_, err := c.engine(new(buildertest.Memory)).Run(t.Context(), "r1", &builder.Plan{Builds: []builder.Build{b}})
			if tc.wantErr == "" && err != nil || tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
				t.Errorf("error %v, want %q", err, tc.wantErr)
			}
		})
	}
}

func TestFailureKeptForALookInside(t *testing.T) {
	c, j := newCloud(0), new(buildertest.Memory)
	c.failAt["boom"] = 1
	e := c.engine(j)
	e.OnFailure = func(context.Context, error) builder.Decision { return builder.Keep }
	p := &builder.Plan{Builds: []builder.Build{build("a", "vm", []string{"boom"})}}
	if _, err := e.Run(t.Context(), "r1", p); err == nil {
		t.Fatal("no error")
	}
	if n := c.count("machine"); n != 1 {
		t.Fatalf("%d machines, want the kept one", n)
	}
	if err := c.engine(j).Release(t.Context()); err != nil || c.count("machine") != 0 {
		t.Errorf("after Release: %v, %d machines", err, c.count("machine"))
	}
}

func TestFailureRetriedByDecision(t *testing.T) {
	c := newCloud(0)
	c.failAt["boom"] = 2
	e := c.engine(new(buildertest.Memory))
	asked := 0
	e.OnFailure = func(context.Context, error) builder.Decision { asked++; return builder.Retry }
	if _, err := e.Run(t.Context(), "r1", &builder.Plan{Builds: []builder.Build{build("a", "vm", []string{"boom"})}}); err != nil {
		t.Fatal(err)
	}
	if asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
}

func TestRecordedArtifactIsNotMadeAgain(t *testing.T) {
	c := newCloud(0)
	p := func() *builder.Plan {
		return &builder.Plan{Builds: []builder.Build{build("a", "caching", []string{"one"})}}
	}
	if _, err := c.engine(new(buildertest.Memory)).Run(t.Context(), "r1", p()); err != nil {
		t.Fatal(err)
	}
	var cached []builder.StepID
	e := c.engine(new(buildertest.Memory))
	e.Sink = sinkFunc(func(ev builder.Event) {
		if ev.Type == builder.StepCached {
			cached = append(cached, ev.Step)
		}
	})
	if _, err := e.Run(t.Context(), "r2", p()); err != nil {
		t.Fatal(err)
	}
	if c.made["image"] != 1 || c.made["machine"] != 2 { // of the first run: one to build, one to test
		t.Errorf("made %v, want one image and two machines", c.made)
	}
	if len(cached) != 5 {
		t.Errorf("cached %v, want all steps from provision to accept", cached)
	}
	if got := c.puts["to-a"]; !slices.Equal(got, []string{"image-1", "found"}) {
		t.Errorf("published %v: outputs are also called for what was found", got)
	}
}

func TestFailedTestIsNotRecorded(t *testing.T) {
	c := newCloud(0)
	c.failAt["check a"] = 1
	p := &builder.Plan{Builds: []builder.Build{build("a", "caching", nil)}}
	if _, err := c.engine(new(buildertest.Memory)).Run(t.Context(), "r1", p); err == nil {
		t.Fatal("no error")
	}
	if len(c.ready) != 0 || len(c.puts["to-a"]) != 0 {
		t.Errorf("recorded %v, published %v: the test had failed", c.ready, c.puts["to-a"])
	}
}

func TestACandidateWhoseTestsFailIsRemovedAndMadeAnew(t *testing.T) {
	c, j := newCloud(0), new(buildertest.Memory)
	c.failAt["check a"] = 1
	p := &builder.Plan{Builds: []builder.Build{build("a", "vm", []string{"one"})}}
	if _, err := c.engine(j).Run(t.Context(), "r1", p); err == nil {
		t.Fatal("the test passed")
	}
	if n := c.count("image"); n != 0 {
		t.Errorf("%d images left of a build that failed its test", n)
	}
	h, err := c.engine(j).Run(t.Context(), "r1", p)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Done["a/freeze"].Artifact.Image.ID; got != "image-2" || c.count("image") != 1 {
		t.Errorf("resumed: image %s, %d there; want a second one, alone", got, c.count("image"))
	}
}

func TestFinalOutputSeesEverything(t *testing.T) {
	c := newCloud(0)
	a, b := build("a", "vm", nil), build("b", "vm", []string{"slow"})
	a.Steps = append(a.Steps, builder.Step{ID: "a/publish/2", Phase: builder.Publish, Kind: "final", Last: true, Config: quoted("")})
	if _, err := c.engine(new(buildertest.Memory)).Run(t.Context(), "r1", &builder.Plan{Builds: []builder.Build{a, b}}); err != nil {
		t.Fatal(err)
	}
	if got, want := c.puts["manifest"], []string{"a ", "a send", "b ", "b send"}; !slices.Equal(got, want) {
		t.Errorf("final output saw %q, want %q", got, want)
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
