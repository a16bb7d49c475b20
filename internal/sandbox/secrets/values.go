package secrets

import (
	"context"
	"strings"
	"time"

	"bake/internal/sandbox/api"
)

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
