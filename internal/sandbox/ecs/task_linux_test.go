package ecs_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/internal/sandbox/ecs"
)

func TestATaskReallyRunsAndItsExitCodeAndLogsAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	w.cluster()
	td := w.define("job", w.push("job", "sh", "-c", "echo out $FROM $A $PWD; echo err >&2; exit 3"), func(in *sdk.RegisterTaskDefinitionInput) {
		in.ContainerDefinitions[0].Environment = []types.KeyValuePair{{Name: aws.String("A"), Value: aws.String("1")}}
	})
	arn := w.run(td, nil)
	got := w.ended(arn)
	if got.StopCode != types.TaskStopCodeEssentialContainerExited || *got.StoppedReason != "Essential container in task exited" || *got.Containers[0].ExitCode != 3 {
		t.Errorf("stopCode %s, reason %q, exit code %v", got.StopCode, *got.StoppedReason, *got.Containers[0].ExitCode)
	}
	if got.StartedAt == nil || got.StoppedAt == nil || got.PullStoppedAt == nil || got.Containers[0].ImageDigest == nil {
		t.Errorf("times or digest are missing: %+v", got)
	}
	if said := w.said("job", "app", arn); said != "out image 1 /srv\nerr\n" && said != "err\nout image 1 /srv\n" {
		t.Errorf("it said %q", said)
	}
}

func TestWhatKeepsATaskFromStartingIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	w.cluster()
	image := w.push("ok", "sleep", "60")
	for name, c := range map[string]struct {
		image  string
		change func(*sdk.RegisterTaskDefinitionInput)
		want   string
	}{
		"no-image": {w.registry + "/app:none", nil, "CannotPullContainerError: "},
		"no-platform": {image, func(in *sdk.RegisterTaskDefinitionInput) {
			in.RuntimePlatform = &types.RuntimePlatform{CpuArchitecture: types.CPUArchitectureArm64}
		}, "descriptor matching platform 'linux/arm64'"},
		"no-program": {image, func(in *sdk.RegisterTaskDefinitionInput) { in.ContainerDefinitions[0].Command = []string{"nothing"} }, "CannotStartContainerError: "},
		"no-secret": {image, func(in *sdk.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions[0].Secrets = []types.Secret{{Name: aws.String("S"), ValueFrom: aws.String("arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf")}}
		}, "ResourceInitializationError: "},
		"no-group": {image, func(in *sdk.RegisterTaskDefinitionInput) {
			delete(in.ContainerDefinitions[0].LogConfiguration.Options, "awslogs-create-group")
		}, "The specified log group does not exist."},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.ended(w.run(w.define(name, c.image, c.change), nil))
			if got.StopCode != types.TaskStopCodeTaskFailedToStart || !strings.Contains(*got.StoppedReason, c.want) || got.Containers[0].ExitCode != nil {
				t.Errorf("stopCode %s, reason %q", got.StopCode, aws.ToString(got.StoppedReason))
			}
		})
	}
}

func TestStopTaskSignalsAndKeepsTheReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	w.cluster()
	arn := w.run(w.define("web", w.push("trap", "sh", "-c", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"), nil), nil)
	w.await("the task to be up", func() (bool, string) {
		task := w.task(arn)
		return *task.LastStatus == "RUNNING" && strings.Contains(w.said("web", "app", arn), "up"), *task.LastStatus
	})
	_, err := w.ecs.StopTask(t.Context(), &sdk.StopTaskInput{Cluster: aws.String("prod"), Task: &arn, Reason: aws.String("enough")})
	w.check(err)
	got := w.ended(arn)
	if got.StopCode != types.TaskStopCodeUserInitiated || *got.StoppedReason != "enough" || *got.Containers[0].ExitCode != 7 {
		t.Errorf("stopCode %s, reason %q, exit code %d", got.StopCode, *got.StoppedReason, *got.Containers[0].ExitCode)
	}
	if said := w.said("web", "app", arn); said != "up\nbye\n" {
		t.Errorf("it said %q", said)
	}
}
