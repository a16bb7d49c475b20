// Package amazon is bake's way to AWS: whose credentials, which endpoint, how
// calls are retried, waited for and explained. The packages below it are the
// kinds that templates use: ami, ecr, ecs and the smaller outputs.
package amazon

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Options says how AWS is reached. All may be left out.
type Options struct {
	// Endpoint is where every service answers instead of AWS: the sandbox's URL.
	Endpoint string
	// Ask asks the user for an MFA code; nil: there is nobody to ask.
	Ask func(ctx context.Context, question string) (string, error)
	// Log is told of every call, for --debug; may be nil.
	Log func(service, action string, err error)
}

// Cloud makes clients for AWS. It connects when it is used first, and makes one
// configuration for each Access, whose credentials renew themselves. Safe for
// concurrent use.
type Cloud struct {
	options Options

	mu      sync.Mutex
	configs map[string]*aws.Config
}

// New returns a Cloud that has not connected yet.
func New(o Options) *Cloud { return &Cloud{options: o, configs: map[string]*aws.Config{}} }

// Config returns the SDK's configuration for an access. Make clients from it:
// ec2.NewFromConfig(cfg). They share connections, credentials and retries.
func (c *Cloud) Config(ctx context.Context, a Access) (aws.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cfg := c.configs[a.Where()]; cfg != nil {
		return *cfg, nil
	}
	cfg, err := c.load(ctx, a)
	if err != nil {
		return aws.Config{}, err
	}
	c.configs[a.Where()] = &cfg
	return cfg, nil
}

func (c *Cloud) load(ctx context.Context, a Access) (aws.Config, error) {
	var opts []func(*config.LoadOptions) error
	if a.Region != "" {
		opts = append(opts, config.WithRegion(a.Region))
	}
	if a.Profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(a.Profile))
	}
	if c.options.Endpoint != "" {
		opts = append(opts, config.WithBaseEndpoint(c.options.Endpoint))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return cfg, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return cfg, fmt.Errorf("no AWS region is set: write region: in the template, or set AWS_REGION")
	}
	for _, r := range a.Roles {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), r.ARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "bake"
			if r.ExternalID != "" {
				o.ExternalID = &r.ExternalID
			}
		}))
	}
	return cfg, nil
}
