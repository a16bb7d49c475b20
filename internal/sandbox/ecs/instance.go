package ecs

import (
	"slices"
	"strings"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs/wire"
	"bake/internal/sandbox/epoch"
)

// place finds a container instance for one more task of o, for launch types
// that need one, and notes it in o. It returns why there is none, or nil. The lock is held.
func (c *T) place(cl *cluster, o *order) *wire.Failure {
	if o.launch == "FARGATE" {
		return nil
	}
	var closest *wire.Failure
	names := make([]string, 0, len(cl.Instances))
	for id := range cl.Instances {
		names = append(names, id)
	}
	slices.Sort(names)
	for _, id := range names {
		in := cl.Instances[id]
		if in.Status != "ACTIVE" || !in.AgentConnected {
			continue
		}
		short := c.lacks(cl, in, &o.rev.TaskDefinition)
		if short == "" {
			o.instance = in
			return nil
		}
		closest = &wire.Failure{Arn: in.ContainerInstanceArn, Reason: "RESOURCE:" + short}
	}
	if closest == nil {
		return &wire.Failure{Reason: "No Container Instances were found in your cluster."}
	}
	return closest
}

// lacks returns which resource of an instance is too short for one more task, or "".
func (c *T) lacks(cl *cluster, in *wire.ContainerInstance, def *wire.TaskDefinition) string {
	free := c.remaining(cl, in)
	need := needs(def)
	for _, name := range []string{"CPU", "MEMORY"} {
		if free[name] < need[name] {
			return name
		}
	}
	return ""
}

// needs are the resources that a task reserves on its instance.
func needs(def *wire.TaskDefinition) map[string]int32 {
	need := map[string]int32{"CPU": atoi(def.Cpu), "MEMORY": atoi(def.Memory)}
	var cpu, memory int32
	for _, d := range def.ContainerDefinitions {
		cpu += d.Cpu
		if d.MemoryReservation != nil {
			memory += *d.MemoryReservation
		} else if d.Memory != nil {
			memory += *d.Memory
		}
	}
	if def.Cpu == "" {
		need["CPU"] = cpu
	}
	if def.Memory == "" {
		need["MEMORY"] = memory
	}
	return need
}

func atoi(s string) int32 {
	var n int32
	for _, d := range s {
		if d < '0' || d > '9' {
			return 0
		}
		n = n*10 + d - '0'
	}
	return n
}

// remaining are an instance's resources that no task of it reserves.
func (c *T) remaining(cl *cluster, in *wire.ContainerInstance) map[string]int32 {
	free := map[string]int32{}
	for _, r := range in.RegisteredResources {
		free[r.Name] = r.IntegerValue
	}
	for _, t := range cl.Tasks {
		if t.ContainerInstanceArn != in.ContainerInstanceArn || t.LastStatus == statusStopped {
			continue
		}
		for name, n := range needs(&t.Definition) {
			free[name] -= n
		}
	}
	return free
}

// instanceView is an instance as it is answered.
func (c *T) instanceView(cl *cluster, in *wire.ContainerInstance) wire.ContainerInstance {
	v := *in
	v.RemainingResources = nil
	free := c.remaining(cl, in)
	for _, r := range in.RegisteredResources {
		if n, ok := free[r.Name]; ok && r.Type == "INTEGER" {
			r.IntegerValue = n
		}
		v.RemainingResources = append(v.RemainingResources, r)
	}
	for _, t := range cl.Tasks {
		if t.ContainerInstanceArn != in.ContainerInstanceArn {
			continue
		}
		switch t.phase() {
		case phaseRunning:
			v.RunningTasksCount++
		case phasePending:
			v.PendingTasksCount++
		}
	}
	return v
}

