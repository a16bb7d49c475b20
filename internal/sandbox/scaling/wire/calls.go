// Package wire has the shapes of the API of Application Auto Scaling: what its
// actions take and answer, with the names that members have in JSON.
package wire

import (
	"bake/internal/sandbox/epoch"
)

// RegisterScalableTargetInput is what RegisterScalableTarget takes.
type RegisterScalableTargetInput struct {
	ResourceId        string            `json:"ResourceId,omitzero"`
	ScalableDimension string            `json:"ScalableDimension,omitzero"`
	ServiceNamespace  string            `json:"ServiceNamespace,omitzero"`
	MaxCapacity       *int32            `json:"MaxCapacity,omitzero"`
	MinCapacity       *int32            `json:"MinCapacity,omitzero"`
	RoleARN           string            `json:"RoleARN,omitzero"`
	SuspendedState    *SuspendedState   `json:"SuspendedState,omitzero"`
	Tags              map[string]string `json:"Tags,omitzero"`
}

// RegisterScalableTargetOutput is what RegisterScalableTarget answers.
type RegisterScalableTargetOutput struct {
	ScalableTargetARN string `json:"ScalableTargetARN,omitzero"`
}

// DescribeScalableTargetsInput is what DescribeScalableTargets takes.
type DescribeScalableTargetsInput struct {
	ServiceNamespace  string   `json:"ServiceNamespace,omitzero"`
	MaxResults        *int32   `json:"MaxResults,omitzero"`
	NextToken         string   `json:"NextToken,omitzero"`
	ResourceIds       []string `json:"ResourceIds,omitzero"`
	ScalableDimension string   `json:"ScalableDimension,omitzero"`
}

// DescribeScalableTargetsOutput is what DescribeScalableTargets answers.
type DescribeScalableTargetsOutput struct {
	NextToken       string           `json:"NextToken,omitzero"`
	ScalableTargets []ScalableTarget `json:"ScalableTargets,omitzero"`
}

// DeregisterScalableTargetInput is what DeregisterScalableTarget takes.
type DeregisterScalableTargetInput struct {
	ResourceId        string `json:"ResourceId,omitzero"`
	ScalableDimension string `json:"ScalableDimension,omitzero"`
	ServiceNamespace  string `json:"ServiceNamespace,omitzero"`
}

// DeregisterScalableTargetOutput is what DeregisterScalableTarget answers.
type DeregisterScalableTargetOutput struct {
}

// PutScalingPolicyInput is what PutScalingPolicy takes.
type PutScalingPolicyInput struct {
	PolicyName                               string                                    `json:"PolicyName,omitzero"`
	ResourceId                               string                                    `json:"ResourceId,omitzero"`
	ScalableDimension                        string                                    `json:"ScalableDimension,omitzero"`
	ServiceNamespace                         string                                    `json:"ServiceNamespace,omitzero"`
	PolicyType                               string                                    `json:"PolicyType,omitzero"`
	PredictiveScalingPolicyConfiguration     *PredictiveScalingPolicyConfiguration     `json:"PredictiveScalingPolicyConfiguration,omitzero"`
	StepScalingPolicyConfiguration           *StepScalingPolicyConfiguration           `json:"StepScalingPolicyConfiguration,omitzero"`
	TargetTrackingScalingPolicyConfiguration *TargetTrackingScalingPolicyConfiguration `json:"TargetTrackingScalingPolicyConfiguration,omitzero"`
}

// PutScalingPolicyOutput is what PutScalingPolicy answers.
type PutScalingPolicyOutput struct {
	PolicyARN string  `json:"PolicyARN,omitzero"`
	Alarms    []Alarm `json:"Alarms,omitzero"`
}

// DescribeScalingPoliciesInput is what DescribeScalingPolicies takes.
type DescribeScalingPoliciesInput struct {
	ServiceNamespace  string   `json:"ServiceNamespace,omitzero"`
	MaxResults        *int32   `json:"MaxResults,omitzero"`
	NextToken         string   `json:"NextToken,omitzero"`
	PolicyNames       []string `json:"PolicyNames,omitzero"`
	ResourceId        string   `json:"ResourceId,omitzero"`
	ScalableDimension string   `json:"ScalableDimension,omitzero"`
}

// DescribeScalingPoliciesOutput is what DescribeScalingPolicies answers.
type DescribeScalingPoliciesOutput struct {
	NextToken       string          `json:"NextToken,omitzero"`
	ScalingPolicies []ScalingPolicy `json:"ScalingPolicies,omitzero"`
}

