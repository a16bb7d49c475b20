package ecs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"

	"bake/internal/sandbox/api"
	"bake/steps/amazon/ecs"
)

// What users of other deployers have asked for most often, each as a test. The
// numbers are of the threads.

// TestATimeoutNamesTheDeploymentAndLeavesIt: fabfuel 24, 36, 103, aws-actions
// 31, 527, suna 7420 ("Max attempts exceeded" and no more).
func TestATimeoutNamesTheDeploymentAndLeavesIt(t *testing.T) {
	w := newWorld(t)
	w.mustDeploy(w.output(w.push("v1", good), patient))
	sick := strings.Replace(w.output(w.push("v2", good), patient+"wait: 2s\n"), "- name: api\n", "- name: api\n      healthCheck: {command: [CMD-SHELL, exit 1], interval: 300, retries: 10, startPeriod: 300}\n", 1)
	began := time.Now()
	_, told, err := w.deploy(sick)
	failed := w.wantOutcome(err, told, ecs.TimedOut)
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %s", took)
	}
	if !failed.TurnedBack() || failed.Deployment == "" || !strings.Contains(failed.Hint(), "bake ecs wait --cluster prod --service api") {
		t.Errorf("%+v, hint %q", failed, failed.Hint())
	}
	s := w.service("api")
	if !strings.HasSuffix(aws.ToString(s.TaskDefinition), "/api:2") || len(s.Deployments) != 2 {
		t.Errorf("the deployment does not go on: %s", aws.ToString(s.TaskDefinition))
	}
}

// TestAnInterruptAsksTheServiceToGoBack: ecspresso 341, 374, 663.
func TestAnInterruptAsksTheServiceToGoBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustDeploy(w.output(w.push("v1", good), patient))
	sick := strings.Replace(w.output(w.push("v2", good), patient), "- name: api\n", "- name: api\n      healthCheck: {command: [CMD-SHELL, exit 1], interval: 300, retries: 10, startPeriod: 300}\n", 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	r := newRun("interrupted")
	r.story.on = func(line string) {
		if strings.Contains(line, "has started 2 tasks") {
			cancel(interrupted)
		}
	}
	_, err := w.do(ctx, r, sick)
	failed := w.wantOutcome(err, r.story.String(), ecs.Interrupted)
	if !errors.Is(err, interrupted) || failed.TurnedBack() {
		t.Errorf("it ended with %v", err)
	}
	for _, want := range []string{"asking service api to go back to api:1", "once more leaves the deployment as it is", "serving now: api:1 (2 of 2 running)"} {
		if !strings.Contains(r.story.String(), want) {
			t.Errorf("%q is not told:\n%s", want, r.story)
		}
	}
}

// TestTheSecondDeployerWaitsOrIsRefused: two pipelines at once.
func TestTheSecondDeployerWaitsOrIsRefused(t *testing.T) {
	t.Parallel()
	w := newPacedWorld(t, 0.05)
	w.mustDeploy(w.output(w.push("v1", good), ""))
	two, three := w.output(w.push("v2", good), ""), w.push("v3", good)
	started, first := make(chan struct{}), make(chan error, 1)
	r := newRun("first")
	r.story.on = func(line string) {
		if strings.Contains(line, "api:2 ") && strings.Contains(line, "primary") && started != nil {
			close(started)
			started = nil
		}
	}
	begun := started
	go func() { _, err := w.do(t.Context(), r, two); first <- err }()
	<-begun
	_, told, err := w.deploy(w.output(three, "busy: refuse\n"))
	if busy, ok := errors.AsType[*ecs.BusyError](err); !ok || busy.Revision != "api:2" {
		t.Errorf("the second one was not refused: %v\n%s", err, told)
	}
	p, told, err := w.deploy(w.output(three, ""))
	if err != nil || p.Values["revision"] != "api:3" {
		t.Errorf("the second one: %v\n%s", err, told)
	}
	if err := <-first; err != nil {
		t.Errorf("the first one: %v\n%s", err, r.story)
	}
	if !strings.Contains(told, "waiting: service api is being deployed by somebody else") {
		t.Logf("it was over before the second one looked:\n%s", told)
	}
}

