package ami_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/need"
	"bake/internal/sandbox"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/machinetest"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/ami"
	"bake/steps/amazon/image"
	"bake/templates"
)

const (
	region = "us-east-1"
	away   = "eu-west-1" // where copies go
)

// tiny is a template whose whole run is short.
const tiny = `
name: web
source: {ami: {owner: amazon, name: "al2023-ami-2023.*-x86_64"}}
steps: [{script: echo one >>/log}]
outputs: [{ami: web-1}]
`

// A world is a sandbox and what processes that use it share: the run's working
// directory and the journal.
type world struct {
	t       *testing.T
	sandbox *sandbox.Sandbox
	work    string
	journal *buildertest.Memory
	sources map[string]func() builder.Source // nil: ami alone
	outputs map[string]func() builder.Output // nil: those of package image
	before  []string                         // what is there when nothing was built

	mu    sync.Mutex
	calls []string // of AWS, by all processes
	ran   map[string]int
	logs  []string

	runs     int         // of next
	recorded []api.Entry // the calls of start
}

func newWorld(t *testing.T) *world {
	t.Helper()
	need.Root(t)
	machinetest.Program(t)
	w := &world{t: t, sandbox: sandboxtest.Start(t), work: t.TempDir(), journal: new(buildertest.Memory), ran: map[string]int{}}
	w.before = w.things()
	return w
}

// client calls the sandbox without bake.
func (w *world) client() *ec2.Client { return ec2.NewFromConfig(sandboxtest.Config(w.sandbox, region)) }

// A process is one that bakes: it has a cloud, and so connections and pollers, of its own.
func (w *world) process() builder.Catalog { return w.processAt(w.sandbox.URL) }

// processAt is a process that reaches AWS at an endpoint.
func (w *world) processAt(endpoint string) builder.Catalog {
	cloud := amazon.New(amazon.Options{Endpoint: endpoint, Log: func(_, action string, _ error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.calls = append(w.calls, action)
	}})
	cleaners := ami.Cleaners(cloud)
	maps.Copy(cleaners, image.Cleaners(image.Deps{Cloud: cloud}))
	sources := w.sources
	if sources == nil {
		sources = map[string]func() builder.Source{"ami": ami.New(cloud)}
	}
	outputs := w.outputs
	if outputs == nil {
		outputs = image.Outputs(image.Deps{Cloud: cloud})
	}
	return builder.Catalog{
		Sources:      sources,
		Provisioners: map[string]func() builder.Provisioner{"script": func() builder.Provisioner { return &script{world: w} }},
		Outputs:      outputs,
		Cleaners:     cleaners,
	}
}

// script is a step that runs a script on the machine.
type script struct {
	Text  string `yaml:"text" bake:"main" doc:"Script."`
	world *world
}

func (s *script) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	s.world.mu.Lock()
	s.world.ran[s.Text]++
	s.world.mu.Unlock()
	if command, ok := strings.CutPrefix(s.Text, "reboot"); ok {
		r, _ := builder.As[builder.Rebooter](comm)
		return builder.Outcome{}, r.Reboot(ctx, sc, strings.TrimSpace(command), time.Minute)
	}
	var out bytes.Buffer
	if err := comm.Run(ctx, builder.Command{Script: s.Text, Stdout: &out, Stderr: &out}); err != nil {
		return builder.Outcome{}, fmt.Errorf("%w: %s", err, out.String())
	}
	return builder.Outcome{}, nil
}

// engine is a process's engine on the world's journal.
func (w *world) engine(j builder.Journal) *builder.Engine { return w.engineAt(w.sandbox.URL, j) }

func (w *world) engineAt(endpoint string, j builder.Journal) *builder.Engine {
	return &builder.Engine{Catalog: w.processAt(endpoint), Journal: j, Sink: w, WorkDir: w.work, Env: new(templates.Env)}
}

// Emit keeps what the user is told.
func (w *world) Emit(e builder.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Type == builder.StepFailed || e.Type == builder.StepLog {
		w.t.Logf("%s %s %s%s", e.Type, e.Step, e.Text, e.Err)
	}
	if e.Type == builder.StepLog {
		w.logs = append(w.logs, e.Text)
	}
}

func (w *world) told(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.logs, func(l string) bool { return strings.Contains(l, text) })
}

