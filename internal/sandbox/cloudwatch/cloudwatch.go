// Package cloudwatch is the sandbox's CloudWatch as far as deployments need it:
// alarms and their states. It keeps no metrics: SetAlarmState says what an
// alarm is in, as `aws cloudwatch set-alarm-state` does.
package cloudwatch

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"bake/internal/sandbox/api"
)

// T is the alarms of all accounts and regions. Safe for concurrent use.
type T struct {
	w *api.World

	mu     sync.Mutex
	places map[string]*region // by ACCOUNT/REGION
}

// A region is the state of one account in one region.
type region struct {
	Alarms  map[string]*alarm // by name
	History []event           // oldest first
	Tags    map[string][]tag  // by ARN
}

// New returns a CloudWatch without alarms.
func New(w *api.World) *T { return &T{w: w, places: map[string]*region{}} }

// Save returns the state as JSON.
func (t *T) Save() (json.RawMessage, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Marshal(t.places)
}

// Load takes the state that Save returned.
func (t *T) Load(data json.RawMessage) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Unmarshal(data, &t.places)
}

// Service is CloudWatch as clients call it, over any of its protocols.
func (t *T) Service() *api.Service {
	return &api.Service{
		Name: "monitoring", Protocol: api.Query, Version: "2010-08-01", XMLNS: "http://monitoring.amazonaws.com/doc/2010-08-01/", Target: "GraniteServiceVersion20100801",
		Actions: map[string]api.Action{
			"PutMetricAlarm":       act(t, t.putMetricAlarm),
			"PutCompositeAlarm":    act(t, t.putCompositeAlarm),
			"DescribeAlarms":       act(t, t.describeAlarms),
			"DescribeAlarmHistory": act(t, t.describeHistory),
			"SetAlarmState":        act(t, t.setAlarmState),
			"EnableAlarmActions":   act(t, t.enableActions),
			"DisableAlarmActions":  act(t, t.disableActions),
			"DeleteAlarms":         act(t, t.deleteAlarms),
			"TagResource":          act(t, t.tagResource),
			"UntagResource":        act(t, t.untagResource),
			"ListTagsForResource":  act(t, t.listTags),
		},
	}
}

// act makes an action of a method that is called under the lock with the
// state of the caller's account and region.
func act[In, Out any](t *T, f func(call *api.Call, r *region, in *In) (*Out, error)) api.Action {
	return api.Do(func(_ context.Context, call *api.Call, in *In) (*Out, error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		out, err := f(call, t.region(call.Account, call.Region), in)
		if err != nil {
			return nil, err
		}
		return api.Detach(out)
	})
}

// region returns a place's state. The lock is held.
func (t *T) region(account, name string) *region {
	r := t.places[account+"/"+name]
	if r == nil {
		r = &region{Alarms: map[string]*alarm{}, Tags: map[string][]tag{}}
		t.places[account+"/"+name] = r
	}
	return r
}

func (t *T) now() time.Time { return t.w.Now().UTC().Truncate(time.Millisecond) }

// Firing returns those of names that are in the state ALARM.
func (t *T) Firing(account, region string, names []string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	r := t.region(account, region)
	for _, name := range names {
		if a := r.Alarms[name]; a != nil && a.StateValue == stateAlarm {
			out = append(out, name)
		}
	}
	return out
}

// Evaluates is how long the slowest of the alarms takes to see that something is
// wrong: its periods, all of them.
func (t *T) Evaluates(account, region string, names []string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	var longest time.Duration
	r := t.region(account, region)
	for _, name := range names {
		if a := r.Alarms[name]; a != nil {
			longest = max(longest, time.Duration(a.Period*a.EvaluationPeriods)*time.Second)
		}
	}
	return longest
}

// none is the answer of actions that have nothing to say.
type none struct{}
