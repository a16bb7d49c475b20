package cloudwatch

import (
	"slices"

	"bake/internal/sandbox/api"
)

type tag struct {
	Key   string `q:"Key,required" xml:"Key"`
	Value string `q:"Value" xml:"Value"`
}

type tagsIn struct {
	ResourceARN string   `q:"ResourceARN,required"`
	Tags        []tag    `q:"Tags"`
	TagKeys     []string `q:"TagKeys"`
}

type tagsOut struct {
	Tags []tag `xml:"Tags>member"`
}

// alarmTags wants the ARN of an alarm that is there.
func (r *region) alarmTags(arn string) ([]tag, error) {
	for _, a := range r.Alarms {
		if a.AlarmArn == arn {
			return slices.Clone(r.Tags[arn]), nil
		}
	}
	return nil, &api.Error{Code: "ResourceNotFoundException", Message: arn + " does not exist", Status: 404}
}

func (t *T) tagResource(_ *api.Call, r *region, in *tagsIn) (*none, error) {
	all, err := r.alarmTags(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	for _, add := range in.Tags {
		all = append(slices.DeleteFunc(all, func(old tag) bool { return old.Key == add.Key }), add)
	}
	r.Tags[in.ResourceARN] = all
	return &none{}, nil
}

func (t *T) untagResource(_ *api.Call, r *region, in *tagsIn) (*none, error) {
	all, err := r.alarmTags(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	r.Tags[in.ResourceARN] = slices.DeleteFunc(all, func(old tag) bool { return slices.Contains(in.TagKeys, old.Key) })
	return &none{}, nil
}

func (t *T) listTags(_ *api.Call, r *region, in *tagsIn) (*tagsOut, error) {
	all, err := r.alarmTags(in.ResourceARN)
	return &tagsOut{Tags: all}, err
}
