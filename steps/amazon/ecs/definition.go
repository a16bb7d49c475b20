package ecs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/templates"
)

// answered are the keys that AWS adds when it describes a task definition: a
// file may be such an answer, saved.
var answered = []string{"taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities",
	"registeredAt", "registeredBy", "deregisteredAt", "deleteRequestedAt", "tags"}

// definition reads the task definition that the template names or holds. It
// is nil if the template names a revision, or nothing.
func (t Task) definition(final bool) (*Definition, templates.Diagnostics) {
	b := t.block
	if b.IsZero() || b.IsNull() {
		return nil, nil
	}
	if text, ok := b.Text(); ok {
		if isRevision(text) {
			return nil, nil
		}
		file, diags := b.File(final)
		if len(diags) > 0 {
			return nil, diags
		}
		b = file
	}
	if !b.IsMapping() {
		if b.Unresolved() {
			return nil, nil
		}
		return nil, templates.Diagnostics{b.Errorf("a task definition must be a mapping")}
	}
	if b.Has("taskDefinition") { // the whole answer of describe-task-definition
		b = b.At("taskDefinition")
	}
	def := new(Definition)
	return def, fill(b, def, answered...)
}

// named is the revision or family that the template names; empty if it holds a
// definition, or nothing.
func (t Task) named() string {
	if text, ok := t.block.Text(); ok && isRevision(text) {
		return text
	}
	return ""
}

func newContainer() *types.ContainerDefinition { return new(types.ContainerDefinition) }

// checkDefinition finds what AWS would refuse.
func checkDefinition(d *Definition, b templates.Block) templates.Diagnostics {
	if len(d.ContainerDefinitions) == 0 && !b.Unresolved() {
		wrong := b.Errorf("the task definition has no containers")
		wrong.Hint = "containerDefinitions: lists them, each with name and image"
		return templates.Diagnostics{wrong}
	}
	var out templates.Diagnostics
	seen := map[string]bool{}
	for _, c := range d.ContainerDefinitions {
		name := aws.ToString(c.Name)
		if name != "" && seen[name] {
			out = append(out, b.Errorf("two containers are called %q", name))
		}
		seen[name] = true
	}
	for _, c := range d.ContainerDefinitions {
		for _, dep := range c.DependsOn {
			if on := aws.ToString(dep.ContainerName); on != "" && !seen[on] {
				out = append(out, b.Errorf("container %q depends on %q, which there is not", aws.ToString(c.Name), on))
			}
		}
	}
	return out
}

// containerNamed returns the container of that name; an empty name means the
// only one, or the only essential one.
func containerNamed(d *Definition, name string) (*types.ContainerDefinition, error) {
	var names []string
	var essential []*types.ContainerDefinition
	for i := range d.ContainerDefinitions {
		c := &d.ContainerDefinitions[i]
		if name != "" && aws.ToString(c.Name) == name {
			return c, nil
		}
		names = append(names, aws.ToString(c.Name))
		if c.Essential == nil || *c.Essential {
			essential = append(essential, c)
		}
	}
	switch {
	case name != "":
		return nil, fmt.Errorf("the task definition has no container %q, only %s", name, strings.Join(names, ", "))
	case len(names) == 1:
		return &d.ContainerDefinitions[0], nil
	case len(essential) == 1:
		return essential[0], nil
	}
	return nil, fmt.Errorf("the task definition has several containers (%s): name one with `container`", strings.Join(names, ", "))
}

// apply makes the changes that the template asks for.
func (o *Output) apply(d *Definition, region string) error {
	for set, value := range map[**string]string{&d.Cpu: o.CPU, &d.Memory: o.Memory, &d.TaskRoleArn: o.TaskRole, &d.ExecutionRoleArn: executionRole(o.ExecRole)} {
		if value != "" {
			*set = aws.String(value)
		}
	}
	if o.Ephemeral != 0 {
		d.EphemeralStorage = &types.EphemeralStorage{SizeInGiB: o.Ephemeral}
	}
	if o.Platform != "" {
		d.RuntimePlatform = runtimePlatform(o.Platform)
	}
	if o.Change.any() {
		c, err := containerNamed(d, o.Container)
		if err != nil {
			return err
		}
		if err := o.Change.apply(c, o.Service, region); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Others)) {
		c, err := containerNamed(d, name)
		if err != nil {
			return err
		}
		change := o.Others[name]
		if change.CPU != 0 {
			c.Cpu = change.CPU
		}
		if change.Memory != 0 {
			c.Memory = &change.Memory
		}
		if err := change.Change.apply(c, o.Service, region); err != nil {
			return err
		}
	}
	return nil
}

