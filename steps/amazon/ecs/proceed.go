package ecs

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/steps/amazon"
)

// serviceDeployment is the deployment that a service is in
// (DescribeServiceDeployments); nil if there is none.
func (c *Client) serviceDeployment(ctx context.Context, s *types.Service) (*types.ServiceDeployment, error) {
	arn := aws.ToString(s.CurrentServiceDeployment)
	if arn == "" {
		return nil, nil
	}
	out, err := c.ecs.DescribeServiceDeployments(ctx, &awsecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: []string{arn}})
	if err != nil {
		return nil, fmt.Errorf("deployment %s of service %s: %w", short(arn), aws.ToString(s.ServiceName), c.explain(ctx, err))
	}
	if len(out.ServiceDeployments) == 0 {
		return nil, nil
	}
	return &out.ServiceDeployments[0], nil
}

// mustServiceDeployment is serviceDeployment for one that has to be there.
func (c *Client) mustServiceDeployment(ctx context.Context, service string) (*types.ServiceDeployment, error) {
	s, err := c.mustService(ctx, service)
	if err != nil {
		return nil, err
	}
	d, err := c.serviceDeployment(ctx, s)
	if err == nil && d == nil {
		err = &missingError{what: fmt.Sprintf("service %s is not being deployed", service), hint: "`bake ecs status` shows how it stands"}
	}
	return d, err
}

// An Action is what a deployment that goes on is told to do.
type Action string

// The actions. Abort leaves the service as it is at that moment.
const (
	GoOn   Action = "CONTINUE"
	GoBack Action = "ROLLBACK"
	Abort  Action = "ABORT"
)

// A Proceeding is a deployment that was told how to go on.
type Proceeding struct {
	Service    string   `json:"service"`
	Deployment string   `json:"deployment"` // ARN
	Stage      string   `json:"stage,omitempty"`
	Hooks      []string `json:"hooks,omitempty"` // ids
	Action     Action   `json:"action"`
}

// Continue answers the PAUSE hooks that hold up a service's deployment, or the
// one with an id: it does GoOn or GoBack (ContinueServiceDeployment).
func (c *Client) Continue(ctx context.Context, service, hook string, action Action) (Proceeding, error) {
	d, err := c.mustServiceDeployment(ctx, service)
	if err != nil {
		return Proceeding{}, err
	}
	stage := stageOf(d)
	p := Proceeding{Service: service, Deployment: aws.ToString(d.ServiceDeploymentArn), Stage: stage.Name, Action: action}
	for _, h := range stage.Hooks {
		if !h.Pause || hook != "" && h.ID != hook {
			continue
		}
		if err := c.answer(ctx, p.Deployment, h.ID, action); err != nil {
			return p, fmt.Errorf("lifecycle hook %s of service %s: %w", h.ID, service, c.explain(ctx, err))
		}
		p.Hooks = append(p.Hooks, h.ID)
		if action == GoBack {
			break // the others are void then
		}
	}
	if len(p.Hooks) == 0 {
		what := fmt.Sprintf("deployment %s of service %s is not paused", short(p.Deployment), service)
		if hook != "" {
			what += " by lifecycle hook " + hook
		}
		if stage.Name != "" {
			what += ": its stage is " + stage.Name
		}
		return p, &missingError{what: what, hint: "`bake ecs wait` follows it, `bake ecs stop` ends it"}
	}
	return p, nil
}

// answer tells one hook. A second try of a call whose answer was lost is
// refused: then a look tells whether the first was carried out.
func (c *Client) answer(ctx context.Context, deployment, hook string, action Action) error {
	const attempts = 5
	for n := 1; ; n++ {
		_, err := c.ecs.ContinueServiceDeployment(ctx, &awsecs.ContinueServiceDeploymentInput{ServiceDeploymentArn: &deployment, HookId: &hook, Action: types.DeploymentLifecycleHookAction(action)}, once)
		if err == nil || n == attempts || ctx.Err() != nil || !amazon.IsUnsure(err) {
			return err
		}
		pause(ctx, n)
		out, lookErr := c.ecs.DescribeServiceDeployments(ctx, &awsecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: []string{deployment}})
		if lookErr != nil || len(out.ServiceDeployments) == 0 {
			continue
		}
		waits := false
		for _, h := range stageOf(&out.ServiceDeployments[0]).Hooks {
			waits = waits || h.ID == hook
		}
		if !waits {
			return nil
		}
	}
}

// StopDeployment ends the deployment that a service is in with GoBack or Abort
// (StopServiceDeployment).
func (c *Client) StopDeployment(ctx context.Context, service string, action Action) (Proceeding, error) {
	d, err := c.mustServiceDeployment(ctx, service)
	if err != nil {
		return Proceeding{}, err
	}
	p := Proceeding{Service: service, Deployment: aws.ToString(d.ServiceDeploymentArn), Stage: stageOf(d).Name, Action: action}
	if strings.HasPrefix(string(d.Status), "ROLLBACK") || d.Status == types.ServiceDeploymentStatusStopRequested {
		return p, nil // it is at it already
	}
	_, err = c.ecs.StopServiceDeployment(ctx, &awsecs.StopServiceDeploymentInput{ServiceDeploymentArn: d.ServiceDeploymentArn, StopType: types.StopServiceDeploymentStopType(action)})
	if amazon.IsCode(err, "ConflictException") { // it is over, or goes back already: an answer was lost, or it did so by itself
		out, lookErr := c.ecs.DescribeServiceDeployments(ctx, &awsecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: []string{p.Deployment}})
		if lookErr == nil && len(out.ServiceDeployments) > 0 && out.ServiceDeployments[0].Status != types.ServiceDeploymentStatusSuccessful {
			return p, nil
		}
	}
	if err != nil {
		return p, fmt.Errorf("stopping deployment %s of service %s: %w", short(p.Deployment), service, c.explain(ctx, err))
	}
	return p, nil
}
