package ecs

import (
	"slices"
	"strconv"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/ecs/wire"
)

// clientError is how ECS refuses a task definition.
func clientError(format string, args ...any) error {
	return api.Errorf("ClientException", format, args...)
}

// checkTaskDefinition refuses what AWS refuses to register.
func checkTaskDefinition(in *wire.RegisterTaskDefinitionInput) error {
	switch {
	case in.Family == "":
		return clientError("Family should not be null or blank.")
	case !familyName.MatchString(in.Family):
		return clientError("Family contains invalid characters.")
	case len(in.ContainerDefinitions) == 0:
		return clientError("Container list cannot be empty.")
	case len(in.ContainerDefinitions) > 10:
		return clientError("Too many containers: a task definition can have up to 10.")
	case in.NetworkMode != "" && !slices.Contains([]string{"awsvpc", "bridge", "host", "none"}, in.NetworkMode):
		return clientError("Invalid network mode '%s'.", in.NetworkMode)
	}
	fargate := slices.Contains(in.RequiresCompatibilities, "FARGATE")
	if fargate {
		if err := checkFargate(in); err != nil {
			return err
		}
	}
	seen, essential := map[string]bool{}, false
	for _, d := range in.ContainerDefinitions {
		if seen[d.Name] {
			return clientError("Container names should be unique: '%s' is used twice.", d.Name)
		}
		seen[d.Name] = true
		essential = essential || d.Essential == nil || *d.Essential
		if err := checkContainer(in, &d, fargate); err != nil {
			return err
		}
	}
	if !essential {
		return clientError("A task definition must have at least one essential container.")
	}
	return checkOrder(in.ContainerDefinitions)
}

func checkFargate(in *wire.RegisterTaskDefinitionInput) error {
	cpu, memory := cpuUnits(in.Cpu), memoryMiB(in.Memory)
	switch {
	case in.NetworkMode != "awsvpc":
		return clientError("Fargate only supports network mode 'awsvpc'.")
	case cpu == "":
		return clientError("Fargate requires that 'cpu' be defined at the task level.")
	case memory == "":
		return clientError("Fargate requires that 'memory' be defined at the task level.")
	case !fargateSize(cpu, memory):
		return clientError("No Fargate configuration exists for given values: %s CPU, %s memory. See the Amazon ECS documentation for the valid values.", cpu, memory)
	}
	if e := in.EphemeralStorage; e != nil && (e.SizeInGiB < 21 || e.SizeInGiB > 200) {
		return clientError("The ephemeral storage must be between 21 and 200 GiB.")
	}
	for _, d := range in.ContainerDefinitions {
		if in.ExecutionRoleArn != "" {
			break
		}
		if isECR(d.Image) {
			return clientError("Fargate requires task definition to have execution role ARN to support ECR images.")
		}
		if d.LogConfiguration != nil && d.LogConfiguration.LogDriver == "awslogs" {
			return clientError("Fargate requires task definition to have execution role ARN to support log driver awslogs.")
		}
	}
	return nil
}

// fargateSize reports whether Fargate offers the combination.
func fargateSize(cpu, memory string) bool {
	units, err1 := strconv.Atoi(cpu)
	mib, err2 := strconv.Atoi(memory)
	if err1 != nil || err2 != nil {
		return false
	}
	steps := map[int]struct{ from, to, step int }{
		512: {1, 4, 1}, 1024: {2, 8, 1}, 2048: {4, 16, 1}, 4096: {8, 30, 1}, 8192: {16, 60, 4}, 16384: {32, 120, 8},
	}
	if units == 256 {
		return mib == 512 || mib == 1024 || mib == 2048
	}
	s, ok := steps[units]
	return ok && mib%1024 == 0 && mib/1024 >= s.from && mib/1024 <= s.to && (mib/1024-s.from)%s.step == 0
}

