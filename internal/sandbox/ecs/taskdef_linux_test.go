package ecs_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-cmp/cmp"

	"bake/internal/sandbox/ecs"
)

func TestATaskDefinitionIsDescribedWithAllDefaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	arn := w.define("web", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:1", func(in *sdk.RegisterTaskDefinitionInput) {
		in.Cpu, in.Memory = aws.String(".25 vCPU"), aws.String("0.5 GB")
		in.Volumes = []types.Volume{{Name: aws.String("data")}}
		c := &in.ContainerDefinitions[0]
		c.Environment = env("B", "2", "A", "")
		c.PortMappings = []types.PortMapping{{ContainerPort: aws.Int32(80)}}
		c.HealthCheck = &types.HealthCheck{Command: []string{"CMD", "true"}}
		c.MountPoints = []types.MountPoint{{SourceVolume: aws.String("data"), ContainerPath: aws.String("/data")}}
	})
	out, err := w.ecs.DescribeTaskDefinition(t.Context(), &sdk.DescribeTaskDefinitionInput{TaskDefinition: aws.String("web"), Include: []types.TaskDefinitionField{types.TaskDefinitionFieldTags}})
	w.check(err)
	td := out.TaskDefinition
	if *td.TaskDefinitionArn != arn || td.Revision != 1 || td.Status != types.TaskDefinitionStatusActive || td.RegisteredAt == nil || td.RegisteredBy == nil || *td.Cpu != "256" || *td.Memory != "512" {
		t.Errorf("%+v", td)
	}
	c := td.ContainerDefinitions[0]
	type defaults struct {
		Essential            bool
		HostPort             int32
		Protocol             types.TransportProtocol
		Env                  []types.KeyValuePair
		Interval, Retries    int32
		Volumes, Constraints int
		Host                 bool
		Compatibilities      []types.Compatibility
	}
	got := defaults{*c.Essential, *c.PortMappings[0].HostPort, c.PortMappings[0].Protocol, c.Environment, *c.HealthCheck.Interval, *c.HealthCheck.Retries,
		len(td.Volumes), len(td.PlacementConstraints), td.Volumes[0].Host != nil, td.Compatibilities}
	want := defaults{true, 80, "tcp", env("A", "", "B", "2"), 30, 3, 1, 0, true, []types.Compatibility{"EC2", "FARGATE"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(types.KeyValuePair{}), cmp.FilterPath(func(p cmp.Path) bool { return strings.HasSuffix(p.String(), "noSmithyDocumentSerde") }, cmp.Ignore())); diff != "" {
		t.Errorf("defaults differ:\n%s", diff)
	}
	for name, list := range map[string]any{"mountPoints": c.MountPoints, "volumesFrom": c.VolumesFrom, "systemControls": c.SystemControls} {
		if data, err := json.Marshal(list); err != nil || string(data) == "null" {
			t.Errorf("%s is left out (%v)", name, err)
		}
	}
	var attributes []string
	for _, a := range td.RequiresAttributes {
		attributes = append(attributes, *a.Name)
	}
	for _, want := range []string{"ecs.capability.task-eni", "com.amazonaws.ecs.capability.ecr-auth", "ecs.capability.execution-role-ecr-pull", "ecs.capability.container-health-check"} {
		if !strings.Contains(strings.Join(attributes, " "), want) {
			t.Errorf("no attribute %s in %v", want, attributes)
		}
	}
}

func TestTaskDefinitionsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	for want, change := range map[string]func(*sdk.RegisterTaskDefinitionInput){
		"No Fargate configuration exists for given values: 256 CPU, 8192 memory": func(in *sdk.RegisterTaskDefinitionInput) { in.Memory = aws.String("8192") },
		"Fargate only supports network mode":                                     func(in *sdk.RegisterTaskDefinitionInput) { in.NetworkMode = types.NetworkModeBridge },
		"execution role ARN to support log driver awslogs":                       func(in *sdk.RegisterTaskDefinitionInput) { in.ExecutionRoleArn = nil },
		"requires options: awslogs-group": func(in *sdk.RegisterTaskDefinitionInput) {
			delete(in.ContainerDefinitions[0].LogConfiguration.Options, "awslogs-group")
		},
		"host ports and container ports in port mappings must match": func(in *sdk.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions[0].PortMappings = []types.PortMapping{{ContainerPort: aws.Int32(80), HostPort: aws.Int32(8080)}}
		},
		"Unknown volume 'x'": func(in *sdk.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions[0].MountPoints = []types.MountPoint{{SourceVolume: aws.String("x"), ContainerPath: aws.String("/x")}}
		},
		"at least one essential container": func(in *sdk.RegisterTaskDefinitionInput) { in.ContainerDefinitions[0].Essential = aws.Bool(false) },
		"circular dependency": func(in *sdk.RegisterTaskDefinitionInput) {
			two := in.ContainerDefinitions[0]
			two.Name = aws.String("two")
			two.DependsOn = []types.ContainerDependency{{ContainerName: aws.String("app"), Condition: types.ContainerConditionStart}}
			in.ContainerDefinitions[0].DependsOn = []types.ContainerDependency{{ContainerName: aws.String("two"), Condition: types.ContainerConditionStart}}
			in.ContainerDefinitions = append(in.ContainerDefinitions, two)
		},
		"has no health check": func(in *sdk.RegisterTaskDefinitionInput) {
			two := in.ContainerDefinitions[0]
			two.Name = aws.String("two")
			two.DependsOn = []types.ContainerDependency{{ContainerName: aws.String("app"), Condition: types.ContainerConditionHealthy}}
			in.ContainerDefinitions = append(in.ContainerDefinitions, two)
		},
	} {
		in := &sdk.RegisterTaskDefinitionInput{}
		w.t = t
		image := "web"
		*in = sdk.RegisterTaskDefinitionInput{Family: aws.String("web"), NetworkMode: types.NetworkModeAwsvpc, Cpu: aws.String("256"), Memory: aws.String("512"),
			RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate}, ExecutionRoleArn: aws.String("arn:aws:iam::123456789012:role/exec"),
			ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("app"), Image: &image, LogConfiguration: &types.LogConfiguration{LogDriver: types.LogDriverAwslogs, Options: map[string]string{
				"awslogs-group": "g", "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "ecs"}}}}}
		change(in)
		if _, err := w.ecs.RegisterTaskDefinition(t.Context(), in); err == nil || !strings.Contains(err.Error(), "ClientException") || !strings.Contains(err.Error(), want) {
			t.Errorf("want a ClientException %q, got %v", want, err)
		}
	}
}

func TestRevisionsAreListedDeregisteredAndNeverNumberedTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	var arns []string
	for range 3 {
		arns = append(arns, w.define("web", "web", nil))
	}
	w.define("web-worker", "web", nil)
	list := func(in sdk.ListTaskDefinitionsInput) []string {
		t.Helper()
		in.FamilyPrefix = aws.String("web")
		out, err := w.ecs.ListTaskDefinitions(t.Context(), &in)
		w.check(err)
		return out.TaskDefinitionArns
	}
	if diff := cmp.Diff([]string{arns[2], arns[1], arns[0]}, list(sdk.ListTaskDefinitionsInput{Sort: types.SortOrderDesc})); diff != "" {
		t.Error(diff)
	}
	_, err := w.ecs.DeregisterTaskDefinition(t.Context(), &sdk.DeregisterTaskDefinitionInput{TaskDefinition: &arns[2]})
	w.check(err)
	if got := list(sdk.ListTaskDefinitionsInput{Status: types.TaskDefinitionStatusInactive}); len(got) != 1 || got[0] != arns[2] {
		t.Errorf("inactive: %v", got)
	}
	out, err := w.ecs.DescribeTaskDefinition(t.Context(), &sdk.DescribeTaskDefinitionInput{TaskDefinition: aws.String("web")})
	w.check(err)
	if *out.TaskDefinition.TaskDefinitionArn != arns[1] {
		t.Errorf("the newest that is active is %s", *out.TaskDefinition.TaskDefinitionArn)
	}
	gone, err := w.ecs.DeleteTaskDefinitions(t.Context(), &sdk.DeleteTaskDefinitionsInput{TaskDefinitions: []string{arns[2], arns[0]}})
	w.check(err)
	if len(gone.TaskDefinitions) != 1 || len(gone.Failures) != 1 {
		t.Errorf("deleted %d, failures %v", len(gone.TaskDefinitions), gone.Failures)
	}
	if again := w.define("web", "web", nil); !strings.HasSuffix(again, ":4") {
		t.Errorf("the next revision is %s", again)
	}
}
