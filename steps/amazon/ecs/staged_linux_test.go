package ecs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon/ecs"
)

// A shop is a service behind two target groups, whose traffic is moved by the
// rules of two listeners.
type shop struct {
	*world
	elb              *elb.Client
	blue, green      string // target groups
	production, test string // rules
	subnet           string
}

func newShop(t *testing.T, pace float64) *shop {
	w := newPacedWorld(t, pace)
	cfg := sandboxtest.Config(w.sandbox, w.region)
	s := &shop{world: w, elb: elb.NewFromConfig(cfg)}
	subnets, err := ec2.NewFromConfig(cfg).DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{})
	w.check(err)
	s.subnet = *subnets.Subnets[0].SubnetId
	for name, arn := range map[string]*string{"blue": &s.blue, "green": &s.green} {
		made, err := s.elb.CreateTargetGroup(t.Context(), &elb.CreateTargetGroupInput{Name: aws.String(name), Protocol: elbtypes.ProtocolEnumHttp, Port: aws.Int32(8080), TargetType: elbtypes.TargetTypeEnumIp, VpcId: subnets.Subnets[0].VpcId,
			HealthCheckIntervalSeconds: aws.Int32(5), HealthCheckTimeoutSeconds: aws.Int32(2), HealthyThresholdCount: aws.Int32(2)})
		w.check(err)
		*arn = *made.TargetGroups[0].TargetGroupArn
		_, err = s.elb.ModifyTargetGroupAttributes(t.Context(), &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: made.TargetGroups[0].TargetGroupArn, Attributes: []elbtypes.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String("0")}}})
		w.check(err)
	}
	lb, err := s.elb.CreateLoadBalancer(t.Context(), &elb.CreateLoadBalancerInput{Name: aws.String("shop"), Subnets: []string{s.subnet, *subnets.Subnets[1].SubnetId}})
	w.check(err)
	for port, rule := range map[int32]*string{8080: &s.production, 8081: &s.test} {
		l, err := s.elb.CreateListener(t.Context(), &elb.CreateListenerInput{LoadBalancerArn: lb.LoadBalancers[0].LoadBalancerArn, Port: &port, Protocol: elbtypes.ProtocolEnumHttp,
			DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, ForwardConfig: &elbtypes.ForwardActionConfig{TargetGroups: []elbtypes.TargetGroupTuple{
				{TargetGroupArn: &s.blue, Weight: aws.Int32(100)}, {TargetGroupArn: &s.green, Weight: aws.Int32(0)}}}}}})
		w.check(err)
		rules, err := s.elb.DescribeRules(t.Context(), &elb.DescribeRulesInput{ListenerArn: l.Listeners[0].ListenerArn})
		w.check(err)
		*rule = *rules.Rules[0].RuleArn
	}
	return s
}

// config deploys an image by a strategy.
func (s *shop) config(tag, script, deployment string) string {
	return strings.NewReplacer("subnet-1", s.subnet, "desired_count: 2", "desired_count: 1", "- name: api\n", "- name: api\n      portMappings: [{containerPort: 8080}]\n").Replace(
		s.output(s.push(tag, script), fmt.Sprintf("load_balancers: [{target_group: '%s', port: 8080, alternate_target_group: '%s', production_rule: '%s', test_rule: '%s', role: 'arn:aws:iam::%s:role/exec'}]\ndeployment: {%s}\n",
			s.blue, s.green, s.production, s.test, sandboxtest.Account, deployment)))
}

const (
	shopServes = "echo ok >index.html; exec busybox httpd -f -p 8080"
	shopFails  = "echo no such table: users; exit 3"
)

// weights are those of a rule, by target group.
func (s *shop) weights(rule string) map[string]int32 {
	out, err := s.elb.DescribeRules(s.Context(), &elb.DescribeRulesInput{RuleArns: []string{rule}})
	s.check(err)
	weights := map[string]int32{}
	for _, g := range out.Rules[0].Actions[0].ForwardConfig.TargetGroups {
		weights[*g.TargetGroupArn] = *g.Weight
	}
	return weights
}

// follow deploys and calls at with each line that is told.
func (s *shop) follow(config string, at func(line string)) (string, error) {
	s.Helper()
	r := newRun(fmt.Sprintf("run-%d", s.revisions("api")))
	r.story.on = at
	_, err := s.do(s.Context(), r, config)
	return r.story.String(), err
}

