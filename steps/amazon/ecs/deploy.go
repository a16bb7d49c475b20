package ecs

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/builder"
)

// Publish deploys: it makes what differs so, follows it, and returns when the
// service serves the image. Doing it again does nothing.
func (o *Output) Publish(ctx context.Context, sc *builder.Scope, _ builder.Artifact) (builder.Published, error) {
	d, err := o.begin(ctx, sc)
	if err != nil {
		return builder.Published{}, err
	}
	d.sc = sc
	if err := d.prepare(ctx, sc.Outputs); err != nil {
		return builder.Published{}, err
	}
	if err := d.verify(ctx); err != nil {
		return builder.Published{}, err
	}
	if err := d.ensureRole(ctx); err != nil {
		return builder.Published{}, err
	}
	if err := d.ensureRevision(ctx); err != nil {
		return builder.Published{}, err
	}
	changed, err := d.roll(ctx)
	if err != nil {
		return builder.Published{}, err
	}
	return d.published(changed), nil
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
	d := &deployment{Client: c, out: o, story: story, want: wanted{ServiceFields: o.ServiceFields, rawFields: raw}}
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
	if d.live == nil {
		return d, nil
	}
	if k := d.live.DeploymentController; k != nil && k.Type != types.DeploymentControllerTypeEcs && k.Type != "" {
		return nil, fmt.Errorf("service %s is deployed by %s, not by ECS itself: bake does not drive that", o.Service, k.Type)
	}
	if arn := aws.ToString(d.live.TaskDefinition); arn != "" {
		if d.runs, err = c.revision(ctx, arn); err != nil {
			return nil, err
		}
	}
	return d, nil
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
