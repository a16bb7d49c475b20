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

func TestAnInstanceGoesThroughItsStatesInAWSsTime(t *testing.T) {
	cloud := start(t, ec2.Options{})
	c, ctx := cloud.in("us-east-1"), t.Context()
	i := launch(t, c, func(in *sdk.RunInstancesInput) {
		in.TagSpecifications = []types.TagSpecification{{ResourceType: "instance", Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("x")}}},
			{ResourceType: "volume", Tags: []types.Tag{{Key: aws.String("of"), Value: aws.String("x")}}}}
	})
	if i.State.Name != "pending" || i.PublicIpAddress != nil || *i.Tags[0].Value != "x" || i.MetadataOptions.HttpTokens != "required" {
		t.Errorf("launched: %+v", i)
	}
	cloud.clock.advance(19 * time.Second)
	if s := instanceState(t, c, *i.InstanceId); s != "pending" {
		t.Errorf("after 19 s: %s", s)
	}
	cloud.clock.advance(time.Second)
	i = describe(t, c, *i.InstanceId)
	if i.State.Name != "running" || *i.PublicIpAddress == *i.PrivateIpAddress || *i.PublicDnsName != *i.PublicIpAddress || len(i.BlockDeviceMappings) != 1 {
		t.Errorf("after 20 s: %+v", i)
	}
	_, err := c.StopInstances(ctx, &sdk.StopInstancesInput{InstanceIds: []string{*i.InstanceId}})
	want(t, err, "")
	if s := instanceState(t, c, *i.InstanceId); s != "stopping" {
		t.Errorf("stopped: %s", s)
	}
	_, err = c.CreateImage(ctx, &sdk.CreateImageInput{InstanceId: i.InstanceId, Name: aws.String("too early")})
	want(t, err, "InvalidParameterValue")
	_, err = c.StartInstances(ctx, &sdk.StartInstancesInput{InstanceIds: []string{*i.InstanceId}})
	want(t, err, "IncorrectInstanceState")
	cloud.clock.advance(10 * time.Second)
	image, err := c.CreateImage(ctx, &sdk.CreateImageInput{InstanceId: i.InstanceId, Name: aws.String("web-1"), TagSpecifications: []types.TagSpecification{
		{ResourceType: "image", Tags: []types.Tag{{Key: aws.String("app"), Value: aws.String("web")}}}, {ResourceType: "snapshot", Tags: []types.Tag{{Key: aws.String("app"), Value: aws.String("snap")}}}}})
	want(t, err, "")
	cloud.clock.advance(30 * time.Second)
	m := describeImage(t, c, *image.ImageId)
	snap := describeSnapshot(t, c, *m.BlockDeviceMappings[0].Ebs.SnapshotId)
	if m.State != "pending" || snap.State != "pending" || *snap.Progress != "46%" || *snap.Tags[0].Value != "snap" || *m.Tags[0].Value != "web" {
		t.Errorf("half way: %s, %s %s, %v %v", m.State, snap.State, *snap.Progress, snap.Tags, m.Tags)
	}
	cloud.clock.advance(35 * time.Second)
	if m = describeImage(t, c, *image.ImageId); m.State != "available" {
		t.Errorf("done: %s", m.State)
	}
	terminate(t, cloud, c, i)
}

func terminate(t *testing.T, cloud *cloud, c *sdk.Client, i types.Instance) {
	t.Helper()
	_, err := c.TerminateInstances(t.Context(), &sdk.TerminateInstancesInput{InstanceIds: []string{*i.InstanceId}})
	want(t, err, "")
	if s := instanceState(t, c, *i.InstanceId); s != "shutting-down" {
		t.Errorf("terminated: %s", s)
	}
	cloud.clock.advance(10 * time.Second)
	if s := instanceState(t, c, *i.InstanceId); s != "terminated" {
		t.Errorf("at last: %s", s)
	}
	v, err := c.DescribeVolumes(t.Context(), &sdk.DescribeVolumesInput{})
	want(t, err, "")
	if len(v.Volumes) != 0 {
		t.Errorf("%d volumes are left", len(v.Volumes))
	}
	cloud.clock.advance(2 * time.Hour)
	_, err = c.DescribeInstances(t.Context(), &sdk.DescribeInstancesInput{InstanceIds: []string{*i.InstanceId}})
	want(t, err, "InvalidInstanceID.NotFound")
}

func describeImage(t *testing.T, c *sdk.Client, id string) types.Image {
	t.Helper()
	out, err := c.DescribeImages(context.Background(), &sdk.DescribeImagesInput{ImageIds: []string{id}})
	want(t, err, "")
	return out.Images[0]
}

func describeSnapshot(t *testing.T, c *sdk.Client, id string) types.Snapshot {
	t.Helper()
	out, err := c.DescribeSnapshots(context.Background(), &sdk.DescribeSnapshotsInput{SnapshotIds: []string{id}})
	want(t, err, "")
	return out.Snapshots[0]
}
