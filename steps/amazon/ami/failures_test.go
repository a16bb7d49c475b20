package ami_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ec2"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/launch"
)

// tune turns EC2's knobs.
func (w *world) tune(f func(*ec2.Knobs)) { w.sandbox.Services.EC2.Tune(f) }

// doom lets the next thing of a kind come to nothing.
func (w *world) doom(d ec2.Doom) { w.tune(func(k *ec2.Knobs) { k.Doomed = append(k.Doomed, d) }) }

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// with is tiny with more below its source.
func with(source string) string {
	return strings.Replace(tiny, `x86_64"}}`, `x86_64"}, `+source+`}`, 1)
}

// next is another run, of another process.
func (w *world) next(text string) error {
	w.t.Helper()
	w.runs++
	p, e, id := w.compile(text), w.engine(new(buildertest.Memory)), builder.RunID("r1-"+strconv.Itoa(w.runs))
	if err := e.Pin(w.t.Context(), id, p); err != nil {
		return err
	}
	_, err := e.Run(w.t.Context(), id, p)
	return err
}

func TestWhatAWSFailsToMakeIsToldRemovedAndMadeByTheNextRun(t *testing.T) {
	t.Parallel()
	reason := "Client.InternalError: the volume cannot be read"
	for _, c := range []struct {
		name, template string
		doom           ec2.Doom
		made           []string
	}{
		{"the image", tiny, ec2.Doom{Kind: "image", Code: "Client.InternalError", Message: reason}, nil},
		{"the snapshot of its disk", tiny, ec2.Doom{Kind: "snapshot", Message: reason}, nil},
		{"the snapshot of an extra volume", with("extra_volumes: [{device: /dev/sdf, size: 1, after: snapshot}]"), ec2.Doom{Kind: "snapshot", Message: reason}, []string{"snapshot"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.doom(c.doom)
			_, err := w.bake(c.template)
			if err == nil || !strings.Contains(err.Error(), reason) || errors.Is(err, builder.ErrLeft) {
				t.Errorf("error %v, want it to tell %q", err, reason)
			}
			w.wantOnly("after the run that failed")
			if err := w.next(c.template); err != nil {
				t.Fatal(err)
			}
			w.wantOnly("after the next run", append(c.made, "image web-1 available ready", "snapshot")...)
		})
	}
}

func TestAnImageThatFailedAfterACrashIsNotCountedAndTheNextRunMakesItAnew(t *testing.T) {
	t.Parallel()
	for _, then := range []string{"resume", "another run"} {
		t.Run(then, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.compile(tiny)
			w.doom(ec2.Doom{Kind: "image", Code: "Client.InternalError", Message: "it came to nothing"})
			v := w.killAt(point{"ec2", "CreateImage", 1}, true)
			if err := v.begin(p); !v.Dead() {
				t.Fatalf("it was not killed: %v", err)
			}
			w.sandbox.Faults.Clear()
			// A resume waits for the image that it began; what comes after it makes another.
			if then == "resume" {
				err := w.begin(t.Context(), w.engine(aged{w.journal, time.Hour}), p)
				if err == nil || !strings.Contains(err.Error(), "it came to nothing") {
					t.Errorf("error %v", err)
				}
				w.wantOnly("after the resume")
			}
			if err := w.next(tiny); err != nil {
				t.Fatal(err)
			}
			if err := w.engine(aged{w.journal, time.Hour}).Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.wantOnly("in the end", "image web-1 available ready", "snapshot")
		})
	}
}

