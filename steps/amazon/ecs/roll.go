package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/builder"
	"bake/steps/amazon"
)

// roll runs the tasks before, changes the service, follows it and runs the
// tasks after. It reports whether it did anything.
func (d *deployment) roll(ctx context.Context) (bool, error) {
	if d.out.Service == "" {
		for i, once := range slices.Concat(d.out.Before, d.out.After) {
			if err := d.runOnce(ctx, once, fmt.Sprintf("task %d", i+1)); err != nil {
				return true, err
			}
		}
		return true, nil
	}
	if d.live != nil && inProgress(d.live) && d.isWanted() {
		d.story.Log("deployment %s of %s is going on already: following it", aws.ToString(ptr(primaryOf(d.live)).Id), short(d.arn))
		t := d.target(d.live, "")
		if err := d.watch(ctx, d.live, t, nil); err != nil {
			return true, err
		}
		return true, d.finish(ctx)
	}
	u, keep := d.plan(ctx)
	if d.live != nil && len(u.Changes) == 0 && !u.In.ForceNewDeployment {
		if keep && d.want.Desired != nil && *d.want.Desired != d.live.DesiredCount {
			d.story.Log("the service scales by itself: desired_count stays at %d", d.live.DesiredCount)
		}
		return false, d.record(ctx, d.live)
	}
	for i, once := range d.out.Before {
		if err := d.runOnce(ctx, once, fmt.Sprintf("before %d", i+1)); err != nil {
			return true, err
		}
	}
	if err := d.change(ctx, u); err != nil {
		return true, err
	}
	return true, d.finish(ctx)
}

func ptr[T any](v T) *T { return &v }

// isWanted reports whether the service's newest deployment brings just what is
// wanted.
func (d *deployment) isWanted() bool {
	now := aws.ToString(primaryOf(d.live).TaskDefinition)
	same := d.as == now
	if d.as == "" && d.runs != nil {
		same = aws.ToString(d.runs.TaskDefinitionArn) == now && identical(definitionOf(d.runs), d.def)
	}
	return same && len(d.want.update(d.live, now, true).Changes) == 0
}

func inProgress(s *types.Service) bool {
	return primaryOf(s).RolloutState == types.DeploymentRolloutStateInProgress
}

// plan compares the service with what is wanted.
func (d *deployment) plan(ctx context.Context) (u update, keep bool) {
	if d.live == nil {
		return update{In: &awsecs.UpdateServiceInput{}}, false
	}
	keep = !d.out.Override && d.want.Desired != nil && d.scales(ctx, aws.ToString(d.live.ServiceName))
	u = d.want.update(d.live, d.arn, keep)
	// A service that stands on a deployment that failed gets a new one.
	u.In.ForceNewDeployment = d.out.Force || primaryOf(d.live).RolloutState == types.DeploymentRolloutStateFailed
	return u, keep
}

// finish runs the tasks after and records the revision as good.
func (d *deployment) finish(ctx context.Context) error {
	if d.out.Wait == 0 {
		return nil
	}
	for i, once := range d.out.After {
		if err := d.runOnce(ctx, once, fmt.Sprintf("after %d", i+1)); err != nil {
			return err
		}
	}
	return d.record(ctx, d.live)
}

// change makes or updates the service, and follows that.
func (d *deployment) change(ctx context.Context, u update) error {
	if d.live == nil {
		return d.create(ctx)
	}
	before := aws.ToString(d.live.TaskDefinition)
	known := map[string]bool{}
	for _, status := range []types.DesiredStatus{types.DesiredStatusRunning, types.DesiredStatusStopped} {
		arns, err := d.taskARNs(ctx, aws.ToString(d.live.ServiceName), status)
		if err != nil && !amazon.IsCode(err, unknowable...) {
			return fmt.Errorf("tasks of service %s: %w", d.out.Service, d.explain(ctx, err))
		}
		for _, arn := range arns {
			known[arn] = true
		}
	}
	for _, c := range u.Changes {
		d.story.Log("%s: %s -> %s", c.Path, plainOr(c.Old, "nothing"), plainOr(c.New, "nothing"))
	}
	fresh, err := d.send(ctx, u)
	if err != nil {
		return err
	}
	t := d.target(fresh, before)
	if aws.ToString(ptr(primaryOf(fresh)).Id) == aws.ToString(ptr(primaryOf(d.live)).Id) {
		t.Scale = true // no new tasks are needed for what changed, but perhaps more or fewer
	}
	old := d.live.Events
	d.live = fresh
	return d.watch(ctx, fresh, t, known, old...)
}

func plainOr(v any, none string) string {
	if v == nil {
		return none
	}
	return plain(v)
}

