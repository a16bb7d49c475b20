package ecs

import (
	"math"
	"slices"
	"strings"
	"time"

	"bake/internal/sandbox/ecs/wire"
	"bake/internal/sandbox/epoch"
)

// lookEvery is how often a scheduler looks by itself while something is not as
// it shall be, or can change without telling: targets' health, alarms.
const lookEvery = 200 * time.Millisecond

// schedule brings a service's tasks to what it says, until it is INACTIVE.
func (c *T) schedule(r *region, cl *cluster, s *service, woken <-chan struct{}) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return
		}
		busy := c.step(r, cl, s)
		done, woken := s.Status == "INACTIVE", s.woken // UpdateService replaces the whole of s
		c.mu.Unlock()
		if done {
			return
		}
		var look <-chan time.Time
		if busy {
			look = time.After(lookEvery)
		}
		select {
		case <-woken:
		case <-look:
		case <-c.ctx.Done():
			return
		}
	}
}

// step does what can be done now, and reports whether to look again soon. The lock is held.
func (c *T) step(r *region, cl *cluster, s *service) (busy bool) {
	tasks := c.tasksOf(cl, s)
	c.noteFailures(s, tasks)
	if s.Status == "DRAINING" {
		c.drainService(s, tasks)
		return s.Status != "INACTIVE"
	}
	c.replaceUnhealthy(s, tasks)
	if d := s.deploying(); d != nil {
		c.judge(r, s, d)
	}
	if d := s.deploying(); d != nil && d.staged() {
		return c.stepStages(r, cl, s, d)
	}
	c.fill(r, cl, s)
	c.retire(cl, s)
	c.complete(r, cl, s)
	return !s.Steady || len(s.LoadBalancers) > 0 || s.deploying() != nil
}

// tasksOf are the service's tasks that have not stopped, or not been counted.
func (c *T) tasksOf(cl *cluster, s *service) []*task {
	var all []*task
	for _, t := range cl.Tasks {
		if t.Service == s.ServiceName && (t.LastStatus != statusStopped || !t.counted) {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *task) int {
		if d := a.CreatedAt.Compare(b.CreatedAt.Time); d != 0 {
			return d
		}
		return strings.Compare(a.TaskArn, b.TaskArn)
	})
	return all
}

// A tally is how many tasks of a deployment are how.
type tally struct {
	wanted  int // shall go on
	ready   int // of those: run, and are healthy
	settled int // of those: for long enough
	running int
	pending int
	left    int // have not stopped yet, wanted or not
}

// count counts a deployment's tasks. The lock is held.
func (c *T) count(cl *cluster, d *rollout) tally {
	var n tally
	for _, t := range cl.Tasks {
		if t.StartedBy != d.Id {
			continue
		}
		switch t.phase() {
		case phaseRunning:
			n.running++
		case phasePending:
			n.pending++
		case phaseStopped:
			continue
		}
		n.left++
		if !t.wanted() {
			continue
		}
		n.wanted++
		if c.ready(t) {
			n.ready++
			if time.Since(t.StartedAt.Time) >= c.deps.Settle {
				n.settled++
			}
		}
	}
	return n
}

// ready reports whether a task serves: it runs, and whoever checks its health is content.
func (c *T) ready(t *task) bool {
	if t.phase() != phaseRunning {
		return false
	}
	if t.HealthStatus != "HEALTHY" && slices.ContainsFunc(t.Definition.ContainerDefinitions, func(d wire.ContainerDefinition) bool {
		return d.HealthCheck != nil && d.HealthCheck.Command[0] != "NONE" && (d.Essential == nil || *d.Essential)
	}) {
		return false
	}
	if c.deps.Targets == nil {
		return true
	}
	for _, reg := range t.targets {
		// A group that no listener sends anything to does not check.
		if state, _, _ := c.deps.Targets.Health(reg.Group, reg.ID, reg.Port); state != "healthy" && state != "unused" {
			return false
		}
	}
	return true
}

// noteFailures counts tasks that ended though they should not have.
func (c *T) noteFailures(s *service, tasks []*task) {
	for _, t := range tasks {
		if t.counted || t.wanted() {
			continue
		}
		if t.StopCode == codeUser || t.StopCode == codeScheduler && !t.failed {
			t.counted = t.LastStatus == statusStopped
			continue
		}
		t.counted = true
		s.Steady = false
		for _, d := range s.Rollouts {
			if d.Id == t.StartedBy {
				d.FailedTasksInARow++
				s.until = time.Now().Add(c.delay(d.FailedTasksInARow))
				if d.RolloutState == "IN_PROGRESS" {
					d.FailedTasks++
					d.Failures++
				}
				if d.FailedTasksInARow == 10 {
					c.event(s, "is unable to consistently start tasks successfully. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.")
				}
			}
		}
	}
}

