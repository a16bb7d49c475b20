package ecs

import (
	"slices"
	"time"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs/wire"
	"bake/internal/sandbox/epoch"
)

// stages is how far a blue/green, linear or canary deployment has come. All its
// new tasks are started beside the old ones before any request goes to them.
type stages struct {
	Now     int       // index into lifecycle
	Since   time.Time // when it began
	Percent int       // of the production traffic that the new revision gets
	Stepped time.Time // when that changed
	Test    bool      // the test traffic goes to the new revision
	Hooks   []*hook
}

// A hook holds a stage up until somebody says how to go on.
type hook struct {
	wire.DeploymentLifecycleHookDetail
	Stage string
}

// lifecycle are the stages, in order.
func lifecycle() []string {
	return []string{"RECONCILE_SERVICE", "PRE_SCALE_UP", "SCALE_UP", "POST_SCALE_UP", "TEST_TRAFFIC_SHIFT", "POST_TEST_TRAFFIC_SHIFT",
		preProduction, "PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT", "BAKE_TIME", "CLEAN_UP"}
}

// preProduction is a stage for hooks; what it is told as is the one after it.
const preProduction = "PRE_PRODUCTION_TRAFFIC_SHIFT"

// staged reports whether the deployment goes by stages now. Going back does not.
func (d *serviceDeployment) staged() bool { return d.Stages != nil && d.Status == "IN_PROGRESS" }

// beginStages prepares a deployment whose strategy is not ROLLING.
func (c *T) beginStages(d *serviceDeployment) {
	if d.DeploymentConfiguration.Strategy != "ROLLING" {
		d.Stages = &stages{Since: c.now()}
		d.LifecycleStage = lifecycle()[0]
	}
}

// green are the balancers of a new deployment: where the old one is registered
// with a target group, the new one is with the alternate, and the other way round.
func (s *service) green() []wire.LoadBalancer {
	all := slices.Clone(s.LoadBalancers)
	var old *rollout
	for _, o := range s.Rollouts {
		if old == nil && o.Completed {
			old = o
		}
	}
	for i, lb := range all {
		if lb.AdvancedConfiguration == nil || s.DeploymentConfiguration.Strategy == "ROLLING" || old == nil {
			continue
		}
		if i < len(old.LoadBalancers) && old.LoadBalancers[i].TargetGroupArn == lb.TargetGroupArn {
			all[i].TargetGroupArn = lb.AdvancedConfiguration.AlternateTargetGroupArn
		}
	}
	return all
}

// stepStages goes on with a deployment by stages, as far as it can now. The lock is held.
func (c *T) stepStages(r *region, cl *cluster, s *service, d *serviceDeployment) bool {
	if d.Stages.Now < len(lifecycle())-1 {
		c.keepOld(r, cl, s)
	}
	for {
		name := lifecycle()[d.Stages.Now]
		if !c.hooksDone(r, s, d, name) {
			return true
		}
		if !d.staged() || !c.doStage(r, cl, s, d, name) {
			return true
		}
		if d.Stages.Now == len(lifecycle())-1 {
			c.complete(r, cl, s)
			return true
		}
		d.Stages.Now++
		d.Stages.Since, d.UpdatedAt = c.now(), epoch.At(c.now())
		d.LifecycleStage = lifecycle()[d.Stages.Now]
		if d.LifecycleStage == preProduction {
			d.LifecycleStage = "PRODUCTION_TRAFFIC_SHIFT"
		}
	}
}

// keepOld keeps the tasks of the revision that serves, and stops those of
// deployments that were given up.
func (c *T) keepOld(r *region, cl *cluster, s *service) {
	serving := true
	for _, o := range s.Rollouts[1:] {
		if o.Completed && serving {
			serving = false
			c.startTasks(r, cl, s, o, int(s.DesiredCount)-c.count(cl, o).wanted)
			continue
		}
		for _, t := range c.stoppable(cl, s, o) {
			c.retireTask(s, t)
		}
	}
}

