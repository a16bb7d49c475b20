package iam

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/policy"
)

// policies are what is attached to a user or role.
type policies struct {
	Inline   map[string]string `json:"inline,omitempty"`   // documents by name
	Attached []string          `json:"attached,omitempty"` // ARNs, in order
}

type role struct {
	policies
	Name        string    `json:"name"`
	Path        string    `json:"path"`
	ID          string    `json:"id"`
	ARN         string    `json:"arn"`
	Description string    `json:"description,omitempty"`
	Trust       string    `json:"trust"`
	Created     time.Time `json:"created"`
	MaxSession  int       `json:"max_session"` // seconds
	Tags        []tag     `json:"tags,omitempty"`
}

// roleXML is a role as calls answer it.
type roleXML struct {
	Path        string    `xml:"Path"`
	Name        string    `xml:"RoleName"`
	ID          string    `xml:"RoleId"`
	ARN         string    `xml:"Arn"`
	Created     time.Time `xml:"CreateDate"`
	Trust       string    `xml:"AssumeRolePolicyDocument"`
	Description string    `xml:"Description,omitempty"`
	MaxSession  int       `xml:"MaxSessionDuration"`
	Tags        []tag     `xml:"Tags>member,omitempty"`
}

func (r *role) xml() roleXML {
	return roleXML{r.Path, r.Name, r.ID, r.ARN, r.Created, quote(r.Trust), r.Description, r.MaxSession, r.Tags}
}

var nameForm = lazyregexp.New(`^[\w+=,.@-]{1,64}$`)

func checkName(member, name string) error {
	if !nameForm.MatchString(name) {
		return api.Errorf("ValidationError", "The specified value for %s is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-", member)
	}
	return nil
}

func (a *account) role(name string) (*role, error) {
	if r := a.Roles[name]; r != nil {
		return r, nil
	}
	return nil, missing("The role with name %s cannot be found.", name)
}

type createRoleIn struct {
	Name        string `q:"RoleName,required"`
	Path        string `q:"Path"`
	Trust       string `q:"AssumeRolePolicyDocument,required"`
	Description string `q:"Description"`
	MaxSession  int    `q:"MaxSessionDuration"`
	Tags        []tag  `q:"Tags"`
}

type roleOut struct {
	Role roleXML `xml:"Role"`
}

func (t *T) createRole(_ context.Context, c *api.Call, in *createRoleIn) (*roleOut, error) {
	if err := checkName("roleName", in.Name); err != nil {
		return nil, err
	}
	if err := checkTrust(in.Trust); err != nil {
		return nil, err
	}
	if in.MaxSession == 0 {
		in.MaxSession = 3600
	}
	if in.MaxSession < 3600 || in.MaxSession > 43200 {
		return nil, api.Errorf("ValidationError", "1 validation error detected: Value '%d' at 'maxSessionDuration' failed to satisfy constraint: Member must be between 3600 and 43200", in.MaxSession)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	if a.Roles[in.Name] != nil {
		return nil, conflict("EntityAlreadyExists", "Role with name %s already exists.", in.Name)
	}
	r := &role{Name: in.Name, Path: path(in.Path), ID: uniqueID("AROA", 17), Description: in.Description, Trust: in.Trust,
		Created: t.now(), MaxSession: in.MaxSession, Tags: in.Tags}
	r.ARN = "arn:aws:iam::" + c.Account + ":role" + r.Path + r.Name
	a.Roles[r.Name] = r
	return &roleOut{r.xml()}, nil
}

func checkTrust(document string) error {
	d, err := policy.Parse(document)
	if err == nil {
		err = d.CheckTrust()
	}
	if err != nil {
		return api.Errorf("MalformedPolicyDocument", "%v", err)
	}
	return nil
}

type roleIn struct {
	Name string `q:"RoleName,required"`
}

func (t *T) getRole(_ context.Context, c *api.Call, in *roleIn) (*roleOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account).role(in.Name)
	if err != nil {
		return nil, err
	}
	if c.Hidden(r.ARN) {
		return nil, missing("The role with name %s cannot be found.", in.Name)
	}
	return &roleOut{r.xml()}, nil
}

type listRolesIn struct {
	paging
	PathPrefix string `q:"PathPrefix"`
}

type listRolesOut struct {
	page
	Roles []roleXML `xml:"Roles>member"`
}

func (t *T) listRoles(_ context.Context, c *api.Call, in *listRolesIn) (*listRolesOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out listRolesOut
	for _, r := range sorted(t.of(c.Account).Roles) {
		if strings.HasPrefix(r.Path, in.PathPrefix) {
			x := r.xml()
			x.Tags = nil // ListRoles leaves them out
			out.Roles = append(out.Roles, x)
		}
	}
	var err error
	out.Roles, out.page, err = cut(out.Roles, in.paging)
	return &out, err
}

// sorted returns a map's values in the order of its keys.
func sorted[V any](m map[string]V) []V {
	all := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, m[k])
	}
	return all
}

