package ec2_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"bake/internal/sandbox/ec2"
)

// What other people's scripts call besides what bake does.

func TestMonitoringAndCreditsOfAnInstanceAreChanged(t *testing.T) {
	l := start(t, ec2.Options{})
	c, ctx := l.in("us-east-1"), t.Context()
	i := launch(t, c, nil)
	l.clock.advance(time.Minute)
	on, err := c.MonitorInstances(ctx, &sdk.MonitorInstancesInput{InstanceIds: []string{*i.InstanceId}})
	want(t, err, "")
	if on.InstanceMonitorings[0].Monitoring.State != "pending" || describe(t, c, *i.InstanceId).Monitoring.State != "enabled" {
		t.Errorf("monitoring: %+v, then %+v", on.InstanceMonitorings, describe(t, c, *i.InstanceId).Monitoring)
	}
	_, err = c.UnmonitorInstances(ctx, &sdk.UnmonitorInstancesInput{InstanceIds: []string{*i.InstanceId, "i-0123456789abcdef0"}})
	want(t, err, "InvalidInstanceID.NotFound")
	if describe(t, c, *i.InstanceId).Monitoring.State != "enabled" {
		t.Error("a call that failed changed something")
	}
	out, err := c.ModifyInstanceCreditSpecification(ctx, &sdk.ModifyInstanceCreditSpecificationInput{InstanceCreditSpecifications: []types.InstanceCreditSpecificationRequest{
		{InstanceId: i.InstanceId, CpuCredits: aws.String("standard")}, {InstanceId: aws.String("i-0123456789abcdef0"), CpuCredits: aws.String("standard")}}})
	want(t, err, "")
	if len(out.SuccessfulInstanceCreditSpecifications) != 1 || len(out.UnsuccessfulInstanceCreditSpecifications) != 1 {
		t.Errorf("credits: %+v", out)
	}
	credits, err := c.DescribeInstanceCreditSpecifications(ctx, &sdk.DescribeInstanceCreditSpecificationsInput{InstanceIds: []string{*i.InstanceId}})
	want(t, err, "")
	if got := *credits.InstanceCreditSpecifications[0].CpuCredits; got != "standard" {
		t.Errorf("credits are %s", got)
	}
	password, err := c.GetPasswordData(ctx, &sdk.GetPasswordDataInput{InstanceId: i.InstanceId})
	want(t, err, "")
	if aws.ToString(password.PasswordData) != "" {
		t.Errorf("a password: %q", *password.PasswordData)
	}
}

func TestARuleIsReplacedAndDescribedAgain(t *testing.T) {
	c, ctx := start(t, ec2.Options{}).in("us-east-1"), t.Context()
	g, err := c.CreateSecurityGroup(ctx, &sdk.CreateSecurityGroupInput{GroupName: aws.String("g"), Description: aws.String("d")})
	want(t, err, "")
	ssh := func(cidr, text string) types.IpPermission {
		return types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []types.IpRange{{CidrIp: &cidr, Description: &text}}}
	}
	made, err := c.AuthorizeSecurityGroupIngress(ctx, &sdk.AuthorizeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: []types.IpPermission{ssh("10.0.0.0/8", "a"), ssh("10.1.0.0/16", "b")}})
	want(t, err, "")
	replace := func(id *string, cidr string) error {
		_, err := c.ModifySecurityGroupRules(ctx, &sdk.ModifySecurityGroupRulesInput{GroupId: g.GroupId, SecurityGroupRules: []types.SecurityGroupRuleUpdate{
			{SecurityGroupRuleId: id, SecurityGroupRule: &types.SecurityGroupRuleRequest{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), CidrIpv4: &cidr}}}})
		return err
	}
	first := made.SecurityGroupRules[0].SecurityGroupRuleId
	want(t, replace(first, "192.168.0.0/16"), "")
	want(t, replace(first, "10.1.0.0/16"), "InvalidPermission.Duplicate")
	want(t, replace(aws.String("sgr-0123456789abcdef0"), "10.2.0.0/16"), "InvalidSecurityGroupRuleId.NotFound")
	_, err = c.UpdateSecurityGroupRuleDescriptionsIngress(ctx, &sdk.UpdateSecurityGroupRuleDescriptionsIngressInput{GroupId: g.GroupId, IpPermissions: []types.IpPermission{ssh("192.168.0.0/16", "new")}})
	want(t, err, "")
	_, err = c.UpdateSecurityGroupRuleDescriptionsIngress(ctx, &sdk.UpdateSecurityGroupRuleDescriptionsIngressInput{GroupId: g.GroupId, IpPermissions: []types.IpPermission{ssh("10.0.0.0/8", "new")}})
	want(t, err, "InvalidPermission.NotFound")
	all, err := c.DescribeSecurityGroupRules(ctx, &sdk.DescribeSecurityGroupRulesInput{Filters: []types.Filter{{Name: aws.String("security-group-rule-id"), Values: []string{*first}}}})
	want(t, err, "")
	if got := all.SecurityGroupRules[0]; *got.CidrIpv4 != "192.168.0.0/16" || *got.Description != "new" {
		t.Errorf("the rule: %s %s", *got.CidrIpv4, *got.Description)
	}
}

