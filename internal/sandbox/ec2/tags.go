package ec2

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"bake/internal/sandbox/api"
)

// A tag is a key and a value on a resource.
type tag struct {
	Key   string `q:"Key" xml:"key"`
	Value string `q:"Value" xml:"value"`
}

// A tagSpec is the tags for the resources of one type that a call makes.
type tagSpec struct {
	ResourceType string `q:"ResourceType" xml:"resourceType"`
	Tags         []tag  `q:"Tag" xml:"tagSet>item"`
}

// maxTags is how many a resource can have.
const maxTags = 50

// checkTags refuses what AWS refuses in any list of tags.
func checkTags(tags []tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		switch {
		case t.Key == "":
			return api.Errorf("InvalidParameterValue", "Tag key cannot be null or empty.")
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return api.Errorf("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		case utf8.RuneCountInString(t.Key) > 128:
			return api.Errorf("InvalidParameterValue", "Tag key exceeds the maximum length of 128 characters")
		case utf8.RuneCountInString(t.Value) > 256:
			return api.Errorf("InvalidParameterValue", "Tag value exceeds the maximum length of 256 characters")
		case seen[t.Key]:
			return api.Errorf("InvalidParameterValue", "Duplicate tag key '%s' specified.", t.Key)
		}
		seen[t.Key] = true
	}
	if len(tags) > maxTags {
		return api.Errorf("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
	}
	return nil
}

// tagsFor checks the specifications of a call that makes resources of the
// kinds given, and returns the tags by kind name.
func tagsFor(specs []tagSpec, kinds ...string) (map[string][]tag, error) {
	tags := map[string][]tag{}
	for _, s := range specs {
		if s.ResourceType == "" {
			return nil, api.Errorf("MissingParameter", "Tag specification resource type must have a value")
		}
		if !slices.Contains(kinds, s.ResourceType) {
			return nil, api.Errorf("InvalidParameterValue", "'%s' is not a valid taggable resource type for this operation.", s.ResourceType)
		}
		if len(s.Tags) == 0 {
			return nil, api.Errorf("InvalidParameterValue", "Tag specification must have at least one tag")
		}
		if err := checkTags(s.Tags); err != nil {
			return nil, err
		}
		if _, twice := tags[s.ResourceType]; twice {
			return nil, api.Errorf("InvalidParameterValue", "Tag specification for resource type '%s' was specified more than once.", s.ResourceType)
		}
		tags[s.ResourceType] = s.Tags
	}
	return tags, nil
}

type createTagsIn struct {
	dry
	Resources []string `q:"ResourceId,required"`
	Tags      []tag    `q:"Tag,required"`
}

func (o *op) createTags(in *createTagsIn) (*returned, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	all, err := o.taggables(in.Resources)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if added := len(overlay(r.head().Tags, in.Tags)); added > maxTags {
			return nil, api.Errorf("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
		}
	}
	for _, r := range all {
		r.head().Tags = overlay(r.head().Tags, in.Tags)
	}
	return ok(), nil
}

// overlay returns tags with more put over them.
func overlay(tags, more []tag) []tag {
	out := slices.Clone(tags)
	for _, t := range more {
		if i := slices.IndexFunc(out, func(x tag) bool { return x.Key == t.Key }); i >= 0 {
			out[i].Value = t.Value
		} else {
			out = append(out, t)
		}
	}
	return out
}

type deleteTagsIn struct {
	dry
	Resources []string `q:"ResourceId,required"`
	Tags      []struct {
		Key   string  `q:"Key"`
		Value *string `q:"Value"`
	} `q:"Tag"`
}

func (o *op) deleteTags(in *deleteTagsIn) (*returned, error) {
	all, err := o.taggables(in.Resources)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		h := r.head()
		h.Tags = slices.DeleteFunc(slices.Clone(h.Tags), func(t tag) bool {
			if len(in.Tags) == 0 {
				return !strings.HasPrefix(t.Key, "aws:")
			}
			for _, d := range in.Tags {
				if d.Key == t.Key && (d.Value == nil || *d.Value == t.Value) {
					return true
				}
			}
			return false
		})
	}
	return ok(), nil
}

// taggables finds the caller's resources by ids of any kind.
func (o *op) taggables(ids []string) ([]resource, error) {
	var all []resource
	for _, id := range ids {
		r, k := o.r.resource(id)
		if k == (kind{}) {
			return nil, api.Errorf("InvalidID", "The ID '%s' is not valid", id)
		}
		if err := k.check(id); err != nil {
			return nil, err
		}
		// Tags are the owner's alone: also on a shared image an account has none of its own here.
		if r == nil || r.head().Owner != o.call.Account || o.call.Hidden(id) {
			return nil, k.notFound(id)
		}
		all = append(all, r)
	}
	return all, nil
}

// A tagged is one tag of one resource, as DescribeTags lists them.
type tagged struct {
	meta
	kind string
}

type describeTagsIn struct {
	dry
	page
	Filters []filter `q:"Filter"`
}

type tagXML struct {
	ResourceID   string `xml:"resourceId"`
	ResourceType string `xml:"resourceType"`
	Key          string `xml:"key"`
	Value        string `xml:"value"`
}

type describeTagsOut struct {
	Tags      set[tagXML] `xml:"tagSet>item"`
	NextToken string      `xml:"nextToken,omitempty"`
}

func (o *op) describeTags(in *describeTagsIn) (*describeTagsOut, error) {
	all := map[string]*tagged{}
	for r, k := range o.r.resources() {
		for _, t := range r.head().Tags {
			if h := r.head(); h.Owner == o.call.Account && !o.call.Hidden(h.ID) {
				all[h.ID+" "+t.Key] = &tagged{meta{ID: h.ID, Owner: h.Owner, Seq: h.Seq, Tags: []tag{t}}, k.name}
			}
		}
	}
	found, next, err := list(o, listing[*tagged]{all: all, filters: in.Filters, page: in.page, fields: fields[*tagged]{
		"key":           one(func(t *tagged) string { return t.Tags[0].Key }),
		"value":         one(func(t *tagged) string { return t.Tags[0].Value }),
		"resource-id":   one(func(t *tagged) string { return t.ID }),
		"resource-type": one(func(t *tagged) string { return t.kind }),
	}})
	if err != nil {
		return nil, err
	}
	// Tags of one resource have one place in the order of creation: order them among themselves.
	slices.SortStableFunc(found, func(a, b *tagged) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Tags[0].Key, b.Tags[0].Key))
	})
	out := &describeTagsOut{NextToken: next}
	for _, t := range found {
		out.Tags = append(out.Tags, tagXML{t.ID, t.kind, t.Tags[0].Key, t.Tags[0].Value})
	}
	return out, nil
}