type updateRoleIn struct {
	Name        string  `q:"RoleName,required"`
	Description *string `q:"Description"`
	MaxSession  int     `q:"MaxSessionDuration"`
}

func (t *T) updateRole(_ context.Context, c *api.Call, in *updateRoleIn) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account).role(in.Name)
	if err != nil {
		return nil, err
	}
	if in.Description != nil {
		r.Description = *in.Description
	}
	if in.MaxSession != 0 {
		r.MaxSession = in.MaxSession
	}
	return &done{}, nil
}

type updateTrustIn struct {
	Name  string `q:"RoleName,required"`
	Trust string `q:"PolicyDocument,required"`
}

func (t *T) updateTrust(_ context.Context, c *api.Call, in *updateTrustIn) (*done, error) {
	if err := checkTrust(in.Trust); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account).role(in.Name)
	if err != nil {
		return nil, err
	}
	r.Trust = in.Trust
	return &done{}, nil
}

func (t *T) deleteRole(_ context.Context, c *api.Call, in *roleIn) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	r, err := a.role(in.Name)
	if err != nil {
		return nil, err
	}
	for _, p := range a.Profiles {
		if slices.Contains(p.Roles, r.Name) {
			return nil, conflict("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
		}
	}
	if err := r.empty(); err != nil {
		return nil, err
	}
	delete(a.Roles, r.Name)
	return &done{}, nil
}

type tagRoleIn struct {
	Name string `q:"RoleName,required"`
	Tags []tag  `q:"Tags,required"`
}

func (t *T) tagRole(_ context.Context, c *api.Call, in *tagRoleIn) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account).role(in.Name)
	if err != nil {
		return nil, err
	}
	for _, n := range in.Tags {
		r.Tags = append(slices.DeleteFunc(r.Tags, func(o tag) bool { return o.Key == n.Key }), n)
	}
	return &done{}, nil
}

type untagRoleIn struct {
	Name string   `q:"RoleName,required"`
	Keys []string `q:"TagKeys,required"`
}

func (t *T) untagRole(_ context.Context, c *api.Call, in *untagRoleIn) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account).role(in.Name)
	if err != nil {
		return nil, err
	}
	r.Tags = slices.DeleteFunc(r.Tags, func(o tag) bool { return slices.Contains(in.Keys, o.Key) })
	return &done{}, nil
}

type listTagsOut struct {
	page
	Tags []tag `xml:"Tags>member"`
}

func (t *T) listRoleTags(_ context.Context, c *api.Call, in *struct {
	paging
	Name string `q:"RoleName,required"`
}) (*listTagsOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account).role(in.Name)
	if err != nil {
		return nil, err
	}
	tags, page, err := cut(r.Tags, in.paging)
	return &listTagsOut{page, tags}, err
}

type serviceLinkedIn struct {
	Service     string `q:"AWSServiceName,required"`
	Description string `q:"Description"`
	Suffix      string `q:"CustomSuffix"`
}

// linked are the names of service-linked roles by service.
func linked() map[string]string {
	return map[string]string{
		"ecs.amazonaws.com":                         "AWSServiceRoleForECS",
		"spot.amazonaws.com":                        "AWSServiceRoleForEC2Spot",
		"autoscaling.amazonaws.com":                 "AWSServiceRoleForAutoScaling",
		"elasticloadbalancing.amazonaws.com":        "AWSServiceRoleForElasticLoadBalancing",
		"replication.ecr.amazonaws.com":             "AWSServiceRoleForECRReplication",
		"pullthroughcache.ecr.amazonaws.com":        "AWSServiceRoleForECRPullThroughCache",
		"ecs.application-autoscaling.amazonaws.com": "AWSServiceRoleForApplicationAutoScaling_ECSService",
		"imagebuilder.amazonaws.com":                "AWSServiceRoleForImageBuilder",
		"ecr.amazonaws.com":                         "AWSServiceRoleForAmazonElasticContainerRegistry",
		"ec2-instance-connect.amazonaws.com":        "AWSServiceRoleForEc2InstanceConnect",
	}
}

// Linked reports whether an account has the service-linked role of a service.
func (t *T) Linked(account, service string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.of(account).Roles[linked()[service]] != nil
}

func (t *T) createServiceLinkedRole(_ context.Context, c *api.Call, in *serviceLinkedIn) (*roleOut, error) {
	name, ok := linked()[in.Service]
	if !ok {
		return nil, api.Errorf("InvalidInput", "Service role name for %s cannot be found.", in.Service)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	if a.Roles[name] != nil {
		return nil, api.Errorf("InvalidInput", "Service role name %s has been taken in this account, please try a different suffix.", name)
	}
	r := &role{Name: name, Path: "/aws-service-role/" + in.Service + "/", ID: uniqueID("AROA", 17), Description: in.Description, Created: t.now(), MaxSession: 3600,
		Trust: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + in.Service + `"},"Action":"sts:AssumeRole"}]}`}
	r.ARN = "arn:aws:iam::" + c.Account + ":role" + r.Path + r.Name
	a.Roles[name] = r
	return &roleOut{r.xml()}, nil
}
