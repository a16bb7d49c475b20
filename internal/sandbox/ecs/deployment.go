package ecs

import (
	"math"
	"slices"
	"strings"
	"time"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs/wire"
	"bake/internal/sandbox/epoch"
)

// A serviceDeployment is what became of one call that made a deployment.
type serviceDeployment struct {
	wire.ServiceDeployment
	Rollout string  // id of the deployment that it is about
	Stages  *stages // nil: it rolls
}

func (d *serviceDeployment) over() bool {
	return slices.Contains([]string{"SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED"}, d.Status)
}

// finish ends it. The lock is held.
func (d *serviceDeployment) finish(c *T, status, reason string) {
	d.Status, d.StatusReason = status, reason
	d.FinishedAt, d.UpdatedAt = epoch.At(c.now()), epoch.At(c.now())
	if status == "STOPPED" {
		d.StoppedAt = d.FinishedAt
	}
	if b := d.DeploymentCircuitBreaker; b != nil && b.Status == "MONITORING" {
		b.Status = "MONITORING_COMPLETE"
	}
	if a := d.Alarms; a != nil && a.Status == "MONITORING" {
		a.Status = "MONITORING_COMPLETE"
	}
	d.LifecycleStage = ""
}

// succeed ends it well: the new revision serves, or the one that it went back to.
func (d *serviceDeployment) succeed(c *T) {
	if strings.HasPrefix(d.Status, "ROLLBACK") {
		d.finish(c, "ROLLBACK_SUCCESSFUL", d.StatusReason)
		return
	}
	d.finish(c, "SUCCESSFUL", "")
}

// deploying is the service deployment that is not over, or nil.
func (s *service) deploying() *serviceDeployment {
	if len(s.History) == 0 || s.History[0].over() {
		return nil
	}
	return s.History[0]
}

// deploy makes a new PRIMARY deployment of a service as it is now. The lock is held.
func (c *T) deploy(r *region, s *service, rev *revision) {
	number, now := newNumber(), epoch.At(c.now())
	d := &rollout{LoadBalancers: s.green()}
	d.Deployment = wire.Deployment{
		Id: "ecs-svc/" + number, Status: "PRIMARY", TaskDefinition: rev.TaskDefinitionArn, DesiredCount: s.DesiredCount, CreatedAt: now, UpdatedAt: now,
		LaunchType: s.LaunchType, CapacityProviderStrategy: s.CapacityProviderStrategy, PlatformFamily: s.PlatformFamily, NetworkConfiguration: s.NetworkConfiguration,
		RolloutState: "IN_PROGRESS", RolloutStateReason: "ECS deployment ecs-svc/" + number + " in progress.", VolumeConfigurations: s.Volumes, ServiceConnectConfiguration: s.Connect,
	}
	if s.PlatformVersion != "" {
		d.PlatformVersion = fargateVersion(s.PlatformVersion)
	}
	name := lastPart(s.ClusterArn) + "/" + s.ServiceName
	d.Revision = r.arn("service-revision/" + name + "/" + number)
	s.Revisions[d.Revision] = &wire.ServiceRevision{
		ServiceRevisionArn: d.Revision, ServiceArn: s.ServiceArn, ClusterArn: s.ClusterArn, TaskDefinition: rev.TaskDefinitionArn, CreatedAt: now,
		LaunchType: d.LaunchType, CapacityProviderStrategy: d.CapacityProviderStrategy, PlatformFamily: d.PlatformFamily, PlatformVersion: d.PlatformVersion,
		NetworkConfiguration: d.NetworkConfiguration, LoadBalancers: s.LoadBalancers, ServiceRegistries: s.ServiceRegistries, VolumeConfigurations: s.Volumes,
		ServiceConnectConfiguration: s.Connect, ContainerImages: images(rev), ResolvedConfiguration: resolved(d.LoadBalancers),
	}
	if old := s.deploying(); old != nil {
		old.finish(c, "STOPPED", "The service deployment was stopped because a newer service deployment was started.")
	}
	sd := &serviceDeployment{Rollout: d.Id}
	sd.ServiceDeployment = wire.ServiceDeployment{
		ServiceDeploymentArn: r.arn("service-deployment/" + name + "/" + newShortID()), ServiceArn: s.ServiceArn, ClusterArn: s.ClusterArn,
		CreatedAt: now, StartedAt: now, UpdatedAt: now, Status: "IN_PROGRESS", DeploymentConfiguration: s.DeploymentConfiguration,
		TargetServiceRevision: &wire.ServiceRevisionSummary{Arn: d.Revision},
	}
	for _, old := range s.Rollouts {
		old.Status = "ACTIVE"
		sd.SourceServiceRevisions = append(sd.SourceServiceRevisions, wire.ServiceRevisionSummary{Arn: old.Revision})
	}
	sd.monitor()
	c.beginStages(sd)
	s.Rollouts = append([]*rollout{d}, s.Rollouts...)
	s.History = append([]*serviceDeployment{sd}, s.History...)
	s.Steady = false
}

