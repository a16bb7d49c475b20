package ecs

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-cmp/cmp"

	"bake/templates"
)

// wants reads the service's part of a template.
func wants(t *testing.T, text string) *wanted {
	t.Helper()
	b, diags := templates.ReadBlock("bake.yaml", []byte("service: api\n"+text))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	var o Output
	if err := templates.Decode(b, &o).Err(); err != nil {
		t.Fatal(err)
	}
	raw, diags := o.raw()
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	return &wanted{ServiceFields: o.ServiceFields, rawFields: raw, Container: "api"}
}

// asAWSReturns is a service with all that AWS fills in.
func asAWSReturns() *types.Service {
	return &types.Service{
		ServiceName: aws.String("api"), ServiceArn: aws.String("arn:aws:ecs:eu-west-1:1:service/prod/api"), ClusterArn: aws.String("arn:aws:ecs:eu-west-1:1:cluster/prod"),
		TaskDefinition: aws.String(oldRevision), DesiredCount: 3, LaunchType: types.LaunchTypeFargate, PlatformVersion: aws.String("LATEST"), PlatformFamily: aws.String("Linux"),
		SchedulingStrategy: types.SchedulingStrategyReplica, PropagateTags: types.PropagateTagsNone, EnableECSManagedTags: true, HealthCheckGracePeriodSeconds: aws.Int32(0),
		AvailabilityZoneRebalancing: types.AvailabilityZoneRebalancingEnabled,
		DeploymentController:        &types.DeploymentController{Type: types.DeploymentControllerTypeEcs},
		DeploymentConfiguration: &types.DeploymentConfiguration{
			DeploymentCircuitBreaker: &types.DeploymentCircuitBreaker{Enable: true, Rollback: true, ResetOnHealthyTask: aws.Bool(true), ThresholdConfiguration: &types.ThresholdConfiguration{Type: types.ThresholdTypeBoundedPercent, Value: 50}},
			MaximumPercent:           aws.Int32(200), MinimumHealthyPercent: aws.Int32(100), Strategy: types.DeploymentStrategyRolling, BakeTimeInMinutes: aws.Int32(0),
		},
		NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{"subnet-2", "subnet-1"}, SecurityGroups: []string{"sg-1"}, AssignPublicIp: types.AssignPublicIpDisabled}},
		LoadBalancers:        []types.LoadBalancer{{TargetGroupArn: aws.String("arn:tg"), ContainerName: aws.String("api"), ContainerPort: aws.Int32(8080)}},
		Deployments:          []types.Deployment{{Id: aws.String("ecs-svc/1"), Status: aws.String("PRIMARY"), TaskDefinition: aws.String(oldRevision)}},
	}
}

func TestAServiceThatIsAsTheTemplateSaysIsNotTouched(t *testing.T) {
	for _, text := range []string{
		"",
		"desired_count: 3\nlaunch_type: FARGATE\nplatform_version: LATEST\n",
		"network: {subnets: [subnet-1, subnet-2], security_groups: [sg-1], public_ip: false}\n",
		"network: {subnets: [subnet-1, subnet-2]}\n",
		"load_balancers: [{target_group: 'arn:tg', port: 8080}]\nhealth_check_grace_period: 0s\n",
		"deployment: {circuit_breaker: true, minimum_percent: 100, maximum_percent: 200, strategy: rolling}\n",
		"deployment: {circuit_breaker: {percent: 50}}\n",
		"execute_command: false\nmanaged_tags: true\npropagate_tags: NONE\naz_rebalancing: true\n",
	} {
		if u := wants(t, text).update(asAWSReturns(), oldRevision, false); len(u.Changes) > 0 {
			t.Errorf("%q: %+v", text, u.Changes)
		}
	}
}

