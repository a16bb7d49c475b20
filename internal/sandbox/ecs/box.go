package ecs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"bake/internal/rootfs"
	"bake/internal/sandbox/agent"
	"bake/internal/sandbox/ecs/wire"
)

// A box is one container of a task, over all its restarts.
type box struct {
	x       *runner
	i       int // in the task's containers
	def     *wire.ContainerDefinition
	env     []string
	mounts  []agent.Mount
	logs    *lineWriter
	image   *agent.Image
	failure *startError // why it could not be started; set before the runner hears of it

	started  chan struct{} // closed when its program runs for the first time
	healthy  chan struct{} // closed when it was healthy
	ended    chan struct{} // closed when it will not run any more
	once     sync.Once
	wellOnce sync.Once

	mu      sync.Mutex
	current *agent.Container
	halted  bool
}

func (x *runner) newBox(i int) (*box, error) {
	d := &x.def.ContainerDefinitions[i]
	b := &box{x: x, i: i, def: d, started: make(chan struct{}), healthy: make(chan struct{}), ended: make(chan struct{})}
	var err error
	if b.env, err = x.environment(d); err != nil {
		return nil, err
	}
	if b.logs, err = x.logWriter(d); err != nil {
		return nil, err
	}
	if b.mounts, err = x.mounts(d); err != nil {
		return nil, resourceError("failed to invoke volume: %v", err)
	}
	return b, nil
}

// shown is what of the container is answered. The lock is held.
func (b *box) shown() *wire.Container { return &b.x.t.Containers[b.i] }

func (b *box) essential() bool { return b.def.Essential == nil || *b.def.Essential }

// run runs the container until it will not run any more.
func (b *box) run() {
	defer close(b.ended)
	defer b.logs.flush()
	if err := b.awaitOthers(); err != nil {
		if b.x.ctx.Err() == nil {
			b.fail(b.x.containerError(b, err.Error()))
		}
		return
	}
	for {
		begun := time.Now()
		c, err := b.start()
		if err != nil {
			if b.x.ctx.Err() == nil {
				b.fail(b.x.containerError(b, "CannotStartContainerError: "+err.Error()))
			}
			return
		}
		checks, stop := context.WithCancel(b.x.ctx)
		var checking sync.WaitGroup
		checking.Go(func() { b.checkHealth(checks, c) })
		<-c.Done()
		stop()
		checking.Wait()
		if !b.again(c.Exit(), time.Since(begun)) {
			b.over(c.Exit())
			return
		}
	}
}

// fail notes that the container could not be started.
func (b *box) fail(e *startError) {
	b.failure = e
	b.x.c.mu.Lock()
	b.shown().LastStatus, b.shown().Reason = statusStopped, e.reason
	b.x.c.mu.Unlock()
	b.x.ended <- b // even one that is not essential keeps the task from starting
}

// over notes how the container's program ended.
func (b *box) over(exit agent.Exit) {
	b.x.c.mu.Lock()
	shown := b.shown()
	shown.LastStatus, shown.ExitCode = statusStopped, new(int32(exit.Code))
	if exit.OutOfMemory {
		shown.Reason = "OutOfMemoryError: Container killed due to memory usage"
	} else if exit.Err != nil {
		shown.Reason = "CannotInspectContainerError: " + exit.Err.Error()
	}
	b.x.t.Version++
	b.x.c.mu.Unlock()
	if b.essential() {
		b.x.ended <- b
	}
}

// again reports whether the restart policy has the container run once more.
func (b *box) again(exit agent.Exit, ran time.Duration) bool {
	p := b.def.RestartPolicy
	if p == nil || p.Enabled == nil || !*p.Enabled || b.x.ctx.Err() != nil {
		return false
	}
	if slices.Contains(p.IgnoredExitCodes, int32(exit.Code)) {
		return false
	}
	period := time.Minute
	if p.RestartAttemptPeriod != nil {
		period = time.Duration(*p.RestartAttemptPeriod) * time.Second
	}
	return ran >= max(b.x.c.w.Takes(period), time.Second)
}

// awaitOthers waits for what the container depends on.
func (b *box) awaitOthers() error {
	for _, dep := range b.def.DependsOn {
		other := b.x.box(dep.ContainerName)
		until := map[string]chan struct{}{"START": other.started, "COMPLETE": other.ended, "SUCCESS": other.ended, "HEALTHY": other.healthy}[dep.Condition]
		gone := other.ended
		select {
		case <-until:
			gone = nil
		case <-gone:
		case <-b.x.ctx.Done():
			return b.x.ctx.Err()
		}
		if err := other.satisfies(dep, b.def.Name, gone != nil); err != nil {
			return err
		}
	}
	return nil
}

// satisfies reports whether the box, whose wait is over, is as dep wants it.
func (b *box) satisfies(dep wire.ContainerDependency, target string, gone bool) error {
	b.x.c.mu.Lock()
	code := b.shown().ExitCode
	b.x.c.mu.Unlock()
	unresolved := fmt.Errorf("dependency graph: failed to resolve container ordering dependency [%s] for target [%s] as dependency did not exit successfully", dep.ContainerName, target)
	switch {
	case dep.Condition == "SUCCESS" && (code == nil || *code != 0):
		return unresolved
	case dep.Condition == "HEALTHY" && gone, dep.Condition == "START" && code == nil && b.failure != nil:
		return unresolved
	}
	return nil
}

func (x *runner) box(name string) *box {
	for _, b := range x.t.boxes {
		if b.def.Name == name {
			return b
		}
	}
	return nil // checkOrder has seen that there is one
}

