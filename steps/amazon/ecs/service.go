package ecs

import (
	"cmp"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// A wanted service is what the template says of it, in AWS's words. Fields
// that the template does not name are nil.
type wanted struct {
	ServiceFields
	rawFields
	Container string // default of load balancers
}

// creation is the call that makes the service. Its deployments break off and
// go back by themselves unless the template says otherwise.
func (w *wanted) creation(name, cluster, revision string) *awsecs.CreateServiceInput {
	in := &awsecs.CreateServiceInput{
		ServiceName: &name, Cluster: &cluster, TaskDefinition: &revision,
		CapacityProviderStrategy: w.capacity(), LaunchType: types.LaunchType(w.LaunchType),
		NetworkConfiguration: w.network(nil), LoadBalancers: w.balancers(), ServiceRegistries: w.registries(),
		DeploymentConfiguration:     w.deployment(nil),
		SchedulingStrategy:          types.SchedulingStrategy(w.Scheduling),
		PropagateTags:               types.PropagateTags(w.Propagate),
		EnableExecuteCommand:        aws.ToBool(w.Exec),
		EnableECSManagedTags:        w.ManagedTags == nil || *w.ManagedTags,
		ServiceConnectConfiguration: w.connect, VolumeConfigurations: w.volumes,
		PlacementConstraints: w.constraints, PlacementStrategy: w.placement,
		HealthCheckGracePeriodSeconds: seconds(w.Grace),
		AvailabilityZoneRebalancing:   w.rebalancing(),
	}
	if w.PlatformVer != "" {
		in.PlatformVersion = &w.PlatformVer
	}
	if w.Scheduling != "DAEMON" {
		in.DesiredCount = aws.Int32(1)
		if w.Desired != nil {
			in.DesiredCount = w.Desired
		}
	}
	return in
}

func seconds(d *time.Duration) *int32 {
	if d == nil {
		return nil
	}
	return aws.Int32(int32(*d / time.Second))
}

func minutes(d *time.Duration) *int32 {
	if d == nil {
		return nil
	}
	return aws.Int32(int32((*d + time.Minute - 1) / time.Minute))
}

func (w *wanted) rebalancing() types.AvailabilityZoneRebalancing {
	switch {
	case w.Rebalance == nil:
		return ""
	case *w.Rebalance:
		return types.AvailabilityZoneRebalancingEnabled
	}
	return types.AvailabilityZoneRebalancingDisabled
}

func (w *wanted) capacity() []types.CapacityProviderStrategyItem {
	var out []types.CapacityProviderStrategyItem
	for _, c := range w.Capacity {
		out = append(out, types.CapacityProviderStrategyItem{CapacityProvider: aws.String(c.Name), Weight: c.Weight, Base: c.Base})
	}
	return out
}

// network is what the template says on top of what is.
func (w *wanted) network(live *types.NetworkConfiguration) *types.NetworkConfiguration {
	if w.Network == nil {
		return live
	}
	var vpc types.AwsVpcConfiguration
	if live != nil && live.AwsvpcConfiguration != nil {
		vpc = *live.AwsvpcConfiguration
	}
	vpc.Subnets = w.Network.Subnets
	if len(w.Network.Groups) > 0 {
		vpc.SecurityGroups = w.Network.Groups
	}
	switch p := w.Network.PublicIP; {
	case p == nil:
	case *p:
		vpc.AssignPublicIp = types.AssignPublicIpEnabled
	default:
		vpc.AssignPublicIp = types.AssignPublicIpDisabled
	}
	return &types.NetworkConfiguration{AwsvpcConfiguration: &vpc}
}

func (w *wanted) balancers() []types.LoadBalancer {
	var out []types.LoadBalancer
	for _, b := range w.Balancers {
		l := types.LoadBalancer{TargetGroupArn: aws.String(b.TargetGroup), ContainerName: aws.String(cmp.Or(b.Container, w.Container)), ContainerPort: aws.Int32(b.Port)}
		if b.Alternate+b.Production+b.Test+b.Role != "" {
			l.AdvancedConfiguration = &types.AdvancedConfiguration{
				AlternateTargetGroupArn: text(b.Alternate), ProductionListenerRule: text(b.Production), TestListenerRule: text(b.Test), RoleArn: text(b.Role)}
		}
		out = append(out, l)
	}
	return out
}

// text is a pointer to s, nil if it is empty.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (w *wanted) registries() []types.ServiceRegistry {
	var out []types.ServiceRegistry
	for _, d := range w.Discovery {
		r := types.ServiceRegistry{RegistryArn: aws.String(d.Registry), ContainerName: text(d.Container)}
		if d.Port != 0 {
			r.Port = aws.Int32(d.Port)
		}
		if d.ContainerPort != 0 {
			r.ContainerPort = aws.Int32(d.ContainerPort)
		}
		out = append(out, r)
	}
	return out
}

