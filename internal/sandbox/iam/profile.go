package iam

import (
	"context"
	"slices"
	"strings"
	"time"

	"bake/internal/sandbox/api"
)

// propagation is how long EC2 does not know a profile that IAM has.
const propagation = 8 * time.Second

type profile struct {
	Name    string    `json:"name"`
	Path    string    `json:"path"`
	ID      string    `json:"id"`
	ARN     string    `json:"arn"`
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"` // when EC2's view of it began to be behind
	Roles   []string  `json:"roles,omitempty"`
	Tags    []tag     `json:"tags,omitempty"`
}

type profileXML struct {
	Path    string    `xml:"Path"`
	Name    string    `xml:"InstanceProfileName"`
	ID      string    `xml:"InstanceProfileId"`
	ARN     string    `xml:"Arn"`
	Created time.Time `xml:"CreateDate"`
	Roles   []roleXML `xml:"Roles>member"`
	Tags    []tag     `xml:"Tags>member,omitempty"`
}

type profileOut struct {
	Profile profileXML `xml:"InstanceProfile"`
}

func (a *account) profileXML(p *profile) profileXML {
	x := profileXML{Path: p.Path, Name: p.Name, ID: p.ID, ARN: p.ARN, Created: p.Created, Tags: p.Tags}
	for _, name := range p.Roles {
		if r := a.Roles[name]; r != nil {
			x.Roles = append(x.Roles, r.xml())
		}
	}
	return x
}

func (a *account) profile(name string) (*profile, error) {
	if p := a.Profiles[name]; p != nil {
		return p, nil
	}
	return nil, missing("Instance Profile %s cannot be found.", name)
}

// InstanceProfile returns the ARN of an account's profile that EC2 may give to
// an instance, by name or ARN. It is not found while it is so new that EC2
// would not know it yet, and while it has no role.
func (t *T) InstanceProfile(account, nameOrARN string) (arn string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := nameOrARN
	if strings.HasPrefix(name, "arn:") {
		name = name[strings.LastIndexByte(name, '/')+1:]
	}
	p := t.of(account).Profiles[name]
	if p == nil || nameOrARN != name && nameOrARN != p.ARN || t.world.Now().Before(p.Changed.Add(t.world.Takes(propagation))) {
		return "", false
	}
	return p.ARN, len(p.Roles) > 0
}

// ProfileRole returns the ARN of the role in a profile, by the profile's name or ARN.
func (t *T) ProfileRole(account, nameOrARN string) (arn string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(account)
	p := a.Profiles[nameOrARN[strings.LastIndexByte(nameOrARN, '/')+1:]]
	if p == nil || len(p.Roles) == 0 || a.Roles[p.Roles[0]] == nil {
		return "", false
	}
	return a.Roles[p.Roles[0]].ARN, true
}

// Path returns the path of a "role", an "instance-profile" or a "user"; "/" if
// there is none of the name.
func (t *T) Path(account, kind, name string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, path := t.of(account), "/"
	switch kind {
	case "role":
		if r := a.Roles[name]; r != nil {
			path = r.Path
		}
	case "instance-profile":
		if p := a.Profiles[name]; p != nil {
			path = p.Path
		}
	case "user":
		if u := a.Users[name]; u != nil {
			path = u.Path
		}
	}
	return path
}

type createProfileIn struct {
	Name string `q:"InstanceProfileName,required"`
	Path string `q:"Path"`
	Tags []tag  `q:"Tags"`
}

func (t *T) createProfile(_ context.Context, c *api.Call, in *createProfileIn) (*profileOut, error) {
	if err := checkName("instanceProfileName", in.Name); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	if a.Profiles[in.Name] != nil {
		return nil, conflict("EntityAlreadyExists", "Instance Profile %s already exists.", in.Name)
	}
	p := &profile{Name: in.Name, Path: path(in.Path), ID: uniqueID("AIPA", 17), Created: t.now(), Changed: t.world.Now(), Tags: in.Tags}
	p.ARN = "arn:aws:iam::" + c.Account + ":instance-profile" + p.Path + p.Name
	a.Profiles[p.Name] = p
	return &profileOut{a.profileXML(p)}, nil
}

type profileIn struct {
	Name string `q:"InstanceProfileName,required"`
}

func (t *T) getProfile(_ context.Context, c *api.Call, in *profileIn) (*profileOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	p, err := a.profile(in.Name)
	if err != nil {
		return nil, err
	}
	if c.Hidden(p.ARN) {
		return nil, missing("Instance Profile %s cannot be found.", in.Name)
	}
	return &profileOut{a.profileXML(p)}, nil
}

type listProfilesOut struct {
	page
	Profiles []profileXML `xml:"InstanceProfiles>member"`
}

func (t *T) listProfiles(_ context.Context, c *api.Call, in *struct {
	paging
	PathPrefix string `q:"PathPrefix"`
}) (*listProfilesOut, error) {
	return t.profiles(c, in.paging, func(p *profile) bool { return strings.HasPrefix(p.Path, in.PathPrefix) })
}

func (t *T) listProfilesForRole(_ context.Context, c *api.Call, in *struct {
	paging
	Role string `q:"RoleName,required"`
}) (*listProfilesOut, error) {
	return t.profiles(c, in.paging, func(p *profile) bool { return slices.Contains(p.Roles, in.Role) })
}

func (t *T) profiles(c *api.Call, p paging, keep func(*profile) bool) (*listProfilesOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	var all []profileXML
	for _, o := range sorted(a.Profiles) {
		if keep(o) {
			all = append(all, a.profileXML(o))
		}
	}
	all, page, err := cut(all, p)
	return &listProfilesOut{page, all}, err
}

type profileRoleIn struct {
	Name string `q:"InstanceProfileName,required"`
	Role string `q:"RoleName,required"`
}

func (t *T) addRoleToProfile(_ context.Context, c *api.Call, in *profileRoleIn) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	p, err := a.profile(in.Name)
	if err != nil {
		return nil, err
	}
	if _, err := a.role(in.Role); err != nil {
		return nil, err
	}
	if len(p.Roles) > 0 {
		return nil, conflict("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
	}
	p.Roles, p.Changed = []string{in.Role}, t.world.Now()
	return &done{}, nil
}

func (t *T) removeRoleFromProfile(_ context.Context, c *api.Call, in *profileRoleIn) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.of(c.Account).profile(in.Name)
	if err != nil {
		return nil, err
	}
	i := slices.Index(p.Roles, in.Role)
	if i < 0 {
		return nil, missing("The role with name %s cannot be found.", in.Role)
	}
	p.Roles = slices.Delete(p.Roles, i, i+1)
	return &done{}, nil
}

func (t *T) deleteProfile(_ context.Context, c *api.Call, in *profileIn) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	p, err := a.profile(in.Name)
	if err != nil {
		return nil, err
	}
	if len(p.Roles) > 0 {
		return nil, conflict("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
	}
	delete(a.Profiles, in.Name)
	return &done{}, nil
}
