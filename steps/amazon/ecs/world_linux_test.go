package ecs_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/need"
	"bake/internal/registry"
	"bake/internal/registrytest"
	"bake/internal/sandbox"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/ecs"
	"bake/templates"
)

// A world is a sandbox with a cluster, roles, a log group and a registry.
type world struct {
	*testing.T
	region   string
	sandbox  *sandbox.Sandbox
	deps     ecs.Deps
	registry string
	ecs      *sdk.Client
	base     v1.Image
}

func newWorld(t *testing.T) *world { return newPacedWorld(t, 0) }

// newPacedWorld is a world whose states take a part of the time that they take on AWS.
func newPacedWorld(t *testing.T, pace float64) *world {
	t.Helper()
	need.Root(t)
	s := sandboxtest.StartWith(t, sandbox.Options{Account: sandboxtest.Account, Pace: pace})
	w := &world{
		T: t, sandbox: s, registry: registrytest.Memory(t),
		deps: ecs.Deps{Cloud: amazon.New(amazon.Options{Endpoint: s.URL}), Registry: registry.New(registry.Config{})},
	}
	w.base = registrytest.Busybox(t, "sh cat echo ls id sleep kill true false env seq")
	_, err := iam.NewFromConfig(sandboxtest.Config(s, "eu-west-1")).CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("exec"), AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)})
	w.check(err)
	return w.in("eu-west-1")
}

// in is the same world in another region, with a cluster and a log group.
func (w *world) in(region string) *world {
	w.Helper()
	other := *w
	cfg := sandboxtest.Config(w.sandbox, region)
	other.region, other.ecs = region, sdk.NewFromConfig(cfg)
	_, err := other.ecs.CreateCluster(w.Context(), &sdk.CreateClusterInput{ClusterName: aws.String("prod"), CapacityProviders: []string{"FARGATE", "FARGATE_SPOT"}})
	w.check(err)
	_, err = cloudwatchlogs.NewFromConfig(cfg).CreateLogGroup(w.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("/ecs/api")})
	w.check(err)
	return &other
}

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// push puts an image that runs a script into the registry and returns its name.
func (w *world) push(tag, script string) string {
	w.Helper()
	ref := w.registry + "/api:" + tag
	registrytest.Push(w, ref, w.base, v1.Config{Cmd: []string{"sh", "-c", script}, Env: []string{"PATH=/bin", "TAG=" + tag}, WorkingDir: "/"})
	return ref
}

// A good image serves, a bad one says why it does not and exits with 3.
const (
	good = "echo serving $TAG; exec sleep 600"
	bad  = "for i in $(seq 1 30); do echo line $i; done; echo no such table: users; exit 3"
)

// output is the template's `ecs` for an image, with more keys.
func (w *world) output(image, more string) string {
	return fmt.Sprintf(`
region: %s
cluster: prod
service: api
container: api
image: %s
desired_count: 2
launch_type: FARGATE
network: {subnets: [subnet-1]}
verify: {skip: [network]}
task_definition:
  family: api
  requiresCompatibilities: [FARGATE]
  networkMode: awsvpc
  cpu: "256"
  memory: "512"
  executionRoleArn: exec
  containerDefinitions:
    - name: api
      logConfiguration: {logDriver: awslogs, options: {awslogs-group: /ecs/api, awslogs-region: %s, awslogs-stream-prefix: api}}
%s`, w.region, image, w.region, more)
}

// A story is what a run told.
type story struct {
	mu    sync.Mutex
	lines []string
	times []time.Time
	on    func(line string)
}

func (s *story) Emit(e builder.Event) {
	if e.Type != builder.StepLog {
		return
	}
	s.mu.Lock()
	s.lines = append(s.lines, e.Text)
	s.times = append(s.times, e.Time)
	on := s.on
	s.mu.Unlock()
	if on != nil {
		on(e.Text)
	}
}

func (s *story) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// A run is one bake of a template with one ecs output.
type run struct {
	id      builder.RunID
	journal builder.Journal
	story   *story
	history builder.History
}

func newRun(id string) *run {
	return &run{id: builder.RunID(id), journal: new(buildertest.Memory), story: &story{}}
}

func (w *world) engine(r *run) *builder.Engine {
	return &builder.Engine{
		Catalog: builder.Catalog{Outputs: ecs.Outputs(w.deps), Cleaners: ecs.Cleaners(w.deps)},
		Journal: r.journal, Sink: r.story, Env: new(templates.Env),
	}
}

// do runs, or goes on with, the run.
func (w *world) do(ctx context.Context, r *run, config string) (builder.Published, error) {
	w.Helper()
	return w.doWith(ctx, r, config, &builder.Image{})
}

// doWith is do with an image that the build made.
func (w *world) doWith(ctx context.Context, r *run, config string, image *builder.Image) (builder.Published, error) {
	w.Helper()
	b, diags := templates.ReadBlock("bake.yaml", []byte(config))
	w.check(diags.Err())
	p := &builder.Plan{Name: "api", Builds: []builder.Build{{Name: "api", Given: &builder.Artifact{Image: image}, Steps: []builder.Step{
		{ID: "api/publish/1", Phase: builder.Publish, Kind: "ecs", Config: b.JSON()}}}}}
	h, err := w.engine(r).Run(ctx, r.id, p)
	r.history = h
	if err != nil {
		return builder.Published{}, err
	}
	return *h.Done["api/publish/1"].Published, nil
}

// deploy is a run of its own.
func (w *world) deploy(config string) (builder.Published, string, error) {
	w.Helper()
	r := newRun(fmt.Sprintf("run-%d", time.Now().UnixNano()))
	p, err := w.do(w.Context(), r, config)
	return p, r.story.String(), err
}

// mustDeploy wants it to succeed.
func (w *world) mustDeploy(config string) builder.Published {
	w.Helper()
	p, told, err := w.deploy(config)
	if err != nil {
		w.Fatalf("%v\n%s", err, told)
	}
	return p
}

func (w *world) service(name string) types.Service {
	w.Helper()
	out, err := w.ecs.DescribeServices(w.Context(), &sdk.DescribeServicesInput{Cluster: aws.String("prod"), Services: []string{name}, Include: []types.ServiceField{types.ServiceFieldTags}})
	w.check(err)
	if len(out.Services) != 1 {
		w.Fatalf("service %s: %v", name, out.Failures)
	}
	return out.Services[0]
}

// revisions counts the revisions of a family that were ever registered.
func (w *world) revisions(family string) int {
	w.Helper()
	out, err := w.ecs.ListTaskDefinitions(w.Context(), &sdk.ListTaskDefinitionsInput{FamilyPrefix: &family})
	w.check(err)
	return len(out.TaskDefinitionArns)
}
