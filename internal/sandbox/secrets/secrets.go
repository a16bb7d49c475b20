// Package secrets is the sandbox's Secrets Manager.
package secrets

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"bake/internal/sandbox/api"
)

// Keys resolves KMS keys.
type Keys interface {
	// Resolve returns the ARN of a key that an account may use.
	Resolve(account, region, idOrAlias string) (arn string, err error)
}

// T is the Secrets Manager of all accounts and regions.
type T struct {
	world *api.World
	keys  Keys

	mu     sync.Mutex
	stores map[string]map[string]*secret // by account/region, by name
}

type secret struct {
	Name        string              `json:"name"`
	ARN         string              `json:"arn"`
	Description string              `json:"description,omitempty"`
	KeyID       string              `json:"key_id,omitempty"`
	Created     time.Time           `json:"created"`
	Changed     time.Time           `json:"changed"`
	Deleted     time.Time           `json:"deleted"`
	Tags        map[string]string   `json:"tags,omitempty"`
	Versions    map[string]*version `json:"versions,omitempty"` // by id
}

type version struct {
	Text    *string   `json:"text,omitempty"`
	Binary  []byte    `json:"binary,omitempty"`
	Created time.Time `json:"created"`
	Stages  []string  `json:"stages,omitempty"`
}

// New returns a Secrets Manager without secrets.
func New(w *api.World, keys Keys) *T {
	return &T{world: w, keys: keys, stores: map[string]map[string]*secret{}}
}

// Save returns the state as JSON.
func (t *T) Save() (json.RawMessage, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Marshal(t.stores)
}

// Load takes the state that Save returned.
func (t *T) Load(data json.RawMessage) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Unmarshal(data, &t.stores)
}

// Service is the Secrets Manager as clients call it.
func (t *T) Service() *api.Service {
	return &api.Service{Name: "secretsmanager", Protocol: api.JSON, Target: "secretsmanager", Actions: map[string]api.Action{
		"CreateSecret":         api.Do(t.create),
		"GetSecretValue":       api.Do(t.get),
		"BatchGetSecretValue":  api.Do(t.getSeveral),
		"PutSecretValue":       api.Do(t.put),
		"UpdateSecret":         api.Do(t.update),
		"DescribeSecret":       api.Do(t.describe),
		"ListSecrets":          api.Do(t.list),
		"ListSecretVersionIds": api.Do(t.listVersions),
		"DeleteSecret":         api.Do(t.delete),
		"RestoreSecret":        api.Do(t.restore),
		"TagResource":          api.Do(t.tag),
		"UntagResource":        api.Do(t.untag),
	}}
}

func (t *T) store(account, region string) map[string]*secret {
	s := t.stores[account+"/"+region]
	if s == nil {
		s = map[string]*secret{}
		t.stores[account+"/"+region] = s
	}
	return s
}

func notFound() *api.Error {
	return api.Errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

// find returns the secret that a name, an ARN, or an ARN without its six last characters means.
func (t *T) find(account, region, ref string) (*secret, error) {
	if parts := strings.SplitN(ref, ":", 7); len(parts) == 7 && parts[0] == "arn" {
		account, region = parts[4], parts[3]
	}
	store := t.store(account, region)
	if s := store[ref]; s != nil {
		return s, nil
	}
	for _, s := range store {
		if s.ARN == ref || s.ARN[:len(s.ARN)-7] == ref {
			return s, nil
		}
	}
	return nil, notFound()
}

// stage returns the version that has a stage.
func (s *secret) stage(name string) (id string, v *version) {
	for id, v := range s.Versions {
		if slices.Contains(v.Stages, name) {
			return id, v
		}
	}
	return "", nil
}

// pick returns the version that an id or a stage means; of neither, the current.
func (s *secret) pick(id, stage string) (string, *version, error) {
	if !s.Deleted.IsZero() {
		return "", nil, api.Errorf("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
	}
	if id != "" {
		v := s.Versions[id]
		if v == nil || stage != "" && !slices.Contains(v.Stages, stage) {
			return "", nil, api.Errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: %s", id)
		}
		return id, v, nil
	}
	if stage == "" {
		stage = "AWSCURRENT"
	}
	id, v := s.stage(stage)
	if v == nil {
		return "", nil, api.Errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: %s", stage)
	}
	return id, v, nil
}

// Value returns a secret as a task definition means it by
// ARN[:JSON key[:version stage[:version id]]], or by its name.
func (t *T) Value(account, region, valueFrom string) (string, error) {
	ref, key, stage, id := valueFrom, "", "", ""
	if parts := strings.Split(valueFrom, ":"); len(parts) > 7 && parts[0] == "arn" {
		ref = strings.Join(parts[:7], ":")
		rest := append(parts[7:], "", "", "")
		key, stage, id = rest[0], rest[1], rest[2]
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(account, region, ref)
	if err != nil {
		return "", err
	}
	_, v, err := s.pick(id, stage)
	switch {
	case err != nil:
		return "", err
	case v.Text == nil:
		return string(v.Binary), nil
	case key == "":
		return *v.Text, nil
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(*v.Text), &members); err != nil {
		return "", fmt.Errorf("retrieved secret from Secrets Manager did not contain json key %s: %w", key, err)
	}
	member, ok := members[key]
	if !ok {
		return "", fmt.Errorf("retrieved secret from Secrets Manager did not contain json key %s", key)
	}
	if text, ok := member.(string); ok {
		return text, nil
	}
	data, err := json.Marshal(member)
	return string(data), err
}

// add makes a version current, and what was current previous.
func (t *T) add(s *secret, id string, text *string, binary []byte, stages []string) (string, error) {
	if id == "" {
		id = token(16)
	}
	if old := s.Versions[id]; old != nil {
		if old.Text != nil && text != nil && *old.Text == *text {
			return id, nil
		}
		return "", api.Errorf("ResourceExistsException", "You can't modify an existing secret version; you can only create new secret versions.")
	}
	if len(stages) == 0 {
		stages = []string{"AWSCURRENT"}
	}
	strip := func(stage string) {
		for _, v := range s.Versions {
			v.Stages = slices.DeleteFunc(v.Stages, func(o string) bool { return o == stage })
		}
	}
	for _, stage := range stages {
		if _, current := s.stage("AWSCURRENT"); stage == "AWSCURRENT" && current != nil {
			strip("AWSPREVIOUS")
			current.Stages = append(current.Stages, "AWSPREVIOUS")
		}
		strip(stage)
	}
	now := t.world.Now().UTC()
	s.Versions[id] = &version{Text: text, Binary: binary, Created: now, Stages: stages}
	s.Changed = now
	return id, nil
}

func token(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it cannot fail: crypto/rand
	text := fmt.Sprintf("%x", b)
	if n == 16 {
		return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
	}
	return text
}
