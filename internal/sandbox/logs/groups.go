package logs

import (
	"maps"
	"slices"
	"strings"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/logs/wire"
)

var (
	groupName  = lazyregexp.New(`^[.\-_/#A-Za-z0-9]{1,512}$`)
	streamName = lazyregexp.New(`^[^:*]{1,512}$`)
)

func badParameter(format string, args ...any) error {
	return api.Errorf("InvalidParameterException", format, args...)
}

func (l *T) createLogGroup(call *api.Call, r *region, in *wire.CreateLogGroupInput) (*wire.CreateLogGroupOutput, error) {
	if !groupName.MatchString(in.LogGroupName) {
		return nil, badParameter("1 validation error detected: Value '%s' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+", in.LogGroupName)
	}
	if r.Groups[in.LogGroupName] != nil {
		return nil, api.Errorf("ResourceAlreadyExistsException", "The specified log group already exists")
	}
	g := l.addGroup(r, in.LogGroupName)
	maps.Copy(g.Tags, in.Tags)
	g.KmsKeyId = in.KmsKeyId
	if in.LogGroupClass != "" {
		g.LogGroupClass = in.LogGroupClass
	}
	return &wire.CreateLogGroupOutput{}, nil
}

func (l *T) deleteLogGroup(call *api.Call, r *region, in *wire.DeleteLogGroupInput) (*wire.DeleteLogGroupOutput, error) {
	g, err := r.group(in.LogGroupName)
	if err != nil {
		return nil, err
	}
	delete(r.Groups, g.LogGroupName)
	return &wire.DeleteLogGroupOutput{}, nil
}