// resolved is which of its two target groups a revision has.
func resolved(balancers []wire.LoadBalancer) *wire.ResolvedConfiguration {
	if len(balancers) == 0 {
		return nil
	}
	out := &wire.ResolvedConfiguration{}
	for _, lb := range balancers {
		r := wire.ServiceRevisionLoadBalancer{TargetGroupArn: lb.TargetGroupArn}
		if lb.AdvancedConfiguration != nil {
			r.ProductionListenerRule = lb.AdvancedConfiguration.ProductionListenerRule
		}
		out.LoadBalancers = append(out.LoadBalancers, r)
	}
	return out
}

func images(rev *revision) []wire.ContainerImage {
	var all []wire.ContainerImage
	for _, d := range rev.ContainerDefinitions {
		all = append(all, wire.ContainerImage{ContainerName: d.Name, Image: d.Image})
	}
	return all
}

// monitor sets what is watched while the deployment goes on.
func (d *serviceDeployment) monitor() {
	d.DeploymentCircuitBreaker = &wire.ServiceDeploymentCircuitBreaker{Status: "DISABLED"}
	if b := d.DeploymentConfiguration.DeploymentCircuitBreaker; b != nil && b.Enable {
		d.DeploymentCircuitBreaker.Status = "MONITORING"
	}
	if a := d.DeploymentConfiguration.Alarms; a != nil {
		d.Alarms = &wire.ServiceDeploymentAlarms{AlarmNames: a.AlarmNames, Status: "DISABLED"}
		if a.Enable {
			d.Alarms.Status = "MONITORING"
		}
	}
}

// threshold is how many tasks may fail before the circuit breaker trips: half
// of those desired, at least 3 and at most 200, unless it is configured.
func threshold(b *wire.DeploymentCircuitBreaker, desired int32) int32 {
	percent := func(v int32) int32 { return int32(math.Ceil(float64(desired) * float64(v) / 100)) }
	if t := b.ThresholdConfiguration; t != nil {
		switch t.Type {
		case "COUNT":
			return max(1, t.Value)
		case "UNBOUNDED_PERCENT":
			return max(1, percent(t.Value))
		case "BOUNDED_PERCENT":
			return min(max(percent(t.Value), 3), 200)
		}
	}
	return min(max(percent(50), 3), 200)
}

// judge trips the circuit breaker and answers to alarms. The lock is held.
func (c *T) judge(r *region, s *service, d *serviceDeployment) {
	p := s.Rollouts[0]
	if p.Id != d.Rollout || d.Status != "IN_PROGRESS" {
		return
	}
	breaker := d.DeploymentConfiguration.DeploymentCircuitBreaker
	if breaker != nil && breaker.Enable {
		m := d.DeploymentCircuitBreaker
		m.Threshold, m.FailureCount = threshold(breaker, p.DesiredCount), int32(p.Failures)
		if m.FailureCount >= m.Threshold {
			m.Status = "TRIGGERED"
			c.fail(r, s, d, "tasks failed to start.", "ECS deployment circuit breaker: tasks failed to start.", breaker.Rollback)
			return
		}
	}
	alarms := d.DeploymentConfiguration.Alarms
	if alarms == nil || !alarms.Enable || c.deps.Alarms == nil {
		return
	}
	if firing := c.deps.Alarms.Firing(r.Account, r.Region, alarms.AlarmNames); len(firing) > 0 {
		d.Alarms.Status, d.Alarms.TriggeredAlarmNames = "TRIGGERED", firing
		c.fail(r, s, d, "alarm detected.", "ECS deployment failed: alarm detected.", alarms.Rollback)
	}
}

// alarmTime is how long a deployment that serves is still watched by its alarms.
func (c *T) alarmTime(r *region, d *serviceDeployment) time.Duration {
	a := d.DeploymentConfiguration.Alarms
	if a == nil || !a.Enable || c.deps.Alarms == nil {
		return 0
	}
	return c.deps.Alarms.Evaluates(r.Account, r.Region, a.AlarmNames)
}

// fail ends a deployment that does not come up, and goes back if it shall and can.
func (c *T) fail(r *region, s *service, d *serviceDeployment, event, reason string, back bool) {
	p := s.Rollouts[0]
	p.RolloutState, p.RolloutStateReason, p.UpdatedAt = "FAILED", reason, epoch.At(c.now())
	c.event(s, "(deployment %s) deployment failed: %s", p.Id, event)
	if back && c.rollBack(r, s, d, "Service deployment rolled back because "+because(d)) {
		return
	}
	d.finish(c, "STOPPED", "Service deployment stopped because "+because(d))
}