func (s *shop) tells(told string, want ...string) {
	s.Helper()
	rest := told
	for _, w := range want {
		i := strings.Index(rest, w)
		if i < 0 {
			s.Errorf("%q is not told, or not in its turn:\n%s", w, told)
			return
		}
		rest = rest[i+len(w):]
	}
}

// TestTheStagesOfADeploymentAreTold follows one service through a canary, a
// linear and a blue/green deployment, the last of which goes back.
func TestTheStagesOfADeploymentAreTold(t *testing.T) {
	t.Parallel()
	s := newShop(t, 0.04)
	s.mustDeploy(s.config("v1", shopServes, "strategy: blue_green"))
	seen := map[string]map[string]int32{}
	look := func(line string) {
		for _, part := range []string{"25% of the traffic", "50% of the traffic"} {
			if strings.Contains(line, part) {
				seen[part] = s.weights(s.production)
			}
		}
	}
	told, err := s.follow(s.config("v2", shopServes, "strategy: canary, step_percent: 25, step_bake_time: 2m, bake_time: 2m"), look)
	s.check(err)
	s.tells(told, "stage production traffic shift: 25% of the traffic goes to api:2, more in 2m0s", "stage bake time: 100% of the traffic goes to api:2, ", " left")
	if w := seen["25% of the traffic"]; w[s.blue] != 75 || w[s.green] != 25 {
		t.Errorf("at 25%% the rule's weights are %v", w)
	}
	if w := s.weights(s.production); w[s.green] != 100 {
		t.Errorf("at the end the rule's weights are %v", w)
	}

	told, err = s.follow(s.config("v3", shopServes, "strategy: linear, step_percent: 50, step_bake_time: 2m"), look)
	s.check(err)
	s.tells(told, "stage production traffic shift: 50% of the traffic goes to api:3, more in ")
	if w := seen["50% of the traffic"]; w[s.blue] != 50 || w[s.green] != 50 {
		t.Errorf("at 50%% the rule's weights are %v", w)
	}

	told, err = s.follow(s.config("v4", shopFails, "strategy: blue_green, bake_time: 1m"), nil)
	failed := s.wantOutcome(err, told, ecs.RolledBack)
	s.tells(told, "container api exited with 3", "| no such table: users", "asking service api to go back to api:3", "serving now: api:3 (1 of 1 running)")
	if !failed.TurnedBack() {
		t.Error("it is not told by the exit code")
	}
	if w := s.weights(s.production); w[s.blue] != 100 {
		t.Errorf("after going back the rule's weights are %v", w)
	}
}

const paused = "strategy: blue_green, hooks: [{targetType: PAUSE, lifecycleStages: [POST_TEST_TRAFFIC_SHIFT], timeoutConfiguration: {timeoutInMinutes: 60, action: ROLLBACK}}]"

// TestAPausedDeploymentGoesOnOrBackWhenItIsTold answers a PAUSE hook while
// test traffic goes to the new tasks, once with CONTINUE and once with ROLLBACK.
func TestAPausedDeploymentGoesOnOrBackWhenItIsTold(t *testing.T) {
	t.Parallel()
	s := newShop(t, 0)
	s.mustDeploy(s.config("v1", shopServes, "strategy: blue_green"))
	c := s.client()
	if _, err := c.Continue(t.Context(), "api", "", ecs.GoOn); err == nil || !strings.Contains(err.Error(), "service api is not being deployed") {
		t.Errorf("while nothing goes on: %v", err)
	}
	var weights map[string]int32
	var status ecs.Status
	answer := func(action ecs.Action) func(string) {
		return func(line string) {
			if !strings.HasPrefix(line, "paused by lifecycle hook ") {
				return
			}
			weights = s.weights(s.test)
			var err error
			if status, err = c.Status(t.Context(), "api"); err != nil {
				t.Error(err)
			}
			if _, err := c.Continue(t.Context(), "api", "another", action); err == nil || !strings.Contains(err.Error(), "is not paused by lifecycle hook another") {
				t.Errorf("a hook that is not there: %v", err)
			}
			if p, err := c.Continue(t.Context(), "api", "", action); err != nil || len(p.Hooks) != 1 {
				t.Errorf("%+v %v", p, err)
			}
		}
	}
	told, err := s.follow(s.config("v2", shopServes, paused), answer(ecs.GoBack))
	s.wantOutcome(err, told, ecs.RolledBack)
	s.tells(told, "100% of the test traffic goes to api:2", "`bake ecs continue --cluster prod --service api` goes on, with --rollback it goes back; at ", " it goes back by itself", "serving now: api:1 (1 of 1 running)")
	if weights[s.green] != 100 || s.weights(s.test)[s.blue] != 100 {
		t.Errorf("test traffic: %v while it was paused, %v after it went back", weights, s.weights(s.test))
	}
	if g := status.Stage; g == nil || g.Name != "post test traffic shift" || len(g.Hooks) != 1 || !g.Hooks[0].Pause || g.Production != 0 {
		t.Errorf("status while it was paused: %+v", g)
	}
	told, err = s.follow(s.config("v2", shopServes, paused), answer(ecs.GoOn))
	if err != nil {
		t.Fatalf("%v\n%s", err, told)
	}
	if w := s.weights(s.production); w[s.green] != 100 {
		t.Errorf("weights at the end: %v", w)
	}
}

