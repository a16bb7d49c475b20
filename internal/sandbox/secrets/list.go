package secrets

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"bake/internal/sandbox/api"
)

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
