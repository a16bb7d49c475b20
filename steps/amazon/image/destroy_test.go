package image_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"bake/internal/sandbox/api"
	"bake/steps/amazon"
	"bake/steps/amazon/image"
)

func found(all []image.Target) []string {
	var out []string
	for _, t := range all {
		out = append(out, t.Region+" "+t.Name)
	}
	return out
}

func TestDestroyFindsAnImageWithItsCopiesAndItsOtherNames(t *testing.T) {
	w := newWorld(t)
	w.register("unrelated", "", nil)
	w.frozen("web-1", "")
	w.publish("  - ami: {name: web-1, regions: [us-east-1]}\n")
	w.publish("  - ami: {name: web-2, regions: [us-east-1]}\n")
	access := amazon.Access{Region: home}
	for _, name := range []string{"web-1", "web-2", w.ami.ID} {
		all, err := image.Find(t.Context(), w.cloud, access, image.Query{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"eu-west-1 web-1", "eu-west-1 web-2", "us-east-1 web-1", "us-east-1 web-2"}, found(all)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	p, _ := w.plan("r", "  - ami: {name: web-3}\n")
	all, err := image.Find(t.Context(), w.cloud, access, image.Query{Plan: p})
	if err != nil || len(all) != 4 {
		t.Fatalf("%q %v", found(all), err)
	}
	for _, target := range all {
		if err := image.Destroy(t.Context(), w.cloud, target, false); err != nil {
			t.Error(err)
		}
	}
	if a, b := len(w.snapshots(w.ec2(home))), len(w.snapshots(w.ec2(away))); a != 1 || b != 0 {
		t.Errorf("%d and %d snapshots", a, b)
	}
	for _, target := range all {
		if err := image.Destroy(t.Context(), w.cloud, target, false); err != nil {
			t.Errorf("what is gone: %v", err)
		}
	}
	if diff := cmp.Diff([]string{"unrelated"}, names(append(w.images(w.ec2(home)), w.images(w.ec2(away))...))); diff != "" {
		t.Error(diff)
	}
}

func TestDestroyTellsWhatUsesAnImageAndHonoursItsProtection(t *testing.T) {
	w := newWorld(t)
	w.frozen("web-1", "")
	w.publish("  - ami: {name: web-1, deregistration_protection: true}\n  - launch_template: {name: fleet, create: {type: t3.small}}\n")
	all, err := image.Find(t.Context(), w.cloud, amazon.Access{Region: home}, image.Query{Name: "web-1"})
	if err != nil || len(all) != 1 {
		t.Fatalf("%v %v", all, err)
	}
	if diff := cmp.Diff([]string{"launch template fleet version 1"}, all[0].Uses); diff != "" || !all[0].Protected {
		t.Errorf("protected %v, %s", all[0].Protected, diff)
	}
	if err := image.Destroy(t.Context(), w.cloud, all[0], false); err == nil || !strings.Contains(err.Error(), "protected") {
		t.Errorf("%v", err)
	}
	if err := image.Destroy(t.Context(), w.cloud, all[0], true); err != nil {
		t.Error(err)
	}
	if n := len(w.images(w.ec2(home))); n != 0 {
		t.Errorf("%d images", n)
	}
}

func TestDestroyLeavesASnapshotThatAnotherImageHas(t *testing.T) {
	w := newWorld(t)
	w.frozen("web-1", "")
	snap := w.only(home, "web-1").BlockDeviceMappings[0].Ebs.SnapshotId
	sister := "sister"
	must[*ec2.RegisterImageOutput](t)(w.ec2(home).RegisterImage(t.Context(), &ec2.RegisterImageInput{
		Name: &sister, Architecture: types.ArchitectureValuesX8664, RootDeviceName: aws.String("/dev/xvda"), VirtualizationType: aws.String("hvm"),
		BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{SnapshotId: snap}}},
	}))
	all, err := image.Find(t.Context(), w.cloud, amazon.Access{Region: home}, image.Query{Name: "web-1"})
	if err != nil || len(all) != 1 {
		t.Fatalf("%v %v", all, err)
	}
	if err := image.Destroy(t.Context(), w.cloud, all[0], false); err != nil {
		t.Fatal(err)
	}
	if len(w.snapshots(w.ec2(home))) != 1 {
		t.Error("the other image's snapshot is gone")
	}
}

// TestWhatIsDeniedAtFirstIsRemovedAllTheSame: a policy that allows the removal
// of what has a tag allows it only when AWS knows of the tag where it decides.
func TestWhatIsDeniedAtFirstIsRemovedAllTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.frozen("web-1", "")
	target := func() image.Target {
		t.Helper()
		all, err := image.Find(t.Context(), w.cloud, amazon.Access{Region: home}, image.Query{Name: "web-1"})
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		return all[0]
	}
	denied := api.Fault{Action: "DeregisterImage", Kind: api.FaultError, Code: "UnauthorizedOperation", Status: 403, Times: -1}
	if err := w.box.Faults.Add(denied); err != nil {
		t.Fatal(err)
	}
	if err := image.Destroy(t.Context(), w.cloud, target(), false); !amazon.IsCode(err, "UnauthorizedOperation") {
		t.Errorf("what stays denied: %v", err)
	}
	w.box.Faults.Clear()
	denied.Times = 2
	if err := w.box.Faults.Add(denied); err != nil {
		t.Fatal(err)
	}
	if err := image.Destroy(t.Context(), w.cloud, target(), false); err != nil || len(w.images(w.ec2(home)))+len(w.snapshots(w.ec2(home))) > 0 {
		t.Errorf("what is denied twice: %v, there is %q", err, names(w.images(w.ec2(home))))
	}
}