// doStage does what a stage is for, and reports whether that is done.
func (c *T) doStage(r *region, cl *cluster, s *service, d *serviceDeployment, name string) bool {
	p := s.Rollouts[0]
	switch name {
	case "RECONCILE_SERVICE":
		c.shift(s, d, 0)
	case "SCALE_UP":
		if !time.Now().Before(s.until) {
			c.startTasks(r, cl, s, p, int(p.DesiredCount)-c.count(cl, p).wanted)
		}
		n := c.count(cl, p)
		return n.settled == int(p.DesiredCount) && n.left == n.settled
	case "TEST_TRAFFIC_SHIFT":
		d.Stages.Test = true
		c.shiftTest(s, 100)
	case "PRODUCTION_TRAFFIC_SHIFT":
		return c.shiftOn(s, d)
	case "BAKE_TIME":
		minutes := time.Duration(*or(d.DeploymentConfiguration.BakeTimeInMinutes, 0)) * time.Minute
		return c.now().Sub(d.Stages.Since) >= c.w.Takes(max(minutes, c.alarmTime(r, d)))
	case "CLEAN_UP":
		left := 0
		for _, o := range s.Rollouts[1:] {
			for _, t := range c.stoppable(cl, s, o) {
				c.retireTask(s, t)
			}
			left += c.count(cl, o).left
		}
		return left == 0
	}
	return true
}

// shiftOn moves production traffic by the next step, and reports whether all has moved.
func (c *T) shiftOn(s *service, d *serviceDeployment) bool {
	next, wait := 100, time.Duration(0)
	cfg := d.DeploymentConfiguration
	switch cfg.Strategy {
	case "CANARY":
		first, bake := 5.0, int32(10)
		if k := cfg.CanaryConfiguration; k != nil {
			first, bake = orPercent(k.CanaryPercent, first), *or(k.CanaryBakeTimeInMinutes, bake)
		}
		wait = time.Duration(bake) * time.Minute
		if d.Stages.Percent == 0 {
			next, wait = int(first), 0
		}
	case "LINEAR":
		step, bake := 10.0, int32(6)
		if k := cfg.LinearConfiguration; k != nil {
			step, bake = orPercent(k.StepPercent, step), *or(k.StepBakeTimeInMinutes, bake)
		}
		wait = time.Duration(bake) * time.Minute
		if d.Stages.Percent == 0 {
			wait = 0
		}
		next = min(100, d.Stages.Percent+max(1, int(step)))
	}
	if c.now().Sub(d.Stages.Stepped) < c.w.Takes(wait) {
		return false
	}
	if next != d.Stages.Percent {
		c.shift(s, d, next)
	}
	return next == 100
}

func orPercent(p *float64, otherwise float64) float64 {
	if p == nil {
		return otherwise
	}
	return *p
}

// shift lets the PRIMARY deployment have percent of the production traffic.
func (c *T) shift(s *service, d *serviceDeployment, percent int) {
	d.Stages.Percent, d.Stages.Stepped = percent, c.now()
	c.route(s, s.Rollouts[0], percent, func(a *wire.AdvancedConfiguration) string { return a.ProductionListenerRule })
}

func (c *T) shiftTest(s *service, percent int) {
	c.route(s, s.Rollouts[0], percent, func(a *wire.AdvancedConfiguration) string { return a.TestListenerRule })
}

// route sets the weights of the listener rules that rule tells.
func (c *T) route(s *service, to *rollout, percent int, rule func(*wire.AdvancedConfiguration) string) {
	for _, lb := range to.LoadBalancers {
		a := lb.AdvancedConfiguration
		if a == nil || c.deps.Targets == nil || rule(a) == "" {
			continue
		}
		other := a.AlternateTargetGroupArn
		if other == lb.TargetGroupArn {
			other = s.primaryGroup(lb)
		}
		if err := c.deps.Targets.Shift(rule(a), lb.TargetGroupArn, other, percent); err != nil {
			c.event(s, "was unable to modify the listener rule %s: %v", rule(a), err)
		}
	}
}

// primaryGroup is the target group that the service names for a container's port.
func (s *service) primaryGroup(lb wire.LoadBalancer) string {
	for _, own := range s.LoadBalancers {
		if own.ContainerName == lb.ContainerName && *own.ContainerPort == *lb.ContainerPort {
			return own.TargetGroupArn
		}
	}
	return ""
}