func executionRole(name string) string {
	if name == "default" {
		return defaultRole
	}
	return name
}

// runtimePlatform turns linux/arm64 into AWS's words.
func runtimePlatform(platform string) *types.RuntimePlatform {
	system, arch, _ := strings.Cut(platform, "/")
	p := &types.RuntimePlatform{OperatingSystemFamily: types.OSFamily(strings.ToUpper(system)), CpuArchitecture: types.CPUArchitectureX8664}
	if strings.HasPrefix(arch, "arm64") {
		p.CpuArchitecture = types.CPUArchitectureArm64
	}
	return p
}

// apply changes one container. prefix and region are where logs go if the
// change does not say it.
func (ch *Change) apply(c *types.ContainerDefinition, prefix, region string) error {
	if diags := fill(ch.Definition, c); len(diags) > 0 {
		return diags.Err()
	}
	for _, name := range slices.Sorted(maps.Keys(ch.Env)) {
		c.Environment = slices.DeleteFunc(slices.Clone(c.Environment), func(kv types.KeyValuePair) bool { return aws.ToString(kv.Name) == name })
		if v := ch.Env[name]; v != nil {
			c.Environment = append(c.Environment, types.KeyValuePair{Name: aws.String(name), Value: v})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ch.Secrets)) {
		c.Secrets = slices.DeleteFunc(slices.Clone(c.Secrets), func(s types.Secret) bool { return aws.ToString(s.Name) == name })
		if v := ch.Secrets[name]; v != nil {
			c.Secrets = append(c.Secrets, types.Secret{Name: aws.String(name), ValueFrom: v})
		}
	}
	if len(ch.Command) > 0 {
		c.Command = ch.Command
	}
	if len(ch.Entrypoint) > 0 {
		c.EntryPoint = ch.Entrypoint
	}
	if ch.User != "" {
		c.User = &ch.User
	}
	if len(ch.Ports) > 0 {
		c.PortMappings = portMappings(ch.Ports)
	}
	if h := ch.HealthCheck; h != nil {
		c.HealthCheck = h.check()
	}
	if l := ch.Logs; l != nil {
		c.LogConfiguration = l.configuration(prefix, region)
	}
	return nil
}

func portMappings(ports []Port) []types.PortMapping {
	var out []types.PortMapping
	for _, p := range ports {
		m := types.PortMapping{ContainerPort: aws.Int32(p.Container), Protocol: types.TransportProtocol(p.Protocol), AppProtocol: types.ApplicationProtocol(p.App)}
		if p.Host != 0 {
			m.HostPort = aws.Int32(p.Host)
		}
		if p.Name != "" {
			m.Name = aws.String(p.Name)
		}
		out = append(out, m)
	}
	return out
}

func (h *HealthCheck) check() *types.HealthCheck {
	out := &types.HealthCheck{Command: append([]string{"CMD"}, h.Test...)}
	if len(h.Test) == 1 {
		out.Command[0] = "CMD-SHELL"
	}
	for set, d := range map[**int32]time.Duration{&out.Interval: h.Interval, &out.Timeout: h.Timeout, &out.StartPeriod: h.Start} {
		if d > 0 {
			*set = aws.Int32(int32(d / time.Second))
		}
	}
	if h.Retries > 0 {
		out.Retries = aws.Int32(h.Retries)
	}
	return out
}

func (l *Logs) configuration(prefix, region string) *types.LogConfiguration {
	options := map[string]string{"awslogs-group": l.Group, "awslogs-region": region, "awslogs-stream-prefix": prefix}
	if l.Prefix != "" {
		options["awslogs-stream-prefix"] = l.Prefix
	}
	if l.Region != "" {
		options["awslogs-region"] = l.Region
	}
	if l.Create {
		options["awslogs-create-group"] = "true"
	}
	return &types.LogConfiguration{LogDriver: types.LogDriverAwslogs, Options: options}
}
