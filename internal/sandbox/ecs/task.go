package ecs

import (
	"context"
	"slices"
	"strings"
	"time"

	"bake/internal/sandbox/ecs/wire"
	"bake/internal/sandbox/epoch"
)

// The states of tasks and containers, in the order they are gone through.
const (
	statusProvisioning   = "PROVISIONING"
	statusPending        = "PENDING"
	statusActivating     = "ACTIVATING"
	statusRunning        = "RUNNING"
	statusDeactivating   = "DEACTIVATING"
	statusStopping       = "STOPPING"
	statusDeprovisioning = "DEPROVISIONING"
	statusStopped        = "STOPPED"
)

// The stop codes of tasks.
const (
	codeFailedToStart = "TaskFailedToStart"
	codeEssential     = "EssentialContainerExited"
	codeUser          = "UserInitiated"
	codeScheduler     = "ServiceSchedulerInitiated"
	codeTermination   = "TerminationNotice"
)

// A phase is a coarser state of a task, as it is counted.
type phase int

const (
	phasePending phase = iota
	phaseRunning
	phaseStopping
	phaseStopped
)

// A task with what is needed to run it.
type task struct {
	wire.Task
	Definition wire.TaskDefinition // as it was when the task was made
	Service    string              // name of the service that it belongs to
	Protected  *epoch.Time         // until when scaling in must spare it

	targets  []registration // where it is, or was, registered
	stop     context.CancelFunc
	stopping context.Context // ends when the task shall stop
	failed   bool            // it ended, or had to be ended, before it was of use
	healthy  bool            // it was healthy once
	counted  bool            // the scheduler has seen its end
	address  string
	boxes    []*box
}

// A registration is a task's place in a target group.
type registration struct {
	Group string
	ID    string // empty until it is registered
	Port  int32
}

func (t *task) id() string { return lastPart(t.TaskArn) }

func (t *task) phase() phase {
	switch t.LastStatus {
	case statusProvisioning, statusPending, statusActivating:
		return phasePending
	case statusRunning:
		return phaseRunning
	case statusStopped:
		return phaseStopped
	}
	return phaseStopping
}

// wanted reports whether the task shall go on running.
func (t *task) wanted() bool { return t.DesiredStatus == statusRunning }

// remembered is how long stopped tasks can be described.
const remembered = time.Hour

// forgotten reports whether a stopped task is not shown any more.
func (t *task) forgotten(now time.Time) bool {
	return t.LastStatus == statusStopped && now.Sub(t.StoppedAt.Std()) > remembered
}

// An order is what RunTask, StartTask and services say of new tasks.
type order struct {
	rev       *revision
	launch    string
	provider  string // capacity provider, or ""
	platform  string // Fargate's platform version
	network   *wire.NetworkConfiguration
	overrides *wire.TaskOverride
	startedBy string
	group     string
	service   string
	tags      []wire.Tag
	exec      bool
	instance  *wire.ContainerInstance
}

// newTask makes a task, which does not run yet. The lock is held.
func (c *T) newTask(r *region, cl *cluster, o order) *task {
	id, now := newID(), c.now()
	def := o.rev.TaskDefinition
	t := &task{Definition: def, Service: o.service}
	t.Task = wire.Task{
		TaskArn: r.arn("task/" + cl.ClusterName + "/" + id), ClusterArn: cl.ClusterArn, TaskDefinitionArn: def.TaskDefinitionArn,
		LastStatus: statusProvisioning, DesiredStatus: statusRunning, HealthStatus: "UNKNOWN", CreatedAt: epoch.At(now), Version: 1,
		LaunchType: o.launch, CapacityProviderName: o.provider, Cpu: def.Cpu, Memory: def.Memory, Group: o.group, StartedBy: o.startedBy,
		Tags: orEmpty(o.tags), Overrides: fillOverrides(o.overrides, def.ContainerDefinitions), EnableExecuteCommand: o.exec,
		Attachments: []wire.Attachment{}, InferenceAccelerators: []wire.InferenceAccelerator{}, AvailabilityZone: r.Region + "a",
		Attributes: []wire.Attribute{{Name: "ecs.cpu-architecture", Value: architecture(&def)}},
	}
	if o.group == "" {
		t.Group = "family:" + def.Family
	}
	if o.launch == "FARGATE" {
		t.PlatformVersion, t.PlatformFamily = fargateVersion(o.platform), "Linux"
		t.EphemeralStorage = &wire.EphemeralStorage{SizeInGiB: 20}
		if def.EphemeralStorage != nil {
			t.EphemeralStorage = def.EphemeralStorage
		}
	}
	if o.instance != nil {
		t.ContainerInstanceArn = o.instance.ContainerInstanceArn
	}
	if def.NetworkMode == "awsvpc" {
		t.Attachments = append(t.Attachments, attachment(o.network))
	}
	for _, d := range def.ContainerDefinitions {
		t.Containers = append(t.Containers, newContainer(r, cl, t, d))
	}
	t.stopping, t.stop = context.WithCancel(c.ctx)
	cl.Tasks[id] = t
	return t
}