// hooksDone reports whether nothing holds a stage up. A hook is asked once.
func (c *T) hooksDone(r *region, s *service, d *serviceDeployment, stage string) bool {
	asked := slices.ContainsFunc(d.Stages.Hooks, func(h *hook) bool { return h.Stage == stage })
	if !asked {
		for _, want := range d.DeploymentConfiguration.LifecycleHooks {
			if slices.Contains(want.LifecycleStages, stage) {
				d.Stages.Hooks = append(d.Stages.Hooks, c.newHook(want, stage))
			}
		}
	}
	done := true
	for _, h := range d.Stages.Hooks {
		if h.Stage != stage {
			continue
		}
		if h.Status == "AWAITING_ACTION" && h.ExpiresAt != nil && !c.now().Before(h.ExpiresAt.Time) {
			h.Status = "TIMED_OUT"
			if h.TimeoutAction == "CONTINUE" {
				continue
			}
			c.fail(r, s, d, "lifecycle hook timed out.", "ECS deployment failed: the lifecycle hook of the stage "+stage+" timed out.", true)
			return false
		}
		done = done && h.Status != "AWAITING_ACTION"
	}
	d.LifecycleHookDetails = nil
	for _, h := range d.Stages.Hooks {
		d.LifecycleHookDetails = append(d.LifecycleHookDetails, h.DeploymentLifecycleHookDetail)
	}
	return done
}

// hookTimeout is how long a hook waits if nothing is said.
const hookTimeout = 24 * time.Hour

func (c *T) newHook(want wire.DeploymentLifecycleHook, stage string) *hook {
	h := &hook{Stage: stage}
	h.DeploymentLifecycleHookDetail = wire.DeploymentLifecycleHookDetail{HookId: uuid(), Status: "AWAITING_ACTION", TargetType: "PAUSE", TimeoutAction: "ROLLBACK"}
	timeout := hookTimeout
	if t := want.TimeoutConfiguration; t != nil {
		if t.Action != "" {
			h.TimeoutAction = t.Action
		}
		if t.TimeoutInMinutes != nil {
			timeout = time.Duration(*t.TimeoutInMinutes) * time.Minute
		}
	}
	h.ExpiresAt = epoch.At(c.now().Add(timeout)) // in real time: a person answers
	return h
}

func (c *T) continueServiceDeployment(call *api.Call, r *region, in *wire.ContinueServiceDeploymentInput) (*wire.ContinueServiceDeploymentOutput, error) {
	_, s, d := r.findDeployment(in.ServiceDeploymentArn)
	if d == nil {
		return nil, api.Errorf("ServiceDeploymentNotFoundException", "The service deployment ARN that you specified doesn't exist.")
	}
	if !d.staged() {
		return nil, api.Errorf("ConflictException", "The service deployment is in the %s state and can't be continued.", d.Status)
	}
	i := slices.IndexFunc(d.Stages.Hooks, func(h *hook) bool { return h.HookId == in.HookId && h.Status == "AWAITING_ACTION" })
	if i < 0 {
		return nil, badParameter("The lifecycle hook %s does not await an action.", in.HookId)
	}
	switch in.Action {
	case "", "CONTINUE":
		d.Stages.Hooks[i].Status = "SUCCEEDED"
	case "ROLLBACK":
		d.Stages.Hooks[i].Status = "FAILED"
		c.fail(r, s, d, "rolled back at a lifecycle hook.", "ECS deployment failed: rolled back at a lifecycle hook.", true)
	default:
		return nil, badParameter("Invalid action '%s'.", in.Action)
	}
	s.wake()
	return &wire.ContinueServiceDeploymentOutput{ServiceDeploymentArn: in.ServiceDeploymentArn}, nil
}

// checkStrategy refuses what AWS refuses of a strategy, and hooks that the
// sandbox cannot call.
func checkStrategy(s *service) error {
	d := s.DeploymentConfiguration
	if !slices.Contains([]string{"ROLLING", "BLUE_GREEN", "LINEAR", "CANARY"}, d.Strategy) {
		return badParameter("Invalid deployment strategy '%s'.", d.Strategy)
	}
	if d.Strategy == "ROLLING" {
		return nil
	}
	for _, lb := range s.LoadBalancers {
		a := lb.AdvancedConfiguration
		if a == nil || a.AlternateTargetGroupArn == "" || a.ProductionListenerRule == "" || a.RoleArn == "" {
			return badParameter("The %s deployment strategy requires an advancedConfiguration with alternateTargetGroupArn, productionListenerRule and roleArn for each load balancer.", d.Strategy)
		}
	}
	for _, h := range d.LifecycleHooks {
		if h.TargetType != "PAUSE" {
			return badParameter("bake's sandbox has no Lambda functions: lifecycle hooks must have the target type PAUSE.")
		}
	}
	return nil
}
