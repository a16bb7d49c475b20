package ecs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs/wire"
	"bake/internal/sandbox/epoch"
)

// A service with its deployments. The scheduler goroutine brings its tasks to
// what they say (see scheduler.go).
type service struct {
	wire.Service
	Rollouts  []*rollout // newest first; the first is PRIMARY
	History   []*serviceDeployment
	Revisions map[string]*wire.ServiceRevision // by ARN
	Volumes   []wire.ServiceVolumeConfiguration
	Connect   *wire.ServiceConnectConfiguration
	Steady    bool // "has reached a steady state" was said, and nothing has changed since

	woken chan struct{}
	until time.Time // new tasks are not started before: they failed again and again
}

// A rollout is one deployment and the tasks that it made, which are started by
// its id.
type rollout struct {
	wire.Deployment
	Revision          string // ARN of the service revision
	LoadBalancers     []wire.LoadBalancer
	Completed         bool // it was COMPLETED once, so one can go back to it
	Failures          int  // tasks that failed, for the circuit breaker
	Placed            bool // "was unable to place" was said
	FailedTasksInARow int
	Serves            time.Time // when its tasks served and all others were gone
}

// wake makes the service's scheduler look again. It never waits.
func (s *service) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// maxEvents is how many events of a service AWS remembers.
const maxEvents = 100

// event writes down what happened to a service, in AWS's words. The lock is held.
func (c *T) event(s *service, format string, args ...any) {
	e := wire.ServiceEvent{Id: uuid(), CreatedAt: epoch.At(c.now()), Message: "(service " + s.ServiceName + ") " + fmt.Sprintf(format, args...)}
	s.Events = append([]wire.ServiceEvent{e}, s.Events...)
	if len(s.Events) > maxEvents {
		s.Events = s.Events[:maxEvents]
	}
}

// findService finds a service by name or ARN.
func (cl *cluster) findService(name string) *service {
	s := cl.Services[lastPart(name)]
	if s == nil || strings.HasPrefix(name, "arn:") && s.ServiceArn != name {
		return nil
	}
	return s
}

func (c *T) createService(call *api.Call, r *region, in *wire.CreateServiceInput) (*wire.CreateServiceOutput, error) {
	cl, err := r.activeCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if !familyName.MatchString(in.ServiceName) {
		return nil, badParameter("Invalid service name: '%s'.", in.ServiceName)
	}
	token := "service " + cl.ClusterName + " " + in.ClientToken
	if old := cl.Services[in.ServiceName]; old != nil && old.Status != "INACTIVE" {
		if in.ClientToken != "" && r.Tokens[token] == old.ServiceArn {
			return &wire.CreateServiceOutput{Service: c.serviceView(cl, old, true)}, nil
		}
		if old.Status == "DRAINING" {
			return nil, badParameter("Unable to Start a service that is still Draining.")
		}
		return nil, badParameter("Creation of service was not idempotent.")
	}
	s, rev, err := c.newService(r, cl, in)
	if err != nil {
		return nil, err
	}
	cl.Services[s.ServiceName] = s
	if in.ClientToken != "" {
		r.Tokens[token] = s.ServiceArn
	}
	c.deploy(r, s, rev)
	woken := s.woken
	c.start(func() { c.schedule(r, cl, s, woken) })
	return &wire.CreateServiceOutput{Service: c.serviceView(cl, s, true)}, nil
}

