package ecr

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/policy"
)

type tag struct{ Key, Value string }

type exclusion struct {
	Type   string `json:"filterType"`
	Filter string `json:"filter"`
}

type encryption struct {
	Type string `json:"encryptionType"`
	Key  string `json:"kmsKey,omitempty"`
}

type scanOnPush struct {
	OnPush bool `json:"scanOnPush"`
}

// A repository and all that belongs to it.
type repository struct {
	Name       string               `json:"name"`
	Created    time.Time            `json:"created"`
	Mutability string               `json:"mutability"`
	Exclusions []exclusion          `json:"exclusions,omitempty"`
	Scan       scanOnPush           `json:"scan"`
	Encryption encryption           `json:"encryption"`
	Policy     string               `json:"policy,omitempty"`
	Lifecycle  string               `json:"lifecycle,omitempty"`
	Evaluated  time.Time            `json:"evaluated"` // when the lifecycle policy was applied
	Tags       map[string]string    `json:"tags,omitempty"`
	Blobs      map[string]int64     `json:"blobs"`     // digests of layers and their sizes
	Images     map[string]*manifest `json:"manifests"` // by digest
	Labels     map[string]string    `json:"labels"`    // tags to digests
	Findings   map[string][]Finding `json:"findings,omitempty"`
	Catalog    map[string]any       `json:"catalog,omitempty"` // of ECR Public
}

// repositoryOut is a repository as calls answer it.
type repositoryOut struct {
	ARN        string      `json:"repositoryArn"`
	Registry   string      `json:"registryId"`
	Name       string      `json:"repositoryName"`
	URI        string      `json:"repositoryUri"`
	Created    time.Time   `json:"createdAt"`
	Mutability string      `json:"imageTagMutability,omitempty"`
	Exclusions []exclusion `json:"imageTagMutabilityExclusionFilters,omitempty"`
	Scan       *scanOnPush `json:"imageScanningConfiguration,omitempty"`
	Encryption *encryption `json:"encryptionConfiguration,omitempty"`
}

func (r *registry) out(p *repository) repositoryOut {
	scan, crypt := p.Scan, p.Encryption
	return repositoryOut{r.arn(p.Name), r.Account, p.Name, r.uri(p.Name), p.Created, p.Mutability, p.Exclusions, &scan, &crypt}
}