func TestAnotherAccountsImageOfTheNameAndTagsIsNobodysBusiness(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.bake(tiny); err != nil {
		t.Fatal(err)
	}
	own, err := w.client().DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		t.Fatal(err)
	}
	other := awsec2.NewFromConfig(sandboxtest.ConfigAs(w.sandbox, region, "444455556666", "secret", ""))
	id := w.imageOf(other, own.Images[0])
	// The account's own is gone: what is left of the name, the key and the
	// state is the other's, which everybody may use.
	if _, err := w.client().DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: own.Images[0].ImageId, DeleteAssociatedSnapshots: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	made := w.count("CreateImage")
	if err := w.next(tiny); err != nil {
		t.Fatal(err)
	}
	if w.count("CreateImage") != made+1 {
		t.Error("the other account's image was taken for the build's")
	}
	w.wantOnly("after the run", "image web-1 available ready", "snapshot")
	if err := w.next(strings.Replace(strings.Replace(tiny, "echo one", "echo other", 1), "{ami: web-1}", "{ami: {name: web-1, if_exists: replace}}", 1)); err != nil {
		t.Fatal(err)
	}
	w.wantOnly("after a replacement", "image web-1 available ready", "snapshot")
	if out, err := other.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{ImageIds: []string{id}}); err != nil || len(out.Images) != 1 || out.Images[0].State != types.ImageStateAvailable {
		t.Errorf("the other account's image: %+v, %v", out, err)
	}
}

// imageOf gives another account a public image with the name and the tags of one.
func (w *world) imageOf(client *awsec2.Client, like types.Image) (id string) {
	w.t.Helper()
	ctx := w.t.Context()
	check := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	volume, err := client.CreateVolume(ctx, &awsec2.CreateVolumeInput{AvailabilityZone: aws.String(region + "a"), Size: aws.Int32(8)})
	check(err)
	snapshot, err := client.CreateSnapshot(ctx, &awsec2.CreateSnapshotInput{VolumeId: volume.VolumeId})
	check(err)
	out, err := client.RegisterImage(ctx, &awsec2.RegisterImageInput{Name: like.Name, Architecture: like.Architecture, RootDeviceName: like.RootDeviceName,
		VirtualizationType: aws.String("hvm"), EnaSupport: aws.Bool(true),
		BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: like.RootDeviceName, Ebs: &types.EbsBlockDevice{SnapshotId: snapshot.SnapshotId}}},
		TagSpecifications:   []types.TagSpecification{{ResourceType: types.ResourceTypeImage, Tags: like.Tags}}})
	check(err)
	_, err = client.DisableImageBlockPublicAccess(ctx, nil)
	check(err)
	_, err = client.ModifyImageAttribute(ctx, &awsec2.ModifyImageAttributeInput{ImageId: out.ImageId,
		LaunchPermission: &types.LaunchPermissionModifications{Add: []types.LaunchPermission{{Group: types.PermissionGroupAll}}}})
	check(err)
	return *out.ImageId
}

func TestAnImageThatTakesTooLongIsNamedAndFoundByTheResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tune(func(k *ec2.Knobs) { k.Stuck = []string{"image"} })
	p := w.compile(with("capture: {timeout: 1s}"))
	err := w.begin(t.Context(), w.engine(w.journal), p)
	images, ierr := w.client().DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{"self"}})
	if ierr != nil || len(images.Images) != 1 || images.Images[0].State != types.ImageStatePending {
		t.Fatalf("%v; images %+v, %v", err, images, ierr)
	}
	id := *images.Images[0].ImageId
	if err == nil || !strings.Contains(err.Error(), "AMI "+id+" is not available after 1s") || !strings.Contains(hintOf(err), "bake resume") {
		t.Errorf("error %v, hint %q", err, hintOf(err))
	}
	w.tune(func(k *ec2.Knobs) { k.Stuck = nil })
	if err := w.begin(t.Context(), w.engine(w.journal), p); err != nil {
		t.Fatal(err)
	}
	if n := w.count("CreateImage"); n != 1 {
		t.Errorf("%d calls of CreateImage", n)
	}
	w.wantOnly("after the resume", "image web-1 available ready", "snapshot")
}

