package ec2_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/internal/sandbox/ec2"
)

func TestSpotRequestsAreMadeFulfilledAndCancelledAsOnAWS(t *testing.T) {
	cloud := start(t, ec2.Options{})
	c, ctx := cloud.in("us-east-1"), context.Background()
	image := amazonLinux(t, c)
	request := func(price *string) (types.SpotInstanceRequest, error) {
		out, err := c.RequestSpotInstances(ctx, &sdk.RequestSpotInstancesInput{SpotPrice: price, ClientToken: aws.String("t" + aws.ToString(price)),
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSpotInstancesRequest, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}},
			LaunchSpecification: &types.RequestSpotLaunchSpecification{ImageId: image.ImageId, InstanceType: types.InstanceTypeT3Micro,
				Placement: &types.SpotPlacement{AvailabilityZone: aws.String("us-east-1b")}}})
		if err != nil {
			return types.SpotInstanceRequest{}, err
		}
		return out.SpotInstanceRequests[0], nil
	}
	state := func(id *string) (types.SpotInstanceState, string) {
		t.Helper()
		out, err := c.DescribeSpotInstanceRequests(ctx, &sdk.DescribeSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{*id}})
		want(t, err, "")
		return out.SpotInstanceRequests[0].State, *out.SpotInstanceRequests[0].Status.Code
	}
	one, err := request(nil)
	want(t, err, "")
	if one.InstanceId == nil || one.State != "active" || *one.Status.Code != "fulfilled" || *one.LaunchedAvailabilityZone != "us-east-1b" || *one.LaunchSpecification.ImageId != *image.ImageId || len(one.Tags) != 1 {
		t.Errorf("got %+v", one)
	}
	again, err := request(nil)
	want(t, err, "")
	if *again.SpotInstanceRequestId != *one.SpotInstanceRequestId {
		t.Error("the same token made another request")
	}
	if i := describe(t, c, *one.InstanceId); *i.SpotInstanceRequestId != *one.SpotInstanceRequestId || i.InstanceLifecycle != "spot" {
		t.Errorf("the instance is of %s", *i.SpotInstanceRequestId)
	}
	_, err = request(aws.String("free"))
	want(t, err, "InvalidParameterValue")
	low, err := request(aws.String("0.0001"))
	want(t, err, "")
	if low.InstanceId != nil || low.State != "open" || *low.Status.Code != "price-too-low" {
		t.Errorf("got %+v", low)
	}
	cloud.control.Tune(func(k *ec2.Knobs) { k.NoCapacity = []ec2.Pool{{Spot: true}} })
	none, err := request(aws.String("0.05"))
	want(t, err, "")
	if none.State != "open" || *none.Status.Code != "capacity-not-available" {
		t.Errorf("got %+v", none)
	}
	cancelled, err := c.CancelSpotInstanceRequests(ctx, &sdk.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{*low.SpotInstanceRequestId, *one.SpotInstanceRequestId}})
	want(t, err, "")
	if len(cancelled.CancelledSpotInstanceRequests) != 2 {
		t.Errorf("got %+v", cancelled.CancelledSpotInstanceRequests)
	}
	if s, code := state(one.SpotInstanceRequestId); s != "cancelled" || code != "request-canceled-and-instance-running" {
		t.Errorf("the request is %s, %s", s, code)
	}
	cloud.clock.advance(time.Minute)
	if s := instanceState(t, c, *one.InstanceId); s != "running" {
		t.Errorf("the instance is %s", s)
	}
	_, err = c.TerminateInstances(ctx, &sdk.TerminateInstancesInput{InstanceIds: []string{*one.InstanceId}})
	want(t, err, "")
	cloud.clock.advance(time.Minute)
	if _, code := state(one.SpotInstanceRequestId); code != "instance-terminated-by-user" {
		t.Errorf("the request of a terminated instance: %s", code)
	}
	_, err = c.CancelSpotInstanceRequests(ctx, &sdk.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{"sir-01234567"}})
	want(t, err, "InvalidSpotInstanceRequestID.NotFound")
}

func TestSpotPricesAreToldForEveryZoneOfATypePageByPage(t *testing.T) {
	c, ctx := start(t, ec2.Options{}).in("us-east-1"), context.Background()
	pages := sdk.NewDescribeSpotPriceHistoryPaginator(c, &sdk.DescribeSpotPriceHistoryInput{InstanceTypes: []types.InstanceType{"t3.micro", "t3.large"}, ProductDescriptions: []string{"Linux/UNIX"}, MaxResults: aws.Int32(2)})
	prices := map[types.InstanceType]map[string]bool{}
	zones := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		want(t, err, "")
		for _, p := range page.SpotPriceHistory {
			if prices[p.InstanceType] == nil {
				prices[p.InstanceType] = map[string]bool{}
			}
			prices[p.InstanceType][*p.SpotPrice] = true
			zones++
		}
	}
	if len(prices) != 2 || len(prices["t3.micro"]) != 1 || zones < 4 || zones%2 != 0 {
		t.Errorf("got %d prices: %v", zones, prices)
	}
}
