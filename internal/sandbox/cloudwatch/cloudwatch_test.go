package cloudwatch_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"bake/internal/sandbox/sandboxtest"
)

// TestAnAlarmIsMadeSetFoundAndDeleted speaks as the SDK does (CBOR) and as the
// AWS CLI does (forms or JSON).
func TestAnAlarmIsMadeSetFoundAndDeleted(t *testing.T) {
	s := sandboxtest.Start(t)
	cw := sdk.NewFromConfig(sandboxtest.Config(s, "eu-west-1"))
	_, err := cw.PutMetricAlarm(t.Context(), &sdk.PutMetricAlarmInput{AlarmName: aws.String("errors"), Namespace: aws.String("AWS/ApplicationELB"), MetricName: aws.String("HTTPCode_Target_5XX_Count"),
		Statistic: types.StatisticSum, Period: aws.Int32(60), EvaluationPeriods: aws.Int32(2), Threshold: aws.Float64(1.5), ComparisonOperator: types.ComparisonOperatorGreaterThanThreshold,
		Dimensions: []types.Dimension{{Name: aws.String("TargetGroup"), Value: aws.String("targetgroup/api/1")}}, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("web")}}})
	if err != nil {
		t.Fatal(err)
	}
	sandboxtest.CLI(t, s, "eu-west-1", "cloudwatch", "put-metric-alarm", "--alarm-name", "slow", "--namespace", "AWS/ApplicationELB", "--metric-name", "TargetResponseTime",
		"--extended-statistic", "p90", "--period", "60", "--evaluation-periods", "1", "--threshold", "2", "--comparison-operator", "GreaterThanThreshold")
	sandboxtest.CLI(t, s, "eu-west-1", "cloudwatch", "set-alarm-state", "--alarm-name", "errors", "--state-value", "ALARM", "--state-reason", "on purpose")
	if got := s.Services.CloudWatch.Firing(sandboxtest.Account, "eu-west-1", []string{"slow", "errors", "missing"}); fmt.Sprint(got) != "[errors]" {
		t.Errorf("firing: %v", got)
	}
	if got := s.Services.CloudWatch.Evaluates(sandboxtest.Account, "eu-west-1", []string{"slow", "errors"}); got != 2*time.Minute {
		t.Errorf("they are evaluated for %s", got)
	}
	all, err := cw.DescribeAlarms(t.Context(), &sdk.DescribeAlarmsInput{MaxRecords: aws.Int32(1)})
	if err != nil || len(all.MetricAlarms) != 1 || all.NextToken == nil {
		t.Fatalf("the first page: %+v %v", all, err)
	}
	a := all.MetricAlarms[0]
	if *a.AlarmName != "errors" || a.StateValue != types.StateValueAlarm || *a.StateReason != "on purpose" || *a.Threshold != 1.5 || len(a.Dimensions) != 1 || time.Since(*a.StateUpdatedTimestamp) > time.Hour {
		t.Errorf("the alarm: %+v", a)
	}
	var seen struct {
		MetricAlarms []struct{ AlarmName, StateValue string }
	}
	out := sandboxtest.CLI(t, s, "eu-west-1", "cloudwatch", "describe-alarms", "--state-value", "INSUFFICIENT_DATA")
	if err := json.Unmarshal([]byte(out), &seen); err != nil || len(seen.MetricAlarms) != 1 || seen.MetricAlarms[0].AlarmName != "slow" {
		t.Errorf("%v in\n%s", err, out)
	}
	if out := sandboxtest.CLI(t, s, "eu-west-1", "cloudwatch", "describe-alarm-history", "--alarm-name", "errors"); !strings.Contains(out, "Alarm updated from INSUFFICIENT_DATA to ALARM") {
		t.Errorf("history:\n%s", out)
	}
	if tags, err := cw.ListTagsForResource(t.Context(), &sdk.ListTagsForResourceInput{ResourceARN: a.AlarmArn}); err != nil || len(tags.Tags) != 1 {
		t.Errorf("tags: %+v %v", tags, err)
	}
	if _, err := cw.DeleteAlarms(t.Context(), &sdk.DeleteAlarmsInput{AlarmNames: []string{"errors", "slow"}}); err != nil {
		t.Error(err)
	}
	_, errs, err := sandboxtest.TryCLI(t, s, "eu-west-1", "cloudwatch", "set-alarm-state", "--alarm-name", "errors", "--state-value", "OK", "--state-reason", "gone")
	if err == nil || !strings.Contains(errs, "ResourceNotFound") {
		t.Errorf("an alarm that is gone: %v\n%s", err, errs)
	}
}