func TestAnInstanceThatDiesWhilePendingTellsWhyOrIsStartedElsewhere(t *testing.T) {
	t.Parallel()
	two := with("machine: {type: [t3.small, t3a.small]}")
	for _, c := range []struct {
		name, template, code, message string
		elsewhere                     bool
		hint                          string
	}{
		{"a key that cannot be used", two, "Client.InternalError", "Client error on launch", false, "KMS key"},
		{"no room after all", two, "Server.InsufficientInstanceCapacity", "There is not enough capacity to fulfill your instance request", true, ""},
		{"too many volumes", two, "Client.VolumeLimitExceeded", "The volume limit was exceeded", false, "quota"},
		{"a spot machine that is taken back", with("machine: {type: [t3.small, t3a.small], spot: true}"), "Server.SpotInstanceTermination", "Spot instance termination", true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.doom(ec2.Doom{Kind: "instance", Pool: ec2.Pool{Type: "t3.small"}, Code: c.code, Message: c.message})
			_, err := w.bake(c.template)
			if c.elsewhere {
				if err != nil || !w.told(c.message+"; trying elsewhere") {
					t.Errorf("error %v, log %q", err, w.logs)
				}
				w.wantOnly("after the run", "image web-1 available ready", "snapshot")
				return
			}
			var died *launch.Died
			if !errors.As(err, &died) || !strings.Contains(err.Error(), c.message) || !strings.Contains(hintOf(err), c.hint) {
				t.Errorf("error %v, hint %q", err, hintOf(err))
			}
			w.wantOnly("after the run that failed")
		})
	}
}

func TestAKMSKeyThatIsDisabledMeanwhileIsToldByWhatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := kms.NewFromConfig(sandboxtest.Config(w.sandbox, region))
	key, err := keys.CreateKey(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	p := w.compile(strings.Replace(tiny, "{ami: web-1}", "{ami: {name: web-1, kms_key: "+*key.KeyMetadata.KeyId+"}}", 1))
	e := w.engine(w.journal)
	if err := e.Pin(t.Context(), "r1", p); err != nil { // it is in order still
		t.Fatal(err)
	}
	if _, err := keys.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: key.KeyMetadata.KeyId}); err != nil {
		t.Fatal(err)
	}
	if _, err = e.Run(t.Context(), "r1", p); err == nil || !strings.Contains(err.Error(), "Client error on launch") || !strings.Contains(hintOf(err), "KMS key") {
		t.Errorf("error %v, hint %q", err, hintOf(err))
	}
	w.wantOnly("after the run that failed")
}

// TestWhatWasJustMadeMayNotBeKnownToCallsThatChangeIt is what reads do not see:
// each call that names something new is refused at first.
func TestWhatWasJustMadeMayNotBeKnownToCallsThatChangeIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for action, code := range map[string]string{
		"AuthorizeSecurityGroupIngress": "InvalidGroup.NotFound",
		"AttachVolume":                  "InvalidVolume.NotFound",
		"StopInstances":                 "InvalidInstanceID.NotFound",
		"CreateImage":                   "InvalidInstanceID.NotFound",
		"CreateTags":                    "InvalidAMIID.NotFound",
		"DescribeImageAttribute":        "InvalidAMIID.NotFound",
		"ModifyImageAttribute":          "InvalidAMIID.Unavailable",
		"CopyImage":                     "InvalidAMIID.NotFound",
		"DescribeSnapshotAttribute":     "InvalidSnapshot.NotFound",
		"ModifySnapshotAttribute":       "InvalidSnapshot.NotFound",
		"TerminateInstances":            "InvalidInstanceID.NotFound",
		"AddRoleToInstanceProfile":      "NoSuchEntity",
		"PutRolePolicy":                 "NoSuchEntity",
	} {
		w.fault(api.Fault{Action: action, Kind: api.FaultError, Code: code, Times: 2})
	}
	// Of these there are two, and each is to meet more than one.
	w.fault(api.Fault{Action: "DeleteSecurityGroup", Kind: api.FaultError, Code: "DependencyViolation", Times: 5})
	w.fault(api.Fault{Action: "DeleteRole", Kind: api.FaultError, Code: "DeleteConflict", Times: 5})
	w.fault(api.Fault{Action: "CreateTags", Kind: api.FaultError, Code: "InvalidSnapshot.NotFound", After: 2})
	for _, f := range []api.Fault{
		{Code: "InvalidKeyPair.NotFound"}, {Code: "InvalidGroup.NotFound"}, {Code: "InvalidParameterValue", Message: "Value (bake-1) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"},
	} {
		f.Action, f.Kind, f.After = "RunInstances", api.FaultError, 1 // the first is tried out when it is planned
		w.fault(f)
	}
	// AWS says so with the code of any wrong value.
	w.fault(api.Fault{Action: "CreateImage", Kind: api.FaultError, Code: "InvalidParameterValue", Message: "Instance is not in state 'running' or 'stopped'", After: 2})
	p := w.compile(swept)
	if err := w.begin(t.Context(), w.engine(w.journal), p); err != nil {
		t.Error(err)
	}
	w.wantOnly("after the run", madeOfSwept()...)
}

func TestThrottledPollsGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, action := range []string{"DescribeInstances", "DescribeImages", "DescribeSnapshots", "DescribeVolumes"} {
		w.fault(api.Fault{Action: action, Kind: api.FaultThrottle, After: 1, Times: 3})
	}
	if err := w.begin(t.Context(), w.engine(w.journal), w.compile(swept)); err != nil {
		t.Error(err)
	}
	w.sandbox.Faults.Clear()
	w.wantOnly("after the run", madeOfSwept()...)
}

func TestAWrongClockIsSuspectedAtOnce(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"RequestExpired", "AuthFailure", "SignatureDoesNotMatch"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.fault(api.Fault{Service: "ec2", Kind: api.FaultError, Code: code, Message: "Request has expired.", Times: -1})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			e := w.engine(w.journal)
			err := e.Pin(ctx, "r1", w.compile(tiny))
			if !amazon.IsCode(err, code) || !strings.Contains(hintOf(err), "clock") {
				t.Errorf("error %v, hint %q", err, hintOf(err))
			}
			if n := len(w.sandbox.Faults.Calls()); n > 20 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

// TestACandidateWhoseRemovalIsDeniedAtFirstIsRemoved: a policy that allows the
// removal of what has bake's tags allows it only when AWS knows of them where
// it decides.
func TestACandidateWhoseRemovalIsDeniedAtFirstIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, action := range []string{"DeregisterImage", "DeleteSnapshot"} {
		w.fault(api.Fault{Action: action, Kind: api.FaultError, Code: "UnauthorizedOperation", Status: 403, Times: 2})
	}
	if _, err := w.bake(tiny + "tests: [{script: exit 1}]\n"); err == nil || errors.Is(err, builder.ErrLeft) {
		t.Errorf("error %v", err)
	}
	w.wantOnly("after the build that failed")
}

// TestAReadThatFailsSomeTimesIsMadeAgain: what a build looks up before it
// starts is asked for as often as it takes.
func TestAReadThatFailsSomeTimesIsMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, action := range []string{"DescribeImages", "DescribeSubnets", "DescribeInstanceTypes"} {
		w.fault(api.Fault{Action: action, Kind: api.FaultError, Code: "Unavailable", Status: 503, Times: 5})
	}
	if err := w.pin(with("machine: {type: t3.small}")); err != nil {
		t.Error(err)
	}
}

// TestABuildThatIsCancelledWhileItsImageIsMadeLeavesNone: AWS would make the
// image all the same, and its snapshots with it.
func TestABuildThatIsCancelledWhileItsImageIsMadeLeavesNone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, stuck, template string
		action                string
		left                  []string
	}{
		{"its own", "image", tiny, "CreateImage", nil},
		{"its snapshot", "snapshot", tiny, "CreateImage", nil},
		{"a copy", "image", strings.Replace(tiny, "{ami: web-1}", "{ami: {name: web-1, regions: [eu-west-1]}}", 1), "CopyImage", []string{"image web-1 available ready", "snapshot"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w.sandbox.Faults.OnCall(func(call *api.Call, _ int, done bool) {
				switch {
				case call.Action == c.action && !done:
					w.tune(func(k *ec2.Knobs) { k.Stuck = []string{c.stuck} })
				case call.Action == c.action:
					time.AfterFunc(time.Second, cancel) // while it is waited for
				}
			})
			p, e := w.compile(c.template), w.engine(w.journal)
			if err := e.Pin(ctx, "r1", p); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Run(ctx, "r1", p); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			w.sandbox.Faults.OnCall(nil)
			w.wantOnly("after the cancelled run", c.left...)
		})
	}
}
