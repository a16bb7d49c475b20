package ecs

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Wait follows the deployment that a service is in, and returns how it stands
// when that is over. It only looks on: when ctx ends, the deployment goes on.
// The error is a *DeploymentError if the deployment did not succeed.
func (c *Client) Wait(ctx context.Context, story Story, service string, limit time.Duration) (Status, error) {
	live, err := c.mustService(ctx, service)
	if err != nil {
		return Status{}, err
	}
	d := &deployment{Client: c, out: new(Output), story: story}
	t := d.target(live, "")
	t.Scale = !inProgress(live)
	w := &watch{Client: c, story: story, service: live, follow: newFollower(t, 0), wait: limit, known: map[string]bool{}, passive: true}
	if err := w.run(ctx); err != nil {
		return Status{}, err
	}
	return c.Status(ctx, aws.ToString(live.ServiceArn))
}
