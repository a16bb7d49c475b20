package image_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bake/builder/buildertest"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
)

// crashOutputs ask for all at once: an older image makes way in two regions,
// and the new one is shared, tagged and protected.
const crashOutputs = `
  - ami:
      name: web
      description: the site
      tags: {app: web}
      if_exists: replace
      launch_permissions: {accounts: ["444455556666"]}
      regions: [us-east-1]
      deprecate_after: 90d
  - ssm_parameter: {name: /web/1, promote: /web/latest}
  - launch_template: {name: web, create: {type: t3.small}}
`

// crashWorld has an image that has the name already, in both regions.
func crashWorld(t *testing.T) *world {
	w := newWorld(t)
	w.register("web", "", nil)
	w.publishAway("web")
	w.frozen(temporary, "")
	w.box.Faults.Forget()
	return w
}

// whole checks that each image is there exactly once, and exactly as the
// template says, and that another run finds nothing to do.
func (w *world) whole() {
	w.t.Helper()
	for _, region := range []string{home, away} {
		if diff := cmp.Diff([]string{"web"}, names(w.images(w.ec2(region)))); diff != "" {
			w.t.Errorf("%s: %s", region, diff)
			continue
		}
		i := w.only(region, "web")
		if got := tags(i.Tags); got[amazon.TagKey] != "sha256:"+temporary || got[amazon.TagState] != "ready" || got["app"] != "web" {
			w.t.Errorf("%s: tags %v", region, got)
		}
		if diff := cmp.Diff([]string{other}, w.permissions(w.ec2(region), *i.ImageId)); diff != "" {
			w.t.Errorf("%s: %s", region, diff)
		}
		if diff := cmp.Diff([]string{other}, w.volumePermissions(w.ec2(region), i)); diff != "" {
			w.t.Errorf("%s: %s", region, diff)
		}
		if n := len(w.snapshots(w.ec2(region))); n != 1 {
			w.t.Errorf("%s: %d snapshots", region, n)
		}
	}
	all, err := w.newRun(crashOutputs).do(w.t.Context(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for n, p := range all {
		if !p.Unchanged {
			w.t.Errorf("output %d: another run changed something: %+v", n+1, p)
		}
	}
}

// stride is 1 where every call is to be tried (BAKE_EVERY_CALL=1, some five
// minutes); otherwise each test takes some of them.
func stride() int {
	if os.Getenv("BAKE_EVERY_CALL") != "" {
		return 1
	}
	return 11
}

// crashCalls is how many calls a whole run makes.
func crashCalls(t *testing.T) int {
	w := crashWorld(t)
	if _, err := w.newRun(crashOutputs).do(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	n := len(w.box.Faults.Calls())
	w.whole()
	return n
}

func TestWhateverGoesWrongAtWhateverCallTheImagesAreThereOnceInTheEnd(t *testing.T) {
	n := crashCalls(t)
	t.Logf("%d calls", n)
	step := stride()
	faults := []api.Fault{
		{Kind: api.FaultError, Code: "OperationNotPermitted"},
		{Kind: api.FaultError, Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation.", Status: http.StatusForbidden},
		{Kind: api.FaultError, Code: "InternalError"},
		{Kind: api.FaultThrottle},
		{Kind: api.FaultLost},
		{Kind: api.FaultDrop},
	}
	for _, kind := range faults {
		passes := kind.Kind != api.FaultError || kind.Code == "InternalError"
		for at := 0; at < n; at += step {
			t.Run(strings.TrimSpace(fmt.Sprintf("%s %s at %d", kind.Kind, kind.Code, at+1)), func(t *testing.T) {
				t.Parallel()
				w := crashWorld(t)
				fault := kind
				fault.After = at
				if err := w.box.Faults.Add(fault); err != nil {
					t.Fatal(err)
				}
				r := w.newRun(crashOutputs)
				_, err := r.do(t.Context(), nil)
				w.box.Faults.Clear()
				if err != nil {
					t.Log(err)
					if passes {
						t.Errorf("a %s fault was not got over", fault.Kind)
					}
					w.restart()
					if _, err := r.do(t.Context(), nil); err != nil {
						t.Fatalf("resumed: %v", err)
					}
				}
				w.whole()
			})
		}
	}
}

// kill makes a process whose run dies at its nth call, before or after it is
// carried out: nothing of it works from then on.
func (w *world) kill(at int, after bool) *victim {
	var mu sync.Mutex
	seen := 0
	return w.victim(func(_ *api.Call, _ int, done bool) bool {
		if done != after {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		seen++
		return seen == at
	})
}

// killAt makes one that dies when an action has been carried out.
func (w *world) killAt(action string) *victim {
	return w.victim(func(c *api.Call, _ int, done bool) bool { return done && c.Action == action })
}

// A victim is a process that dies at a call.
type victim struct {
	*sandboxtest.Victim
	world *world
	ctx   context.Context
	fuse  *buildertest.Fuse
}

func (w *world) victim(at func(c *api.Call, number int, done bool) bool) *victim {
	ctx, cancel := context.WithCancel(w.t.Context())
	w.t.Cleanup(cancel)
	fuse := buildertest.NewFuse(0)
	v := sandboxtest.NewVictim(w.t, w.box, at, func() {
		fuse.Blow()
		cancel()
	})
	w.cloud = amazon.New(amazon.Options{Endpoint: v.URL})
	return &victim{v, w, ctx, fuse}
}

// do runs until the process dies, and starts another.
func (v *victim) do(r *run) {
	v.world.t.Helper()
	if _, err := r.do(v.ctx, v.fuse); err == nil || !v.Dead() {
		v.world.t.Fatalf("it was not killed: %v", err)
	}
	v.world.box.Faults.Clear()
	v.world.restart()
}

func TestAKillAtAnyCallLosesNothingAndLeavesNothing(t *testing.T) {
	n := crashCalls(t)
	step := stride()
	for _, after := range []bool{false, true} {
		for _, how := range []string{"resume", "clean"} {
			for at := 1; at <= n; at += step {
				t.Run(fmt.Sprintf("at %d, done %v, %s", at, after, how), func(t *testing.T) {
					t.Parallel()
					w := crashWorld(t)
					v := w.kill(at, after)
					r := w.newRun(crashOutputs)
					v.do(r)
					if how == "clean" {
						if err := r.engine(nil).Release(t.Context()); err != nil {
							t.Fatalf("cleaning: %v", err)
						}
						w.noCandidates()
						r = w.newRun(crashOutputs)
					}
					if _, err := r.do(t.Context(), nil); err != nil {
						t.Fatalf("after it: %v", err)
					}
					w.whole()
				})
			}
		}
	}
}

// noCandidates checks that nothing half made is left.
func (w *world) noCandidates() {
	w.t.Helper()
	for _, region := range []string{home, away} {
		used := map[string]bool{}
		for _, i := range w.images(w.ec2(region)) {
			if tags(i.Tags)[amazon.TagState] == "candidate" {
				w.t.Errorf("%s: %s %q is left as a candidate", region, *i.ImageId, *i.Name)
			}
			used[*i.BlockDeviceMappings[0].Ebs.SnapshotId] = true
		}
		for _, s := range w.snapshots(w.ec2(region)) {
			if !used[*s.SnapshotId] && tags(s.Tags)["bake:replaced"] == "" {
				w.t.Errorf("%s: snapshot %s is left, of no image: %v", region, *s.SnapshotId, tags(s.Tags))
			}
		}
	}
}

func TestNewImagesMayBeUnknownForSomeReads(t *testing.T) {
	for _, reads := range []int{1, 3} {
		t.Run(fmt.Sprint(reads), func(t *testing.T) {
			t.Parallel()
			w := crashWorld(t)
			if err := w.box.Faults.Add(api.Fault{Service: "ec2", Kind: api.FaultHidden, Times: reads}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.newRun(crashOutputs).do(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			w.box.Faults.Clear()
			w.whole()
		})
	}
}

func TestACopyThatAKilledRunHasBegunIsUsedByTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.frozen("web", "")
	outputs := "  - ami: {name: web, regions: [us-east-1]}\n"
	v := w.killAt("CopyImage")
	first := w.newRun(outputs)
	v.do(first)
	w.calls()
	w.publish(outputs) // another run, which knows nothing of the first one's journal
	if n := w.calls()["ec2:CopyImage"]; n != 0 {
		t.Errorf("%d more copies", n)
	}
	if err := first.engine(nil).Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.only(away, "web") // cleaning up after the first run does not take it away
}

func TestAFailedCopyOfAnEarlierRunIsRemovedAndMadeAnew(t *testing.T) {
	w := newWorld(t)
	w.frozen("web", "")
	outputs := "  - ami: {name: web, regions: [us-east-1, us-west-2]}\n"
	if err := w.box.Faults.Add(api.Fault{Action: "CopyImage", Region: "us-west-2", Times: -1, Kind: api.FaultError, Code: "ResourceLimitExceeded"}); err != nil {
		t.Fatal(err)
	}
	_, err := w.newRun(outputs).do(t.Context(), nil)
	if err == nil {
		t.Fatal("it did not fail")
	}
	// What was finished stays: it took its time, and the next run finds it.
	done := w.only(away, "web")
	w.box.Faults.Clear()
	w.calls()
	got := w.publish(outputs)
	if n := w.calls()["ec2:CopyImage"]; n != 1 || got.Values[away] != *done.ImageId {
		t.Errorf("%d copies, %+v", n, got.Values)
	}
	var hint interface{ Hint() string }
	if !errors.As(err, &hint) {
		t.Errorf("no hint: %v", err)
	}
}

// faultOf is an action that fails for good.
func faultOf(action, region string) api.Fault {
	return api.Fault{Action: action, Region: region, Times: -1, Kind: api.FaultError, Code: "OperationNotPermitted"}
}
