package volume_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/sandbox"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/machinetest"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/ami"
	"bake/steps/amazon/volume"
	"bake/templates"
)

const region = "eu-west-1"

// A lab is a sandbox and what publishes volumes in it.
type lab struct {
	*sandbox.Sandbox
	t      *testing.T
	cloud  *amazon.Cloud
	client *ec2.Client
}

func newLab(t *testing.T) *lab {
	machinetest.Program(t)
	s := sandboxtest.Start(t)
	return &lab{s, t, amazon.New(amazon.Options{Endpoint: s.URL}), ec2.NewFromConfig(sandboxtest.Config(s, region))}
}

func (l *lab) output(text string) builder.Output {
	l.t.Helper()
	out := volume.New(l.cloud)()
	if diags := decode(text, out); len(diags) > 0 {
		l.t.Fatal(diags.Err())
	}
	return out
}

// decode reads an output as a template has it.
func decode(text string, into any) templates.Diagnostics {
	b, err := templates.FromJSON(templates.JSON(text), templates.Pos{}, nil)
	if err != nil {
		panic(err)
	}
	return templates.Decode(b, into)
}

func (l *lab) publish(text string) (builder.Published, error) {
	l.t.Helper()
	sc := buildertest.Scope(l.t, builder.Catalog{Cleaners: ami.Cleaners(l.cloud)}, l.t.TempDir())
	return l.output(text).Publish(l.t.Context(), sc, builder.Artifact{})
}

func (l *lab) must(text, want string) builder.Published {
	l.t.Helper()
	p, err := l.publish(text)
	if err != nil || !strings.Contains(p.Summary, want) || p.Unchanged != (want == "") {
		l.t.Fatalf("%s: %+v, %v, want %q", text, p, err, want)
	}
	return p
}

// volumes are all that are not gone.
func (l *lab) volumes() []types.Volume {
	l.t.Helper()
	out, err := l.client.DescribeVolumes(l.t.Context(), &ec2.DescribeVolumesInput{})
	if err != nil {
		l.t.Fatal(err)
	}
	return slices.DeleteFunc(out.Volumes, func(v types.Volume) bool { return len(v.Tags) == 0 })
}

