package iam

import (
	"context"
	"slices"
	"time"

	"bake/internal/sandbox/api"
)

type user struct {
	policies
	Name    string    `json:"name"`
	Path    string    `json:"path"`
	ID      string    `json:"id"`
	ARN     string    `json:"arn"`
	Created time.Time `json:"created"`
	Tags    []tag     `json:"tags,omitempty"`
	Keys    []*key    `json:"keys,omitempty"`
}

type key struct {
	ID      string    `json:"id"`
	Secret  string    `json:"secret"` // the sandbox's own, of no use elsewhere
	Active  bool      `json:"active"`
	Created time.Time `json:"created"`
}

type userXML struct {
	Path    string    `xml:"Path"`
	Name    string    `xml:"UserName"`
	ID      string    `xml:"UserId"`
	ARN     string    `xml:"Arn"`
	Created time.Time `xml:"CreateDate"`
	Tags    []tag     `xml:"Tags>member,omitempty"`
}

func (u *user) xml() userXML { return userXML{u.Path, u.Name, u.ID, u.ARN, u.Created, u.Tags} }

func (a *account) user(name string) (*user, error) {
	if u := a.Users[name]; u != nil {
		return u, nil
	}
	return nil, missing("The user with name %s cannot be found.", name)
}

type createUserIn struct {
	Name string `q:"UserName,required"`
	Path string `q:"Path"`
	Tags []tag  `q:"Tags"`
}

type userOut struct {
	User userXML `xml:"User"`
}

func (t *T) createUser(_ context.Context, c *api.Call, in *createUserIn) (*userOut, error) {
	if err := checkName("userName", in.Name); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	if a.Users[in.Name] != nil {
		return nil, conflict("EntityAlreadyExists", "User with name %s already exists.", in.Name)
	}
	u := &user{Name: in.Name, Path: path(in.Path), ID: uniqueID("AIDA", 17), Created: t.now(), Tags: in.Tags}
	u.ARN = "arn:aws:iam::" + c.Account + ":user" + u.Path + u.Name
	a.Users[u.Name] = u
	return &userOut{u.xml()}, nil
}

type userIn struct {
	Name string `q:"UserName"`
}

func (t *T) getUser(_ context.Context, c *api.Call, in *userIn) (*userOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	if in.Name != "" {
		u, err := a.user(in.Name)
		if err != nil {
			return nil, err
		}
		return &userOut{u.xml()}, nil
	}
	for _, u := range a.Users {
		if u.ARN == c.Caller {
			return &userOut{u.xml()}, nil
		}
	}
	return nil, api.Errorf("ValidationError", "Must specify userName when calling with non-User credentials")
}

type listUsersOut struct {
	page
	Users []userXML `xml:"Users>member"`
}

func (t *T) listUsers(_ context.Context, c *api.Call, in *struct {
	paging
	PathPrefix string `q:"PathPrefix"`
}) (*listUsersOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []userXML
	for _, u := range sorted(t.of(c.Account).Users) {
		all = append(all, u.xml())
	}
	all, page, err := cut(all, in.paging)
	return &listUsersOut{page, all}, err
}

func (t *T) deleteUser(_ context.Context, c *api.Call, in *struct {
	Name string `q:"UserName,required"`
}) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	u, err := a.user(in.Name)
	if err != nil {
		return nil, err
	}
	if len(u.Keys) > 0 {
		return nil, conflict("DeleteConflict", "Cannot delete entity, must delete access keys first.")
	}
	if err := u.empty(); err != nil {
		return nil, err
	}
	delete(a.Users, u.Name)
	return &done{}, nil
}

type keyXML struct {
	User    string    `xml:"UserName"`
	ID      string    `xml:"AccessKeyId"`
	Status  string    `xml:"Status"`
	Secret  string    `xml:"SecretAccessKey,omitempty"`
	Created time.Time `xml:"CreateDate"`
}

func (k *key) xml(user string) keyXML {
	x := keyXML{User: user, ID: k.ID, Status: "Inactive", Created: k.Created}
	if k.Active {
		x.Status = "Active"
	}
	return x
}

type createKeyOut struct {
	Key keyXML `xml:"AccessKey"`
}

func (t *T) createAccessKey(_ context.Context, c *api.Call, in *userIn) (*createKeyOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u, err := t.of(c.Account).user(in.Name)
	if err != nil {
		return nil, err
	}
	if len(u.Keys) == 2 {
		return nil, conflict("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
	}
	k := &key{ID: uniqueID("AKIA", 16), Secret: uniqueID("", 40), Active: true, Created: t.now()}
	u.Keys = append(u.Keys, k)
	x := k.xml(u.Name)
	x.Secret = k.Secret
	return &createKeyOut{x}, nil
}

type listKeysOut struct {
	page
	Keys []keyXML `xml:"AccessKeyMetadata>member"`
}

func (t *T) listAccessKeys(_ context.Context, c *api.Call, in *struct {
	paging
	Name string `q:"UserName,required"`
}) (*listKeysOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u, err := t.of(c.Account).user(in.Name)
	if err != nil {
		return nil, err
	}
	var all []keyXML
	for _, k := range u.Keys {
		all = append(all, k.xml(u.Name))
	}
	all, page, err := cut(all, in.paging)
	return &listKeysOut{page, all}, err
}

type keyIn struct {
	User   string `q:"UserName,required"`
	ID     string `q:"AccessKeyId,required"`
	Status string `q:"Status"`
}

func (t *T) updateAccessKey(_ context.Context, c *api.Call, in *keyIn) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u, i, err := t.of(c.Account).key(in)
	if err != nil {
		return nil, err
	}
	u.Keys[i].Active = in.Status == "Active"
	return &done{}, nil
}

func (t *T) deleteAccessKey(_ context.Context, c *api.Call, in *keyIn) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u, i, err := t.of(c.Account).key(in)
	if err != nil {
		return nil, err
	}
	u.Keys = slices.Delete(u.Keys, i, i+1)
	return &done{}, nil
}

func (a *account) key(in *keyIn) (*user, int, error) {
	u, err := a.user(in.User)
	if err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(u.Keys, func(k *key) bool { return k.ID == in.ID })
	if i < 0 {
		return nil, 0, missing("The Access Key with id %s cannot be found.", in.ID)
	}
	return u, i, nil
}

// Caller returns whom a user's access key belongs to.
func (t *T) Caller(accessKey string) (api.Caller, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, a := range t.accounts {
		for _, u := range a.Users {
			for _, k := range u.Keys {
				if k.ID == accessKey {
					return api.Caller{Account: id, ARN: u.ARN, UserID: u.ID, Secret: k.Secret, Off: !k.Active}, true
				}
			}
		}
	}
	return api.Caller{}, false
}
