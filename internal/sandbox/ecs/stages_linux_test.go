package ecs_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/internal/sandbox/ecs"
)

// staged makes a service that is deployed by a strategy, and returns its URL.
func (w *world) staged(d types.DeploymentConfiguration) (url string) {
	w.t.Helper()
	w.cluster()
	blue, green := w.group("blue"), w.group("green")
	url, rule := w.balance(blue, green)
	w.serve("web", w.pageDefinition("one"), 1, func(in *sdk.CreateServiceInput) {
		d.DeploymentCircuitBreaker = in.DeploymentConfiguration.DeploymentCircuitBreaker
		in.DeploymentConfiguration = &d
		in.LoadBalancers = []types.LoadBalancer{{TargetGroupArn: &blue, ContainerName: aws.String("app"), ContainerPort: aws.Int32(8000), AdvancedConfiguration: &types.AdvancedConfiguration{
			AlternateTargetGroupArn: &green, ProductionListenerRule: &rule, RoleArn: aws.String("arn:aws:iam::123456789012:role/ecs")}}}
	})
	if got := w.deployed("web"); got.Status != types.ServiceDeploymentStatusSuccessful {
		w.t.Fatalf("first deployment: %s", got.Status)
	}
	return url
}

func (w *world) says(url, want string) {
	w.t.Helper()
	if got := w.page(url); !strings.HasPrefix(got, want+" ") {
		w.t.Errorf("it says %q, want %q", got, want)
	}
}

func TestEveryStrategyMovesTrafficToTheNewRevisionAndBackFromABadOne(t *testing.T) {
	t.Parallel()
	for _, d := range []types.DeploymentConfiguration{
		{Strategy: types.DeploymentStrategyBlueGreen},
		{Strategy: types.DeploymentStrategyCanary, CanaryConfiguration: &types.CanaryConfiguration{CanaryPercent: aws.Float64(10), CanaryBakeTimeInMinutes: aws.Int32(1)}},
		{Strategy: types.DeploymentStrategyLinear, LinearConfiguration: &types.LinearConfiguration{StepPercent: aws.Float64(25), StepBakeTimeInMinutes: aws.Int32(1)}},
	} {
		t.Run(string(d.Strategy), func(t *testing.T) {
			w := newWorld(t, ecs.Deps{})
			url := w.staged(d)
			w.says(url, "one")
			for _, word := range []string{"two", "three"} { // to the other target group, and back to the first
				w.update(w.pageDefinition(word), nil)
				if got := w.deployed("web"); got.Status != types.ServiceDeploymentStatusSuccessful || *got.TargetServiceRevision.RequestedProductionTrafficWeight != 100 {
					t.Fatalf("deployment of %s: %s", word, got.Status)
				}
				w.says(url, word)
			}
			w.update(w.pageDefinition(""), nil)
			if got := w.deployed("web"); got.Status != types.ServiceDeploymentStatusRollbackSuccessful {
				t.Errorf("deployment of what is ill: %s", got.Status)
			}
			w.says(url, "three")
		})
	}
}

func TestAPauseHookWaitsForAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	url := w.staged(types.DeploymentConfiguration{Strategy: types.DeploymentStrategyBlueGreen})
	pause := func(in *sdk.UpdateServiceInput) {
		in.DeploymentConfiguration = &types.DeploymentConfiguration{LifecycleHooks: []types.DeploymentLifecycleHook{{
			TargetType: types.DeploymentLifecycleHookTargetTypePause, LifecycleStages: []types.DeploymentLifecycleHookStage{types.DeploymentLifecycleHookStagePreProductionTrafficShift}}}}
	}
	answer := func(action types.DeploymentLifecycleHookAction) {
		t.Helper()
		list, err := w.ecs.ListServiceDeployments(t.Context(), &sdk.ListServiceDeploymentsInput{Cluster: aws.String("prod"), Service: aws.String("web")})
		w.check(err)
		arn := *list.ServiceDeployments[0].ServiceDeploymentArn
		var hook string
		w.await("the hook", func() (bool, string) {
			out, err := w.ecs.DescribeServiceDeployments(t.Context(), &sdk.DescribeServiceDeploymentsInput{ServiceDeploymentArns: []string{arn}})
			w.check(err)
			for _, h := range out.ServiceDeployments[0].LifecycleHookDetails {
				hook = *h.HookId
			}
			return hook != "", string(out.ServiceDeployments[0].LifecycleStage)
		})
		w.says(url, "one") // while it waits
		_, err = w.ecs.ContinueServiceDeployment(t.Context(), &sdk.ContinueServiceDeploymentInput{ServiceDeploymentArn: &arn, HookId: &hook, Action: action})
		w.check(err)
	}
	w.update(w.pageDefinition("two"), pause)
	answer(types.DeploymentLifecycleHookActionRollback)
	if got := w.deployed("web"); got.Status != types.ServiceDeploymentStatusRollbackSuccessful {
		t.Errorf("after the answer ROLLBACK: %s", got.Status)
	}
	w.says(url, "one")
	w.update(w.pageDefinition("two"), pause)
	answer(types.DeploymentLifecycleHookActionContinue)
	if got := w.deployed("web"); got.Status != types.ServiceDeploymentStatusSuccessful {
		t.Errorf("after the answer CONTINUE: %s", got.Status)
	}
	w.says(url, "two")
}

func TestStoppingADeploymentGoesBackOrStaysAsItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	w.cluster()
	good := w.define("web", w.push("v1", "sleep", "600"), nil)
	w.serve("web", good, 1, nil)
	w.deployed("web")
	// It never becomes healthy, so the deployment does not end by itself soon.
	slow := w.define("web", w.push("v1", "sleep", "600"), func(in *sdk.RegisterTaskDefinitionInput) {
		in.ContainerDefinitions[0].HealthCheck = &types.HealthCheck{Command: []string{"CMD-SHELL", "exit 1"}, Retries: aws.Int32(10)}
	})
	for stop, want := range map[types.StopServiceDeploymentStopType]types.ServiceDeploymentStatus{
		types.StopServiceDeploymentStopTypeRollback: types.ServiceDeploymentStatusRollbackSuccessful,
		types.StopServiceDeploymentStopTypeAbort:    types.ServiceDeploymentStatusStopped,
	} {
		w.update(good, nil)
		w.update(slow, nil)
		list, err := w.ecs.ListServiceDeployments(t.Context(), &sdk.ListServiceDeploymentsInput{Cluster: aws.String("prod"), Service: aws.String("web")})
		w.check(err)
		_, err = w.ecs.StopServiceDeployment(t.Context(), &sdk.StopServiceDeploymentInput{ServiceDeploymentArn: list.ServiceDeployments[0].ServiceDeploymentArn, StopType: stop})
		w.check(err)
		if got := w.deployed("web"); got.Status != want {
			t.Errorf("%s: %s %s", stop, got.Status, aws.ToString(got.StatusReason))
		}
		if s := w.service("web"); want == types.ServiceDeploymentStatusRollbackSuccessful && *s.TaskDefinition != good {
			t.Errorf("after %s the service has %s", stop, *s.TaskDefinition)
		}
	}
}
