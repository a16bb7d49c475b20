package ecs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-cmp/cmp"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	oldRevision = "arn:aws:ecs:eu-west-1:123456789012:task-definition/api:42"
	newRevision = "arn:aws:ecs:eu-west-1:123456789012:task-definition/api:43"
)

// ours is deployment 2, which brings api:43 where api:42 ran.
func ours() target {
	return target{Deployment: "ecs-svc/2", Revision: newRevision, Before: oldRevision, Since: began}
}

func deployed(number, status string, rollout types.DeploymentRolloutState, revision string, desired, running, failed int32) types.Deployment {
	return types.Deployment{Id: aws.String("ecs-svc/" + number), Status: &status, RolloutState: rollout, TaskDefinition: &revision,
		DesiredCount: desired, RunningCount: running, PendingCount: max(0, desired-running), FailedTasks: failed}
}

func service(ds ...types.Deployment) *types.Service {
	s := &types.Service{ServiceName: aws.String("api"), Deployments: ds, DesiredCount: 2,
		DeploymentConfiguration: &types.DeploymentConfiguration{DeploymentCircuitBreaker: &types.DeploymentCircuitBreaker{Enable: true, Rollback: true}}}
	for _, d := range ds {
		s.RunningCount += d.RunningCount
	}
	return s
}

func brief(number string, status types.ServiceDeploymentStatus, after time.Duration) types.ServiceDeploymentBrief {
	at := began.Add(after)
	return types.ServiceDeploymentBrief{ServiceDeploymentArn: aws.String("arn:aws:ecs:eu-west-1:1:service-deployment/prod/api/x" + number), CreatedAt: &at,
		TargetServiceRevisionArn: aws.String("arn:aws:ecs:eu-west-1:1:service-revision/prod/api/" + number), Status: status}
}

var (
	completed   = types.DeploymentRolloutStateCompleted
	inProgress2 = types.DeploymentRolloutStateInProgress
	failedState = types.DeploymentRolloutStateFailed
)

// outcomes plays observations to a follower and returns what it said to each.
func outcomes(f *follower, all ...observation) []Outcome {
	var out []Outcome
	for _, o := range all {
		out = append(out, f.observe(o).Outcome)
	}
	return out
}

