package ecs

import (
	"slices"
	"strings"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs/wire"
)

// tagsOf finds the tags of what an ARN names.
func (r *region) tagsOf(arn string) (*[]wire.Tag, error) {
	kind, rest, _ := strings.Cut(resourceOf(arn), "/")
	name, id, _ := strings.Cut(rest, "/")
	cl := r.Clusters[name]
	switch {
	case kind == "cluster" && cl != nil:
		return &cl.Tags, nil
	case kind == "service" && cl != nil && cl.Services[id] != nil:
		return &cl.Services[id].Tags, nil
	case kind == "task" && cl != nil && cl.Tasks[id] != nil:
		return &cl.Tasks[id].Tags, nil
	case kind == "container-instance" && cl != nil && cl.Instances[id] != nil:
		return &cl.Instances[id].Tags, nil
	case kind == "capacity-provider" && r.Providers[rest] != nil:
		return &r.Providers[rest].Tags, nil
	case kind == "task-definition":
		if rev, err := r.taskDefinition(arn); err == nil {
			return &rev.Tags, nil
		}
	}
	return nil, badParameter("The specified resource is not valid or was not found. Check that the resource is in your account and region: %s", arn)
}

// TagsOf returns the tags of what an ARN names; nil if there is none. Policies
// ask about them.
func (c *T) TagsOf(arn string) map[string]string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.places[place{parts[4], parts[3]}]
	if r == nil {
		return nil
	}
	list, err := r.tagsOf(arn)
	if err != nil {
		return nil
	}
	tags := map[string]string{}
	for _, t := range *list {
		tags[t.Key] = t.Value
	}
	return tags
}

func (c *T) tagResource(call *api.Call, r *region, in *wire.TagResourceInput) (*wire.TagResourceOutput, error) {
	tags, err := r.tagsOf(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	merged := slices.Clone(*tags)
	for _, t := range in.Tags {
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return nil, badParameter("Tag keys cannot begin with aws: %s", t.Key)
		}
		merged = slices.DeleteFunc(merged, func(old wire.Tag) bool { return old.Key == t.Key })
		merged = append(merged, t)
	}
	if len(merged) > 50 {
		return nil, badParameter("Tags cannot have more than 50 elements.")
	}
	*tags = merged
	return &wire.TagResourceOutput{}, nil
}

func (c *T) untagResource(call *api.Call, r *region, in *wire.UntagResourceInput) (*wire.UntagResourceOutput, error) {
	tags, err := r.tagsOf(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	*tags = slices.DeleteFunc(slices.Clone(*tags), func(t wire.Tag) bool { return slices.Contains(in.TagKeys, t.Key) })
	return &wire.UntagResourceOutput{}, nil
}

func (c *T) listTagsForResource(call *api.Call, r *region, in *wire.ListTagsForResourceInput) (*wire.ListTagsForResourceOutput, error) {
	tags, err := r.tagsOf(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &wire.ListTagsForResourceOutput{Tags: orEmpty(slices.Clone(*tags))}, nil
}
