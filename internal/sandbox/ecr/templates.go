package ecr

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"bake/internal/sandbox/api"
)

// A template says what repositories are like that ECR makes itself.
type template struct {
	Prefix      string      `json:"prefix"`
	Description string      `json:"description,omitempty"`
	Encryption  *encryption `json:"encryptionConfiguration,omitempty"`
	Tags        []tag       `json:"resourceTags,omitempty"`
	Mutability  string      `json:"imageTagMutability,omitempty"`
	Exclusions  []exclusion `json:"imageTagMutabilityExclusionFilters,omitempty"`
	Policy      string      `json:"repositoryPolicy,omitempty"`
	Lifecycle   string      `json:"lifecyclePolicy,omitempty"`
	AppliedFor  []string    `json:"appliedFor"`
	Role        string      `json:"customRoleArn,omitempty"`
	Created     time.Time   `json:"createdAt"`
	Updated     time.Time   `json:"updatedAt"`
}

type templateOut struct {
	Registry string    `json:"registryId"`
	Template *template `json:"repositoryCreationTemplate"`
}

func (t *T) createRepositoryCreationTemplate(_ context.Context, c *api.Call, in *template) (*templateOut, error) {
	if len(in.AppliedFor) == 0 {
		return nil, invalid("Invalid parameter at 'appliedFor' failed to satisfy constraint: 'Member must not be null'")
	}
	for _, f := range in.AppliedFor {
		if !slices.Contains([]string{"REPLICATION", "PULL_THROUGH_CACHE", "CREATE_ON_PUSH"}, f) {
			return nil, invalid("Invalid parameter at 'appliedFor' failed to satisfy constraint: 'Member must satisfy enum value set: [REPLICATION, PULL_THROUGH_CACHE, CREATE_ON_PUSH]'")
		}
	}
	if in.Mutability != "" {
		if err := checkMutability(in.Mutability, in.Exclusions); err != nil {
			return nil, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	if r.Templates[in.Prefix] != nil {
		return nil, api.Errorf("TemplateAlreadyExistsException", "The template with prefix '%s' already exists in the registry with id '%s'", in.Prefix, r.Account)
	}
	in.Created, in.Updated = t.now(), t.now()
	r.Templates[in.Prefix] = in
	return &templateOut{r.Account, in}, nil
}

func (r *registry) template(prefix string) (*template, error) {
	if m := r.Templates[prefix]; m != nil {
		return m, nil
	}
	return nil, api.Errorf("TemplateNotFoundException", "The template with prefix '%s' does not exist in the registry with id '%s'", prefix, r.Account)
}

func (t *T) updateRepositoryCreationTemplate(_ context.Context, c *api.Call, in *template) (*templateOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	old, err := r.template(in.Prefix)
	if err != nil {
		return nil, err
	}
	if len(in.AppliedFor) == 0 {
		in.AppliedFor = old.AppliedFor
	}
	in.Created, in.Updated = old.Created, t.now()
	r.Templates[in.Prefix] = in
	return &templateOut{r.Account, in}, nil
}

func (t *T) deleteRepositoryCreationTemplate(_ context.Context, c *api.Call, in *template) (*templateOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	old, err := r.template(in.Prefix)
	if err != nil {
		return nil, err
	}
	delete(r.Templates, in.Prefix)
	return &templateOut{r.Account, old}, nil
}

type templatesIn struct {
	paging
	Prefixes []string `json:"prefixes"`
}

type templatesOut struct {
	Registry  string      `json:"registryId"`
	Templates []*template `json:"repositoryCreationTemplates"`
	Next      string      `json:"nextToken,omitempty"`
}

func (t *T) describeRepositoryCreationTemplates(_ context.Context, c *api.Call, in *templatesIn) (*templatesOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	prefixes := in.Prefixes
	if len(prefixes) == 0 {
		prefixes = slices.Sorted(maps.Keys(r.Templates))
	}
	var all []*template
	for _, prefix := range prefixes {
		m, err := r.template(prefix)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	page, next, err := cut(all, in.paging)
	return &templatesOut{r.Account, page, next}, err
}

// templateFor is the template with the longest prefix of a name, or ROOT's.
func (r *registry) templateFor(name, why string) *template {
	best := r.Templates["ROOT"]
	for _, m := range r.Templates {
		if strings.HasPrefix(name, m.Prefix+"/") && (best == nil || best.Prefix == "ROOT" || len(m.Prefix) > len(best.Prefix)) {
			best = m
		}
	}
	if best == nil || !slices.Contains(best.AppliedFor, why) {
		return nil
	}
	return best
}

// apply makes a new repository what its template says.
func (r *registry) apply(p *repository, why string) {
	m := r.templateFor(p.Name, why)
	if m == nil {
		return
	}
	if m.Mutability != "" {
		p.Mutability, p.Exclusions = m.Mutability, m.Exclusions
	}
	if m.Encryption != nil {
		p.Encryption = *m.Encryption
	}
	p.Policy, p.Lifecycle = m.Policy, m.Lifecycle
	for _, g := range m.Tags {
		p.Tags[g.Key] = g.Value
	}
}

// onDemand makes a repository that ECR makes itself: of a pull-through cache,
// or by a push that a template allows.
func (t *T) onDemand(r *registry, name, action string) *repository {
	if checkRepository(name) != nil || r.Public {
		return nil
	}
	push := action == "InitiateLayerUpload" || action == "PutImage"
	switch rule, _ := r.ruleFor(name); {
	case push && r.templateFor(name, "CREATE_ON_PUSH") != nil:
		p := t.add(r, name)
		r.apply(p, "CREATE_ON_PUSH")
		return p
	case action == "BatchGetImage" && rule != nil:
		p := t.add(r, name)
		r.apply(p, "PULL_THROUGH_CACHE")
		return p
	}
	return nil
}
