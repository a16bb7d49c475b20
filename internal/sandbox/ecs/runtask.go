package ecs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs/wire"
)

// badParameter is how ECS refuses a parameter.
func badParameter(format string, args ...any) error {
	return api.Errorf("InvalidParameterException", format, args...)
}

func number(n int32) string { return strconv.Itoa(int(n)) }

func numberOf(n *int32) string {
	if n == nil {
		return ""
	}
	return number(*n)
}

func (c *T) runTask(call *api.Call, r *region, in *wire.RunTaskInput) (*wire.RunTaskOutput, error) {
	cl, err := r.activeCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	rev, err := r.runnable(in.TaskDefinition)
	if err != nil {
		return nil, err
	}
	count := int32(1)
	if in.Count != nil {
		count = *in.Count
	}
	if count < 1 || count > 10 {
		return nil, badParameter("Task count must be between 1 and 10.")
	}
	o := order{
		rev: rev, platform: in.PlatformVersion, network: in.NetworkConfiguration, overrides: in.Overrides, startedBy: in.StartedBy,
		group: in.Group, exec: in.EnableExecuteCommand, tags: propagated(in.PropagateTags, in.Tags, rev, nil),
	}
	if o.launch, o.provider, err = r.launchType(cl, in.LaunchType, in.CapacityProviderStrategy); err != nil {
		return nil, err
	}
	if err := c.checkOrder(o); err != nil {
		return nil, err
	}
	if out, err := c.sameRun(r, cl, in, count); out != nil || err != nil {
		return out, err
	}
	out := &wire.RunTaskOutput{Tasks: []wire.Task{}, Failures: []wire.Failure{}}
	var ids []string
	for range count {
		if failure := c.place(cl, &o); failure != nil {
			out.Failures = append(out.Failures, *failure)
			continue
		}
		t := c.newTask(r, cl, o)
		out.Tasks = append(out.Tasks, t.view([]string{"TAGS"}))
		ids = append(ids, t.id())
		c.launch(r, cl, t, nil)
	}
	if in.ClientToken != "" {
		r.Tokens["run "+cl.ClusterName+" "+in.ClientToken] = fmt.Sprintf("%d %s %s", count, rev.TaskDefinitionArn, strings.Join(ids, ","))
	}
	return out, nil
}

// sameRun answers a call that came before with the same client token.
func (c *T) sameRun(r *region, cl *cluster, in *wire.RunTaskInput, count int32) (*wire.RunTaskOutput, error) {
	made, ok := r.Tokens["run "+cl.ClusterName+" "+in.ClientToken]
	if in.ClientToken == "" || !ok {
		return nil, nil
	}
	f := strings.SplitN(made, " ", 3)
	rev, err := r.runnable(in.TaskDefinition)
	if err != nil || f[0] != number(count) || f[1] != rev.TaskDefinitionArn {
		return nil, &api.Error{Code: "ConflictException", Message: "The client token was used before with other parameters.", Fields: map[string]any{"resourceIds": strings.Split(f[2], ",")}}
	}
	out := &wire.RunTaskOutput{Tasks: []wire.Task{}, Failures: []wire.Failure{}}
	for _, id := range strings.Split(f[2], ",") {
		if t := cl.Tasks[id]; t != nil {
			out.Tasks = append(out.Tasks, t.view([]string{"TAGS"}))
		}
	}
	return out, nil
}

// launchType decides how tasks are launched: as asked, as the capacity
// provider says, as the cluster's default does, or on EC2.
func (r *region) launchType(cl *cluster, launch string, strategy []wire.CapacityProviderStrategyItem) (kind, provider string, err error) {
	if launch != "" && len(strategy) > 0 {
		return "", "", badParameter("Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.")
	}
	if launch != "" {
		return launch, "", nil
	}
	if len(strategy) == 0 {
		strategy = cl.DefaultCapacityProviderStrategy
	}
	if len(strategy) == 0 {
		return "EC2", "", nil
	}
	best := strategy[0]
	for _, item := range strategy {
		if !slices.Contains(cl.CapacityProviders, item.CapacityProvider) {
			return "", "", badParameter("The specified capacity provider '%s' was not found in the cluster. Associate it with the cluster and try again.", item.CapacityProvider)
		}
		if item.Base > best.Base || item.Base == best.Base && item.Weight > best.Weight {
			best = item
		}
	}
	if strings.HasPrefix(best.CapacityProvider, "FARGATE") {
		return "FARGATE", best.CapacityProvider, nil
	}
	return "EC2", best.CapacityProvider, nil
}

