package ecs

import (
	"time"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs/wire"
	"bake/internal/sandbox/epoch"
)

// protectedFor is how long a task is protected if nothing is said.
const protectedFor = 2 * time.Hour

func (c *T) updateTaskProtection(call *api.Call, r *region, in *wire.UpdateTaskProtectionInput) (*wire.UpdateTaskProtectionOutput, error) {
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	out := &wire.UpdateTaskProtectionOutput{ProtectedTasks: []wire.ProtectedTask{}, Failures: []wire.Failure{}}
	for _, name := range in.Tasks {
		t := c.findTask(cl, name)
		if t == nil || t.Service == "" || !t.wanted() {
			out.Failures = append(out.Failures, wire.Failure{Arn: name, Reason: "TASK_NOT_VALID"})
			continue
		}
		t.Protected = nil
		if in.ProtectionEnabled {
			d := protectedFor
			if in.ExpiresInMinutes != nil {
				d = time.Duration(*in.ExpiresInMinutes) * time.Minute
			}
			t.Protected = epoch.At(c.now().Add(d))
		}
		out.ProtectedTasks = append(out.ProtectedTasks, wire.ProtectedTask{TaskArn: t.TaskArn, ProtectionEnabled: in.ProtectionEnabled, ExpirationDate: t.Protected})
	}
	return out, nil
}

func (c *T) getTaskProtection(call *api.Call, r *region, in *wire.GetTaskProtectionInput) (*wire.GetTaskProtectionOutput, error) {
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	out := &wire.GetTaskProtectionOutput{ProtectedTasks: []wire.ProtectedTask{}, Failures: []wire.Failure{}}
	for _, t := range cl.Tasks {
		wanted := len(in.Tasks) == 0
		for _, name := range in.Tasks {
			wanted = wanted || lastPart(name) == t.id()
		}
		if wanted && t.Service != "" && t.wanted() {
			on := t.Protected != nil && t.Protected.After(c.now())
			out.ProtectedTasks = append(out.ProtectedTasks, wire.ProtectedTask{TaskArn: t.TaskArn, ProtectionEnabled: on, ExpirationDate: t.Protected})
		}
	}
	return out, nil
}
