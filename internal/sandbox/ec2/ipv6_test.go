package ec2_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/internal/sandbox/ec2"
)

// a six is a VPC with one subnet that has IPv6 addresses.
type six struct {
	vpc, subnet string
	block       netip.Prefix // of the subnet
	association string       // of that
}

// makeSix gives the default VPC of a client's region, and its first subnet, IPv6 addresses.
func makeSix(t *testing.T, c *sdk.Client) six {
	t.Helper()
	ctx := context.Background()
	subnets, err := c.DescribeSubnets(ctx, &sdk.DescribeSubnetsInput{})
	want(t, err, "")
	s := six{vpc: *subnets.Subnets[0].VpcId, subnet: *subnets.Subnets[0].SubnetId}
	out, err := c.AssociateVpcCidrBlock(ctx, &sdk.AssociateVpcCidrBlockInput{VpcId: &s.vpc, AmazonProvidedIpv6CidrBlock: aws.Bool(true)})
	want(t, err, "")
	whole := netip.MustParsePrefix(*out.Ipv6CidrBlockAssociation.Ipv6CidrBlock)
	if whole.Bits() != 56 || !whole.Addr().Is6() {
		t.Fatalf("the VPC's block is %s", whole)
	}
	s.block = netip.PrefixFrom(whole.Addr(), 64)
	in, err := c.AssociateSubnetCidrBlock(ctx, &sdk.AssociateSubnetCidrBlockInput{SubnetId: &s.subnet, Ipv6CidrBlock: aws.String(s.block.String())})
	want(t, err, "")
	s.association = *in.Ipv6CidrBlockAssociation.AssociationId
	return s
}

