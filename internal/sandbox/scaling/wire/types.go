package wire

import (
	"bake/internal/sandbox/epoch"
)

// Alarm is the type of that name in the API.
type Alarm struct {
	AlarmARN  string `json:"AlarmARN,omitzero"`
	AlarmName string `json:"AlarmName,omitzero"`
}

// CustomizedMetricSpecification is the type of that name in the API.
type CustomizedMetricSpecification struct {
	Dimensions []MetricDimension               `json:"Dimensions,omitzero"`
	MetricName string                          `json:"MetricName,omitzero"`
	Metrics    []TargetTrackingMetricDataQuery `json:"Metrics,omitzero"`
	Namespace  string                          `json:"Namespace,omitzero"`
	Statistic  string                          `json:"Statistic,omitzero"`
	Unit       string                          `json:"Unit,omitzero"`
}

// MetricDimension is the type of that name in the API.
type MetricDimension struct {
	Name  string `json:"Name,omitzero"`
	Value string `json:"Value,omitzero"`
}

// NotScaledReason is the type of that name in the API.
type NotScaledReason struct {
	Code            string `json:"Code,omitzero"`
	CurrentCapacity *int32 `json:"CurrentCapacity,omitzero"`
	MaxCapacity     *int32 `json:"MaxCapacity,omitzero"`
	MinCapacity     *int32 `json:"MinCapacity,omitzero"`
}

// PredefinedMetricSpecification is the type of that name in the API.
type PredefinedMetricSpecification struct {
	PredefinedMetricType string `json:"PredefinedMetricType,omitzero"`
	ResourceLabel        string `json:"ResourceLabel,omitzero"`
}

// PredictiveScalingCustomizedMetricSpecification is the type of that name in the API.
type PredictiveScalingCustomizedMetricSpecification struct {
	MetricDataQueries []PredictiveScalingMetricDataQuery `json:"MetricDataQueries,omitzero"`
}

// PredictiveScalingMetric is the type of that name in the API.
type PredictiveScalingMetric struct {
	Dimensions []PredictiveScalingMetricDimension `json:"Dimensions,omitzero"`
	MetricName string                             `json:"MetricName,omitzero"`
	Namespace  string                             `json:"Namespace,omitzero"`
}

// PredictiveScalingMetricDataQuery is the type of that name in the API.
type PredictiveScalingMetricDataQuery struct {
	Id         string                       `json:"Id,omitzero"`
	Expression string                       `json:"Expression,omitzero"`
	Label      string                       `json:"Label,omitzero"`
	MetricStat *PredictiveScalingMetricStat `json:"MetricStat,omitzero"`
	ReturnData *bool                        `json:"ReturnData,omitzero"`
}

// PredictiveScalingMetricDimension is the type of that name in the API.
type PredictiveScalingMetricDimension struct {
	Name  string `json:"Name,omitzero"`
	Value string `json:"Value,omitzero"`
}

// PredictiveScalingMetricSpecification is the type of that name in the API.
type PredictiveScalingMetricSpecification struct {
	TargetValue                           *float64                                               `json:"TargetValue,omitzero"`
	CustomizedCapacityMetricSpecification *PredictiveScalingCustomizedMetricSpecification        `json:"CustomizedCapacityMetricSpecification,omitzero"`
	CustomizedLoadMetricSpecification     *PredictiveScalingCustomizedMetricSpecification        `json:"CustomizedLoadMetricSpecification,omitzero"`
	CustomizedScalingMetricSpecification  *PredictiveScalingCustomizedMetricSpecification        `json:"CustomizedScalingMetricSpecification,omitzero"`
	PredefinedLoadMetricSpecification     *PredictiveScalingPredefinedLoadMetricSpecification    `json:"PredefinedLoadMetricSpecification,omitzero"`
	PredefinedMetricPairSpecification     *PredictiveScalingPredefinedMetricPairSpecification    `json:"PredefinedMetricPairSpecification,omitzero"`
	PredefinedScalingMetricSpecification  *PredictiveScalingPredefinedScalingMetricSpecification `json:"PredefinedScalingMetricSpecification,omitzero"`
}

// PredictiveScalingMetricStat is the type of that name in the API.
type PredictiveScalingMetricStat struct {
	Metric *PredictiveScalingMetric `json:"Metric,omitzero"`
	Stat   string                   `json:"Stat,omitzero"`
	Unit   string                   `json:"Unit,omitzero"`
}

