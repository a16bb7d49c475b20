package ecs

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
)

// checkCluster wants the cluster to be active, and to have what the tasks
// shall run on.
func (d *deployment) checkCluster(ctx context.Context) ([]Check, error) {
	subject := "cluster " + short(d.Cluster)
	got, err := d.ecs.DescribeClusters(ctx, &awsecs.DescribeClustersInput{Clusters: []string{d.Cluster}})
	if err != nil {
		return nil, err
	}
	if len(got.Clusters) == 0 || aws.ToString(got.Clusters[0].Status) != "ACTIVE" {
		return []Check{ng(subject, "`bake ecs clusters create "+short(d.Cluster)+"` makes it", "there is no such cluster in %s", d.cfg.Region)}, nil
	}
	out := []Check{fine(subject)}
	c, p := got.Clusters[0], d.want.placementOf(d.live)
	for _, item := range p.capacity {
		name := aws.ToString(item.CapacityProvider)
		if !slices.Contains(c.CapacityProviders, name) {
			out = append(out, ng("capacity provider "+name, "add it to the cluster (PutClusterCapacityProviders)", "cluster %s does not have it", short(d.Cluster)))
		}
	}
	if (p.launch == types.LaunchTypeEc2 || p.launch == "" && len(p.capacity) == 0 && len(c.DefaultCapacityProviderStrategy) == 0) && c.RegisteredContainerInstancesCount == 0 {
		out = append(out, ng(subject, "choose `launch_type: FARGATE`, or add instances to it", "it has no instances for launch type EC2"))
	}
	return out, nil
}

// checkService looks at what does not fit together.
func (d *deployment) checkService(ctx context.Context) ([]Check, error) {
	out := d.checkDefinition()
	if d.out.Service == "" {
		return out, nil
	}
	subject := "service " + d.out.Service
	balancers := d.want.balancers()
	if d.live != nil && len(balancers) == 0 {
		balancers = d.live.LoadBalancers
	}
	if d.want.Grace != nil && len(balancers) == 0 {
		out = append(out, ng(subject, "leave health_check_grace_period out", "a grace period needs a load balancer"))
	}
	if d.live != nil && d.out.LaunchType != "" && d.live.LaunchType != "" && string(d.live.LaunchType) != d.out.LaunchType {
		out = append(out, ng(subject, "delete the service, or use capacity_providers", "its launch type is %s and cannot be changed", d.live.LaunchType))
	}
	if d.live != nil && d.out.Scheduling != "" && string(d.live.SchedulingStrategy) != d.out.Scheduling {
		out = append(out, ng(subject, "delete the service to make it anew", "its scheduling strategy is %s and cannot be changed", d.live.SchedulingStrategy))
	}
	more, err := d.checkAlarms(ctx)
	if len(out)+len(more) == 0 {
		out = append(out, fine(subject))
	}
	return append(out, more...), err
}

// checkDefinition finds what AWS would refuse of the task definition.
func (d *deployment) checkDefinition() []Check {
	var out []Check
	subject := "task definition " + aws.ToString(d.def.Family)
	if d.fargate() {
		if d.def.NetworkMode != types.NetworkModeAwsvpc {
			out = append(out, ng(subject, "set networkMode: awsvpc", "Fargate tasks must be awsvpc"))
		}
		if why := fargateSize(aws.ToString(d.def.Cpu), aws.ToString(d.def.Memory)); why != "" {
			out = append(out, ng(subject, "", "%s", why))
		}
	}
	for _, c := range d.def.ContainerDefinitions {
		for _, p := range c.PortMappings {
			if d.def.NetworkMode == types.NetworkModeAwsvpc && p.HostPort != nil && *p.HostPort != 0 && *p.HostPort != aws.ToInt32(p.ContainerPort) {
				out = append(out, ng(subject, "leave the host port out", "container %s: in awsvpc mode host port %d must be %d", aws.ToString(c.Name), *p.HostPort, aws.ToInt32(p.ContainerPort)))
			}
		}
	}
	return out
}

