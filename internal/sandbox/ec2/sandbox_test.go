package ec2_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ec2"
	"bake/internal/sandbox/sandboxtest"
)

// A clock is the sandbox's: it stands still until a test moves it.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// A cloud is a control plane behind HTTP.
type cloud struct {
	t       *testing.T
	control *ec2.Control
	world   *api.World
	clock   *clock
	url     string
}

// start returns a control plane whose states take AWS's time on its own clock.
func start(t *testing.T, o ec2.Options) *cloud {
	t.Helper()
	c := &cloud{t: t, clock: &clock{t: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}}
	c.world = &api.World{Dir: t.TempDir(), Account: "111122223333", Regions: []string{"us-east-1", "eu-west-1"}, Pace: 1, Now: c.clock.now}
	if o.Log == nil {
		o.Log = t.Logf
	}
	c.control = ec2.New(c.world, o)
	server := httptest.NewServer(api.NewServer(c.world, c.control.Service()))
	c.url = server.URL
	c.world.URL = server.URL
	t.Cleanup(func() {
		server.Close()
		if err := c.control.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// in returns a client of a region.
func (c *cloud) in(region string) *sdk.Client {
	return sdk.New(sdk.Options{Region: region, BaseEndpoint: &c.url, RetryMaxAttempts: 1, HTTPClient: sandboxtest.Whole{},
		Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", "")})
}

// want fails the test unless err is the code; an empty code is none.
func want(t *testing.T, err error, code string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	switch {
	case code == "" && err != nil:
		t.Fatalf("unexpected: %v", err)
	case code != "" && (!ok || e.ErrorCode() != code):
		t.Fatalf("got %v, want %s", err, code)
	}
}

// amazonLinux is the newest x86_64 image of Amazon.
func amazonLinux(t *testing.T, c *sdk.Client) types.Image {
	t.Helper()
	out, err := c.DescribeImages(context.Background(), &sdk.DescribeImagesInput{Owners: []string{"amazon"},
		Filters: []types.Filter{{Name: aws.String("name"), Values: []string{"al2023-ami-2023.*-x86_64"}}}})
	want(t, err, "")
	if len(out.Images) != 2 {
		t.Fatalf("got %d images of Amazon's, want 2", len(out.Images))
	}
	return out.Images[1]
}

// launch runs one t3.micro.
func launch(t *testing.T, c *sdk.Client, change func(*sdk.RunInstancesInput)) types.Instance {
	t.Helper()
	in := &sdk.RunInstancesInput{ImageId: amazonLinux(t, c).ImageId, InstanceType: types.InstanceTypeT3Micro, MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}
	if change != nil {
		change(in)
	}
	out, err := c.RunInstances(context.Background(), in)
	want(t, err, "")
	return out.Instances[0]
}

func instanceState(t *testing.T, c *sdk.Client, id string) types.InstanceStateName {
	t.Helper()
	return describe(t, c, id).State.Name
}

func describe(t *testing.T, c *sdk.Client, id string) types.Instance {
	t.Helper()
	out, err := c.DescribeInstances(context.Background(), &sdk.DescribeInstancesInput{InstanceIds: []string{id}})
	want(t, err, "")
	return out.Reservations[0].Instances[0]
}
