package ecs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/builder"
)

// Publish deploys: it makes what differs so, follows it, and returns when the
// service serves the image. Doing it again does nothing.
func (o *Output) Publish(ctx context.Context, sc *builder.Scope, in builder.Artifact) (builder.Published, error) {
	d, err := o.begin(ctx, sc)
	if err != nil {
		return builder.Published{}, err
	}
	d.sc = sc
	if in.Image != nil {
		d.built = *in.Image
	}
	changed, err := d.deploy(ctx, sc.Outputs)
	if err != nil {
		return builder.Published{}, err
	}
	return d.published(changed), nil
}

// deploy works out what the service shall be and makes it so. It reports
// whether it did anything. Who deploys the service at the same time comes
// first, and what shall be is worked out anew on top of that.
func (d *deployment) deploy(ctx context.Context, outputs map[string]map[string]string) (changed bool, err error) {
	for {
		if err := d.prepare(ctx, outputs); err != nil {
			return false, err
		}
		if busy := d.busy(); busy != nil {
			if err := d.giveWay(ctx, busy); err != nil {
				return false, err
			}
			continue
		}
		if err := d.verify(ctx); err != nil {
			return false, err
		}
		if err := d.ensureRole(ctx); err != nil {
			return false, err
		}
		if err := d.ensureRevision(ctx); err != nil {
			return false, err
		}
		changed, err := d.roll(ctx)
		busy, ok := errors.AsType[*BusyError](err)
		if !ok {
			return changed, err
		}
		if err := d.giveWay(ctx, busy); err != nil {
			return changed, err
		}
	}
}

// A deployment is one run of an output.
type deployment struct {
	*Client
	out   *Output
	story Story
	sc    *builder.Scope        // nil: nothing is to be changed
	live  *types.Service        // nil: it is to be made
	runs  *types.TaskDefinition // what the service shall run now; nil: there is none
	want  wanted
	def   *Definition // what it shall run
	as    string      // ARN of a revision that is taken as it is; empty: def is registered
	arn   string      // of the revision that says what def says
	fresh bool        // it was registered by this deployment

	built    builder.Image   // what the build made, or another one that a registry holds
	patience time.Time       // until when it gives way to others; zero: it has not had to
	replaces map[string]bool // deployments of others whose place it takes, by id
}

// begin asks what there is.
func (o *Output) begin(ctx context.Context, story Story) (*deployment, error) {
	c, err := Open(ctx, o.deps, o.Access, o.Cluster)
	if err != nil {
		return nil, err
	}
	raw, diags := o.raw()
	if err := diags.Err(); err != nil {
		return nil, err
	}
	d := &deployment{Client: c, out: o, story: story, replaces: map[string]bool{}, want: wanted{ServiceFields: o.ServiceFields, rawFields: raw}}
	if d.want.Network, err = c.defaultSubnets(ctx, o.Network); err != nil {
		return nil, err
	}
	name := cmp.Or(o.Service, o.Like)
	if name == "" {
		return d, nil
	}
	if d.live, err = c.describeService(ctx, name); err != nil {
		return nil, err
	}
	if d.live == nil && o.Service == "" {
		_, err := c.mustService(ctx, name)
		return nil, err
	}
	if d.live != nil && aws.ToString(d.live.Status) == "DRAINING" {
		story.Log("service %s is being deleted: waiting until it is gone", o.Service)
		if err := c.awaitGone(ctx, o.Service, nil); err != nil {
			return nil, err
		}
		d.live = nil
	}
	return d, d.seen(ctx)
}

// seen takes in what the service runs, after a look at it.
func (d *deployment) seen(ctx context.Context) (err error) {
	d.runs = nil
	if d.live == nil {
		return nil
	}
	if k := d.live.DeploymentController; k != nil && k.Type != types.DeploymentControllerTypeEcs && k.Type != "" {
		return fmt.Errorf("service %s is deployed by %s, not by ECS itself: bake does not drive that", d.out.Service, k.Type)
	}
	if arn := aws.ToString(d.live.TaskDefinition); arn != "" {
		d.runs, err = d.revision(ctx, arn)
	}
	return err
}

// published is what the deployment came to.
func (d *deployment) published(changed bool) builder.Published {
	p := builder.Published{Unchanged: !changed, Values: map[string]string{"cluster": short(d.Cluster), "region": d.cfg.Region, "task_definition": d.arn, "revision": short(d.arn)}}
	if c, err := containerNamed(d.def, d.out.Container); err == nil {
		p.Values["image"] = aws.ToString(c.Image)
	}
	if d.out.Service == "" {
		p.Summary = fmt.Sprintf("ran %d tasks of %s", len(d.out.Before)+len(d.out.After), short(d.arn))
		return p
	}
	p.Values["service"], p.Values["name"] = d.out.Service, short(d.Cluster)+"/"+d.out.Service
	if _, digest, ok := strings.Cut(p.Values["image"], "@"); ok {
		p.Values["digest"] = digest
	}
	verb := "deployed"
	if !changed {
		verb = "already runs"
	}
	count := ""
	if d.live != nil {
		p.Values["service_arn"] = aws.ToString(d.live.ServiceArn)
		p.Values["deployment"] = aws.ToString(ptr(primaryOf(d.live)).Id)
		if changed && d.out.Wait > 0 || !changed {
			count = fmt.Sprintf(" (%d of %d running)", d.live.RunningCount, d.live.DesiredCount)
		}
	}
	switch {
	case d.out.Wait == 0 && changed:
		p.Summary = fmt.Sprintf("service %s goes to %s; not waited for", d.out.Service, short(d.arn))
	case verb == "already runs":
		p.Summary = fmt.Sprintf("service %s already runs %s%s", d.out.Service, short(d.arn), count)
	default:
		p.Summary = fmt.Sprintf("service %s serves %s%s", d.out.Service, short(d.arn), count)
	}
	return p
}
