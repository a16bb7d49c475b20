package image_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"bake/internal/sandbox/api"
	"bake/steps/amazon/image"
)

const temporary = "web candidate 0123456789abcdef"

func TestATakenNameIsRefusedWithWhoHasIt(t *testing.T) {
	w := newWorld(t)
	old := w.register("web", "", nil)
	w.frozen(temporary, "")
	err := w.refuse("  - ami: {name: web}\n", `the name "web" is taken in eu-west-1 by `+old)
	var taken *image.NameTakenError
	if !errors.As(err, &taken) || !strings.Contains(taken.Hint(), "if_exists: replace") {
		t.Errorf("no hint: %v", err)
	}
	if diff := cmp.Diff([]string{"web", temporary}, names(w.images(w.ec2(home)))); diff != "" {
		t.Error(diff)
	}
}

func TestReplaceMakesTheNewImageAndRemovesTheOldOne(t *testing.T) {
	w := newWorld(t)
	old := w.register("web", "", nil)
	w.publishAway("web")
	w.frozen(temporary, "")
	outputs := "  - ami: {name: web, if_exists: replace, regions: [us-east-1]}\n"
	got := w.publish(outputs)
	for _, region := range []string{home, away} {
		if diff := cmp.Diff([]string{"web"}, names(w.images(w.ec2(region)))); diff != "" {
			t.Errorf("%s: %s", region, diff)
		}
		if n := len(w.snapshots(w.ec2(region))); n != 1 {
			t.Errorf("%s: %d snapshots", region, n)
		}
	}
	if got.Values["id"] == old || got.Values["id"] == w.ami.ID {
		t.Errorf("the image is %s", got.Values["id"])
	}
	w.calls()
	if again := w.publish(outputs); !again.Unchanged || again.Values["id"] != got.Values["id"] {
		t.Errorf("%+v, then %+v", got, again)
	}
	if diff := cmp.Diff(map[string]int{}, w.calls()); diff != "" {
		t.Error(diff)
	}
}

// publishAway makes an image of that name in the other region.
func (w *world) publishAway(name string) string {
	w.t.Helper()
	c := w.ec2(away)
	vol := must[*ec2.CreateVolumeOutput](w.t)(c.CreateVolume(w.t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String(away + "a"), Size: aws.Int32(8)}))
	snap := must[*ec2.CreateSnapshotOutput](w.t)(c.CreateSnapshot(w.t.Context(), &ec2.CreateSnapshotInput{VolumeId: vol.VolumeId}))
	out := must[*ec2.RegisterImageOutput](w.t)(c.RegisterImage(w.t.Context(), &ec2.RegisterImageInput{
		Name: &name, Architecture: types.ArchitectureValuesX8664, RootDeviceName: aws.String("/dev/xvda"), VirtualizationType: aws.String("hvm"),
		BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{SnapshotId: snap.SnapshotId}}},
	}))
	return *out.ImageId
}

func TestReplaceKeepsTheOldImageUntilTheNewOneIsReadyForItsName(t *testing.T) {
	w := newWorld(t)
	old := w.publishAway("web")
	w.frozen("web", "")
	if err := w.box.Faults.Add(api.Fault{Action: "CopyImage", Times: -1, Kind: api.FaultError, Code: "ResourceLimitExceeded"}); err != nil {
		t.Fatal(err)
	}
	w.refuse("  - ami: {name: web, if_exists: replace, regions: [us-east-1]}\n", "ResourceLimitExceeded")
	if i := w.only(away, "web"); *i.ImageId != old {
		t.Errorf("the old image is gone")
	}
}

