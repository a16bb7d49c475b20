package ecs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// A placement is where tasks run: taken from the template, else from the
// service that they belong to.
type placement struct {
	launch   types.LaunchType
	capacity []types.CapacityProviderStrategyItem
	network  *types.NetworkConfiguration
	platform *string
}

// placement is where one-off tasks run: where the service's do.
func (w *wanted) placementOf(live *types.Service) placement {
	p := placement{launch: types.LaunchType(w.LaunchType), capacity: w.capacity(), network: w.network(nil), platform: text(w.PlatformVer)}
	if live == nil {
		return p
	}
	p.network = w.network(live.NetworkConfiguration)
	if p.launch == "" && len(p.capacity) == 0 {
		p.launch, p.capacity = live.LaunchType, live.CapacityProviderStrategy
		if len(p.capacity) > 0 {
			p.launch = ""
		}
	}
	if p.platform == nil && p.launch == types.LaunchTypeFargate {
		p.platform = live.PlatformVersion
	}
	return p
}

// input is the call that runs the task. token makes it safe to send twice,
// and finds its tasks again.
func (o *Once) input(cluster, revision, container, token string, p placement, tags map[string]string) *awsecs.RunTaskInput {
	in := &awsecs.RunTaskInput{
		Cluster: &cluster, TaskDefinition: &revision, Count: aws.Int32(o.Count), ClientToken: &token, StartedBy: &token,
		LaunchType: p.launch, CapacityProviderStrategy: p.capacity, NetworkConfiguration: p.network, PlatformVersion: p.platform,
		EnableECSManagedTags: true, Tags: tagList(tags),
	}
	if o.Count == 0 {
		in.Count = aws.Int32(1)
	}
	c := types.ContainerOverride{Name: &container, Command: o.Command}
	if len(o.Command) == 1 && strings.ContainsAny(o.Command[0], " \t\n") {
		c.Command = []string{"/bin/sh", "-c", o.Command[0]}
	}
	for _, k := range slices.Sorted(maps.Keys(o.Env)) {
		c.Environment = append(c.Environment, types.KeyValuePair{Name: aws.String(k), Value: aws.String(o.Env[k])})
	}
	over := types.TaskOverride{Cpu: text(o.CPU), Memory: text(o.Memory)}
	if len(c.Command)+len(c.Environment) > 0 {
		over.ContainerOverrides = []types.ContainerOverride{c}
	}
	if len(over.ContainerOverrides) > 0 || over.Cpu != nil || over.Memory != nil {
		in.Overrides = &over
	}
	return in
}

// start runs the task and returns the ARNs of its tasks.
func (c *Client) start(ctx context.Context, in *awsecs.RunTaskInput) ([]string, error) {
	out, err := c.ecs.RunTask(ctx, in)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	var arns []string
	for _, t := range out.Tasks {
		arns = append(arns, aws.ToString(t.TaskArn))
	}
	if len(out.Failures) > 0 {
		f := out.Failures[0]
		err := &placementError{reason: cmp.Or(aws.ToString(f.Reason), "no reason given"), detail: aws.ToString(f.Detail), on: short(aws.ToString(f.Arn))}
		return arns, errors.Join(err, c.stop(context.WithoutCancel(ctx), arns, "another task of the same call could not be placed"))
	}
	if len(arns) == 0 {
		return nil, &placementError{reason: "AWS started no task and gave no reason"}
	}
	return arns, nil
}

// A placementError is what RunTask says in failures[] beside an answer that
// is no error.
type placementError struct{ reason, detail, on string }

func (e *placementError) Error() string {
	s := "the task cannot be placed: " + e.reason
	if e.on != "" {
		s += " on " + e.on
	}
	if e.detail != "" {
		s += " (" + e.detail + ")"
	}
	return s
}

// Hint says what AWS's words mean.
func (e *placementError) Hint() string {
	switch {
	case strings.HasPrefix(e.reason, "RESOURCE:"):
		return "no instance of the cluster has that much left: make the task smaller, or the cluster bigger"
	case strings.HasPrefix(e.reason, "ATTRIBUTE"):
		return "no instance of the cluster has what the task definition asks for (an agent too old, a missing driver)"
	case e.reason == "AGENT":
		return "the instance's ECS agent is not connected"
	case e.reason == "EMPTY CAPACITY PROVIDER", strings.Contains(e.reason, "no container instances"):
		return "the cluster has no instances: choose launch_type FARGATE, or add instances"
	}
	return ""
}

// A TaskError is a one-off task that did not end well.
type TaskError struct {
	Name    string
	Stopped StoppedTask
	Late    time.Duration // it was stopped because it took longer than that
}

func (e *TaskError) Error() string {
	if e.Late > 0 {
		return fmt.Sprintf("task %s was stopped: it took longer than %s", e.Name, e.Late)
	}
	return fmt.Sprintf("task %s: %s", e.Name, e.Stopped)
}

// Hint says what to do about it.
func (e *TaskError) Hint() string { return e.Stopped.Cure }