// registerContainerInstance is what the agent on an EC2 instance calls; here
// whoever wants to have a simulated instance does.
func (c *T) registerContainerInstance(call *api.Call, r *region, in *wire.RegisterContainerInstanceInput) (*wire.RegisterContainerInstanceOutput, error) {
	cl, err := r.activeCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	id := newID()
	i := &wire.ContainerInstance{
		ContainerInstanceArn: r.arn("container-instance/" + cl.ClusterName + "/" + id), Ec2InstanceId: "i-" + newID()[:17], Status: "ACTIVE", AgentConnected: true,
		RegisteredAt: epoch.At(c.now()), RegisteredResources: in.TotalResources, Attributes: orEmpty(in.Attributes), Attachments: []wire.Attachment{},
		VersionInfo: in.VersionInfo, Tags: orEmpty(in.Tags), Version: 1,
	}
	if len(i.RegisteredResources) == 0 {
		for name, n := range map[string]int32{"CPU": 2048, "MEMORY": 3934} { // a t3.medium's
			i.RegisteredResources = append(i.RegisteredResources, wire.Resource{Name: name, Type: "INTEGER", IntegerValue: n})
		}
		slices.SortFunc(i.RegisteredResources, func(a, b wire.Resource) int { return strings.Compare(a.Name, b.Name) })
	}
	cl.Instances[id] = i
	for _, s := range cl.Services {
		s.wake()
	}
	v := c.instanceView(cl, i)
	return &wire.RegisterContainerInstanceOutput{ContainerInstance: &v}, nil
}

func (c *T) deregisterContainerInstance(call *api.Call, r *region, in *wire.DeregisterContainerInstanceInput) (*wire.DeregisterContainerInstanceOutput, error) {
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	i := cl.Instances[lastPart(in.ContainerInstance)]
	if i == nil {
		return nil, badParameter("The specified container instance is invalid.")
	}
	v := c.instanceView(cl, i)
	if v.RunningTasksCount > 0 && (in.Force == nil || !*in.Force) {
		return nil, badParameter("Found running tasks on the instance.")
	}
	for _, t := range cl.Tasks {
		if t.ContainerInstanceArn == i.ContainerInstanceArn {
			c.askStop(t, codeTermination, "Host EC2 (instance "+i.Ec2InstanceId+") terminated.")
		}
	}
	delete(cl.Instances, lastPart(i.ContainerInstanceArn))
	v.Status, v.AgentConnected = "INACTIVE", false
	return &wire.DeregisterContainerInstanceOutput{ContainerInstance: &v}, nil
}

func (c *T) listContainerInstances(call *api.Call, r *region, in *wire.ListContainerInstancesInput) (*wire.ListContainerInstancesOutput, error) {
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	var arns []string
	for _, i := range cl.Instances {
		if in.Status == "" || in.Status == i.Status {
			arns = append(arns, i.ContainerInstanceArn)
		}
	}
	slices.Sort(arns)
	part, next, err := page(arns, in.MaxResults, in.NextToken)
	return &wire.ListContainerInstancesOutput{ContainerInstanceArns: part, NextToken: next}, err
}

func (c *T) describeContainerInstances(call *api.Call, r *region, in *wire.DescribeContainerInstancesInput) (*wire.DescribeContainerInstancesOutput, error) {
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	out := &wire.DescribeContainerInstancesOutput{ContainerInstances: []wire.ContainerInstance{}, Failures: []wire.Failure{}}
	for _, name := range in.ContainerInstances {
		i := cl.Instances[lastPart(name)]
		if i == nil {
			out.Failures = append(out.Failures, missing(r, "container-instance/"+cl.ClusterName, name))
			continue
		}
		out.ContainerInstances = append(out.ContainerInstances, c.instanceView(cl, i))
	}
	return out, nil
}

func (c *T) updateContainerInstancesState(call *api.Call, r *region, in *wire.UpdateContainerInstancesStateInput) (*wire.UpdateContainerInstancesStateOutput, error) {
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if in.Status != "ACTIVE" && in.Status != "DRAINING" {
		return nil, badParameter("Container instance status should be ACTIVE or DRAINING.")
	}
	out := &wire.UpdateContainerInstancesStateOutput{ContainerInstances: []wire.ContainerInstance{}, Failures: []wire.Failure{}}
	for _, name := range in.ContainerInstances {
		i := cl.Instances[lastPart(name)]
		if i == nil {
			out.Failures = append(out.Failures, missing(r, "container-instance/"+cl.ClusterName, name))
			continue
		}
		i.Status = in.Status
		for _, t := range cl.Tasks {
			if in.Status == "DRAINING" && t.ContainerInstanceArn == i.ContainerInstanceArn && t.Service != "" {
				c.askStop(t, codeScheduler, "Container instance draining: (instance "+i.Ec2InstanceId+")")
			}
		}
		out.ContainerInstances = append(out.ContainerInstances, c.instanceView(cl, i))
	}
	return out, nil
}
