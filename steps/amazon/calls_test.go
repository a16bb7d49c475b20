package amazon_test

import (
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/internal/need"
	"bake/internal/sandbox"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
)

func TestDescribeCallsGrowWithTimeAndNotWithBuilds(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	need.Root(t)
	const region = "eu-west-1"
	// The calls of one process that waits for so many snapshots at once.
	calls := func(builds int) int {
		s := sandboxtest.StartWith(t, sandbox.Options{Pace: 0.05}) // a snapshot takes three seconds
		client := ec2.NewFromConfig(sandboxtest.Config(s, region))
		volume, err := client.CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String(region + "a"), Size: aws.Int32(1)})
		if err != nil {
			t.Fatal(err)
		}
		cloud := amazon.New(amazon.Options{Endpoint: s.URL})
		available := func(v types.Volume) (bool, error) { return v.State == types.VolumeStateAvailable, nil }
		if _, err := cloud.WaitVolume(t.Context(), amazon.Access{Region: region}, *volume.VolumeId, available); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range builds {
			all.Go(func() {
				snapshot, err := client.CreateSnapshot(t.Context(), &ec2.CreateSnapshotInput{VolumeId: volume.VolumeId})
				if err != nil {
					t.Error(err)
					return
				}
				_, err = cloud.WaitSnapshot(t.Context(), amazon.Access{Region: region}, *snapshot.SnapshotId, func(s types.Snapshot) (bool, error) {
					return s.State == types.SnapshotStateCompleted, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		return s.Faults.Counts()["ec2:DescribeSnapshots"]
	}
	one, fifty := calls(1), calls(50)
	t.Logf("1 snapshot: %d calls, 50: %d", one, fifty)
	// They do not begin at the very same time, and a busy machine is slower.
	if one < 2 || fifty > 3*one {
		t.Errorf("waiting for 1 snapshot took %d calls, for 50 of them %d", one, fifty)
	}
}
