package ecs

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"bake/internal/sandbox/ecs/wire"
)

// fillTaskDefinition returns a definition as AWS describes it, with everything
// that it fills in.
func fillTaskDefinition(in *wire.RegisterTaskDefinitionInput) wire.TaskDefinition {
	td := wire.TaskDefinition{
		TaskRoleArn: in.TaskRoleArn, ExecutionRoleArn: in.ExecutionRoleArn, NetworkMode: in.NetworkMode,
		RequiresCompatibilities: in.RequiresCompatibilities, Cpu: cpuUnits(in.Cpu), Memory: memoryMiB(in.Memory),
		PidMode: in.PidMode, IpcMode: in.IpcMode, ProxyConfiguration: in.ProxyConfiguration, InferenceAccelerators: in.InferenceAccelerators,
		EphemeralStorage: in.EphemeralStorage, RuntimePlatform: in.RuntimePlatform, EnableFaultInjection: in.EnableFaultInjection,
		PlacementConstraints: orEmpty(in.PlacementConstraints), Volumes: []wire.Volume{},
	}
	if td.NetworkMode == "" {
		td.NetworkMode = "bridge"
	}
	if td.EnableFaultInjection == nil {
		td.EnableFaultInjection = new(false)
	}
	for _, v := range in.Volumes {
		td.Volumes = append(td.Volumes, fillVolume(v))
	}
	for _, d := range in.ContainerDefinitions {
		td.ContainerDefinitions = append(td.ContainerDefinitions, fillContainer(d, td.NetworkMode))
	}
	td.Compatibilities = compatibilities(&td)
	td.RequiresAttributes = attributes(&td)
	return td
}

func fillVolume(v wire.Volume) wire.Volume {
	bare := v.DockerVolumeConfiguration == nil && v.EfsVolumeConfiguration == nil && v.FsxWindowsFileServerVolumeConfiguration == nil && v.ConfiguredAtLaunch == nil && v.S3filesVolumeConfiguration == nil
	if v.Host == nil && bare {
		v.Host = &wire.HostVolumeProperties{}
	}
	if d := v.DockerVolumeConfiguration; d != nil && d.Scope == "" {
		filled := *d
		filled.Scope = "task"
		v.DockerVolumeConfiguration = &filled
	}
	if e := v.EfsVolumeConfiguration; e != nil && e.RootDirectory == "" {
		filled := *e
		filled.RootDirectory = "/"
		v.EfsVolumeConfiguration = &filled
	}
	return v
}

func fillContainer(d wire.ContainerDefinition, mode string) wire.ContainerDefinition {
	if d.Essential == nil {
		d.Essential = new(true)
	}
	d.Environment = slices.Clone(orEmpty(d.Environment))
	// The order is not the one that was given; by name is one that it may be.
	slices.SortStableFunc(d.Environment, func(a, b wire.KeyValuePair) int { return strings.Compare(a.Name, b.Name) })
	if d.Secrets != nil {
		d.Secrets = slices.Clone(d.Secrets)
		slices.SortStableFunc(d.Secrets, func(a, b wire.Secret) int { return strings.Compare(a.Name, b.Name) })
	}
	d.MountPoints, d.VolumesFrom, d.SystemControls = orEmpty(d.MountPoints), orEmpty(d.VolumesFrom), orEmpty(d.SystemControls)
	ports := []wire.PortMapping{}
	for _, p := range d.PortMappings {
		if p.Protocol == "" {
			p.Protocol = "tcp"
		}
		if p.HostPort == nil && p.ContainerPortRange == "" {
			p.HostPort = new(int32(0))
			if mode == "awsvpc" || mode == "host" {
				p.HostPort = p.ContainerPort
			}
		}
		ports = append(ports, p)
	}
	d.PortMappings = ports
	if h := d.HealthCheck; h != nil {
		filled := *h
		filled.Interval, filled.Timeout, filled.Retries = or(h.Interval, 30), or(h.Timeout, 5), or(h.Retries, 3)
		d.HealthCheck = &filled
	}
	if p := d.RestartPolicy; p != nil {
		filled := *p
		filled.IgnoredExitCodes = orEmpty(p.IgnoredExitCodes)
		filled.RestartAttemptPeriod = or(p.RestartAttemptPeriod, 60)
		d.RestartPolicy = &filled
	}
	return d
}

