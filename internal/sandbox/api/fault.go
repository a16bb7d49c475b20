package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A Kind is what a fault does.
type Kind string

// The kinds of faults.
const (
	FaultError    Kind = "error"    // answers Code, does nothing
	FaultThrottle Kind = "throttle" // answers what the protocol's throttling is, does nothing
	FaultDrop     Kind = "drop"     // cuts the connection, does nothing
	FaultLost     Kind = "lost"     // does it, and cuts the connection: the answer is lost
	FaultSlow     Kind = "slow"     // answers after Delay
	FaultHidden   Kind = "hidden"   // what creating calls answered is not seen by the first Reads reads
)

// A Fault goes wrong on demand.
type Fault struct {
	Service string `json:"service,omitempty"` // "ec2"; empty: any
	Action  string `json:"action,omitempty"`  // "RunInstances"; empty: any
	Region  string `json:"region,omitempty"`  // empty: any
	// After is how many calls that fit pass before the fault begins.
	After int `json:"after,omitempty"`
	// Times is how many calls it then hits: 0 is one, -1 is all. Of hidden
	// faults it is the number of reads that do not see a new resource.
	Times   int      `json:"times,omitempty"`
	Kind    Kind     `json:"kind"`
	Code    string   `json:"code,omitempty"`    // of error; default InternalError
	Message string   `json:"message,omitempty"` // of error
	Status  int      `json:"status,omitempty"`  // of error: HTTP; default 400, of InternalError 500
	Delay   Duration `json:"delay,omitempty"`   // of slow
}

// A Duration is written "1.5s" in JSON.
type Duration time.Duration

// MarshalJSON writes "1.5s".
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads "1.5s".
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("a duration is written like \"1.5s\": %w", err)
	}
	parsed, err := time.ParseDuration(text)
	*d = Duration(parsed)
	return err
}

// Check says what is wrong with a fault.
func (f Fault) Check() error {
	kinds := []Kind{FaultError, FaultThrottle, FaultDrop, FaultLost, FaultSlow, FaultHidden}
	if !slices.Contains(kinds, f.Kind) {
		return fmt.Errorf("fault kind %q is none of %q", f.Kind, kinds)
	}
	if f.Kind == FaultSlow && f.Delay <= 0 {
		return fmt.Errorf("a slow fault needs a delay")
	}
	return nil
}

func (f Fault) fits(c *Call) bool {
	return (f.Service == "" || f.Service == c.Service) && (f.Action == "" || f.Action == c.Action) && (f.Region == "" || f.Region == c.Region)
}

// A Hook is told of a call: number is the how manyeth of its service and
// action it is, from 1; done is whether it has been carried out, which is before
// the answer is sent. Tests kill and cancel in it.
type Hook func(c *Call, number int, done bool)

// Faults are the faults of a sandbox and the log of its calls. The zero value
// has none. Safe for concurrent use.
type Faults struct {
	mu     sync.Mutex
	active []*activeFault
	hook   Hook
	watch  func(Entry)
	log    []Entry
	counts map[string]int
	seen   map[string]bool // while resources are hidden: what requests and answers held
	born   map[string]bool // what creating calls answered that nobody had seen
}

type activeFault struct {
	Fault
	seen  int
	reads map[string]int // hidden: of an id
}

// Add makes more go wrong.
func (f *Faults) Add(faults ...Fault) error {
	for _, fault := range faults {
		if err := fault.Check(); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range faults {
		f.active = append(f.active, &activeFault{Fault: fault, reads: map[string]int{}})
	}
	return nil
}

// Clear ends all faults. The log stays.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active, f.hook, f.seen, f.born = nil, nil, nil, nil
}

// List returns the faults that were added and not cleared.
func (f *Faults) List() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := []Fault{}
	for _, a := range f.active {
		all = append(all, a.Fault)
	}
	return all
}

// OnCall sets what is told of every call; nil: nothing.
func (f *Faults) OnCall(hook Hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// hit returns the faults that a call meets.
func (f *Faults) hit(c *Call) []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var hits []Fault
	for _, a := range f.active {
		if a.Kind == FaultHidden || !a.fits(c) {
			continue
		}
		a.seen++
		n := a.seen - a.After
		if n > 0 && (a.Times < 0 || n <= max(a.Times, 1)) {
			hits = append(hits, a.Fault)
		}
	}
	return hits
}

// throttled is the protocol's way to say: slow down.
func throttled(p Protocol) *Error {
	switch p {
	case EC2:
		return &Error{Code: "RequestLimitExceeded", Message: "Request limit exceeded.", Status: http.StatusServiceUnavailable}
	case Query:
		return Errorf("Throttling", "Rate exceeded")
	}
	return Errorf("ThrottlingException", "Rate exceeded")
}

// Asked is the error that a fault of the kind error gives.
func (f Fault) Asked() *Error {
	e := &Error{Code: f.Code, Message: f.Message, Status: f.Status}
	if e.Code == "" {
		e.Code = "InternalError"
	}
	if e.Message == "" {
		e.Message = "An internal error has occurred"
	}
	if e.Status == 0 && (e.Code == "InternalError" || e.Code == "InternalFailure") {
		e.Status = http.StatusInternalServerError
	}
	return e
}