// newService makes a service of what CreateService says, with AWS's defaults.
func (c *T) newService(r *region, cl *cluster, in *wire.CreateServiceInput) (*service, *revision, error) {
	if d := in.DeploymentController; d != nil && d.Type != "ECS" {
		return nil, nil, badParameter("The deployment controller %s is not supported: bake's sandbox has ECS alone.", d.Type)
	}
	rev, err := r.runnable(in.TaskDefinition)
	if err != nil {
		return nil, nil, err
	}
	s := &service{Revisions: map[string]*wire.ServiceRevision{}, woken: make(chan struct{}, 1), Volumes: in.VolumeConfigurations, Connect: in.ServiceConnectConfiguration}
	launch, provider, err := r.launchType(cl, in.LaunchType, in.CapacityProviderStrategy)
	if err != nil {
		return nil, nil, err
	}
	s.Service = wire.Service{
		ServiceName: in.ServiceName, ServiceArn: r.arn("service/" + cl.ClusterName + "/" + in.ServiceName), ClusterArn: cl.ClusterArn, Status: "ACTIVE",
		CreatedAt: epoch.At(c.now()), CreatedBy: "arn:aws:iam::" + r.Account + ":root", TaskDefinition: rev.TaskDefinitionArn, Events: []wire.ServiceEvent{},
		LoadBalancers: orEmpty(in.LoadBalancers), ServiceRegistries: orEmpty(in.ServiceRegistries), NetworkConfiguration: in.NetworkConfiguration,
		DeploymentController: &wire.DeploymentController{Type: "ECS"}, SchedulingStrategy: "REPLICA",
		PlacementConstraints: orEmpty(in.PlacementConstraints), PlacementStrategy: orEmpty(in.PlacementStrategy),
		HealthCheckGracePeriodSeconds: in.HealthCheckGracePeriodSeconds, EnableECSManagedTags: in.EnableECSManagedTags, EnableExecuteCommand: in.EnableExecuteCommand,
		PropagateTags: in.PropagateTags, AvailabilityZoneRebalancing: in.AvailabilityZoneRebalancing, Tags: orEmpty(in.Tags), RoleArn: in.Role,
	}
	fillService(s, in, launch, provider)
	if in.SchedulingStrategy == "DAEMON" {
		return nil, nil, badParameter("The scheduling strategy DAEMON is not supported by bake's sandbox.")
	}
	if in.DesiredCount != nil {
		s.DesiredCount = *in.DesiredCount
	}
	if s.DesiredCount < 0 {
		return nil, nil, badParameter("desiredCount must not be negative.")
	}
	return s, rev, c.checkService(r, s, rev)
}

// fillService sets what AWS sets if it is not given.
func fillService(s *service, in *wire.CreateServiceInput, launch, provider string) {
	if provider == "" {
		s.LaunchType = launch
	} else {
		s.CapacityProviderStrategy = in.CapacityProviderStrategy
		if len(s.CapacityProviderStrategy) == 0 {
			s.CapacityProviderStrategy = []wire.CapacityProviderStrategyItem{{CapacityProvider: provider, Weight: 1}}
		}
	}
	if launch == "FARGATE" {
		s.PlatformVersion, s.PlatformFamily = "LATEST", "Linux"
		if in.PlatformVersion != "" {
			s.PlatformVersion = in.PlatformVersion
		}
	}
	if s.PropagateTags == "" {
		s.PropagateTags = "NONE"
	}
	if s.AvailabilityZoneRebalancing == "" {
		s.AvailabilityZoneRebalancing = "ENABLED"
		if launch != "FARGATE" {
			s.AvailabilityZoneRebalancing = "DISABLED"
		}
	}
	if s.HealthCheckGracePeriodSeconds == nil && len(s.LoadBalancers) > 0 {
		s.HealthCheckGracePeriodSeconds = new(int32(0))
	}
	s.NetworkConfiguration = fillNetwork(s.NetworkConfiguration)
	s.DeploymentConfiguration = mergeDeployment(nil, in.DeploymentConfiguration)
}

func fillNetwork(n *wire.NetworkConfiguration) *wire.NetworkConfiguration {
	if n == nil || n.AwsvpcConfiguration == nil {
		return n
	}
	vpc := *n.AwsvpcConfiguration
	vpc.SecurityGroups = orEmpty(vpc.SecurityGroups)
	if vpc.AssignPublicIp == "" {
		vpc.AssignPublicIp = "DISABLED"
	}
	return &wire.NetworkConfiguration{AwsvpcConfiguration: &vpc}
}