// DeleteScalingPolicyInput is what DeleteScalingPolicy takes.
type DeleteScalingPolicyInput struct {
	PolicyName        string `json:"PolicyName,omitzero"`
	ResourceId        string `json:"ResourceId,omitzero"`
	ScalableDimension string `json:"ScalableDimension,omitzero"`
	ServiceNamespace  string `json:"ServiceNamespace,omitzero"`
}

// DeleteScalingPolicyOutput is what DeleteScalingPolicy answers.
type DeleteScalingPolicyOutput struct {
}

// PutScheduledActionInput is what PutScheduledAction takes.
type PutScheduledActionInput struct {
	ResourceId           string                `json:"ResourceId,omitzero"`
	ScalableDimension    string                `json:"ScalableDimension,omitzero"`
	ScheduledActionName  string                `json:"ScheduledActionName,omitzero"`
	ServiceNamespace     string                `json:"ServiceNamespace,omitzero"`
	EndTime              *epoch.Time           `json:"EndTime,omitzero"`
	ScalableTargetAction *ScalableTargetAction `json:"ScalableTargetAction,omitzero"`
	Schedule             string                `json:"Schedule,omitzero"`
	StartTime            *epoch.Time           `json:"StartTime,omitzero"`
	Timezone             string                `json:"Timezone,omitzero"`
}

// PutScheduledActionOutput is what PutScheduledAction answers.
type PutScheduledActionOutput struct {
}

// DescribeScheduledActionsInput is what DescribeScheduledActions takes.
type DescribeScheduledActionsInput struct {
	ServiceNamespace     string   `json:"ServiceNamespace,omitzero"`
	MaxResults           *int32   `json:"MaxResults,omitzero"`
	NextToken            string   `json:"NextToken,omitzero"`
	ResourceId           string   `json:"ResourceId,omitzero"`
	ScalableDimension    string   `json:"ScalableDimension,omitzero"`
	ScheduledActionNames []string `json:"ScheduledActionNames,omitzero"`
}

// DescribeScheduledActionsOutput is what DescribeScheduledActions answers.
type DescribeScheduledActionsOutput struct {
	NextToken        string            `json:"NextToken,omitzero"`
	ScheduledActions []ScheduledAction `json:"ScheduledActions,omitzero"`
}

// DeleteScheduledActionInput is what DeleteScheduledAction takes.
type DeleteScheduledActionInput struct {
	ResourceId          string `json:"ResourceId,omitzero"`
	ScalableDimension   string `json:"ScalableDimension,omitzero"`
	ScheduledActionName string `json:"ScheduledActionName,omitzero"`
	ServiceNamespace    string `json:"ServiceNamespace,omitzero"`
}

// DeleteScheduledActionOutput is what DeleteScheduledAction answers.
type DeleteScheduledActionOutput struct {
}

// DescribeScalingActivitiesInput is what DescribeScalingActivities takes.
type DescribeScalingActivitiesInput struct {
	ServiceNamespace           string `json:"ServiceNamespace,omitzero"`
	IncludeNotScaledActivities *bool  `json:"IncludeNotScaledActivities,omitzero"`
	MaxResults                 *int32 `json:"MaxResults,omitzero"`
	NextToken                  string `json:"NextToken,omitzero"`
	ResourceId                 string `json:"ResourceId,omitzero"`
	ScalableDimension          string `json:"ScalableDimension,omitzero"`
}

// DescribeScalingActivitiesOutput is what DescribeScalingActivities answers.
type DescribeScalingActivitiesOutput struct {
	NextToken         string            `json:"NextToken,omitzero"`
	ScalingActivities []ScalingActivity `json:"ScalingActivities,omitzero"`
}

// TagResourceInput is what TagResource takes.
type TagResourceInput struct {
	ResourceARN string            `json:"ResourceARN,omitzero"`
	Tags        map[string]string `json:"Tags,omitzero"`
}

// TagResourceOutput is what TagResource answers.
type TagResourceOutput struct {
}

// UntagResourceInput is what UntagResource takes.
type UntagResourceInput struct {
	ResourceARN string   `json:"ResourceARN,omitzero"`
	TagKeys     []string `json:"TagKeys,omitzero"`
}

// UntagResourceOutput is what UntagResource answers.
type UntagResourceOutput struct {
}

// ListTagsForResourceInput is what ListTagsForResource takes.
type ListTagsForResourceInput struct {
	ResourceARN string `json:"ResourceARN,omitzero"`
}

// ListTagsForResourceOutput is what ListTagsForResource answers.
type ListTagsForResourceOutput struct {
	Tags map[string]string `json:"Tags,omitzero"`
}
