// Package iam is the sandbox's Identity and Access Management: users and their
// keys, roles, policies and instance profiles, and what their policies allow.
package iam

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"bake/internal/sandbox/api"
)

// T is the IAM of all accounts of a sandbox.
type T struct {
	world *api.World

	mu       sync.Mutex
	accounts map[string]*account
}

// An account is what IAM keeps of one account. IAM has no regions.
type account struct {
	Roles     map[string]*role     `json:"roles"`    // by name
	Users     map[string]*user     `json:"users"`    // by name
	Profiles  map[string]*profile  `json:"profiles"` // by name
	Policies  map[string]*managed  `json:"policies"` // by ARN
	Providers map[string]*provider `json:"providers"`
}

// New returns an IAM in which every account is empty.
func New(w *api.World) *T { return &T{world: w, accounts: map[string]*account{}} }

// Save returns the state as JSON.
func (t *T) Save() (json.RawMessage, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Marshal(t.accounts)
}

// Load takes the state that Save returned.
func (t *T) Load(data json.RawMessage) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Unmarshal(data, &t.accounts)
}

// of returns the account, which exists as soon as it is asked for.
func (t *T) of(id string) *account {
	a := t.accounts[id]
	if a == nil {
		a = &account{Roles: map[string]*role{}, Users: map[string]*user{}, Profiles: map[string]*profile{}, Policies: map[string]*managed{}, Providers: map[string]*provider{}}
		t.accounts[id] = a
	}
	return a
}

// Service is IAM as clients call it.
func (t *T) Service() *api.Service {
	return &api.Service{Name: "iam", Protocol: api.Query, Version: "2010-05-08", XMLNS: "https://iam.amazonaws.com/doc/2010-05-08/",
		Actions: map[string]api.Action{
			"CreateRole":               api.Do(t.createRole),
			"GetRole":                  api.Do(t.getRole),
			"ListRoles":                api.Do(t.listRoles),
			"UpdateRole":               api.Do(t.updateRole),
			"UpdateAssumeRolePolicy":   api.Do(t.updateTrust),
			"DeleteRole":               api.Do(t.deleteRole),
			"TagRole":                  api.Do(t.tagRole),
			"UntagRole":                api.Do(t.untagRole),
			"ListRoleTags":             api.Do(t.listRoleTags),
			"CreateServiceLinkedRole":  api.Do(t.createServiceLinkedRole),
			"PutRolePolicy":            api.Do(t.putInline),
			"GetRolePolicy":            api.Do(t.getInline),
			"DeleteRolePolicy":         api.Do(t.deleteInline),
			"ListRolePolicies":         api.Do(t.listInline),
			"AttachRolePolicy":         api.Do(t.attach),
			"DetachRolePolicy":         api.Do(t.detach),
			"ListAttachedRolePolicies": api.Do(t.listAttached),

			"CreateUser":               api.Do(t.createUser),
			"GetUser":                  api.Do(t.getUser),
			"ListUsers":                api.Do(t.listUsers),
			"DeleteUser":               api.Do(t.deleteUser),
			"PutUserPolicy":            api.Do(t.putInline),
			"GetUserPolicy":            api.Do(t.getInline),
			"DeleteUserPolicy":         api.Do(t.deleteInline),
			"ListUserPolicies":         api.Do(t.listInline),
			"AttachUserPolicy":         api.Do(t.attach),
			"DetachUserPolicy":         api.Do(t.detach),
			"ListAttachedUserPolicies": api.Do(t.listAttached),
			"CreateAccessKey":          api.Do(t.createAccessKey),
			"ListAccessKeys":           api.Do(t.listAccessKeys),
			"UpdateAccessKey":          api.Do(t.updateAccessKey),
			"DeleteAccessKey":          api.Do(t.deleteAccessKey),

			"CreatePolicy":       api.Do(t.createPolicy),
			"GetPolicy":          api.Do(t.getPolicy),
			"GetPolicyVersion":   api.Do(t.getPolicyVersion),
			"ListPolicyVersions": api.Do(t.listPolicyVersions),
			"ListPolicies":       api.Do(t.listPolicies),
			"DeletePolicy":       api.Do(t.deletePolicy),

			"CreateInstanceProfile":         api.Do(t.createProfile),
			"GetInstanceProfile":            api.Do(t.getProfile),
			"ListInstanceProfiles":          api.Do(t.listProfiles),
			"ListInstanceProfilesForRole":   api.Do(t.listProfilesForRole),
			"AddRoleToInstanceProfile":      api.Do(t.addRoleToProfile),
			"RemoveRoleFromInstanceProfile": api.Do(t.removeRoleFromProfile),
			"DeleteInstanceProfile":         api.Do(t.deleteProfile),

			"CreateOpenIDConnectProvider": api.Do(t.createProvider),
			"ListOpenIDConnectProviders":  api.Do(t.listProviders),
			"DeleteOpenIDConnectProvider": api.Do(t.deleteProvider),

			"SimulatePrincipalPolicy": api.Do(t.simulatePrincipal),
			"SimulateCustomPolicy":    api.Do(t.simulateCustom),
		}}
}

// A tag of a role or user.
type tag struct {
	Key   string `q:"Key,required" xml:"Key" json:"key"`
	Value string `q:"Value" xml:"Value" json:"value"`
}

// done is the answer of actions that have nothing to say.
type done struct{}

func missing(format, name string) *api.Error {
	e := api.Errorf("NoSuchEntity", format, name)
	e.Status = http.StatusNotFound
	return e
}

func conflict(code, format string, args ...any) *api.Error {
	e := api.Errorf(code, format, args...)
	e.Status = http.StatusConflict
	return e
}

// uniqueID is an id as IAM gives them: AROA and 17 letters and digits.
func uniqueID(prefix string, n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	b := make([]byte, n)
	_, _ = rand.Read(b) // it cannot fail: crypto/rand
	for i := range b {
		b[i] = letters[b[i]%32]
	}
	return prefix + string(b)
}

// quote is how IAM answers policy documents: URL-encoded.
func quote(document string) string { return strings.ReplaceAll(url.QueryEscape(document), "+", "%20") }

func path(p string) string {
	if p == "" {
		return "/"
	}
	return p
}

// paging is what calls that list take.
type paging struct {
	Marker   string `q:"Marker"`
	MaxItems int    `q:"MaxItems"`
}

// page is what they answer besides the list.
type page struct {
	IsTruncated bool   `xml:"IsTruncated"`
	Marker      string `xml:"Marker,omitempty"`
}

func cut[E any](all []E, p paging) ([]E, page, error) {
	from := 0
	if p.Marker != "" {
		var err error
		if from, err = strconv.Atoi(p.Marker); err != nil || from < 0 || from > len(all) {
			return nil, page{}, api.Errorf("ValidationError", "Invalid Marker.")
		}
	}
	if p.MaxItems <= 0 {
		p.MaxItems = 100
	}
	to := min(from+p.MaxItems, len(all))
	if to < len(all) {
		return all[from:to], page{true, strconv.Itoa(to)}, nil
	}
	return all[from:], page{}, nil
}

func (t *T) now() time.Time { return t.world.Now().UTC().Truncate(time.Second) }
