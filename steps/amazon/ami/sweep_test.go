package ami_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/sandboxtest"
)

// swept is a template that makes bake call all that a build calls: a temporary
// key, group and profile, an extra volume that becomes a snapshot, a test on a
// fresh machine, permissions, a copy in a second region.
const swept = `
name: web
source:
  ami: {owner: amazon, name: "al2023-ami-2023.*-x86_64"}
  machine: {profile: {policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:GetObject", Resource: "*"}]}}}
  extra_volumes: [{device: /dev/sdf, size: 1, after: snapshot}]
steps: [{script: echo one >>/log}]
tests: [{script: '[ "$(uniq /log)" = one ]'}]
outputs: [{ami: {name: web-1, launch_permissions: {accounts: ["444455556666"]}, regions: [us-east-1, eu-west-1]}}]
`

// madeOfSwept is what a run of it leaves.
func madeOfSwept() []string {
	return []string{"image web-1 available ready", "snapshot", "snapshot", "image web-1 available ready in eu-west-1", "snapshot in eu-west-1"}
}

// whole asks for every case, which takes some minutes: BAKE_EVERY_CRASH=1.
// Otherwise one of each action is tried, and what is done to it changes from
// one to the next.
func whole() bool { return os.Getenv("BAKE_EVERY_CRASH") != "" }

// A point is a call of a run: the how manyeth of an action it is, from 1.
type point struct {
	service, action string
	number          int
}

func (p point) String() string { return fmt.Sprintf("%s %d", p.action, p.number) }

// reads reports whether it changes nothing. How often what takes its time is
// asked for is not the same in each run, so that such a point may not be reached.
func (p point) reads() bool {
	return slices.ContainsFunc([]string{"Describe", "Get", "List"}, func(verb string) bool { return strings.HasPrefix(p.action, verb) })
}

// recorded returns the calls of a whole run, which are then gone wrong one by
// one: what a later bake calls is tried without anybody writing it down.
func recorded(t *testing.T, template string) []point {
	t.Helper()
	w := newWorld(t)
	if err := w.start(w.compile(template)); err != nil {
		t.Fatal(err)
	}
	w.wantOnly("after a run in which all goes well", madeOfSwept()...)
	var all []point
	seen := map[string]int{}
	for _, c := range w.recorded {
		seen[c.Service+c.Action]++
		all = append(all, point{c.Service, c.Action, seen[c.Service+c.Action]})
	}
	return all
}

// start pins and runs a plan, as a new process, and notes the calls.
func (w *world) start(p *builder.Plan) error {
	w.sandbox.Faults.Forget()
	err := w.begin(w.t.Context(), w.engine(w.journal), p)
	w.recorded = w.sandbox.Faults.Calls()
	return err
}

// begin pins a plan and runs it. It is not an hour that a case may take.
func (w *world) begin(ctx context.Context, e *builder.Engine, p *builder.Plan) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := e.Pin(ctx, "r1", p); err != nil {
		return err
	}
	_, err := e.Run(ctx, "r1", p)
	return err
}

// patience is for machines that have other things to do.
const patience = 3 * time.Minute

// A trial is one case of a sweep.
type trial struct {
	name string
	try  func(*world)
}

