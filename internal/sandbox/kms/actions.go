package kms

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/policy"
)

type tagPair struct{ TagKey, TagValue string }

type createIn struct {
	Policy, Description, KeyUsage, KeySpec, CustomerMasterKeySpec, Origin string
	BypassPolicyLockoutSafetyCheck, MultiRegion                           bool
	Tags                                                                  []tagPair
}

// metadata is a key as calls answer it.
type metadata struct {
	AWSAccountId, KeyId, Arn, Description, KeyState, KeyManager, KeyUsage, KeySpec, CustomerMasterKeySpec, Origin string
	CreationDate                                                                                                  time.Time
	DeletionDate                                                                                                  time.Time
	Enabled, MultiRegion                                                                                          bool
	EncryptionAlgorithms                                                                                          []string
}

func (k *key) metadata() metadata {
	return metadata{AWSAccountId: k.Account, KeyId: k.ID, Arn: k.ARN, Description: k.Description, KeyState: k.State, KeyManager: k.Manager,
		KeyUsage: k.Usage, KeySpec: k.Spec, CustomerMasterKeySpec: k.Spec, Origin: "AWS_KMS", CreationDate: k.Created, DeletionDate: k.Deletion,
		Enabled: k.State == "Enabled", MultiRegion: k.MultiRegion, EncryptionAlgorithms: []string{"SYMMETRIC_DEFAULT"}}
}

type keyOut struct{ KeyMetadata metadata }

