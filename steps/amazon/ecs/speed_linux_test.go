package ecs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/steps/amazon/ecs"
)

// TestFollowingAsksOnceASecondHoweverManyTasksThereAre counts the Describe
// calls about the service while many tasks are replaced, and takes the time
// from the service's own word that it is steady to bake's end.
func TestFollowingAsksOnceASecondHoweverManyTasksThereAre(t *testing.T) {
	w := newPacedWorld(t, 0.2)
	many := func(tag string) string {
		return strings.Replace(w.output(w.push(tag, good), ""), "desired_count: 2", "desired_count: 12", 1)
	}
	w.mustDeploy(many("v1"))
	w.sandbox.Faults.Forget()
	began := time.Now()
	w.mustDeploy(many("v2"))
	ended := time.Now()
	var first, last time.Time
	describes := 0
	for _, c := range w.sandbox.Faults.Calls() {
		switch c.Action {
		case "UpdateService":
			first = c.Time
		case "DescribeServices", "DescribeTasks", "DescribeServiceDeployments", "DescribeTargetHealth":
			if !first.IsZero() {
				describes++
				last = c.Time
			}
		}
	}
	seconds := last.Sub(first).Seconds()
	if float64(describes) > seconds+1 {
		t.Errorf("%d Describe calls in %.1f s", describes, seconds)
	}
	s := w.service("api")
	var steady time.Time
	for _, e := range s.Events {
		if strings.Contains(aws.ToString(e.Message), "steady state") && e.CreatedAt.After(steady) {
			steady = *e.CreatedAt
		}
	}
	if late := ended.Sub(steady); late > 1500*time.Millisecond {
		t.Errorf("bake ended %s after the service was steady", late)
	}
	t.Logf("%d Describe calls in %.1f s; the whole took %s; it ended %s after the service was steady", describes, seconds, ended.Sub(began), ended.Sub(steady))
}

// TestAFailureIsReportedWithinThreeSeconds takes the time from the first
// stopped task of a deployment until its reason is told.
func TestAFailureIsReportedWithinThreeSeconds(t *testing.T) {
	for _, c := range []struct{ name, image, more, says string }{
		{"exits at once", "", "", "container api exited with 3"},
		{"cannot be pulled", "missing", "verify: {skip: [all]}\ndigest: false\n", "CannotPullContainerError"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.mustDeploy(w.output(w.push("v1", good), patient))
			image := w.registry + "/api:" + c.image
			if c.image == "" {
				image = w.push("v2", bad)
			}
			r := newRun("failing")
			_, err := w.do(t.Context(), r, checked(strings.Replace(w.output(image, patient+c.more), "verify: {skip: [network]}\n", "", 1)+skipNetwork(c.more)))
			failed := w.wantOutcome(err, r.story.String(), ecs.RolledBack)
			var told time.Time
			for i, line := range r.story.lines {
				if told.IsZero() && strings.Contains(line, c.says) {
					told = r.story.times[i]
				}
			}
			first := w.firstStopped(failed)
			if took := told.Sub(first); told.IsZero() || took > 3*time.Second {
				t.Errorf("told %s after the first task stopped:\n%s", took, r.story)
			}
			t.Logf("told %s after the first task stopped; given up after %d tasks", told.Sub(first), len(failed.Stopped))
		})
	}
}

func skipNetwork(more string) string {
	if strings.Contains(more, "verify:") {
		return ""
	}
	return "verify: {skip: [network]}\n"
}

// firstStopped is when the first task of the failed deployment stopped.
func (w *world) firstStopped(failed *ecs.DeploymentError) time.Time {
	w.Helper()
	var arns []string
	for _, s := range failed.Stopped {
		arns = append(arns, s.Task)
	}
	out, err := w.ecs.DescribeTasks(w.Context(), &sdk.DescribeTasksInput{Cluster: aws.String("prod"), Tasks: arns})
	w.check(err)
	var first time.Time
	for _, task := range out.Tasks {
		if task.LastStatus != nil && *task.LastStatus == string(types.DesiredStatusStopped) && (first.IsZero() || task.StoppedAt.Before(first)) {
			first = *task.StoppedAt
		}
	}
	return first
}
