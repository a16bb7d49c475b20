package ecs_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/internal/sandbox/api"
)

// migrating is what the deployments of the fault tests have besides: tasks
// before and after.
const migrating = "desired_count: 1\nbefore: [{command: [echo, migrated]}]\nafter: [{command: [echo, warmed]}]\n"

func withCount(config string) string { return strings.Replace(config, "desired_count: 2\n", "", 1) }

// TestEveryCallOfADeployMayGoWrong lets each action that a deployment calls
// fail, be throttled, be cut off before and after it was carried out. The
// deployment succeeds all the same, or says that it did not and succeeds when
// it is done again; nothing is made twice and no task is left over.
func TestEveryCallOfADeployMayGoWrong(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a minute")
	}
	w := newWorld(t)
	one, two := w.push("v1", good), w.push("v2", good)
	w.mustDeploy(withCount(w.output(one, "desired_count: 1\n")))
	w.sandbox.Faults.Forget()
	w.mustDeploy(withCount(w.output(two, migrating)))
	actions := map[string]bool{}
	for _, e := range w.sandbox.Faults.Calls() {
		actions[e.Service+":"+e.Action] = true
	}
	t.Logf("a deployment calls %d actions", len(actions))
	if len(actions) < 12 {
		t.Fatalf("only %v", actions)
	}
	var faults []api.Fault
	for action := range actions {
		service, name, _ := strings.Cut(action, ":")
		for _, kind := range []api.Kind{api.FaultError, api.FaultThrottle, api.FaultDrop, api.FaultLost} {
			faults = append(faults, api.Fault{Service: service, Action: name, Kind: kind})
		}
	}
	regions := w.sandbox.World.Regions[:8]
	queue := make(chan api.Fault, len(faults))
	for _, f := range faults {
		queue <- f
	}
	close(queue)
	var workers sync.WaitGroup
	for _, region := range regions {
		if region == w.region {
			continue
		}
		r := w.in(region)
		workers.Go(func() {
			for f := range queue {
				f.Region = region
				r.deployThrough(f, one, two)
			}
		})
	}
	workers.Wait()
}

// deployThrough deploys while a call goes wrong once, and again without that
// if it did not come through.
func (w *world) deployThrough(f api.Fault, one, two string) {
	name := fmt.Sprintf("%s of %s:%s in %s", f.Kind, f.Service, f.Action, f.Region)
	service := strings.ToLower(string(f.Kind) + "-" + f.Action)
	as := func(image, more string) string {
		return strings.NewReplacer("service: api", "service: "+service, "family: api", "family: "+service).Replace(withCount(w.output(image, more)))
	}
	if _, told, err := w.deploy(as(one, "desired_count: 1\n")); err != nil {
		w.Errorf("%s: before it: %v\n%s", name, err, told)
		return
	}
	if err := w.sandbox.Faults.Add(f); err != nil {
		w.Error(err)
		return
	}
	p, told, err := w.deploy(as(two, migrating))
	if err != nil {
		w.Logf("%s: not at once: %v", name, err)
		if p, told, err = w.deploy(as(two, migrating)); err != nil {
			w.Errorf("%s: again: %v\n%s", name, err, told)
			return
		}
	}
	if p.Values["revision"] != service+":2" {
		w.Errorf("%s: it came to %v\n%s", name, p.Values, told)
	}
	for _, wrong := range w.twice(service) {
		w.Errorf("%s: %s\n%s", name, wrong, told)
	}
	w.drop(service)
}

// twice lists what there is too much of after two deployments of a service.
func (w *world) twice(service string) []string {
	var wrong []string
	if n := w.revisions(service); n != 2 {
		wrong = append(wrong, fmt.Sprintf("%d revisions", n))
	}
	list, err := w.ecs.ListServiceDeployments(w.Context(), &sdk.ListServiceDeploymentsInput{Cluster: aws.String("prod"), Service: &service})
	if err != nil || len(list.ServiceDeployments) != 2 {
		wrong = append(wrong, fmt.Sprintf("%d deployments, %v", len(list.ServiceDeployments), err))
	}
	count := map[string]int{}
	for _, status := range []types.DesiredStatus{types.DesiredStatusRunning, types.DesiredStatusStopped} {
		out, err := w.ecs.ListTasks(w.Context(), &sdk.ListTasksInput{Cluster: aws.String("prod"), Family: &service, DesiredStatus: status})
		if err != nil {
			return append(wrong, err.Error())
		}
		if len(out.TaskArns) == 0 {
			continue
		}
		tasks, err := w.ecs.DescribeTasks(w.Context(), &sdk.DescribeTasksInput{Cluster: aws.String("prod"), Tasks: out.TaskArns})
		if err != nil {
			return append(wrong, err.Error())
		}
		for _, t := range tasks.Tasks {
			kind := "service"
			if o := t.Overrides; o != nil && len(o.ContainerOverrides) > 0 && slices.Contains(o.ContainerOverrides[0].Command, "echo") {
				kind = o.ContainerOverrides[0].Command[1]
			}
			count[kind+" "+strings.ToLower(string(status))]++
		}
	}
	for kind, want := range map[string]int{"service running": 1, "migrated stopped": 1, "warmed stopped": 1, "migrated running": 0, "warmed running": 0} {
		if count[kind] != want {
			wrong = append(wrong, fmt.Sprintf("%d tasks: %s, want %d", count[kind], kind, want))
		}
	}
	return wrong
}

// drop deletes a service, so that the next one finds the machine idle.
func (w *world) drop(service string) {
	if _, err := w.ecs.DeleteService(w.Context(), &sdk.DeleteServiceInput{Cluster: aws.String("prod"), Service: &service, Force: aws.Bool(true)}); err != nil {
		w.Error(err)
	}
}
