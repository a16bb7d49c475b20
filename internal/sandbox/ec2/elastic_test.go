package ec2_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/internal/sandbox/ec2"
)

func TestAnElasticIPIsAllocatedMovedAndReleasedAsOnAWS(t *testing.T) {
	cloud := start(t, ec2.Options{})
	c, ctx := cloud.in("us-east-1"), context.Background()
	one, two := launch(t, c, nil), launch(t, c, nil)
	ip, err := c.AllocateAddress(ctx, &sdk.AllocateAddressInput{Domain: types.DomainTypeVpc, TagSpecifications: []types.TagSpecification{
		{ResourceType: types.ResourceTypeElasticIp, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("web")}}}}})
	want(t, err, "")
	associate := func(i types.Instance, again *bool) error {
		_, err := c.AssociateAddress(ctx, &sdk.AssociateAddressInput{AllocationId: ip.AllocationId, InstanceId: i.InstanceId, AllowReassociation: again})
		return err
	}
	want(t, associate(one, nil), "InvalidInstanceID") // it is pending
	cloud.clock.advance(time.Minute)
	own := describe(t, c, *one.InstanceId).PublicIpAddress
	want(t, associate(one, nil), "")
	got := describe(t, c, *one.InstanceId)
	if *got.PublicIpAddress != *ip.PublicIp || *got.NetworkInterfaces[0].Association.IpOwnerId == "amazon" {
		t.Errorf("it has %s of %s, want %s", *got.PublicIpAddress, *got.NetworkInterfaces[0].Association.IpOwnerId, *ip.PublicIp)
	}
	found, err := c.DescribeInstances(ctx, &sdk.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("network-interface.addresses.association.public-ip"), Values: []string{*ip.PublicIp}}}})
	want(t, err, "")
	if len(found.Reservations) != 1 {
		t.Errorf("%d instances are found by the address", len(found.Reservations))
	}
	want(t, associate(one, nil), "") // as it is
	want(t, associate(two, aws.Bool(false)), "Resource.AlreadyAssociated")
	want(t, associate(two, aws.Bool(true)), "")
	if left := describe(t, c, *one.InstanceId).PublicIpAddress; *left == *ip.PublicIp || *left == *own {
		t.Errorf("the first instance has %s", *left)
	}
	_, err = c.ReleaseAddress(ctx, &sdk.ReleaseAddressInput{AllocationId: ip.AllocationId})
	want(t, err, "InvalidIPAddress.InUse")
	_, err = c.StopInstances(ctx, &sdk.StopInstancesInput{InstanceIds: []string{*two.InstanceId}})
	want(t, err, "")
	cloud.clock.advance(time.Minute)
	if got := describe(t, c, *two.InstanceId); got.State.Name != "stopped" || aws.ToString(got.PublicIpAddress) != *ip.PublicIp {
		t.Errorf("%s, it has %s", got.State.Name, aws.ToString(got.PublicIpAddress))
	}
	all, err := c.DescribeAddresses(ctx, &sdk.DescribeAddressesInput{Filters: []types.Filter{{Name: aws.String("tag:Name"), Values: []string{"web"}}, {Name: aws.String("instance-id"), Values: []string{*two.InstanceId}}}})
	want(t, err, "")
	if len(all.Addresses) != 1 || *all.Addresses[0].NetworkInterfaceId != *two.NetworkInterfaces[0].NetworkInterfaceId {
		t.Fatalf("got %+v", all.Addresses)
	}
	nics, err := c.DescribeNetworkInterfaces(ctx, &sdk.DescribeNetworkInterfacesInput{Filters: []types.Filter{{Name: aws.String("association.allocation-id"), Values: []string{*ip.AllocationId}}}})
	want(t, err, "")
	if len(nics.NetworkInterfaces) != 1 || *nics.NetworkInterfaces[0].Association.AssociationId != *all.Addresses[0].AssociationId {
		t.Errorf("got %+v", nics.NetworkInterfaces)
	}
	_, err = c.TerminateInstances(ctx, &sdk.TerminateInstancesInput{InstanceIds: []string{*two.InstanceId}})
	want(t, err, "")
	cloud.clock.advance(time.Minute)
	_, err = c.DisassociateAddress(ctx, &sdk.DisassociateAddressInput{AssociationId: all.Addresses[0].AssociationId})
	want(t, err, "InvalidAssociationID.NotFound") // it went with the instance
	_, err = c.ReleaseAddress(ctx, &sdk.ReleaseAddressInput{AllocationId: ip.AllocationId})
	want(t, err, "")
	_, err = c.DescribeAddresses(ctx, &sdk.DescribeAddressesInput{AllocationIds: []string{*ip.AllocationId}})
	want(t, err, "InvalidAllocationID.NotFound")
	for range 5 {
		_, err = c.AllocateAddress(ctx, &sdk.AllocateAddressInput{})
		want(t, err, "")
	}
	_, err = c.AllocateAddress(ctx, &sdk.AllocateAddressInput{})
	want(t, err, "AddressLimitExceeded")
}

func TestTheSandboxForgetsNoAddressWhenItIsStopped(t *testing.T) {
	cloud := start(t, ec2.Options{})
	c, ctx := cloud.in("us-east-1"), context.Background()
	s := makeSix(t, c)
	i := launch(t, c, func(in *sdk.RunInstancesInput) { in.SubnetId = &s.subnet; in.Ipv6AddressCount = aws.Int32(1) })
	cloud.clock.advance(time.Minute)
	ip, err := c.AllocateAddress(ctx, &sdk.AllocateAddressInput{})
	want(t, err, "")
	_, err = c.AssociateAddress(ctx, &sdk.AssociateAddressInput{AllocationId: ip.AllocationId, InstanceId: i.InstanceId})
	want(t, err, "")
	told := func() string {
		i := describe(t, c, *i.InstanceId)
		a, err := c.DescribeAddresses(ctx, &sdk.DescribeAddressesInput{})
		want(t, err, "")
		subnets, err := c.DescribeSubnets(ctx, &sdk.DescribeSubnetsInput{SubnetIds: []string{s.subnet}})
		want(t, err, "")
		return fmt.Sprint(*i.PublicIpAddress, *i.Ipv6Address, *a.Addresses[0].AssociationId, *a.Addresses[0].InstanceId, *subnets.Subnets[0].Ipv6CidrBlockAssociationSet[0].Ipv6CidrBlock)
	}
	before := told()
	data, err := cloud.control.Save()
	if err == nil {
		err = cloud.control.Load(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	if after := told(); after != before {
		t.Errorf("was %s, is %s", before, after)
	}
}