// deployment is what the template says on top of what is. Going back by
// itself is on unless the template turns it off.
func (w *wanted) deployment(live *types.DeploymentConfiguration) *types.DeploymentConfiguration {
	var out types.DeploymentConfiguration
	if live != nil {
		out = *live
	}
	d := w.Deployment
	if d == nil {
		d = new(Deployment)
	}
	if d.Strategy != "" {
		out.Strategy = strategies[d.Strategy]
	}
	if rolling(out.Strategy) || d.Breaker != nil {
		out.DeploymentCircuitBreaker = d.Breaker.configuration(out.DeploymentCircuitBreaker)
	}
	if len(d.Alarms) > 0 {
		out.Alarms = &types.DeploymentAlarms{AlarmNames: d.Alarms, Enable: true, Rollback: true}
	}
	if d.Minimum != nil {
		out.MinimumHealthyPercent = d.Minimum
	}
	if d.Maximum != nil {
		out.MaximumPercent = d.Maximum
	}
	if d.Bake != nil {
		out.BakeTimeInMinutes = minutes(d.Bake)
	}
	if len(w.hooks) > 0 {
		out.LifecycleHooks = w.hooks
	}
	return d.steps(&out)
}

var strategies = map[string]types.DeploymentStrategy{
	"rolling": types.DeploymentStrategyRolling, "blue_green": types.DeploymentStrategyBlueGreen,
	"linear": types.DeploymentStrategyLinear, "canary": types.DeploymentStrategyCanary,
}

func rolling(s types.DeploymentStrategy) bool { return s == "" || s == types.DeploymentStrategyRolling }

// steps adds how traffic moves, with AWS's values for what is not said, and
// drops what belongs to another strategy.
func (d *Deployment) steps(out *types.DeploymentConfiguration) *types.DeploymentConfiguration {
	said := d.Step != 0 || d.StepBake != nil
	percent, wait := trafficStep(out)
	if d.Step != 0 {
		percent = d.Step
	}
	if d.StepBake != nil {
		wait = *d.StepBake
	}
	switch {
	case out.Strategy != types.DeploymentStrategyCanary:
		out.CanaryConfiguration = nil
	case said:
		out.CanaryConfiguration = &types.CanaryConfiguration{CanaryPercent: &percent, CanaryBakeTimeInMinutes: minutes(&wait)}
	}
	switch {
	case out.Strategy != types.DeploymentStrategyLinear:
		out.LinearConfiguration = nil
	case said:
		out.LinearConfiguration = &types.LinearConfiguration{StepPercent: &percent, StepBakeTimeInMinutes: minutes(&wait)}
	}
	return out
}

// configuration is the circuit breaker on top of the one that there is.
func (b *Breaker) configuration(live *types.DeploymentCircuitBreaker) *types.DeploymentCircuitBreaker {
	out := types.DeploymentCircuitBreaker{Enable: true, Rollback: true}
	if live != nil {
		out.ResetOnHealthyTask, out.ThresholdConfiguration = live.ResetOnHealthyTask, live.ThresholdConfiguration
	}
	if b == nil {
		return &out
	}
	if b.Enable != nil {
		out.Enable, out.Rollback = *b.Enable, *b.Enable
	}
	if b.Rollback != nil {
		out.Rollback = *b.Rollback
	}
	if b.Reset != nil {
		out.ResetOnHealthyTask = b.Reset
	}
	switch {
	case b.Count != 0:
		out.ThresholdConfiguration = &types.ThresholdConfiguration{Type: types.ThresholdTypeCount, Value: b.Count}
	case b.Percent != 0:
		out.ThresholdConfiguration = &types.ThresholdConfiguration{Type: types.ThresholdTypeBoundedPercent, Value: b.Percent}
	}
	return &out
}

// An update is the call that makes a service what is wanted, with only what
// differs in it.
type update struct {
	In      *awsecs.UpdateServiceInput
	Changes []Difference // none: there is nothing to call
}