// fargateVersion is the platform version that a task gets.
func fargateVersion(asked string) string {
	if asked == "" || asked == "LATEST" {
		return "1.4.0"
	}
	return asked
}

func architecture(def *wire.TaskDefinition) string {
	if p := def.RuntimePlatform; p != nil && p.CpuArchitecture == "ARM64" {
		return "arm64"
	}
	return "x86_64"
}

// attachment is the network interface of an awsvpc task before it is there.
func attachment(n *wire.NetworkConfiguration) wire.Attachment {
	a := wire.Attachment{Id: uuid(), Type: "ElasticNetworkInterface", Status: "PRECREATED", Details: []wire.KeyValuePair{}}
	if n != nil && n.AwsvpcConfiguration != nil && len(n.AwsvpcConfiguration.Subnets) > 0 {
		a.Details = append(a.Details, wire.KeyValuePair{Name: "subnetId", Value: n.AwsvpcConfiguration.Subnets[0]})
	}
	return a
}

func uuid() string {
	id := newID()
	return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
}

func newContainer(r *region, cl *cluster, t *task, d wire.ContainerDefinition) wire.Container {
	id := lastPart(t.TaskArn)
	w := wire.Container{
		ContainerArn: r.arn("container/" + cl.ClusterName + "/" + id + "/" + uuid()), TaskArn: t.TaskArn, Name: d.Name, Image: d.Image,
		LastStatus: statusPending, HealthStatus: "UNKNOWN", NetworkInterfaces: []wire.NetworkInterface{}, NetworkBindings: []wire.NetworkBinding{},
		Cpu: number(d.Cpu), Memory: numberOf(d.Memory), MemoryReservation: numberOf(d.MemoryReservation),
	}
	if t.EnableExecuteCommand {
		w.ManagedAgents = []wire.ManagedAgent{{Name: "ExecuteCommandAgent", LastStatus: statusPending}}
	}
	return w
}

// fillOverrides is what a task's overrides are described as: every container has one.
func fillOverrides(o *wire.TaskOverride, defs []wire.ContainerDefinition) *wire.TaskOverride {
	out := &wire.TaskOverride{ContainerOverrides: []wire.ContainerOverride{}, InferenceAcceleratorOverrides: []wire.InferenceAcceleratorOverride{}}
	given := map[string]wire.ContainerOverride{}
	if o != nil {
		out.Cpu, out.Memory, out.TaskRoleArn, out.ExecutionRoleArn, out.EphemeralStorage = o.Cpu, o.Memory, o.TaskRoleArn, o.ExecutionRoleArn, o.EphemeralStorage
		for _, co := range o.ContainerOverrides {
			given[co.Name] = co
		}
	}
	for _, d := range defs {
		co, ok := given[d.Name]
		if !ok {
			co = wire.ContainerOverride{Name: d.Name}
		}
		out.ContainerOverrides = append(out.ContainerOverrides, co)
	}
	return out
}

// override is what a task's overrides say of a container.
func (t *task) override(name string) wire.ContainerOverride {
	for _, o := range t.Overrides.ContainerOverrides {
		if o.Name == name {
			return o
		}
	}
	return wire.ContainerOverride{}
}

// askStop makes a task stop, for the first reason that is given. The lock is held.
func (c *T) askStop(t *task, code, reason string) {
	if t.DesiredStatus == statusStopped {
		return
	}
	t.DesiredStatus, t.StopCode, t.StoppedReason = statusStopped, code, reason
	t.StoppingAt = epoch.At(c.now())
	t.Version++
	t.stop()
}

// view is the task as it is answered.
func (t *task) view(include []string) wire.Task {
	v := t.Task
	v.Containers = slices.Clone(v.Containers)
	v.Attachments = slices.Clone(v.Attachments)
	if !slices.Contains(include, "TAGS") {
		v.Tags = []wire.Tag{}
	}
	return v
}

// findTask finds a task by id or ARN.
func (c *T) findTask(cl *cluster, name string) *task {
	if strings.HasPrefix(name, "arn:") && !strings.HasPrefix(resourceOf(name), "task/"+cl.ClusterName+"/") {
		return nil
	}
	t := cl.Tasks[lastPart(name)]
	if t == nil || t.forgotten(c.now()) {
		return nil
	}
	return t
}
