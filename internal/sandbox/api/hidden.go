package api

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"bake/internal/lazyregexp"
)

// creators are the beginnings of actions whose answers name what they made.
var creators = []string{"Create", "Run", "Register", "Copy", "Import", "Allocate", "Request"}

// made says, of EC2, what the new ids of an action look like: its answers name
// much that is old. Of other actions and services all that was not seen before
// is new.
var made = map[string][]string{
	"RunInstances":        {"i-"},
	"CreateImage":         {"ami-"},
	"RegisterImage":       {"ami-"},
	"CopyImage":           {"ami-"},
	"CreateSnapshot":      {"snap-"},
	"CreateSnapshots":     {"snap-"},
	"CopySnapshot":        {"snap-"},
	"CreateVolume":        {"vol-"},
	"CreateSecurityGroup": {"sg-"},
}

// fresh is Call.Fresh for a call; nil if nothing is hidden.
func (f *Faults) fresh(c *Call) func(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	var hiding []*activeFault
	for _, a := range f.active {
		if a.Kind == FaultHidden && a.fits(c) {
			hiding = append(hiding, a)
		}
	}
	if hiding == nil || !isRead(c.Action) {
		return nil
	}
	decided := map[string]bool{} // a call that asks twice is told the same
	return func(id string) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if hidden, ok := decided[id]; ok {
			return hidden
		}
		for _, a := range hiding {
			if f.born[id] && (a.Times < 0 || a.reads[id] < max(a.Times, 1)) {
				a.reads[id]++
				decided[id] = true
			}
		}
		return decided[id]
	}
}

// noteValues remembers what a call asked and answered, while something is hidden.
func (f *Faults) noteValues(c *Call, r *Request, out any) {
	if !f.hides() {
		return
	}
	asked := r.values()
	var answered []string
	gather(reflect.ValueOf(out), &answered)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		f.seen, f.born = map[string]bool{}, map[string]bool{}
	}
	for _, v := range asked {
		f.seen[v] = true
	}
	if slices.ContainsFunc(creators, func(p string) bool { return strings.HasPrefix(c.Action, p) }) {
		prefixes := made[c.Action]
		if c.Service != "ec2" {
			prefixes = nil
		}
		for _, v := range answered {
			fits := func(p string) bool { return strings.HasPrefix(v, p) }
			if !f.seen[v] && (prefixes == nil || slices.ContainsFunc(prefixes, fits)) {
				f.born[v] = true
			}
		}
	}
	for _, v := range answered {
		f.seen[v] = true
	}
}

// Made remembers new resources that no answer names, so that a hidden fault hides them.
func (f *Faults) Made(ids ...string) {
	if f == nil || !f.hides() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		f.seen, f.born = map[string]bool{}, map[string]bool{}
	}
	for _, id := range ids {
		f.born[id] = f.born[id] || !f.seen[id]
		f.seen[id] = true
	}
}

// hides reports whether new resources are hidden at present.
func (f *Faults) hides() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.active, func(a *activeFault) bool { return a.Kind == FaultHidden })
}

var quoted = lazyregexp.New(`"([^"\\]+)"`)

// values are the words of a request.
func (r *Request) values() []string {
	var all []string
	for _, values := range r.Form {
		all = append(all, values...)
	}
	for _, m := range quoted.FindAllSubmatch(r.Body, -1) {
		all = append(all, string(m[1]))
	}
	return all
}

// gather collects all strings of an answer.
func gather(v reflect.Value, into *[]string) {
	v = indirect(v)
	if !v.IsValid() || v.Type() == reflect.TypeFor[time.Time]() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		*into = append(*into, v.String())
	case reflect.Struct:
		for i := range v.NumField() {
			gather(v.Field(i), into)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			gather(v.Index(i), into)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			gather(v.MapIndex(key), into)
		}
	}
}
