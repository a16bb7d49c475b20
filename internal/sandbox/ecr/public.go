package ecr

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"bake/internal/sandbox/api"
)

// Public is ECR Public, which shares T's state.
type Public struct{ t *T }

// Public returns ECR Public.
func (t *T) Public() *Public { return &Public{t} }

// Save returns nothing: T keeps it all.
func (p *Public) Save() (json.RawMessage, error) { return json.RawMessage(`{}`), nil }

// Load takes nothing.
func (p *Public) Load(json.RawMessage) error { return nil }

// Service is ECR Public as clients call it.
func (p *Public) Service() *api.Service {
	return &api.Service{Name: "ecr-public", Protocol: api.JSON, Target: "SpencerFrontendService", Actions: map[string]api.Action{
		"GetAuthorizationToken":    api.Do(p.getAuthorizationToken),
		"CreateRepository":         api.Do(p.createRepository),
		"DescribeRepositories":     api.Do(p.describeRepositories),
		"DeleteRepository":         api.Do(p.deleteRepository),
		"DescribeImages":           api.Do(p.describeImages),
		"BatchDeleteImage":         api.Do(p.batchDeleteImage),
		"DescribeRegistries":       api.Do(p.describeRegistries),
		"GetRepositoryCatalogData": api.Do(p.getCatalogData),
		"PutRepositoryCatalogData": api.Do(p.putCatalogData),
		"TagResource":              api.Do(p.tagResource),
		"UntagResource":            api.Do(p.untagResource),
		"ListTagsForResource":      api.Do(p.listTags),
	}}
}

// public returns an account's part of ECR Public.
func (t *T) public(account string) (*registry, error) {
	return t.open("public/"+account, &registry{Account: account, Public: true})
}

// alias is the name that AWS gives an account's public registry.
func (r *registry) alias() string { return "a" + r.Account[len(r.Account)-7:] }

type publicAuthOut struct {
	Data authData `json:"authorizationData"`
}

func (p *Public) getAuthorizationToken(_ context.Context, c *api.Call, _ *struct{}) (*publicAuthOut, error) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	return &publicAuthOut{p.t.give(c, "")}, nil
}

type publicRepository struct {
	ARN      string    `json:"repositoryArn"`
	Registry string    `json:"registryId"`
	Name     string    `json:"repositoryName"`
	URI      string    `json:"repositoryUri"`
	Created  time.Time `json:"createdAt"`
}

func (r *registry) public(p *repository) publicRepository {
	return publicRepository{r.arn(p.Name), r.Account, p.Name, r.host() + "/" + r.alias() + "/" + p.Name, p.Created}
}

type publicIn struct {
	nameIn
	Catalog map[string]any `json:"catalogData"`
	Tags    []tag          `json:"tags"`
	Force   bool           `json:"force"`
}

type publicOut struct {
	Repository publicRepository `json:"repository"`
	Catalog    map[string]any   `json:"catalogData,omitempty"`
}

func (p *Public) createRepository(_ context.Context, c *api.Call, in *publicIn) (*publicOut, error) {
	if err := checkRepository(in.Name); err != nil {
		return nil, err
	}
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	r, err := p.t.public(c.Account)
	if err != nil {
		return nil, err
	}
	if r.Repositories[in.Name] != nil {
		return nil, api.Errorf("RepositoryAlreadyExistsException", "The repository with name '%s' already exists in the registry with id '%s'", in.Name, r.Account)
	}
	made := p.t.add(r, in.Name)
	made.Catalog = in.Catalog
	for _, g := range in.Tags {
		made.Tags[g.Key] = g.Value
	}
	return &publicOut{r.public(made), in.Catalog}, nil
}

// find returns a repository of the caller's.
func (p *Public) find(c *api.Call, name string) (*registry, *repository, error) {
	r, err := p.t.public(c.Account)
	if err != nil {
		return nil, nil, err
	}
	found, err := r.repository(c, name)
	return r, found, err
}

type publicListOut struct {
	Repositories []publicRepository `json:"repositories"`
	Next         string             `json:"nextToken,omitempty"`
}

func (p *Public) describeRepositories(_ context.Context, c *api.Call, in *describeIn) (*publicListOut, error) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	r, err := p.t.public(c.Account)
	if err != nil {
		return nil, err
	}
	names := in.Names
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(r.Repositories))
	}
	var all []publicRepository
	for _, name := range names {
		found, err := r.repository(c, name)
		if err != nil {
			return nil, err
		}
		all = append(all, r.public(found))
	}
	page, next, err := cut(all, in.paging)
	return &publicListOut{page, next}, err
}

func (p *Public) deleteRepository(_ context.Context, c *api.Call, in *publicIn) (*publicOut, error) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	r, found, err := p.find(c, in.Name)
	if err != nil {
		return nil, err
	}
	if len(found.Images) > 0 && !in.Force {
		return nil, api.Errorf("RepositoryNotEmptyException", "The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", found.Name, r.Account)
	}
	delete(r.Repositories, in.Name)
	return &publicOut{Repository: r.public(found)}, nil
}

