// Package scaling is the sandbox's Application Auto Scaling, as far as ECS
// services use it: targets with their bounds and what is suspended, policies
// and scheduled actions. Bounds take effect at once; there are no metrics, so
// policies are kept and never fire.
package scaling

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/epoch"
	"bake/internal/sandbox/scaling/wire"
)

// Services are those of ECS, whose desired count is scaled.
type Services interface {
	// DesiredCount returns a service's desired count; ok is false if there is none.
	DesiredCount(account, region, cluster, service string) (n int32, ok bool)
	// SetDesiredCount scales a service.
	SetDesiredCount(account, region, cluster, service string, n int32) error
}

// T is the scalable targets of all accounts and regions. Safe for concurrent use.
type T struct {
	w        *api.World
	services Services

	mu     sync.Mutex
	places map[place]*region
}

// A place is what state is apart by.
type place struct{ Account, Region string }

// A region is the state of one place. Keys are namespace, resource and
// dimension, and a name, with blanks between them.
type region struct {
	place
	Targets   map[string]*wire.ScalableTarget
	Policies  map[string]*wire.ScalingPolicy
	Scheduled map[string]*wire.ScheduledAction
	Tags      map[string]map[string]string
}

// New returns a T without targets. services may be nil: then nothing is scaled.
func New(w *api.World, services Services) *T {
	return &T{w: w, services: services, places: map[place]*region{}}
}

// Service returns the actions of Application Auto Scaling.
func (t *T) Service() *api.Service {
	return &api.Service{
		Name: "application-autoscaling", Protocol: api.JSON, Target: "AnyScaleFrontendService",
		Actions: map[string]api.Action{
			"RegisterScalableTarget":    act(t, t.registerScalableTarget),
			"DescribeScalableTargets":   act(t, t.describeScalableTargets),
			"DeregisterScalableTarget":  act(t, t.deregisterScalableTarget),
			"PutScalingPolicy":          act(t, t.putScalingPolicy),
			"DescribeScalingPolicies":   act(t, t.describeScalingPolicies),
			"DeleteScalingPolicy":       act(t, t.deleteScalingPolicy),
			"PutScheduledAction":        act(t, t.putScheduledAction),
			"DescribeScheduledActions":  act(t, t.describeScheduledActions),
			"DeleteScheduledAction":     act(t, t.deleteScheduledAction),
			"DescribeScalingActivities": act(t, t.describeScalingActivities),
			"TagResource":               act(t, t.tagResource),
			"UntagResource":             act(t, t.untagResource),
			"ListTagsForResource":       act(t, t.listTagsForResource),
		},
	}
}

// act makes an action of a method that is called under the lock.
func act[In, Out any](t *T, f func(r *region, in *In) (*Out, error)) api.Action {
	return api.Do(func(_ context.Context, call *api.Call, in *In) (*Out, error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		return f(t.region(place{call.Account, call.Region}), in)
	})
}

func (t *T) region(p place) *region {
	if t.places[p] == nil {
		t.places[p] = &region{place: p, Targets: map[string]*wire.ScalableTarget{}, Policies: map[string]*wire.ScalingPolicy{},
			Scheduled: map[string]*wire.ScheduledAction{}, Tags: map[string]map[string]string{}}
	}
	return t.places[p]
}

func (r *region) arn(resource string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it cannot fail: crypto/rand
	return fmt.Sprintf("arn:aws:application-autoscaling:%s:%s:%s%s", r.Region, r.Account, resource, hex.EncodeToString(b[:]))
}

func validation(format string, args ...any) error {
	return api.Errorf("ValidationException", format, args...)
}

func key(parts ...string) string { return strings.Join(parts, " ") }

// service takes "service/CLUSTER/NAME" apart.
func service(resource string) (cluster, name string, ok bool) {
	f := strings.Split(resource, "/")
	if len(f) != 3 || f[0] != "service" {
		return "", "", false
	}
	return f[1], f[2], true
}

