// Package elb is the sandbox's Elastic Load Balancing (version 2): load
// balancers with listeners that really listen on loopback and pass requests to
// healthy targets, and target groups whose health is really checked.
//
// A load balancer has an address of its own, 127.x.y.z, which is its DNSName.
package elb

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"bake/internal/sandbox/api"
)

// T is the load balancers of all accounts and regions. Safe for concurrent use.
type T struct {
	w    *api.World
	ctx  context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup
	// instances is where targets that are instances are found; it may be nil.
	instances Instances
	authority authority

	mu     sync.Mutex
	places map[place]*region
	closed bool
}

// A place is what state is apart by.
type place struct{ Account, Region string }

// A region is the state of one place, by ARN.
type region struct {
	place
	Balancers map[string]*balancer
	Listeners map[string]*listener
	Rules     map[string]*rule
	Groups    map[string]*group
	Tags      map[string][]tag
}

// Instances tells where EC2's instances are reached.
type Instances interface {
	// Address returns an instance's address; ok is false if there is none.
	Address(account, region, instanceID string) (address string, ok bool)
}

// New returns a T without load balancers; instances may be nil.
func New(w *api.World, instances Instances) *T {
	ctx, stop := context.WithCancel(context.Background())
	return &T{w: w, ctx: ctx, stop: stop, instances: instances, places: map[place]*region{}}
}

// Close stops all listeners and health checks.
func (t *T) Close() error {
	t.mu.Lock()
	t.closed = true
	for _, r := range t.places {
		for _, l := range r.Listeners {
			l.close()
		}
	}
	t.mu.Unlock()
	t.stop()
	t.work.Wait()
	return nil
}

// Service returns the actions of Elastic Load Balancing.
func (t *T) Service() *api.Service {
	return &api.Service{
		Name: "elasticloadbalancing", Protocol: api.Query, Version: "2015-12-01", XMLNS: "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
		Control: t.control(),
		Actions: map[string]api.Action{
			"CreateLoadBalancer":             act(t, t.createLoadBalancer),
			"DescribeLoadBalancers":          act(t, t.describeLoadBalancers),
			"DeleteLoadBalancer":             act(t, t.deleteLoadBalancer),
			"DescribeLoadBalancerAttributes": act(t, t.describeLoadBalancerAttributes),
			"ModifyLoadBalancerAttributes":   act(t, t.modifyLoadBalancerAttributes),
			"CreateTargetGroup":              act(t, t.createTargetGroup),
			"DescribeTargetGroups":           act(t, t.describeTargetGroups),
			"ModifyTargetGroup":              act(t, t.modifyTargetGroup),
			"DeleteTargetGroup":              act(t, t.deleteTargetGroup),
			"DescribeTargetGroupAttributes":  act(t, t.describeTargetGroupAttributes),
			"ModifyTargetGroupAttributes":    act(t, t.modifyTargetGroupAttributes),
			"RegisterTargets":                act(t, t.registerTargets),
			"DeregisterTargets":              act(t, t.deregisterTargets),
			"DescribeTargetHealth":           act(t, t.describeTargetHealth),
			"CreateListener":                 act(t, t.createListener),
			"DescribeListeners":              act(t, t.describeListeners),
			"ModifyListener":                 act(t, t.modifyListener),
			"DeleteListener":                 act(t, t.deleteListener),
			"CreateRule":                     act(t, t.createRule),
			"DescribeRules":                  act(t, t.describeRules),
			"ModifyRule":                     act(t, t.modifyRule),
			"DeleteRule":                     act(t, t.deleteRule),
			"SetRulePriorities":              act(t, t.setRulePriorities),
			"AddTags":                        act(t, t.addTags),
			"RemoveTags":                     act(t, t.removeTags),
			"DescribeTags":                   act(t, t.describeTags),
		},
	}
}

// act makes an action of a method that is called under the lock.
func act[In, Out any](t *T, f func(call *api.Call, r *region, in *In) (*Out, error)) api.Action {
	return api.Do(func(_ context.Context, call *api.Call, in *In) (*Out, error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		return f(call, t.region(call.Account, call.Region), in)
	})
}

// region returns a place's state. The lock is held.
func (t *T) region(account, name string) *region {
	p := place{account, name}
	if t.places[p] == nil {
		r := &region{place: p}
		r.fill()
		t.places[p] = r
	}
	return t.places[p]
}

func (r *region) fill() {
	if r.Balancers == nil {
		r.Balancers = map[string]*balancer{}
	}
	if r.Listeners == nil {
		r.Listeners = map[string]*listener{}
	}
	if r.Rules == nil {
		r.Rules = map[string]*rule{}
	}
	if r.Groups == nil {
		r.Groups = map[string]*group{}
	}
	if r.Tags == nil {
		r.Tags = map[string][]tag{}
	}
}

// start runs f, for whose return Close waits. The lock is held.
func (t *T) start(f func()) {
	if !t.closed {
		t.work.Go(f)
	}
}

func (t *T) now() time.Time { return t.w.Now().UTC().Truncate(time.Millisecond) }

func (r *region) arn(resource string) string {
	return fmt.Sprintf("arn:aws:elasticloadbalancing:%s:%s:%s", r.Region, r.Account, resource)
}

// newID returns sixteen hexadecimal digits.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it cannot fail: crypto/rand
	return hex.EncodeToString(b[:])
}

// placeOf finds the state that an ARN is about. The lock is held.
func (t *T) placeOf(arn string) *region {
	f := strings.SplitN(arn, ":", 6)
	if len(f) < 6 {
		return &region{}
	}
	return t.region(f[4], f[3])
}

func invalid(code, format string, args ...any) error { return api.Errorf(code, format, args...) }

// validation is the error of parameters that cannot be.
func validation(format string, args ...any) error { return invalid("ValidationError", format, args...) }

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

// Load replaces the state of a T that was just made by what Save returned, and
// listens and checks again.
func (t *T) Load(data json.RawMessage) error {
	var all []*region
	if err := json.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("reading the state of Elastic Load Balancing: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range all {
		r.fill()
		t.places[r.place] = r
		for _, g := range r.Groups {
			for _, m := range g.Targets {
				t.watch(r, g, m)
			}
		}
		for _, l := range r.Listeners {
			if err := t.listen(r, l); err != nil {
				return err
			}
		}
	}
	return nil
}