// checkOrder refuses what RunTask and services refuse of tasks.
func (c *T) checkOrder(o order) error {
	def := &o.rev.TaskDefinition
	if o.launch == "FARGATE" && !slices.Contains(def.Compatibilities, "FARGATE") {
		return badParameter("Task definition does not support launch_type FARGATE.")
	}
	if len(def.RequiresCompatibilities) > 0 && !slices.Contains(def.RequiresCompatibilities, o.launch) && o.provider == "" {
		return badParameter("Task definition does not support launch_type %s.", o.launch)
	}
	vpc := o.network != nil && o.network.AwsvpcConfiguration != nil
	if def.NetworkMode == "awsvpc" && !vpc {
		return badParameter("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
	}
	if def.NetworkMode != "awsvpc" && vpc {
		return badParameter("Network Configuration is not valid for the given networkMode of this task definition.")
	}
	if vpc && len(o.network.AwsvpcConfiguration.Subnets) == 0 {
		return badParameter("subnets can not be empty.")
	}
	if o.overrides != nil {
		for _, co := range o.overrides.ContainerOverrides {
			if !slices.ContainsFunc(def.ContainerDefinitions, func(d wire.ContainerDefinition) bool { return d.Name == co.Name }) {
				return badParameter("Override for container named %s is not a container in the TaskDefinition.", co.Name)
			}
		}
	}
	if o.exec && def.TaskRoleArn == "" && (o.overrides == nil || o.overrides.TaskRoleArn == "") {
		return badParameter("The service couldn't be enabled for execute command because a valid taskRoleArn is not being used. Specify a valid task role in your task definition and try again.")
	}
	return nil
}

// propagated are the tags of a new task.
func propagated(from string, own []wire.Tag, rev *revision, s *service) []wire.Tag {
	tags := slices.Clone(own)
	switch {
	case from == "TASK_DEFINITION":
		tags = append(tags, rev.Tags...)
	case from == "SERVICE" && s != nil:
		tags = append(tags, s.Tags...)
	}
	return tags
}

func (c *T) startTask(call *api.Call, r *region, in *wire.StartTaskInput) (*wire.StartTaskOutput, error) {
	cl, err := r.activeCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	rev, err := r.runnable(in.TaskDefinition)
	if err != nil {
		return nil, err
	}
	o := order{rev: rev, launch: "EC2", network: in.NetworkConfiguration, overrides: in.Overrides, startedBy: in.StartedBy, group: in.Group,
		exec: in.EnableExecuteCommand, tags: propagated(in.PropagateTags, in.Tags, rev, nil)}
	if err := c.checkOrder(o); err != nil {
		return nil, err
	}
	out := &wire.StartTaskOutput{Tasks: []wire.Task{}, Failures: []wire.Failure{}}
	for _, name := range in.ContainerInstances {
		o.instance = cl.Instances[lastPart(name)]
		if o.instance == nil {
			out.Failures = append(out.Failures, missing(r, "container-instance", name))
			continue
		}
		t := c.newTask(r, cl, o)
		out.Tasks = append(out.Tasks, t.view([]string{"TAGS"}))
		c.launch(r, cl, t, nil)
	}
	return out, nil
}

func (c *T) stopTask(call *api.Call, r *region, in *wire.StopTaskInput) (*wire.StopTaskOutput, error) {
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	t := c.findTask(cl, in.Task)
	if t == nil {
		return nil, badParameter("The referenced task was not found.")
	}
	reason := in.Reason
	if reason == "" {
		reason = "Task stopped by user"
	}
	c.askStop(t, codeUser, reason)
	v := t.view(nil)
	return &wire.StopTaskOutput{Task: &v}, nil
}

func (c *T) listTasks(call *api.Call, r *region, in *wire.ListTasksInput) (*wire.ListTasksOutput, error) {
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if in.StartedBy != "" && (in.Family != "" || in.ServiceName != "" || in.ContainerInstance != "" || in.LaunchType != "") {
		return nil, badParameter("cannot specify startedBy with any other filter.")
	}
	if in.ServiceName != "" {
		if s := cl.Services[lastPart(in.ServiceName)]; s == nil {
			return nil, api.Errorf("ServiceNotFoundException", "Service not found.")
		}
	}
	want := in.DesiredStatus
	if want == "" {
		want = statusRunning
	}
	var found []*task
	for _, t := range cl.Tasks {
		if t.DesiredStatus == want && !t.forgotten(c.now()) && listed(t, in) && !call.Hidden(t.TaskArn) {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(a, b *task) int {
		if d := b.CreatedAt.Compare(a.CreatedAt.Time); d != 0 { // newest first
			return d
		}
		return strings.Compare(a.TaskArn, b.TaskArn)
	})
	arns := make([]string, len(found))
	for i, t := range found {
		arns[i] = t.TaskArn
	}
	part, next, err := page(arns, in.MaxResults, in.NextToken)
	return &wire.ListTasksOutput{TaskArns: part, NextToken: next}, err
}

// listed reports whether a task is one that the filters let through.
func listed(t *task, in *wire.ListTasksInput) bool {
	return (in.Family == "" || in.Family == t.Definition.Family) &&
		(in.ServiceName == "" || lastPart(in.ServiceName) == t.Service) &&
		(in.StartedBy == "" || in.StartedBy == t.StartedBy) &&
		(in.LaunchType == "" || in.LaunchType == t.LaunchType) &&
		(in.ContainerInstance == "" || lastPart(in.ContainerInstance) == lastPart(t.ContainerInstanceArn))
}

func (c *T) describeTasks(call *api.Call, r *region, in *wire.DescribeTasksInput) (*wire.DescribeTasksOutput, error) {
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if len(in.Tasks) == 0 {
		return nil, badParameter("Tasks cannot be empty.")
	}
	if len(in.Tasks) > 100 {
		return nil, badParameter("Tasks cannot have more than 100 elements.")
	}
	out := &wire.DescribeTasksOutput{Tasks: []wire.Task{}, Failures: []wire.Failure{}}
	for _, name := range in.Tasks {
		t := c.findTask(cl, name)
		if t == nil || call.Hidden(t.TaskArn) {
			out.Failures = append(out.Failures, missing(r, "task/"+cl.ClusterName, name))
			continue
		}
		out.Tasks = append(out.Tasks, t.view(in.Include))
	}
	return out, nil
}