// TestTwoDeployersAtTheSameMomentAreBothTold holds both back until both have
// seen that nobody deploys: ECS has no lock, and lets the last one win.
func TestTwoDeployersAtTheSameMomentAreBothTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustDeploy(w.output(w.push("v1", good), ""))
	var both sync.WaitGroup
	both.Add(2)
	w.sandbox.Faults.OnCall(func(c *api.Call, _ int, done bool) {
		if c.Action == "UpdateService" && !done {
			both.Done()
			both.Wait()
		}
	})
	type end struct {
		told string
		err  error
	}
	configs := []string{w.output(w.push("v2", good), ""), w.output(w.push("v3", good), "")}
	ends := make(chan end, 2)
	for i, config := range configs {
		go func() {
			r := newRun(fmt.Sprintf("deployer-%d", i))
			_, err := w.do(t.Context(), r, config)
			ends <- end{r.story.String(), err}
		}()
	}
	won, lost := <-ends, <-ends
	if won.err != nil {
		won, lost = lost, won
	}
	if won.err != nil || !strings.Contains(won.told, "was begun by somebody else at the same moment: this one takes its place") {
		t.Errorf("who came last: %v\n%s", won.err, won.told)
	}
	failed := w.wantOutcome(lost.err, lost.told, ecs.Superseded)
	if s := w.service("api"); !strings.HasSuffix(failed.Reason, "of "+(*s.TaskDefinition)[strings.LastIndex(*s.TaskDefinition, "/")+1:]+" took its place") {
		t.Errorf("the other one: %v", failed)
	}
}

// TestARollbackGoesToTheLastGoodRevisionNotTheOneBefore: fabfuel 185 (which
// deregistered the one in use), ecspresso rollback (the previous number).
func TestARollbackGoesToTheLastGoodRevisionNotTheOneBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustDeploy(w.output(w.push("v1", good), ""))
	if _, told, err := w.deploy(checked(w.output(w.push("v2", bad), ""))); err == nil {
		t.Fatalf("it succeeded:\n%s", told)
	}
	w.mustDeploy(w.output(w.push("v3", good), ""))
	p := w.mustDeploy("region: " + w.region + "\ncluster: prod\nservice: api\nrevision: good\n")
	if p.Values["revision"] != "api:1" {
		t.Errorf("it went to %s", p.Values["revision"])
	}
	if n := w.revisions("api"); n != 3 {
		t.Errorf("%d revisions are left of 3", n)
	}
	again, told, err := w.deploy("region: " + w.region + "\ncluster: prod\nservice: api\nrevision: good\n")
	if err == nil {
		t.Errorf("a second rollback went to %s, which the first one left:\n%s", again.Values["revision"], told)
	}
}

// TestAFirstDeploymentThatFailsLeavesNothing: there is nothing to go back to.
func TestAFirstDeploymentThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, told, err := w.deploy(checked(w.output(w.push("v1", bad), patient)))
	failed := w.wantOutcome(err, told, ecs.Failed)
	if !strings.Contains(failed.Reason, "container api exited with 3") || !strings.Contains(err.Error(), "nothing is serving now") {
		t.Errorf("%v", err)
	}
	out, err := w.ecs.ListTasks(t.Context(), &sdk.ListTasksInput{Cluster: aws.String("prod")})
	w.check(err)
	if s := w.service("api"); aws.ToString(s.Status) != "INACTIVE" || len(out.TaskArns) != 0 {
		t.Errorf("the service is %s, tasks %v", aws.ToString(s.Status), out.TaskArns)
	}
	w.mustDeploy(w.output(w.push("v2", good), ""))
}

// TestAMigrationIsBelieved: fabfuel run does not show logs; exit codes count.
func TestAMigrationIsBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustDeploy(w.output(w.push("v1", good), ""))
	_, told, err := w.deploy(w.output(w.push("v2", good), "before:\n  - {name: migrate, command: 'echo creating users; echo no such column; exit 4'}\n"))
	failed, ok := errors.AsType[*ecs.TaskError](err)
	if !ok || failed.Name != "migrate" || aws.ToInt32(failed.Stopped.ExitCode) != 4 {
		t.Fatalf("%v\n%s", err, told)
	}
	if !strings.Contains(told, "creating users\n") || !strings.Contains(told, "no such column") {
		t.Errorf("its output is not told:\n%s", told)
	}
	if s := w.service("api"); !strings.HasSuffix(aws.ToString(s.TaskDefinition), "/api:1") {
		t.Errorf("the service was deployed all the same: %s", aws.ToString(s.TaskDefinition))
	}
}

// TestNotWaitingSaysSo: silinternational, fabfuel --no-wait.
func TestNotWaitingSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustDeploy(w.output(w.push("v1", good), ""))
	p := w.mustDeploy(w.output(w.push("v2", good), "wait: 0s\n"))
	if !strings.Contains(p.Summary, "not waited for") {
		t.Errorf("summary %q", p.Summary)
	}
}