func TestAVolumeIsMadeOnceAndChangedInPlace(t *testing.T) {
	l := newLab(t)
	made := l.must(`{"name": "data", "zone": "eu-west-1a", "size": "20GiB", "encrypted": true, "region": "eu-west-1", "tags": {"team": "web"}}`, "created")
	l.must(`{"name": "data", "zone": "eu-west-1a", "size": 20, "encrypted": true, "region": "eu-west-1", "tags": {"team": "web"}}`, "")
	again := l.must(`{"name": "data", "zone": "eu-west-1a", "size": 30, "iops": 4000, "throughput": 250, "region": "eu-west-1", "tags": {"team": "ops"}}`, "grown to 30 GiB, 4000 IOPS, 250 MiB/s, tagged")
	if made.Values["id"] != again.Values["id"] || len(l.volumes()) != 1 {
		t.Errorf("%v became %v, of %d", made, again, len(l.volumes()))
	}
	v := l.volumes()[0]
	if !aws.ToBool(v.Encrypted) || v.VolumeType != types.VolumeTypeGp3 || aws.ToInt32(v.Size) != 30 {
		t.Errorf("%+v", v)
	}
	for text, want := range map[string]string{
		`{"name": "data", "zone": "eu-west-1a", "size": 10, "region": "eu-west-1"}`: "cannot shrink",
	} {
		if _, err := l.publish(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	other := l.must(`{"name": "data", "zone": "eu-west-1b", "size": 1, "region": "eu-west-1"}`, "created")
	if other.Values["id"] == made.Values["id"] {
		t.Error("a volume of another zone was taken for it")
	}
}

func TestWhatNoTypeTakesIsRefusedBeforeAnyCall(t *testing.T) {
	for text, want := range map[string]string{
		`{"name": "data", "zone": "eu-west-1a", "size": 16385, "type": "gp2"}`:            "16384",
		`{"name": "data", "zone": "eu-west-1a", "size": 0}`:                               "at least 1 GiB",
		`{"name": "data", "zone": "eu-west-1a", "size": 10, "type": "st1"}`:               "125",
		`{"name": "data", "zone": "eu-west-1a", "size": 10, "type": "io1"}`:               "needs iops",
		`{"name": "data", "zone": "eu-west-1a", "size": 10, "type": "gp2", "iops": 4000}`: "iops",
		`{"name": "da", "zone": "eu-west-1a", "size": 10}`:                                "must match",
		`{"name": "data", "zone": "eu-west-1a"}`:                                          "size or snapshot",
		`{"name": "data", "size": 1}`:                                                     "zone or attach",
		`{"name": "data", "zone": "eu-west-1a", "size": 1, "type": "gp9"}`:                "gp3",
	} {
		if diags := decode(text, volume.New(nil)()); len(diags) == 0 || !strings.Contains(diags.Err().Error(), want) {
			t.Errorf("%s: %v, want %q", text, diags.Err(), want)
		}
	}
}

// instance starts one that is only there to attach volumes to.
func (l *lab) instance() string {
	l.t.Helper()
	images, err := l.client.DescribeImages(l.t.Context(), &ec2.DescribeImagesInput{Owners: []string{"amazon"}, Filters: []types.Filter{amazon.Filter("architecture", "x86_64")}})
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := l.client.RunInstances(l.t.Context(), &ec2.RunInstancesInput{ImageId: images.Images[0].ImageId, InstanceType: "t3.small", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		Placement: &types.Placement{AvailabilityZone: aws.String("eu-west-1a")}})
	if err != nil {
		l.t.Fatal(err)
	}
	id := aws.ToString(out.Instances[0].InstanceId)
	_, err = l.cloud.WaitInstance(l.t.Context(), amazon.Access{Region: region}, id, func(i types.Instance) (bool, error) { return i.State.Name == types.InstanceStateNameRunning, nil })
	if err != nil {
		l.t.Fatal(err)
	}
	return id
}

func TestAVolumeIsAttachedAndMovedOnlyWhenAskedFor(t *testing.T) {
	l := newLab(t)
	first, second := l.instance(), l.instance()
	l.must(`{"name": "data", "size": 5, "attach": "`+first+`", "region": "eu-west-1"}`, "created, attached to "+first)
	l.must(`{"name": "data", "size": 5, "attach": {"instance": "`+first+`", "device": "sdf"}, "region": "eu-west-1"}`, "")
	_, err := l.publish(`{"name": "data", "size": 5, "attach": "` + second + `", "region": "eu-west-1"}`)
	var used *volume.AttachedError
	if !errors.As(err, &used) || used.Instance != first {
		t.Errorf("%v", err)
	}
	l.must(`{"name": "data", "size": 5, "attach": {"instance": "`+second+`", "move": true}, "region": "eu-west-1"}`, "detached from "+first+", attached to "+second)
}

func TestALostAnswerMakesNoSecondVolume(t *testing.T) {
	for _, action := range []string{"CreateVolume", "AttachVolume", "ModifyVolume", "DescribeVolumes", "CreateTags"} {
		for _, kind := range []api.Kind{api.FaultLost, api.FaultThrottle, api.FaultDrop} {
			l := newLab(t)
			id := l.instance()
			for _, text := range []string{
				`{"name": "data", "size": 5, "attach": "` + id + `", "region": "eu-west-1"}`,
				`{"name": "data", "size": 7, "attach": "` + id + `", "region": "eu-west-1", "tags": {"a": "b"}}`,
			} {
				if err := l.Faults.Add(api.Fault{Action: action, Kind: kind}); err != nil {
					t.Fatal(err)
				}
				if _, err := l.publish(text); err != nil {
					t.Errorf("%s %s: %v", kind, action, err)
				}
			}
			if got := l.volumes(); len(got) != 1 || aws.ToInt32(got[0].Size) != 7 || len(got[0].Attachments) != 1 {
				t.Errorf("%s %s: %+v", kind, action, got)
			}
		}
	}
}

func TestTwoVolumesOfTheNameAreNamed(t *testing.T) {
	l := newLab(t)
	for range 2 {
		_, err := l.client.CreateVolume(context.Background(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-west-1a"), Size: aws.Int32(1),
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeVolume, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("data")}}}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.publish(`{"name": "data", "zone": "eu-west-1a", "size": 1, "region": "eu-west-1"}`)
	var both *volume.AmbiguousError
	if !errors.As(err, &both) || len(both.IDs) != 2 {
		t.Errorf("%v", err)
	}
}
