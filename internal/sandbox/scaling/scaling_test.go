package scaling_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/scaling"
)

// services are desired counts by name.
type services map[string]int32

func (s services) DesiredCount(_, _, cluster, name string) (int32, bool) {
	n, ok := s[cluster+"/"+name]
	return n, ok
}

func (s services) SetDesiredCount(_, _, cluster, name string, n int32) error {
	s[cluster+"/"+name] = n
	return nil
}

func TestATargetBoundsItsServiceUnlessThatIsSuspended(t *testing.T) {
	w := &api.World{Account: "123456789012", Now: time.Now}
	have := services{"prod/web": 1}
	server := httptest.NewServer(api.NewServer(w, scaling.New(w, have).Service()))
	t.Cleanup(server.Close)
	c := sdk.NewFromConfig(aws.Config{Region: "eu-west-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", "")})
	register := func(in sdk.RegisterScalableTargetInput, resource string) error {
		in.ServiceNamespace, in.ScalableDimension, in.ResourceId = types.ServiceNamespaceEcs, types.ScalableDimensionECSServiceDesiredCount, &resource
		_, err := c.RegisterScalableTarget(t.Context(), &in)
		return err
	}
	const web = "service/prod/web"
	if err := register(sdk.RegisterScalableTargetInput{MinCapacity: aws.Int32(1), MaxCapacity: aws.Int32(2)}, "service/prod/none"); err == nil || !strings.Contains(err.Error(), "ECS service doesn't exist") {
		t.Errorf("a service that does not exist: %v", err)
	}
	suspended := &types.SuspendedState{DynamicScalingOutSuspended: aws.Bool(true)}
	if err := register(sdk.RegisterScalableTargetInput{MinCapacity: aws.Int32(3), MaxCapacity: aws.Int32(6), SuspendedState: suspended}, web); err != nil {
		t.Fatal(err)
	}
	if have["prod/web"] != 1 {
		t.Errorf("suspended, it was scaled to %d", have["prod/web"])
	}
	if err := register(sdk.RegisterScalableTargetInput{SuspendedState: &types.SuspendedState{DynamicScalingOutSuspended: aws.Bool(false)}}, web); err != nil {
		t.Fatal(err)
	}
	if have["prod/web"] != 3 {
		t.Errorf("resumed, it is at %d", have["prod/web"])
	}
	policy := &sdk.PutScalingPolicyInput{ServiceNamespace: types.ServiceNamespaceEcs, ScalableDimension: types.ScalableDimensionECSServiceDesiredCount, ResourceId: aws.String(web), PolicyName: aws.String("cpu"),
		PolicyType: types.PolicyTypeTargetTrackingScaling, TargetTrackingScalingPolicyConfiguration: &types.TargetTrackingScalingPolicyConfiguration{TargetValue: aws.Float64(60),
			PredefinedMetricSpecification: &types.PredefinedMetricSpecification{PredefinedMetricType: types.MetricTypeECSServiceAverageCPUUtilization}}}
	if out, err := c.PutScalingPolicy(t.Context(), policy); err != nil || len(out.Alarms) != 2 {
		t.Fatalf("%v", err)
	}
	out, err := c.DescribeScalableTargets(t.Context(), &sdk.DescribeScalableTargetsInput{ServiceNamespace: types.ServiceNamespaceEcs, ResourceIds: []string{web}})
	if err != nil || len(out.ScalableTargets) != 1 || *out.ScalableTargets[0].MaxCapacity != 6 || *out.ScalableTargets[0].SuspendedState.DynamicScalingOutSuspended {
		t.Fatalf("%v %+v", err, out)
	}
	if _, err := c.DeregisterScalableTarget(t.Context(), &sdk.DeregisterScalableTargetInput{ServiceNamespace: types.ServiceNamespaceEcs, ScalableDimension: types.ScalableDimensionECSServiceDesiredCount, ResourceId: aws.String(web)}); err != nil {
		t.Fatal(err)
	}
	policies, err := c.DescribeScalingPolicies(t.Context(), &sdk.DescribeScalingPoliciesInput{ServiceNamespace: types.ServiceNamespaceEcs})
	if err != nil || len(policies.ScalingPolicies) != 0 {
		t.Errorf("policies of a target that is gone: %+v, %v", policies, err)
	}
}
