package api

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// maxLog is how many calls are kept; counts go on.
const maxLog = 20000

// An Entry is one call as it was answered.
type Entry struct {
	Time     time.Time     `json:"time"`
	Service  string        `json:"service"`
	Action   string        `json:"action"`
	Region   string        `json:"region"`
	Account  string        `json:"account"`
	Caller   string        `json:"caller"`
	Code     string        `json:"code,omitempty"`  // of an error
	Fault    Kind          `json:"fault,omitempty"` // that it met
	Duration time.Duration `json:"duration"`        // nanoseconds
}

// Calls returns the calls so far, in order of their answers.
func (f *Faults) Calls() []Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

// Counts returns how often each action was called, by "ec2:RunInstances".
func (f *Faults) Counts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}

// Forget empties the log and the counts.
func (f *Faults) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log, f.counts = nil, nil
}

// Meet counts a call, tells the hook, and returns the faults that it meets.
// The caller does what they say and calls over when the action was carried out
// or refused, with the error's code, before it answers. It is for services that
// speak something else than AWS's protocols, as a registry does.
func (f *Faults) Meet(c *Call) (hits []Fault, over func(code string)) {
	began := time.Now()
	name := c.Service + ":" + c.Action
	f.mu.Lock()
	if f.counts == nil {
		f.counts = map[string]int{}
	}
	f.counts[name]++
	number, hook := f.counts[name], f.hook
	f.mu.Unlock()
	if hook != nil {
		hook(c, number, false)
	}
	hits = f.hit(c)
	return hits, func(code string) {
		if hook != nil {
			hook(c, number, true)
		}
		e := Entry{Time: began, Service: c.Service, Action: c.Action, Region: c.Region, Account: c.Account, Caller: c.Caller, Code: code, Duration: time.Since(began)}
		if len(hits) > 0 {
			e.Fault = hits[0].Kind
		}
		f.note(e)
	}
}

// Watch sets what is told of every call when it is over; nil: nobody.
func (f *Faults) Watch(watch func(Entry)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watch = watch
}

func (f *Faults) note(e Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watch != nil {
		f.watch(e)
	}
	if len(f.log) == maxLog {
		f.log = slices.Delete(f.log, 0, maxLog/4)
	}
	f.log = append(f.log, e)
}

// readers are the beginnings of actions that change nothing.
var readers = []string{"Describe", "List", "Get", "BatchGet", "BatchCheck", "Head", "Search", "Lookup", "Simulate", "Decode", "Filter"}

// isRead reports whether an action only reads.
func isRead(action string) bool {
	return slices.ContainsFunc(readers, func(p string) bool { return strings.HasPrefix(action, p) })
}
