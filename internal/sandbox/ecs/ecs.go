// Package ecs is the sandbox's Amazon ECS: clusters, task definitions, tasks
// that really run, services with their deployments, and what is asked about
// them. The states and texts are AWS's; times are scaled by World.Pace.
//
// One lock guards all state. Each service has one scheduler goroutine and each
// task one that runs it; they take the lock for moments and wait without it.
package ecs

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"bake/internal/registry"
	"bake/internal/sandbox/agent"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/session"
)

// Deps is what tasks and services need of the sandbox's other services. What
// is nil is not checked, or cannot be had: a secret without Secrets is missing.
type Deps struct {
	Images     agent.Images // nil: from the registries that references name
	Logs       Logs
	Secrets    Secrets
	Parameters Parameters
	Roles      Roles
	Targets    Targets
	Alarms     Alarms
	// Settle is how long a new task must have run before a deployment counts as
	// completed, whatever the pace; 0 means a second. On AWS it is the time until
	// the scheduler looks again.
	Settle time.Duration
}

// Logs takes what containers with the awslogs driver write.
type Logs interface {
	// EnsureStream makes a stream, and its group if create is true. The error is
	// an *api.Error with ResourceNotFoundException if there is no such group.
	EnsureStream(account, region, group, stream string, create bool) error
	// Append adds one line that was written at a time.
	Append(account, region, group, stream string, at time.Time, message string)
}

// Secrets gives the values of Secrets Manager.
type Secrets interface {
	// Value returns a secret as valueFrom means it: its name or ARN, with
	// ":json-key:stage:version" after an ARN if need be.
	Value(account, region, valueFrom string) (string, error)
}

// Parameters gives the values of Systems Manager's parameters.
type Parameters interface {
	// Value returns a parameter by its name or ARN, decrypted.
	Value(account, region, nameOrARN string) (string, error)
}

// Roles tells of IAM's roles.
type Roles interface {
	// Trusts reports whether there is a role and whether service
	// ("ecs-tasks.amazonaws.com") may assume it.
	Trusts(roleARN, service string) (exists, trusts bool)
}

// Targets registers tasks with target groups. A target is an address, or a
// container instance's EC2 id, and a port.
type Targets interface {
	// TargetType returns "ip" or "instance", and whether a load balancer's
	// listener forwards to the group; ok is false if there is none.
	TargetType(groupARN string) (kind string, attached, ok bool)
	Register(groupARN, id string, port int32) error
	// Deregister begins to drain; Health says "draining" until that is over.
	Deregister(groupARN, id string, port int32) error
	// Health is a target's state ("initial", "healthy", "unhealthy",
	// "draining", "unused"; "" if it is not registered) with AWS's reason.
	Health(groupARN, id string, port int32) (state, reason, description string)
	// Shift lets a listener's rule send percent of its requests to a group and
	// the others to another.
	Shift(ruleARN, groupARN, otherARN string, percent int) error
}

// Alarms tells of CloudWatch's alarms.
type Alarms interface {
	// Firing returns those of names that are in the state ALARM.
	Firing(account, region string, names []string) []string
	// Evaluates is how long the slowest of names takes to see that something is wrong.
	Evaluates(account, region string, names []string) time.Duration
}

// T is the control plane of ECS. Safe for concurrent use.
type T struct {
	w     *api.World
	deps  Deps
	agent *agent.Agent
	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	work  sync.WaitGroup

	mu       sync.Mutex
	places   map[place]*region
	sessions *session.Server // nil until a command is executed
	closed   bool
}

// A place is what state is apart by.
type place struct{ Account, Region string }

// New returns an ECS without clusters. Tasks' files are below World.Dir.
func New(w *api.World, d Deps) (*T, error) {
	a, err := agent.Open(filepath.Join(w.Dir, "tasks"))
	if err != nil {
		return nil, err
	}
	if d.Images == nil {
		d.Images = agent.NewRegistries(registry.New(registry.Config{}))
	}
	if d.Settle == 0 {
		d.Settle = time.Second
	}
	ctx, stop := context.WithCancel(context.Background())
	return &T{w: w, deps: d, agent: a, ctx: ctx, stop: stop, places: map[place]*region{}}, nil
}