func (t *T) registerScalableTarget(r *region, in *wire.RegisterScalableTargetInput) (*wire.RegisterScalableTargetOutput, error) {
	if in.ServiceNamespace != "ecs" || in.ScalableDimension != "ecs:service:DesiredCount" {
		return nil, validation("Unsupported service namespace, resource type or scalable dimension: bake's sandbox scales ecs:service:DesiredCount")
	}
	cluster, name, ok := service(in.ResourceId)
	if !ok {
		return nil, validation("Unsupported service namespace, resource type or scalable dimension: %s", in.ResourceId)
	}
	if t.services != nil {
		if _, ok := t.services.DesiredCount(r.Account, r.Region, cluster, name); !ok {
			return nil, validation("ECS service doesn't exist: %s", in.ResourceId)
		}
	}
	k := key(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	target := r.Targets[k]
	if target == nil {
		if in.MinCapacity == nil || in.MaxCapacity == nil {
			return nil, validation("MinCapacity and MaxCapacity must be specified when a scalable target is registered.")
		}
		target = &wire.ScalableTarget{ServiceNamespace: in.ServiceNamespace, ResourceId: in.ResourceId, ScalableDimension: in.ScalableDimension, CreationTime: epoch.At(t.w.Now()),
			RoleARN:           "arn:aws:iam::" + r.Account + ":role/aws-service-role/ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService",
			ScalableTargetARN: r.arn("scalable-target/"), SuspendedState: &wire.SuspendedState{DynamicScalingInSuspended: new(false), DynamicScalingOutSuspended: new(false), ScheduledScalingSuspended: new(false)}}
	}
	next := *target
	if in.MinCapacity != nil {
		next.MinCapacity = in.MinCapacity
	}
	if in.MaxCapacity != nil {
		next.MaxCapacity = in.MaxCapacity
	}
	if in.RoleARN != "" {
		next.RoleARN = in.RoleARN
	}
	if *next.MinCapacity < 0 || *next.MaxCapacity < *next.MinCapacity {
		return nil, validation("Maximum capacity cannot be less than minimum capacity.")
	}
	next.SuspendedState = suspended(next.SuspendedState, in.SuspendedState)
	r.Targets[k] = &next
	if in.Tags != nil {
		r.Tags[next.ScalableTargetARN] = in.Tags
	}
	return &wire.RegisterScalableTargetOutput{ScalableTargetARN: next.ScalableTargetARN}, t.bound(r, &next, cluster, name)
}

// suspended is what there is with what is given over it.
func suspended(present, given *wire.SuspendedState) *wire.SuspendedState {
	next := *present
	if given == nil {
		return &next
	}
	for _, x := range []struct {
		to    **bool
		given *bool
	}{
		{&next.DynamicScalingInSuspended, given.DynamicScalingInSuspended}, {&next.DynamicScalingOutSuspended, given.DynamicScalingOutSuspended},
		{&next.ScheduledScalingSuspended, given.ScheduledScalingSuspended},
	} {
		if x.given != nil {
			*x.to = x.given
		}
	}
	return &next
}

// bound brings a service's desired count into its bounds, unless that is suspended.
func (t *T) bound(r *region, target *wire.ScalableTarget, cluster, name string) error {
	if t.services == nil {
		return nil
	}
	n, ok := t.services.DesiredCount(r.Account, r.Region, cluster, name)
	switch {
	case !ok:
		return nil
	case n < *target.MinCapacity && !*target.SuspendedState.DynamicScalingOutSuspended:
		return t.services.SetDesiredCount(r.Account, r.Region, cluster, name, *target.MinCapacity)
	case n > *target.MaxCapacity && !*target.SuspendedState.DynamicScalingInSuspended:
		return t.services.SetDesiredCount(r.Account, r.Region, cluster, name, *target.MaxCapacity)
	}
	return nil
}

// part is one page of what a Describe found, by key, and the token for the rest.
func part[V any](all map[string]V, wanted func(V) bool, limit *int32, token string) ([]V, string) {
	size := 50
	if limit != nil && *limit > 0 {
		size = min(size, int(*limit))
	}
	found := []V{}
	last := ""
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if k <= token || !wanted(all[k]) {
			continue
		}
		if len(found) == size {
			return found, last
		}
		found, last = append(found, all[k]), k
	}
	return found, ""
}

func (t *T) describeScalableTargets(r *region, in *wire.DescribeScalableTargetsInput) (*wire.DescribeScalableTargetsOutput, error) {
	found, next := part(r.Targets, func(x *wire.ScalableTarget) bool {
		return x.ServiceNamespace == in.ServiceNamespace && (len(in.ResourceIds) == 0 || slices.Contains(in.ResourceIds, x.ResourceId)) &&
			(in.ScalableDimension == "" || in.ScalableDimension == x.ScalableDimension)
	}, in.MaxResults, in.NextToken)
	out := &wire.DescribeScalableTargetsOutput{ScalableTargets: []wire.ScalableTarget{}, NextToken: next}
	for _, x := range found {
		out.ScalableTargets = append(out.ScalableTargets, *x)
	}
	return out, nil
}

func (t *T) deregisterScalableTarget(r *region, in *wire.DeregisterScalableTargetInput) (*wire.DeregisterScalableTargetOutput, error) {
	k := key(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	if r.Targets[k] == nil {
		return nil, noTarget(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	}
	delete(r.Targets, k)
	ofTarget := func(other string) bool { return strings.HasPrefix(other, k+" ") }
	maps.DeleteFunc(r.Policies, func(other string, _ *wire.ScalingPolicy) bool { return ofTarget(other) })
	maps.DeleteFunc(r.Scheduled, func(other string, _ *wire.ScheduledAction) bool { return ofTarget(other) })
	return &wire.DeregisterScalableTargetOutput{}, nil
}

func noTarget(namespace, resource, dimension string) error {
	return api.Errorf("ObjectNotFoundException", "No scalable target found for service namespace: %s, resource ID: %s, scalable dimension: %s", namespace, resource, dimension)
}

// Save returns the state of all accounts and regions.
func (t *T) Save() (json.RawMessage, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*region
	for _, r := range t.places {
		all = append(all, r)
	}
	return json.Marshal(all)
}

// Load replaces everything by what Save returned.
func (t *T) Load(data json.RawMessage) error {
	var all []*region
	if err := json.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("reading the state of Application Auto Scaling: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.places = map[place]*region{}
	for _, r := range all {
		t.places[r.place] = r
	}
	return nil
}
