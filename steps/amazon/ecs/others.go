package ecs

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	scaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
)

// A BusyError says that somebody else is deploying the service.
type BusyError struct{ Service, Deployment, Revision string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("service %s is being deployed by somebody else: deployment %s of %s", e.Service, e.Deployment, e.Revision)
}

// Hint says what to do.
func (e *BusyError) Hint() string {
	return "try again when it is finished; with `busy: wait` bake waits for it"
}

// waitForOthers waits until no other deployment of the service goes on, or
// refuses to.
func (d *deployment) waitForOthers(ctx context.Context) error {
	if d.live == nil {
		return nil
	}
	told := ""
	deadline := time.Now().Add(max(d.out.Wait, time.Minute))
	for inProgress(d.live) && !d.goingOn() {
		p := primaryOf(d.live)
		busy := &BusyError{Service: d.out.Service, Deployment: aws.ToString(p.Id), Revision: short(aws.ToString(p.TaskDefinition))}
		if d.out.Busy == "refuse" || time.Now().After(deadline) {
			return busy
		}
		if told != busy.Deployment {
			told = busy.Deployment
			d.story.Log("waiting: %v", busy)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(period):
		}
		live, err := d.mustService(ctx, aws.ToString(d.live.ServiceArn))
		if err != nil {
			return err
		}
		d.live = live
	}
	return nil
}

// scales reports whether Application Auto Scaling sets the service's number of
// tasks. Who may not ask is told so, and counts as not scaling.
func (d *deployment) scales(ctx context.Context, service string) bool {
	out, err := d.scaling.DescribeScalableTargets(ctx, &applicationautoscaling.DescribeScalableTargetsInput{
		ServiceNamespace: scaling.ServiceNamespaceEcs, ScalableDimension: scaling.ScalableDimensionECSServiceDesiredCount,
		ResourceIds: []string{"service/" + short(d.Cluster) + "/" + service}})
	if err != nil {
		d.story.Log("whether the service scales by itself cannot be asked: %v", err)
		return false
	}
	return len(out.ScalableTargets) > 0
}
