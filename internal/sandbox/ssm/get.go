package ssm

import (
	"cmp"
	"context"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"bake/internal/sandbox/api"
)

func compare(a, b string) int { return cmp.Compare(a, b) }

// value is a parameter as Get calls answer it.
type value struct {
	Name, Type, Value string
	Version           int64
	Selector          string `json:",omitempty"`
	LastModifiedDate  time.Time
	ARN               string
	DataType          string
}

func (p *parameter) as(c *api.Call, v *version, ref string, clear bool) value {
	out := value{Name: p.Name, Type: p.Type, Value: v.Value, Version: v.Number, LastModifiedDate: v.Time, ARN: arn(c.Account, c.Region, p.Name), DataType: p.DataType}
	if _, selector := bare(ref); selector != "" {
		out.Selector = ":" + selector
	}
	if p.Type == "SecureString" && !clear {
		out.Value = base64.StdEncoding.EncodeToString([]byte("AQICAHi" + strings.Repeat("x", 40)))
	}
	return out
}

type getIn struct {
	Name           string
	WithDecryption bool
}

type getOut struct{ Parameter value }

func (t *T) get(_ context.Context, c *api.Call, in *getIn) (*getOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, v, err := t.find(c, in.Name)
	if err != nil {
		return nil, err
	}
	return &getOut{p.as(c, v, in.Name, in.WithDecryption)}, nil
}

type getSeveralIn struct {
	Names          []string
	WithDecryption bool
}

type getSeveralOut struct {
	Parameters        []value
	InvalidParameters []string
}

