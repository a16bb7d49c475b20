package ecs_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon/ecs"
	"bake/templates"
)

// quiet is a story that nobody reads.
type quiet struct{}

func (quiet) Log(string, ...any)     {}
func (quiet) Stdout() io.WriteCloser { return nopCloser{io.Discard} }

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// read reads an output as a template does.
func (w *world) read(config string) *ecs.Output {
	w.Helper()
	b, diags := templates.ReadBlock("bake.yaml", []byte(config))
	w.check(diags.Err())
	out := ecs.Outputs(w.deps)["ecs"]().(*ecs.Output)
	w.check(templates.Decode(b, out).Err())
	return out
}

// surroundings are what tasks need besides a cluster.
type surroundings struct{ subnet, secret, group, loose string }

func (w *world) surroundings() surroundings {
	w.Helper()
	cfg := sandboxtest.Config(w.sandbox, w.region)
	ctx := w.Context()
	subnets, err := ec2.NewFromConfig(cfg).DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	w.check(err)
	secret, err := secretsmanager.NewFromConfig(cfg).CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("api"), SecretString: aws.String(`{"password":"s3cret"}`)})
	w.check(err)
	_, err = ssm.NewFromConfig(cfg).PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String("/api/url"), Value: aws.String("postgres://"), Type: ssmtypes.ParameterTypeSecureString})
	w.check(err)
	_, err = iam.NewFromConfig(cfg).CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("lambda"), AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":["lambda.amazonaws.com"]},"Action":"sts:AssumeRole"}}`)})
	w.check(err)
	s := surroundings{subnet: *subnets.Subnets[0].SubnetId, secret: *secret.ARN}
	balancers := elb.NewFromConfig(cfg)
	for name, arn := range map[string]*string{"api": &s.group, "loose": &s.loose} {
		made, err := balancers.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{Name: aws.String(name), Protocol: elbtypes.ProtocolEnumHttp, Port: aws.Int32(8080), TargetType: elbtypes.TargetTypeEnumIp, VpcId: subnets.Subnets[0].VpcId,
			HealthCheckIntervalSeconds: aws.Int32(5), HealthCheckTimeoutSeconds: aws.Int32(2), HealthyThresholdCount: aws.Int32(2)})
		w.check(err)
		*arn = *made.TargetGroups[0].TargetGroupArn
	}
	lb, err := balancers.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: aws.String("web"), Subnets: []string{s.subnet, *subnets.Subnets[1].SubnetId}})
	w.check(err)
	_, err = balancers.CreateListener(ctx, &elb.CreateListenerInput{LoadBalancerArn: lb.LoadBalancers[0].LoadBalancerArn, Port: aws.Int32(80), Protocol: elbtypes.ProtocolEnumHttp,
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &s.group}}})
	w.check(err)
	return s
}