func TestNetworksHaveIPv6OnlyIfAsked(t *testing.T) {
	c := start(t, ec2.Options{}).in("us-east-1")
	ctx := context.Background()
	vpcs, err := c.DescribeVpcs(ctx, &sdk.DescribeVpcsInput{})
	want(t, err, "")
	if len(vpcs.Vpcs[0].Ipv6CidrBlockAssociationSet) != 0 {
		t.Errorf("the default VPC has %v", vpcs.Vpcs[0].Ipv6CidrBlockAssociationSet)
	}
	if i := launch(t, c, nil); i.Ipv6Address != nil {
		t.Errorf("an instance has %s", *i.Ipv6Address)
	}
	s := makeSix(t, c)
	vpcs, err = c.DescribeVpcs(ctx, &sdk.DescribeVpcsInput{Filters: []types.Filter{{Name: aws.String("ipv6-cidr-block-association.state"), Values: []string{"associated"}}}})
	want(t, err, "")
	if len(vpcs.Vpcs) != 1 || len(vpcs.Vpcs[0].Ipv6CidrBlockAssociationSet) != 1 || *vpcs.Vpcs[0].Ipv6CidrBlockAssociationSet[0].Ipv6Pool != "Amazon" {
		t.Fatalf("got %+v", vpcs.Vpcs)
	}
	subnets, err := c.DescribeSubnets(ctx, &sdk.DescribeSubnetsInput{Filters: []types.Filter{{Name: aws.String("ipv6-cidr-block-association.ipv6-cidr-block"), Values: []string{s.block.String()}}}})
	want(t, err, "")
	if len(subnets.Subnets) != 1 || *subnets.Subnets[0].SubnetId != s.subnet || *subnets.Subnets[0].AssignIpv6AddressOnCreation {
		t.Errorf("got %+v", subnets.Subnets)
	}
	groups, err := c.DescribeSecurityGroups(ctx, &sdk.DescribeSecurityGroupsInput{})
	want(t, err, "")
	if out := groups.SecurityGroups[0].IpPermissionsEgress; len(out) != 1 || len(out[0].Ipv6Ranges) != 1 {
		t.Errorf("the group does not let everything out over IPv6: %+v", out)
	}
	one := launch(t, c, func(in *sdk.RunInstancesInput) { in.SubnetId = &s.subnet; in.Ipv6AddressCount = aws.Int32(2) })
	if n := one.NetworkInterfaces[0].Ipv6Addresses; len(n) != 2 || *one.Ipv6Address != *n[0].Ipv6Address || !s.block.Contains(netip.MustParseAddr(*n[1].Ipv6Address)) {
		t.Errorf("got %s and %v, want two of %s", aws.ToString(one.Ipv6Address), n, s.block)
	}
	found, err := c.DescribeInstances(ctx, &sdk.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("ipv6-address"), Values: []string{*one.Ipv6Address}}}})
	want(t, err, "")
	if len(found.Reservations) != 1 {
		t.Errorf("found %d by the address", len(found.Reservations))
	}
	_, err = c.ModifySubnetAttribute(ctx, &sdk.ModifySubnetAttributeInput{SubnetId: &s.subnet, AssignIpv6AddressOnCreation: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
	want(t, err, "")
	if i := launch(t, c, func(in *sdk.RunInstancesInput) { in.SubnetId = &s.subnet }); i.Ipv6Address == nil {
		t.Error("an instance of a subnet that assigns addresses has none")
	}
	none := launch(t, c, func(in *sdk.RunInstancesInput) { in.SubnetId = &s.subnet; in.Ipv6AddressCount = aws.Int32(0) })
	if none.Ipv6Address != nil {
		t.Errorf("an instance that was to have no address has %s", *none.Ipv6Address)
	}
	assigned, err := c.AssignIpv6Addresses(ctx, &sdk.AssignIpv6AddressesInput{NetworkInterfaceId: none.NetworkInterfaces[0].NetworkInterfaceId, Ipv6Addresses: []string{s.block.Addr().String() + "42"}})
	want(t, err, "")
	if got := describe(t, c, *none.InstanceId); *got.Ipv6Address != assigned.AssignedIpv6Addresses[0] {
		t.Errorf("it has %s, want %v", *got.Ipv6Address, assigned.AssignedIpv6Addresses)
	}
	_, err = c.UnassignIpv6Addresses(ctx, &sdk.UnassignIpv6AddressesInput{NetworkInterfaceId: none.NetworkInterfaces[0].NetworkInterfaceId, Ipv6Addresses: assigned.AssignedIpv6Addresses})
	want(t, err, "")
	if got := describe(t, c, *none.InstanceId); got.Ipv6Address != nil {
		t.Errorf("it still has %s", *got.Ipv6Address)
	}
}

func TestWhatIPv6RefusesIsRefusedAsOnAWS(t *testing.T) {
	c := start(t, ec2.Options{}).in("us-east-1")
	ctx := context.Background()
	subnets, err := c.DescribeSubnets(ctx, &sdk.DescribeSubnetsInput{})
	want(t, err, "")
	bare := *subnets.Subnets[1].SubnetId
	_, err = c.ModifySubnetAttribute(ctx, &sdk.ModifySubnetAttributeInput{SubnetId: &bare, AssignIpv6AddressOnCreation: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
	want(t, err, "InvalidParameterValue")
	s := makeSix(t, c)
	taken := launch(t, c, func(in *sdk.RunInstancesInput) { in.SubnetId = &s.subnet; in.Ipv6AddressCount = aws.Int32(1) })
	run := func(change func(*sdk.RunInstancesInput)) error {
		in := &sdk.RunInstancesInput{ImageId: taken.ImageId, InstanceType: types.InstanceTypeT3Micro, MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: &s.subnet}
		change(in)
		_, err := c.RunInstances(ctx, in)
		return err
	}
	six := func(a string) []types.InstanceIpv6Address {
		return []types.InstanceIpv6Address{{Ipv6Address: &a}}
	}
	for name, tt := range map[string]struct {
		change func(*sdk.RunInstancesInput)
		code   string
	}{
		"a subnet without IPv6": {func(in *sdk.RunInstancesInput) { in.SubnetId = &bare; in.Ipv6AddressCount = aws.Int32(1) }, "InvalidParameterValue"},
		"number and addresses": {func(in *sdk.RunInstancesInput) {
			in.Ipv6AddressCount, in.Ipv6Addresses = aws.Int32(1), six(s.block.Addr().String()+"9")
		}, "InvalidParameterCombination"},
		"another's range":   {func(in *sdk.RunInstancesInput) { in.Ipv6Addresses = six("2001:db8::1") }, "InvalidParameterValue"},
		"what AWS keeps":    {func(in *sdk.RunInstancesInput) { in.Ipv6Addresses = six(s.block.Addr().String() + "3") }, "InvalidParameterValue"},
		"another's address": {func(in *sdk.RunInstancesInput) { in.Ipv6Addresses = six(*taken.Ipv6Address) }, "InvalidIPAddress.InUse"},
		"one for two": {func(in *sdk.RunInstancesInput) {
			in.MaxCount, in.Ipv6Addresses = aws.Int32(2), six(s.block.Addr().String()+"9")
		}, "InvalidParameterCombination"},
		"besides interfaces": {func(in *sdk.RunInstancesInput) {
			in.SubnetId, in.Ipv6AddressCount = nil, aws.Int32(1)
			in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), SubnetId: &s.subnet}}
		}, "InvalidParameterCombination"},
		"one that is free": {func(in *sdk.RunInstancesInput) { in.Ipv6Addresses = six(s.block.Addr().String() + "9") }, ""},
	} {
		t.Run(name, func(t *testing.T) { want(t, run(tt.change), tt.code) })
	}
	_, err = c.DisassociateSubnetCidrBlock(ctx, &sdk.DisassociateSubnetCidrBlockInput{AssociationId: &s.association})
	want(t, err, "DependencyViolation")
	for block, code := range map[string]string{"2001:db8::/64": "InvalidSubnet.Range", s.block.Addr().String() + "/60": "InvalidSubnet.Range", s.block.String(): "InvalidSubnet.Conflict", "10.0.0.0/24": "InvalidParameterValue"} {
		_, err = c.AssociateSubnetCidrBlock(ctx, &sdk.AssociateSubnetCidrBlockInput{SubnetId: &bare, Ipv6CidrBlock: &block})
		want(t, err, code)
	}
	_, err = c.AssociateVpcCidrBlock(ctx, &sdk.AssociateVpcCidrBlockInput{VpcId: &s.vpc})
	want(t, err, "MissingParameter")
}