func (l *T) describeLogGroups(call *api.Call, r *region, in *wire.DescribeLogGroupsInput) (*wire.DescribeLogGroupsOutput, error) {
	if in.LogGroupNamePrefix != "" && in.LogGroupNamePattern != "" {
		return nil, badParameter("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	var names []string
	for name, g := range r.Groups {
		if strings.HasPrefix(name, in.LogGroupNamePrefix) && strings.Contains(strings.ToLower(name), strings.ToLower(in.LogGroupNamePattern)) && !call.Hidden(g.Arn) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	part, next := page(names, in.Limit, in.NextToken)
	out := &wire.DescribeLogGroupsOutput{LogGroups: []wire.LogGroup{}, NextToken: next}
	for _, name := range part {
		out.LogGroups = append(out.LogGroups, r.Groups[name].LogGroup)
	}
	return out, nil
}

// retentions are the days that AWS lets one choose.
func retentions() []int32 {
	return []int32{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
}

func (l *T) putRetentionPolicy(call *api.Call, r *region, in *wire.PutRetentionPolicyInput) (*wire.PutRetentionPolicyOutput, error) {
	g, err := r.group(in.LogGroupName)
	if err != nil {
		return nil, err
	}
	if in.RetentionInDays == nil || !slices.Contains(retentions(), *in.RetentionInDays) {
		return nil, badParameter("1 validation error detected: Value at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: %v", retentions())
	}
	g.RetentionInDays = in.RetentionInDays
	return &wire.PutRetentionPolicyOutput{}, nil
}

func (l *T) deleteRetentionPolicy(call *api.Call, r *region, in *wire.DeleteRetentionPolicyInput) (*wire.DeleteRetentionPolicyOutput, error) {
	g, err := r.group(in.LogGroupName)
	if err != nil {
		return nil, err
	}
	g.RetentionInDays = nil
	return &wire.DeleteRetentionPolicyOutput{}, nil
}

func (l *T) createLogStream(call *api.Call, r *region, in *wire.CreateLogStreamInput) (*wire.CreateLogStreamOutput, error) {
	g, err := r.group(in.LogGroupName)
	if err != nil {
		return nil, err
	}
	if !streamName.MatchString(in.LogStreamName) {
		return nil, badParameter("1 validation error detected: Value '%s' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]*", in.LogStreamName)
	}
	if g.Streams[in.LogStreamName] != nil {
		return nil, api.Errorf("ResourceAlreadyExistsException", "The specified log stream already exists")
	}
	l.addStream(r, g, in.LogStreamName)
	return &wire.CreateLogStreamOutput{}, nil
}

func (l *T) deleteLogStream(call *api.Call, r *region, in *wire.DeleteLogStreamInput) (*wire.DeleteLogStreamOutput, error) {
	g, s, err := r.stream(in.LogGroupName, "", in.LogStreamName)
	if err != nil {
		return nil, err
	}
	delete(g.Streams, s.LogStreamName)
	return &wire.DeleteLogStreamOutput{}, nil
}

func (l *T) describeLogStreams(call *api.Call, r *region, in *wire.DescribeLogStreamsInput) (*wire.DescribeLogStreamsOutput, error) {
	name := in.LogGroupName
	if name == "" {
		name = in.LogGroupIdentifier
	}
	g, err := r.group(name)
	if err != nil {
		return nil, err
	}
	byTime := in.OrderBy == "LastEventTime"
	if byTime && in.LogStreamNamePrefix != "" {
		return nil, badParameter("Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	var found []*stream
	for name, s := range g.Streams {
		if strings.HasPrefix(name, in.LogStreamNamePrefix) {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b *stream) int {
		order := strings.Compare(a.LogStreamName, b.LogStreamName)
		if d := last(a) - last(b); byTime && d != 0 {
			order = int(d)
		}
		if in.Descending != nil && *in.Descending {
			return -order
		}
		return order
	})
	return pageStreams(found, in), nil
}

func last(s *stream) int64 {
	if s.LastEventTimestamp == nil {
		return 0
	}
	return *s.LastEventTimestamp
}

func pageStreams(all []*stream, in *wire.DescribeLogStreamsInput) *wire.DescribeLogStreamsOutput {
	out := &wire.DescribeLogStreamsOutput{LogStreams: []wire.LogStream{}}
	if i := slices.IndexFunc(all, func(s *stream) bool { return s.LogStreamName == in.NextToken }); i >= 0 {
		all = all[i+1:]
	}
	size := 50
	if in.Limit != nil && *in.Limit > 0 {
		size = min(size, int(*in.Limit))
	}
	for i, s := range all {
		if i == size {
			out.NextToken = all[i-1].LogStreamName
			break
		}
		out.LogStreams = append(out.LogStreams, s.LogStream)
	}
	return out
}

func (l *T) tagLogGroup(call *api.Call, r *region, in *wire.TagLogGroupInput) (*wire.TagLogGroupOutput, error) {
	g, err := r.group(in.LogGroupName)
	if err == nil {
		maps.Copy(g.Tags, in.Tags)
	}
	return &wire.TagLogGroupOutput{}, err
}

func (l *T) untagLogGroup(call *api.Call, r *region, in *wire.UntagLogGroupInput) (*wire.UntagLogGroupOutput, error) {
	g, err := r.group(in.LogGroupName)
	if err == nil {
		maps.DeleteFunc(g.Tags, func(k, _ string) bool { return slices.Contains(in.Tags, k) })
	}
	return &wire.UntagLogGroupOutput{}, err
}

func (l *T) listTagsLogGroup(call *api.Call, r *region, in *wire.ListTagsLogGroupInput) (*wire.ListTagsLogGroupOutput, error) {
	g, err := r.group(in.LogGroupName)
	if err != nil {
		return nil, err
	}
	return &wire.ListTagsLogGroupOutput{Tags: maps.Clone(g.Tags)}, nil
}

func (l *T) tagResource(call *api.Call, r *region, in *wire.TagResourceInput) (*wire.TagResourceOutput, error) {
	g, err := r.group(in.ResourceArn)
	if err == nil {
		maps.Copy(g.Tags, in.Tags)
	}
	return &wire.TagResourceOutput{}, err
}

func (l *T) untagResource(call *api.Call, r *region, in *wire.UntagResourceInput) (*wire.UntagResourceOutput, error) {
	g, err := r.group(in.ResourceArn)
	if err == nil {
		maps.DeleteFunc(g.Tags, func(k, _ string) bool { return slices.Contains(in.TagKeys, k) })
	}
	return &wire.UntagResourceOutput{}, err
}

func (l *T) listTagsForResource(call *api.Call, r *region, in *wire.ListTagsForResourceInput) (*wire.ListTagsForResourceOutput, error) {
	g, err := r.group(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &wire.ListTagsForResourceOutput{Tags: maps.Clone(g.Tags)}, nil
}
