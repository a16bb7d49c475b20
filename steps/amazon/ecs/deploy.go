package ecs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/builder"
	"bake/steps/amazon"
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

// prepare works out the task definition that shall run.
func (d *deployment) prepare(ctx context.Context, outputs map[string]map[string]string) error {
	if err := d.base(ctx); err != nil {
		return err
	}
	if d.as == "" {
		if err := d.setImages(ctx, outputs); err != nil {
			return err
		}
		if err := d.out.apply(d.def, d.cfg.Region); err != nil {
			return err
		}
		if err := d.nameRoles(ctx); err != nil {
			return err
		}
	}
	d.want.Container = d.out.Container
	if main, err := containerNamed(d.def, d.out.Container); err == nil {
		d.want.Container = aws.ToString(main.Name)
	}
	return nil
}

// nameRoles turns names of roles into ARNs, of the account that deploys.
func (d *deployment) nameRoles(ctx context.Context) error {
	for _, role := range []**string{&d.def.TaskRoleArn, &d.def.ExecutionRoleArn} {
		name := aws.ToString(*role)
		if name == "" || strings.HasPrefix(name, "arn:") {
			continue
		}
		caller, err := d.deps.Cloud.Caller(ctx, d.access)
		if err != nil {
			return err
		}
		*role = aws.String(fmt.Sprintf("arn:%s:iam::%s:role/%s", partition(caller.ARN), caller.Account, strings.TrimPrefix(name, "/")))
	}
	return nil
}

// partition is aws, aws-cn or aws-us-gov, as an ARN of the account says it.
func partition(arn string) string {
	parts := strings.SplitN(arn, ":", 3)
	if len(parts) < 3 {
		return "aws"
	}
	return parts[1]
}

// base is the definition before the changes: a revision, the template's own,
// or what the service runs.
func (d *deployment) base(ctx context.Context) error {
	if d.out.Revision != "" {
		return d.useRevision(ctx, d.out.Revision)
	}
	def, diags := d.out.Task.definition(true)
	if err := diags.Err(); err != nil {
		return err
	}
	switch {
	case def != nil:
		d.def = clone(def)
	case d.out.Task.named() != "":
		td, err := d.revision(ctx, d.out.Task.named())
		if err != nil {
			return err
		}
		d.def = clone(definitionOf(td))
	case d.runs != nil:
		d.def = clone(definitionOf(d.runs))
	default:
		return &missingError{what: fmt.Sprintf("service %s does not exist yet, and there is no task definition to make it with", d.out.Service),
			hint: "write `task_definition: task.json` into the output; `bake ecs init` writes one from a service that exists"}
	}
	if d.def.Family == nil {
		d.def.Family = aws.String(cmp.Or(d.out.Service, "bake"))
	}
	return nil
}

// useRevision takes a revision as it is: a number of the service's family,
// FAMILY:NUMBER, an ARN, or "good".
func (d *deployment) useRevision(ctx context.Context, name string) error {
	if name == "good" {
		good, err := d.lastGood(ctx, d.live)
		if err != nil {
			return err
		}
		name = good
	} else if _, err := strconv.Atoi(name); err == nil && d.runs != nil {
		name = aws.ToString(d.runs.Family) + ":" + name
	}
	td, err := d.revision(ctx, name)
	if err != nil {
		return err
	}
	if td.Status != types.TaskDefinitionStatusActive {
		return fmt.Errorf("revision %s is not active any more: AWS starts no new tasks of it", short(aws.ToString(td.TaskDefinitionArn)))
	}
	d.as, d.def = aws.ToString(td.TaskDefinitionArn), definitionOf(td)
	return nil
}

// ensureRevision registers the definition, unless there is an identical one.
func (d *deployment) ensureRevision(ctx context.Context) (err error) {
	if d.arn = d.as; d.arn != "" {
		return nil
	}
	d.arn, d.fresh, err = d.register(ctx, d.def, d.runs, d.tags(nil))
	if err == nil && d.fresh {
		d.story.Log("registered %s", short(d.arn))
	}
	return err
}

// tags are those of everything that the deployment makes.
func (d *deployment) tags(more map[string]string) map[string]string {
	all := map[string]string{amazon.TagRun: string(d.sc.Run)}
	if p := d.sc.Plan; p != nil && p.Name != "" {
		all[amazon.TagTemplate] = p.Name
	}
	maps.Copy(all, d.out.Tags)
	maps.Copy(all, more)
	return all
}

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
	if err := d.waitForOthers(ctx); err != nil {
		return false, err
	}
	if d.live != nil && d.goingOn() {
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

// goingOn reports whether the service is being deployed to just what is wanted.
func (d *deployment) goingOn() bool {
	p := primaryOf(d.live)
	return inProgress(d.live) && aws.ToString(p.TaskDefinition) == d.arn && len(d.want.update(d.live, d.arn, true).Changes) == 0
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
		return nil, &BusyError{Service: d.out.Service, Deployment: id, Revision: short(aws.ToString(now.TaskDefinition))}
	}
	const attempts = 5
	for n := 1; ; n++ {
		out, err := d.ecs.UpdateService(ctx, u.In, once)
		if err == nil {
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

// runOnce runs one task and believes its exit code.
func (d *deployment) runOnce(ctx context.Context, o Once, place string) error {
	revision, container := d.arn, cmp.Or(o.Container, d.want.Container)
	if o.Task != "" {
		td, err := d.revision(ctx, o.Task)
		if err != nil {
			return err
		}
		revision = aws.ToString(td.TaskDefinitionArn)
		c, err := containerNamed(definitionOf(td), o.Container)
		if err != nil {
			return err
		}
		container = aws.ToString(c.Name)
	}
	name := cmp.Or(o.Name, place)
	r, err := d.sc.Create(ctx, d.resource(taskKind, place), func(ctx context.Context, r builder.Resource) (string, error) {
		tags := d.tags(map[string]string{amazon.TagToken: r.Token})
		arns, err := d.start(ctx, o.input(d.Cluster, revision, container, r.Token, d.want.placementOf(d.live), tags))
		return strings.Join(arns, ","), err
	})
	if err != nil {
		return err
	}
	d.story.Log("running %s: %s of %s", name, strings.Join(o.Command, " "), short(revision))
	if err := d.awaitTasks(ctx, d.story, name, strings.Split(r.ID, ","), o.Timeout); err != nil {
		return err
	}
	d.story.Log("%s is done", name)
	d.sc.Keep(r)
	return nil
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
