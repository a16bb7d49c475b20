// Package kms is the sandbox's Key Management Service: keys, their state, aliases,
// policies and grants. Nothing is encrypted with them: others ask whether a key
// may be used.
package kms

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/policy"
)

// T is the KMS of all accounts and regions.
type T struct {
	world *api.World

	mu    sync.Mutex
	rings map[string]*ring // by account/region
}

// A ring is the keys and aliases of one account in one region.
type ring struct {
	Keys    map[string]*key   `json:"keys"`    // by id
	Aliases map[string]*alias `json:"aliases"` // by name, "alias/x"
}

type alias struct {
	Target  string    `json:"target"` // key id
	Created time.Time `json:"created"`
}

type key struct {
	ID          string            `json:"id"`
	ARN         string            `json:"arn"`
	Account     string            `json:"account"`
	Description string            `json:"description"`
	State       string            `json:"state"` // Enabled, Disabled, PendingDeletion, ...
	Manager     string            `json:"manager"`
	Usage       string            `json:"usage"`
	Spec        string            `json:"spec"`
	Created     time.Time         `json:"created"`
	Deletion    time.Time         `json:"deletion"`
	MultiRegion bool              `json:"multi_region,omitempty"`
	Policy      string            `json:"policy"`
	Grants      []*grant          `json:"grants,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

// New returns a KMS with AWS's own keys alone, which are made when they are asked for.
func New(w *api.World) *T { return &T{world: w, rings: map[string]*ring{}} }

// Save returns the state as JSON.
func (t *T) Save() (json.RawMessage, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Marshal(t.rings)
}

// Load takes the state that Save returned.
func (t *T) Load(data json.RawMessage) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Unmarshal(data, &t.rings)
}

// Service is KMS as clients call it.
func (t *T) Service() *api.Service {
	return &api.Service{Name: "kms", Protocol: api.JSON, Target: "TrentService", Actions: map[string]api.Action{
		"CreateKey":           api.Do(t.createKey),
		"DescribeKey":         api.Do(t.describeKey),
		"ListKeys":            api.Do(t.listKeys),
		"EnableKey":           api.Do(t.enableKey),
		"DisableKey":          api.Do(t.disableKey),
		"ScheduleKeyDeletion": api.Do(t.scheduleDeletion),
		"CancelKeyDeletion":   api.Do(t.cancelDeletion),
		"GetKeyPolicy":        api.Do(t.getPolicy),
		"PutKeyPolicy":        api.Do(t.putPolicy),
		"ListResourceTags":    api.Do(t.listTags),
		"TagResource":         api.Do(t.tag),
		"UntagResource":       api.Do(t.untag),
		"CreateAlias":         api.Do(t.createAlias),
		"UpdateAlias":         api.Do(t.updateAlias),
		"DeleteAlias":         api.Do(t.deleteAlias),
		"ListAliases":         api.Do(t.listAliases),
		"CreateGrant":         api.Do(t.createGrant),
		"ListGrants":          api.Do(t.listGrants),
		"RevokeGrant":         api.Do(t.revokeGrant),
		"RetireGrant":         api.Do(t.retireGrant),
	}}
}

func (t *T) ring(account, region string) *ring {
	r := t.rings[account+"/"+region]
	if r == nil {
		r = &ring{Keys: map[string]*key{}, Aliases: map[string]*alias{}}
		t.rings[account+"/"+region] = r
	}
	return r
}

func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it cannot fail: crypto/rand
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// add makes a key.
func (t *T) add(account, region string, k *key) *key {
	k.ID = uuid()
	if k.MultiRegion {
		k.ID = "mrk-" + strings.ReplaceAll(k.ID, "-", "")
	}
	k.Account, k.State, k.Created = account, "Enabled", t.world.Now().UTC()
	k.ARN = "arn:aws:kms:" + region + ":" + account + ":key/" + k.ID
	if k.Policy == "" {
		k.Policy = `{"Version":"2012-10-17","Id":"key-default-1","Statement":[{"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:root"},"Action":"kms:*","Resource":"*"}]}`
	}
	t.ring(account, region).Keys[k.ID] = k
	return k
}

func notFound(format string, args ...any) *api.Error {
	return api.Errorf("NotFoundException", format, args...)
}

// find returns the key that an id, an ARN or an alias means to an account.
func (t *T) find(account, region, ref string) (*key, error) {
	owner, where := account, region
	id := ref
	if parts := strings.SplitN(ref, ":", 6); len(parts) == 6 && parts[2] == "kms" {
		where, owner, id = parts[3], parts[4], strings.TrimPrefix(parts[5], "key/")
	}
	if where != region {
		return nil, notFound("Invalid arn %s", where)
	}
	if strings.HasPrefix(id, "alias/") {
		return t.byAlias(owner, where, id)
	}
	if k := t.ring(owner, where).Keys[id]; k != nil {
		return k, nil
	}
	return nil, notFound("Key 'arn:aws:kms:%s:%s:key/%s' does not exist", where, owner, id)
}

func (t *T) byAlias(account, region, name string) (*key, error) {
	r := t.ring(account, region)
	if a := r.Aliases[name]; a != nil && r.Keys[a.Target] != nil {
		return r.Keys[a.Target], nil
	}
	service, aws := strings.CutPrefix(name, "alias/aws/")
	if !aws {
		return nil, notFound("Alias arn:aws:kms:%s:%s:%s is not found.", region, account, name)
	}
	k := t.add(account, region, &key{Description: "Default key that protects my " + service + " data when no other key is defined", Manager: "AWS", Usage: "ENCRYPT_DECRYPT", Spec: "SYMMETRIC_DEFAULT"})
	r.Aliases[name] = &alias{Target: k.ID, Created: k.Created}
	return k, nil
}

// Resolve returns the ARN of the key that an id, an ARN or an alias means. It
// is an *api.Error if there is none, if its state keeps it from being used, or
// if neither its policy nor a grant lets the account use it.
func (t *T) Resolve(account, region, idOrAlias string) (arn string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, err := t.find(account, region, idOrAlias)
	if err != nil {
		return "", err
	}
	switch k.State {
	case "Enabled":
	case "Disabled":
		return "", api.Errorf("DisabledException", "%s is disabled.", k.ARN)
	case "PendingDeletion":
		return "", api.Errorf("KMSInvalidStateException", "%s is pending deletion.", k.ARN)
	default:
		return "", api.Errorf("KMSInvalidStateException", "%s is in the state %s.", k.ARN, k.State)
	}
	if !t.allows(k, account) {
		return "", api.Errorf("AccessDeniedException", "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.")
	}
	return k.ARN, nil
}

// Aliases returns the names of the aliases of the key with an ARN.
func (t *T) Aliases(arn string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for where, r := range t.rings {
		account, region, _ := strings.Cut(where, "/")
		for name, a := range r.Aliases {
			if arn == "arn:aws:kms:"+region+":"+account+":key/"+a.Target {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return all
}

// Key reports as an *api.Error why a key cannot be used; nil: it can.
func (t *T) Key(account, region, idOrAlias string) error {
	_, err := t.Resolve(account, region, idOrAlias)
	return err
}

// Shared reports whether a key may be used by another account, which AWS's own may not.
func (t *T) Shared(account, region, idOrAlias string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, err := t.find(account, region, idOrAlias)
	return err == nil && k.Manager != "AWS"
}

// allows reports whether a key's policy or a grant speaks of an account.
func (t *T) allows(k *key, account string) bool {
	if k.Account == account {
		return true
	}
	if k.Manager == "AWS" {
		return false
	}
	for _, g := range k.Grants {
		if strings.Contains(g.GranteePrincipal, "::"+account+":") {
			return true
		}
	}
	d, err := policy.Parse(k.Policy)
	return err == nil && policy.Decide([]*policy.Document{d}, policy.Request{Action: "kms:Decrypt", Resource: k.ARN, Principal: map[string][]string{"AWS": {account}}}) == policy.Allowed
}
