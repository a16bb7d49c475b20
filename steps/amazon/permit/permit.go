// Package permit holds what kinds of sources and outputs have to be allowed on
// AWS: as data, beside the code that makes the calls. `bake policy` prints it,
// and tests hold it against the calls that are made.
package permit

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
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
}

// Tag is a condition: the resource was made by this template.
func (e Env) Tag() Condition {
	return Condition{"StringEquals", "aws:ResourceTag/" + amazon.TagTemplate, []string{e.Plan.Name}}
}

// Born is a condition: the resource gets this template's tag as it is made.
func (e Env) Born() Condition {
	return Condition{"StringEquals", "aws:RequestTag/" + amazon.TagTemplate, []string{e.Plan.Name}}
}

// Partition is the first part of the ARNs in the home's region.
func (e Env) Partition() string {
	switch {
	case strings.HasPrefix(e.Home.Region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(e.Home.Region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// EC2 returns the ARN of all resources of an EC2 type. Images and snapshots
// are of no account in ARNs.
func (e Env) EC2(kind string) string {
	account := "*"
	if kind == "image" || kind == "snapshot" {
		account = ""
	}
	return "arn:" + e.Partition() + ":ec2:*:" + account + ":" + kind + "/*"
}

// A Statement is what one feature of a template has to be allowed.
type Statement struct {
	Sid        string // letters and digits: what it is for
	Actions    []string
	Resources  []string // ARNs; none: *
	Conditions []Condition
	// As is who needs it: the zero value is whoever makes the build's AMI.
	As amazon.Access
}

// A Condition has to hold for a statement to allow anything.
type Condition struct {
	Operator, Key string
	Values        []string
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

// Merge makes one policy of statements. Those that are for the same, of the
// same resources, under the same conditions, become one.
func Merge(all []Statement) Document {
	byKey := map[string]*Allowed{}
	var order []*Allowed
	for _, s := range all {
		d := s.allowed()
		key := string(must(json.Marshal([]any{d.Sid, d.Resource, d.Condition})))
		if have := byKey[key]; have != nil {
			have.Action = append(have.Action, d.Action...)
			continue
		}
		byKey[key] = &d
		order = append(order, &d)
	}
	out := Document{Version: "2012-10-17"}
	used := map[string]int{}
	slices.SortStableFunc(order, func(a, b *Allowed) int {
		return cmp.Or(cmp.Compare(a.Sid, b.Sid), strings.Compare(strings.Join(a.Resource, " "), strings.Join(b.Resource, " ")))
	})
	for _, d := range order {
		slices.Sort(d.Action)
		d.Action = slices.Compact(d.Action)
		if used[d.Sid]++; used[d.Sid] > 1 { // a Sid is unique in its policy
			d.Sid += string(rune('0' + used[d.Sid]))
		}
		out.Statements = append(out.Statements, *d)
	}
	return out
}

func (s Statement) allowed() Allowed {
	d := Allowed{Sid: s.Sid, Effect: "Allow", Action: slices.Clone(s.Actions), Resource: slices.Clone(s.Resources)}
	if len(d.Resource) == 0 {
		d.Resource = []string{"*"}
	}
	slices.Sort(d.Resource)
	d.Resource = slices.Compact(d.Resource)
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