// mergeDeployment is the present deployment configuration, or AWS's, with what
// is given over it.
func mergeDeployment(present, given *wire.DeploymentConfiguration) *wire.DeploymentConfiguration {
	out := wire.DeploymentConfiguration{
		MaximumPercent: new(int32(200)), MinimumHealthyPercent: new(int32(100)), Strategy: "ROLLING", BakeTimeInMinutes: new(int32(0)),
		DeploymentCircuitBreaker: &wire.DeploymentCircuitBreaker{},
	}
	if present != nil {
		out = *present
	}
	if given == nil {
		return &out
	}
	if given.MaximumPercent != nil {
		out.MaximumPercent = given.MaximumPercent
	}
	if given.MinimumHealthyPercent != nil {
		out.MinimumHealthyPercent = given.MinimumHealthyPercent
	}
	if given.Strategy != "" {
		out.Strategy = given.Strategy
	}
	if given.BakeTimeInMinutes != nil {
		out.BakeTimeInMinutes = given.BakeTimeInMinutes
	}
	if given.DeploymentCircuitBreaker != nil {
		out.DeploymentCircuitBreaker = given.DeploymentCircuitBreaker
	}
	if given.Alarms != nil {
		out.Alarms = given.Alarms
	}
	if given.LifecycleHooks != nil {
		out.LifecycleHooks = given.LifecycleHooks
	}
	if given.LinearConfiguration != nil {
		out.LinearConfiguration = given.LinearConfiguration
	}
	if given.CanaryConfiguration != nil {
		out.CanaryConfiguration = given.CanaryConfiguration
	}
	return &out
}

// checkService refuses what AWS refuses of a service.
func (c *T) checkService(r *region, s *service, rev *revision) error {
	o := order{rev: rev, launch: s.LaunchType, network: s.NetworkConfiguration, exec: s.EnableExecuteCommand}
	if s.LaunchType == "" {
		o.launch, o.provider = "EC2", s.CapacityProviderStrategy[0].CapacityProvider
		if strings.HasPrefix(o.provider, "FARGATE") {
			o.launch = "FARGATE"
		}
	}
	if err := c.checkOrder(o); err != nil {
		return err
	}
	if s.HealthCheckGracePeriodSeconds != nil && *s.HealthCheckGracePeriodSeconds > 0 && len(s.LoadBalancers) == 0 {
		return badParameter("Health check grace period is only valid for services configured to use load balancers")
	}
	d := s.DeploymentConfiguration
	if *d.MaximumPercent <= *d.MinimumHealthyPercent && *d.MaximumPercent < 100 || *d.MinimumHealthyPercent < 0 {
		return badParameter("maximumPercent must be at least 100 and more than minimumHealthyPercent.")
	}
	if err := checkStrategy(s); err != nil {
		return err
	}
	for _, lb := range s.LoadBalancers {
		if err := c.checkBalancer(&lb, rev); err != nil {
			return err
		}
	}
	return nil
}

func (c *T) checkBalancer(lb *wire.LoadBalancer, rev *revision) error {
	if lb.TargetGroupArn == "" {
		return badParameter("A target group must be specified: bake's sandbox has no Classic Load Balancers.")
	}
	has := slices.ContainsFunc(rev.ContainerDefinitions, func(d wire.ContainerDefinition) bool {
		return d.Name == lb.ContainerName && slices.ContainsFunc(d.PortMappings, func(p wire.PortMapping) bool {
			return lb.ContainerPort != nil && p.ContainerPort != nil && *p.ContainerPort == *lb.ContainerPort
		})
	})
	if !has {
		return badParameter("The container %s did not have a container port %s defined.", lb.ContainerName, numberOf(lb.ContainerPort))
	}
	if c.deps.Targets == nil {
		return nil
	}
	kind, attached, ok := c.deps.Targets.TargetType(lb.TargetGroupArn)
	switch {
	case !ok:
		return badParameter("Unable to assume role and validate the specified targetGroupArn. Please verify that the ECS service role being passed has the proper permissions.")
	case !attached:
		return badParameter("The target group with targetGroupArn %s does not have an associated load balancer.", lb.TargetGroupArn)
	case rev.NetworkMode == "awsvpc" && kind != "ip":
		return badParameter("The provided target group %s has target type %s, which is incompatible with the awsvpc network mode specified in the task definition.", lb.TargetGroupArn, kind)
	case rev.NetworkMode != "awsvpc" && kind != "instance":
		return badParameter("The provided target group %s has target type %s, which is incompatible with the %s network mode specified in the task definition.", lb.TargetGroupArn, kind, rev.NetworkMode)
	}
	return nil
}