func TestReplaceLeavesSnapshotsThatAnotherImageHas(t *testing.T) {
	w := newWorld(t)
	w.register("web", "", nil)
	shared := w.only(home, "web").BlockDeviceMappings
	sister := "sister"
	must[*ec2.RegisterImageOutput](t)(w.ec2(home).RegisterImage(t.Context(), &ec2.RegisterImageInput{
		Name: &sister, Architecture: types.ArchitectureValuesX8664, RootDeviceName: aws.String("/dev/xvda"), VirtualizationType: aws.String("hvm"),
		BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{SnapshotId: shared[0].Ebs.SnapshotId}}},
	}))
	w.frozen(temporary, "")
	w.publish("  - ami: {name: web, if_exists: replace}\n")
	if diff := cmp.Diff([]string{"sister", "web"}, names(w.images(w.ec2(home)))); diff != "" {
		t.Error(diff)
	}
	found := false
	for _, s := range w.snapshots(w.ec2(home)) {
		found = found || *s.SnapshotId == *shared[0].Ebs.SnapshotId
	}
	if !found {
		t.Error("the other image's snapshot is gone")
	}
}

func TestReplaceOfAProtectedImageIsRefusedBeforeAnything(t *testing.T) {
	w := newWorld(t)
	old := w.register("web", "", nil)
	if _, err := w.ec2(home).EnableImageDeregistrationProtection(t.Context(), &ec2.EnableImageDeregistrationProtectionInput{ImageId: &old}); err != nil {
		t.Fatal(err)
	}
	w.frozen(temporary, "")
	w.calls()
	w.refuse("  - ami: {name: web, if_exists: replace}\n", "protected")
	if diff := cmp.Diff(map[string]int{}, w.calls()); diff != "" {
		t.Error(diff)
	}
}

func TestKeepReturnsTheImageThatHasTheName(t *testing.T) {
	w := newWorld(t)
	w.frozen("web", "")
	old := w.publishAway("web")
	got := w.publish("  - ami: {name: web, if_exists: keep, regions: [us-east-1]}\n")
	if got.Values[away] != old {
		t.Errorf("%+v, want %s in %s", got.Values, old, away)
	}
}

func TestBootModeAndTPMAreSetByRegisteringAnew(t *testing.T) {
	w := newWorld(t)
	w.frozen("web", "")
	got := w.publish("  - ami: {name: web, boot_mode: uefi, tpm_support: v2.0}\n")
	i := w.only(home, "web")
	if i.BootMode != types.BootModeValuesUefi || i.TpmSupport != types.TpmSupportValuesV20 || got.Values["id"] != *i.ImageId {
		t.Errorf("%+v", i)
	}
	if n := len(w.snapshots(w.ec2(home))); n != 1 || len(w.images(w.ec2(home))) != 1 {
		t.Errorf("%d snapshots, images %q", n, names(w.images(w.ec2(home))))
	}
	if got := w.publish("  - ami: {name: web, boot_mode: uefi, tpm_support: v2.0}\n"); !got.Unchanged {
		t.Errorf("%+v", got)
	}
}

func TestTheNewestImagesAreKept(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"web-1", "web-2", "web-3", "web-4", "web-5"} {
		w.frozen(name, "")
		w.publish("  - ami: {name: " + name + ", regions: [us-east-1], deregistration_protection: " + map[bool]string{true: "true", false: "false"}[name == "web-2"] + "}\n")
	}
	one := w.only(home, "web-1")
	used := "uses-1"
	must[*ec2.CreateLaunchTemplateOutput](t)(w.ec2(home).CreateLaunchTemplate(t.Context(), &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: &used, LaunchTemplateData: &types.RequestLaunchTemplateData{ImageId: one.ImageId}}))
	w.publish("  - ami: {name: web-5, regions: [us-east-1], keep: 2}\n")
	if diff := cmp.Diff([]string{"web-1", "web-2", "web-4", "web-5"}, names(w.images(w.ec2(home)))); diff != "" {
		t.Errorf("what is in use and what is protected stays: %s", diff)
	}
	if diff := cmp.Diff([]string{"web-2", "web-4", "web-5"}, names(w.images(w.ec2(away)))); diff != "" {
		t.Error(diff)
	}
	if n := len(w.snapshots(w.ec2(away))); n != 3 {
		t.Errorf("%d snapshots", n)
	}
}
