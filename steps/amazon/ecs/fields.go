package ecs

import (
	"reflect"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/templates"
)

// ServiceFields are what a service is besides its tasks. What is not named
// stays as it is, or as AWS makes it.
type ServiceFields struct {
	Desired     *int32          `yaml:"desired_count" min:"0" max:"5000" doc:"How many tasks; left alone while the service scales by itself. A new service gets 1."`
	Override    bool            `yaml:"override_autoscaling" doc:"Set desired_count even if the service scales by itself."`
	LaunchType  string          `yaml:"launch_type" enum:"FARGATE|EC2|EXTERNAL" doc:"Where the tasks run; fixed once the service is made."`
	Capacity    []Capacity      `yaml:"capacity_providers" doc:"Capacity providers, instead of a launch type."`
	PlatformVer string          `yaml:"platform_version" doc:"Fargate platform version; LATEST."`
	Network     *Network        `yaml:"network" doc:"Subnets and security groups of the tasks (awsvpc)."`
	Balancers   []LoadBalancer  `yaml:"load_balancers" doc:"Target groups that the tasks are registered with."`
	Discovery   []Discovery     `yaml:"service_discovery" doc:"Cloud Map services that the tasks are registered with."`
	Connect     templates.Block `yaml:"service_connect" doc:"Service Connect, as AWS writes serviceConnectConfiguration."`
	Volumes     templates.Block `yaml:"volumes" doc:"Volumes of the service, as AWS writes volumeConfigurations."`
	Constraints templates.Block `yaml:"placement_constraints" doc:"As AWS writes placementConstraints."`
	Placement   templates.Block `yaml:"placement_strategy" doc:"As AWS writes placementStrategy."`
	Scheduling  string          `yaml:"scheduling" enum:"REPLICA|DAEMON" doc:"DAEMON: one task on each instance; fixed once the service is made."`
	Grace       *time.Duration  `yaml:"health_check_grace_period" min:"0s" doc:"How long the load balancer's health checks are ignored after a task began."`
	Exec        *bool           `yaml:"execute_command" doc:"Allow bake ecs exec."`
	Propagate   string          `yaml:"propagate_tags" enum:"NONE|SERVICE|TASK_DEFINITION" doc:"Whose tags the tasks get."`
	ManagedTags *bool           `yaml:"managed_tags" doc:"Tag tasks with the cluster's and the service's name."`
	Rebalance   *bool           `yaml:"az_rebalancing" doc:"Keep tasks spread over availability zones."`
	Deployment  *Deployment     `yaml:"deployment" doc:"How new tasks take over."`
}

// Capacity is one item of a capacity provider strategy.
type Capacity struct {
	Name   string `yaml:"name" bake:"main,required" doc:"FARGATE, FARGATE_SPOT or a provider of the cluster."`
	Weight int32  `yaml:"weight" default:"1" min:"0" max:"1000" doc:"Its share of the tasks."`
	Base   int32  `yaml:"base" min:"0" max:"100000" doc:"Tasks that it gets before the others."`
}

// Network is where awsvpc tasks are attached.
type Network struct {
	Subnets  templates.Strings `yaml:"subnets" bake:"required" doc:"Ids of subnets of one VPC, or the word default for those of the default VPC."`
	Groups   templates.Strings `yaml:"security_groups" doc:"Ids of security groups; if there are none: the default one of the VPC."`
	PublicIP *bool             `yaml:"public_ip" doc:"Give tasks public addresses."`
}

// LoadBalancer is a target group and the port that it reaches.
type LoadBalancer struct {
	TargetGroup string `yaml:"target_group" bake:"required" doc:"ARN of the target group."`
	Container   string `yaml:"container" doc:"Container; default: the service's."`
	Port        int32  `yaml:"port" bake:"required" min:"1" max:"65535" doc:"Port in the container."`
	Alternate   string `yaml:"alternate_target_group" doc:"The other target group, for blue_green, linear and canary."`
	Production  string `yaml:"production_rule" doc:"ARN of the listener rule whose traffic is moved."`
	Test        string `yaml:"test_rule" doc:"ARN of the listener rule for test traffic."`
	Role        string `yaml:"role" doc:"ARN of the role with which ECS changes the rules."`
}

// Discovery is a Cloud Map service.
type Discovery struct {
	Registry      string `yaml:"registry" bake:"main,required" doc:"ARN of the Cloud Map service."`
	Port          int32  `yaml:"port" doc:"Port for SRV records."`
	Container     string `yaml:"container" doc:"Container for SRV records in bridge mode."`
	ContainerPort int32  `yaml:"container_port" doc:"Port of the container."`
}

