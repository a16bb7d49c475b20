package ecs

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

func TestWhatCannotHealIsToldApartFromWhatMay(t *testing.T) {
	for _, c := range []struct {
		reason   string
		hopeless bool
	}{
		{"CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref 123456789012.dkr.ecr.eu-west-1.amazonaws.com/api:9: not found", true},
		{"CannotPullContainerError: image Manifest does not contain descriptor matching platform 'linux/amd64'", true},
		{"CannotPullContainerError: AccessDeniedException: not authorized to perform: ecr:GetAuthorizationToken", true},
		{"CannotPullContainerError: failed to copy: httpReadSeeker: net/http: TLS handshake timeout", false},
		{"CannotPullContainerError: toomanyrequests: You have reached your pull rate limit", false},
		{"ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: ResourceNotFoundException: Secrets Manager can't find the specified secret", true},
		{"ResourceInitializationError: unable to pull secrets or registry auth: AccessDeniedException on ssm:GetParameters", true},
		{"ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: ResourceNotFoundException: The specified log group does not exist", true},
		{"CannotStartContainerError: Error response from daemon: failed to create task: exec: \"/api\": stat /api: no such file or directory", true},
		{"Essential container in task exited", false},
		{"OutOfMemoryError: Container killed due to memory usage", false},
		{"Task failed ELB health checks in (target-group arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/api/1)", false},
		{"Your Spot Task was interrupted.", false},
		{"Host EC2 (instance i-1) terminated.", false},
	} {
		cure, got := hopeless(c.reason)
		if got != c.hopeless {
			t.Errorf("%s: hopeless %v", c.reason, got)
		}
		if got && cure == "" {
			t.Errorf("%s: nothing to do about it", c.reason)
		}
	}
}

func task(code types.TaskStopCode, reason string, ran time.Duration, containers ...types.Container) types.Task {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	end := start.Add(ran)
	return types.Task{TaskArn: aws.String("arn:aws:ecs:eu-west-1:123456789012:task/prod/0a1b"), StartedBy: aws.String("ecs-svc/2"),
		StopCode: code, StoppedReason: &reason, StartedAt: &start, ExecutionStoppedAt: &end, StoppedAt: &end, Containers: containers, LastStatus: aws.String("STOPPED")}
}

func exited(name string, code int32) types.Container {
	return types.Container{Name: &name, ExitCode: &code}
}

func TestAStoppedTaskNamesTheContainerThatEndedIt(t *testing.T) {
	for _, c := range []struct {
		name    string
		task    types.Task
		want    string
		crashed bool
	}{
		{"its exit code", task(types.TaskStopCodeEssentialContainerExited, "Essential container in task exited", time.Second, exited("proxy", 143), exited("api", 3)),
			"task 0a1b stopped: container api exited with 3: Essential container in task exited", true},
		{"a service's container must not end, also not with 0", task(types.TaskStopCodeEssentialContainerExited, "Essential container in task exited", time.Second, exited("api", 0)),
			"task 0a1b stopped: container api exited with 0: Essential container in task exited", true},
		{"after a while it is no crash at the start", task(types.TaskStopCodeEssentialContainerExited, "Essential container in task exited", time.Hour, exited("api", 1)),
			"task 0a1b stopped: container api exited with 1: Essential container in task exited", false},
		{"the container's own reason counts", task(types.TaskStopCodeTaskFailedToStart, "Task failed to start", 0,
			types.Container{Name: aws.String("api"), Reason: aws.String("CannotPullContainerError: not found")}),
			"task 0a1b stopped: container api: CannotPullContainerError: not found", false},
		{"out of memory", task(types.TaskStopCodeEssentialContainerExited, "Essential container in task exited", time.Second,
			types.Container{Name: aws.String("api"), ExitCode: aws.Int32(137), Reason: aws.String("OutOfMemoryError: Container killed due to memory usage")}),
			"task 0a1b stopped: container api exited with 137 (killed: out of memory, or it did not stop in time): OutOfMemoryError: Container killed due to memory usage", true},
		{"health checks", task(types.TaskStopCodeServiceSchedulerInitiated, "Task failed ELB health checks in (target-group x)", time.Second, exited("api", 143)),
			"task 0a1b stopped: Task failed ELB health checks in (target-group x)", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := stopped(c.task)
			if !ok || got.String() != c.want || got.Crashed != c.crashed {
				t.Errorf("got %q, crashed %v, failed %v", got, got.Crashed, ok)
			}
		})
	}
}

func TestATaskThatIsNotNeededAnyMoreDidNotFail(t *testing.T) {
	if _, ok := stopped(task(types.TaskStopCodeServiceSchedulerInitiated, "Scaling activity initiated by (deployment ecs-svc/1)", time.Hour, exited("api", 143))); ok {
		t.Error("it counts as failed")
	}
}

func TestExitCodesOfOneOffTasksAreBelieved(t *testing.T) {
	for _, c := range []struct {
		name string
		task types.Task
		want bool
	}{
		{"0", task(types.TaskStopCodeEssentialContainerExited, "", time.Second, exited("api", 0)), true},
		{"1", task(types.TaskStopCodeEssentialContainerExited, "", time.Second, exited("api", 1)), false},
		{"a helper was stopped when it was over", task(types.TaskStopCodeEssentialContainerExited, "", time.Second, exited("api", 0), exited("proxy", 137)), true},
		{"only the helper's", task(types.TaskStopCodeEssentialContainerExited, "", time.Second, exited("proxy", 143)), false},
		{"it never started", task(types.TaskStopCodeTaskFailedToStart, "", 0, types.Container{Name: aws.String("api")}), false},
		{"somebody stopped it", task(types.TaskStopCodeUserInitiated, "", time.Second, exited("api", 0)), false},
	} {
		if got := exitedWell(c.task); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