// start starts the container's program once.
func (b *box) start() (*agent.Container, error) {
	o := b.x.t.override(b.def.Name)
	spec := agent.Spec{
		ID: newID(), Image: b.image, EntryPoint: b.def.EntryPoint, Command: b.def.Command, Env: b.env, Dir: b.def.WorkingDirectory, User: b.def.User,
		Hostname: b.hostname(), ReadOnly: b.def.ReadonlyRootFilesystem != nil && *b.def.ReadonlyRootFilesystem, Mounts: b.mounts, Network: b.x.network,
		Memory: b.memory(), Stdout: b.logs.stream(), Stderr: b.logs.stream(),
	}
	if o.Command != nil {
		spec.Command = o.Command
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.halted {
		return nil, context.Canceled
	}
	c, err := b.x.c.agent.Start(b.x.ctx, spec)
	if err != nil {
		return nil, err
	}
	b.current = c
	b.x.c.mu.Lock()
	shown := b.shown()
	shown.LastStatus, shown.RuntimeId = statusRunning, spec.ID[:32]
	for i := range shown.ManagedAgents {
		shown.ManagedAgents[i].LastStatus = statusRunning
	}
	b.x.t.Version++
	b.x.c.mu.Unlock()
	b.once.Do(func() { close(b.started) })
	return c, nil
}

func (b *box) hostname() string {
	if b.def.Hostname != "" {
		return b.def.Hostname
	}
	if b.x.def.NetworkMode == "awsvpc" {
		return "ip-" + strings.ReplaceAll(b.x.t.address, ".", "-")
	}
	return b.x.t.id()[:12]
}

// memory is the container's hard limit in bytes: its own or the task's.
func (b *box) memory() int64 {
	if o := b.x.t.override(b.def.Name); o.Memory != nil {
		return int64(*o.Memory) << 20
	}
	if b.def.Memory != nil {
		return int64(*b.def.Memory) << 20
	}
	var mib int64
	if _, err := fmt.Sscan(b.x.def.Memory, &mib); err != nil {
		return 0
	}
	return mib << 20
}

// stop ends the container: with SIGTERM, and by force when its time is over.
func (b *box) stop() {
	b.mu.Lock()
	b.halted = true
	c := b.current
	b.mu.Unlock()
	if c == nil {
		return
	}
	c.Signal(syscall.SIGTERM)
	timer := time.NewTimer(b.stopTimeout())
	defer timer.Stop()
	select {
	case <-c.Done():
		return
	case <-timer.C:
	case <-b.x.c.ctx.Done():
	}
	c.Kill()
	<-c.Done()
}

// leastStop is what a program has to end by itself, however fast the sandbox is.
const leastStop = 2 * time.Second

func (b *box) stopTimeout() time.Duration {
	d := 30 * time.Second
	if b.def.StopTimeout != nil {
		d = time.Duration(*b.def.StopTimeout) * time.Second
	}
	return max(b.x.c.w.Takes(d), min(d, leastStop))
}

// leastInterval is how often a health check runs at most.
const leastInterval = 200 * time.Millisecond

// checkHealth runs the container's health check until ctx ends.
func (b *box) checkHealth(ctx context.Context, c *agent.Container) {
	h := b.def.HealthCheck
	if h == nil || h.Command[0] == "NONE" {
		return
	}
	seconds := func(n *int32) time.Duration { return time.Duration(*or(n, 0)) * time.Second }
	every := max(b.x.c.w.Takes(seconds(h.Interval)), leastInterval)
	grace := time.Now().Add(b.x.c.w.Takes(seconds(h.StartPeriod)))
	tick := time.NewTicker(every)
	defer tick.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := b.probe(ctx, c, seconds(h.Timeout))
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			failures = 0
			b.health("HEALTHY")
			continue
		}
		if time.Now().After(grace) {
			failures++
		}
		if failures >= int(*h.Retries) {
			b.health("UNHEALTHY")
		}
	}
}

// probe runs the health check once.
func (b *box) probe(ctx context.Context, c *agent.Container, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	argv := b.def.HealthCheck.Command
	switch argv[0] {
	case "CMD-SHELL":
		argv = []string{"/bin/sh", "-c", strings.Join(argv[1:], " ")}
	case "CMD":
		argv = argv[1:]
	default:
		argv = []string{"/bin/sh", "-c", strings.Join(argv, " ")}
	}
	if len(argv) == 0 {
		return errors.New("no command")
	}
	code, err := c.Exec(ctx, rootfs.Process{Argv: argv, Stdout: io.Discard, Stderr: io.Discard})
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	return err
}

// health notes the container's health and, with it, the task's: it is
// UNHEALTHY if one essential container is, HEALTHY if all that are checked are.
func (b *box) health(s string) {
	b.x.c.mu.Lock()
	defer b.x.c.mu.Unlock()
	if b.shown().HealthStatus == s {
		return
	}
	b.shown().HealthStatus = s
	task := "HEALTHY"
	for i, c := range b.x.t.Containers {
		d := b.x.def.ContainerDefinitions[i]
		if d.HealthCheck == nil || d.Essential != nil && !*d.Essential {
			continue
		}
		if c.HealthStatus == "UNHEALTHY" {
			task = "UNHEALTHY"
		} else if c.HealthStatus == "UNKNOWN" && task == "HEALTHY" {
			task = "UNKNOWN"
		}
	}
	b.x.t.HealthStatus = task
	b.x.t.healthy = b.x.t.healthy || task == "HEALTHY"
	b.x.t.Version++
	if s == "HEALTHY" {
		b.wellOnce.Do(func() { close(b.healthy) })
	}
	if b.x.service != nil {
		b.x.service.wake()
	}
}