// TestAStageThatIsInterruptedGoesBack interrupts a deployment at a hook.
func TestAStageThatIsInterruptedGoesBack(t *testing.T) {
	t.Parallel()
	s := newShop(t, 0)
	s.mustDeploy(s.config("v1", shopServes, "strategy: blue_green"))
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	r := newRun("interrupted")
	r.story.on = func(line string) {
		if strings.HasPrefix(line, "paused by lifecycle hook ") {
			cancel(interrupted)
		}
	}
	_, err := s.do(ctx, r, s.config("v2", shopServes, paused))
	s.wantOutcome(err, r.story.String(), ecs.Interrupted)
	if w := s.weights(s.test); w[s.blue] != 100 || !errors.Is(err, interrupted) {
		t.Errorf("%v, weights %v", err, w)
	}
}

// alarm makes an alarm, and sets its state.
func (w *world) alarm(name string, state cwtypes.StateValue) {
	w.Helper()
	cw := cloudwatch.NewFromConfig(sandboxtest.Config(w.sandbox, w.region))
	_, err := cw.PutMetricAlarm(w.Context(), &cloudwatch.PutMetricAlarmInput{AlarmName: &name, Namespace: aws.String("AWS/ApplicationELB"), MetricName: aws.String("HTTPCode_Target_5XX_Count"), Statistic: cwtypes.StatisticSum,
		Period: aws.Int32(60), EvaluationPeriods: aws.Int32(1), Threshold: aws.Float64(1), ComparisonOperator: cwtypes.ComparisonOperatorGreaterThanThreshold})
	w.check(err)
	_, err = cw.SetAlarmState(w.Context(), &cloudwatch.SetAlarmStateInput{AlarmName: &name, StateValue: state, StateReason: aws.String("as the test says")})
	w.check(err)
}

// TestAnAlarmRollsADeploymentBackAndIsNamed lets an alarm go off while the new
// tasks serve already, in a rolling deployment and in a bake time.
func TestAnAlarmRollsADeploymentBackAndIsNamed(t *testing.T) {
	t.Parallel()
	for name, deployment := range map[string]string{"rolling": "alarms: [errors, slow]", "blue/green": "strategy: blue_green, bake_time: 10m, alarms: [errors, slow]"} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, 0.05)
			s.alarm("errors", cwtypes.StateValueOk)
			s.alarm("slow", cwtypes.StateValueOk)
			first := "strategy: rolling"
			if name != "rolling" {
				first = "strategy: blue_green"
			}
			s.mustDeploy(s.config("v1", shopServes, first))
			rang := false
			told, err := s.follow(s.config("v2", shopServes, deployment), func(line string) {
				serves := strings.HasPrefix(line, "stage bake time") || strings.Contains(line, "api:2") && strings.Contains(line, "primary") && strings.Contains(line, "1 running")
				if !rang && serves {
					rang = true
					s.alarm("errors", cwtypes.StateValueAlarm)
				}
			})
			failed := s.wantOutcome(err, told, ecs.RolledBack)
			if !strings.Contains(failed.Reason, "alarm(s): errors.") || strings.Contains(failed.Reason, "slow") {
				t.Errorf("the reason is %q", failed.Reason)
			}
			s.tells(told, "serving now: api:1 (1 of 1 running)")
			// What is in alarm already would roll back at once: the preflight says so.
			if _, told, err := s.deploy(s.config("v3", shopServes, deployment)); err == nil || !strings.Contains(told+err.Error(), "it is in ALARM already") {
				t.Errorf("while the alarm is on: %v\n%s", err, told)
			}
		})
	}
}
