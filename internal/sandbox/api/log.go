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

// begin counts a call and tells the hook.
func (f *Faults) begin(c *Call) (number int) {
	f.mu.Lock()
	if f.counts == nil {
		f.counts = map[string]int{}
	}
	f.counts[c.Service+":"+c.Action]++
	number, hook := f.counts[c.Service+":"+c.Action], f.hook
	f.mu.Unlock()
	if hook != nil {
		hook(c, number, false)
	}
	return number
}

// carriedOut tells the hook that the action was done.
func (f *Faults) carriedOut(c *Call, number int) {
	f.mu.Lock()
	hook := f.hook
	f.mu.Unlock()
	if hook != nil {
		hook(c, number, true)
	}
}

func (f *Faults) note(e Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
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
