package scaling

import (
	"maps"
	"slices"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/epoch"
	"bake/internal/sandbox/scaling/wire"
)

func (t *T) putScalingPolicy(r *region, in *wire.PutScalingPolicyInput) (*wire.PutScalingPolicyOutput, error) {
	k := key(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	if r.Targets[k] == nil {
		return nil, noTarget(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	}
	if in.PolicyName == "" {
		return nil, validation("1 validation error detected: Value at 'policyName' failed to satisfy constraint: Member must not be null")
	}
	k = key(k, in.PolicyName)
	p := r.Policies[k]
	if p == nil {
		p = &wire.ScalingPolicy{PolicyName: in.PolicyName, PolicyARN: r.arn("scalingPolicy:") + ":resource/ecs/" + in.ResourceId + ":policyName/" + in.PolicyName,
			ServiceNamespace: in.ServiceNamespace, ResourceId: in.ResourceId, ScalableDimension: in.ScalableDimension, CreationTime: epoch.At(t.w.Now()), Alarms: []wire.Alarm{}}
	}
	next := *p
	next.PolicyType = in.PolicyType
	if next.PolicyType == "" {
		next.PolicyType = "StepScaling"
	}
	next.StepScalingPolicyConfiguration, next.TargetTrackingScalingPolicyConfiguration = in.StepScalingPolicyConfiguration, in.TargetTrackingScalingPolicyConfiguration
	next.PredictiveScalingPolicyConfiguration = in.PredictiveScalingPolicyConfiguration
	if next.PolicyType == "TargetTrackingScaling" {
		if next.TargetTrackingScalingPolicyConfiguration == nil {
			return nil, validation("TargetTrackingScalingPolicyConfiguration must be specified for a policy of the type TargetTrackingScaling.")
		}
		next.Alarms = []wire.Alarm{}
		for _, side := range []string{"AlarmHigh", "AlarmLow"} {
			name := "TargetTracking-" + in.ResourceId + "-" + side + "-" + in.PolicyName
			next.Alarms = append(next.Alarms, wire.Alarm{AlarmName: name, AlarmARN: "arn:aws:cloudwatch:" + r.Region + ":" + r.Account + ":alarm:" + name})
		}
	}
	r.Policies[k] = &next
	return &wire.PutScalingPolicyOutput{PolicyARN: next.PolicyARN, Alarms: next.Alarms}, nil
}

func (t *T) describeScalingPolicies(r *region, in *wire.DescribeScalingPoliciesInput) (*wire.DescribeScalingPoliciesOutput, error) {
	found, next := part(r.Policies, func(p *wire.ScalingPolicy) bool {
		return p.ServiceNamespace == in.ServiceNamespace && (in.ResourceId == "" || in.ResourceId == p.ResourceId) &&
			(in.ScalableDimension == "" || in.ScalableDimension == p.ScalableDimension) && (len(in.PolicyNames) == 0 || slices.Contains(in.PolicyNames, p.PolicyName))
	}, in.MaxResults, in.NextToken)
	out := &wire.DescribeScalingPoliciesOutput{ScalingPolicies: []wire.ScalingPolicy{}, NextToken: next}
	for _, p := range found {
		out.ScalingPolicies = append(out.ScalingPolicies, *p)
	}
	return out, nil
}

func (t *T) deleteScalingPolicy(r *region, in *wire.DeleteScalingPolicyInput) (*wire.DeleteScalingPolicyOutput, error) {
	k := key(in.ServiceNamespace, in.ResourceId, in.ScalableDimension, in.PolicyName)
	if r.Policies[k] == nil {
		return nil, api.Errorf("ObjectNotFoundException", "No scaling policy found for service namespace: %s, resource ID: %s, scalable dimension: %s, policy name: %s", in.ServiceNamespace, in.ResourceId, in.ScalableDimension, in.PolicyName)
	}
	delete(r.Policies, k)
	return &wire.DeleteScalingPolicyOutput{}, nil
}

func (t *T) putScheduledAction(r *region, in *wire.PutScheduledActionInput) (*wire.PutScheduledActionOutput, error) {
	k := key(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	if r.Targets[k] == nil {
		return nil, noTarget(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	}
	r.Scheduled[key(k, in.ScheduledActionName)] = &wire.ScheduledAction{
		ScheduledActionName: in.ScheduledActionName, ScheduledActionARN: r.arn("scheduledAction:"), ServiceNamespace: in.ServiceNamespace, ResourceId: in.ResourceId,
		ScalableDimension: in.ScalableDimension, Schedule: in.Schedule, Timezone: in.Timezone, StartTime: in.StartTime, EndTime: in.EndTime,
		ScalableTargetAction: in.ScalableTargetAction, CreationTime: epoch.At(t.w.Now())}
	return &wire.PutScheduledActionOutput{}, nil
}

func (t *T) describeScheduledActions(r *region, in *wire.DescribeScheduledActionsInput) (*wire.DescribeScheduledActionsOutput, error) {
	found, next := part(r.Scheduled, func(a *wire.ScheduledAction) bool {
		return a.ServiceNamespace == in.ServiceNamespace && (in.ResourceId == "" || in.ResourceId == a.ResourceId) &&
			(len(in.ScheduledActionNames) == 0 || slices.Contains(in.ScheduledActionNames, a.ScheduledActionName))
	}, in.MaxResults, in.NextToken)
	out := &wire.DescribeScheduledActionsOutput{ScheduledActions: []wire.ScheduledAction{}, NextToken: next}
	for _, a := range found {
		out.ScheduledActions = append(out.ScheduledActions, *a)
	}
	return out, nil
}

func (t *T) deleteScheduledAction(r *region, in *wire.DeleteScheduledActionInput) (*wire.DeleteScheduledActionOutput, error) {
	k := key(in.ServiceNamespace, in.ResourceId, in.ScalableDimension, in.ScheduledActionName)
	if r.Scheduled[k] == nil {
		return nil, api.Errorf("ObjectNotFoundException", "No scheduled action found with the name %s", in.ScheduledActionName)
	}
	delete(r.Scheduled, k)
	return &wire.DeleteScheduledActionOutput{}, nil
}

// describeScalingActivities has nothing to tell: policies never fire here.
func (t *T) describeScalingActivities(*region, *wire.DescribeScalingActivitiesInput) (*wire.DescribeScalingActivitiesOutput, error) {
	return &wire.DescribeScalingActivitiesOutput{ScalingActivities: []wire.ScalingActivity{}}, nil
}

func (t *T) tagResource(r *region, in *wire.TagResourceInput) (*wire.TagResourceOutput, error) {
	if r.Tags[in.ResourceARN] == nil {
		r.Tags[in.ResourceARN] = map[string]string{}
	}
	maps.Copy(r.Tags[in.ResourceARN], in.Tags)
	return &wire.TagResourceOutput{}, nil
}

func (t *T) untagResource(r *region, in *wire.UntagResourceInput) (*wire.UntagResourceOutput, error) {
	for _, k := range in.TagKeys {
		delete(r.Tags[in.ResourceARN], k)
	}
	return &wire.UntagResourceOutput{}, nil
}

func (t *T) listTagsForResource(r *region, in *wire.ListTagsForResourceInput) (*wire.ListTagsForResourceOutput, error) {
	tags := maps.Clone(r.Tags[in.ResourceARN])
	if tags == nil {
		tags = map[string]string{}
	}
	return &wire.ListTagsForResourceOutput{Tags: tags}, nil
}