// TestThePreflightFindsWhatWouldNotWork breaks one thing at a time
// (ecspresso verify, and what it does not look at: subnets, quotas, alarms).
func TestThePreflightFindsWhatWouldNotWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.surroundings()
	image := w.push("v1", good)
	whole := strings.NewReplacer("subnet-1", s.subnet, "verify: {skip: [network]}\n", "", "- name: api\n", "- name: api\n      portMappings: [{containerPort: 8080}]\n").Replace(
		w.output(image, fmt.Sprintf("secrets: {PASSWORD: '%s:password::', URL: /api/url}\nload_balancers: [{target_group: '%s', port: 8080}]\nhealth_check_grace_period: 5s\n", s.secret, s.group)))
	checks, err := w.read(whole).Verify(t.Context(), quiet{}, nil)
	w.check(err)
	kinds := map[string]int{}
	for _, c := range checks {
		kinds[c.Kind]++
		if c.Result == ecs.NG {
			t.Errorf("%+v", c)
		}
	}
	for _, kind := range []string{"cluster", "roles", "image", "secrets", "logs", "load_balancers", "network", "quotas"} {
		if kinds[kind] == 0 {
			t.Errorf("nothing was looked at of %s", kind)
		}
	}
	for _, c := range []struct{ name, old, now, kind, reason string }{
		{"cluster", "cluster: prod", "cluster: prd", "cluster", "there is no cluster prd"},
		{"execution role", "executionRoleArn: exec", "executionRoleArn: nobody", "roles", "there is no such role"},
		{"no execution role", "  executionRoleArn: exec\n", "", "roles", "the task definition has none, but container api has secrets"},
		{"trust", "executionRoleArn: exec", "executionRoleArn: exec\n  taskRoleArn: lambda", "roles", "ECS tasks may not assume it"},
		{"image", "/api:v1", "/api:v9", "image", "it is not in the registry"},
		{"log group", "awslogs-group: /ecs/api", "awslogs-group: /ecs/other", "logs", "there is no such log group"},
		{"secret's key", ":password::", ":passwort::", "secrets", "it has no key passwort"},
		{"secret", ":secret:api-", ":secret:ape-", "secrets", "there is no such secret"},
		{"parameter", "/api/url", "/api/uri", "secrets", "there is no such secret or parameter"},
		{"target group without a load balancer", s.group, s.loose, "load_balancers", "no load balancer uses it"},
		{"port", ", port: 8080}", ", port: 8081}", "load_balancers", "container api does not open port 8081"},
		{"subnet", s.subnet, "subnet-0123456789abcdef0", "network", "subnet"},
		{"no network", "network: {subnets: [" + s.subnet + "]}\n", "", "network", "awsvpc tasks need subnets"},
		{"size", `memory: "512"`, `memory: "100"`, "service", "Fargate tasks with 256 CPU units have 512 to 2048 MiB of memory, not 100"},
		{"network mode", "networkMode: awsvpc", "networkMode: bridge", "service", "Fargate tasks must be awsvpc"},
		{"host port", "{containerPort: 8080}", "{containerPort: 8080, hostPort: 80}", "service", "host port 80 must be 8080"},
		{"grace period", "load_balancers: [{target_group: '" + s.group + "', port: 8080}]\n", "", "service", "a grace period needs a load balancer"},
		{"instances", "launch_type: FARGATE", "launch_type: EC2", "cluster", "it has no instances"},
		{"capacity provider", "launch_type: FARGATE", "capacity_providers: [gpu]", "cluster", "cluster prod does not have it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(whole, c.old) {
				t.Fatalf("there is no %q to break", c.old)
			}
			w.wantNG(t, strings.ReplaceAll(whole, c.old, c.now), c.kind, c.reason)
		})
	}
	_, told, err := w.deploy(strings.Replace(whole, "executionRoleArn: exec", "executionRoleArn: nobody", 1))
	if _, ok := errors.AsType[*ecs.VerifyError](err); !ok || !strings.Contains(err.Error(), "nothing was changed") || w.revisions("api") != 0 {
		t.Errorf("a deployment that could not work was begun: %v\n%s", err, told)
	}
}

func (w *world) wantNG(t *testing.T, config, kind, reason string) {
	t.Helper()
	checks, err := w.read(config).Verify(t.Context(), quiet{}, nil)
	if err != nil { // the cluster itself
		if !strings.Contains(err.Error(), reason) {
			t.Errorf("%v, want %s", err, reason)
		}
		return
	}
	var wrong []string
	for _, c := range checks {
		if c.Result == ecs.NG {
			wrong = append(wrong, fmt.Sprintf("%s %s: %s", c.Kind, c.Subject, c.Reason))
			if c.Kind == kind && strings.Contains(c.Subject+" "+c.Reason, reason) {
				return
			}
		}
	}
	t.Errorf("found %q, want %s: %s", wrong, kind, reason)
}

// TestImagesWithoutATagAndByDigestAreFound: ecspresso 371, 908.
func TestImagesWithoutATagAndByDigestAreFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("latest", good)
	p := w.mustDeploy(w.output(w.registry+"/api", "wait: 0s\n"))
	if !strings.Contains(p.Values["image"], "/api@sha256:") {
		t.Errorf("without a tag: %s", p.Values["image"])
	}
	for _, image := range []string{w.registry + "/api", p.Values["image"]} {
		checks, err := w.read(w.output(image, "")).Verify(t.Context(), quiet{}, nil)
		w.check(err)
		found := false
		for _, c := range checks {
			if c.Result == ecs.NG {
				t.Errorf("%s: %+v", image, c)
			}
			found = found || c.Kind == "image" && c.Result == ecs.OK
		}
		if !found {
			t.Errorf("%s was not looked for: %+v", image, checks)
		}
	}
	absent := strings.Split(p.Values["image"], "@")[0] + "@sha256:" + strings.Repeat("0", 64)
	checks, err := w.read(w.output(absent, "")).Verify(t.Context(), quiet{}, nil)
	w.check(err)
	for _, c := range checks {
		if c.Kind == "image" && c.Result != ecs.NG {
			t.Errorf("a digest that is not there: %+v", c)
		}
	}
}