// compile reads a template.
func (w *world) compile(text string) *builder.Plan {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "bake.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	cat := w.process()
	tmpl, diags := templates.Parse(file, cat.Language(), templates.Options{RunID: "r1", Now: time.Now()})
	if err := diags.Err(); err != nil {
		w.t.Fatal(err)
	}
	p, diags := builder.Compile(tmpl, cat)
	if err := diags.Err(); err != nil {
		w.t.Fatal(err)
	}
	p.Created, p.Run = time.Now(), map[string]string{"id": "r1"}
	return p
}

// bake runs a template as a new process.
func (w *world) bake(text string) (builder.History, error) {
	w.t.Helper()
	return w.run(w.engine(new(buildertest.Memory)), w.compile(text))
}

func (w *world) run(e *builder.Engine, p *builder.Plan) (builder.History, error) {
	if err := e.Pin(w.t.Context(), "r1", p); err != nil {
		return builder.History{}, err
	}
	return e.Run(w.t.Context(), "r1", p)
}

// things lists what exists, in a form that can be compared.
func (w *world) things() []string {
	w.t.Helper()
	ctx, c := context.WithoutCancel(w.t.Context()), w.client()
	var all []string
	must := func(err error) {
		if err != nil {
			w.t.Helper()
			w.t.Fatal(err)
		}
	}
	all = append(all, w.products(ctx, away, " in "+away)...)
	instances, err := c.DescribeInstances(ctx, nil)
	must(err)
	for _, r := range instances.Reservations {
		for _, i := range r.Instances {
			if i.State.Name != types.InstanceStateNameTerminated {
				all = append(all, *i.InstanceId+" "+string(i.State.Name))
			}
		}
	}
	all = append(all, w.products(ctx, region, "")...)
	volumes, err := c.DescribeVolumes(ctx, nil)
	must(err)
	for _, v := range volumes.Volumes {
		all = append(all, *v.VolumeId)
	}
	keys, err := c.DescribeKeyPairs(ctx, nil)
	must(err)
	for _, k := range keys.KeyPairs {
		all = append(all, "key "+*k.KeyName)
	}
	groups, err := c.DescribeSecurityGroups(ctx, nil)
	must(err)
	for _, g := range groups.SecurityGroups {
		all = append(all, "group "+*g.GroupName)
	}
	interfaces, err := c.DescribeNetworkInterfaces(ctx, nil)
	must(err)
	for _, n := range interfaces.NetworkInterfaces {
		all = append(all, *n.NetworkInterfaceId)
	}
	profiles, err := iam.NewFromConfig(sandboxtest.Config(w.sandbox, region)).ListInstanceProfiles(ctx, nil)
	must(err)
	for _, p := range profiles.InstanceProfiles {
		all = append(all, "profile "+*p.InstanceProfileName)
	}
	roles, err := iam.NewFromConfig(sandboxtest.Config(w.sandbox, region)).ListRoles(ctx, nil)
	must(err)
	for _, r := range roles.Roles {
		all = append(all, "role "+*r.RoleName)
	}
	slices.Sort(all)
	return all
}

// products are the images and snapshots of a region.
func (w *world) products(ctx context.Context, in, mark string) []string {
	w.t.Helper()
	c := ec2.NewFromConfig(sandboxtest.Config(w.sandbox, in))
	var all []string
	images, err := c.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, IncludeDisabled: aws.Bool(true), IncludeDeprecated: aws.Bool(true)})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, i := range images.Images {
		all = append(all, "image "+*i.Name+" "+string(i.State)+" "+tag(i.Tags, amazon.TagState)+mark)
	}
	snapshots, err := c.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}})
	if err != nil {
		w.t.Fatal(err)
	}
	for range snapshots.Snapshots {
		all = append(all, "snapshot"+mark)
	}
	return all
}

func tag(tags []types.Tag, key string) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

// wantOnly fails the test unless nothing is there but what was before and more.
func (w *world) wantOnly(when string, more ...string) {
	w.t.Helper()
	want := append(slices.Clone(w.before), more...)
	slices.Sort(want)
	if got := w.things(); !slices.Equal(got, want) {
		w.t.Errorf("%s: there is %q, want %q", when, got, want)
	}
}

// count returns how often AWS was called.
func (w *world) count(action string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, c := range w.calls {
		if c == action {
			n++
		}
	}
	return n
}
