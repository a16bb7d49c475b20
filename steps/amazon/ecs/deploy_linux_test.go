package ecs_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"bake/steps/amazon/ecs"
)

func TestDeployMakesAServiceThenOnlyWhatDiffers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.output(w.push("v1", good), "")
	p := w.mustDeploy(one)
	if p.Unchanged || p.Values["revision"] != "api:1" || !strings.Contains(p.Values["image"], "@sha256:") {
		t.Errorf("first deployment: %+v", p)
	}
	s := w.service("api")
	if b := s.DeploymentConfiguration.DeploymentCircuitBreaker; b == nil || !b.Enable || !b.Rollback {
		t.Errorf("circuit breaker %+v", b)
	}
	began := time.Now()
	if p := w.mustDeploy(one); !p.Unchanged || w.revisions("api") != 1 {
		t.Errorf("again: %+v, %d revisions", p, w.revisions("api"))
	}
	t.Logf("nothing to do took %s", time.Since(began))
	p = w.mustDeploy(w.output(w.push("v2", good), ""))
	if p.Unchanged || p.Values["revision"] != "api:2" {
		t.Errorf("second deployment: %+v", p)
	}
	if s := w.service("api"); s.RunningCount != 2 || !strings.HasSuffix(aws.ToString(s.TaskDefinition), "/api:2") {
		t.Errorf("it runs %d of %s", s.RunningCount, aws.ToString(s.TaskDefinition))
	}
}

// checked has the containers' health checked, so that one that runs for a
// moment does not count as one that serves.
func checked(config string) string {
	return strings.Replace(config, "- name: api\n", "- name: api\n      healthCheck: {command: [CMD-SHELL, echo ok], interval: 5, retries: 10}\n", 1)
}

// patient leaves it to bake to see that a deployment is hopeless.
const patient = "deployment: {circuit_breaker: {count: 100}}\n"

func TestADeploymentThatKeepsCrashingIsAskedToGoBackAndExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustDeploy(w.output(w.push("v1", good), patient))
	_, told, err := w.deploy(checked(w.output(w.push("v2", bad), patient)))
	failed := w.wantOutcome(err, told, ecs.RolledBack)
	for _, want := range []string{"container api exited with 3", "| no such table: users", "| line 30", "asking service api to go back to api:1", "serving now: api:1 (2 of 2 running)"} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not told:\n%s", want, told)
		}
	}
	if strings.Contains(told, "| line 11\n") || strings.Count(told, "| line 12\n") != 1 || strings.Count(told, "| line 30\n") != 2 {
		t.Errorf("not the last 20 lines, once, and the last 10 at the end are told:\n%s", told)
	}
	if len(failed.Serving) != 1 || failed.Serving[0].Revision != "api:1" || failed.Serving[0].Running != 2 || !failed.TurnedBack() {
		t.Errorf("it ended as %+v", failed)
	}
	if s := w.service("api"); !strings.HasSuffix(aws.ToString(s.TaskDefinition), "/api:1") {
		t.Errorf("it runs %s", aws.ToString(s.TaskDefinition))
	}
}

func TestARollbackByTheCircuitBreakerIsNoSuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustDeploy(w.output(w.push("v1", good), ""))
	_, told, err := w.deploy(checked(w.output(w.push("v2", bad), "give_up: 0\n")))
	failed := w.wantOutcome(err, told, ecs.RolledBack)
	if !strings.Contains(failed.Reason, "circuit breaker") || !strings.Contains(failed.Reason, "container api exited with 3") {
		t.Errorf("the reason is %q", failed.Reason)
	}
	if strings.Contains(told, "asking service") {
		t.Errorf("the service was asked to go back though it does so itself:\n%s", told)
	}
}

func (w *world) wantOutcome(err error, told string, want ecs.Outcome) *ecs.DeploymentError {
	w.Helper()
	failed, ok := errors.AsType[*ecs.DeploymentError](err)
	if !ok || failed.Outcome != want {
		w.Fatalf("want %s, got %v\n%s", want, err, told)
	}
	return failed
}
