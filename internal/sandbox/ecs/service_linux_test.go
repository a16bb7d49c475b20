package ecs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/internal/sandbox/ecs"
)

func TestAServiceRollsToANewRevisionAndBackFromOneThatCrashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{Settle: 2 * time.Second}) // a busy machine takes its time to crash
	w.cluster()
	good := w.define("web", w.push("v1", "sleep", "600"), nil)
	w.serve("web", good, 2, nil)
	if d := w.deployed("web"); d.Status != types.ServiceDeploymentStatusSuccessful {
		t.Fatalf("first deployment: %s %s", d.Status, aws.ToString(d.StatusReason))
	}
	next := w.define("web", w.push("v2", "sleep", "601"), nil)
	_, err := w.ecs.UpdateService(t.Context(), &sdk.UpdateServiceInput{Cluster: aws.String("prod"), Service: aws.String("web"), TaskDefinition: &next})
	w.check(err)
	if d := w.deployed("web"); d.Status != types.ServiceDeploymentStatusSuccessful || len(d.SourceServiceRevisions) != 1 {
		t.Fatalf("second deployment: %+v", d)
	}
	bad := w.define("web", w.push("v3", "sh", "-c", "echo no such table; exit 5"), nil)
	up, err := w.ecs.UpdateService(t.Context(), &sdk.UpdateServiceInput{Cluster: aws.String("prod"), Service: aws.String("web"), TaskDefinition: &bad})
	w.check(err)
	failing := *up.Service.Deployments[0].Id
	d := w.deployed("web")
	if d.Status != types.ServiceDeploymentStatusRollbackSuccessful || d.Rollback == nil || d.DeploymentCircuitBreaker.FailureCount != 3 || d.DeploymentCircuitBreaker.Threshold != 3 {
		t.Errorf("third deployment: %+v", d)
	}
	s := w.service("web")
	if len(s.Deployments) != 1 || *s.TaskDefinition != next || s.RunningCount != 2 || s.Deployments[0].RolloutState != types.DeploymentRolloutStateCompleted {
		t.Errorf("what serves now: %d deployments, %s, %d running", len(s.Deployments), *s.TaskDefinition, s.RunningCount)
	}
	events := w.events("web")
	for _, want := range []string{"has started 2 tasks: (task ", "deployment completed.", "has reached a steady state.",
		"(deployment " + failing + ") deployment failed: tasks failed to start.", "rolling back to deployment ecs-svc/"} {
		if !strings.Contains(events, want) {
			t.Errorf("no event %q in:\n%s", want, events)
		}
	}
	stopped, err := w.ecs.ListTasks(t.Context(), &sdk.ListTasksInput{Cluster: aws.String("prod"), ServiceName: aws.String("web"), DesiredStatus: types.DesiredStatusStopped})
	w.check(err)
	crashed := 0
	for _, arn := range stopped.TaskArns {
		if task := w.task(arn); *task.StartedBy == failing {
			crashed++
			if task.Containers[0].ExitCode == nil && task.StopCode == types.TaskStopCodeEssentialContainerExited {
				t.Errorf("a task of the failed deployment has no exit code: %+v", task.Containers[0])
			}
		}
	}
	if crashed < 3 {
		t.Errorf("%d tasks of the failed deployment are listed as stopped, want 3 or more", crashed)
	}
}
