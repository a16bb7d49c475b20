package ec2_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/internal/sandbox"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ec2"
	"bake/internal/sandbox/sandboxtest"
)

// profiles are instance profiles by name.
type profiles map[string]string

func (p profiles) InstanceProfile(_, name string) (string, bool) { arn, ok := p[name]; return arn, ok }

func TestAProfileIsGivenAtLaunchAndLater(t *testing.T) {
	cloud := start(t, ec2.Options{Profiles: profiles{"web": "arn:aws:iam::111122223333:instance-profile/web"}})
	c := cloud.in("us-east-1")
	with := launch(t, c, func(in *sdk.RunInstancesInput) {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String("web")}
	})
	without := launch(t, c, nil)
	if aws.ToString(with.IamInstanceProfile.Arn) != "arn:aws:iam::111122223333:instance-profile/web" || without.IamInstanceProfile != nil {
		t.Errorf("%+v, %+v", with.IamInstanceProfile, without.IamInstanceProfile)
	}
	_, err := c.AssociateIamInstanceProfile(t.Context(), &sdk.AssociateIamInstanceProfileInput{InstanceId: with.InstanceId, IamInstanceProfile: &types.IamInstanceProfileSpecification{Name: aws.String("web")}})
	want(t, err, "IncorrectState")
	a, err := c.AssociateIamInstanceProfile(t.Context(), &sdk.AssociateIamInstanceProfileInput{InstanceId: without.InstanceId, IamInstanceProfile: &types.IamInstanceProfileSpecification{Name: aws.String("web")}})
	want(t, err, "")
	list, err := c.DescribeIamInstanceProfileAssociations(t.Context(), &sdk.DescribeIamInstanceProfileAssociationsInput{})
	want(t, err, "")
	if len(list.IamInstanceProfileAssociations) != 2 {
		t.Errorf("associations: %+v", list.IamInstanceProfileAssociations)
	}
	_, err = c.DisassociateIamInstanceProfile(t.Context(), &sdk.DisassociateIamInstanceProfileInput{AssociationId: a.IamInstanceProfileAssociation.AssociationId})
	want(t, err, "")
	if i := describe(t, c, *without.InstanceId); i.IamInstanceProfile != nil {
		t.Errorf("it still has %+v", i.IamInstanceProfile)
	}
}

func TestAVolumeGoesThroughItsStates(t *testing.T) {
	cloud := start(t, ec2.Options{})
	c := cloud.in("us-east-1")
	i := launch(t, c, func(in *sdk.RunInstancesInput) {
		in.Placement = &types.Placement{AvailabilityZone: aws.String("us-east-1a")}
	})
	cloud.clock.advance(time.Minute)
	v, err := c.CreateVolume(t.Context(), &sdk.CreateVolumeInput{AvailabilityZone: aws.String("us-east-1a"), Size: aws.Int32(10), VolumeType: types.VolumeTypeGp3})
	want(t, err, "")
	state := func() types.VolumeState {
		t.Helper()
		out, err := c.DescribeVolumes(t.Context(), &sdk.DescribeVolumesInput{VolumeIds: []string{*v.VolumeId}})
		want(t, err, "")
		return out.Volumes[0].State
	}
	step := func(name string, at types.VolumeState, err error, after types.VolumeState) {
		t.Helper()
		want(t, err, "")
		if got := state(); got != at {
			t.Errorf("%s: %s, want %s", name, got, at)
		}
		cloud.clock.advance(3 * time.Second)
		if got := state(); got != after {
			t.Errorf("after %s: %s, want %s", name, got, after)
		}
	}
	step("create", "creating", nil, "available")
	_, err = c.AttachVolume(t.Context(), &sdk.AttachVolumeInput{VolumeId: v.VolumeId, InstanceId: i.InstanceId, Device: aws.String("/dev/sdf")})
	step("attach", "in-use", err, "in-use")
	_, err = c.DeleteVolume(t.Context(), &sdk.DeleteVolumeInput{VolumeId: v.VolumeId})
	want(t, err, "VolumeInUse")
	_, err = c.ModifyVolume(t.Context(), &sdk.ModifyVolumeInput{VolumeId: v.VolumeId, Size: aws.Int32(20)})
	step("modify", "in-use", err, "in-use")
	_, err = c.ModifyVolume(t.Context(), &sdk.ModifyVolumeInput{VolumeId: v.VolumeId, Size: aws.Int32(30)})
	want(t, err, "VolumeModificationRateExceeded")
	_, err = c.DetachVolume(t.Context(), &sdk.DetachVolumeInput{VolumeId: v.VolumeId})
	step("detach", "in-use", err, "available")
	_, err = c.DeleteVolume(t.Context(), &sdk.DeleteVolumeInput{VolumeId: v.VolumeId})
	want(t, err, "")
	cloud.clock.advance(3 * time.Second)
	_, err = c.DescribeVolumes(t.Context(), &sdk.DescribeVolumesInput{VolumeIds: []string{*v.VolumeId}})
	want(t, err, "InvalidVolume.NotFound")
}

func TestVolumesThatDoNotEndWithTheirInstanceAreLeft(t *testing.T) {
	cloud := start(t, ec2.Options{})
	c := cloud.in("us-east-1")
	i := launch(t, c, func(in *sdk.RunInstancesInput) {
		in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/sdf"), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(5), DeleteOnTermination: aws.Bool(false)}}}
	})
	cloud.clock.advance(time.Minute)
	_, err := c.TerminateInstances(t.Context(), &sdk.TerminateInstancesInput{InstanceIds: []string{*i.InstanceId}})
	want(t, err, "")
	cloud.clock.advance(time.Minute)
	out, err := c.DescribeVolumes(t.Context(), &sdk.DescribeVolumesInput{})
	want(t, err, "")
	if len(out.Volumes) != 1 || *out.Volumes[0].Size != 5 || out.Volumes[0].State != "available" {
		t.Errorf("left: %+v", out.Volumes)
	}
}

func TestWhatWasJustMadeIsNotFoundForTheFirstReads(t *testing.T) {
	s := sandboxtest.StartWith(t, sandbox.Options{Faults: []api.Fault{{Kind: api.FaultHidden, Service: "ec2", Times: 2}}})
	c := sdk.NewFromConfig(sandboxtest.Config(s, "us-east-1"))
	g, err := c.CreateSecurityGroup(t.Context(), &sdk.CreateSecurityGroupInput{GroupName: aws.String("new"), Description: aws.String("d")})
	want(t, err, "")
	byID := func() error {
		_, err := c.DescribeSecurityGroups(t.Context(), &sdk.DescribeSecurityGroupsInput{GroupIds: []string{*g.GroupId}})
		return err
	}
	want(t, byID(), "InvalidGroup.NotFound")
	list, err := c.DescribeSecurityGroups(t.Context(), &sdk.DescribeSecurityGroupsInput{})
	want(t, err, "")
	if len(list.SecurityGroups) != 1 {
		t.Errorf("the list has %d groups, want the default one", len(list.SecurityGroups))
	}
	want(t, byID(), "")
}
