package iam

import (
	"context"
	"slices"
	"strings"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/policy"
)

// A Role is what others need to know of a role.
type Role struct {
	ARN, ID, Name string
	Trust         *policy.Document
	MaxSession    int // seconds
	Tags          map[string]string
}

// Role returns the role that an ARN names, whatever its account.
func (t *T) Role(arn string) (Role, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.byARN(arn)
	if r == nil {
		return Role{}, false
	}
	trust, err := policy.Parse(r.Trust)
	if err != nil {
		return Role{}, false
	}
	tags := map[string]string{}
	for _, g := range r.Tags {
		tags[g.Key] = g.Value
	}
	return Role{ARN: r.ARN, ID: r.ID, Name: r.Name, Trust: trust, MaxSession: r.MaxSession, Tags: tags}, true
}

func (t *T) byARN(arn string) *role {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || t.accounts[parts[4]] == nil {
		return nil
	}
	r := t.accounts[parts[4]].Roles[parts[5][strings.LastIndexByte(parts[5], '/')+1:]]
	if r == nil || r.ARN != arn {
		return nil
	}
	return r
}

// Trusts reports whether a role exists and lets a service ("ecs-tasks.amazonaws.com") assume it.
func (t *T) Trusts(roleARN, service string) (exists, trusts bool) {
	r, ok := t.Role(roleARN)
	if !ok {
		return false, false
	}
	e := policy.Decide([]*policy.Document{r.Trust}, policy.Request{Action: "sts:AssumeRole", Principal: map[string][]string{"Service": {service}}})
	return true, e == policy.Allowed
}

// Provider reports whether an account trusts an OpenID Connect issuer (without
// https://), for an audience.
func (t *T) Provider(account, issuer, audience string) (arn string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.of(account).Providers {
		if p.URL == issuer {
			return p.ARN, slices.Contains(p.Clients, audience)
		}
	}
	return "", false
}

// Policies returns the documents that say what a caller may do, by the ARN of a
// user, a role, or a role's session. It reports false for callers that IAM does
// not know: those may do everything.
func (t *T) Policies(account, arn string) ([]*policy.Document, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(account)
	p, ok := a.whose(arn)
	if !ok {
		return nil, false
	}
	texts := sorted(p.Inline)
	for _, arn := range p.Attached {
		if d, ok := a.document(arn); ok {
			texts = append(texts, d)
		}
	}
	var all []*policy.Document
	for _, text := range texts {
		if d, err := policy.Parse(text); err == nil { // it was checked when it came
			all = append(all, d)
		}
	}
	return all, true
}

// whose finds the policies of a user, a role, or a role's session.
func (a *account) whose(arn string) (policies, bool) {
	for _, u := range a.Users {
		if u.ARN == arn {
			return u.policies, true
		}
	}
	if _, rest, ok := strings.Cut(arn, ":assumed-role/"); ok {
		name, _, _ := strings.Cut(rest, "/")
		if r := a.Roles[name]; r != nil {
			return r.policies, true
		}
		return policies{}, true // a role that is gone allows nothing
	}
	for _, r := range a.Roles {
		if r.ARN == arn {
			return r.policies, true
		}
	}
	return policies{}, false
}

type contextEntry struct {
	Name   string   `q:"ContextKeyName"`
	Values []string `q:"ContextKeyValues"`
	Type   string   `q:"ContextKeyType"`
}

type simulateIn struct {
	paging
	Source    string         `q:"PolicySourceArn"`
	Policies  []string       `q:"PolicyInputList"`
	Actions   []string       `q:"ActionNames,required"`
	Resources []string       `q:"ResourceArns"`
	Context   []contextEntry `q:"ContextEntries"`
	Caller    string         `q:"CallerArn"`
}

type evaluation struct {
	Action   string `xml:"EvalActionName"`
	Resource string `xml:"EvalResourceName"`
	Decision string `xml:"EvalDecision"`
}

type simulateOut struct {
	page
	Results []evaluation `xml:"EvaluationResults>member"`
}

func (t *T) simulatePrincipal(_ context.Context, c *api.Call, in *simulateIn) (*simulateOut, error) {
	documents, ok := t.Policies(c.Account, in.Source)
	if !ok {
		return nil, missing("The principal %s cannot be found.", in.Source)
	}
	return in.run(documents)
}

func (t *T) simulateCustom(_ context.Context, _ *api.Call, in *simulateIn) (*simulateOut, error) {
	return in.run(nil)
}

func (in *simulateIn) run(documents []*policy.Document) (*simulateOut, error) {
	for _, text := range in.Policies {
		d, err := policy.Parse(text)
		if err != nil {
			return nil, api.Errorf("InvalidInput", "%v", err)
		}
		documents = append(documents, d)
	}
	if len(in.Resources) == 0 {
		in.Resources = []string{"*"}
	}
	values := map[string][]string{}
	for _, e := range in.Context {
		values[strings.ToLower(e.Name)] = e.Values
	}
	var all []evaluation
	for _, action := range in.Actions {
		for _, resource := range in.Resources {
			word := [...]string{"implicitDeny", "allowed", "explicitDeny"}[policy.Decide(documents, policy.Request{Action: action, Resource: resource, Context: values})]
			all = append(all, evaluation{action, resource, word})
		}
	}
	all, page, err := cut(all, in.paging)
	return &simulateOut{page, all}, err
}
