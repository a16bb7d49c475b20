package ecs_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"bake/internal/sandbox/ecs"
)

// group makes a target group of addresses.
func (w *world) group(name string) string {
	w.t.Helper()
	g, err := w.elb.CreateTargetGroup(w.t.Context(), &elbv2.CreateTargetGroupInput{Name: &name, Protocol: elbtypes.ProtocolEnumHttp, Port: aws.Int32(80), VpcId: aws.String("vpc-1"),
		TargetType: elbtypes.TargetTypeEnumIp, HealthCheckPath: aws.String("/index.html"), HealthCheckIntervalSeconds: aws.Int32(5), HealthCheckTimeoutSeconds: aws.Int32(2)})
	w.check(err)
	return *g.TargetGroups[0].TargetGroupArn
}

// balance makes a load balancer before the groups, the first of which gets all
// requests, and returns its URL and the ARN of its rule.
func (w *world) balance(groups ...string) (url, rule string) {
	w.t.Helper()
	b, err := w.elb.CreateLoadBalancer(w.t.Context(), &elbv2.CreateLoadBalancerInput{Name: aws.String("web"), Subnets: []string{"subnet-1", "subnet-2"}})
	w.check(err)
	var f elbtypes.ForwardActionConfig
	for i, arn := range groups {
		f.TargetGroups = append(f.TargetGroups, elbtypes.TargetGroupTuple{TargetGroupArn: &arn, Weight: aws.Int32(int32(map[bool]int{true: 100}[i == 0]))})
	}
	l, err := w.elb.CreateListener(w.t.Context(), &elbv2.CreateListenerInput{LoadBalancerArn: b.LoadBalancers[0].LoadBalancerArn, Port: aws.Int32(8080), Protocol: elbtypes.ProtocolEnumHttp,
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, ForwardConfig: &f}}})
	w.check(err)
	rules, err := w.elb.DescribeRules(w.t.Context(), &elbv2.DescribeRulesInput{ListenerArn: l.Listeners[0].ListenerArn})
	w.check(err)
	return "http://" + *b.LoadBalancers[0].DNSName + ":8080/index.html", *rules.Rules[0].RuleArn
}

// page is a definition of a web server that says a word; it answers 404 to the
// health check if the word is empty.
func (w *world) pageDefinition(word string) string {
	w.t.Helper()
	script := web
	if word == "" {
		script = "mkdir -p /www; exec httpd -f -p $PORT -h /www"
	}
	return w.define("web", w.push("page", "sh", "-c", script), func(in *sdk.RegisterTaskDefinitionInput) {
		in.ContainerDefinitions[0].Environment = env("PORT", "8000", "PAGE", word)
		in.ContainerDefinitions[0].PortMappings = []types.PortMapping{{ContainerPort: aws.Int32(8000)}}
	})
}

func (w *world) update(td string, change func(*sdk.UpdateServiceInput)) {
	w.t.Helper()
	in := &sdk.UpdateServiceInput{Cluster: aws.String("prod"), Service: aws.String("web"), TaskDefinition: &td}
	if change != nil {
		change(in)
	}
	_, err := w.ecs.UpdateService(w.t.Context(), in)
	w.check(err)
}

func TestAServiceBehindALoadBalancerIsJudgedByItsTargetsHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ecs.Deps{})
	w.cluster()
	group := w.group("web")
	_, err := w.ecs.CreateService(t.Context(), &sdk.CreateServiceInput{Cluster: aws.String("prod"), ServiceName: aws.String("web"), TaskDefinition: aws.String(w.pageDefinition("one")), LaunchType: types.LaunchTypeFargate,
		NetworkConfiguration: vpc(), LoadBalancers: []types.LoadBalancer{{TargetGroupArn: &group, ContainerName: aws.String("app"), ContainerPort: aws.Int32(8000)}}})
	if err == nil || !strings.Contains(err.Error(), "does not have an associated load balancer") {
		t.Errorf("a group without a load balancer: %v", err)
	}
	url, _ := w.balance(group)
	w.serve("web", w.pageDefinition("one"), 2, func(in *sdk.CreateServiceInput) {
		in.LoadBalancers = []types.LoadBalancer{{TargetGroupArn: &group, ContainerName: aws.String("app"), ContainerPort: aws.Int32(8000)}}
	})
	if d := w.deployed("web"); d.Status != types.ServiceDeploymentStatusSuccessful {
		t.Fatalf("first deployment: %s", d.Status)
	}
	if got := w.page(url); !strings.HasPrefix(got, "one ") {
		t.Errorf("through the load balancer: %q", got)
	}
	w.update(w.pageDefinition("two"), nil)
	if d := w.deployed("web"); d.Status != types.ServiceDeploymentStatusSuccessful {
		t.Fatalf("second deployment: %s", d.Status)
	}
	if got := w.page(url); !strings.HasPrefix(got, "two ") {
		t.Errorf("through the load balancer after the update: %q", got)
	}
	w.update(w.pageDefinition(""), nil)
	if d := w.deployed("web"); d.Status != types.ServiceDeploymentStatusRollbackSuccessful {
		t.Errorf("third deployment: %s", d.Status)
	}
	if got := w.page(url); !strings.HasPrefix(got, "two ") {
		t.Errorf("after the roll back: %q", got)
	}
	events := w.events("web")
	for _, want := range []string{"registered 1 targets in (target-group ", "deregistered 1 targets in (target-group ", "has begun draining connections on 1 tasks.",
		"is unhealthy in (target-group " + group + ") due to (reason Health checks failed with these codes: [404])"} {
		if !strings.Contains(events, want) {
			t.Errorf("no event %q in:\n%s", want, events)
		}
	}
}