// Close ends every task and scheduler; no process is left when it returns.
func (c *T) Close() error {
	c.mu.Lock()
	c.closed = true
	for _, r := range c.places {
		for _, cl := range r.Clusters {
			for _, t := range cl.Tasks {
				c.askStop(t, codeTermination, "The sandbox was stopped while the task ran.")
			}
		}
	}
	sessions := c.sessions
	c.mu.Unlock()
	c.stop()
	c.agent.Stop()
	c.work.Wait()
	err := c.agent.Close()
	if sessions != nil {
		err = errors.Join(err, sessions.Close())
	}
	return err
}

// start runs f until it returns; Close waits for it. The lock is held.
func (c *T) start(f func()) {
	if !c.closed {
		c.work.Go(f)
	}
}

func (c *T) now() time.Time { return c.w.Now().UTC().Truncate(time.Millisecond) }

// Service returns the actions of ECS.
func (c *T) Service() *api.Service {
	return &api.Service{
		Name: "ecs", Protocol: api.JSON, Target: "AmazonEC2ContainerServiceV20141113",
		Actions: map[string]api.Action{
			"CreateCluster":                 act(c, c.createCluster),
			"UpdateCluster":                 act(c, c.updateCluster),
			"UpdateClusterSettings":         act(c, c.updateClusterSettings),
			"DescribeClusters":              act(c, c.describeClusters),
			"ListClusters":                  act(c, c.listClusters),
			"DeleteCluster":                 act(c, c.deleteCluster),
			"PutClusterCapacityProviders":   act(c, c.putClusterCapacityProviders),
			"CreateCapacityProvider":        act(c, c.createCapacityProvider),
			"DescribeCapacityProviders":     act(c, c.describeCapacityProviders),
			"DeleteCapacityProvider":        act(c, c.deleteCapacityProvider),
			"RegisterTaskDefinition":        act(c, c.registerTaskDefinition),
			"DescribeTaskDefinition":        act(c, c.describeTaskDefinition),
			"DeregisterTaskDefinition":      act(c, c.deregisterTaskDefinition),
			"DeleteTaskDefinitions":         act(c, c.deleteTaskDefinitions),
			"ListTaskDefinitions":           act(c, c.listTaskDefinitions),
			"ListTaskDefinitionFamilies":    act(c, c.listTaskDefinitionFamilies),
			"CreateService":                 act(c, c.createService),
			"UpdateService":                 act(c, c.updateService),
			"DescribeServices":              act(c, c.describeServices),
			"ListServices":                  act(c, c.listServices),
			"DeleteService":                 act(c, c.deleteService),
			"ListServiceDeployments":        act(c, c.listServiceDeployments),
			"DescribeServiceDeployments":    act(c, c.describeServiceDeployments),
			"DescribeServiceRevisions":      act(c, c.describeServiceRevisions),
			"StopServiceDeployment":         act(c, c.stopServiceDeployment),
			"ContinueServiceDeployment":     act(c, c.continueServiceDeployment),
			"RunTask":                       act(c, c.runTask),
			"StartTask":                     act(c, c.startTask),
			"StopTask":                      act(c, c.stopTask),
			"ListTasks":                     act(c, c.listTasks),
			"DescribeTasks":                 act(c, c.describeTasks),
			"ExecuteCommand":                act(c, c.executeCommand),
			"UpdateTaskProtection":          act(c, c.updateTaskProtection),
			"GetTaskProtection":             act(c, c.getTaskProtection),
			"RegisterContainerInstance":     act(c, c.registerContainerInstance),
			"DeregisterContainerInstance":   act(c, c.deregisterContainerInstance),
			"ListContainerInstances":        act(c, c.listContainerInstances),
			"DescribeContainerInstances":    act(c, c.describeContainerInstances),
			"UpdateContainerInstancesState": act(c, c.updateContainerInstancesState),
			"TagResource":                   act(c, c.tagResource),
			"UntagResource":                 act(c, c.untagResource),
			"ListTagsForResource":           act(c, c.listTagsForResource),
			"PutAccountSetting":             act(c, c.putAccountSetting),
			"PutAccountSettingDefault":      act(c, c.putAccountSettingDefault),
			"DeleteAccountSetting":          act(c, c.deleteAccountSetting),
			"ListAccountSettings":           act(c, c.listAccountSettings),
		},
	}
}

// act makes an action of a method that is called under the lock with the
// state of the caller's account and region.
func act[In, Out any](c *T, f func(call *api.Call, r *region, in *In) (*Out, error)) api.Action {
	return api.Do(func(_ context.Context, call *api.Call, in *In) (*Out, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		out, err := f(call, c.region(place{call.Account, call.Region}), in)
		if err != nil {
			return nil, err
		}
		return api.Detach(out)
	})
}
