package ecs

import (
	"slices"
	"strconv"
	"strings"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs/wire"
)

// defaultCluster is the name that is meant where none is given.
const defaultCluster = "default"

var clusterName = lazyregexp.New(`^[A-Za-z0-9_-]{1,255}$`)

func (c *T) createCluster(call *api.Call, r *region, in *wire.CreateClusterInput) (*wire.CreateClusterOutput, error) {
	name := in.ClusterName
	if name == "" {
		name = defaultCluster
	}
	if !clusterName.MatchString(name) {
		return nil, api.Errorf("InvalidParameterException", "Invalid cluster name. Cluster name must start with a letter and contain only letters, numbers, hyphens, and underscores.")
	}
	if old := r.Clusters[name]; old != nil && old.Status == "ACTIVE" {
		return &wire.CreateClusterOutput{Cluster: old.view(nil)}, nil
	}
	if err := r.checkProviders(in.CapacityProviders, in.DefaultCapacityProviderStrategy); err != nil {
		return nil, err
	}
	cl := &cluster{Services: map[string]*service{}, Tasks: map[string]*task{}, Instances: map[string]*wire.ContainerInstance{}}
	cl.Cluster = wire.Cluster{
		ClusterArn: r.arn("cluster/" + name), ClusterName: name, Status: "ACTIVE", Tags: in.Tags, Configuration: in.Configuration,
		CapacityProviders: orEmpty(in.CapacityProviders), DefaultCapacityProviderStrategy: orEmpty(in.DefaultCapacityProviderStrategy),
		Settings: []wire.ClusterSetting{{Name: "containerInsights", Value: "disabled"}},
	}
	cl.set(in.Settings)
	if in.ServiceConnectDefaults != nil {
		cl.ServiceConnectDefaults = &wire.ClusterServiceConnectDefaults{Namespace: in.ServiceConnectDefaults.Namespace}
	}
	r.Clusters[name] = cl
	return &wire.CreateClusterOutput{Cluster: cl.view([]string{"SETTINGS", "TAGS", "CONFIGURATIONS"})}, nil
}

// orEmpty makes a list that AWS answers even if there is nothing in it.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (cl *cluster) set(settings []wire.ClusterSetting) {
	for _, s := range settings {
		cl.Settings = slices.DeleteFunc(cl.Settings, func(old wire.ClusterSetting) bool { return old.Name == s.Name })
		cl.Settings = append(cl.Settings, s)
	}
}

// checkProviders reports capacity providers that do not exist.
func (r *region) checkProviders(names []string, strategy []wire.CapacityProviderStrategyItem) error {
	for _, name := range names {
		if name != "FARGATE" && name != "FARGATE_SPOT" && r.Providers[name] == nil {
			return api.Errorf("InvalidParameterException", "The specified capacity provider '%s' was not found or is not in an ACTIVE state. Specify a valid name or ARN and try again.", name)
		}
	}
	for _, item := range strategy {
		if !slices.Contains(names, item.CapacityProvider) {
			return api.Errorf("InvalidParameterException", "The specified capacity provider strategy cannot contain a capacity provider that is not associated with the cluster. Associate the capacity provider '%s' with the cluster and try again.", item.CapacityProvider)
		}
	}
	return nil
}

// view is the cluster as it is answered: counts are of now, and what was not
// asked for with include is left out.
func (cl *cluster) view(include []string) *wire.Cluster {
	v := cl.Cluster
	v.RegisteredContainerInstancesCount = int32(len(cl.Instances))
	v.RunningTasksCount, v.PendingTasksCount, v.ActiveServicesCount = 0, 0, 0
	var fargateRunning, fargatePending int
	for _, t := range cl.Tasks {
		switch t.phase() {
		case phaseRunning:
			v.RunningTasksCount++
			fargateRunning++
		case phasePending:
			v.PendingTasksCount++
			fargatePending++
		}
	}
	for _, s := range cl.Services {
		if s.Status == "ACTIVE" {
			v.ActiveServicesCount++
		}
	}
	v.Statistics = []wire.KeyValuePair{}
	if slices.Contains(include, "STATISTICS") {
		v.Statistics = append(v.Statistics,
			wire.KeyValuePair{Name: "runningFargateTasksCount", Value: strconv.Itoa(fargateRunning)},
			wire.KeyValuePair{Name: "pendingFargateTasksCount", Value: strconv.Itoa(fargatePending)},
			wire.KeyValuePair{Name: "activeServiceCount", Value: strconv.Itoa(int(v.ActiveServicesCount))})
	}
	v.Tags = orEmpty(v.Tags)
	if !slices.Contains(include, "TAGS") {
		v.Tags = []wire.Tag{}
	}
	if !slices.Contains(include, "SETTINGS") {
		v.Settings = []wire.ClusterSetting{}
	}
	if !slices.Contains(include, "CONFIGURATIONS") {
		v.Configuration = nil
	}
	return &v
}