func (c *T) updateService(call *api.Call, r *region, in *wire.UpdateServiceInput) (*wire.UpdateServiceOutput, error) {
	cl, err := r.activeCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	s := cl.findService(in.Service)
	if s == nil {
		return nil, api.Errorf("ServiceNotFoundException", "Service not found.")
	}
	if s.Status != "ACTIVE" {
		return nil, api.Errorf("ServiceNotActiveException", "Service was not ACTIVE.")
	}
	next := *s
	rev, deploys, err := c.change(r, cl, &next, in)
	if err != nil {
		return nil, err
	}
	*s = next
	if deploys {
		c.deploy(r, s, rev)
	} else if p := s.Rollouts[0]; p.DesiredCount != s.DesiredCount {
		p.DesiredCount, p.UpdatedAt = s.DesiredCount, epoch.At(c.now())
		s.Steady = false
	}
	s.wake()
	return &wire.UpdateServiceOutput{Service: c.serviceView(cl, s, true)}, nil
}

// change applies an update to s, a copy, and reports whether that makes a new
// deployment.
func (c *T) change(r *region, cl *cluster, s *service, in *wire.UpdateServiceInput) (*revision, bool, error) {
	deploys := in.ForceNewDeployment
	name := s.TaskDefinition
	if in.TaskDefinition != "" {
		name = in.TaskDefinition
	}
	rev, err := r.taskDefinition(name)
	if err != nil || in.TaskDefinition != "" && rev.Status != "ACTIVE" {
		if err == nil {
			return nil, false, clientError("TaskDefinition is inactive")
		}
		return nil, false, clientError("TaskDefinition not found.")
	}
	deploys = deploys || rev.TaskDefinitionArn != s.TaskDefinition
	s.TaskDefinition = rev.TaskDefinitionArn
	if in.DesiredCount != nil {
		if *in.DesiredCount < 0 {
			return nil, false, badParameter("desiredCount must not be negative.")
		}
		s.DesiredCount = *in.DesiredCount
	}
	if in.CapacityProviderStrategy != nil {
		if _, provider, err := r.launchType(cl, "", in.CapacityProviderStrategy); err != nil || provider == "" {
			return nil, false, err
		}
		s.CapacityProviderStrategy, s.LaunchType, deploys = in.CapacityProviderStrategy, "", true
	}
	if in.NetworkConfiguration != nil {
		s.NetworkConfiguration, deploys = fillNetwork(in.NetworkConfiguration), true
	}
	if in.LoadBalancers != nil {
		s.LoadBalancers, deploys = in.LoadBalancers, true
	}
	if in.ServiceRegistries != nil {
		s.ServiceRegistries, deploys = in.ServiceRegistries, true
	}
	if in.PlatformVersion != "" {
		s.PlatformVersion, deploys = in.PlatformVersion, true
	}
	if in.VolumeConfigurations != nil {
		s.Volumes, deploys = in.VolumeConfigurations, true
	}
	if in.ServiceConnectConfiguration != nil {
		s.Connect, deploys = in.ServiceConnectConfiguration, true
	}
	changeQuietly(s, in)
	return rev, deploys, c.checkService(r, s, rev)
}

// changeQuietly applies what takes effect with the next deployment, or at once.
func changeQuietly(s *service, in *wire.UpdateServiceInput) {
	s.DeploymentConfiguration = mergeDeployment(s.DeploymentConfiguration, in.DeploymentConfiguration)
	if in.HealthCheckGracePeriodSeconds != nil {
		s.HealthCheckGracePeriodSeconds = in.HealthCheckGracePeriodSeconds
	}
	if in.EnableExecuteCommand != nil {
		s.EnableExecuteCommand = *in.EnableExecuteCommand
	}
	if in.EnableECSManagedTags != nil {
		s.EnableECSManagedTags = *in.EnableECSManagedTags
	}
	if in.PropagateTags != "" {
		s.PropagateTags = in.PropagateTags
	}
	if in.AvailabilityZoneRebalancing != "" {
		s.AvailabilityZoneRebalancing = in.AvailabilityZoneRebalancing
	}
	if in.PlacementConstraints != nil {
		s.PlacementConstraints = in.PlacementConstraints
	}
	if in.PlacementStrategy != nil {
		s.PlacementStrategy = in.PlacementStrategy
	}
}