// update compares the service with what is wanted. revision is the task
// definition it shall run; keepCount leaves the number of tasks alone.
func (w *wanted) update(live *types.Service, revision string, keepCount bool) update {
	u := update{In: &awsecs.UpdateServiceInput{Service: live.ServiceArn, Cluster: live.ClusterArn}}
	in, now := u.In, primaryOf(live)
	u.differ("taskDefinition", aws.ToString(live.TaskDefinition), revision, func() { in.TaskDefinition = &revision })
	if w.Desired != nil && !keepCount {
		u.differ("desiredCount", &live.DesiredCount, w.Desired, func() { in.DesiredCount = w.Desired })
	}
	if len(w.Capacity) > 0 {
		u.differ("capacityProviderStrategy", live.CapacityProviderStrategy, w.capacity(), func() { in.CapacityProviderStrategy = w.capacity() })
	}
	if w.PlatformVer != "" {
		u.differ("platformVersion", cmp.Or(aws.ToString(live.PlatformVersion), "LATEST"), w.PlatformVer, func() { in.PlatformVersion = &w.PlatformVer })
	}
	if w.Network != nil {
		n := w.network(live.NetworkConfiguration)
		u.differ("networkConfiguration", sortedNetwork(live.NetworkConfiguration), sortedNetwork(n), func() { in.NetworkConfiguration = n })
	}
	if len(w.Balancers) > 0 {
		u.differ("loadBalancers", sortedBalancers(live.LoadBalancers), sortedBalancers(w.balancers()), func() { in.LoadBalancers = w.balancers() })
	}
	if len(w.Discovery) > 0 {
		u.differ("serviceRegistries", live.ServiceRegistries, w.registries(), func() { in.ServiceRegistries = w.registries() })
	}
	// What brings a new revision goes back by itself if that fails.
	if d := w.deployment(live.DeploymentConfiguration); w.Deployment != nil || rolling(d.Strategy) && revision != aws.ToString(live.TaskDefinition) {
		u.differ("deploymentConfiguration", live.DeploymentConfiguration, d, func() { in.DeploymentConfiguration = d })
	}
	if w.connect != nil {
		u.differ("serviceConnectConfiguration", now.ServiceConnectConfiguration, w.connect, func() { in.ServiceConnectConfiguration = w.connect })
	}
	if w.volumes != nil {
		u.differ("volumeConfigurations", now.VolumeConfigurations, w.volumes, func() { in.VolumeConfigurations = w.volumes })
	}
	w.updateRest(&u, live)
	return u
}

// updateRest compares what does not lead to new tasks.
func (w *wanted) updateRest(u *update, live *types.Service) {
	in := u.In
	if w.Grace != nil {
		u.differ("healthCheckGracePeriodSeconds", live.HealthCheckGracePeriodSeconds, seconds(w.Grace), func() { in.HealthCheckGracePeriodSeconds = seconds(w.Grace) })
	}
	if w.Exec != nil {
		u.differ("enableExecuteCommand", &live.EnableExecuteCommand, w.Exec, func() { in.EnableExecuteCommand = w.Exec })
	}
	if w.ManagedTags != nil {
		u.differ("enableECSManagedTags", &live.EnableECSManagedTags, w.ManagedTags, func() { in.EnableECSManagedTags = w.ManagedTags })
	}
	if w.Propagate != "" {
		u.differ("propagateTags", cmp.Or(string(live.PropagateTags), "NONE"), w.Propagate, func() { in.PropagateTags = types.PropagateTags(w.Propagate) })
	}
	if w.Rebalance != nil {
		u.differ("availabilityZoneRebalancing", cmp.Or(live.AvailabilityZoneRebalancing, types.AvailabilityZoneRebalancingDisabled), w.rebalancing(),
			func() { in.AvailabilityZoneRebalancing = w.rebalancing() })
	}
	if w.constraints != nil {
		u.differ("placementConstraints", live.PlacementConstraints, w.constraints, func() { in.PlacementConstraints = w.constraints })
	}
	if w.placement != nil {
		u.differ("placementStrategy", live.PlacementStrategy, w.placement, func() { in.PlacementStrategy = w.placement })
	}
}

// differ records a change and sets it in the call, if old and now differ.
func (u *update) differ(path string, old, now any, set func()) {
	a, b := tree(old), tree(now)
	if prune(a) {
		a = nil
	}
	if prune(b) {
		b = nil
	}
	before := len(u.Changes)
	compare(path, path, a, b, &u.Changes)
	if len(u.Changes) > before {
		set()
	}
}

// primaryOf is the deployment that the service wants to have.
func primaryOf(s *types.Service) types.Deployment {
	for _, d := range s.Deployments {
		if aws.ToString(d.Status) == "PRIMARY" {
			return d
		}
	}
	return types.Deployment{}
}

func sortedNetwork(n *types.NetworkConfiguration) *types.NetworkConfiguration {
	if n == nil || n.AwsvpcConfiguration == nil {
		return n
	}
	vpc := *n.AwsvpcConfiguration
	vpc.Subnets, vpc.SecurityGroups = slices.Sorted(slices.Values(vpc.Subnets)), slices.Sorted(slices.Values(vpc.SecurityGroups))
	vpc.AssignPublicIp = cmp.Or(vpc.AssignPublicIp, types.AssignPublicIpDisabled)
	return &types.NetworkConfiguration{AwsvpcConfiguration: &vpc}
}

func sortedBalancers(list []types.LoadBalancer) []types.LoadBalancer {
	return slices.SortedFunc(slices.Values(list), func(a, b types.LoadBalancer) int {
		return cmp.Or(cmp.Compare(aws.ToString(a.TargetGroupArn), aws.ToString(b.TargetGroupArn)), cmp.Compare(aws.ToInt32(a.ContainerPort), aws.ToInt32(b.ContainerPort)))
	})
}