// TestARolledBackServiceLooksStableAndIsNoSuccess is the bug that aws-actions
// (issues 191, 494), ecspresso (732) and fabfuel (185) have had: after the
// circuit breaker went back there is one deployment with all its tasks.
func TestARolledBackServiceLooksStableAndIsNoSuccess(t *testing.T) {
	stable := service(deployed("3", "PRIMARY", completed, oldRevision, 2, 2, 0))
	rolling := service(deployed("2", "PRIMARY", inProgress2, newRevision, 2, 0, 1), deployed("1", "ACTIVE", completed, oldRevision, 2, 2, 0))
	t.Run("as the service deployment tells", func(t *testing.T) {
		got := outcomes(newFollower(ours(), 0),
			observation{Service: rolling, Briefs: []types.ServiceDeploymentBrief{brief("2", types.ServiceDeploymentStatusInProgress, 0)}},
			observation{Service: stable, Briefs: []types.ServiceDeploymentBrief{brief("2", types.ServiceDeploymentStatusRollbackInProgress, 0)}},
			observation{Service: stable, Briefs: []types.ServiceDeploymentBrief{brief("2", types.ServiceDeploymentStatusRollbackSuccessful, 0)}})
		if diff := cmp.Diff([]Outcome{GoingOn, GoingOn, RolledBack}, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("as the service tells, where deployments cannot be listed", func(t *testing.T) {
		got := outcomes(newFollower(ours(), 0),
			observation{Service: rolling},
			observation{Service: service(deployed("3", "PRIMARY", inProgress2, oldRevision, 2, 1, 0), deployed("2", "ACTIVE", failedState, newRevision, 0, 0, 3))},
			observation{Service: stable})
		if diff := cmp.Diff([]Outcome{GoingOn, GoingOn, RolledBack}, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("first seen when it is all over", func(t *testing.T) {
		if got := newFollower(ours(), 0).observe(observation{Service: stable}).Outcome; got != RolledBack {
			t.Errorf("it is %q", got)
		}
	})
}

func TestTheEndOfADeploymentIsTold(t *testing.T) {
	both := func(b ...types.ServiceDeploymentBrief) observation { return observation{Briefs: b} }
	for _, c := range []struct {
		name string
		seen observation
		want Outcome
	}{
		{"successful", both(brief("2", types.ServiceDeploymentStatusSuccessful, 0)), Succeeded},
		{"going on", both(brief("2", types.ServiceDeploymentStatusInProgress, 0), brief("1", types.ServiceDeploymentStatusSuccessful, -time.Hour)), GoingOn},
		{"stopped without a rollback", both(brief("2", types.ServiceDeploymentStatusStopped, 0)), Failed},
		{"the rollback failed too", both(brief("2", types.ServiceDeploymentStatusRollbackFailed, 0)), Failed},
		{"somebody deployed on top of it", both(brief("9", types.ServiceDeploymentStatusInProgress, time.Minute), brief("2", types.ServiceDeploymentStatusStopped, 0)), Superseded},
		{"success of another deployment is not ours", both(brief("1", types.ServiceDeploymentStatusSuccessful, -time.Hour)), GoingOn},
		{"completed", observation{Service: service(deployed("2", "PRIMARY", completed, newRevision, 2, 2, 0))}, Succeeded},
		{"stable, but the old one is not drained", observation{Service: service(deployed("2", "PRIMARY", inProgress2, newRevision, 2, 2, 0), deployed("1", "ACTIVE", completed, oldRevision, 2, 1, 0))}, GoingOn},
		{"somebody's third revision", observation{Service: service(deployed("9", "PRIMARY", inProgress2, "arn:aws:ecs:eu-west-1:1:task-definition/api:44", 2, 0, 0))}, Superseded},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := newFollower(ours(), 0).observe(c.seen).Outcome; got != c.want {
				t.Errorf("it is %q, want %q", got, c.want)
			}
		})
	}
}

func TestAFailureWithoutRollbackIsAFailure(t *testing.T) {
	s := service(deployed("2", "PRIMARY", failedState, newRevision, 2, 0, 3))
	s.DeploymentConfiguration.DeploymentCircuitBreaker.Rollback = false
	if got := newFollower(ours(), 0).observe(observation{Service: s}).Outcome; got != Failed {
		t.Errorf("it is %q", got)
	}
}

func TestScalingIsOverWhenAllTasksRun(t *testing.T) {
	one := ours()
	one.Scale = true
	f := newFollower(one, 0)
	grow := service(deployed("2", "PRIMARY", completed, newRevision, 2, 1, 0))
	done := service(deployed("2", "PRIMARY", completed, newRevision, 2, 2, 0))
	if diff := cmp.Diff([]Outcome{GoingOn, Succeeded}, outcomes(f, observation{Service: grow}, observation{Service: done})); diff != "" {
		t.Error(diff)
	}
}

func TestOnlyTasksOfThisDeploymentCount(t *testing.T) {
	f := newFollower(ours(), 1)
	other := task(types.TaskStopCodeEssentialContainerExited, "Essential container in task exited", time.Second, exited("api", 1))
	other.StartedBy = aws.String("ecs-svc/1")
	if j := f.observe(observation{Stopped: []types.Task{other}}); len(j.Stopped) > 0 || j.Hopeless != "" {
		t.Errorf("a task of another deployment: %+v", j)
	}
}

func TestAnImageThatCannotBePulledIsGivenUpAtTheFirstTask(t *testing.T) {
	f := newFollower(ours(), 2)
	pull := task(types.TaskStopCodeTaskFailedToStart, "CannotPullContainerError: manifest unknown", 0)
	j := f.observe(observation{Stopped: []types.Task{pull}})
	if !strings.Contains(j.Hopeless, "CannotPullContainerError") {
		t.Errorf("hopeless is %q", j.Hopeless)
	}
}

// TestTasksThatKeepExitingAreGivenUp is containers-roadmap 1206 and copilot
// 1879: the circuit breaker does not count tasks that start and then exit.
func TestTasksThatKeepExitingAreGivenUp(t *testing.T) {
	crash := func(n int) types.Task {
		c := task(types.TaskStopCodeEssentialContainerExited, "Essential container in task exited", time.Second, exited("api", 3))
		c.TaskArn = aws.String(fmt.Sprintf("arn:aws:ecs:eu-west-1:1:task/prod/%d", n))
		return c
	}
	f := newFollower(ours(), 2)
	if j := f.observe(observation{Stopped: []types.Task{crash(1)}}); j.Hopeless != "" || len(j.Stopped) != 1 {
		t.Errorf("after one: %+v", j)
	}
	j := f.observe(observation{Stopped: []types.Task{crash(2)}})
	if !strings.Contains(j.Hopeless, "2 tasks ended as soon as they began") || !strings.Contains(j.Hopeless, "api exited with 3") {
		t.Errorf("after two: %q", j.Hopeless)
	}
	f.leaving = true
	if j := f.observe(observation{Stopped: []types.Task{crash(3)}}); j.Hopeless != "" {
		t.Error("the service is asked to go back a second time")
	}
	left := newFollower(ours(), 0)
	left.observe(observation{Stopped: []types.Task{crash(1), crash(2), crash(3)}})
	if j := left.observe(observation{}); j.Hopeless != "" {
		t.Error("it is given up, though that is left to the circuit breaker")
	}
}

func TestACrashAmongTasksThatAllRunIsNotGivenUp(t *testing.T) {
	f := newFollower(ours(), 1)
	f.observe(observation{Service: service(deployed("2", "PRIMARY", inProgress2, newRevision, 2, 2, 1))})
	crash := task(types.TaskStopCodeEssentialContainerExited, "Essential container in task exited", time.Second, exited("api", 3))
	if j := f.observe(observation{Stopped: []types.Task{crash}}); j.Hopeless != "" {
		t.Errorf("it is given up: %s", j.Hopeless)
	}
}

func TestEventsAndNumbersAreToldOnce(t *testing.T) {
	event := func(id string, after time.Duration) types.ServiceEvent {
		at := began.Add(after)
		return types.ServiceEvent{Id: aws.String(id), CreatedAt: &at, Message: aws.String("(service api) " + id)}
	}
	s := service(deployed("2", "PRIMARY", inProgress2, newRevision, 2, 0, 0), deployed("1", "ACTIVE", completed, oldRevision, 2, 2, 0))
	s.Events = []types.ServiceEvent{event("second", 2*time.Second), event("first", time.Second), event("of last week", -time.Hour)}
	f := newFollower(ours(), 0)
	want := []string{
		"api:43       primary     2 desired   0 running   2 pending  in progress",
		"api:42       active      2 desired   2 running   0 pending  completed",
		"(service api) first", "(service api) second",
	}
	if diff := cmp.Diff(want, f.observe(observation{Service: s}).Lines); diff != "" {
		t.Error(diff)
	}
	if lines := f.observe(observation{Service: s}).Lines; len(lines) > 0 {
		t.Errorf("told again: %q", lines)
	}
}

// TestOldTasksThatDrainDoNotHoldADeploymentUp: aws-actions 30, ecspresso 821.
// "Services stable" is only so when the last old task is gone, five minutes of
// deregistration delay later.
func TestOldTasksThatDrainDoNotHoldADeploymentUp(t *testing.T) {
	draining := service(deployed("2", "PRIMARY", completed, newRevision, 2, 2, 0), deployed("1", "ACTIVE", completed, oldRevision, 0, 2, 0))
	got := outcomes(newFollower(ours(), 0), observation{Service: draining, Briefs: []types.ServiceDeploymentBrief{brief("2", types.ServiceDeploymentStatusSuccessful, 0)}})
	if diff := cmp.Diff([]Outcome{Succeeded}, got); diff != "" {
		t.Error(diff)
	}
	if got := outcomes(newFollower(ours(), 0), observation{Service: draining}); got[0] != Succeeded {
		t.Errorf("where deployments cannot be listed: %q", got)
	}
}

// TestWhoComesInTheSameMomentTakesItsPlace: times are told to the millisecond.
func TestWhoComesInTheSameMomentTakesItsPlace(t *testing.T) {
	stopped, other := brief("2", types.ServiceDeploymentStatusStopped, 0), brief("3", types.ServiceDeploymentStatusInProgress, 0)
	for want, all := range map[Outcome][]types.ServiceDeploymentBrief{Superseded: {other, stopped}, Failed: {stopped, other}} {
		if got := outcomes(newFollower(ours(), 0), observation{Briefs: all}); got[0] != want {
			t.Errorf("%q, want %q", got[0], want)
		}
	}
}

// TestABakeTimeIsCountedDown plays looks at a canary deployment to a follower:
// the share of the traffic, what is left of each wait once a minute, and nothing twice.
func TestABakeTimeIsCountedDown(t *testing.T) {
	f := newFollower(ours(), 0)
	look := func(after time.Duration, stage types.ServiceDeploymentLifecycleStage, percent float64) []string {
		at := began.Add(after)
		return f.observe(observation{At: at, Deployment: &types.ServiceDeployment{LifecycleStage: stage, UpdatedAt: &began, ServiceArn: aws.String("arn:aws:ecs:eu-west-1:1:service/prod/api"),
			DeploymentConfiguration: &types.DeploymentConfiguration{Strategy: types.DeploymentStrategyCanary, BakeTimeInMinutes: aws.Int32(2)},
			TargetServiceRevision:   &types.ServiceRevisionSummary{RequestedProductionTrafficWeight: &percent}}}).Lines
	}
	var got []string
	for _, l := range [][]string{
		look(time.Second, types.ServiceDeploymentLifecycleStageScaleUp, 0), look(2*time.Second, types.ServiceDeploymentLifecycleStageScaleUp, 0),
		look(10*time.Second, types.ServiceDeploymentLifecycleStageProductionTrafficShift, 5), look(15*time.Second, types.ServiceDeploymentLifecycleStageProductionTrafficShift, 5),
		look(80*time.Second, types.ServiceDeploymentLifecycleStageProductionTrafficShift, 5),
		look(11*time.Minute, types.ServiceDeploymentLifecycleStageBakeTime, 100), look(11*time.Minute+30*time.Second, types.ServiceDeploymentLifecycleStageBakeTime, 100),
		look(12*time.Minute+10*time.Second, types.ServiceDeploymentLifecycleStageBakeTime, 100), look(14*time.Minute, "", 100),
	} {
		got = append(got, l...)
	}
	want := []string{"stage scale up", "stage production traffic shift: 5% of the traffic goes to api:43, more in 10m0s", "stage production traffic shift: 9m55s left", "stage production traffic shift: 8m50s left",
		"stage bake time: 100% of the traffic goes to api:43, 2m0s left", "stage bake time: 1m30s left", "stage bake time: 50s left"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestAWaitOnPurposeIsNoTimeOfADeployment: a canary that bakes for 25 minutes
// would never be over in the ten that wait gives.
func TestAWaitOnPurposeIsNoTimeOfADeployment(t *testing.T) {
	for want, c := range map[time.Duration]types.DeploymentConfiguration{
		0:                {Strategy: types.DeploymentStrategyRolling, BakeTimeInMinutes: aws.Int32(5)},
		5 * time.Minute:  {Strategy: types.DeploymentStrategyBlueGreen, BakeTimeInMinutes: aws.Int32(5)},
		25 * time.Minute: {Strategy: types.DeploymentStrategyCanary, BakeTimeInMinutes: aws.Int32(15)},
		9 * time.Minute:  {Strategy: types.DeploymentStrategyLinear, LinearConfiguration: &types.LinearConfiguration{StepPercent: aws.Float64(25), StepBakeTimeInMinutes: aws.Int32(3)}},
	} {
		if got := shifting(&c); got != want {
			t.Errorf("%s: %s, want %s", c.Strategy, got, want)
		}
	}
}