func (c *T) describeServices(call *api.Call, r *region, in *wire.DescribeServicesInput) (*wire.DescribeServicesOutput, error) {
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if len(in.Services) == 0 {
		return nil, badParameter("Services cannot be empty.")
	}
	if len(in.Services) > 10 {
		return nil, badParameter("Services cannot have more than 10 elements.")
	}
	out := &wire.DescribeServicesOutput{Services: []wire.Service{}, Failures: []wire.Failure{}}
	for _, name := range in.Services {
		s := cl.findService(name)
		if s == nil || call.Hidden(s.ServiceArn) {
			out.Failures = append(out.Failures, missing(r, "service/"+cl.ClusterName, name))
			continue
		}
		out.Services = append(out.Services, *c.serviceView(cl, s, slices.Contains(in.Include, "TAGS")))
	}
	return out, nil
}

// serviceView is the service as it is answered, its counts of now.
func (c *T) serviceView(cl *cluster, s *service, tags bool) *wire.Service {
	v := s.Service
	v.Deployments = []wire.Deployment{}
	v.RunningCount, v.PendingCount = 0, 0
	v.CurrentServiceRevisions = nil
	for _, d := range s.Rollouts {
		dv := d.Deployment
		n := c.count(cl, d)
		dv.RunningCount, dv.PendingCount = int32(n.running), int32(n.pending)
		v.RunningCount += dv.RunningCount
		v.PendingCount += dv.PendingCount
		v.Deployments = append(v.Deployments, dv)
		v.CurrentServiceRevisions = append(v.CurrentServiceRevisions, wire.ServiceCurrentRevisionSummary{
			Arn: d.Revision, RequestedTaskCount: d.DesiredCount, RunningTaskCount: dv.RunningCount, PendingTaskCount: dv.PendingCount})
	}
	v.Events = slices.Clone(s.Events)
	if len(s.History) > 0 && !s.History[0].over() {
		v.CurrentServiceDeployment = s.History[0].ServiceDeploymentArn
	}
	if !tags {
		v.Tags = nil
	}
	return &v
}

func (c *T) listServices(call *api.Call, r *region, in *wire.ListServicesInput) (*wire.ListServicesOutput, error) {
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	var arns []string
	for _, s := range cl.Services {
		if s.Status != "INACTIVE" && (in.LaunchType == "" || in.LaunchType == s.LaunchType) && !call.Hidden(s.ServiceArn) {
			arns = append(arns, s.ServiceArn)
		}
	}
	slices.Sort(arns)
	limit := in.MaxResults
	if limit == nil {
		limit = new(int32(10)) // the other lists have a hundred
	}
	part, next, err := page(arns, limit, in.NextToken)
	return &wire.ListServicesOutput{ServiceArns: part, NextToken: next}, err
}

func (c *T) deleteService(call *api.Call, r *region, in *wire.DeleteServiceInput) (*wire.DeleteServiceOutput, error) {
	cl, err := r.activeCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	s := cl.findService(in.Service)
	if s == nil {
		return nil, api.Errorf("ServiceNotFoundException", "Service not found.")
	}
	if s.Status == "INACTIVE" {
		return nil, api.Errorf("ServiceNotActiveException", "Service was not ACTIVE.")
	}
	if s.DesiredCount > 0 && (in.Force == nil || !*in.Force) && s.Status == "ACTIVE" {
		return nil, badParameter("The service cannot be stopped while it is scaled above 0.")
	}
	s.Status, s.DesiredCount = "DRAINING", 0
	for _, d := range s.Rollouts {
		d.DesiredCount = 0
	}
	s.wake()
	return &wire.DeleteServiceOutput{Service: c.serviceView(cl, s, true)}, nil
}