func TestAVPCHasFurtherBlocksAndGivesThemBackWhenNothingUsesThem(t *testing.T) {
	c := start(t, ec2.Options{}).in("us-east-1")
	ctx := context.Background()
	made, err := c.CreateVpc(ctx, &sdk.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), AmazonProvidedIpv6CidrBlock: aws.Bool(true)})
	want(t, err, "")
	v := made.Vpc
	more, err := c.AssociateVpcCidrBlock(ctx, &sdk.AssociateVpcCidrBlockInput{VpcId: v.VpcId, CidrBlock: aws.String("10.1.0.0/16")})
	want(t, err, "")
	_, err = c.AssociateVpcCidrBlock(ctx, &sdk.AssociateVpcCidrBlockInput{VpcId: v.VpcId, CidrBlock: aws.String("10.1.128.0/20")})
	want(t, err, "CidrConflict")
	six := netip.PrefixFrom(netip.MustParsePrefix(*v.Ipv6CidrBlockAssociationSet[0].Ipv6CidrBlock).Addr(), 64).String()
	s, err := c.CreateSubnet(ctx, &sdk.CreateSubnetInput{VpcId: v.VpcId, CidrBlock: aws.String("10.1.1.0/24"), Ipv6CidrBlock: &six})
	want(t, err, "")
	if got := s.Subnet.Ipv6CidrBlockAssociationSet; len(got) != 1 || *got[0].Ipv6CidrBlock != six {
		t.Errorf("the subnet has %v", got)
	}
	tables, err := c.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{*v.VpcId}}}})
	want(t, err, "")
	if routes := tables.RouteTables[0].Routes; len(routes) != 3 || !slices.ContainsFunc(routes, func(r types.Route) bool { return strings.HasSuffix(aws.ToString(r.DestinationIpv6CidrBlock), "/56") }) {
		t.Errorf("the routes are %+v", routes)
	}
	drop := func(id *string) error {
		_, err := c.DisassociateVpcCidrBlock(ctx, &sdk.DisassociateVpcCidrBlockInput{AssociationId: id})
		return err
	}
	want(t, drop(more.CidrBlockAssociation.AssociationId), "DependencyViolation")
	want(t, drop(v.Ipv6CidrBlockAssociationSet[0].AssociationId), "DependencyViolation")
	want(t, drop(v.CidrBlockAssociationSet[0].AssociationId), "OperationNotPermitted")
	_, err = c.DeleteSubnet(ctx, &sdk.DeleteSubnetInput{SubnetId: s.Subnet.SubnetId})
	want(t, err, "")
	want(t, drop(more.CidrBlockAssociation.AssociationId), "")
	want(t, drop(v.Ipv6CidrBlockAssociationSet[0].AssociationId), "")
	want(t, drop(v.Ipv6CidrBlockAssociationSet[0].AssociationId), "InvalidVpcCidrBlockAssociationID.NotFound")
}
