package ecr

import (
	"context"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/policy"
)

type policyIO struct {
	Registry string `json:"registryId,omitempty"`
	Name     string `json:"repositoryName,omitempty"`
	Text     string `json:"policyText"`
}

type setPolicyIn struct {
	nameIn
	Text  string `json:"policyText"`
	Force bool   `json:"force"`
}

func checkPolicy(text string) error {
	if _, err := policy.Parse(text); err != nil {
		return invalid("Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided: %v'", err)
	}
	return nil
}

func (t *T) setRepositoryPolicy(_ context.Context, c *api.Call, in *setPolicyIn) (*policyIO, error) {
	if err := checkPolicy(in.Text); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.find(c, in.Registry, in.Name)
	if err != nil {
		return nil, err
	}
	p.Policy = in.Text
	return &policyIO{r.Account, p.Name, p.Policy}, nil
}

// withPolicy finds a repository that has a policy.
func (t *T) withPolicy(c *api.Call, in nameIn) (*registry, *repository, error) {
	r, p, err := t.find(c, in.Registry, in.Name)
	if err == nil && p.Policy == "" {
		err = api.Errorf("RepositoryPolicyNotFoundException", "Repository policy does not exist for the repository with name '%s' in the registry with id '%s'", p.Name, r.Account)
	}
	return r, p, err
}

func (t *T) getRepositoryPolicy(_ context.Context, c *api.Call, in *nameIn) (*policyIO, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.withPolicy(c, *in)
	if err != nil {
		return nil, err
	}
	return &policyIO{r.Account, p.Name, p.Policy}, nil
}

func (t *T) deleteRepositoryPolicy(_ context.Context, c *api.Call, in *nameIn) (*policyIO, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, p, err := t.withPolicy(c, *in)
	if err != nil {
		return nil, err
	}
	out := &policyIO{r.Account, p.Name, p.Policy}
	p.Policy = ""
	return out, nil
}

func (t *T) putRegistryPolicy(_ context.Context, c *api.Call, in *policyIO) (*policyIO, error) {
	if err := checkPolicy(in.Text); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	r.Policy = in.Text
	return &policyIO{Registry: r.Account, Text: r.Policy}, nil
}

func (t *T) getRegistryPolicy(_ context.Context, c *api.Call, _ *struct{}) (*policyIO, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	if r.Policy == "" {
		return nil, api.Errorf("RegistryPolicyNotFoundException", "Registry policy does not exist in the registry with id '%s'", r.Account)
	}
	return &policyIO{Registry: r.Account, Text: r.Policy}, nil
}

func (t *T) deleteRegistryPolicy(ctx context.Context, c *api.Call, in *struct{}) (*policyIO, error) {
	out, err := t.getRegistryPolicy(ctx, c, in)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, err := t.of(c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	r.Policy = ""
	return out, nil
}

type settingIO struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// settings are the account's, with their defaults.
func settings() map[string]string {
	return map[string]string{"BASIC_SCAN_TYPE_VERSION": "AWS_NATIVE", "REGISTRY_POLICY_SCOPE": "V2", "BLOB_MOUNTING": "DISABLED"}
}

func (t *T) getAccountSetting(_ context.Context, c *api.Call, in *settingIO) (*settingIO, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	value, ok := settings()[in.Name]
	if !ok {
		return nil, invalid("Invalid parameter at 'name' failed to satisfy constraint: '%s is not a setting'", in.Name)
	}
	r, err := t.of(c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	if set := r.Settings[in.Name]; set != "" {
		value = set
	}
	return &settingIO{in.Name, value}, nil
}

func (t *T) putAccountSetting(_ context.Context, c *api.Call, in *settingIO) (*settingIO, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := settings()[in.Name]; !ok || in.Value == "" {
		return nil, invalid("Invalid parameter at 'name' failed to satisfy constraint: '%s is not a setting'", in.Name)
	}
	r, err := t.of(c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	r.Settings[in.Name] = in.Value
	return in, nil
}