// cluster finds a cluster by name or ARN; empty means "default". One that was
// deleted is found, with its status.
func (r *region) cluster(name string) (*cluster, error) {
	if name == "" {
		name = defaultCluster
	}
	cl := r.Clusters[lastPart(name)]
	if cl == nil || strings.HasPrefix(name, "arn:") && cl.ClusterArn != name {
		return nil, api.Errorf("ClusterNotFoundException", "Cluster not found.")
	}
	return cl, nil
}

// activeCluster is cluster for calls that make something in it.
func (r *region) activeCluster(name string) (*cluster, error) {
	cl, err := r.cluster(name)
	if err != nil {
		return nil, err
	}
	if cl.Status != "ACTIVE" {
		return nil, api.Errorf("ClusterNotFoundException", "Cluster not found.")
	}
	return cl, nil
}

func (c *T) updateCluster(call *api.Call, r *region, in *wire.UpdateClusterInput) (*wire.UpdateClusterOutput, error) {
	cl, err := r.activeCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	cl.set(in.Settings)
	if in.Configuration != nil {
		cl.Configuration = in.Configuration
	}
	if in.ServiceConnectDefaults != nil {
		cl.ServiceConnectDefaults = &wire.ClusterServiceConnectDefaults{Namespace: in.ServiceConnectDefaults.Namespace}
	}
	return &wire.UpdateClusterOutput{Cluster: cl.view([]string{"SETTINGS", "CONFIGURATIONS"})}, nil
}

func (c *T) updateClusterSettings(call *api.Call, r *region, in *wire.UpdateClusterSettingsInput) (*wire.UpdateClusterSettingsOutput, error) {
	cl, err := r.activeCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	cl.set(in.Settings)
	return &wire.UpdateClusterSettingsOutput{Cluster: cl.view([]string{"SETTINGS"})}, nil
}

func (c *T) describeClusters(call *api.Call, r *region, in *wire.DescribeClustersInput) (*wire.DescribeClustersOutput, error) {
	out := &wire.DescribeClustersOutput{Clusters: []wire.Cluster{}, Failures: []wire.Failure{}}
	names := in.Clusters
	if len(names) == 0 {
		names = []string{defaultCluster}
	}
	for _, name := range names {
		cl, err := r.cluster(name)
		if err != nil || call.Hidden(cl.ClusterArn) {
			out.Failures = append(out.Failures, missing(r, "cluster", name))
			continue
		}
		out.Clusters = append(out.Clusters, *cl.view(in.Include))
	}
	return out, nil
}

// missing is how a Describe tells that there is no such thing.
func missing(r *region, kind, name string) wire.Failure {
	if !strings.HasPrefix(name, "arn:") {
		name = r.arn(kind + "/" + name)
	}
	return wire.Failure{Arn: name, Reason: "MISSING"}
}

func (c *T) listClusters(call *api.Call, r *region, in *wire.ListClustersInput) (*wire.ListClustersOutput, error) {
	var arns []string
	for _, cl := range r.Clusters {
		if cl.Status == "ACTIVE" && !call.Hidden(cl.ClusterArn) {
			arns = append(arns, cl.ClusterArn)
		}
	}
	slices.Sort(arns)
	part, next, err := page(arns, in.MaxResults, in.NextToken)
	return &wire.ListClustersOutput{ClusterArns: part, NextToken: next}, err
}

