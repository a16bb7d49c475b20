package ecs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/internal/need"
	"bake/internal/registrytest"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs"
	"bake/internal/sandbox/elb"
	"bake/internal/sandbox/logs"
)

// A world is a sandbox with ECS and CloudWatch Logs, a registry with images of
// busybox, and clients.
type world struct {
	t        *testing.T
	url      string
	registry string
	control  *ecs.T
	logs     *logs.T
	ecs      *sdk.Client
	cwl      *cloudwatchlogs.Client
	elb      *elbv2.Client
	base     v1.Image
}

func newWorld(t *testing.T, d ecs.Deps) *world {
	t.Helper()
	need.Root(t)
	w := &api.World{Dir: t.TempDir(), Account: "123456789012", Regions: []string{"eu-west-1"}, Now: time.Now}
	l := logs.New(w)
	if d.Logs == nil {
		d.Logs = l
	}
	e := elb.New(w, nil)
	d.Targets = e
	c, err := ecs.New(w, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), e.Close()); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(api.NewServer(w, c.Service(), l.Service(), e.Service()))
	t.Cleanup(server.Close)
	cfg := config(server.URL)
	out := &world{t: t, url: server.URL, registry: registrytest.Memory(t), control: c, logs: l, ecs: sdk.NewFromConfig(cfg), cwl: cloudwatchlogs.NewFromConfig(cfg), elb: elbv2.NewFromConfig(cfg)}
	out.base = registrytest.Busybox(t, applets)
	return out
}

// applets are busybox's that the tests' containers call.
const applets = "sh cat echo ls id sleep kill true false env mkdir touch test httpd hostname tty wget nc pwd head tail dd"

func config(url string) aws.Config {
	return aws.Config{Region: "eu-west-1", BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", "")}
}

// client is one of another ECS.
func (w *world) client(c *ecs.T) *sdk.Client {
	server := httptest.NewServer(api.NewServer(&api.World{Account: "123456789012"}, c.Service()))
	w.t.Cleanup(server.Close)
	return sdk.NewFromConfig(config(server.URL))
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// push puts an image that runs argv into the registry and returns its name.
func (w *world) push(tag string, argv ...string) string {
	w.t.Helper()
	ref := w.registry + "/app:" + tag
	registrytest.Push(w.t, ref, w.base, v1.Config{Cmd: argv, Env: []string{"PATH=/bin", "FROM=image"}, WorkingDir: "/srv"})
	return ref
}

// cluster makes the cluster that tests use.
func (w *world) cluster() {
	w.t.Helper()
	_, err := w.ecs.CreateCluster(w.t.Context(), &sdk.CreateClusterInput{ClusterName: aws.String("prod"), CapacityProviders: []string{"FARGATE", "FARGATE_SPOT"}})
	w.check(err)
}

// define registers a Fargate task definition of one container, which change may alter.
func (w *world) define(family, image string, change func(*sdk.RegisterTaskDefinitionInput)) string {
	w.t.Helper()
	in := &sdk.RegisterTaskDefinitionInput{
		Family: &family, NetworkMode: types.NetworkModeAwsvpc, Cpu: aws.String("256"), Memory: aws.String("512"),
		RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate}, ExecutionRoleArn: aws.String("arn:aws:iam::123456789012:role/exec"),
		ContainerDefinitions: []types.ContainerDefinition{{
			Name: aws.String("app"), Image: &image,
			LogConfiguration: &types.LogConfiguration{LogDriver: types.LogDriverAwslogs, Options: map[string]string{
				"awslogs-group": "/ecs/" + family, "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "ecs", "awslogs-create-group": "true"}},
		}},
	}
	if change != nil {
		change(in)
	}
	out, err := w.ecs.RegisterTaskDefinition(w.t.Context(), in)
	w.check(err)
	return *out.TaskDefinition.TaskDefinitionArn
}

func vpc() *types.NetworkConfiguration {
	return &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{"subnet-1"}}}
}

// run runs one task and returns its ARN.
func (w *world) run(td string, change func(*sdk.RunTaskInput)) string {
	w.t.Helper()
	in := &sdk.RunTaskInput{Cluster: aws.String("prod"), TaskDefinition: &td, LaunchType: types.LaunchTypeFargate, NetworkConfiguration: vpc()}
	if change != nil {
		change(in)
	}
	out, err := w.ecs.RunTask(w.t.Context(), in)
	w.check(err)
	if len(out.Tasks) != 1 || len(out.Failures) != 0 {
		w.t.Fatalf("RunTask: %d tasks, failures %v", len(out.Tasks), out.Failures)
	}
	return *out.Tasks[0].TaskArn
}

func (w *world) task(arn string) types.Task {
	w.t.Helper()
	out, err := w.ecs.DescribeTasks(w.t.Context(), &sdk.DescribeTasksInput{Cluster: aws.String("prod"), Tasks: []string{arn}})
	w.check(err)
	if len(out.Tasks) != 1 {
		w.t.Fatalf("DescribeTasks of %s: %v", arn, out.Failures)
	}
	return out.Tasks[0]
}

// await asks until done, which returns what it sees for the report of a timeout.
func (w *world) await(what string, done func() (bool, string)) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 40*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, seen := done()
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("waiting for %s: %s", what, seen)
		case <-tick.C:
		}
	}
}

