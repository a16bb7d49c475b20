package secrets

import (
	"context"
	"time"

	"bake/internal/sandbox/api"
)

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
