package ecr_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/builder"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/sandboxtest"
)

// everything is an output with which a push makes every kind of call.
const everything = `{repository: team/api, region: eu-west-1, tags: ["1", latest], scan: true,
	create: {scan_on_push: true, immutable: {except: [latest]}, tags: {team: web},
		lifecycle: {rules: [{rulePriority: 1, selection: {tagStatus: any, countType: imageCountMoreThan, countNumber: 500}, action: {type: expire}}]},
		policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: "*", Action: ["ecr:BatchGetImage"]}]}},
	keep: {tagged: 5, untagged_older_than: 0s}}`

// converged checks that the repository holds the index and its two images, each
// once, and that pushing them again does nothing.
func (w *world) converged(t *testing.T, img builder.Image) {
	t.Helper()
	w.Faults.Clear()
	again := w.mustPush(t, everything, img)
	got := w.held(t, region, "team/api")
	if len(got) != 3 || fmt.Sprint(got[again.Values["digest"]]) != "[1 latest]" || !again.Unchanged {
		t.Errorf("the repository holds %v, again: %+v", got, again)
	}
}

func TestFaultsAtEveryCallOfAPushConverge(t *testing.T) {
	w := newWorld(t)
	img := w.index(t, 1)
	w.mustPush(t, everything, img)
	calls := 0
	for action, n := range w.Faults.Counts() {
		if action[:4] == "ecr:" || action[:4] == "ecs:" {
			calls += n
		}
	}
	t.Logf("%d calls: %v", calls, w.Faults.Counts())
	if calls < 25 {
		t.Fatal("the push does not make every kind of call")
	}
	for n := range calls {
		for _, f := range []api.Fault{
			{Kind: api.FaultError, Code: "ServerException", Status: 500},
			{Kind: api.FaultError, Code: "AccessDeniedException", Status: 403},
			{Kind: api.FaultThrottle},
			{Kind: api.FaultLost},
			{Kind: api.FaultDrop},
		} {
			f.After = n
			t.Run(fmt.Sprintf("call %d %s %s", n+1, f.Kind, f.Code), func(t *testing.T) {
				t.Parallel() // most of it is waiting
				w := newWorld(t)
				img := w.index(t, 1)
				if err := w.Faults.Add(f); err != nil {
					t.Fatal(err)
				}
				_, err := w.push(t, everything, img)
				if err != nil && f.Code != "AccessDeniedException" {
					t.Errorf("the push did not outlive it: %v", err)
				}
				w.Faults.Clear()
				if err != nil {
					w.process(t)
					w.mustPush(t, everything, img)
				}
				made := 0
				for _, c := range w.Faults.Calls() {
					if c.Action == "CreateRepository" && c.Code == "" && (c.Fault == "" || c.Fault == api.FaultLost) {
						made++
					}
				}
				if made != 1 {
					t.Errorf("the repository was made %d times", made)
				}
				w.converged(t, img)
			})
		}
	}
}

func TestAPushThatIsCutOffAtAnyCallConverges(t *testing.T) {
	w := newWorld(t)
	calls := 0
	w.Faults.OnCall(func(_ *api.Call, _ int, done bool) {
		if done {
			calls++
		}
	})
	w.mustPush(t, everything, w.index(t, 1))
	for n := range 2 * calls { // before and after each
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			img := w.index(t, 1)
			ctx, cut := context.WithCancel(t.Context())
			seen := 0
			w.Faults.OnCall(func(*api.Call, int, bool) {
				if seen++; seen == n+1 {
					cut()
				}
			})
			_, err := w.output(t, everything).Publish(ctx, w.sc, builder.Artifact{Image: &img})
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("cut off at %d: %v", n, err)
			}
			w.Faults.OnCall(nil)
			w.process(t)
			w.mustPush(t, everything, img)
			w.converged(t, img)
		})
	}
}

// define registers a task definition that names images.
func (w *world) define(t *testing.T, family string, images ...string) {
	t.Helper()
	in := &ecs.RegisterTaskDefinitionInput{Family: &family, RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate},
		NetworkMode: ecstypes.NetworkModeAwsvpc, Cpu: aws.String("256"), Memory: aws.String("512")}
	for i, image := range images {
		in.ContainerDefinitions = append(in.ContainerDefinitions, ecstypes.ContainerDefinition{Name: aws.String(fmt.Sprint("c", i)), Image: aws.String(image)})
	}
	if _, err := ecs.NewFromConfig(sandboxtest.Config(w.Sandbox, region)).RegisterTaskDefinition(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

func TestImagesThatATaskDefinitionNamesAreNeverDeleted(t *testing.T) {
	w := newWorld(t)
	var pushed []builder.Published
	for n := range 5 {
		pushed = append(pushed, w.mustPush(t, fmt.Sprintf(`{repository: api, region: eu-west-1, tags: ["%d"], create: true}`, n), w.image(t, uint64(n))))
	}
	w.define(t, "by-digest", pushed[0].Values["ref"])
	w.define(t, "by-tag", "nginx", pushed[2].Values["name"])
	w.mustPush(t, `{repository: api, region: eu-west-1, tags: ["9"], keep: 1}`, w.image(t, 9))
	var tags []string
	for _, all := range w.held(t, region, "api") {
		tags = append(tags, all...)
	}
	slices.Sort(tags)
	if fmt.Sprint(tags) != "[0 2 9]" {
		t.Errorf("the tags that are left are %v", tags)
	}
}

func TestNothingIsDeletedIfItCannotBeSeenWhatIsInUse(t *testing.T) {
	for _, action := range []string{"ListClusters", "ListTaskDefinitionFamilies"} {
		w := newWorld(t)
		w.mustPush(t, `{repository: api, region: eu-west-1, tags: ["1"], create: true}`, w.image(t, 1))
		if err := w.Faults.Add(api.Fault{Service: "ecs", Action: action, Times: -1, Kind: api.FaultError, Code: "AccessDeniedException"}); err != nil {
			t.Fatal(err)
		}
		w.mustPush(t, `{repository: api, region: eu-west-1, tags: ["2"], keep: 1}`, w.image(t, 2))
		if got := w.held(t, region, "api"); len(got) != 2 {
			t.Errorf("%s is denied, and the repository holds %v", action, got)
		}
		w.mustPush(t, `{repository: api, region: eu-west-1, tags: ["2"], keep: {tagged: 1, ignore_ecs: true}}`, w.image(t, 2))
		if got := w.held(t, region, "api"); len(got) != 1 {
			t.Errorf("ignore_ecs left %v", got)
		}
	}
}
