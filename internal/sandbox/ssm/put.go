package ssm

import (
	"context"
	"regexp"
	"slices"
	"strconv"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
)

func number(n int64) string { return strconv.FormatInt(n, 10) }

type tag struct{ Key, Value string }

type putIn struct {
	Name, Value, Type, DataType, Tier, Description, AllowedPattern, KeyId, Policies string
	Overwrite                                                                       bool
	Tags                                                                            []tag
}

type putOut struct {
	Version int64
	Tier    string
}

func (t *T) put(_ context.Context, c *api.Call, in *putIn) (*putOut, error) {
	if err := checkName(in.Name); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	store := t.store(c.Account, c.Region)
	old := store[in.Name]
	if old != nil && !in.Overwrite {
		return nil, api.Errorf("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
	}
	p, err := t.changed(c, old, in)
	if err != nil {
		return nil, err
	}
	v := version{Number: 1, Value: in.Value, Time: t.world.Now().UTC(), User: c.Caller}
	if n := len(p.Versions); n > 0 {
		v.Number = p.Versions[n-1].Number + 1
	}
	out := &putOut{Version: v.Number, Tier: p.Tier}
	// An image that does not exist: AWS finds out later, and the parameter stays as it was.
	if p.DataType == "aws:ec2:image" && t.images.Exists != nil && !t.images.Exists(c.Account, c.Region, in.Value) {
		return out, nil
	}
	p.Versions = append(p.Versions, v)
	if len(p.Versions) > 100 {
		if len(p.Versions[0].Labels) > 0 {
			return nil, api.Errorf("ParameterMaxVersionLimitExceeded", "You attempted to create a new version of %s by calling the PutParameter API with the overwrite flag. Version %d, the oldest version, can't be deleted because it has a label associated with it.", in.Name, p.Versions[0].Number)
		}
		p.Versions = slices.Delete(p.Versions, 0, 1)
	}
	if old == nil {
		t.world.Faults.Made(in.Name)
	}
	store[in.Name] = p
	return out, nil
}

// changed is the parameter as it is to be, but for its versions.
func (t *T) changed(c *api.Call, old *parameter, in *putIn) (*parameter, error) {
	p := &parameter{Name: in.Name, Type: in.Type, DataType: "text", Tier: "Standard"}
	if old != nil {
		copied := *old
		p = &copied
		if in.Type != "" {
			p.Type = in.Type
		}
		if len(in.Tags) > 0 {
			return nil, api.Errorf("ValidationException", "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource.")
		}
	}
	for value, field := range map[*string]*string{&in.DataType: &p.DataType, &in.Tier: &p.Tier, &in.Description: &p.Description, &in.AllowedPattern: &p.Pattern} {
		if *value != "" {
			*field = *value
		}
	}
	if len(in.Tags) > 0 {
		p.Tags = map[string]string{}
		for _, g := range in.Tags {
			p.Tags[g.Key] = g.Value
		}
	}
	if err := p.check(in); err != nil {
		return nil, err
	}
	if p.Type == "SecureString" {
		id := in.KeyId
		if id == "" {
			id = "alias/aws/ssm"
		}
		if _, err := t.keys.Resolve(c.Account, c.Region, id); err != nil {
			return nil, api.Errorf("InvalidKeyId", "%v", err)
		}
		p.KeyID = id
	}
	return p, nil
}

func (p *parameter) check(in *putIn) error {
	limit, word := 4096, "Standard"
	if p.Tier == "Advanced" {
		limit, word = 8192, "Advanced"
	}
	switch {
	case p.Type == "":
		return api.Errorf("ValidationException", "A parameter type is required when you create a parameter.")
	case !slices.Contains([]string{"String", "StringList", "SecureString"}, p.Type):
		return api.Errorf("ValidationException", "1 validation error detected: Value '%s' at 'type' failed to satisfy constraint: Member must satisfy enum value set: [SecureString, StringList, String]", p.Type)
	case !slices.Contains([]string{"text", "aws:ec2:image", "aws:ssm:integration"}, p.DataType):
		return api.Errorf("ValidationException", "The following data type is not supported: %s (Data type names are all lowercase.)", p.DataType)
	case in.Value == "":
		return api.Errorf("ValidationException", "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length greater than or equal to 1.")
	case len(in.Value) > limit:
		return api.Errorf("ValidationException", "%s tier parameters support a maximum parameter value of %d characters.", word, limit)
	case p.DataType == "aws:ec2:image" && !imageForm.MatchString(in.Value):
		return api.Errorf("ValidationException", "The parameter value does not match the expected format for the data type aws:ec2:image.")
	}
	if p.Pattern == "" {
		return nil
	}
	form, err := regexp.Compile(p.Pattern)
	if err != nil {
		return api.Errorf("InvalidAllowedPatternException", "The following regular expression is not valid: %s", p.Pattern)
	}
	if !form.MatchString(in.Value) {
		return api.Errorf("ParameterPatternMismatchException", "Parameter value, cannot be validated against allowedPattern: %s", p.Pattern)
	}
	return nil
}

type nameIn struct{ Name string }

func (t *T) delete(_ context.Context, c *api.Call, in *nameIn) (*struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	store := t.store(c.Account, c.Region)
	name, _ := bare(in.Name)
	if store[name] == nil {
		return nil, notFound()
	}
	delete(store, name)
	return &struct{}{}, nil
}

type namesIn struct{ Names []string }

type deletedOut struct{ DeletedParameters, InvalidParameters []string }

func (t *T) deleteSeveral(_ context.Context, c *api.Call, in *namesIn) (*deletedOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	store := t.store(c.Account, c.Region)
	var out deletedOut
	for _, name := range in.Names {
		if store[name] == nil {
			out.InvalidParameters = append(out.InvalidParameters, name)
			continue
		}
		delete(store, name)
		out.DeletedParameters = append(out.DeletedParameters, name)
	}
	return &out, nil
}

type labelIn struct {
	Name             string
	ParameterVersion int64
	Labels           []string
}

type labelOut struct {
	InvalidLabels    []string
	ParameterVersion int64
}

var labelForm = lazyregexp.New(`^[A-Za-z_.\-][A-Za-z0-9_.\-]{0,99}$`)

func (t *T) label(_ context.Context, c *api.Call, in *labelIn) (*labelOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ref := in.Name
	if in.ParameterVersion != 0 {
		ref += ":" + number(in.ParameterVersion)
	}
	p, v, err := t.find(c, ref)
	if err != nil {
		return nil, err
	}
	out := &labelOut{ParameterVersion: v.Number}
	for _, l := range in.Labels {
		if !labelForm.MatchString(l) {
			out.InvalidLabels = append(out.InvalidLabels, l)
			continue
		}
		for i := range p.Versions {
			p.Versions[i].Labels = slices.DeleteFunc(p.Versions[i].Labels, func(o string) bool { return o == l })
		}
		v.Labels = append(v.Labels, l)
	}
	return out, nil
}

type resourceIn struct {
	ResourceType, ResourceId string
	Tags                     []tag
	TagKeys                  []string
}

// tagged returns the parameter whose tags a call is about.
func (t *T) tagged(c *api.Call, in *resourceIn) (*parameter, error) {
	if in.ResourceType != "Parameter" {
		return nil, api.Errorf("InvalidResourceType", "bake's sandbox tags Parameters, not %q", in.ResourceType)
	}
	p := t.store(c.Account, c.Region)[in.ResourceId]
	if p == nil {
		return nil, api.Errorf("InvalidResourceId", "The resource ID is not valid. Verify that you entered the correct ID and try again.")
	}
	if p.Tags == nil {
		p.Tags = map[string]string{}
	}
	return p, nil
}

func (t *T) addTags(_ context.Context, c *api.Call, in *resourceIn) (*struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.tagged(c, in)
	if err != nil {
		return nil, err
	}
	for _, g := range in.Tags {
		p.Tags[g.Key] = g.Value
	}
	return &struct{}{}, nil
}

func (t *T) removeTags(_ context.Context, c *api.Call, in *resourceIn) (*struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.tagged(c, in)
	if err != nil {
		return nil, err
	}
	for _, k := range in.TagKeys {
		delete(p.Tags, k)
	}
	return &struct{}{}, nil
}

type tagsOut struct{ TagList []tag }

func (t *T) listTags(_ context.Context, c *api.Call, in *resourceIn) (*tagsOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.tagged(c, in)
	if err != nil {
		return nil, err
	}
	var out tagsOut
	for k, v := range p.Tags {
		out.TagList = append(out.TagList, tag{k, v})
	}
	slices.SortFunc(out.TagList, func(a, b tag) int { return compare(a.Key, b.Key) })
	return &out, nil
}
