package ecs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Files are a template that deploys a service as it is now, and its task definition.
type Files struct {
	Template       string // YAML
	TaskDefinition string // JSON, as AWS writes it
}

// Init writes a template for a service that exists. path is where the task
// definition will lie, relative to the template.
func (c *Client) Init(ctx context.Context, service, path string) (Files, error) {
	s, err := c.mustService(ctx, service)
	if err != nil {
		return Files{}, err
	}
	td, err := c.revision(ctx, aws.ToString(s.TaskDefinition))
	if err != nil {
		return Files{}, err
	}
	definition, err := json.MarshalIndent(tree(*definitionOf(td)), "", "  ")
	if err != nil {
		return Files{}, err
	}
	main := ""
	if k, err := containerNamed(definitionOf(td), ""); err == nil {
		main = aws.ToString(k.Name)
	}
	return Files{Template: c.template(s, main, path), TaskDefinition: escape(string(definition)) + "\n"}, nil
}

// escape keeps what looks like bake's expressions as it is.
func escape(text string) string { return strings.ReplaceAll(text, "${{", "$${{") }

// template writes what the service says of itself, in bake's words.
func (c *Client) template(s *types.Service, container, path string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Deploy with `bake ecs deploy FILE`; put the image's source and steps in the place of scratch to build it too.")
	line("name: %s", aws.ToString(s.ServiceName))
	line("source: {scratch: true}")
	line("outputs:")
	line("  - ecs:")
	line("      region: %s", c.cfg.Region)
	line("      cluster: %s", short(aws.ToString(s.ClusterArn)))
	line("      service: %s", aws.ToString(s.ServiceName))
	if container != "" {
		line("      container: %s", container)
	}
	line("      task_definition: %s", path)
	line("      # desired_count: %d", s.DesiredCount)
	if s.LaunchType != "" {
		line("      launch_type: %s", s.LaunchType)
	}
	for i, p := range s.CapacityProviderStrategy {
		if i == 0 {
			line("      capacity_providers:")
		}
		line("        - {name: %s, weight: %d, base: %d}", aws.ToString(p.CapacityProvider), p.Weight, p.Base)
	}
	if n := s.NetworkConfiguration; n != nil && n.AwsvpcConfiguration != nil {
		v := n.AwsvpcConfiguration
		line("      network:")
		line("        subnets: [%s]", strings.Join(v.Subnets, ", "))
		if len(v.SecurityGroups) > 0 {
			line("        security_groups: [%s]", strings.Join(v.SecurityGroups, ", "))
		}
		line("        public_ip: %t", v.AssignPublicIp == types.AssignPublicIpEnabled)
	}
	writeBalancers(line, s.LoadBalancers)
	if g := s.HealthCheckGracePeriodSeconds; g != nil && *g > 0 {
		line("      health_check_grace_period: %ds", *g)
	}
	if s.EnableExecuteCommand {
		line("      execute_command: true")
	}
	writeDeployment(line, s.DeploymentConfiguration)
	return b.String()
}

func writeBalancers(line func(string, ...any), all []types.LoadBalancer) {
	for i, l := range all {
		if i == 0 {
			line("      load_balancers:")
		}
		line("        - target_group: %s", aws.ToString(l.TargetGroupArn))
		line("          container: %s", aws.ToString(l.ContainerName))
		line("          port: %d", aws.ToInt32(l.ContainerPort))
		a := advanced(l)
		for _, f := range []struct {
			key   string
			value *string
		}{{"alternate_target_group", a.AlternateTargetGroupArn}, {"production_rule", a.ProductionListenerRule}, {"test_rule", a.TestListenerRule}, {"role", a.RoleArn}} {
			if f.value != nil {
				line("          %s: %s", f.key, *f.value)
			}
		}
	}
}

func writeDeployment(line func(string, ...any), d *types.DeploymentConfiguration) {
	if d == nil {
		return
	}
	line("      deployment:")
	strategy := "rolling"
	for name, s := range strategies {
		if s == d.Strategy {
			strategy = name
		}
	}
	line("        strategy: %s", strategy)
	if b := d.DeploymentCircuitBreaker; b != nil && rolling(d.Strategy) {
		line("        circuit_breaker: {enable: %t, rollback: %t}", b.Enable, b.Rollback)
	}
	if a := d.Alarms; a != nil && a.Enable {
		line("        alarms: [%s]", strings.Join(a.AlarmNames, ", "))
	}
	if d.MinimumHealthyPercent != nil {
		line("        minimum_percent: %d", *d.MinimumHealthyPercent)
	}
	if d.MaximumPercent != nil {
		line("        maximum_percent: %d", *d.MaximumPercent)
	}
	if d.BakeTimeInMinutes != nil && !rolling(d.Strategy) {
		line("        bake_time: %dm", *d.BakeTimeInMinutes)
	}
}
