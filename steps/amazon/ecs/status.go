package ecs

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
)

// A Status is how a service stands.
type Status struct {
	Cluster     string    `json:"cluster"`
	Service     string    `json:"service"`
	Status      string    `json:"status"`
	Revision    string    `json:"revision"`
	Good        string    `json:"good,omitempty"` // last revision that bake deployed successfully
	Desired     int32     `json:"desired"`
	Running     int32     `json:"running"`
	Pending     int32     `json:"pending"`
	Launch      string    `json:"launch_type,omitempty"`
	Deployments []row     `json:"deployments"`
	Stage       *Stage    `json:"stage,omitempty"` // of a deployment that moves traffic
	Serving     []Serving `json:"serving"`
	Targets     []Health  `json:"targets,omitempty"`
	Events      []Event   `json:"events,omitempty"` // newest first
}

// An Event is something that a service said.
type Event struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// Health is what a load balancer thinks of one task.
type Health struct {
	TargetGroup string `json:"target_group"`
	Target      string `json:"target"` // ADDRESS:PORT, or INSTANCE:PORT
	State       string `json:"state"`
	Reason      string `json:"reason,omitempty"`
}

// Status asks how a service stands.
func (c *Client) Status(ctx context.Context, service string) (Status, error) {
	s, err := c.mustService(ctx, service)
	if err != nil {
		return Status{}, err
	}
	out := c.statusOf(s)
	out.Serving = servingOf(s, func(revision string) map[string]string { return c.imagesOf(ctx, revision) })
	if d, err := c.serviceDeployment(ctx, s); err != nil && !mayNotAsk(err) {
		return out, err
	} else if d != nil && d.LifecycleStage != "" {
		at := time.Now()
		stage := stageOf(d)
		stage.waits(d, cmp.Or(aws.ToTime(d.UpdatedAt), at), at)
		out.Stage = &stage
	}
	out.Targets, err = c.health(ctx, groupsOf(s)...)
	if err != nil && mayNotAsk(err) {
		err = nil
	}
	return out, err
}

func (c *Client) statusOf(s *types.Service) Status {
	out := Status{Cluster: short(aws.ToString(s.ClusterArn)), Service: aws.ToString(s.ServiceName), Status: aws.ToString(s.Status),
		Revision: short(aws.ToString(s.TaskDefinition)), Good: tagValue(s.Tags, tagGood), Desired: s.DesiredCount, Running: s.RunningCount, Pending: s.PendingCount, Launch: string(s.LaunchType)}
	if len(s.CapacityProviderStrategy) > 0 {
		out.Launch = aws.ToString(s.CapacityProviderStrategy[0].CapacityProvider)
	}
	for _, d := range s.Deployments {
		out.Deployments = append(out.Deployments, rowOf(d))
	}
	for _, e := range s.Events[:min(len(s.Events), 5)] {
		out.Events = append(out.Events, Event{aws.ToTime(e.CreatedAt), aws.ToString(e.Message)})
	}
	return out
}

// groupsOf are the target groups of a service, also those that its next
// revision is registered with.
func groupsOf(s *types.Service) []string {
	var all []string
	for _, l := range s.LoadBalancers {
		for _, arn := range []*string{l.TargetGroupArn, advanced(l).AlternateTargetGroupArn} {
			if arn != nil {
				all = append(all, *arn)
			}
		}
	}
	return all
}

// health asks what target groups think of their targets (DescribeTargetHealth,
// one call for each group).
func (c *Client) health(ctx context.Context, groups ...string) ([]Health, error) {
	var all []Health
	for _, arn := range groups {
		got, err := c.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: &arn})
		if err != nil {
			return all, fmt.Errorf("target group %s: %w", arn, c.explain(ctx, err))
		}
		parts := strings.Split(arn, "/")
		for _, d := range got.TargetHealthDescriptions {
			h := Health{TargetGroup: parts[min(1, len(parts)-1)]}
			if d.Target != nil {
				h.Target = fmt.Sprintf("%s:%d", aws.ToString(d.Target.Id), aws.ToInt32(d.Target.Port))
			}
			if d.TargetHealth != nil {
				h.State, h.Reason = string(d.TargetHealth.State), cmp.Or(aws.ToString(d.TargetHealth.Description), string(d.TargetHealth.Reason))
			}
			all = append(all, h)
		}
	}
	return all, nil
}