func (t *T) getSeveral(_ context.Context, c *api.Call, in *getSeveralIn) (*getSeveralOut, error) {
	if n := len(in.Names); n == 0 || n > 10 {
		return nil, api.Errorf("ValidationException", "1 validation error detected: Value '[%s]' at 'names' failed to satisfy constraint: Member must have length less than or equal to 10", strings.Join(in.Names, ", "))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var out getSeveralOut
	for _, name := range in.Names {
		p, v, err := t.find(c, name)
		if err != nil {
			out.InvalidParameters = append(out.InvalidParameters, name)
			continue
		}
		out.Parameters = append(out.Parameters, p.as(c, v, name, in.WithDecryption))
	}
	return &out, nil
}

type paging struct {
	MaxResults int
	NextToken  string
}

// cut is the part of a list that one answer has.
func cut[E any](all []E, p paging, most int) (page []E, next string, err error) {
	from := 0
	if p.NextToken != "" {
		if from, err = strconv.Atoi(p.NextToken); err != nil || from < 0 || from > len(all) {
			return nil, "", api.Errorf("InvalidNextToken", "The specified token isn't valid.")
		}
	}
	if p.MaxResults < 0 || p.MaxResults > most {
		return nil, "", api.Errorf("ValidationException", "1 validation error detected: Value '%d' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to %d", p.MaxResults, most)
	}
	if p.MaxResults == 0 {
		p.MaxResults = most
	}
	to := min(from+p.MaxResults, len(all))
	if to < len(all) {
		next = strconv.Itoa(to)
	}
	return all[from:to], next, nil
}

type byPathIn struct {
	paging
	Path             string
	Recursive        bool
	WithDecryption   bool
	ParameterFilters []filter
}

type byPathOut struct {
	Parameters []value
	NextToken  string `json:",omitempty"`
}

func (t *T) getByPath(_ context.Context, c *api.Call, in *byPathIn) (*byPathOut, error) {
	if !strings.HasPrefix(in.Path, "/") {
		return nil, api.Errorf("ValidationException", "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash \"/\".")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	prefix := strings.TrimSuffix(in.Path, "/") + "/"
	var all []value
	store := t.store(c.Account, c.Region)
	for _, name := range slices.Sorted(maps.Keys(store)) {
		p := store[name]
		rest, below := strings.CutPrefix(name, prefix)
		if !below || !in.Recursive && strings.Contains(rest, "/") || c.Hidden(name) || !matches(p, in.ParameterFilters) {
			continue
		}
		all = append(all, p.as(c, &p.Versions[len(p.Versions)-1], name, in.WithDecryption))
	}
	page, next, err := cut(all, in.paging, 10)
	return &byPathOut{page, next}, err
}

type historyValue struct {
	value
	LastModifiedUser, Tier, KeyId, Description string `json:",omitempty"`
	Labels                                     []string
}

type historyOut struct {
	Parameters []historyValue
	NextToken  string `json:",omitempty"`
}

func (t *T) history(_ context.Context, c *api.Call, in *struct {
	paging
	Name           string
	WithDecryption bool
}) (*historyOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, _, err := t.find(c, in.Name)
	if err != nil {
		return nil, err
	}
	var all []historyValue
	for i := range p.Versions {
		v := &p.Versions[i]
		all = append(all, historyValue{p.as(c, v, in.Name, in.WithDecryption), v.User, p.Tier, p.KeyID, p.Description, v.Labels})
	}
	page, next, err := cut(all, in.paging, 50)
	return &historyOut{page, next}, err
}

type filter struct {
	Key, Option string
	Values      []string
}

// matches reports whether a parameter is one that all filters let through.
func matches(p *parameter, filters []filter) bool {
	for _, f := range filters {
		var have string
		switch {
		case f.Key == "Name":
			have = p.Name
		case f.Key == "Type":
			have = p.Type
		case f.Key == "Tier":
			have = p.Tier
		case f.Key == "KeyId":
			have = p.KeyID
		case f.Key == "DataType":
			have = p.DataType
		case f.Key == "Path":
			have = p.Name
			if f.Option == "" {
				f.Option = "OneLevel"
			}
		case strings.HasPrefix(f.Key, "tag:"):
			have = p.Tags[strings.TrimPrefix(f.Key, "tag:")]
		default:
			return false
		}
		if !slices.ContainsFunc(f.Values, func(want string) bool { return f.fits(have, want) }) && len(f.Values) > 0 {
			return false
		}
	}
	return true
}

func (f filter) fits(have, want string) bool {
	switch f.Option {
	case "BeginsWith":
		return strings.HasPrefix(have, want)
	case "Contains":
		return strings.Contains(have, want)
	case "Recursive":
		return strings.HasPrefix(have, strings.TrimSuffix(want, "/")+"/")
	case "OneLevel":
		rest, ok := strings.CutPrefix(have, strings.TrimSuffix(want, "/")+"/")
		return ok && !strings.Contains(rest, "/")
	}
	return have == want
}

type metadata struct {
	Name, ARN, Type, Tier, DataType    string
	KeyId, Description, AllowedPattern string `json:",omitempty"`
	LastModifiedUser                   string
	LastModifiedDate                   time.Time
	Version                            int64
	Policies                           []struct{}
}

type describeOut struct {
	Parameters []metadata
	NextToken  string `json:",omitempty"`
}

func (t *T) describe(_ context.Context, c *api.Call, in *struct {
	paging
	ParameterFilters []filter
	Filters          []filter
	Shared           bool
}) (*describeOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []metadata
	store := t.store(c.Account, c.Region)
	for _, name := range slices.Sorted(maps.Keys(store)) {
		p := store[name]
		if c.Hidden(name) || !matches(p, append(in.ParameterFilters, in.Filters...)) {
			continue
		}
		v := p.Versions[len(p.Versions)-1]
		all = append(all, metadata{Name: p.Name, ARN: arn(c.Account, c.Region, name), Type: p.Type, Tier: p.Tier, DataType: p.DataType, KeyId: p.KeyID,
			Description: p.Description, AllowedPattern: p.Pattern, LastModifiedUser: v.User, LastModifiedDate: v.Time, Version: v.Number})
	}
	page, next, err := cut(all, in.paging, 50)
	return &describeOut{page, next}, err
}