// PredictiveScalingPolicyConfiguration is the type of that name in the API.
type PredictiveScalingPolicyConfiguration struct {
	MetricSpecifications      []PredictiveScalingMetricSpecification `json:"MetricSpecifications,omitzero"`
	MaxCapacityBreachBehavior string                                 `json:"MaxCapacityBreachBehavior,omitzero"`
	MaxCapacityBuffer         *int32                                 `json:"MaxCapacityBuffer,omitzero"`
	Mode                      string                                 `json:"Mode,omitzero"`
	SchedulingBufferTime      *int32                                 `json:"SchedulingBufferTime,omitzero"`
}

// PredictiveScalingPredefinedLoadMetricSpecification is the type of that name in the API.
type PredictiveScalingPredefinedLoadMetricSpecification struct {
	PredefinedMetricType string `json:"PredefinedMetricType,omitzero"`
	ResourceLabel        string `json:"ResourceLabel,omitzero"`
}

// PredictiveScalingPredefinedMetricPairSpecification is the type of that name in the API.
type PredictiveScalingPredefinedMetricPairSpecification struct {
	PredefinedMetricType string `json:"PredefinedMetricType,omitzero"`
	ResourceLabel        string `json:"ResourceLabel,omitzero"`
}

// PredictiveScalingPredefinedScalingMetricSpecification is the type of that name in the API.
type PredictiveScalingPredefinedScalingMetricSpecification struct {
	PredefinedMetricType string `json:"PredefinedMetricType,omitzero"`
	ResourceLabel        string `json:"ResourceLabel,omitzero"`
}

// ScalableTarget is the type of that name in the API.
type ScalableTarget struct {
	CreationTime      *epoch.Time     `json:"CreationTime,omitzero"`
	MaxCapacity       *int32          `json:"MaxCapacity,omitzero"`
	MinCapacity       *int32          `json:"MinCapacity,omitzero"`
	ResourceId        string          `json:"ResourceId,omitzero"`
	RoleARN           string          `json:"RoleARN,omitzero"`
	ScalableDimension string          `json:"ScalableDimension,omitzero"`
	ServiceNamespace  string          `json:"ServiceNamespace,omitzero"`
	PredictedCapacity *int32          `json:"PredictedCapacity,omitzero"`
	ScalableTargetARN string          `json:"ScalableTargetARN,omitzero"`
	SuspendedState    *SuspendedState `json:"SuspendedState,omitzero"`
}

// ScalableTargetAction is the type of that name in the API.
type ScalableTargetAction struct {
	MaxCapacity *int32 `json:"MaxCapacity,omitzero"`
	MinCapacity *int32 `json:"MinCapacity,omitzero"`
}

// ScalingActivity is the type of that name in the API.
type ScalingActivity struct {
	ActivityId        string            `json:"ActivityId,omitzero"`
	Cause             string            `json:"Cause,omitzero"`
	Description       string            `json:"Description,omitzero"`
	ResourceId        string            `json:"ResourceId,omitzero"`
	ScalableDimension string            `json:"ScalableDimension,omitzero"`
	ServiceNamespace  string            `json:"ServiceNamespace,omitzero"`
	StartTime         *epoch.Time       `json:"StartTime,omitzero"`
	StatusCode        string            `json:"StatusCode,omitzero"`
	Details           string            `json:"Details,omitzero"`
	EndTime           *epoch.Time       `json:"EndTime,omitzero"`
	NotScaledReasons  []NotScaledReason `json:"NotScaledReasons,omitzero"`
	StatusMessage     string            `json:"StatusMessage,omitzero"`
}

// ScalingPolicy is the type of that name in the API.
type ScalingPolicy struct {
	CreationTime                             *epoch.Time                               `json:"CreationTime,omitzero"`
	PolicyARN                                string                                    `json:"PolicyARN,omitzero"`
	PolicyName                               string                                    `json:"PolicyName,omitzero"`
	PolicyType                               string                                    `json:"PolicyType,omitzero"`
	ResourceId                               string                                    `json:"ResourceId,omitzero"`
	ScalableDimension                        string                                    `json:"ScalableDimension,omitzero"`
	ServiceNamespace                         string                                    `json:"ServiceNamespace,omitzero"`
	Alarms                                   []Alarm                                   `json:"Alarms,omitzero"`
	PredictiveScalingPolicyConfiguration     *PredictiveScalingPolicyConfiguration     `json:"PredictiveScalingPolicyConfiguration,omitzero"`
	StepScalingPolicyConfiguration           *StepScalingPolicyConfiguration           `json:"StepScalingPolicyConfiguration,omitzero"`
	TargetTrackingScalingPolicyConfiguration *TargetTrackingScalingPolicyConfiguration `json:"TargetTrackingScalingPolicyConfiguration,omitzero"`
}

