// Package amazon is bake's way to AWS: whose credentials, which endpoint, how
// calls are retried, waited for and explained. The packages below it are the
// kinds that templates use: ami, ecr, ecs and the smaller outputs.
package amazon

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
)

// Options says how AWS is reached. All may be left out.
type Options struct {
	// Endpoint is where every service answers instead of AWS: the sandbox's
	// URL. The user's own credentials and profiles are not used then.
	Endpoint string
	// Ask asks the user for an MFA code; nil: there is nobody to ask.
	Ask func(ctx context.Context, question string) (string, error)
	// CacheDir is where credentials that an MFA code was given for are kept
	// until they expire, as the AWS CLI keeps them, and how long waits took;
	// empty: nowhere.
	CacheDir string
	// Log is told of every call when it is over, for --debug; may be nil.
	Log func(service, action string, err error)
	// Waiting is told what calls wait for that are tried again: for AWS to be
	// reached, or to take more calls. It may be nil.
	Waiting func(text string)
}

// Cloud makes clients for AWS. It connects when it is used first, and makes one
// configuration for each Access, whose credentials renew themselves. Safe for
// concurrent use.
type Cloud struct {
	options Options

	durations *durations
	answered  atomic.Bool // some call was answered: AWS can be reached

	mu       sync.Mutex
	told     time.Time // when Options.Waiting was last told
	configs  map[string]*aws.Config
	accounts map[string]Caller
	watches  watches
	images   map[string]Fresh // that this process has just made, by id
	ended    map[string]bool  // instances that this process has terminated, by id
}

// New returns a Cloud that has not connected yet.
func New(o Options) *Cloud {
	d := &durations{}
	if o.CacheDir != "" {
		d.file = filepath.Join(o.CacheDir, "aws", "waits.json")
	}
	return &Cloud{options: o, durations: d, configs: map[string]*aws.Config{}, accounts: map[string]Caller{}, images: map[string]Fresh{}, ended: map[string]bool{}}
}

// Config returns the SDK's configuration for an access. Make clients from it:
// ec2.NewFromConfig(cfg). They share connections, credentials and retries.
func (c *Cloud) Config(ctx context.Context, a Access) (aws.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cfg := c.configs[a.key()]; cfg != nil {
		return *cfg, nil
	}
	cfg, err := c.load(ctx, a)
	if err != nil {
		return aws.Config{}, err
	}
	c.configs[a.key()] = &cfg
	return cfg, nil
}

// Region returns the region that an access means: its own, or the one that the
// profile or the environment names.
func (c *Cloud) Region(ctx context.Context, a Access) (string, error) {
	if a.Region != "" {
		return a.Region, nil
	}
	cfg, err := c.Config(ctx, a)
	return cfg.Region, err
}

// Endpoint is where every service answers an access instead of AWS: the
// sandbox's, or what AWS_ENDPOINT_URL and the profile say. Empty: AWS itself.
func (c *Cloud) Endpoint(ctx context.Context, a Access) (string, error) {
	cfg, err := c.Config(ctx, a)
	return aws.ToString(cfg.BaseEndpoint), err
}

func (c *Cloud) load(ctx context.Context, a Access) (aws.Config, error) {
	cfg, err := c.base(ctx, a)
	if err != nil {
		return cfg, explainConfig(a, err)
	}
	if cfg.Region == "" {
		return cfg, &Explained{Err: fmt.Errorf("no AWS region is set"), Cure: "write region: in the template, or set AWS_REGION"}
	}
	if c.options.Log != nil {
		cfg.APIOptions = append(cfg.APIOptions, c.logCalls)
	}
	for _, r := range a.Roles {
		cfg.Credentials = aws.NewCredentialsCache(c.assume(cfg, r))
	}
	return cfg, nil
}

// base is the configuration before any role is assumed.
func (c *Cloud) base(ctx context.Context, a Access) (aws.Config, error) {
	if c.options.Endpoint != "" {
		// Nothing of the user's own account is read but the region: neither
		// profiles nor credentials, of files or of the environment.
		return aws.Config{
			Region: cmp.Or(a.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), "us-east-1"), BaseEndpoint: &c.options.Endpoint, Retryer: c.newRetryer, AppID: appID, Logger: logging.Nop{},
			Credentials: credentials.NewStaticCredentialsProvider("sandbox", "sandbox", ""),
		}, nil
	}
	// The SDK's own warnings would stand in the middle of bake's display.
	opts := []func(*config.LoadOptions) error{config.WithRetryer(c.newRetryer), config.WithAppID(appID), config.WithLogger(logging.Nop{})}
	if a.Region != "" {
		opts = append(opts, config.WithRegion(a.Region))
	}
	if a.Profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(a.Profile))
	}
	return config.LoadDefaultConfig(ctx, append(opts, c.profileRoles()...)...)
}

// appID names bake in the user agent of its calls, which CloudTrail shows.
const appID = "bake"

// logCalls tells Options.Log of every call.
func (c *Cloud) logCalls(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("bake:log",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			out, meta, err := next.HandleInitialize(ctx, in)
			c.options.Log(middleware.GetServiceID(ctx), middleware.GetOperationName(ctx), err)
			return out, meta, err
		}), middleware.After)
}

// A Caller is who calls.
type Caller struct {
	Account string // twelve digits
	ARN     string // of the user or of the session of a role
}

// Caller returns who an access's calls come from (STS GetCallerIdentity),
// asked once.
func (c *Cloud) Caller(ctx context.Context, a Access) (Caller, error) {
	c.mu.Lock()
	known, ok := c.accounts[a.key()]
	c.mu.Unlock()
	if ok {
		return known, nil
	}
	cfg, err := c.Config(ctx, a)
	if err != nil {
		return Caller{}, err
	}
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil {
		return Caller{}, c.Explain(ctx, a, fmt.Errorf("asking AWS who calls: %w", err))
	}
	caller := Caller{Account: aws.ToString(out.Account), ARN: aws.ToString(out.Arn)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accounts[a.key()] = caller
	return caller, nil
}

// Account returns the account that an access's calls come from.
func (c *Cloud) Account(ctx context.Context, a Access) (string, error) {
	caller, err := c.Caller(ctx, a)
	return caller.Account, err
}
