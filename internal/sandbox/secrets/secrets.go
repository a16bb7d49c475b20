// Package secrets is the sandbox's Secrets Manager.
package secrets

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
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

type tagPair struct{ Key, Value string }

type createIn struct {
	Name, ClientRequestToken, Description, KmsKeyId string
	SecretString                                    *string
	SecretBinary                                    []byte
	Tags                                            []tagPair
}

type createOut struct {
	ARN, Name     string
	VersionId     string   `json:",omitempty"`
	VersionStages []string `json:",omitempty"`
}

func (t *T) create(_ context.Context, c *api.Call, in *createIn) (*createOut, error) {
	if in.Name == "" || len(in.Name) > 512 || strings.ContainsAny(in.Name, " :,") {
		return nil, api.Errorf("ValidationException", "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
	}
	if in.KmsKeyId != "" {
		if _, err := t.keys.Resolve(c.Account, c.Region, in.KmsKeyId); err != nil {
			return nil, api.Errorf("EncryptionFailure", "%v", err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	store := t.store(c.Account, c.Region)
	if old := store[in.Name]; old != nil {
		if old.Versions[in.ClientRequestToken] != nil { // asked again
			return &createOut{ARN: old.ARN, Name: old.Name, VersionId: in.ClientRequestToken}, nil
		}
		if !old.Deleted.IsZero() {
			return nil, api.Errorf("InvalidRequestException", "You can't create this secret because a secret with this name is already scheduled for deletion.")
		}
		return nil, api.Errorf("ResourceExistsException", "The operation failed because the secret %s already exists.", in.Name)
	}
	now := t.world.Now().UTC()
	s := &secret{Name: in.Name, ARN: "arn:aws:secretsmanager:" + c.Region + ":" + c.Account + ":secret:" + in.Name + "-" + token(3),
		Description: in.Description, KeyID: in.KmsKeyId, Created: now, Changed: now, Tags: map[string]string{}, Versions: map[string]*version{}}
	for _, g := range in.Tags {
		s.Tags[g.Key] = g.Value
	}
	out := &createOut{ARN: s.ARN, Name: s.Name}
	if in.SecretString != nil || in.SecretBinary != nil {
		id, err := t.add(s, in.ClientRequestToken, in.SecretString, in.SecretBinary, nil)
		if err != nil {
			return nil, err
		}
		out.VersionId = id
	}
	store[s.Name] = s
	return out, nil
}

type idIn struct {
	SecretId, VersionId, VersionStage string
}

type valueOut struct {
	ARN, Name, VersionId string
	SecretString         *string `json:",omitempty"`
	SecretBinary         []byte  `json:",omitempty"`
	VersionStages        []string
	CreatedDate          time.Time
}

func (t *T) get(_ context.Context, c *api.Call, in *idIn) (*valueOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(c.Account, c.Region, in.SecretId)
	if err != nil {
		return nil, err
	}
	if c.Hidden(s.ARN) {
		return nil, notFound()
	}
	id, v, err := s.pick(in.VersionId, in.VersionStage)
	if err != nil {
		return nil, err
	}
	return &valueOut{s.ARN, s.Name, id, v.Text, v.Binary, v.Stages, v.Created}, nil
}

type batchOut struct {
	SecretValues []valueOut
	Errors       []struct{ SecretId, ErrorCode, Message string }
}

func (t *T) getSeveral(ctx context.Context, c *api.Call, in *struct{ SecretIdList []string }) (*batchOut, error) {
	var out batchOut
	for _, id := range in.SecretIdList {
		v, err := t.get(ctx, c, &idIn{SecretId: id})
		if err != nil {
			out.Errors = append(out.Errors, struct{ SecretId, ErrorCode, Message string }{id, "ResourceNotFoundException", err.Error()})
			continue
		}
		out.SecretValues = append(out.SecretValues, *v)
	}
	return &out, nil
}

type putIn struct {
	SecretId, ClientRequestToken, Description, KmsKeyId string
	SecretString                                        *string
	SecretBinary                                        []byte
	VersionStages                                       []string
}

func (t *T) put(_ context.Context, c *api.Call, in *putIn) (*createOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(c.Account, c.Region, in.SecretId)
	if err != nil {
		return nil, err
	}
	id, err := t.add(s, in.ClientRequestToken, in.SecretString, in.SecretBinary, in.VersionStages)
	if err != nil {
		return nil, err
	}
	return &createOut{s.ARN, s.Name, id, s.Versions[id].Stages}, nil
}

func (t *T) update(_ context.Context, c *api.Call, in *putIn) (*createOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(c.Account, c.Region, in.SecretId)
	if err != nil {
		return nil, err
	}
	if in.Description != "" {
		s.Description = in.Description
	}
	if in.KmsKeyId != "" {
		s.KeyID = in.KmsKeyId
	}
	out := &createOut{ARN: s.ARN, Name: s.Name}
	if in.SecretString != nil || in.SecretBinary != nil {
		out.VersionId, err = t.add(s, in.ClientRequestToken, in.SecretString, in.SecretBinary, nil)
	}
	return out, err
}

type describeOut struct {
	ARN, Name                    string
	Description, KmsKeyId        string `json:",omitempty"`
	CreatedDate, LastChangedDate time.Time
	DeletedDate                  time.Time
	Tags                         []tagPair
	VersionIdsToStages           map[string][]string `json:",omitempty"`
	SecretVersionsToStages       map[string][]string `json:",omitempty"`
}

func (s *secret) describe() describeOut {
	out := describeOut{ARN: s.ARN, Name: s.Name, Description: s.Description, KmsKeyId: s.KeyID, CreatedDate: s.Created, LastChangedDate: s.Changed, DeletedDate: s.Deleted}
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		out.Tags = append(out.Tags, tagPair{k, s.Tags[k]})
	}
	return out
}

func (s *secret) stages() map[string][]string {
	all := map[string][]string{}
	for id, v := range s.Versions {
		if len(v.Stages) > 0 {
			all[id] = v.Stages
		}
	}
	return all
}

func (t *T) describe(_ context.Context, c *api.Call, in *idIn) (*describeOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(c.Account, c.Region, in.SecretId)
	if err != nil {
		return nil, err
	}
	if c.Hidden(s.ARN) {
		return nil, notFound()
	}
	out := s.describe()
	out.VersionIdsToStages = s.stages()
	return &out, nil
}

type listIn struct {
	MaxResults int
	NextToken  string
	SortOrder  string
	Filters    []struct {
		Key    string
		Values []string
	}
	IncludePlannedDeletion bool
}

type listOut struct {
	SecretList []describeOut
	NextToken  string `json:",omitempty"`
}

func (t *T) list(_ context.Context, c *api.Call, in *listIn) (*listOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	store := t.store(c.Account, c.Region)
	var all []describeOut
	for _, name := range slices.Sorted(maps.Keys(store)) {
		s := store[name]
		fits := s.Deleted.IsZero() || in.IncludePlannedDeletion
		for _, f := range in.Filters {
			fits = fits && slices.ContainsFunc(f.Values, func(v string) bool { return s.fits(f.Key, v) })
		}
		if fits && !c.Hidden(s.ARN) {
			out := s.describe()
			out.SecretVersionsToStages = s.stages()
			all = append(all, out)
		}
	}
	from, _ := strconv.Atoi(in.NextToken)
	if from < 0 || from > len(all) {
		return nil, api.Errorf("InvalidNextTokenException", "The NextToken value is invalid.")
	}
	if in.MaxResults == 0 {
		in.MaxResults = 100
	}
	to := min(from+in.MaxResults, len(all))
	out := &listOut{SecretList: all[from:to]}
	if to < len(all) {
		out.NextToken = strconv.Itoa(to)
	}
	return out, nil
}

// fits reports whether a filter of ListSecrets lets a secret through: words are prefixes.
func (s *secret) fits(key, value string) bool {
	switch key {
	case "name", "all":
		return strings.HasPrefix(s.Name, value)
	case "description":
		return strings.HasPrefix(s.Description, value)
	}
	for k, v := range s.Tags {
		if key == "tag-key" && strings.HasPrefix(k, value) || key == "tag-value" && strings.HasPrefix(v, value) {
			return true
		}
	}
	return false
}

type versionOut struct {
	VersionId     string
	VersionStages []string
	CreatedDate   time.Time
}

type versionsOut struct {
	ARN, Name string
	Versions  []versionOut
}

func (t *T) listVersions(_ context.Context, c *api.Call, in *struct {
	SecretId, NextToken string
	MaxResults          int
	IncludeDeprecated   bool
}) (*versionsOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(c.Account, c.Region, in.SecretId)
	if err != nil {
		return nil, err
	}
	out := &versionsOut{ARN: s.ARN, Name: s.Name}
	for id, v := range s.Versions {
		if len(v.Stages) > 0 || in.IncludeDeprecated {
			out.Versions = append(out.Versions, versionOut{id, v.Stages, v.Created})
		}
	}
	slices.SortFunc(out.Versions, func(a, b versionOut) int { return b.CreatedDate.Compare(a.CreatedDate) })
	return out, nil
}

type deleteIn struct {
	SecretId                   string
	RecoveryWindowInDays       *int
	ForceDeleteWithoutRecovery bool
}

type deleteOut struct {
	ARN, Name    string
	DeletionDate time.Time
}

func (t *T) delete(_ context.Context, c *api.Call, in *deleteIn) (*deleteOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	days := 30
	if in.RecoveryWindowInDays != nil {
		if days = *in.RecoveryWindowInDays; in.ForceDeleteWithoutRecovery || days < 7 || days > 30 {
			return nil, api.Errorf("InvalidParameterException", "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays, which is from 7 to 30.")
		}
	}
	s, err := t.find(c.Account, c.Region, in.SecretId)
	if err != nil {
		return nil, err
	}
	now := t.world.Now().UTC()
	if in.ForceDeleteWithoutRecovery {
		delete(t.store(c.Account, c.Region), s.Name)
		return &deleteOut{s.ARN, s.Name, now}, nil
	}
	s.Deleted = now
	return &deleteOut{s.ARN, s.Name, now.AddDate(0, 0, days)}, nil
}

func (t *T) restore(_ context.Context, c *api.Call, in *idIn) (*createOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(c.Account, c.Region, in.SecretId)
	if err != nil {
		return nil, err
	}
	s.Deleted = time.Time{}
	return &createOut{ARN: s.ARN, Name: s.Name}, nil
}

type tagIn struct {
	SecretId string
	Tags     []tagPair
	TagKeys  []string
}

func (t *T) tag(_ context.Context, c *api.Call, in *tagIn) (*struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(c.Account, c.Region, in.SecretId)
	if err != nil {
		return nil, err
	}
	for _, g := range in.Tags {
		s.Tags[g.Key] = g.Value
	}
	return &struct{}{}, nil
}

func (t *T) untag(_ context.Context, c *api.Call, in *tagIn) (*struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(c.Account, c.Region, in.SecretId)
	if err != nil {
		return nil, err
	}
	for _, k := range in.TagKeys {
		delete(s.Tags, k)
	}
	return &struct{}{}, nil
}