func (t *T) createKey(_ context.Context, c *api.Call, in *createIn) (*keyOut, error) {
	if in.Policy != "" {
		if _, err := policy.Parse(in.Policy); err != nil {
			return nil, api.Errorf("MalformedPolicyDocumentException", "%v", err)
		}
	}
	k := &key{Policy: in.Policy, Description: in.Description, Manager: "CUSTOMER", Usage: in.KeyUsage, Spec: in.KeySpec, MultiRegion: in.MultiRegion, Tags: map[string]string{}}
	if k.Usage == "" {
		k.Usage = "ENCRYPT_DECRYPT"
	}
	if k.Spec == "" {
		k.Spec = "SYMMETRIC_DEFAULT"
	}
	for _, g := range in.Tags {
		k.Tags[g.TagKey] = g.TagValue
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return &keyOut{t.add(c.Account, c.Region, k).metadata()}, nil
}

type keyIn struct {
	KeyId       string
	GrantTokens []string
}

func (t *T) describeKey(_ context.Context, c *api.Call, in *keyIn) (*keyOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, err := t.find(c.Account, c.Region, in.KeyId)
	if err != nil {
		return nil, err
	}
	if c.Hidden(k.ID) {
		return nil, notFound("Key '%s' does not exist", k.ARN)
	}
	if !t.allows(k, c.Account) {
		return nil, api.Errorf("AccessDeniedException", "User: %s is not authorized to perform: kms:DescribeKey on resource: %s because no resource-based policy allows the kms:DescribeKey action", c.Caller, k.ARN)
	}
	return &keyOut{k.metadata()}, nil
}

type paging struct {
	Limit  int
	Marker string
}

type page struct {
	NextMarker string `json:",omitempty"`
	Truncated  bool
}

func cut[E any](all []E, p paging) ([]E, page, error) {
	from := 0
	if p.Marker != "" {
		var err error
		if from, err = strconv.Atoi(p.Marker); err != nil || from < 0 || from > len(all) {
			return nil, page{}, api.Errorf("InvalidMarkerException", "Could not deserialize marker '%s'", p.Marker)
		}
	}
	if p.Limit == 0 {
		p.Limit = 50
	}
	to := min(from+p.Limit, len(all))
	if to < len(all) {
		return all[from:to], page{strconv.Itoa(to), true}, nil
	}
	return all[from:], page{}, nil
}

type listedKey struct{ KeyId, KeyArn string }

type listKeysOut struct {
	page
	Keys []listedKey
}

func (t *T) listKeys(_ context.Context, c *api.Call, in *paging) (*listKeysOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.ring(c.Account, c.Region)
	var all []listedKey
	for _, id := range slices.Sorted(maps.Keys(r.Keys)) {
		all = append(all, listedKey{id, r.Keys[id].ARN})
	}
	all, page, err := cut(all, *in)
	return &listKeysOut{page, all}, err
}

// change alters a key that is the caller's own.
func (t *T) change(c *api.Call, ref string, from []string, f func(k *key)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, err := t.find(c.Account, c.Region, ref)
	if err != nil {
		return err
	}
	if len(from) > 0 && !slices.Contains(from, k.State) {
		return api.Errorf("KMSInvalidStateException", "%s is pending deletion.", k.ARN)
	}
	f(k)
	return nil
}

func (t *T) enableKey(_ context.Context, c *api.Call, in *keyIn) (*struct{}, error) {
	return &struct{}{}, t.change(c, in.KeyId, []string{"Enabled", "Disabled"}, func(k *key) { k.State = "Enabled" })
}

func (t *T) disableKey(_ context.Context, c *api.Call, in *keyIn) (*struct{}, error) {
	return &struct{}{}, t.change(c, in.KeyId, []string{"Enabled", "Disabled"}, func(k *key) { k.State = "Disabled" })
}

type deletionOut struct {
	KeyId               string
	DeletionDate        time.Time
	KeyState            string
	PendingWindowInDays int
}

func (t *T) scheduleDeletion(_ context.Context, c *api.Call, in *struct {
	KeyId               string
	PendingWindowInDays int
}) (*deletionOut, error) {
	if in.PendingWindowInDays == 0 {
		in.PendingWindowInDays = 30
	}
	if in.PendingWindowInDays < 7 || in.PendingWindowInDays > 30 {
		return nil, api.Errorf("ValidationException", "PendingWindowInDays must be between 7 and 30")
	}
	var out deletionOut
	err := t.change(c, in.KeyId, []string{"Enabled", "Disabled"}, func(k *key) {
		k.State, k.Deletion = "PendingDeletion", t.world.Now().UTC().AddDate(0, 0, in.PendingWindowInDays)
		out = deletionOut{k.ARN, k.Deletion, k.State, in.PendingWindowInDays}
	})
	return &out, err
}

func (t *T) cancelDeletion(_ context.Context, c *api.Call, in *keyIn) (*struct{ KeyId string }, error) {
	var out struct{ KeyId string }
	err := t.change(c, in.KeyId, []string{"PendingDeletion"}, func(k *key) {
		k.State, k.Deletion, out.KeyId = "Disabled", time.Time{}, k.ARN
	})
	return &out, err
}

type policyIn struct {
	KeyId, PolicyName, Policy      string
	BypassPolicyLockoutSafetyCheck bool
}

type policyOut struct{ Policy, PolicyName string }

func (t *T) getPolicy(_ context.Context, c *api.Call, in *policyIn) (*policyOut, error) {
	var out policyOut
	err := t.change(c, in.KeyId, nil, func(k *key) { out = policyOut{k.Policy, "default"} })
	return &out, err
}

func (t *T) putPolicy(_ context.Context, c *api.Call, in *policyIn) (*struct{}, error) {
	if _, err := policy.Parse(in.Policy); err != nil {
		return nil, api.Errorf("MalformedPolicyDocumentException", "%v", err)
	}
	return &struct{}{}, t.change(c, in.KeyId, nil, func(k *key) { k.Policy = in.Policy })
}

type tagIn struct {
	KeyId   string
	Tags    []tagPair
	TagKeys []string
}

func (t *T) tag(_ context.Context, c *api.Call, in *tagIn) (*struct{}, error) {
	return &struct{}{}, t.change(c, in.KeyId, nil, func(k *key) {
		if k.Tags == nil {
			k.Tags = map[string]string{}
		}
		for _, g := range in.Tags {
			k.Tags[g.TagKey] = g.TagValue
		}
	})
}

func (t *T) untag(_ context.Context, c *api.Call, in *tagIn) (*struct{}, error) {
	return &struct{}{}, t.change(c, in.KeyId, nil, func(k *key) {
		for _, name := range in.TagKeys {
			delete(k.Tags, name)
		}
	})
}

type tagsOut struct {
	page
	Tags []tagPair
}

func (t *T) listTags(_ context.Context, c *api.Call, in *struct {
	paging
	KeyId string
}) (*tagsOut, error) {
	var out tagsOut
	err := t.change(c, in.KeyId, nil, func(k *key) {
		for _, name := range slices.Sorted(maps.Keys(k.Tags)) {
			out.Tags = append(out.Tags, tagPair{name, k.Tags[name]})
		}
	})
	return &out, err
}

type aliasIn struct{ AliasName, TargetKeyId string }

func checkAlias(name string) error {
	if !strings.HasPrefix(name, "alias/") || strings.HasPrefix(name, "alias/aws/") || len(name) == len("alias/") {
		return api.Errorf("InvalidAliasNameException", "Alias must start with the prefix \"alias/\". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html")
	}
	return nil
}

func (t *T) createAlias(_ context.Context, c *api.Call, in *aliasIn) (*struct{}, error) {
	if err := checkAlias(in.AliasName); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k, err := t.find(c.Account, c.Region, in.TargetKeyId)
	if err != nil {
		return nil, err
	}
	r := t.ring(c.Account, c.Region)
	if r.Aliases[in.AliasName] != nil {
		return nil, api.Errorf("AlreadyExistsException", "An alias with the name arn:aws:kms:%s:%s:%s already exists", c.Region, c.Account, in.AliasName)
	}
	r.Aliases[in.AliasName] = &alias{k.ID, t.world.Now().UTC()}
	return &struct{}{}, nil
}

func (t *T) updateAlias(_ context.Context, c *api.Call, in *aliasIn) (*struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.ring(c.Account, c.Region).Aliases[in.AliasName]
	if a == nil {
		return nil, notFound("Alias arn:aws:kms:%s:%s:%s is not found.", c.Region, c.Account, in.AliasName)
	}
	k, err := t.find(c.Account, c.Region, in.TargetKeyId)
	if err != nil {
		return nil, err
	}
	a.Target = k.ID
	return &struct{}{}, nil
}

func (t *T) deleteAlias(_ context.Context, c *api.Call, in *aliasIn) (*struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.ring(c.Account, c.Region)
	if r.Aliases[in.AliasName] == nil {
		return nil, notFound("Alias arn:aws:kms:%s:%s:%s is not found.", c.Region, c.Account, in.AliasName)
	}
	delete(r.Aliases, in.AliasName)
	return &struct{}{}, nil
}

type listedAlias struct {
	AliasName, AliasArn, TargetKeyId string
	CreationDate, LastUpdatedDate    time.Time
}

type listAliasesOut struct {
	page
	Aliases []listedAlias
}

func (t *T) listAliases(_ context.Context, c *api.Call, in *struct {
	paging
	KeyId string
}) (*listAliasesOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := ""
	if in.KeyId != "" {
		k, err := t.find(c.Account, c.Region, in.KeyId)
		if err != nil {
			return nil, err
		}
		of = k.ID
	}
	r := t.ring(c.Account, c.Region)
	var all []listedAlias
	for _, name := range slices.Sorted(maps.Keys(r.Aliases)) {
		if a := r.Aliases[name]; of == "" || a.Target == of {
			all = append(all, listedAlias{name, "arn:aws:kms:" + c.Region + ":" + c.Account + ":" + name, a.Target, a.Created, a.Created})
		}
	}
	all, page, err := cut(all, in.paging)
	return &listAliasesOut{page, all}, err
}

// A grant lets a principal use a key.
type grant struct {
	GrantId, KeyId, GranteePrincipal string
	RetiringPrincipal, Name          string `json:",omitempty"`
	IssuingAccount                   string
	Operations                       []string
	CreationDate                     time.Time
	Token                            string `json:",omitempty"`
	Constraints                      *struct {
		EncryptionContextSubset, EncryptionContextEquals map[string]string `json:",omitempty"`
	} `json:",omitempty"`
}

type createGrantIn struct {
	grant
	GrantTokens []string
	DryRun      bool
}

type createGrantOut struct{ GrantId, GrantToken string }

func (t *T) createGrant(_ context.Context, c *api.Call, in *createGrantIn) (*createGrantOut, error) {
	if in.GranteePrincipal == "" || len(in.Operations) == 0 {
		return nil, api.Errorf("ValidationException", "a grant has a granteePrincipal and operations")
	}
	if !strings.HasPrefix(in.GranteePrincipal, "arn:") {
		return nil, api.Errorf("InvalidArnException", "ARN does not refer to a valid principal")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k, err := t.find(c.Account, c.Region, in.KeyId)
	if err != nil {
		return nil, err
	}
	for _, g := range k.Grants { // with a name it is idempotent
		if g.Name != "" && g.Name == in.Name && g.GranteePrincipal == in.GranteePrincipal && slices.Equal(g.Operations, in.Operations) {
			return &createGrantOut{g.GrantId, g.Token}, nil
		}
	}
	g := in.grant
	g.GrantId, g.Token = strings.ReplaceAll(uuid()+uuid(), "-", ""), uuid()
	g.KeyId, g.CreationDate, g.IssuingAccount = k.ARN, t.world.Now().UTC(), "arn:aws:iam::"+c.Account+":root"
	k.Grants = append(k.Grants, &g)
	return &createGrantOut{g.GrantId, g.Token}, nil
}

type listGrantsOut struct {
	page
	Grants []grant
}

func (t *T) listGrants(_ context.Context, c *api.Call, in *struct {
	paging
	KeyId, GrantId, GranteePrincipal string
}) (*listGrantsOut, error) {
	var all []grant
	err := t.change(c, in.KeyId, nil, func(k *key) {
		for _, g := range k.Grants {
			if (in.GrantId == "" || g.GrantId == in.GrantId) && (in.GranteePrincipal == "" || g.GranteePrincipal == in.GranteePrincipal) {
				shown := *g
				shown.Token = ""
				all = append(all, shown)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	all, page, err := cut(all, in.paging)
	return &listGrantsOut{page, all}, err
}

type grantIn struct{ KeyId, GrantId, GrantToken string }

func (t *T) revokeGrant(_ context.Context, c *api.Call, in *grantIn) (*struct{}, error) {
	found := false
	err := t.change(c, in.KeyId, nil, func(k *key) {
		before := len(k.Grants)
		k.Grants = slices.DeleteFunc(k.Grants, func(g *grant) bool { return g.GrantId == in.GrantId })
		found = len(k.Grants) < before
	})
	if err == nil && !found {
		err = notFound("Grant ID %s not found", in.GrantId)
	}
	return &struct{}{}, err
}

func (t *T) retireGrant(ctx context.Context, c *api.Call, in *grantIn) (*struct{}, error) {
	return t.revokeGrant(ctx, c, in)
}
