package image_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/sandbox"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/image"
	"bake/templates"
)

const (
	home  = "eu-west-1"
	away  = "us-east-1"
	other = "444455556666" // another account
)

// A world is a sandbox with images in it that a source has made.
type world struct {
	t     *testing.T
	box   *sandbox.Sandbox
	cloud *amazon.Cloud
	ami   builder.AMI // what the source of every build makes
	runs  int
	now   time.Time
}

// firstTime is when the first run of a world begins, but for a day.
var firstTime = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, box: sandboxtest.Start(t), now: firstTime}
	w.restart()
	return w
}

// restart is what a new process has.
func (w *world) restart() { w.cloud = amazon.New(amazon.Options{Endpoint: w.box.URL}) }

func (w *world) ec2(region string) *ec2.Client {
	return ec2.NewFromConfig(sandboxtest.Config(w.box, region))
}

// as is a client of another account.
func (w *world) as(account, region string) *ec2.Client {
	return ec2.NewFromConfig(sandboxtest.ConfigAs(w.box, region, account, "secret", ""))
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// snapshot makes a snapshot, as a build machine's disk leaves one.
func (w *world) snapshot(client *ec2.Client, key string, tags ...types.Tag) string {
	w.t.Helper()
	in := &ec2.CreateVolumeInput{AvailabilityZone: aws.String(home + "a"), Size: aws.Int32(8)}
	if key != "" {
		in.Encrypted, in.KmsKeyId = aws.Bool(true), &key
	}
	vol := must[*ec2.CreateVolumeOutput](w.t)(client.CreateVolume(w.t.Context(), in))
	snap := &ec2.CreateSnapshotInput{VolumeId: vol.VolumeId}
	if len(tags) > 0 {
		snap.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeSnapshot, Tags: tags}}
	}
	out := must[*ec2.CreateSnapshotOutput](w.t)(client.CreateSnapshot(w.t.Context(), snap))
	must[*ec2.DeleteVolumeOutput](w.t)(client.DeleteVolume(w.t.Context(), &ec2.DeleteVolumeInput{VolumeId: vol.VolumeId}))
	return *out.SnapshotId
}

// register makes an image of a new snapshot.
func (w *world) register(name, key string, tags map[string]string, change ...func(*ec2.RegisterImageInput)) string {
	w.t.Helper()
	var list []types.Tag
	for k, v := range tags {
		list = append(list, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	in := &ec2.RegisterImageInput{
		Name: &name, Architecture: types.ArchitectureValuesX8664, RootDeviceName: aws.String("/dev/xvda"), VirtualizationType: aws.String("hvm"), EnaSupport: aws.Bool(true),
		BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{SnapshotId: aws.String(w.snapshot(w.ec2(home), key, list...))}}},
	}
	if len(list) > 0 {
		in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeImage, Tags: list}}
	}
	for _, f := range change {
		f(in)
	}
	out := must[*ec2.RegisterImageOutput](w.t)(w.ec2(home).RegisterImage(w.t.Context(), in))
	return *out.ImageId
}

// frozen makes the image that the source of the next runs has made.
func (w *world) frozen(name, key string, change ...func(*ec2.RegisterImageInput)) builder.AMI {
	w.t.Helper()
	id := w.register(name, key, map[string]string{
		amazon.TagTemplate: "web", amazon.TagBuild: "web", amazon.TagKey: "sha256:" + name, amazon.TagState: "ready", amazon.TagToken: "frozen-" + name,
	}, change...)
	w.ami = builder.AMI{Region: home, Access: home, ID: id, Name: name, Account: sandboxtest.Account}
	return w.ami
}

// made is a source whose image has been made before.
type made struct {
	w  *world
	ID string `yaml:"id" bake:"main" doc:"Anything."`
}