func checkContainer(in *wire.RegisterTaskDefinitionInput, d *wire.ContainerDefinition, fargate bool) error {
	switch {
	case d.Name == "":
		return clientError("Container.name should not be null or empty.")
	case !familyName.MatchString(d.Name):
		return clientError("Container.name contains invalid characters.")
	case d.Image == "":
		return clientError("Container.image should not be null or empty.")
	case in.Memory == "" && d.Memory == nil && d.MemoryReservation == nil:
		return clientError("Invalid setting for container '%s'. At least one of 'memory' or 'memoryReservation' must be specified.", d.Name)
	case d.Memory != nil && d.MemoryReservation != nil && *d.Memory < *d.MemoryReservation:
		return clientError("Invalid setting for container '%s'. The memory must be greater than or equal to the memory reservation.", d.Name)
	case d.HealthCheck != nil && len(d.HealthCheck.Command) == 0:
		return clientError("Invalid health check for container '%s'. The command must not be empty.", d.Name)
	case len(d.Secrets) > 0 && in.ExecutionRoleArn == "":
		return clientError("When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.")
	case fargate && d.Privileged != nil && *d.Privileged:
		return clientError("Fargate does not support privileged containers.")
	}
	for _, m := range d.MountPoints {
		if !slices.ContainsFunc(in.Volumes, func(v wire.Volume) bool { return v.Name == m.SourceVolume }) {
			return clientError("Unknown volume '%s'.", m.SourceVolume)
		}
	}
	if err := checkPorts(in, d); err != nil {
		return err
	}
	return checkLogs(d, fargate)
}

func checkPorts(in *wire.RegisterTaskDefinitionInput, d *wire.ContainerDefinition) error {
	for _, p := range d.PortMappings {
		if p.ContainerPort == nil && p.ContainerPortRange == "" {
			return clientError("Invalid port mapping for container '%s'. The container port must be specified.", d.Name)
		}
		if p.ContainerPort == nil {
			continue
		}
		if *p.ContainerPort < 1 || *p.ContainerPort > 65535 {
			return clientError("Container port must be between 1 and 65535: %d.", *p.ContainerPort)
		}
		same := p.HostPort == nil || *p.HostPort == *p.ContainerPort
		if in.NetworkMode == "awsvpc" && !same {
			return clientError("When networkMode=awsvpc, the host ports and container ports in port mappings must match.")
		}
		if in.NetworkMode == "host" && !same && *p.HostPort != 0 {
			return clientError("When networkMode=host, the host ports and container ports in port mappings must match.")
		}
	}
	return nil
}

func checkLogs(d *wire.ContainerDefinition, fargate bool) error {
	l := d.LogConfiguration
	if l == nil {
		return nil
	}
	drivers := []string{"json-file", "syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "awsfirelens"}
	if fargate {
		drivers = []string{"awslogs", "splunk", "awsfirelens"}
	}
	if !slices.Contains(drivers, l.LogDriver) {
		return clientError("Log driver '%s' is not supported for container '%s'.", l.LogDriver, d.Name)
	}
	if l.LogDriver != "awslogs" {
		return nil
	}
	need := []string{"awslogs-group"}
	if fargate {
		need = []string{"awslogs-group", "awslogs-region", "awslogs-stream-prefix"}
	}
	for _, option := range need {
		if l.Options[option] == "" {
			return clientError("Log driver awslogs requires options: %s", option)
		}
	}
	return nil
}

// checkOrder refuses dependencies on what is not there, and circles.
func checkOrder(all []wire.ContainerDefinition) error {
	byName := map[string]*wire.ContainerDefinition{}
	for i := range all {
		byName[all[i].Name] = &all[i]
	}
	state := map[string]int{} // 1: being looked at, 2: done
	var visit func(d *wire.ContainerDefinition) error
	visit = func(d *wire.ContainerDefinition) error {
		if state[d.Name] == 1 {
			return clientError("There is a circular dependency in the container dependencies of '%s'.", d.Name)
		}
		if state[d.Name] == 2 {
			return nil
		}
		state[d.Name] = 1
		for _, dep := range d.DependsOn {
			other := byName[dep.ContainerName]
			if other == nil {
				return clientError("Container '%s' depends on the container '%s', which is not in the task definition.", d.Name, dep.ContainerName)
			}
			if dep.Condition == "HEALTHY" && other.HealthCheck == nil {
				return clientError("Container '%s' depends on '%s' being HEALTHY, but it has no health check.", d.Name, dep.ContainerName)
			}
			if (dep.Condition == "SUCCESS" || dep.Condition == "COMPLETE") && (other.Essential == nil || *other.Essential) {
				return clientError("A container that another depends on with the condition %s must not be essential: '%s'.", dep.Condition, dep.ContainerName)
			}
			if err := visit(other); err != nil {
				return err
			}
		}
		state[d.Name] = 2
		return nil
	}
	for i := range all {
		if err := visit(&all[i]); err != nil {
			return err
		}
	}
	return nil
}