// fargateSize is what is wrong with a task's size on Fargate; empty if it is fine.
func fargateSize(cpu, memory string) string {
	cpu, memory = units(cpu, map[string]float64{"": 1, "vcpu": 1024}), units(memory, map[string]float64{"": 1, "mb": 1, "gb": 1024})
	m, err := strconv.Atoi(memory)
	limits := map[string][2]int{"256": {512, 2048}, "512": {1024, 4096}, "1024": {2048, 8192}, "2048": {4096, 16384},
		"4096": {8192, 30720}, "8192": {16384, 61440}, "16384": {32768, 122880}}
	l, known := limits[cpu]
	switch {
	case cpu == "" || memory == "":
		return "Fargate tasks need cpu and memory"
	case !known:
		return fmt.Sprintf("Fargate has no tasks with %s CPU units: 256, 512, 1024, 2048, 4096, 8192 or 16384", cpu)
	case err != nil || m < l[0] || m > l[1]:
		return fmt.Sprintf("Fargate tasks with %s CPU units have %d to %d MiB of memory, not %s", cpu, l[0], l[1], memory)
	}
	return ""
}

func (d *deployment) checkAlarms(ctx context.Context) ([]Check, error) {
	if d.want.Deployment == nil || len(d.want.Deployment.Alarms) == 0 {
		return nil, nil
	}
	names := []string(d.want.Deployment.Alarms)
	got, err := d.alarms.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNames: names, AlarmTypes: []cwtypes.AlarmType{cwtypes.AlarmTypeMetricAlarm, cwtypes.AlarmTypeCompositeAlarm}})
	if err != nil {
		return nil, err
	}
	state := map[string]cwtypes.StateValue{}
	for _, a := range got.MetricAlarms {
		state[aws.ToString(a.AlarmName)] = a.StateValue
	}
	for _, a := range got.CompositeAlarms {
		state[aws.ToString(a.AlarmName)] = a.StateValue
	}
	var out []Check
	for _, name := range names {
		switch s, ok := state[name]; {
		case !ok:
			out = append(out, ng("alarm "+name, "make it, or correct its name", "there is no such alarm"))
		case s == cwtypes.StateValueAlarm:
			out = append(out, ng("alarm "+name, "wait until it is over: it would roll the deployment back at once", "it is in ALARM already"))
		default:
			out = append(out, fine("alarm "+name))
		}
	}
	return out, nil
}

// checkBalancers wants target groups that are there, of the right type and in
// use by a load balancer, and the container's port in the task definition.
func (d *deployment) checkBalancers(ctx context.Context) ([]Check, error) {
	list := d.want.balancers()
	if len(list) == 0 && d.live != nil {
		list = d.live.LoadBalancers // they stay; the new definition has to fit them
	}
	var out []Check
	var arns []string
	for _, l := range list {
		if why := d.reaches(l); why != "" {
			out = append(out, ng("load balancer", "name a port of the container under portMappings", "%s", why))
		}
		for _, a := range []*string{l.TargetGroupArn, advanced(l).AlternateTargetGroupArn} {
			if a != nil {
				arns = append(arns, *a)
			}
		}
	}
	if len(arns) == 0 || d.live != nil && len(d.want.Balancers) == 0 {
		return out, nil
	}
	got, err := d.elb.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{TargetGroupArns: arns})
	if err != nil && isMissing(err) {
		return append(out, ng("target groups", "", "%v", err)), nil
	}
	if err != nil {
		return out, err
	}
	for _, g := range got.TargetGroups {
		out = append(out, d.checkTargetGroup(g))
	}
	return out, nil
}

func advanced(l types.LoadBalancer) types.AdvancedConfiguration {
	if l.AdvancedConfiguration == nil {
		return types.AdvancedConfiguration{}
	}
	return *l.AdvancedConfiguration
}

// reaches is why a load balancer would not reach the container; empty if it does.
func (d *deployment) reaches(l types.LoadBalancer) string {
	name, port := aws.ToString(l.ContainerName), aws.ToInt32(l.ContainerPort)
	c, err := containerNamed(d.def, name)
	if err != nil {
		return err.Error()
	}
	for _, p := range c.PortMappings {
		if aws.ToInt32(p.ContainerPort) == port || p.ContainerPortRange != nil {
			return ""
		}
	}
	return fmt.Sprintf("container %s does not open port %d", name, port)
}

func (d *deployment) checkTargetGroup(g elbtypes.TargetGroup) Check {
	subject := "target group " + aws.ToString(g.TargetGroupName)
	want := elbtypes.TargetTypeEnumInstance
	if d.def.NetworkMode == types.NetworkModeAwsvpc {
		want = elbtypes.TargetTypeEnumIp
	}
	switch {
	case g.TargetType != want:
		return ng(subject, "make a target group of type "+string(want), "its target type is %s, but %s tasks need %s", g.TargetType, orBridge(d.def.NetworkMode), want)
	case len(g.LoadBalancerArns) == 0:
		return ng(subject, "add a listener or rule that forwards to it", "no load balancer uses it")
	}
	return fine(subject)
}