func (*made) Makes() builder.ArtifactKind { return builder.AMIArtifact }
func (m *made) Pin(context.Context, builder.PinEnv) (builder.Pin, error) {
	return builder.Pin{Digest: "sha256:source"}, nil
}
func (m *made) Open(context.Context, *builder.Scope, builder.Opening) (builder.Machine, error) {
	return builder.Machine{}, fmt.Errorf("nothing is to be built")
}
func (m *made) Dial(context.Context, *builder.Scope, builder.Machine) (builder.Communicator, error) {
	return nil, fmt.Errorf("nothing is to be built")
}
func (m *made) Freeze(context.Context, *builder.Scope, builder.Machine, builder.Freezing) (builder.Artifact, error) {
	return builder.Artifact{}, fmt.Errorf("nothing is to be built")
}
func (m *made) Lookup(context.Context, *builder.Scope, builder.Digest) (builder.Artifact, error) {
	return builder.Artifact{AMI: &m.w.ami}, nil
}
func (m *made) Record(context.Context, *builder.Scope, builder.Digest, builder.Artifact) error {
	return nil
}

func (w *world) catalog() builder.Catalog {
	deps := image.Deps{Cloud: w.cloud}
	return builder.Catalog{
		Sources:  map[string]func() builder.Source{"machine": func() builder.Source { return &made{w: w} }},
		Outputs:  image.Outputs(deps),
		Cleaners: image.Cleaners(deps),
	}
}

// plan compiles a template whose outputs are given, as YAML of a list.
func (w *world) plan(run builder.RunID, outputs string) (*builder.Plan, *templates.Env) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "bake.yaml")
	text := "name: web\nsource: {machine: x}\noutputs:\n" + outputs
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	tmpl, diags := templates.Parse(file, w.catalog().Language(), templates.Options{RunID: string(run), Now: w.now})
	if err := diags.Err(); err != nil {
		w.t.Fatal(err)
	}
	p, diags := builder.Compile(tmpl, w.catalog())
	if err := diags.Err(); err != nil {
		w.t.Fatal(err)
	}
	p.Created, p.Run = w.now, tmpl.Env.Run()
	return p, tmpl.Env
}

// A run is one run of a template in the sandbox.
type run struct {
	w       *world
	id      builder.RunID
	plan    *builder.Plan
	env     *templates.Env
	journal builder.Journal
}

// newRun is a run of a new process, a day after the one before.
func (w *world) newRun(outputs string) *run {
	w.t.Helper()
	w.runs++
	w.now = w.now.Add(24 * time.Hour)
	id := builder.RunID(w.now.Format("20060102-150405") + fmt.Sprintf("-r%03d", w.runs))
	p, env := w.plan(id, outputs)
	return &run{w: w, id: id, plan: p, env: env, journal: new(buildertest.Memory)}
}

func (r *run) engine(fuse *buildertest.Fuse) *builder.Engine {
	j := r.journal
	if fuse != nil {
		j = fuse.Journal(j)
	}
	return &builder.Engine{Catalog: r.w.catalog(), Journal: j, Sink: buildertest.Log(r.w.t), Env: r.env, WorkDir: r.w.t.TempDir()}
}

// do runs and returns what the outputs have published, by their number from 1.
func (r *run) do(ctx context.Context, fuse *buildertest.Fuse) ([]builder.Published, error) {
	e := r.engine(fuse)
	if err := e.Pin(ctx, r.id, r.plan); err != nil {
		return nil, err
	}
	h, err := e.Run(ctx, r.id, r.plan)
	var all []builder.Published
	for _, s := range r.plan.Builds[0].Steps {
		if st, ok := h.Done[s.ID]; ok && st.Published != nil {
			all = append(all, *st.Published)
		}
	}
	return all, err
}