// ended waits until a task is STOPPED.
func (w *world) ended(arn string) types.Task {
	w.t.Helper()
	w.await("the task's end", func() (bool, string) {
		t := w.task(arn)
		return *t.LastStatus == "STOPPED", *t.LastStatus
	})
	return w.task(arn)
}

// said is what a task's container wrote to its log.
func (w *world) said(family, container, taskARN string) string {
	w.t.Helper()
	out, err := w.cwl.GetLogEvents(w.t.Context(), &cloudwatchlogs.GetLogEventsInput{
		LogGroupName: aws.String("/ecs/" + family), LogStreamName: aws.String("ecs/" + container + "/" + taskARN[strings.LastIndex(taskARN, "/")+1:]), StartFromHead: aws.Bool(true)})
	w.check(err)
	var b strings.Builder
	for _, e := range out.Events {
		fmt.Fprintln(&b, *e.Message)
	}
	return b.String()
}

// serve makes a service of a definition.
func (w *world) serve(name, td string, count int32, change func(*sdk.CreateServiceInput)) *types.Service {
	w.t.Helper()
	in := &sdk.CreateServiceInput{
		Cluster: aws.String("prod"), ServiceName: &name, TaskDefinition: &td, DesiredCount: &count, LaunchType: types.LaunchTypeFargate, NetworkConfiguration: vpc(),
		DeploymentConfiguration: &types.DeploymentConfiguration{DeploymentCircuitBreaker: &types.DeploymentCircuitBreaker{Enable: true, Rollback: true}},
	}
	if change != nil {
		change(in)
	}
	out, err := w.ecs.CreateService(w.t.Context(), in)
	w.check(err)
	return out.Service
}

func (w *world) service(name string) types.Service {
	w.t.Helper()
	out, err := w.ecs.DescribeServices(w.t.Context(), &sdk.DescribeServicesInput{Cluster: aws.String("prod"), Services: []string{name}})
	w.check(err)
	if len(out.Services) != 1 {
		w.t.Fatalf("DescribeServices %s: %v", name, out.Failures)
	}
	return out.Services[0]
}

// deployed waits until the newest service deployment of a service is over.
func (w *world) deployed(name string) types.ServiceDeployment {
	w.t.Helper()
	list, err := w.ecs.ListServiceDeployments(w.t.Context(), &sdk.ListServiceDeploymentsInput{Cluster: aws.String("prod"), Service: &name})
	w.check(err)
	var d types.ServiceDeployment
	w.await("the deployment of "+name, func() (bool, string) {
		out, err := w.ecs.DescribeServiceDeployments(w.t.Context(), &sdk.DescribeServiceDeploymentsInput{ServiceDeploymentArns: []string{*list.ServiceDeployments[0].ServiceDeploymentArn}})
		w.check(err)
		d = out.ServiceDeployments[0]
		return d.FinishedAt != nil, fmt.Sprintf("%s, events:\n%s", d.Status, w.events(name))
	})
	return d
}

// events are a service's, oldest first.
func (w *world) events(name string) string {
	var b strings.Builder
	s := w.service(name)
	for i := len(s.Events) - 1; i >= 0; i-- {
		fmt.Fprintln(&b, *s.Events[i].Message)
	}
	return b.String()
}