var repositoryForm = lazyregexp.New(`^(?:[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*/)*[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)

func checkRepository(name string) error {
	if n := len(name); n < 2 || n > 256 || !repositoryForm.MatchString(name) {
		return invalid("Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*''")
	}
	return nil
}

func invalid(format string, args ...any) *api.Error {
	return api.Errorf("InvalidParameterException", format, args...)
}

// repository finds one; hidden ones are not there yet.
func (r *registry) repository(c *api.Call, name string) (*repository, error) {
	p := r.Repositories[name]
	if p == nil || c.Hidden(r.arn(name)) {
		return nil, api.Errorf("RepositoryNotFoundException", "The repository with name '%s' does not exist in the registry with id '%s'", name, r.Account)
	}
	return p, nil
}

// find returns the repository that a call names, with its registry. Of another
// account's it wants the repository's policy to allow the action.
func (t *T) find(c *api.Call, registryID, name string) (*registry, *repository, error) {
	r, err := t.at(c, registryID)
	if err != nil {
		return nil, nil, err
	}
	p, err := r.repository(c, name)
	if err != nil {
		return nil, nil, err
	}
	if !r.lets(p, c.Account, c.Caller, "ecr:"+c.Action) {
		return nil, nil, api.Errorf("AccessDeniedException", "User: %s is not authorized to perform: ecr:%s on resource: %s because no resource-based policy allows the ecr:%s action", c.Caller, c.Action, r.arn(name), c.Action)
	}
	return r, p, nil
}

// lets reports whether the repository's policy lets an account do something; its own may.
func (r *registry) lets(p *repository, account, caller, action string) bool {
	own := account == r.Account
	d, err := policy.Parse(p.Policy)
	if p.Policy == "" || err != nil {
		return own
	}
	ids := []string{account, caller}
	if parts := strings.Split(caller, ":assumed-role/"); len(parts) == 2 {
		role, _, _ := strings.Cut(parts[1], "/")
		ids = append(ids, "arn:aws:iam::"+account+":role/"+role)
	}
	e := policy.Decide([]*policy.Document{d}, policy.Request{Action: action, Resource: r.arn(p.Name), Principal: map[string][]string{"AWS": ids},
		Context: map[string][]string{"aws:principalarn": {caller}, "aws:principalaccount": {account}}})
	return e == policy.Allowed || own && e == policy.Silent
}

// TagsOf returns the tags of the repository with an ARN; nil if there is none.
// Policies ask about them.
func (t *T) TagsOf(arn string) map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.registries {
		if name, ok := strings.CutPrefix(arn, r.arn("")); ok && r.Repositories[name] != nil {
			return maps.Clone(r.Repositories[name].Tags)
		}
	}
	return nil
}

type createIn struct {
	Name       string      `json:"repositoryName"`
	Registry   string      `json:"registryId"`
	Mutability string      `json:"imageTagMutability"`
	Exclusions []exclusion `json:"imageTagMutabilityExclusionFilters"`
	Scan       scanOnPush  `json:"imageScanningConfiguration"`
	Encryption *encryption `json:"encryptionConfiguration"`
	Tags       []tag       `json:"tags"`
}

type createOut struct {
	Repository repositoryOut `json:"repository"`
}

func (t *T) createRepository(_ context.Context, c *api.Call, in *createIn) (*createOut, error) {
	if err := checkRepository(in.Name); err != nil {
		return nil, err
	}
	if in.Mutability == "" {
		in.Mutability = "MUTABLE"
	}
	if err := checkMutability(in.Mutability, in.Exclusions); err != nil {
		return nil, err
	}
	if len(in.Tags) > 50 {
		return nil, api.Errorf("TooManyTagsException", "The number of tags exceeds 50")
	}
	crypt, err := t.encryption(c.Account, c.Region, in.Encryption)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.at(c, in.Registry)
	if err != nil {
		return nil, err
	}
	if r.Repositories[in.Name] != nil {
		return nil, api.Errorf("RepositoryAlreadyExistsException", "The repository with name '%s' already exists in the registry with id '%s'", in.Name, r.Account)
	}
	p := t.add(r, in.Name)
	p.Mutability, p.Exclusions, p.Scan, p.Encryption = in.Mutability, in.Exclusions, in.Scan, crypt
	for _, g := range in.Tags {
		p.Tags[g.Key] = g.Value
	}
	return &createOut{r.out(p)}, nil
}

// add makes an empty repository with ECR's defaults.
func (t *T) add(r *registry, name string) *repository {
	p := &repository{Name: name, Created: t.now(), Mutability: "MUTABLE", Encryption: encryption{Type: "AES256"}, Tags: map[string]string{},
		Blobs: map[string]int64{}, Images: map[string]*manifest{}, Labels: map[string]string{}}
	r.Repositories[name] = p
	return p
}

func checkMutability(value string, exclusions []exclusion) error {
	if !slices.Contains([]string{"MUTABLE", "IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"}, value) {
		return invalid("Invalid parameter at 'imageTagMutability' failed to satisfy constraint: 'Member must satisfy enum value set: [MUTABLE, IMMUTABLE, IMMUTABLE_WITH_EXCLUSION, MUTABLE_WITH_EXCLUSION]'")
	}
	if with := strings.HasSuffix(value, "_WITH_EXCLUSION"); with != (len(exclusions) > 0) {
		return invalid("Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: 'exclusion filters go with a mutability WITH_EXCLUSION, and it with them'")
	}
	if len(exclusions) > 5 {
		return invalid("Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: 'Member must have length less than or equal to 5'")
	}
	for _, e := range exclusions {
		if e.Type != "WILDCARD" || e.Filter == "" || strings.Count(e.Filter, "*") > 2 {
			return invalid("Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: 'a WILDCARD of at most two asterisks'")
		}
	}
	return nil
}

// fixed reports whether a tag, once set, cannot be moved.
func (p *repository) fixed(label string) bool {
	excluded := slices.ContainsFunc(p.Exclusions, func(e exclusion) bool { return policy.Match(e.Filter, label) })
	return strings.HasPrefix(p.Mutability, "IMMUTABLE") != excluded
}

func (t *T) encryption(account, region string, e *encryption) (encryption, error) {
	switch {
	case e == nil || e.Type == "" || e.Type == "AES256":
		return encryption{Type: "AES256"}, nil
	case e.Type != "KMS" && e.Type != "KMS_DSSE":
		return encryption{}, invalid("Invalid parameter at 'encryptionType' failed to satisfy constraint: 'Member must satisfy enum value set: [KMS, AES256, KMS_DSSE]'")
	}
	id := e.Key
	if id == "" {
		id = "alias/aws/ecr"
	}
	if t.deps.Key != nil {
		if err := t.deps.Key(account, region, id); err != nil {
			return encryption{}, api.Errorf("KmsException", "%v", err)
		}
	}
	return encryption{e.Type, id}, nil
}

type paging struct {
	Next string `json:"nextToken"`
	Max  int    `json:"maxResults"`
}

// cut is the part of a list that one answer has.
func cut[E any](all []E, p paging) (page []E, next string, err error) {
	from := 0
	if p.Next != "" {
		if from, err = strconv.Atoi(p.Next); err != nil || from < 0 || from > len(all) {
			return nil, "", invalid("Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'")
		}
	}
	if p.Max < 0 || p.Max > 1000 {
		return nil, "", invalid("Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must be between 1 and 1000'")
	}
	if p.Max == 0 {
		p.Max = 100
	}
	to := min(from+p.Max, len(all))
	if to < len(all) {
		next = strconv.Itoa(to)
	}
	return all[from:to], next, nil
}

type describeIn struct {
	paging
	Registry string   `json:"registryId"`
	Names    []string `json:"repositoryNames"`
}

type describeOut struct {
	Repositories []repositoryOut `json:"repositories"`
	Next         string          `json:"nextToken,omitempty"`
}

func (t *T) describeRepositories(_ context.Context, c *api.Call, in *describeIn) (*describeOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.at(c, in.Registry)
	if err != nil {
		return nil, err
	}
	var all []repositoryOut
	if len(in.Names) > 0 {
		for _, name := range in.Names {
			_, p, err := t.find(c, in.Registry, name)
			if err != nil {
				return nil, err
			}
			all = append(all, r.out(p))
		}
		return &describeOut{Repositories: all}, nil
	}
	if r.Account != c.Account {
		return nil, api.Errorf("AccessDeniedException", "User: %s is not authorized to perform: ecr:DescribeRepositories on resource: %s", c.Caller, r.arn("*"))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Repositories)) {
		if !c.Hidden(r.arn(name)) {
			all = append(all, r.out(r.Repositories[name]))
		}
	}
	page, next, err := cut(all, in.paging)
	return &describeOut{page, next}, err
}

type deleteIn struct {
	Registry string `json:"registryId"`
	Name     string `json:"repositoryName"`
	Force    bool   `json:"force"`
}

func (t *T) deleteRepository(_ context.Context, c *api.Call, in *deleteIn) (*createOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	if len(p.Images) > 0 && !in.Force {
		return nil, api.Errorf("RepositoryNotEmptyException", "The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", p.Name, r.Account)
	}
	delete(r.Repositories, p.Name)
	return &createOut{r.out(p)}, nil
}

// nameIn is what calls take that are about one repository.
type nameIn struct {
	Registry string `json:"registryId"`
	Name     string `json:"repositoryName"`
}

type mutabilityIO struct {
	nameIn
	Mutability string      `json:"imageTagMutability"`
	Exclusions []exclusion `json:"imageTagMutabilityExclusionFilters,omitempty"`
}

func (t *T) putImageTagMutability(_ context.Context, c *api.Call, in *mutabilityIO) (*mutabilityIO, error) {
	if err := checkMutability(in.Mutability, in.Exclusions); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	p.Mutability, p.Exclusions = in.Mutability, in.Exclusions
	in.Registry = r.Account
	return in, nil
}

type scanConfigIO struct {
	nameIn
	Scan scanOnPush `json:"imageScanningConfiguration"`
}

func (t *T) putImageScanningConfiguration(_ context.Context, c *api.Call, in *scanConfigIO) (*scanConfigIO, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	p.Scan, in.Registry = in.Scan, r.Account
	return in, nil
}

type tagsIn struct {
	ARN  string   `json:"resourceArn"`
	Tags []tag    `json:"tags"`
	Keys []string `json:"tagKeys"`
}

// tagged returns the repository whose tags a call is about.
func (t *T) tagged(c *api.Call, arn string) (*repository, error) {
	parts := strings.SplitN(arn, ":repository/", 2)
	fields := strings.Split(arn, ":")
	if len(parts) != 2 || len(fields) < 6 {
		return nil, invalid("Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'")
	}
	_, p, err := t.find(c, fields[4], parts[1])
	return p, err
}

func (t *T) tagResource(_ context.Context, c *api.Call, in *tagsIn) (*struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.tagged(c, in.ARN)
	if err != nil {
		return nil, err
	}
	for _, g := range in.Tags {
		p.Tags[g.Key] = g.Value
	}
	return &struct{}{}, nil
}

func (t *T) untagResource(_ context.Context, c *api.Call, in *tagsIn) (*struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.tagged(c, in.ARN)
	if err != nil {
		return nil, err
	}
	for _, k := range in.Keys {
		delete(p.Tags, k)
	}
	return &struct{}{}, nil
}

type tagsOut struct {
	Tags []tag `json:"tags"`
}

func (t *T) listTagsForResource(_ context.Context, c *api.Call, in *tagsIn) (*tagsOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.tagged(c, in.ARN)
	if err != nil {
		return nil, err
	}
	var out tagsOut
	for k, v := range p.Tags {
		out.Tags = append(out.Tags, tag{k, v})
	}
	slices.SortFunc(out.Tags, func(a, b tag) int { return cmp.Compare(a.Key, b.Key) })
	return &out, nil
}