func because(d *serviceDeployment) string {
	switch {
	case d.Alarms != nil && d.Alarms.Status == "TRIGGERED":
		return "of the alarm(s): " + strings.Join(d.Alarms.TriggeredAlarmNames, ", ") + "."
	case d.DeploymentCircuitBreaker.Status == "TRIGGERED":
		return "the circuit breaker threshold was exceeded."
	}
	return "a lifecycle hook did not succeed."
}

// rollBack makes the last deployment that was completed PRIMARY again. It
// reports false if there is none.
func (c *T) rollBack(r *region, s *service, d *serviceDeployment, reason string) bool {
	i := slices.IndexFunc(s.Rollouts, func(o *rollout) bool { return o.Completed && o.Id != d.Rollout })
	if i < 0 {
		return false
	}
	now, to := epoch.At(c.now()), s.Rollouts[i]
	if d.Stages != nil { // requests go back first
		c.shift(s, d, 0)
		c.shiftTest(s, 0)
		d.Stages.Test, d.LifecycleStage = false, ""
	}
	for _, o := range s.Rollouts {
		o.Status, o.DesiredCount = "ACTIVE", 0
	}
	to.Status, to.DesiredCount, to.UpdatedAt = "PRIMARY", s.DesiredCount, now
	to.RolloutState, to.RolloutStateReason = "IN_PROGRESS", "ECS deployment circuit breaker: rolling back to deploymentId "+to.Id+"."
	to.FailedTasks, to.Failures = 0, 0
	s.Rollouts = append([]*rollout{to}, slices.Delete(s.Rollouts, i, i+1)...)
	if rev := s.Revisions[to.Revision]; rev != nil {
		s.TaskDefinition, s.NetworkConfiguration, s.LoadBalancers = rev.TaskDefinition, rev.NetworkConfiguration, orEmpty(rev.LoadBalancers)
		s.CapacityProviderStrategy, s.LaunchType = rev.CapacityProviderStrategy, rev.LaunchType
	}
	c.event(s, "rolling back to deployment %s.", to.Id)
	d.Status, d.StatusReason, d.UpdatedAt = "ROLLBACK_IN_PROGRESS", reason, now
	d.Rollback = &wire.Rollback{Reason: reason, StartedAt: now, ServiceRevisionArn: to.Revision}
	s.Steady, s.until = false, s.CreatedAt.Time
	return true
}

// findDeployment finds a service deployment by its ARN.
func (r *region) findDeployment(arn string) (*cluster, *service, *serviceDeployment) {
	for _, cl := range r.Clusters {
		for _, s := range cl.Services {
			for _, d := range s.History {
				if d.ServiceDeploymentArn == arn {
					return cl, s, d
				}
			}
		}
	}
	return nil, nil, nil
}

func (c *T) listServiceDeployments(call *api.Call, r *region, in *wire.ListServiceDeploymentsInput) (*wire.ListServiceDeploymentsOutput, error) {
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	s := cl.findService(in.Service)
	if s == nil {
		return nil, api.Errorf("ServiceNotFoundException", "Service not found.")
	}
	briefs, arns := map[string]wire.ServiceDeploymentBrief{}, []string{}
	for _, d := range s.History {
		if len(in.Status) > 0 && !slices.Contains(in.Status, d.Status) || !d.madeWithin(in.CreatedAt) || call.Hidden(d.ServiceDeploymentArn) {
			continue
		}
		arns = append(arns, d.ServiceDeploymentArn)
		briefs[d.ServiceDeploymentArn] = wire.ServiceDeploymentBrief{
			ServiceDeploymentArn: d.ServiceDeploymentArn, ServiceArn: d.ServiceArn, ClusterArn: d.ClusterArn, CreatedAt: d.CreatedAt, StartedAt: d.StartedAt,
			FinishedAt: d.FinishedAt, Status: d.Status, StatusReason: d.StatusReason, TargetServiceRevisionArn: d.TargetServiceRevision.Arn}
	}
	limit := in.MaxResults
	if limit == nil {
		limit = new(int32(20))
	}
	part, next, err := page(arns, limit, in.NextToken)
	out := &wire.ListServiceDeploymentsOutput{ServiceDeployments: []wire.ServiceDeploymentBrief{}, NextToken: next}
	for _, arn := range part {
		out.ServiceDeployments = append(out.ServiceDeployments, briefs[arn])
	}
	return out, err
}

func (d *serviceDeployment) madeWithin(w *wire.CreatedAt) bool {
	return w == nil || (w.After == nil || !d.CreatedAt.Before(w.After.Time)) && (w.Before == nil || !d.CreatedAt.After(w.Before.Time))
}

