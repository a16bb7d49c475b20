// Package permit holds what kinds of sources and outputs have to be allowed on
// AWS: as data, beside the code that makes the calls. `bake policy` prints it,
// and tests hold it against the calls that are made.
package permit

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"bake/builder"
	"bake/steps/amazon"
)

// An Asker is a source or an output that calls AWS. It has been decoded from a
// template; what is not known before a run holds its zero value.
type Asker interface {
	// Permissions returns what the calls need, in any order.
	Permissions(Env) []Statement
}

// Env is what a kind knows of the plan it stands in.
type Env struct {
	Plan  *builder.Plan
	Build string
	// Home is where the build's AMI is made.
	Home amazon.Access
	// Account is that of whoever runs bake, twelve digits; empty: it is not known.
	Account string

	access amazon.Access // see For
}

// A Statement is what one feature of a template has to be allowed.
type Statement struct {
	Sid        string // letters and digits: what it is for
	Actions    []string
	Resources  []string // ARNs; none: *
	Conditions []Condition
	// As is who needs it: the ARN of a role, or a profile; empty: whoever runs bake.
	As string
}

// Read is the statement of calls that only read, which know no resources.
func Read(actions ...string) Statement { return Statement{Sid: "Read", Actions: actions} }

// A Document is a policy as IAM takes it.
type Document struct {
	Version    string    `json:"Version"`
	Statements []Allowed `json:"Statement"`
}

// Allowed is one statement of a policy: what it allows.
type Allowed struct {
	Sid       string                         `json:"Sid"`
	Effect    string                         `json:"Effect"`
	Action    []string                       `json:"Action"`
	Resource  []string                       `json:"Resource"`
	Condition map[string]map[string][]string `json:"Condition,omitempty"`
}

// Merge makes one policy of statements. Those that are for the same become one
// if they allow the same actions, or allow actions on the same resources, under
// the same conditions.
func Merge(all []Statement) Document {
	var list []*Allowed
	for _, s := range all {
		d := s.allowed()
		list = append(list, &d)
	}
	list = join(list, func(d *Allowed) any { return d.Resource }, func(into, d *Allowed) { into.Action = sorted(append(into.Action, d.Action...)) })
	list = join(list, func(d *Allowed) any { return d.Action }, func(into, d *Allowed) { into.Resource = sorted(append(into.Resource, d.Resource...)) })
	slices.SortStableFunc(list, func(a, b *Allowed) int {
		return cmp.Or(cmp.Compare(a.Sid, b.Sid), strings.Compare(strings.Join(a.Resource, " "), strings.Join(b.Resource, " ")))
	})
	out := Document{Version: "2012-10-17"}
	used := map[string]int{}
	for _, d := range list {
		if used[d.Sid]++; used[d.Sid] > 1 { // a Sid is unique in its policy
			d.Sid += strconv.Itoa(used[d.Sid])
		}
		out.Statements = append(out.Statements, *d)
	}
	return out
}

// join puts statements together that are for the same under the same
// conditions, and have one more thing in common.
func join(all []*Allowed, common func(*Allowed) any, add func(into, d *Allowed)) []*Allowed {
	byKey := map[string]*Allowed{}
	var out []*Allowed
	for _, d := range all {
		key := string(must(json.Marshal([]any{d.Sid, d.Condition, common(d)})))
		if have := byKey[key]; have != nil {
			add(have, d)
			continue
		}
		byKey[key] = d
		out = append(out, d)
	}
	return out
}

func sorted(words []string) []string {
	words = slices.Clone(words)
	slices.Sort(words)
	return slices.Compact(words)
}

func (s Statement) allowed() Allowed {
	d := Allowed{Sid: s.Sid, Effect: "Allow", Action: sorted(s.Actions), Resource: sorted(s.Resources)}
	if len(d.Resource) == 0 {
		d.Resource = []string{"*"}
	}
	for _, c := range s.Conditions {
		if d.Condition == nil {
			d.Condition = map[string]map[string][]string{}
		}
		if d.Condition[c.Operator] == nil {
			d.Condition[c.Operator] = map[string][]string{}
		}
		d.Condition[c.Operator][c.Key] = c.Values
	}
	return d
}

// Actions returns every action that the policy names, in order.
func (d Document) Actions() []string {
	all := map[string]bool{}
	for _, s := range d.Statements {
		for _, a := range s.Action {
			all[a] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// must is for what cannot fail: strings and lists of them always encode.
func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}
