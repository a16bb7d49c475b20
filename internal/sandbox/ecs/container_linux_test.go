package ecs_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs"
)

// values are secrets by what they are named in task definitions.
type values map[string]string

func (v values) Value(_, _, name string) (string, error) {
	if s, ok := v[name]; ok {
		return s, nil
	}
	return "", api.Errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

// second adds a container to a definition.
func second(in *sdk.RegisterTaskDefinitionInput, name, script string) *types.ContainerDefinition {
	d := in.ContainerDefinitions[0]
	d.Name, d.Command, d.Essential = &name, []string{"sh", "-c", script}, aws.Bool(false)
	in.ContainerDefinitions = append(in.ContainerDefinitions, d)
	return &in.ContainerDefinitions[len(in.ContainerDefinitions)-1]
}

func TestContainersHaveWhatTheirDefinitionSays(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf"
	w := newWorld(t, ecs.Deps{Secrets: values{arn: "hunter2"}, Parameters: values{"/app/mode": "fast"}})
	w.cluster()
	image := w.push("v1", "true")
	for name, c := range map[string]struct {
		change func(*sdk.RegisterTaskDefinitionInput, *types.ContainerDefinition)
		script string
		want   string
		code   int32
	}{
		"secrets": {func(_ *sdk.RegisterTaskDefinitionInput, d *types.ContainerDefinition) {
			d.Secrets = []types.Secret{{Name: aws.String("PASSWORD"), ValueFrom: aws.String(arn)}, {Name: aws.String("MODE"), ValueFrom: aws.String("/app/mode")}}
		}, "echo $PASSWORD $MODE", "hunter2 fast\n", 0},
		"workdir and user": {func(_ *sdk.RegisterTaskDefinitionInput, d *types.ContainerDefinition) {
			d.WorkingDirectory, d.User = aws.String("/new/place"), aws.String("1234:5678")
		}, "echo $(pwd) $(id -u) $(id -g)", "/new/place 1234 5678\n", 0},
		"read-only root": {func(in *sdk.RegisterTaskDefinitionInput, d *types.ContainerDefinition) {
			d.ReadonlyRootFilesystem = aws.Bool(true)
			in.Volumes = []types.Volume{{Name: aws.String("tmp")}}
			d.MountPoints = []types.MountPoint{{SourceVolume: aws.String("tmp"), ContainerPath: aws.String("/scratch")}}
		}, "touch /x 2>/dev/null || echo refused; touch /scratch/x && echo taken", "refused\ntaken\n", 0},
		"entry point": {func(_ *sdk.RegisterTaskDefinitionInput, d *types.ContainerDefinition) {
			d.EntryPoint = []string{"sh", "-c", "echo entered; exit 4"}
		}, "unused", "entered\n", 4},
		"order and a shared volume": {func(in *sdk.RegisterTaskDefinitionInput, d *types.ContainerDefinition) {
			in.Volumes = []types.Volume{{Name: aws.String("v")}}
			d.MountPoints = []types.MountPoint{{SourceVolume: aws.String("v"), ContainerPath: aws.String("/v")}}
			d.DependsOn = []types.ContainerDependency{{ContainerName: aws.String("first"), Condition: types.ContainerConditionSuccess}}
			first := second(in, "first", "sleep 0.2; echo prepared >/v/f")
			first.MountPoints, first.DependsOn = d.MountPoints, nil
		}, "cat /v/f", "prepared\n", 0},
		"a dependency that fails": {func(in *sdk.RegisterTaskDefinitionInput, d *types.ContainerDefinition) {
			d.DependsOn = []types.ContainerDependency{{ContainerName: aws.String("first"), Condition: types.ContainerConditionSuccess}}
			second(in, "first", "exit 1").DependsOn = nil
		}, "echo never", "", -1},
		"out of memory": {func(_ *sdk.RegisterTaskDefinitionInput, d *types.ContainerDefinition) { d.Memory = aws.Int32(16) },
			"dd if=/dev/zero of=/dev/null bs=64M count=1000000", "", 137},
	} {
		t.Run(name, func(t *testing.T) {
			family := strings.ReplaceAll(name, " ", "-")
			td := w.define(family, image, func(in *sdk.RegisterTaskDefinitionInput) {
				d := &in.ContainerDefinitions[0]
				d.Command = []string{"sh", "-c", c.script}
				if name == "entry point" {
					d.Command = nil
				}
				in.ContainerDefinitions = append(make([]types.ContainerDefinition, 0, 2), in.ContainerDefinitions...) // d stays where it is
				c.change(in, &in.ContainerDefinitions[0])
			})
			arn := w.run(td, nil)
			got := w.ended(arn)
			code := int32(-1)
			if got.Containers[0].ExitCode != nil {
				code = *got.Containers[0].ExitCode
			}
			said := ""
			if c.want != "" {
				said = w.said(family, "app", arn)
			}
			if code != c.code || said != c.want {
				t.Errorf("exit code %d, %q, reason %q; want %d, %q", code, said, aws.ToString(got.StoppedReason), c.code, c.want)
			}
			if name == "out of memory" && !strings.HasPrefix(aws.ToString(got.Containers[0].Reason), "OutOfMemoryError: ") {
				t.Errorf("reason %q", aws.ToString(got.Containers[0].Reason))
			}
		})
	}
}

func TestHealthChecksRunInTheContainer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	w.cluster()
	td := w.define("web", w.push("v1", "sh", "-c", "touch /well; sleep 600"), func(in *sdk.RegisterTaskDefinitionInput) {
		in.ContainerDefinitions[0].HealthCheck = &types.HealthCheck{Command: []string{"CMD-SHELL", "test -e /well"}, Retries: aws.Int32(1)}
	})
	arn := w.run(td, nil)
	health := func(want types.HealthStatus) {
		t.Helper()
		w.await(string(want), func() (bool, string) {
			task := w.task(arn)
			return task.HealthStatus == want && task.Containers[0].HealthStatus == want, string(task.HealthStatus)
		})
	}
	health(types.HealthStatusHealthy)
	bad := w.define("web", w.push("v1", "sleep", "600"), func(in *sdk.RegisterTaskDefinitionInput) {
		in.ContainerDefinitions[0].HealthCheck = &types.HealthCheck{Command: []string{"CMD", "false"}, Retries: aws.Int32(1)}
	})
	w.serve("web", bad, 1, nil)
	d := w.deployed("web")
	if d.Status != types.ServiceDeploymentStatusStopped || d.DeploymentCircuitBreaker.Status != types.ServiceDeploymentRollbackMonitorsStatusTriggered {
		t.Errorf("a service that is never healthy: %s, breaker %s", d.Status, d.DeploymentCircuitBreaker.Status)
	}
	if events := w.events("web"); !strings.Contains(events, "failed container health checks.") {
		t.Errorf("events:\n%s", events)
	}
}

func TestRunTaskWithAClientTokenRunsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	w.cluster()
	td := w.define("job", w.push("v1", "sleep", "600"), nil)
	token := func(in *sdk.RunTaskInput) { in.ClientToken, in.StartedBy = aws.String("once"), aws.String("me") }
	if a, b := w.run(td, token), w.run(td, token); a != b {
		t.Errorf("two tasks: %s, %s", a, b)
	}
	_, err := w.ecs.RunTask(t.Context(), &sdk.RunTaskInput{Cluster: aws.String("prod"), TaskDefinition: &td, LaunchType: types.LaunchTypeFargate, NetworkConfiguration: vpc(), ClientToken: aws.String("once"), Count: aws.Int32(2)})
	if err == nil || !strings.Contains(err.Error(), "ConflictException") {
		t.Errorf("the token with another count: %v", err)
	}
	list, err := w.ecs.ListTasks(t.Context(), &sdk.ListTasksInput{Cluster: aws.String("prod"), StartedBy: aws.String("me")})
	w.check(err)
	if len(list.TaskArns) != 1 {
		t.Errorf("startedBy lists %d tasks", len(list.TaskArns))
	}
	if _, err := w.ecs.ListTasks(t.Context(), &sdk.ListTasksInput{Cluster: aws.String("prod"), StartedBy: aws.String("me"), Family: aws.String("job")}); err == nil {
		t.Error("startedBy was taken with another filter")
	}
	_, err = w.ecs.DeleteCluster(t.Context(), &sdk.DeleteClusterInput{Cluster: aws.String("prod")})
	if err == nil || !strings.Contains(err.Error(), "ClusterContainsTasksException") {
		t.Errorf("deleting a cluster with tasks: %v", err)
	}
}
