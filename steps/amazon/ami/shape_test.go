package ami_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// plainBase registers the base anew, without ENA and with a boot mode.
func (w *world) plainBase(mode types.BootModeValues) string {
	w.t.Helper()
	found, err := w.client().DescribeImages(w.t.Context(), &ec2.DescribeImagesInput{Owners: []string{"amazon"},
		Filters: []types.Filter{{Name: aws.String("name"), Values: []string{"al2023-ami-2023.*-x86_64"}}}})
	if err != nil || len(found.Images) == 0 {
		w.t.Fatal(found, err)
	}
	from := found.Images[0]
	in := &ec2.RegisterImageInput{Name: aws.String("plain"), Architecture: from.Architecture, RootDeviceName: from.RootDeviceName, VirtualizationType: aws.String("hvm"),
		BootMode: mode, EnaSupport: aws.Bool(mode != ""), BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: from.RootDeviceName,
			Ebs: &types.EbsBlockDevice{VolumeType: types.VolumeTypeGp3, SnapshotId: from.BlockDeviceMappings[0].Ebs.SnapshotId, DeleteOnTermination: aws.Bool(true)}}}}
	out, err := w.client().RegisterImage(w.t.Context(), in)
	if err != nil {
		w.t.Fatal(err)
	}
	w.before = w.things()
	return *out.ImageId
}

func TestAnImageIsBornWithTheENASupportAndTheBootModeThatAreAskedFor(t *testing.T) {
	for _, c := range []struct {
		name      string
		base      types.BootModeValues
		kind      string
		output    string
		registers int // how often an image is registered anew
	}{
		{"ENA is switched on for the stopped machine", "", "t2.small", "ena_support: true", 0},
		{"a machine that has booted with UEFI becomes an image of UEFI", types.BootModeValuesUefiPreferred, "t3.small", "boot_mode: uefi", 0},
		{"another boot mode takes registrations", types.BootModeValuesUefiPreferred, "t3.small", "boot_mode: legacy-bios", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			id := w.plainBase(c.base)
			text := strings.Replace(tiny, `{owner: amazon, name: "al2023-ami-2023.*-x86_64"}}`, `{id: `+id+`}, machine: {type: `+c.kind+`}, ssh: {user: root}}`, 1)
			if _, err := w.bake(strings.Replace(text, "[{ami: web-1}]", "[{ami: {name: web-1, "+c.output+"}}]", 1)); err != nil {
				t.Fatal(err)
			}
			if n := w.count("RegisterImage"); n != c.registers {
				t.Errorf("an image was registered %d times", n)
			}
			out, err := w.client().DescribeImages(t.Context(), &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []types.Filter{{Name: aws.String("name"), Values: []string{"web-1"}}}})
			if err != nil || len(out.Images) != 1 {
				t.Fatal(out, err)
			}
			i := out.Images[0]
			if strings.HasPrefix(c.output, "ena") && !aws.ToBool(i.EnaSupport) || strings.HasPrefix(c.output, "boot") && !strings.HasSuffix(c.output, string(i.BootMode)) {
				t.Errorf("ENA %v, boot mode %q", aws.ToBool(i.EnaSupport), i.BootMode)
			}
		})
	}
}