// awaitTasks follows tasks until all have stopped and copies their output line
// by line. The error is a *TaskError if one did not exit with 0.
func (c *Client) awaitTasks(ctx context.Context, story Story, name string, arns []string, timeout time.Duration) error {
	late := fmt.Errorf("task %s took longer than %s", name, timeout)
	limited, cancel := context.WithTimeoutCause(ctx, timeout, late)
	defer cancel()
	out := story.Stdout()
	defer out.Close()
	a := &await{Client: c, arns: arns, pumps: map[string]*pump{}, write: func(text string) { fmt.Fprintln(out, text) }}
	err := a.run(limited, story)
	if errors.Is(context.Cause(limited), late) {
		return errors.Join(&TaskError{Name: name, Late: timeout}, c.stop(context.WithoutCancel(ctx), arns, late.Error()))
	}
	if failed, ok := errors.AsType[*TaskError](err); ok {
		failed.Name = name
	}
	return err
}

// An await is the state of awaitTasks.
type await struct {
	*Client
	arns   []string
	pumps  map[string]*pump // by task and container
	write  func(text string)
	status string
}

func (a *await) run(ctx context.Context, story Story) error {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		tasks, err := a.describeTasks(ctx, a.arns)
		if err != nil {
			return err
		}
		if s := statusOf(tasks); s != a.status {
			a.status = s
			story.Log("%s", s)
		}
		if err := a.copy(ctx, tasks); err != nil {
			return err
		}
		if len(tasks) == len(a.arns) && !slices.ContainsFunc(tasks, func(t types.Task) bool { return aws.ToString(t.LastStatus) != "STOPPED" }) {
			return a.verdict(ctx, tasks)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// statusOf is the tasks' states in one line.
func statusOf(tasks []types.Task) string {
	var words []string
	for _, t := range tasks {
		words = append(words, fmt.Sprintf("task %s is %s", short(aws.ToString(t.TaskArn)), strings.ToLower(aws.ToString(t.LastStatus))))
	}
	return strings.Join(words, ", ")
}

// copy writes what the tasks' containers have written since.
func (a *await) copy(ctx context.Context, tasks []types.Task) error {
	for _, t := range tasks {
		td, err := a.revision(ctx, aws.ToString(t.TaskDefinitionArn))
		if err != nil {
			return err
		}
		for _, cd := range td.ContainerDefinitions {
			name := aws.ToString(cd.Name)
			s, ok := streamOf(td, name, aws.ToString(t.TaskArn))
			if !ok {
				continue
			}
			key := s.String()
			if a.pumps[key] == nil {
				a.pumps[key] = &pump{client: a.Client, stream: s}
			}
			prefix := ""
			if len(td.ContainerDefinitions) > 1 {
				prefix = name + ": "
			}
			if _, err := a.pumps[key].copy(ctx, func(_ time.Time, text string) { a.write(prefix + text) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// verdict believes the exit codes. The last lines of output may come a moment
// after the task has stopped.
func (a *await) verdict(ctx context.Context, tasks []types.Task) error {
	select {
	case <-ctx.Done():
	case <-time.After(200 * time.Millisecond):
	}
	if err := a.copy(ctx, tasks); err != nil {
		return err
	}
	for _, t := range tasks {
		s, _ := stopped(t)
		if !exitedWell(t) {
			return &TaskError{Stopped: s}
		}
	}
	return nil
}

// exitedWell reports whether the task's containers ended by themselves and
// with 0. Helpers that were stopped when it was over do not count.
func exitedWell(t types.Task) bool {
	if t.StopCode != types.TaskStopCodeEssentialContainerExited && t.StopCode != "" {
		return false
	}
	zero := false
	for _, c := range t.Containers {
		switch code := aws.ToInt32(c.ExitCode); {
		case c.ExitCode == nil:
			return false
		case code == 0:
			zero = true
		case code != 137 && code != 143:
			return false
		}
	}
	return zero
}

// stop stops tasks and waits until they are; tasks that are gone are fine.
func (c *Client) stop(ctx context.Context, arns []string, reason string) error {
	var errs []error
	for _, arn := range arns {
		_, err := c.ecs.StopTask(ctx, &awsecs.StopTaskInput{Cluster: &c.Cluster, Task: &arn, Reason: &reason})
		if err != nil && !isGone(err) {
			errs = append(errs, fmt.Errorf("stopping task %s: %w", short(arn), c.explain(ctx, err)))
		}
	}
	if err := errors.Join(errs...); err != nil || len(arns) == 0 {
		return err
	}
	return c.awaitStopped(ctx, arns)
}

// awaitStopped waits until no task runs any more. A task has 30 s to end by
// itself, unless its definition says otherwise (stopTimeout, at most 2 min).
func (c *Client) awaitStopped(ctx context.Context, arns []string) error {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		tasks, err := c.describeTasks(ctx, arns)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(tasks, func(t types.Task) bool { return aws.ToString(t.LastStatus) != "STOPPED" }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