// ScheduledAction is the type of that name in the API.
type ScheduledAction struct {
	CreationTime         *epoch.Time           `json:"CreationTime,omitzero"`
	ResourceId           string                `json:"ResourceId,omitzero"`
	Schedule             string                `json:"Schedule,omitzero"`
	ScheduledActionARN   string                `json:"ScheduledActionARN,omitzero"`
	ScheduledActionName  string                `json:"ScheduledActionName,omitzero"`
	ServiceNamespace     string                `json:"ServiceNamespace,omitzero"`
	EndTime              *epoch.Time           `json:"EndTime,omitzero"`
	ScalableDimension    string                `json:"ScalableDimension,omitzero"`
	ScalableTargetAction *ScalableTargetAction `json:"ScalableTargetAction,omitzero"`
	StartTime            *epoch.Time           `json:"StartTime,omitzero"`
	Timezone             string                `json:"Timezone,omitzero"`
}

// StepAdjustment is the type of that name in the API.
type StepAdjustment struct {
	ScalingAdjustment        *int32   `json:"ScalingAdjustment,omitzero"`
	MetricIntervalLowerBound *float64 `json:"MetricIntervalLowerBound,omitzero"`
	MetricIntervalUpperBound *float64 `json:"MetricIntervalUpperBound,omitzero"`
}

// StepScalingPolicyConfiguration is the type of that name in the API.
type StepScalingPolicyConfiguration struct {
	AdjustmentType         string           `json:"AdjustmentType,omitzero"`
	Cooldown               *int32           `json:"Cooldown,omitzero"`
	MetricAggregationType  string           `json:"MetricAggregationType,omitzero"`
	MinAdjustmentMagnitude *int32           `json:"MinAdjustmentMagnitude,omitzero"`
	StepAdjustments        []StepAdjustment `json:"StepAdjustments,omitzero"`
}

// SuspendedState is the type of that name in the API.
type SuspendedState struct {
	DynamicScalingInSuspended  *bool `json:"DynamicScalingInSuspended,omitzero"`
	DynamicScalingOutSuspended *bool `json:"DynamicScalingOutSuspended,omitzero"`
	ScheduledScalingSuspended  *bool `json:"ScheduledScalingSuspended,omitzero"`
}

// TargetTrackingMetric is the type of that name in the API.
type TargetTrackingMetric struct {
	Dimensions []TargetTrackingMetricDimension `json:"Dimensions,omitzero"`
	MetricName string                          `json:"MetricName,omitzero"`
	Namespace  string                          `json:"Namespace,omitzero"`
}

// TargetTrackingMetricDataQuery is the type of that name in the API.
type TargetTrackingMetricDataQuery struct {
	Id         string                    `json:"Id,omitzero"`
	Expression string                    `json:"Expression,omitzero"`
	Label      string                    `json:"Label,omitzero"`
	MetricStat *TargetTrackingMetricStat `json:"MetricStat,omitzero"`
	ReturnData *bool                     `json:"ReturnData,omitzero"`
}

// TargetTrackingMetricDimension is the type of that name in the API.
type TargetTrackingMetricDimension struct {
	Name  string `json:"Name,omitzero"`
	Value string `json:"Value,omitzero"`
}

// TargetTrackingMetricStat is the type of that name in the API.
type TargetTrackingMetricStat struct {
	Metric *TargetTrackingMetric `json:"Metric,omitzero"`
	Stat   string                `json:"Stat,omitzero"`
	Unit   string                `json:"Unit,omitzero"`
}

// TargetTrackingScalingPolicyConfiguration is the type of that name in the API.
type TargetTrackingScalingPolicyConfiguration struct {
	TargetValue                   *float64                       `json:"TargetValue,omitzero"`
	CustomizedMetricSpecification *CustomizedMetricSpecification `json:"CustomizedMetricSpecification,omitzero"`
	DisableScaleIn                *bool                          `json:"DisableScaleIn,omitzero"`
	PredefinedMetricSpecification *PredefinedMetricSpecification `json:"PredefinedMetricSpecification,omitzero"`
	ScaleInCooldown               *int32                         `json:"ScaleInCooldown,omitzero"`
	ScaleOutCooldown              *int32                         `json:"ScaleOutCooldown,omitzero"`
}
