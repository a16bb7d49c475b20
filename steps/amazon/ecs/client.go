package ecs

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"bake/internal/registry"
	"bake/steps/amazon"
)

// Deps is what the package needs.
type Deps struct {
	Cloud *amazon.Cloud
	// Registry resolves tags to digests and tells an image's platforms; nil:
	// images are taken as they are named.
	Registry *registry.Client
}

// A Story is what happens, as it is told to the user: a *builder.Scope is one.
type Story interface {
	// Log tells one line.
	Log(format string, args ...any)
	// Stdout is where the lines go that a task writes.
	Stdout() io.WriteCloser
}

// A Client works on one cluster, in one region, as one caller. It keeps what
// does not change: revisions are asked for once. Safe for concurrent use.
type Client struct {
	Cluster string // name or ARN
	deps    Deps
	access  amazon.Access
	cfg     aws.Config

	ecs     *awsecs.Client
	logs    *cloudwatchlogs.Client
	elb     *elb.Client
	alarms  *cloudwatch.Client
	iam     *iam.Client
	secrets *secretsmanager.Client
	ssm     *ssm.Client
	ec2     *ec2.Client
	scaling *applicationautoscaling.Client
	quotas  *servicequotas.Client

	mu        sync.Mutex
	revisions map[string]*types.TaskDefinition // by ARN
}

// Open returns a client for a cluster; empty: the cluster called default.
// Nothing is asked of AWS yet.
func Open(ctx context.Context, d Deps, a amazon.Access, cluster string) (*Client, error) {
	cfg, err := d.Cloud.Config(ctx, a)
	if err != nil {
		return nil, err
	}
	if cluster == "" {
		cluster = "default"
	}
	return &Client{
		Cluster: cluster, deps: d, access: a, cfg: cfg,
		ecs: awsecs.NewFromConfig(cfg), logs: cloudwatchlogs.NewFromConfig(cfg), elb: elb.NewFromConfig(cfg),
		alarms: cloudwatch.NewFromConfig(cfg), iam: iam.NewFromConfig(cfg), secrets: secretsmanager.NewFromConfig(cfg),
		ssm: ssm.NewFromConfig(cfg), ec2: ec2.NewFromConfig(cfg), scaling: applicationautoscaling.NewFromConfig(cfg),
		quotas: servicequotas.NewFromConfig(cfg), revisions: map[string]*types.TaskDefinition{},
	}, nil
}

// explain adds cause and cure to an error of AWS.
func (c *Client) explain(ctx context.Context, err error) error {
	return c.deps.Cloud.Explain(ctx, c.access, err)
}

// once is the option of a call that must not be sent twice without a look at
// what the first one did: it carries no client token.
func once(o *awsecs.Options) { o.Retryer = amazon.Once(o.Retryer) }

// revision returns a task definition by family, FAMILY:NUMBER or ARN
// (DescribeTaskDefinition); a family alone means its newest active revision.
func (c *Client) revision(ctx context.Context, name string) (*types.TaskDefinition, error) {
	c.mu.Lock()
	td := c.revisions[name]
	c.mu.Unlock()
	if td != nil {
		return td, nil
	}
	out, err := c.ecs.DescribeTaskDefinition(ctx, &awsecs.DescribeTaskDefinitionInput{TaskDefinition: &name})
	if err != nil {
		return nil, fmt.Errorf("task definition %s: %w", name, c.explain(ctx, err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revisions[aws.ToString(out.TaskDefinition.TaskDefinitionArn)] = out.TaskDefinition
	return out.TaskDefinition, nil
}

// short is the last part of an ARN: "api:42", "prod", "1a2b3c".
func short(arn string) string {
	if i := strings.LastIndexByte(arn, '/'); i >= 0 && strings.HasPrefix(arn, "arn:") {
		return arn[i+1:]
	}
	return arn
}