func orBridge(m types.NetworkMode) string {
	if m == "" {
		return "bridge"
	}
	return string(m)
}

// checkNetwork wants subnets and groups of one VPC, if the tasks have a
// network of their own.
func (d *deployment) checkNetwork(ctx context.Context) ([]Check, error) {
	n := d.want.placementOf(d.live).network
	own := d.def.NetworkMode == types.NetworkModeAwsvpc
	switch {
	case own && (n == nil || n.AwsvpcConfiguration == nil):
		return []Check{ng("network", "add `network: {subnets: [...]}`", "awsvpc tasks need subnets")}, nil
	case !own && n != nil && n.AwsvpcConfiguration != nil && d.out.Network != nil:
		return []Check{ng("network", "leave `network` out, or set networkMode: awsvpc", "%s tasks have no network of their own", orBridge(d.def.NetworkMode))}, nil
	case !own || d.out.Network == nil:
		return nil, nil // what the service has already works
	}
	vpc := n.AwsvpcConfiguration
	var out []Check
	if vpc.AssignPublicIp == types.AssignPublicIpEnabled && !d.fargate() {
		out = append(out, ng("network", "leave public_ip out", "only Fargate tasks can have public addresses"))
	}
	vpcs := map[string]bool{}
	subnets, err := d.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: vpc.Subnets})
	if err != nil && !isMissing(err) {
		return out, err
	}
	if err != nil {
		return append(out, ng("subnets "+strings.Join(vpc.Subnets, ", "), "", "%v", err)), nil
	}
	for _, s := range subnets.Subnets {
		vpcs[aws.ToString(s.VpcId)] = true
		c := fine("subnet " + aws.ToString(s.SubnetId))
		if s.AvailableIpAddressCount != nil && *s.AvailableIpAddressCount == 0 {
			c = ng(c.Subject, "add another subnet", "it has no free addresses")
		}
		out = append(out, c)
	}
	if len(vpc.SecurityGroups) == 0 {
		return out, nil
	}
	groups, err := d.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: vpc.SecurityGroups})
	if err != nil && !isMissing(err) {
		return out, err
	}
	if err != nil {
		return append(out, ng("security groups "+strings.Join(vpc.SecurityGroups, ", "), "", "%v", err)), nil
	}
	for _, g := range groups.SecurityGroups {
		vpcs[aws.ToString(g.VpcId)] = true
		out = append(out, fine("security group "+aws.ToString(g.GroupId)))
	}
	if len(vpcs) > 1 {
		out = append(out, ng("network", "", "subnets and security groups are of %d VPCs, not of one", len(vpcs)))
	}
	return out, nil
}

// Quota codes of Service Quotas (https://docs.aws.amazon.com/general/latest/gr/ecs-service.html).
const fargateVCPUs = "L-3032A538" // Fargate On-Demand vCPU resource count

// checkQuotas compares what the service may use with the account's limits, as
// far as they can be read.
func (d *deployment) checkQuotas(ctx context.Context) ([]Check, error) {
	cpu, err := strconv.ParseFloat(units(aws.ToString(d.def.Cpu), map[string]float64{"": 1, "vcpu": 1024}), 64)
	if !d.fargate() || err != nil || d.out.Service == "" {
		return nil, nil
	}
	count := int32(1)
	switch {
	case d.want.Desired != nil:
		count = *d.want.Desired
	case d.live != nil:
		count = d.live.DesiredCount
	}
	subject := "quota of Fargate vCPUs"
	got, err := d.quotas.GetServiceQuota(ctx, &servicequotas.GetServiceQuotaInput{ServiceCode: aws.String("fargate"), QuotaCode: aws.String(fargateVCPUs)})
	switch {
	case err != nil && (mayNotAsk(err) || isMissing(err) || strings.Contains(err.Error(), "NoSuchResource")):
		return []Check{skipped(subject, "it cannot be read from here")}, nil
	case err != nil:
		return nil, err
	}
	if need := cpu / 1024 * float64(count); got.Quota != nil && aws.ToFloat64(got.Quota.Value) < need {
		return []Check{ng(subject, "ask for a higher quota (Service Quotas, Fargate)", "%d tasks need %g vCPUs, the account may have %g", count, need, aws.ToFloat64(got.Quota.Value))}, nil
	}
	return []Check{fine(subject)}, nil
}