func TestAVPCsNamesAreSwitchedOn(t *testing.T) {
	c, ctx := start(t, ec2.Options{}).in("us-east-1"), t.Context()
	v, err := c.CreateVpc(ctx, &sdk.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16")})
	want(t, err, "")
	_, err = c.ModifyVpcAttribute(ctx, &sdk.ModifyVpcAttributeInput{VpcId: v.Vpc.VpcId, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
	want(t, err, "")
	_, err = c.ModifyVpcAttribute(ctx, &sdk.ModifyVpcAttributeInput{VpcId: v.Vpc.VpcId})
	want(t, err, "InvalidParameterCombination")
	got, err := c.DescribeVpcAttribute(ctx, &sdk.DescribeVpcAttributeInput{VpcId: v.Vpc.VpcId, Attribute: types.VpcAttributeNameEnableDnsHostnames})
	want(t, err, "")
	if !*got.EnableDnsHostnames.Value {
		t.Error("it has no names")
	}
}

func TestInstancesAreFoundByWhatTheirInterfacesHave(t *testing.T) {
	l := start(t, ec2.Options{})
	c := l.in("us-east-1")
	launch(t, c, nil)
	i := launch(t, c, nil)
	l.clock.advance(time.Minute)
	i = describe(t, c, *i.InstanceId)
	n := i.NetworkInterfaces[0]
	for name, value := range map[string]string{
		"network-interface.addresses.private-ip-address": *i.PrivateIpAddress, "network-interface.private-dns-name": *i.PrivateDnsName,
		"network-interface.association.public-ip": *i.PublicIpAddress, "network-interface.mac-address": *n.MacAddress,
		"network-interface.network-interface-id": *n.NetworkInterfaceId, "private-ip-address": *i.PrivateIpAddress, "ip-address": *i.PublicIpAddress,
	} {
		out, err := c.DescribeInstances(t.Context(), &sdk.DescribeInstancesInput{Filters: []types.Filter{{Name: &name, Values: []string{value}}}})
		want(t, err, "")
		var ids []string
		for _, r := range out.Reservations {
			for _, found := range r.Instances {
				ids = append(ids, *found.InstanceId)
			}
		}
		if diff := cmp.Diff([]string{*i.InstanceId}, ids); diff != "" {
			t.Errorf("%s=%s: %s", name, value, diff)
		}
	}
}

// Packer's amazon-ebssurrogate registers its images so.
func TestAnImageRegisteredWithGP2IsLaunched(t *testing.T) {
	c, ctx := start(t, ec2.Options{}).in("us-east-1"), t.Context()
	snapshot := amazonLinux(t, c).BlockDeviceMappings[0].Ebs.SnapshotId
	made, err := c.RegisterImage(ctx, &sdk.RegisterImageInput{Name: aws.String("registered"), Architecture: "x86_64", RootDeviceName: aws.String("/dev/xvda"),
		VirtualizationType: aws.String("hvm"), EnaSupport: aws.Bool(true), BootMode: "uefi", TpmSupport: "v2.0", ImdsSupport: "v2.0",
		BlockDeviceMappings: []types.BlockDeviceMapping{
			{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{SnapshotId: snapshot, VolumeType: "gp2"}},
			{DeviceName: aws.String("/dev/sdf"), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(500), VolumeType: "gp2"}}}})
	want(t, err, "")
	m := describeImage(t, c, *made.ImageId)
	for _, d := range m.BlockDeviceMappings {
		if d.Ebs.Iops != nil {
			t.Errorf("%s has %d IOPS in the image", *d.DeviceName, *d.Ebs.Iops)
		}
	}
	i := launch(t, c, func(in *sdk.RunInstancesInput) { in.ImageId = made.ImageId })
	if i.BootMode != "uefi" || i.TpmSupport == nil || *i.TpmSupport != "v2.0" || !*i.EnaSupport || i.MetadataOptions.HttpTokens != "required" {
		t.Errorf("the instance has boot mode %s, TPM %s, ENA %v, tokens %s", i.BootMode, aws.ToString(i.TpmSupport), *i.EnaSupport, i.MetadataOptions.HttpTokens)
	}
	volumes, err := c.DescribeVolumes(ctx, &sdk.DescribeVolumesInput{Filters: []types.Filter{{Name: aws.String("attachment.device"), Values: []string{"/dev/sdf"}}}})
	want(t, err, "")
	if got := *volumes.Volumes[0].Iops; got != 1500 {
		t.Errorf("the volume has %d IOPS, want three for each GiB", got)
	}
}