func (c *T) deleteCluster(call *api.Call, r *region, in *wire.DeleteClusterInput) (*wire.DeleteClusterOutput, error) {
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if len(cl.Instances) > 0 {
		return nil, api.Errorf("ClusterContainsContainerInstancesException", "The Cluster cannot be deleted while Container Instances are active or draining.")
	}
	for _, s := range cl.Services {
		if s.Status != "INACTIVE" {
			return nil, api.Errorf("ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active.")
		}
	}
	for _, t := range cl.Tasks {
		if t.phase() != phaseStopped {
			return nil, api.Errorf("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
		}
	}
	cl.Status = "INACTIVE"
	return &wire.DeleteClusterOutput{Cluster: cl.view(nil)}, nil
}

func (c *T) putClusterCapacityProviders(call *api.Call, r *region, in *wire.PutClusterCapacityProvidersInput) (*wire.PutClusterCapacityProvidersOutput, error) {
	cl, err := r.activeCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if err := r.checkProviders(in.CapacityProviders, in.DefaultCapacityProviderStrategy); err != nil {
		return nil, err
	}
	cl.CapacityProviders, cl.DefaultCapacityProviderStrategy = orEmpty(in.CapacityProviders), orEmpty(in.DefaultCapacityProviderStrategy)
	return &wire.PutClusterCapacityProvidersOutput{Cluster: cl.view(nil)}, nil
}

func (c *T) createCapacityProvider(call *api.Call, r *region, in *wire.CreateCapacityProviderInput) (*wire.CreateCapacityProviderOutput, error) {
	if in.Name == "" || in.AutoScalingGroupProvider == nil {
		return nil, api.Errorf("ClientException", "A capacity provider needs a name and an auto scaling group provider.")
	}
	for _, prefix := range []string{"aws", "ecs", "fargate"} {
		if strings.HasPrefix(strings.ToLower(in.Name), prefix) {
			return nil, api.Errorf("ClientException", "The capacity provider name '%s' is invalid: names cannot begin with aws, ecs or fargate.", in.Name)
		}
	}
	if r.Providers[in.Name] != nil {
		return nil, api.Errorf("UpdateInProgressException", "A capacity provider with the name '%s' exists already.", in.Name)
	}
	p := &wire.CapacityProvider{
		CapacityProviderArn: r.arn("capacity-provider/" + in.Name), Name: in.Name, Status: "ACTIVE", Type: "EC2_AUTOSCALING",
		AutoScalingGroupProvider: in.AutoScalingGroupProvider, Tags: orEmpty(in.Tags),
	}
	r.Providers[in.Name] = p
	return &wire.CreateCapacityProviderOutput{CapacityProvider: p}, nil
}

func (c *T) describeCapacityProviders(call *api.Call, r *region, in *wire.DescribeCapacityProvidersInput) (*wire.DescribeCapacityProvidersOutput, error) {
	out := &wire.DescribeCapacityProvidersOutput{CapacityProviders: []wire.CapacityProvider{}, Failures: []wire.Failure{}}
	all := map[string]*wire.CapacityProvider{}
	for _, name := range []string{"FARGATE", "FARGATE_SPOT"} {
		all[name] = &wire.CapacityProvider{CapacityProviderArn: r.arn("capacity-provider/" + name), Name: name, Status: "ACTIVE", Type: name, Tags: []wire.Tag{}}
	}
	for name, p := range r.Providers {
		all[name] = p
	}
	names := in.CapacityProviders
	if len(names) == 0 {
		for name := range all {
			names = append(names, name)
		}
		slices.Sort(names)
	}
	for _, name := range names {
		if p := all[lastPart(name)]; p != nil {
			out.CapacityProviders = append(out.CapacityProviders, *p)
		} else {
			out.Failures = append(out.Failures, missing(r, "capacity-provider", name))
		}
	}
	return out, nil
}

func (c *T) deleteCapacityProvider(call *api.Call, r *region, in *wire.DeleteCapacityProviderInput) (*wire.DeleteCapacityProviderOutput, error) {
	name := lastPart(in.CapacityProvider)
	p := r.Providers[name]
	if p == nil {
		return nil, api.Errorf("ClientException", "The specified capacity provider does not exist. Specify a valid name or ARN and try again.")
	}
	for _, cl := range r.Clusters {
		if cl.Status == "ACTIVE" && slices.Contains(cl.CapacityProviders, name) {
			return nil, api.Errorf("ResourceInUseException", "The specified capacity provider is in use and cannot be removed.")
		}
	}
	delete(r.Providers, name)
	gone := *p
	gone.Status = "INACTIVE"
	return &wire.DeleteCapacityProviderOutput{CapacityProvider: &gone}, nil
}