// send updates the service. UpdateService takes no token and is not idempotent
// when it forces new tasks: it is sent once, right after a look whether the
// service still is what was compared; and when its answer is lost, another
// look tells whether it was carried out.
func (d *deployment) send(ctx context.Context, u update) (*types.Service, error) {
	was := aws.ToString(ptr(primaryOf(d.live)).Id)
	now, err := d.mustService(ctx, aws.ToString(d.live.ServiceArn))
	if err != nil {
		return nil, err
	}
	if id := aws.ToString(ptr(primaryOf(now)).Id); id != was {
		return nil, d.busyWith(now)
	}
	const attempts = 5
	for n := 1; ; n++ {
		out, err := d.ecs.UpdateService(ctx, u.In, once)
		if err == nil {
			d.tellReplaced(out.Service)
			return out.Service, nil
		}
		if n == attempts || ctx.Err() != nil || !amazon.IsUnsure(err) {
			return nil, fmt.Errorf("updating service %s: %w", d.out.Service, d.explain(ctx, err))
		}
		pause(ctx, n)
		now, lookErr := d.mustService(ctx, aws.ToString(d.live.ServiceArn))
		if lookErr != nil {
			return nil, errors.Join(err, lookErr)
		}
		if aws.ToString(ptr(primaryOf(now)).Id) != was || len(d.want.update(now, d.arn, true).Changes) == 0 && !u.In.ForceNewDeployment {
			return now, nil // it was carried out
		}
	}
}

// create makes the service. It is the run's to remove until it has worked.
func (d *deployment) create(ctx context.Context) error {
	if p := d.want.placementOf(nil); d.def.NetworkMode == types.NetworkModeAwsvpc && p.network == nil {
		return &missingError{what: fmt.Sprintf("service %s needs a network: its task definition is awsvpc", d.out.Service), hint: "add `network: {subnets: [...]}` to the output"}
	}
	in := d.want.creation(d.out.Service, d.Cluster, d.arn)
	r, err := d.sc.Create(ctx, d.resource(serviceKind, d.out.Service), func(ctx context.Context, r builder.Resource) (string, error) {
		in.ClientToken = &r.Token
		in.Tags = tagList(d.tags(map[string]string{amazon.TagToken: r.Token}))
		out, err := d.ecs.CreateService(ctx, in)
		if amazon.IsCode(err, "InvalidParameterException") {
			// Somebody else made it since it was looked for.
			if live, lookErr := d.describeService(ctx, d.out.Service); lookErr == nil && live != nil && tagValue(live.Tags, amazon.TagToken) != r.Token {
				return "", d.busyWith(live)
			}
		}
		if err != nil {
			return "", d.explain(ctx, err)
		}
		return aws.ToString(out.Service.ServiceArn), nil
	})
	if err != nil {
		return err
	}
	d.story.Log("made service %s with %s", d.out.Service, short(d.arn))
	fresh, err := d.mustSee(ctx, r.ID)
	if err != nil {
		return err
	}
	d.live = fresh
	if err := d.watch(ctx, fresh, d.target(fresh, ""), map[string]bool{}); err != nil {
		return err
	}
	d.sc.Keep(r)
	return nil
}

// mustSee is mustService for what was made a moment ago.
func (c *Client) mustSee(ctx context.Context, arn string) (*types.Service, error) {
	for n := 0; ; n++ {
		s, err := c.mustService(ctx, arn)
		if err == nil || n == 20 || ctx.Err() != nil {
			return s, err
		}
		var missing *missingError
		if !errors.As(err, &missing) {
			return nil, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(period / 2):
		}
	}
}

// target is the service's newest deployment, as what is followed.
func (d *deployment) target(s *types.Service, before string) target {
	p := primaryOf(s)
	t := target{Deployment: aws.ToString(p.Id), ServiceDeployment: aws.ToString(s.CurrentServiceDeployment), Revision: aws.ToString(p.TaskDefinition), Before: before}
	if p.CreatedAt != nil {
		t.Since = p.CreatedAt.Add(-time.Second)
	}
	if before == "" {
		for _, other := range s.Deployments {
			if aws.ToString(other.Id) != t.Deployment {
				t.Before = aws.ToString(other.TaskDefinition)
			}
		}
	}
	return t
}

// watch follows a deployment to its end.
// known are tasks, old are events from before it.
func (d *deployment) watch(ctx context.Context, s *types.Service, t target, known map[string]bool, old ...types.ServiceEvent) error {
	if d.out.Wait == 0 {
		d.story.Log("not waiting for deployment %s", t.Deployment)
		return nil
	}
	if known == nil {
		known = map[string]bool{}
	}
	wait := d.out.Wait + shifting(s.DeploymentConfiguration)
	w := &watch{Client: d.Client, story: d.story, service: s, follow: newFollower(t, d.out.GiveUp), wait: wait, known: known}
	for _, e := range old {
		w.follow.events[aws.ToString(e.Id)] = true
	}
	err := w.run(ctx)
	if w.follow.last != nil {
		d.live = w.follow.last
	}
	return err
}