func (c *T) describeServiceDeployments(call *api.Call, r *region, in *wire.DescribeServiceDeploymentsInput) (*wire.DescribeServiceDeploymentsOutput, error) {
	if len(in.ServiceDeploymentArns) == 0 || len(in.ServiceDeploymentArns) > 20 {
		return nil, badParameter("You must specify between 1 and 20 service deployments.")
	}
	out := &wire.DescribeServiceDeploymentsOutput{ServiceDeployments: []wire.ServiceDeployment{}, Failures: []wire.Failure{}}
	for _, arn := range in.ServiceDeploymentArns {
		cl, s, d := r.findDeployment(arn)
		if d == nil || call.Hidden(arn) {
			out.Failures = append(out.Failures, wire.Failure{Arn: arn, Reason: "MISSING"})
			continue
		}
		out.ServiceDeployments = append(out.ServiceDeployments, c.deploymentView(cl, s, d))
	}
	return out, nil
}

// deploymentView is a service deployment as it is answered, its counts of now.
func (c *T) deploymentView(cl *cluster, s *service, d *serviceDeployment) wire.ServiceDeployment {
	v := d.ServiceDeployment
	counts := func(sum wire.ServiceRevisionSummary) wire.ServiceRevisionSummary {
		for _, o := range s.Rollouts {
			if o.Revision == sum.Arn {
				n := c.count(cl, o)
				sum.RequestedTaskCount, sum.RunningTaskCount, sum.PendingTaskCount = o.DesiredCount, int32(n.running), int32(n.pending)
			}
		}
		return sum
	}
	target := counts(*d.TargetServiceRevision)
	v.TargetServiceRevision = &target
	if d.Stages != nil {
		target.RequestedProductionTrafficWeight, target.RequestedTestTrafficWeight = new(float64(d.Stages.Percent)), new(0.0)
		if d.Stages.Test {
			target.RequestedTestTrafficWeight = new(100.0)
		}
	}
	v.SourceServiceRevisions = []wire.ServiceRevisionSummary{}
	for _, sum := range d.SourceServiceRevisions {
		v.SourceServiceRevisions = append(v.SourceServiceRevisions, counts(sum))
	}
	if b := d.DeploymentConfiguration.DeploymentCircuitBreaker; b != nil && b.Enable && d.DeploymentCircuitBreaker.Threshold == 0 {
		m := *d.DeploymentCircuitBreaker
		m.Threshold = threshold(b, target.RequestedTaskCount)
		v.DeploymentCircuitBreaker = &m
	}
	return v
}

func (c *T) describeServiceRevisions(call *api.Call, r *region, in *wire.DescribeServiceRevisionsInput) (*wire.DescribeServiceRevisionsOutput, error) {
	out := &wire.DescribeServiceRevisionsOutput{ServiceRevisions: []wire.ServiceRevision{}, Failures: []wire.Failure{}}
	for _, arn := range in.ServiceRevisionArns {
		var found *wire.ServiceRevision
		for _, cl := range r.Clusters {
			for _, s := range cl.Services {
				if rev := s.Revisions[arn]; rev != nil {
					found = rev
				}
			}
		}
		if found == nil || call.Hidden(arn) {
			out.Failures = append(out.Failures, wire.Failure{Arn: arn, Reason: "MISSING"})
			continue
		}
		out.ServiceRevisions = append(out.ServiceRevisions, *found)
	}
	return out, nil
}

func (c *T) stopServiceDeployment(call *api.Call, r *region, in *wire.StopServiceDeploymentInput) (*wire.StopServiceDeploymentOutput, error) {
	_, s, d := r.findDeployment(in.ServiceDeploymentArn)
	if d == nil {
		return nil, api.Errorf("ServiceDeploymentNotFoundException", "The service deployment ARN that you specified doesn't exist.")
	}
	if d.Status != "IN_PROGRESS" && d.Status != "PENDING" {
		return nil, api.Errorf("ConflictException", "The service deployment is in the %s state and can't be stopped.", d.Status)
	}
	switch in.StopType {
	case "", "ROLLBACK":
		reason := "Service deployment rolled back because it was stopped by the user."
		s.Rollouts[0].RolloutState, s.Rollouts[0].RolloutStateReason = "FAILED", "ECS deployment stopped by user."
		if !c.rollBack(r, s, d, reason) {
			d.finish(c, "STOPPED", "Service deployment stopped by the user. There is no earlier service revision to roll back to.")
		}
	case "ABORT":
		s.Rollouts[0].RolloutState, s.Rollouts[0].RolloutStateReason = "FAILED", "ECS deployment aborted by user."
		d.finish(c, "STOPPED", "Service deployment aborted by the user.")
	default:
		return nil, badParameter("Invalid stopType '%s'.", in.StopType)
	}
	s.wake()
	return &wire.StopServiceDeploymentOutput{ServiceDeploymentArn: in.ServiceDeploymentArn}, nil
}