// delay is how long to wait before the next try after n failures: on AWS up to
// fifteen minutes.
func (c *T) delay(n int) time.Duration {
	n = min(n, 10)
	least := time.Duration(n) * 50 * time.Millisecond
	return max(least, c.w.Takes(min(15*time.Minute, time.Second<<n)))
}

// drainService ends a service that was deleted.
func (c *T) drainService(s *service, tasks []*task) {
	left := 0
	for _, t := range tasks {
		c.askStop(t, codeScheduler, "Scaling activity initiated by (deployment "+t.StartedBy+")")
		if t.LastStatus != statusStopped {
			left++
		}
	}
	if left > 0 {
		return
	}
	for _, d := range s.History {
		if !d.over() {
			d.finish(c, "STOPPED", "The service was deleted.")
		}
	}
	s.Status, s.Rollouts = "INACTIVE", nil
}

// replaceUnhealthy stops tasks that their health checks have given up; fill starts others.
func (c *T) replaceUnhealthy(s *service, tasks []*task) {
	for _, t := range tasks {
		if !t.wanted() || t.phase() != phaseRunning {
			continue
		}
		if t.HealthStatus == "UNHEALTHY" {
			t.failed = true
			c.event(s, "(task %s) failed container health checks.", t.id())
			c.askStop(t, codeScheduler, "Task failed container health checks")
			continue
		}
		grace := time.Duration(0)
		if s.HealthCheckGracePeriodSeconds != nil {
			grace = c.w.Takes(time.Duration(*s.HealthCheckGracePeriodSeconds) * time.Second)
		}
		if c.deps.Targets == nil || time.Since(t.StartedAt.Time) < grace {
			continue
		}
		for _, reg := range t.targets {
			state, _, description := c.deps.Targets.Health(reg.Group, reg.ID, reg.Port)
			if state != "unhealthy" {
				continue
			}
			t.failed = true
			c.event(s, "(port %d) is unhealthy in (target-group %s) due to (reason %s)", reg.Port, reg.Group, description)
			c.askStop(t, codeScheduler, "Task failed ELB health checks in (target-group "+reg.Group+")")
		}
	}
}

// bounds are how few tasks must be healthy, and how many there may be.
func (s *service) bounds() (least, most int) {
	d := float64(s.DesiredCount)
	least = int(math.Ceil(d * float64(*s.DeploymentConfiguration.MinimumHealthyPercent) / 100))
	most = int(math.Floor(d * float64(*s.DeploymentConfiguration.MaximumPercent) / 100))
	return least, most
}

// fill starts tasks of the PRIMARY deployment that are missing, as many as the
// maximum allows.
func (c *T) fill(r *region, cl *cluster, s *service) {
	p := s.Rollouts[0]
	if p.RolloutState == "FAILED" || time.Now().Before(s.until) {
		return
	}
	_, most := s.bounds()
	total := 0
	for _, d := range s.Rollouts {
		total += c.count(cl, d).wanted
	}
	c.startTasks(r, cl, s, p, min(int(p.DesiredCount)-c.count(cl, p).wanted, most-total))
}

// startTasks starts n tasks of a deployment, or tells why that cannot be.
func (c *T) startTasks(r *region, cl *cluster, s *service, d *rollout, n int) {
	rev, err := r.taskDefinition(d.TaskDefinition)
	if err != nil || n <= 0 {
		return
	}
	var started []string
	for range n {
		o := c.orderOf(s, d, rev)
		if failure := c.place(cl, &o); failure != nil {
			c.unplaced(s, d, failure)
			break
		}
		t := c.newTask(r, cl, o)
		t.targets = registrations(t, d.LoadBalancers)
		started = append(started, "(task "+t.id()+")")
		c.launch(r, cl, t, s)
	}
	if len(started) == 0 {
		return
	}
	d.Placed, s.Steady = false, false
	d.UpdatedAt = epoch.At(c.now())
	c.event(s, "has started %d tasks: %s.", len(started), strings.Join(started, " "))
}

// unplaced says, once for each deployment, that there is no room.
func (c *T) unplaced(s *service, d *rollout, f *wire.Failure) {
	s.until = time.Now().Add(time.Second)
	if d.Placed {
		return
	}
	d.Placed = true
	reason := "No Container Instances were found in your cluster."
	if f.Arn != "" {
		reason = "The closest matching (container-instance " + lastPart(f.Arn) + ") has insufficient " + strings.ToLower(strings.TrimPrefix(f.Reason, "RESOURCE:")) + " available."
	}
	c.event(s, "was unable to place a task because no container instance met all of its requirements. Reason: %s For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.", reason)
}

