package ecs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	scaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/steps/amazon"
)

// A BusyError says that somebody else is deploying the service. There is no
// lock to take on a service: the deployment that goes on is what tells, and one
// whose deployer was killed ends by itself.
type BusyError struct {
	Cluster, Service string
	Deployment       string    // "ecs-svc/1234"
	Revision         string    // that it brings, "api:42"
	Since            time.Time // zero: not known
	By               string    // bake's run that registered the revision; empty: it was not bake, or it cannot be seen
	Waited           time.Duration
}

func (e *BusyError) Error() string {
	text := fmt.Sprintf("service %s is being deployed by somebody else: deployment %s of %s", e.Service, e.Deployment, e.Revision)
	if !e.Since.IsZero() {
		text += ", since " + e.Since.UTC().Format("15:04:05 MST")
	}
	if e.By != "" {
		text += ", registered by bake's run " + e.By
	}
	if e.Waited > 0 {
		text += fmt.Sprintf("; it was not over after %s", e.Waited)
	}
	return text
}

// Hint says what to do.
func (e *BusyError) Hint() string {
	at := fmt.Sprintf("--cluster %s --service %s", short(e.Cluster), e.Service)
	if e.Waited > 0 {
		return fmt.Sprintf("`bake ecs status %s` shows what it waits for, `bake ecs stop %s` ends it, and with `busy: replace` this one takes its place", at, at)
	}
	return fmt.Sprintf("`bake ecs wait %s` follows it; with `busy: wait` bake waits for it, with `busy: replace` it takes its place", at)
}

// busy is the deployment of somebody else that goes on; nil if there is none,
// or it shall be replaced.
func (d *deployment) busy() *BusyError {
	if d.out.Service == "" || d.live == nil || !inProgress(d.live) || d.isWanted() {
		return nil
	}
	busy := d.busyWith(d.live)
	if d.replaces[busy.Deployment] {
		return nil
	}
	return busy
}

func (d *deployment) busyWith(live *types.Service) *BusyError {
	p := primaryOf(live)
	return &BusyError{Cluster: d.Cluster, Service: d.out.Service, Deployment: aws.ToString(p.Id), Revision: short(aws.ToString(p.TaskDefinition)), Since: aws.ToTime(p.CreatedAt)}
}

// giveWay waits until the deployment of somebody else is over, takes note that
// it is to be replaced, or refuses to do either.
func (d *deployment) giveWay(ctx context.Context, busy *BusyError) error {
	busy.By = d.registeredBy(ctx, busy.Revision)
	limit := cmp.Or(d.out.Patience, max(d.out.Wait, time.Minute))
	if d.patience.IsZero() {
		d.patience = time.Now().Add(limit)
	}
	switch d.out.Busy {
	case "refuse":
		return busy
	case "replace":
		d.story.Log("%v: this one takes its place", busy)
		d.replaces[busy.Deployment] = true
		return d.lookAgain(ctx)
	}
	d.story.Log("waiting: %v", busy)
	for {
		if err := d.lookAgain(ctx); err != nil {
			return err
		}
		if d.live == nil || !inProgress(d.live) {
			d.story.Log("deployment %s is over", busy.Deployment)
			return nil
		}
		if time.Now().After(d.patience) {
			busy.Waited = limit
			return busy
		}
		if now := d.busyWith(d.live); now.Deployment != busy.Deployment {
			now.By, busy = d.registeredBy(ctx, now.Revision), now
			d.story.Log("waiting: %v", busy)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(period):
		}
	}
}

// lookAgain looks at the service anew.
func (d *deployment) lookAgain(ctx context.Context) (err error) {
	if d.live, err = d.describeService(ctx, d.out.Service); err != nil {
		return err
	}
	return d.seen(ctx)
}

// registeredBy is the run of bake that registered a revision, as far as its
// tags can be read.
func (d *deployment) registeredBy(ctx context.Context, revision string) string {
	out, err := d.ecs.DescribeTaskDefinition(ctx, &awsecs.DescribeTaskDefinitionInput{TaskDefinition: &revision, Include: []types.TaskDefinitionField{types.TaskDefinitionFieldTags}})
	if err != nil {
		return ""
	}
	return tagValue(out.Tags, amazon.TagRun)
}

// tellReplaced tells of deployments of others that began between the last look
// at the service and the call that began this one: it has taken their place.
func (d *deployment) tellReplaced(now *types.Service) {
	for _, other := range now.Deployments {
		known := func(k types.Deployment) bool { return aws.ToString(k.Id) == aws.ToString(other.Id) }
		if aws.ToString(other.Status) == "PRIMARY" || other.RolloutState != types.DeploymentRolloutStateInProgress || slices.ContainsFunc(d.live.Deployments, known) {
			continue
		}
		d.story.Log("deployment %s of %s was begun by somebody else at the same moment: this one takes its place", aws.ToString(other.Id), short(aws.ToString(other.TaskDefinition)))
	}
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
