package ecs

import (
	"time"

	"bake/internal/sandbox/ecs/wire"
)

// hasTargets reports whether the task is registered with target groups.
func (x *runner) hasTargets() bool { return len(x.t.targets) > 0 && x.c.deps.Targets != nil }

// registrations are the places of a new task in the target groups of its service.
func registrations(t *task, balancers []wire.LoadBalancer) []registration {
	var all []registration
	for _, lb := range balancers {
		if lb.TargetGroupArn != "" && lb.ContainerPort != nil {
			all = append(all, registration{Group: lb.TargetGroupArn, Port: *lb.ContainerPort})
		}
	}
	return all
}

// register puts the task into its target groups.
func (x *runner) register() {
	x.c.mu.Lock()
	for i := range x.t.targets {
		r := &x.t.targets[i]
		if kind, _, ok := x.c.deps.Targets.TargetType(r.Group); ok && kind == "instance" {
			r.ID, r.Port = x.instanceID(), x.hostPort(r.Port)
		} else {
			r.ID = x.t.address
		}
	}
	all := x.t.targets
	x.c.mu.Unlock()
	done := map[string]int{}
	for _, r := range all {
		if x.c.deps.Targets.Register(r.Group, r.ID, r.Port) == nil {
			done[r.Group]++
		}
	}
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	for group, n := range done {
		x.event("registered %d targets in (target-group %s)", n, group)
	}
}

func (x *runner) instanceID() string {
	for _, in := range x.cl.Instances {
		if in.ContainerInstanceArn == x.t.ContainerInstanceArn {
			return in.Ec2InstanceId
		}
	}
	return ""
}

// hostPort is where the task's instance listens for a container's port.
func (x *runner) hostPort(containerPort int32) int32 {
	for _, w := range x.t.Containers {
		for _, b := range w.NetworkBindings {
			if b.ContainerPort != nil && *b.ContainerPort == containerPort && b.HostPort != nil {
				return *b.HostPort
			}
		}
	}
	return containerPort
}

// drainEvery is how often a target that drains is looked at.
const drainEvery = 50 * time.Millisecond

// drain takes the task out of its target groups and waits until its
// connections have had their time.
func (x *runner) drain() {
	if !x.hasTargets() {
		return
	}
	x.c.mu.Lock()
	all := x.t.targets
	if all[0].ID != "" { // else it never was registered
		x.event("has begun draining connections on 1 tasks.")
	}
	x.c.mu.Unlock()
	for _, r := range all {
		if r.ID == "" {
			continue
		}
		if x.c.deps.Targets.Deregister(r.Group, r.ID, r.Port) == nil {
			x.c.mu.Lock()
			x.event("deregistered 1 targets in (target-group %s)", r.Group)
			x.c.mu.Unlock()
		}
	}
	for _, r := range all {
		for r.ID != "" {
			if state, _, _ := x.c.deps.Targets.Health(r.Group, r.ID, r.Port); state != "draining" || x.t.StopCode == codeEssential {
				break
			}
			select {
			case <-time.After(drainEvery):
			case <-x.c.ctx.Done():
				return
			}
		}
	}
}

// event tells the task's service. The lock is held.
func (x *runner) event(format string, args ...any) {
	if x.service != nil {
		x.c.event(x.service, format, args...)
	}
}