// orderOf is what a deployment's tasks are like.
func (c *T) orderOf(s *service, d *rollout, rev *revision) order {
	o := order{
		rev: rev, launch: d.LaunchType, platform: d.PlatformVersion, network: d.NetworkConfiguration, startedBy: d.Id, service: s.ServiceName,
		group: "service:" + s.ServiceName, exec: s.EnableExecuteCommand, tags: propagated(s.PropagateTags, nil, rev, s),
	}
	if len(d.CapacityProviderStrategy) > 0 {
		o.provider, o.launch = d.CapacityProviderStrategy[0].CapacityProvider, "EC2"
		if strings.HasPrefix(o.provider, "FARGATE") {
			o.launch = "FARGATE"
		}
	}
	if s.EnableECSManagedTags {
		o.tags = append(o.tags, wire.Tag{Key: "aws:ecs:clusterName", Value: lastPart(s.ClusterArn)}, wire.Tag{Key: "aws:ecs:serviceName", Value: s.ServiceName})
	}
	return o
}

// retire stops tasks that are too many: of older deployments, as far as enough
// stay healthy, and of the PRIMARY one when the service is scaled in.
func (c *T) retire(cl *cluster, s *service) {
	p := s.Rollouts[0]
	if p.RolloutState == "FAILED" {
		return
	}
	least, _ := s.bounds()
	healthy := 0
	for _, d := range s.Rollouts {
		healthy += c.count(cl, d).ready
	}
	spare := healthy - least
	for _, d := range s.Rollouts[1:] {
		for _, t := range c.stoppable(cl, s, d) {
			if c.ready(t) {
				if spare <= 0 {
					continue
				}
				spare--
			}
			c.retireTask(s, t)
		}
	}
	excess := c.count(cl, p).wanted - int(p.DesiredCount)
	for _, t := range c.stoppable(cl, s, p) {
		if excess <= 0 || t.Protected != nil && t.Protected.After(c.now()) {
			continue
		}
		excess--
		c.retireTask(s, t)
	}
}

// stoppable are a deployment's tasks, those first that are missed least.
func (c *T) stoppable(cl *cluster, s *service, d *rollout) []*task {
	all := slices.DeleteFunc(c.tasksOf(cl, s), func(t *task) bool { return t.StartedBy != d.Id || !t.wanted() })
	slices.SortStableFunc(all, func(a, b *task) int {
		return boolOrder(c.ready(a)) - boolOrder(c.ready(b))
	})
	return all
}

func boolOrder(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *T) retireTask(s *service, t *task) {
	s.Steady = false
	c.event(s, "has stopped 1 running tasks: (task %s).", t.id())
	c.askStop(t, codeScheduler, "Scaling activity initiated by (deployment "+s.Rollouts[0].Id+")")
}

// complete ends the deployment when its tasks serve, all others are gone, and
// alarms have had the time to see what is wrong with it.
func (c *T) complete(r *region, cl *cluster, s *service) {
	p := s.Rollouts[0]
	n := c.count(cl, p)
	if n.settled > 0 {
		p.FailedTasksInARow = 0
		if b := s.DeploymentConfiguration.DeploymentCircuitBreaker; b != nil && b.ResetOnHealthyTask != nil && *b.ResetOnHealthyTask {
			p.Failures = 0
		}
	}
	if p.RolloutState == "FAILED" || n.settled != int(p.DesiredCount) || n.left != n.settled {
		return
	}
	for _, d := range s.Rollouts[1:] {
		if c.count(cl, d).left > 0 {
			return
		}
	}
	d := s.deploying()
	if d != nil && d.Status == "IN_PROGRESS" && d.Stages == nil {
		if p.Serves.IsZero() {
			p.Serves = c.now()
		}
		if c.now().Sub(p.Serves) < c.w.Takes(c.alarmTime(r, d)) {
			return
		}
	}
	s.Rollouts = s.Rollouts[:1]
	if p.RolloutState == "IN_PROGRESS" {
		p.RolloutState, p.Completed, p.UpdatedAt = "COMPLETED", true, epoch.At(c.now())
		p.RolloutStateReason = "ECS deployment " + p.Id + " completed."
		c.event(s, "(deployment %s) deployment completed.", p.Id)
		if d != nil {
			d.succeed(c)
		}
	}
	if !s.Steady {
		s.Steady = true
		c.event(s, "has reached a steady state.")
	}
}