// publish runs a template with the outputs and returns what the first published.
func (w *world) publish(outputs string) builder.Published {
	w.t.Helper()
	all, err := w.newRun(outputs).do(w.t.Context(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return all[0]
}

// refuse runs a template that has to fail and returns the error.
func (w *world) refuse(outputs, want string) error {
	w.t.Helper()
	_, err := w.newRun(outputs).do(w.t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), want) {
		w.t.Fatalf("got %v, want %q", err, want)
	}
	return err
}

// images returns an account's images in a region, sorted by name.
func (w *world) images(client *ec2.Client) []types.Image {
	w.t.Helper()
	out := must[*ec2.DescribeImagesOutput](w.t)(client.DescribeImages(w.t.Context(), &ec2.DescribeImagesInput{Owners: []string{"self"}, IncludeDeprecated: aws.Bool(true)}))
	slices.SortFunc(out.Images, func(a, b types.Image) int { return strings.Compare(*a.Name, *b.Name) })
	return out.Images
}

func names(all []types.Image) []string {
	var out []string
	for _, i := range all {
		out = append(out, *i.Name)
	}
	return out
}

// only returns the one image of that name.
func (w *world) only(region, name string) types.Image {
	w.t.Helper()
	var found []types.Image
	for _, i := range w.images(w.ec2(region)) {
		if *i.Name == name {
			found = append(found, i)
		}
	}
	if len(found) != 1 {
		w.t.Fatalf("%d images %q in %s, there are %q", len(found), name, region, names(w.images(w.ec2(region))))
	}
	return found[0]
}

func tags(list []types.Tag) map[string]string {
	out := map[string]string{}
	for _, t := range list {
		out[*t.Key] = *t.Value
	}
	return out
}

// userTags are the tags that bake does not keep for itself.
func userTags(list []types.Tag) map[string]string {
	out := tags(list)
	for k := range out {
		if strings.HasPrefix(k, "bake:") {
			delete(out, k)
		}
	}
	return out
}

// permissions returns who may launch an image, in order.
func (w *world) permissions(client *ec2.Client, id string) []string {
	w.t.Helper()
	out := must[*ec2.DescribeImageAttributeOutput](w.t)(client.DescribeImageAttribute(w.t.Context(), &ec2.DescribeImageAttributeInput{ImageId: &id, Attribute: types.ImageAttributeNameLaunchPermission}))
	all := []string{}
	for _, l := range out.LaunchPermissions {
		all = append(all, aws.ToString(l.UserId)+string(l.Group)+aws.ToString(l.OrganizationArn)+aws.ToString(l.OrganizationalUnitArn))
	}
	slices.Sort(all)
	return all
}

// volumePermissions returns who may use an image's first snapshot.
func (w *world) volumePermissions(client *ec2.Client, i types.Image) []string {
	w.t.Helper()
	out := must[*ec2.DescribeSnapshotAttributeOutput](w.t)(client.DescribeSnapshotAttribute(w.t.Context(), &ec2.DescribeSnapshotAttributeInput{
		SnapshotId: i.BlockDeviceMappings[0].Ebs.SnapshotId, Attribute: types.SnapshotAttributeNameCreateVolumePermission}))
	all := []string{}
	for _, l := range out.CreateVolumePermissions {
		all = append(all, aws.ToString(l.UserId)+string(l.Group))
	}
	slices.Sort(all)
	return all
}

// snapshots returns the ids of an account's snapshots.
func (w *world) snapshots(client *ec2.Client) []types.Snapshot {
	w.t.Helper()
	return must[*ec2.DescribeSnapshotsOutput](w.t)(client.DescribeSnapshots(w.t.Context(), &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}})).Snapshots
}

// calls returns how often the changing actions of EC2 were called since the last time.
func (w *world) calls() map[string]int {
	out := map[string]int{}
	for action, n := range w.box.Faults.Counts() {
		if _, name, _ := strings.Cut(action, ":"); !strings.HasPrefix(name, "Describe") && !strings.HasPrefix(name, "Get") && !strings.HasPrefix(name, "List") {
			out[action] = n
		}
	}
	w.box.Faults.Forget()
	return out
}