func TestOnlyWhatDiffersIsSent(t *testing.T) {
	w := wants(t, "desired_count: 5\nnetwork: {subnets: [subnet-3]}\nhealth_check_grace_period: 30s\ndeployment: {maximum_percent: 150}\nexecute_command: true\n")
	u := w.update(asAWSReturns(), newRevision, false)
	var b strings.Builder
	if err := WriteDifferences(&b, u.Changes); err != nil {
		t.Fatal(err)
	}
	want := `~ taskDefinition: ` + oldRevision + ` -> ` + newRevision + `
~ desiredCount: 3 -> 5
~ networkConfiguration.awsvpcConfiguration.subnets: ["subnet-1","subnet-2"] -> ["subnet-3"]
~ deploymentConfiguration.maximumPercent: 200 -> 150
~ healthCheckGracePeriodSeconds: 0 -> 30
~ enableExecuteCommand: false -> true
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	if g := u.In.NetworkConfiguration.AwsvpcConfiguration.SecurityGroups; len(g) != 1 || g[0] != "sg-1" {
		t.Errorf("the security groups that are not named became %v", g)
	}
	if c := u.In.DeploymentConfiguration; !c.DeploymentCircuitBreaker.Enable || *c.MinimumHealthyPercent != 100 {
		t.Errorf("what is not named of the deployment became %+v", c)
	}
	if u.In.LoadBalancers != nil || u.In.PlatformVersion != nil || u.In.PropagateTags != "" {
		t.Errorf("it sends what does not differ: %+v", u.In)
	}
	if u := w.update(asAWSReturns(), oldRevision, true); u.In.DesiredCount != nil {
		t.Error("the number of a service that scales by itself is set")
	}
}

// TestGoingBackIsOnUnlessItIsTurnedOff: silinternational 224, and what bake
// turns on for a new revision of an old service.
func TestGoingBackIsOnUnlessItIsTurnedOff(t *testing.T) {
	bare := asAWSReturns()
	bare.DeploymentConfiguration.DeploymentCircuitBreaker = &types.DeploymentCircuitBreaker{}
	for _, c := range []struct {
		name, text     string
		enable, goBack bool
	}{
		{"by default", "", true, true},
		{"off", "deployment: {circuit_breaker: false}\n", false, false},
		{"without going back", "deployment: {circuit_breaker: {rollback: false}}\n", true, false},
	} {
		w := wants(t, c.text)
		made := w.creation("api", "prod", newRevision).DeploymentConfiguration.DeploymentCircuitBreaker
		if made.Enable != c.enable || made.Rollback != c.goBack {
			t.Errorf("%s, made: %+v", c.name, made)
		}
		b := w.deployment(bare.DeploymentConfiguration).DeploymentCircuitBreaker
		if b.Enable != c.enable || b.Rollback != c.goBack {
			t.Errorf("%s, updated: %+v", c.name, b)
		}
	}
	if u := wants(t, "").update(bare, oldRevision, false); len(u.Changes) > 0 {
		t.Errorf("a service that only is looked at gets %+v", u.Changes)
	}
}

func TestStrategiesAreSentAsAWSHasThem(t *testing.T) {
	balancer := "load_balancers: [{target_group: 'arn:blue', port: 80, alternate_target_group: 'arn:green', production_rule: 'arn:rule', role: 'arn:role'}]\n"
	percent := func(p float64) *float64 { return &p }
	for _, c := range []struct {
		text string
		want types.DeploymentConfiguration
	}{
		{"deployment: {strategy: blue_green, bake_time: 5m}\n", types.DeploymentConfiguration{Strategy: types.DeploymentStrategyBlueGreen, BakeTimeInMinutes: aws.Int32(5)}},
		{"deployment: {strategy: canary, step_percent: 5, step_bake_time: 90s, bake_time: 1m}\n", types.DeploymentConfiguration{Strategy: types.DeploymentStrategyCanary, BakeTimeInMinutes: aws.Int32(1),
			CanaryConfiguration: &types.CanaryConfiguration{CanaryPercent: percent(5), CanaryBakeTimeInMinutes: aws.Int32(2)}}},
		{"deployment: {strategy: linear, step_percent: 25, step_bake_time: 3m, alarms: [errors]}\n", types.DeploymentConfiguration{Strategy: types.DeploymentStrategyLinear,
			LinearConfiguration: &types.LinearConfiguration{StepPercent: percent(25), StepBakeTimeInMinutes: aws.Int32(3)},
			Alarms:              &types.DeploymentAlarms{AlarmNames: []string{"errors"}, Enable: true, Rollback: true}}},
	} {
		in := wants(t, balancer+c.text).creation("api", "prod", newRevision)
		if diff := cmp.Diff(tree(c.want), tree(*in.DeploymentConfiguration)); diff != "" {
			t.Errorf("%s: %s", c.text, diff)
		}
		if a := in.LoadBalancers[0].AdvancedConfiguration; a == nil || *a.AlternateTargetGroupArn != "arn:green" || *a.ProductionListenerRule != "arn:rule" || *a.RoleArn != "arn:role" {
			t.Errorf("%s: load balancer %+v", c.text, a)
		}
	}
}

func TestMistakesInAServiceHavePlaces(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"launch_type: FARGATE\ncapacity_providers: [FARGATE]\n", "bake.yaml:2:1: a service has a launch type or capacity providers, not both"},
		{"scheduling: DAEMON\ndesired_count: 2\n", "bake.yaml:3:1: a DAEMON service runs one task on each instance"},
		{"deployment: {bake_time: 5m}\n", "a rolling deployment has no bake time"},
		{"load_balancers: [{target_group: 'arn:a', port: 80}]\ndeployment: {strategy: canary}\n", "canary moves traffic between two target groups"},
		{"deployment: {strategy: blue}\n", "strategy"},
		{"service_connect: {enabled: true, servcies: []}\n", `unknown key "servcies"`},
		{"revision: good\nimage: api:1\n", `"revision" does not go together with an image`},
		{"task_definition: {family: api}\n", "the task definition has no containers"},
		{"task_definition: missing.json\n", `reading "missing.json"`},
	} {
		b, diags := templates.ReadBlock("bake.yaml", []byte("service: api\n"+c.text))
		if err := diags.Err(); err != nil {
			t.Fatal(err)
		}
		err := templates.Decode(b, new(Output)).Err()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
	}
}

func TestTheImageOfTheOutputBeforeIsTaken(t *testing.T) {
	pushed := map[string]map[string]string{
		"ecr":     {"ref": "1.dkr.ecr.us-east-1.amazonaws.com/api@sha256:1"},
		"ecr api": {"ref": "1.dkr.ecr.eu-west-1.amazonaws.com/api@sha256:1"},
	}
	for _, c := range []struct {
		out  Output
		from map[string]map[string]string
		want string
	}{
		{Output{}, nil, ""},
		{Output{Image: "api:1"}, pushed, "api:1"},
		{Output{}, pushed, "1.dkr.ecr.eu-west-1.amazonaws.com/api@sha256:1"},
		{Output{}, map[string]map[string]string{"registry": {"ref": "127.0.0.1:5000/api@sha256:2"}}, "127.0.0.1:5000/api@sha256:2"},
		{Output{Container: "api", Images: map[string]string{"api": "api:2"}}, pushed, ""},
	} {
		if got := c.out.image(c.from, "eu-west-1"); got != c.want {
			t.Errorf("%+v: %q, want %q", c.out.Image, got, c.want)
		}
	}
}

func TestTrustPoliciesAreRead(t *testing.T) {
	for policy, want := range map[string]bool{
		`{"Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`:                                                                                                 true,
		`%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22Service%22%3A%5B%22ec2.amazonaws.com%22%2C%22ecs-tasks.amazonaws.com%22%5D%7D%2C%22Action%22%3A%5B%22sts%3AAssumeRole%22%5D%7D%7D`: true,
		`{"Statement":[{"Effect":"Allow","Principal":{"Service":"ecs.amazonaws.com"},"Action":"sts:AssumeRole"}]}`:                                                                                                       false,
		`{"Statement":[{"Effect":"Deny","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`:                                                                                                  false,
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}]}`:                                                                                                                                   false,
	} {
		if got := trusts(policy, "ecs-tasks.amazonaws.com"); got != want {
			t.Errorf("%s: %v", policy, got)
		}
	}
}
