package iam

import (
	"context"
	"maps"
	"slices"
	"strings"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/policy"
)

// What is attached to roles and to users, alike.

// empty says what keeps a user or role from being deleted.
func (p *policies) empty() error {
	if len(p.Attached) > 0 {
		return conflict("DeleteConflict", "Cannot delete entity, must detach all policies first.")
	}
	if len(p.Inline) > 0 {
		return conflict("DeleteConflict", "Cannot delete entity, must delete policies first.")
	}
	return nil
}

func (p *policies) put(name, document string) error {
	d, err := policy.Parse(document)
	if err == nil {
		err = d.CheckIdentity()
	}
	if err != nil {
		return api.Errorf("MalformedPolicyDocument", "%v", err)
	}
	if len(document) > 10240 {
		return conflict("LimitExceeded", "Maximum policy size of 10240 bytes exceeded")
	}
	if p.Inline == nil {
		p.Inline = map[string]string{}
	}
	p.Inline[name] = document
	return nil
}

func (p *policies) inline(name string) (string, error) {
	if d, ok := p.Inline[name]; ok {
		return d, nil
	}
	return "", missing("The policy with name %s cannot be found.", name)
}

// attached returns what a role or a user has attached.
func (a *account) attached(roleName, userName string) (*policies, error) {
	if roleName != "" {
		r, err := a.role(roleName)
		if err != nil {
			return nil, err
		}
		return &r.policies, nil
	}
	u, err := a.user(userName)
	if err != nil {
		return nil, err
	}
	return &u.policies, nil
}

type inlineIn struct {
	Role     string `q:"RoleName"`
	User     string `q:"UserName"`
	Policy   string `q:"PolicyName,required"`
	Document string `q:"PolicyDocument"`
}

type inlineOut struct {
	Role     string `xml:"RoleName,omitempty"`
	User     string `xml:"UserName,omitempty"`
	Policy   string `xml:"PolicyName"`
	Document string `xml:"PolicyDocument"`
}

func (t *T) putInline(_ context.Context, c *api.Call, in *inlineIn) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.of(c.Account).attached(in.Role, in.User)
	if err != nil {
		return nil, err
	}
	return &done{}, p.put(in.Policy, in.Document)
}

func (t *T) getInline(_ context.Context, c *api.Call, in *inlineIn) (*inlineOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.of(c.Account).attached(in.Role, in.User)
	if err != nil {
		return nil, err
	}
	d, err := p.inline(in.Policy)
	return &inlineOut{in.Role, in.User, in.Policy, quote(d)}, err
}

func (t *T) deleteInline(_ context.Context, c *api.Call, in *inlineIn) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.of(c.Account).attached(in.Role, in.User)
	if err != nil {
		return nil, err
	}
	if _, err := p.inline(in.Policy); err != nil {
		return nil, err
	}
	delete(p.Inline, in.Policy)
	return &done{}, nil
}

type listInlineIn struct {
	paging
	Role string `q:"RoleName"`
	User string `q:"UserName"`
}

type listInlineOut struct {
	page
	Names []string `xml:"PolicyNames>member"`
}

func (t *T) listInline(_ context.Context, c *api.Call, in *listInlineIn) (*listInlineOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.of(c.Account).attached(in.Role, in.User)
	if err != nil {
		return nil, err
	}
	names, page, err := cut(slices.Sorted(maps.Keys(p.Inline)), in.paging)
	return &listInlineOut{page, names}, err
}

type attachIn struct {
	Role string `q:"RoleName"`
	User string `q:"UserName"`
	ARN  string `q:"PolicyArn,required"`
}

func (t *T) attach(_ context.Context, c *api.Call, in *attachIn) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	p, err := a.attached(in.Role, in.User)
	if err != nil {
		return nil, err
	}
	if _, ok := a.document(in.ARN); !ok {
		return nil, missing("Policy %s does not exist or is not attachable.", in.ARN)
	}
	if !slices.Contains(p.Attached, in.ARN) {
		p.Attached = append(p.Attached, in.ARN)
	}
	return &done{}, nil
}

func (t *T) detach(_ context.Context, c *api.Call, in *attachIn) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.of(c.Account).attached(in.Role, in.User)
	if err != nil {
		return nil, err
	}
	i := slices.Index(p.Attached, in.ARN)
	if i < 0 {
		return nil, missing("Policy %s was not found.", in.ARN)
	}
	p.Attached = slices.Delete(p.Attached, i, i+1)
	return &done{}, nil
}

type attachedXML struct {
	Name string `xml:"PolicyName"`
	ARN  string `xml:"PolicyArn"`
}

type listAttachedOut struct {
	page
	Policies []attachedXML `xml:"AttachedPolicies>member"`
}

func (t *T) listAttached(_ context.Context, c *api.Call, in *listInlineIn) (*listAttachedOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.of(c.Account).attached(in.Role, in.User)
	if err != nil {
		return nil, err
	}
	var all []attachedXML
	for _, arn := range p.Attached {
		all = append(all, attachedXML{arn[strings.LastIndexByte(arn, '/')+1:], arn})
	}
	all, page, err := cut(all, in.paging)
	return &listAttachedOut{page, all}, err
}