// sweep tries all at once, as many as make sense: they wait most of the time.
func sweep(t *testing.T, all []trial) {
	t.Helper()
	began := time.Now()
	var g errgroup.Group
	g.SetLimit(16)
	for _, c := range all {
		g.Go(func() error {
			t.Run(c.name, func(t *testing.T) { c.try(newWorld(t)) })
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d cases, %.1f s each", len(all), time.Since(began).Seconds()/float64(max(1, len(all))))
}

// sampled returns the choices for the n-th of some points: all in a whole
// sweep, else one for the first call of each action.
func sampled[T any](n int, p point, choices []T) []T {
	switch {
	case whole():
		return choices
	case p.number > 1:
		return nil
	}
	return choices[n%len(choices):][:1]
}

// A death is how a process that is killed at a call dies, and what is done then.
type death struct {
	after  bool // the call is carried out, its answer lost
	hidden int  // new things are not seen by so many reads
	then   string
}

func (d death) String() string {
	when := "before"
	if d.after {
		when = "after"
	}
	if d.hidden > 0 {
		return fmt.Sprintf("%s, hidden from %d reads, %s", when, d.hidden, d.then)
	}
	return when + ", " + d.then
}

// deaths are all of them.
func deaths() []death {
	var all []death
	for _, then := range []string{"resume", "clean", "clean, then resume"} {
		all = append(all, death{after: true, then: then}, death{then: then})
	}
	if whole() {
		all = append(all, death{true, 2, "clean"}, death{true, 2, "resume"})
	}
	return all
}

// TestKilledAtEveryCallOfAWS kills the process before and after each call of a
// run. Cleaned, nothing is left; resumed, the image is there exactly once.
func TestKilledAtEveryCallOfAWS(t *testing.T) {
	t.Parallel()
	var all []trial
	var missed atomic.Int32
	for n, p := range recorded(t, swept) {
		for _, d := range sampled(n, p, deaths()) {
			all = append(all, trial{fmt.Sprintf("%s %s", p, d), func(w *world) {
				plan := w.compile(swept)
				if d.hidden > 0 {
					w.fault(api.Fault{Kind: api.FaultHidden, Times: d.hidden})
				}
				v := w.killAt(p, d.after)
				err := v.begin(plan)
				if !v.Dead() {
					missed.Add(1)
					w.unreached(p, err)
					return
				}
				w.sandbox.Faults.Clear()
				if d.hidden > 0 {
					w.fault(api.Fault{Kind: api.FaultHidden, Times: d.hidden})
				}
				w.goOn(plan, d.then, d.hidden > 0)
			}})
		}
	}
	sweep(t, all)
	t.Logf("%d points were not reached", missed.Load())
}

// A victim is a process that dies at a call: the journal takes nothing any more,
// and AWS answers it no more.
type victim struct {
	*sandboxtest.Victim
	world  *world
	ctx    context.Context
	engine *builder.Engine
}

// killAt makes a process that dies at a call, before or after it is carried out.
func (w *world) killAt(p point, after bool) *victim {
	ctx, kill := context.WithCancel(w.t.Context())
	w.t.Cleanup(kill)
	fuse := buildertest.NewFuse(0)
	w.sandbox.Faults.Forget()
	at := func(c *api.Call, number int, done bool) bool {
		return done == after && c.Service == p.service && c.Action == p.action && number == p.number
	}
	v := sandboxtest.NewVictim(w.t, w.sandbox, at, func() {
		fuse.Blow()
		kill()
	})
	return &victim{v, w, ctx, w.engineAt(v.URL, fuse.Journal(w.journal))}
}

// begin pins a plan and runs it until the process dies.
func (v *victim) begin(p *builder.Plan) error { return v.world.begin(v.ctx, v.engine, p) }

func (w *world) fault(f api.Fault) {
	w.t.Helper()
	if err := w.sandbox.Faults.Add(f); err != nil {
		w.t.Fatal(err)
	}
}

// unreached is for a run that did not come to a point: then all went well.
func (w *world) unreached(p point, err error) {
	w.t.Helper()
	w.sandbox.Faults.Clear()
	if err != nil {
		w.t.Fatal(err)
	}
	// A group is tried to be deleted until its machine lets it go: how often,
	// differs from run to run.
	if !p.reads() && p.action != "DeleteSecurityGroup" {
		w.t.Errorf("the run did not come to %s", p)
	}
	w.wantOnly("after the run", madeOfSwept()...)
}

// aged is a journal as it is read later: what does not show by then was never
// made. What may yet show is waited for (builder.Lagging).
type aged struct {
	builder.Journal
	by time.Duration
}

func (j aged) Entries(ctx context.Context) ([]builder.Entry, error) {
	entries, err := j.Journal.Entries(ctx)
	for i := range entries {
		entries[i].Time = entries[i].Time.Add(-j.by)
	}
	return entries, err
}

// goOn cleans a run whose process died, or goes on with it, or both, an hour
// later or soon.
func (w *world) goOn(p *builder.Plan, what string, soon bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	later := aged{w.journal, time.Hour}
	if soon {
		later.by = 10 * time.Second
	}
	if what != "resume" {
		if err := w.engine(later).Release(ctx); err != nil {
			w.t.Fatal(err)
		}
		w.wantAccepted("after clean")
	}
	if what == "clean" {
		return
	}
	e := w.engine(later)
	entries, err := w.journal.Entries(ctx)
	if err == nil && len(entries) == 0 { // it died before there was a run
		err = e.Pin(ctx, "r1", p)
	}
	if err == nil {
		_, err = e.Run(ctx, "r1", p)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.wantOnly("after resume", madeOfSwept()...)
}

// wantAccepted fails the test unless only that is left which a clean leaves:
// the image, if its build was accepted, and its copy, if that was finished.
func (w *world) wantAccepted(when string) {
	w.t.Helper()
	entries, err := w.journal.Entries(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	done := func(phase builder.Phase) bool {
		return slices.ContainsFunc(entries, func(e builder.Entry) bool { return e.Kind == builder.StepEnd && e.Step.Phase() == phase })
	}
	all := madeOfSwept()
	switch {
	case done(builder.Publish):
		w.wantOnly(when, all...)
	case done(builder.Accept):
		w.wantOneOf(when, all[:3], all)
	default:
		w.wantOnly(when)
	}
}

// wantOneOf is wantOnly for what may be one or the other.
func (w *world) wantOneOf(when string, some ...[]string) {
	w.t.Helper()
	got := w.things()
	for _, more := range some {
		want := slices.Sorted(slices.Values(append(slices.Clone(w.before), more...)))
		if slices.Equal(got, want) {
			return
		}
	}
	w.t.Errorf("%s: there is %q, want one of %q", when, got, some)
}

// TestCrashAtEveryWriteOfTheJournal is the same for the moments before and
// after each entry.
func TestCrashAtEveryWriteOfTheJournal(t *testing.T) {
	t.Parallel()
	counted := newWorld(t)
	count := buildertest.NewFuse(0)
	if err := counted.begin(t.Context(), counted.engine(count.Journal(counted.journal)), counted.compile(swept)); err != nil {
		t.Fatal(err)
	}
	then := []string{"clean", "resume", "clean, then resume"}
	var all []trial
	for n := 1; n <= count.Seen(); n++ {
		for k, what := range then {
			if !whole() && (n%4 != 1 || n/4%len(then) != k) {
				continue
			}
			all = append(all, trial{fmt.Sprintf("write %d, %s", n, what), func(w *world) {
				p := w.compile(swept)
				fuse := buildertest.NewFuse(n)
				if err := w.begin(t.Context(), w.engine(fuse.Journal(w.journal)), p); !errors.Is(err, buildertest.ErrCrash) {
					w.t.Fatalf("error %v, want a crash", err)
				}
				w.goOn(p, what, false)
			}})
		}
	}
	t.Logf("%d writes", count.Seen())
	sweep(t, all)
}

// faults are what may go wrong with a call.
func faults() []api.Fault {
	return []api.Fault{
		{Kind: api.FaultError, Code: "InternalError", Status: 500},
		{Kind: api.FaultError, Code: "InvalidParameterValue"},
		{Kind: api.FaultError, Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation.", Status: 403},
		{Kind: api.FaultThrottle},
		{Kind: api.FaultLost},
		{Kind: api.FaultDrop},
	}
}

// passing reports whether a fault is one that a run gets over, at whatever call.
func passing(f api.Fault) bool { return f.Kind != api.FaultError || f.Code == "InternalError" }

// TestFaultAtEveryCallOfAWS lets each call of a run go wrong in turn. A run that
// fails leaves nothing and can be resumed; one that does not has made its image
// exactly once. What passes by itself fails no run.
func TestFaultAtEveryCallOfAWS(t *testing.T) {
	t.Parallel()
	var all []trial
	var missed atomic.Int32
	for n, p := range recorded(t, swept) {
		for _, f := range sampled(n, p, faults()) {
			f.Service, f.Action, f.After = p.service, p.action, p.number-1
			all = append(all, trial{strings.TrimSpace(fmt.Sprintf("%s %s %s", p, f.Kind, f.Code)), func(w *world) {
				plan := w.compile(swept)
				w.sandbox.Faults.Forget()
				w.fault(f)
				err := w.begin(w.t.Context(), w.engine(w.journal), plan)
				hit := w.sandbox.Faults.Counts()[p.service+":"+p.action] >= p.number
				w.sandbox.Faults.Clear()
				switch {
				case !hit:
					missed.Add(1)
					w.unreached(p, err)
				case err == nil:
					w.wantOnly("after a run that came through", madeOfSwept()...)
				case passing(f):
					w.t.Errorf("a %s fault was not got over: %v", cmp.Or(f.Code, string(f.Kind)), err)
				case errors.Is(err, builder.ErrLeft):
					w.goOn(plan, "clean, then resume", false)
				default:
					w.wantAccepted("after a run that failed")
					w.goOn(plan, "resume", false)
				}
			}})
		}
	}
	sweep(t, all)
	t.Logf("%d points were not reached", missed.Load())
}

func TestWhatWasJustMadeMayNotBeSeenAtFirst(t *testing.T) {
	t.Parallel()
	var all []trial
	for _, reads := range []int{1, 2, 5} {
		all = append(all, trial{fmt.Sprintf("%d reads", reads), func(w *world) {
			w.fault(api.Fault{Kind: api.FaultHidden, Times: reads})
			err := w.start(w.compile(swept))
			w.sandbox.Faults.Clear()
			if err != nil {
				w.t.Fatal(err)
			}
			w.wantOnly("after the run", madeOfSwept()...)
		}})
	}
	sweep(t, all)
}