// Deployment says how new tasks take over.
type Deployment struct {
	Strategy string            `yaml:"strategy" enum:"rolling|blue_green|linear|canary" doc:"How traffic moves to new tasks; rolling."`
	Breaker  *Breaker          `yaml:"circuit_breaker" doc:"Stop and roll back when tasks keep failing; on unless it is false."`
	Alarms   templates.Strings `yaml:"alarms" doc:"CloudWatch alarms that roll the deployment back."`
	Minimum  *int32            `yaml:"minimum_percent" min:"0" max:"100" doc:"Share of desired_count that must run at any moment; 100."`
	Maximum  *int32            `yaml:"maximum_percent" min:"100" max:"200" doc:"Share of desired_count that may run at any moment; 200."`
	Bake     *time.Duration    `yaml:"bake_time" min:"0s" max:"24h" doc:"How long old tasks stay after the traffic has moved; whole minutes."`
	Step     float64           `yaml:"step_percent" min:"0.1" max:"100" doc:"Share of the traffic that moves first (canary) or in each step (linear)."`
	StepBake *time.Duration    `yaml:"step_bake_time" min:"0s" max:"24h" doc:"Time between two steps; whole minutes."`
	Hooks    templates.Block   `yaml:"hooks" doc:"Lifecycle hooks, as AWS writes lifecycleHooks."`
}

// Breaker is the deployment circuit breaker.
type Breaker struct {
	Enable   *bool `yaml:"enable" bake:"main" doc:"Whether there is one; true."`
	Rollback *bool `yaml:"rollback" doc:"Go back to the last deployment that succeeded; true."`
	Count    int32 `yaml:"count" min:"1" doc:"Failed tasks that end the deployment."`
	Percent  int32 `yaml:"percent" min:"1" doc:"Or that share of desired_count, at least 3 and at most 200 tasks; 50."`
	Reset    *bool `yaml:"reset_on_healthy_task" doc:"A healthy task starts the count anew; true."`
}

// validate checks what tags cannot say.
func (s *ServiceFields) validate(b templates.Block) templates.Diagnostics {
	var out templates.Diagnostics
	add := func(key, hint, format string, args ...any) {
		d := b.Key(key).Errorf(format, args...)
		d.Hint = hint
		out = append(out, d)
	}
	if s.LaunchType != "" && len(s.Capacity) > 0 {
		add("launch_type", "leave one of them out", "a service has a launch type or capacity providers, not both")
	}
	if s.Scheduling == "DAEMON" && s.Desired != nil {
		add("desired_count", "leave it out", "a DAEMON service runs one task on each instance")
	}
	out = append(out, s.Deployment.validate(b.At("deployment"), s.Balancers)...)
	_, diags := s.raw()
	return append(out, diags...)
}

func (d *Deployment) validate(b templates.Block, balancers []LoadBalancer) templates.Diagnostics {
	if d == nil {
		return nil
	}
	var out templates.Diagnostics
	shifts := d.Strategy == "canary" || d.Strategy == "linear"
	if !shifts && (d.Step != 0 || d.StepBake != nil) {
		out = append(out, b.Errorf("steps are for the strategies canary and linear"))
	}
	if d.Strategy == "" || d.Strategy == "rolling" {
		if d.Bake != nil {
			wrong := b.At("bake_time").Errorf("a rolling deployment has no bake time")
			wrong.Hint = "choose a strategy: blue_green, linear or canary"
			out = append(out, wrong)
		}
		return out
	}
	for _, l := range balancers {
		if l.Alternate == "" && l.Production == "" {
			wrong := b.At("strategy").Errorf("%s moves traffic between two target groups", d.Strategy)
			wrong.Hint = "give the load balancer alternate_target_group, production_rule and role"
			out = append(out, wrong)
		}
	}
	return out
}

// A rawFields is what is written in AWS's own words.
type rawFields struct {
	connect     *types.ServiceConnectConfiguration
	volumes     []types.ServiceVolumeConfiguration
	constraints []types.PlacementConstraint
	placement   []types.PlacementStrategy
	hooks       []types.DeploymentLifecycleHook
}

func (s *ServiceFields) raw() (rawFields, templates.Diagnostics) {
	var r rawFields
	var f filler
	read := func(b templates.Block, key string, into any) {
		if !b.IsZero() {
			f.value(b, reflect.ValueOf(into).Elem(), key)
		}
	}
	read(s.Connect, "service_connect", &r.connect)
	read(s.Volumes, "volumes", &r.volumes)
	read(s.Constraints, "placement_constraints", &r.constraints)
	read(s.Placement, "placement_strategy", &r.placement)
	if s.Deployment != nil {
		read(s.Deployment.Hooks, "hooks", &r.hooks)
	}
	return r, f.diags
}