func or(n *int32, otherwise int32) *int32 {
	if n == nil {
		return &otherwise
	}
	return n
}

// cpuUnits reads "1 vCPU" as what it is stored as, "1024".
func cpuUnits(s string) string {
	n, ok := strings.CutSuffix(strings.ToLower(strings.ReplaceAll(s, " ", "")), "vcpu")
	if f, err := strconv.ParseFloat(n, 64); ok && err == nil {
		return strconv.Itoa(int(f * 1024))
	}
	return s
}

// memoryMiB reads "2 GB" as what it is stored as, "2048".
func memoryMiB(s string) string {
	n, ok := strings.CutSuffix(strings.ToLower(strings.ReplaceAll(s, " ", "")), "gb")
	if f, err := strconv.ParseFloat(n, 64); ok && err == nil {
		return strconv.Itoa(int(f * 1024))
	}
	return s
}

// compatibilities are the launch types that a definition is valid for.
func compatibilities(td *wire.TaskDefinition) []string {
	all := []string{"EC2"}
	if slices.Contains(td.RequiresCompatibilities, "EXTERNAL") || td.NetworkMode != "awsvpc" {
		all = append([]string{"EXTERNAL"}, all...)
	}
	if td.NetworkMode == "awsvpc" && td.Cpu != "" && td.Memory != "" && fargateSize(td.Cpu, td.Memory) {
		all = append(all, "FARGATE")
	}
	if slices.Contains(td.RequiresCompatibilities, "MANAGED_INSTANCES") {
		all = append(all, "MANAGED_INSTANCES")
	}
	return all
}

// attributes are what a container instance must have to run the definition.
func attributes(td *wire.TaskDefinition) []wire.Attribute {
	need := map[string]bool{"com.amazonaws.ecs.capability.docker-remote-api.1.18": true}
	if td.TaskRoleArn != "" {
		need["com.amazonaws.ecs.capability.task-iam-role"] = true
	}
	if td.NetworkMode == "awsvpc" {
		need["ecs.capability.task-eni"] = true
	}
	for _, d := range td.ContainerDefinitions {
		containerAttributes(need, td, &d)
	}
	var all []wire.Attribute
	for _, name := range slices.Sorted(maps.Keys(need)) {
		all = append(all, wire.Attribute{Name: name})
	}
	return all
}

func containerAttributes(need map[string]bool, td *wire.TaskDefinition, d *wire.ContainerDefinition) {
	if l := d.LogConfiguration; l != nil {
		need["com.amazonaws.ecs.capability.logging-driver."+l.LogDriver] = true
		if l.LogDriver == "awslogs" {
			need["com.amazonaws.ecs.capability.docker-remote-api.1.19"] = true
			if td.ExecutionRoleArn != "" {
				need["ecs.capability.execution-role-awslogs"] = true
			}
		}
	}
	if isECR(d.Image) {
		need["com.amazonaws.ecs.capability.ecr-auth"] = true
		if td.ExecutionRoleArn != "" {
			need["ecs.capability.execution-role-ecr-pull"] = true
		}
	}
	if d.HealthCheck != nil {
		need["ecs.capability.container-health-check"] = true
		need["com.amazonaws.ecs.capability.docker-remote-api.1.24"] = true
	}
	for _, s := range d.Secrets {
		if strings.Contains(s.ValueFrom, ":secretsmanager:") {
			need["ecs.capability.secrets.asm.environment-variables"] = true
		} else {
			need["ecs.capability.secrets.ssm.environment-variables"] = true
		}
	}
	if len(d.DependsOn) > 0 {
		need["ecs.capability.container-ordering"] = true
	}
	if d.Privileged != nil && *d.Privileged {
		need["com.amazonaws.ecs.capability.privileged-container"] = true
	}
}

// isECR reports whether an image is one of ECR's private registries.
func isECR(image string) bool {
	host, _, ok := strings.Cut(image, "/")
	return ok && strings.Contains(host, ".dkr.ecr.")
}