func (p *Public) describeImages(_ context.Context, c *api.Call, in *describeImagesIn) (*describeImagesOut, error) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	r, found, err := p.find(c, in.Name)
	if err != nil {
		return nil, err
	}
	var all []imageDetail
	for _, id := range in.IDs {
		m, err := r.image(found, id)
		if err != nil {
			return nil, err
		}
		all = append(all, p.t.detail(r, found, m, found.labels(m.Digest)))
	}
	if len(in.IDs) == 0 {
		for _, digest := range slices.Sorted(maps.Keys(found.Images)) {
			all = append(all, p.t.detail(r, found, found.Images[digest], found.labels(digest)))
		}
	}
	page, next, err := cut(all, in.paging)
	return &describeImagesOut{page, next}, err
}

func (p *Public) batchDeleteImage(_ context.Context, c *api.Call, in *batchIn) (*batchDeleteOut, error) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	r, found, err := p.find(c, in.Name)
	if err != nil {
		return nil, err
	}
	out := &batchDeleteOut{}
	for _, id := range in.IDs {
		r.remove(found, id, out)
	}
	return out, nil
}

type publicRegistry struct {
	ID       string `json:"registryId"`
	ARN      string `json:"registryArn"`
	URI      string `json:"registryUri"`
	Verified bool   `json:"verified"`
	Aliases  []struct {
		Name    string `json:"name"`
		Status  string `json:"status"`
		Primary bool   `json:"primaryRegistryAlias"`
		Default bool   `json:"defaultRegistryAlias"`
	} `json:"aliases"`
}

type registriesOut struct {
	Registries []publicRegistry `json:"registries"`
}

func (p *Public) describeRegistries(_ context.Context, c *api.Call, _ *paging) (*registriesOut, error) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	r, err := p.t.public(c.Account)
	if err != nil {
		return nil, err
	}
	x := publicRegistry{ID: r.Account, ARN: "arn:aws:ecr-public::" + r.Account + ":registry/" + r.Account, URI: r.host() + "/" + r.alias()}
	x.Aliases = append(x.Aliases, struct {
		Name    string `json:"name"`
		Status  string `json:"status"`
		Primary bool   `json:"primaryRegistryAlias"`
		Default bool   `json:"defaultRegistryAlias"`
	}{r.alias(), "ACTIVE", true, true})
	return &registriesOut{[]publicRegistry{x}}, nil
}

type catalogOut struct {
	Catalog map[string]any `json:"catalogData"`
}

func (p *Public) getCatalogData(_ context.Context, c *api.Call, in *publicIn) (*catalogOut, error) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	_, found, err := p.find(c, in.Name)
	if err != nil {
		return nil, err
	}
	if found.Catalog == nil {
		return nil, api.Errorf("RepositoryCatalogDataNotFoundException", "Catalog data does not exist for the repository with name '%s'", in.Name)
	}
	return &catalogOut{found.Catalog}, nil
}

func (p *Public) putCatalogData(_ context.Context, c *api.Call, in *publicIn) (*catalogOut, error) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	_, found, err := p.find(c, in.Name)
	if err != nil {
		return nil, err
	}
	found.Catalog = in.Catalog
	return &catalogOut{found.Catalog}, nil
}

// tagged returns the repository whose tags a call is about.
func (p *Public) tagged(c *api.Call, arn string) (*repository, error) {
	r, err := p.t.public(c.Account)
	if err != nil {
		return nil, err
	}
	for _, found := range r.Repositories {
		if r.arn(found.Name) == arn {
			return found, nil
		}
	}
	return nil, api.Errorf("RepositoryNotFoundException", "The repository '%s' does not exist in the registry with id '%s'", arn, r.Account)
}

func (p *Public) tagResource(_ context.Context, c *api.Call, in *tagsIn) (*struct{}, error) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	found, err := p.tagged(c, in.ARN)
	if err != nil {
		return nil, err
	}
	for _, g := range in.Tags {
		found.Tags[g.Key] = g.Value
	}
	return &struct{}{}, nil
}

func (p *Public) untagResource(_ context.Context, c *api.Call, in *tagsIn) (*struct{}, error) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	found, err := p.tagged(c, in.ARN)
	if err != nil {
		return nil, err
	}
	for _, k := range in.Keys {
		delete(found.Tags, k)
	}
	return &struct{}{}, nil
}

func (p *Public) listTags(_ context.Context, c *api.Call, in *tagsIn) (*tagsOut, error) {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	found, err := p.tagged(c, in.ARN)
	if err != nil {
		return nil, err
	}
	var out tagsOut
	for _, k := range slices.Sorted(maps.Keys(found.Tags)) {
		out.Tags = append(out.Tags, tag{k, found.Tags[k]})
	}
	return &out, nil
}
