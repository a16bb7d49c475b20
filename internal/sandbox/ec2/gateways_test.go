package ec2_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/internal/sandbox/ec2"
)

func TestANetworkIsBuiltWithItsWayOutAndTakenApartInOrder(t *testing.T) {
	c, ctx := start(t, ec2.Options{}).in("us-east-1"), context.Background()
	v, err := c.CreateVpc(ctx, &sdk.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), AmazonProvidedIpv6CidrBlock: aws.Bool(true)})
	want(t, err, "")
	vpc := v.Vpc.VpcId
	s, err := c.CreateSubnet(ctx, &sdk.CreateSubnetInput{VpcId: vpc, CidrBlock: aws.String("10.0.1.0/24")})
	want(t, err, "")
	g, err := c.CreateInternetGateway(ctx, &sdk.CreateInternetGatewayInput{})
	want(t, err, "")
	gateway := g.InternetGateway.InternetGatewayId
	table, err := c.CreateRouteTable(ctx, &sdk.CreateRouteTableInput{VpcId: vpc})
	want(t, err, "")
	id := table.RouteTable.RouteTableId
	route := func(four, six *string) error {
		_, err := c.CreateRoute(ctx, &sdk.CreateRouteInput{RouteTableId: id, DestinationCidrBlock: four, DestinationIpv6CidrBlock: six, GatewayId: gateway})
		return err
	}
	all := aws.String("0.0.0.0/0")
	want(t, route(all, nil), "InvalidParameterValue") // the gateway is not attached
	attach := &sdk.AttachInternetGatewayInput{InternetGatewayId: gateway, VpcId: vpc}
	_, err = c.AttachInternetGateway(ctx, attach)
	want(t, err, "")
	_, err = c.AttachInternetGateway(ctx, attach)
	want(t, err, "Resource.AlreadyAssociated")
	want(t, route(all, nil), "")
	want(t, route(all, nil), "RouteAlreadyExists")
	want(t, route(nil, aws.String("::/0")), "")
	want(t, route(aws.String("::/0"), nil), "InvalidParameterValue")
	a, err := c.AssociateRouteTable(ctx, &sdk.AssociateRouteTableInput{RouteTableId: id, SubnetId: s.Subnet.SubnetId})
	want(t, err, "")
	tables, err := c.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{Filters: []types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{*s.Subnet.SubnetId}}}})
	want(t, err, "")
	if len(tables.RouteTables) != 1 || len(tables.RouteTables[0].Routes) != 4 || *tables.RouteTables[0].Associations[0].RouteTableAssociationId != *a.AssociationId || *tables.RouteTables[0].Associations[0].Main {
		t.Fatalf("got %+v", tables.RouteTables)
	}
	mains, err := c.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{Filters: []types.Filter{{Name: aws.String("association.main"), Values: []string{"true"}}, {Name: aws.String("vpc-id"), Values: []string{*vpc}}}})
	want(t, err, "")
	if len(mains.RouteTables) != 1 {
		t.Fatalf("there are %d main tables", len(mains.RouteTables))
	}
	_, err = c.DisassociateRouteTable(ctx, &sdk.DisassociateRouteTableInput{AssociationId: mains.RouteTables[0].Associations[0].RouteTableAssociationId})
	want(t, err, "InvalidParameterValue")
	_, err = c.AssociateRouteTable(ctx, &sdk.AssociateRouteTableInput{RouteTableId: mains.RouteTables[0].RouteTableId, SubnetId: s.Subnet.SubnetId})
	want(t, err, "Resource.AlreadyAssociated")

	drop := func() error {
		_, err := c.DeleteRouteTable(ctx, &sdk.DeleteRouteTableInput{RouteTableId: id})
		return err
	}
	want(t, drop(), "DependencyViolation")
	_, err = c.DisassociateRouteTable(ctx, &sdk.DisassociateRouteTableInput{AssociationId: a.AssociationId})
	want(t, err, "")
	_, err = c.DeleteRoute(ctx, &sdk.DeleteRouteInput{RouteTableId: id, DestinationCidrBlock: all})
	want(t, err, "")
	_, err = c.DeleteRoute(ctx, &sdk.DeleteRouteInput{RouteTableId: id, DestinationCidrBlock: all})
	want(t, err, "InvalidRoute.NotFound")
	_, err = c.DeleteRoute(ctx, &sdk.DeleteRouteInput{RouteTableId: id, DestinationCidrBlock: aws.String("10.0.0.0/16")})
	want(t, err, "InvalidParameterValue")
	_, err = c.DeleteInternetGateway(ctx, &sdk.DeleteInternetGatewayInput{InternetGatewayId: gateway})
	want(t, err, "DependencyViolation")
	_, err = c.DetachInternetGateway(ctx, &sdk.DetachInternetGatewayInput{InternetGatewayId: gateway, VpcId: vpc})
	want(t, err, "")
	tables, err = c.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{Filters: []types.Filter{{Name: aws.String("route.state"), Values: []string{"blackhole"}}}})
	want(t, err, "")
	if len(tables.RouteTables) != 1 {
		t.Error("the route to a gateway that is gone is no black hole")
	}
	_, err = c.DeleteInternetGateway(ctx, &sdk.DeleteInternetGatewayInput{InternetGatewayId: gateway})
	want(t, err, "")
	_, err = c.DeleteSubnet(ctx, &sdk.DeleteSubnetInput{SubnetId: s.Subnet.SubnetId})
	want(t, err, "")
	_, err = c.DeleteVpc(ctx, &sdk.DeleteVpcInput{VpcId: vpc})
	want(t, err, "DependencyViolation")
	want(t, drop(), "")
	_, err = c.DeleteVpc(ctx, &sdk.DeleteVpcInput{VpcId: vpc})
	want(t, err, "")
}

func TestADefaultVPCKeepsItsGatewayAsLongAsPublicAddressesLeadThroughIt(t *testing.T) {
	c, ctx := start(t, ec2.Options{}).in("us-east-1"), context.Background()
	launch(t, c, nil)
	g, err := c.DescribeInternetGateways(ctx, &sdk.DescribeInternetGatewaysInput{Filters: []types.Filter{{Name: aws.String("attachment.state"), Values: []string{"available"}}}})
	want(t, err, "")
	_, err = c.DetachInternetGateway(ctx, &sdk.DetachInternetGatewayInput{InternetGatewayId: g.InternetGateways[0].InternetGatewayId, VpcId: g.InternetGateways[0].Attachments[0].VpcId})
	want(t, err, "DependencyViolation")
	vpcs, err := c.DescribeVpcClassicLink(ctx, &sdk.DescribeVpcClassicLinkInput{})
	want(t, err, "")
	if len(vpcs.Vpcs) != 1 || *vpcs.Vpcs[0].ClassicLinkEnabled {
		t.Errorf("EC2-Classic: %+v", vpcs.Vpcs)
	}
}
