package ecs

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"bake/internal/sandbox/agent"
	"bake/internal/sandbox/ecs/wire"
	"bake/internal/sandbox/epoch"
)

// How long a task's states take on AWS, beside what is really done in them.
const (
	takesProvision   = 8 * time.Second // making the network interface
	takesPull        = 4 * time.Second
	takesActivate    = 3 * time.Second
	takesDeprovision = 6 * time.Second
)

// A runner runs one task, from PROVISIONING to STOPPED.
type runner struct {
	c       *T
	r       *region
	cl      *cluster
	t       *task
	def     *wire.TaskDefinition
	service *service // nil for a task that was run by itself
	ctx     context.Context
	network *agent.Network
	// listeners are those of mapped ports.
	listeners []net.Listener
	ended     chan *box // an essential container has ended, or could not begin
	boxes     sync.WaitGroup
}

// launch starts to run a task. The lock is held.
func (c *T) launch(r *region, cl *cluster, t *task, s *service) {
	x := &runner{c: c, r: r, cl: cl, t: t, def: &t.Definition, service: s, ctx: t.stopping, ended: make(chan *box, len(t.Containers))}
	c.start(x.run)
}

// run is the life of a task.
func (x *runner) run() {
	err := x.begin()
	if err == nil {
		x.wait()
	} else {
		x.failToStart(err)
	}
	x.end()
}

// begin brings the task to RUNNING. The error is a *startError, or that the task was stopped.
func (x *runner) begin() error {
	if err := x.pause(takesProvision); err != nil {
		return err
	}
	if err := x.attach(); err != nil {
		return err
	}
	x.status(statusPending)
	if err := x.prepare(); err != nil {
		return err
	}
	for _, b := range x.t.boxes {
		x.boxes.Go(func() { b.run() })
	}
	if err := x.allStarted(); err != nil {
		return err
	}
	if x.hasTargets() {
		x.status(statusActivating)
		if err := x.pause(takesActivate); err != nil {
			return err
		}
		x.register()
	}
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	if !x.t.wanted() {
		return context.Canceled
	}
	x.t.StartedAt, x.t.Connectivity, x.t.ConnectivityAt = epoch.At(x.c.now()), "CONNECTED", epoch.At(x.c.now())
	x.set(statusRunning)
	return nil
}

// pause lets the time of a state pass, or returns when the task shall stop.
func (x *runner) pause(d time.Duration) error {
	d = x.c.w.Takes(d)
	if d <= 0 {
		return x.ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-x.ctx.Done():
		return x.ctx.Err()
	}
}

// allStarted returns when every container has been started, or one that is
// essential is not going to be.
func (x *runner) allStarted() error {
	for _, b := range x.t.boxes {
		select {
		case <-b.started:
		case bad := <-x.ended:
			x.ended <- bad // wait looks at it too
			if bad.failure != nil {
				return bad.failure
			}
			return nil // it began and has ended by now
		case <-x.ctx.Done():
			return x.ctx.Err()
		}
	}
	return nil
}

// wait returns when the task shall stop, for which it gives the reason if nobody did.
func (x *runner) wait() {
	select {
	case <-x.ctx.Done():
		return
	case <-x.ended:
	}
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	x.c.askStop(x.t, codeEssential, "Essential container in task exited")
}

// A startError is why a task could not be started.
type startError struct {
	task      string // what the task's stoppedReason says
	container string // name of the container that it is about, or ""
	reason    string // what that container's reason says
}

func (e *startError) Error() string { return e.task }

// failToStart notes why the task did not come to run. One that was stopped
// before has its reason.
func (x *runner) failToStart(err error) {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	e, ok := errors.AsType[*startError](err)
	if !ok {
		if x.ctx.Err() != nil {
			return
		}
		e = &startError{task: "CannotStartContainerError: " + err.Error()}
	}
	for i := range x.t.Containers {
		if x.t.Containers[i].Name == e.container {
			x.t.Containers[i].Reason = e.reason
		}
	}
	x.c.askStop(x.t, codeFailedToStart, e.task)
}

// end stops what runs of the task and brings it to STOPPED.
func (x *runner) end() {
	x.status(statusDeactivating)
	x.drain()
	x.status(statusStopping)
	x.stopBoxes()
	for _, l := range x.listeners {
		_ = l.Close() // forward ends
	}
	x.boxes.Wait()
	x.detach()
	x.c.mu.Lock()
	x.t.ExecutionStoppedAt = epoch.At(x.c.now())
	x.set(statusDeprovisioning)
	x.c.mu.Unlock()
	x.release()
	select { // the task's own context has ended
	case <-time.After(x.c.w.Takes(takesDeprovision)):
	case <-x.c.ctx.Done():
	}
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	for i := range x.t.Containers {
		x.t.Containers[i].LastStatus = statusStopped
	}
	for i := range x.t.Attachments {
		x.t.Attachments[i].Status = "DELETED"
	}
	x.t.StoppedAt = epoch.At(x.c.now())
	x.set(statusStopped)
}

// stopBoxes ends the containers, those that others depend on last.
func (x *runner) stopBoxes() {
	var all sync.WaitGroup
	for _, b := range x.t.boxes {
		all.Go(b.stop)
	}
	all.Wait()
}

// status moves the task on.
func (x *runner) status(s string) {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	x.set(s)
}

// set is status with the lock held. The scheduler of the task's service hears of it.
func (x *runner) set(s string) {
	x.t.LastStatus = s
	x.t.Version++
	if x.service != nil {
		x.service.wake()
	}
}

// release gives back what the task had beside its containers.
func (x *runner) release() {
	ctx := context.WithoutCancel(x.ctx)
	for _, v := range x.def.Volumes {
		if ephemeral(v) {
			_ = x.c.agent.RemoveVolume(ctx, x.volumeID(v)) // the agent's next start removes what stays
		}
	}
}
