package ecs

import (
	"fmt"
	"strings"
	"time"

	"bake/builder"
	"bake/steps/amazon"
	"bake/templates"
)

// Outputs returns the output kinds of this package.
func Outputs(d Deps) map[string]func() builder.Output {
	return map[string]func() builder.Output{"ecs": func() builder.Output { return &Output{deps: d} }}
}

// An Output deploys the image as a service, or as tasks that run once.
type Output struct {
	amazon.Access
	Cluster string `yaml:"cluster" default:"default" doc:"Name or ARN of the cluster."`
	Service string `yaml:"service" bake:"main" doc:"Name of the service; it is made if it is missing. Without one only the tasks under before and after run."`
	Like    string `yaml:"like" doc:"Without a service: the one whose task definition, network and launch type the tasks take."`

	Container string               `yaml:"container" doc:"The container that gets the image and the changes beside this key; may be left out if there is only one."`
	Image     string               `yaml:"image" doc:"Its image; default: what the ecr or registry output before this one pushed, by digest."`
	Images    map[string]string    `yaml:"images" doc:"Images of several containers, by name."`
	Digest    *bool                `yaml:"digest" default:"true" doc:"Turn tags into digests before they are deployed."`
	Task      Task                 `yaml:"task_definition" doc:"A file, JSON or YAML as AWS writes it, or the definition itself, or FAMILY:REVISION; default: what the service runs now."`
	Change                         // of Container
	Others    map[string]Container `yaml:"containers" doc:"Changes of other containers, by name."`
	CPU       string               `yaml:"cpu" doc:"CPU units of the task, 1024 is one processor; or like \"1 vCPU\"."`
	Memory    string               `yaml:"memory" doc:"Memory of the task in MiB, or like \"2 GB\"."`
	TaskRole  string               `yaml:"task_role" doc:"Role of what runs in the containers, name or ARN."`
	ExecRole  string               `yaml:"execution_role" doc:"Role that pulls images, reads secrets and writes logs, name or ARN, or the word default for ecsTaskExecutionRole, which is made if it is missing."`
	Ephemeral int32                `yaml:"ephemeral_storage" min:"21" max:"200" doc:"GiB of disk of a Fargate task."`
	Platform  string               `yaml:"platform" pattern:"^(linux|windows)/.+$" doc:"Platform of the task, like linux/arm64."`

	ServiceFields

	Before   []Once            `yaml:"before" doc:"Tasks that run once, one after the other, before the service changes (migrations); one that fails ends the deployment."`
	After    []Once            `yaml:"after" doc:"Tasks that run once when the deployment has succeeded."`
	Wait     time.Duration     `yaml:"wait" default:"10m" doc:"How long the deployment may take, besides the bake times that it has; 0s: it is not waited for."`
	GiveUp   int               `yaml:"give_up" default:"2" min:"0" max:"100" doc:"Tasks that may end as soon as they began before the service is asked to go back; 0 leaves it to the circuit breaker."`
	Busy     string            `yaml:"busy" enum:"wait|refuse|replace" default:"wait" doc:"What to do when the service is being deployed by somebody else: wait until that is over, refuse, or take its place."`
	Patience time.Duration     `yaml:"busy_timeout" min:"1s" doc:"How long somebody else is waited for; default: as long as wait says, at least a minute."`
	Force    bool              `yaml:"force" doc:"Start new tasks even if nothing differs."`
	Checks   Checks            `yaml:"verify" doc:"What is looked at before anything changes."`
	Revision string            `yaml:"revision" doc:"Deploy this revision as it is: a number, FAMILY:NUMBER, or good for the last one that was deployed successfully."`
	Tags     map[string]string `yaml:"tags" doc:"Tags of the service and of new revisions."`

	deps Deps
}

// Checks says which checks of the preflight are left out.
type Checks struct {
	Skip templates.Strings `yaml:"skip" bake:"main" enum:"cluster|roles|image|secrets|logs|load_balancers|network|service|quotas|capacity|all" doc:"Checks that are left out; all: every one."`
}

// A Change is what becomes different in one container of the task definition.
type Change struct {
	Env         map[string]*string `yaml:"env" doc:"Variables to set; one without a value is removed."`
	Secrets     map[string]*string `yaml:"secrets" doc:"Variables from Secrets Manager or SSM, by ARN or parameter name; one without a value is removed."`
	Command     templates.Strings  `yaml:"command" doc:"The container's command."`
	Entrypoint  templates.Strings  `yaml:"entrypoint" doc:"The container's entrypoint."`
	User        string             `yaml:"user" doc:"User and group in the container."`
	Ports       []Port             `yaml:"ports" doc:"Ports, instead of those that there are."`
	HealthCheck *HealthCheck       `yaml:"health_check" doc:"How the container's health is checked."`
	Logs        *Logs              `yaml:"logs" doc:"Where the container's output goes (awslogs)."`
	Definition  templates.Block    `yaml:"definition" doc:"Anything else, as AWS writes it in containerDefinitions."`
}

// A Container is a Change with what has other keys for the task's own container.
type Container struct {
	Change
	Image  string `yaml:"image" doc:"The container's image."`
	CPU    int32  `yaml:"cpu" doc:"CPU units of the container."`
	Memory int32  `yaml:"memory" doc:"Hard limit of the container in MiB."`
}

// A Port is one that the container listens on.
type Port struct {
	Container int32  `yaml:"container" bake:"main,required" min:"1" max:"65535" doc:"Port in the container."`
	Host      int32  `yaml:"host" min:"0" max:"65535" doc:"Port of the host; default: any, or the same in awsvpc mode."`
	Protocol  string `yaml:"protocol" enum:"tcp|udp" doc:"tcp or udp."`
	Name      string `yaml:"name" doc:"Name for Service Connect."`
	App       string `yaml:"app_protocol" enum:"http|http2|grpc" doc:"Protocol for Service Connect."`
}

// A HealthCheck is what Docker runs in the container.
type HealthCheck struct {
	Test     templates.Strings `yaml:"test" bake:"main,required" doc:"Command; one text is run by a shell."`
	Interval time.Duration     `yaml:"interval" min:"5s" max:"300s" doc:"Time between two checks; 30s."`
	Timeout  time.Duration     `yaml:"timeout" min:"2s" max:"60s" doc:"How long a check may take; 5s."`
	Retries  int32             `yaml:"retries" min:"1" max:"10" doc:"Failures in a row until the container is unhealthy; 3."`
	Start    time.Duration     `yaml:"start_period" min:"0s" max:"300s" doc:"Time at the beginning in which failures do not count."`
}

// Logs says where CloudWatch Logs keeps a container's output.
type Logs struct {
	Group  string `yaml:"group" bake:"main,required" doc:"Log group."`
	Prefix string `yaml:"prefix" doc:"Prefix of its streams; default: the service's name."`
	Region string `yaml:"region" doc:"Region of the group; default: the service's."`
	Create bool   `yaml:"create" doc:"Let ECS make the group."`
}

// Once is a task that runs once.
type Once struct {
	Name      string            `yaml:"name" doc:"What it is called in the log."`
	Command   templates.Strings `yaml:"command" bake:"main" doc:"Command of its container, instead of the definition's; one text is run by /bin/sh."`
	Container string            `yaml:"container" doc:"Container that runs it; default: the service's."`
	Task      string            `yaml:"task_definition" doc:"Another task definition, FAMILY or FAMILY:REVISION; default: the one that is deployed."`
	Env       map[string]string `yaml:"env" doc:"More variables of the container."`
	CPU       string            `yaml:"cpu" doc:"CPU units of the task."`
	Memory    string            `yaml:"memory" doc:"Memory of the task in MiB."`
	Timeout   time.Duration     `yaml:"timeout" default:"30m" min:"1s" doc:"It is stopped, and has failed, after that long."`
	Count     int32             `yaml:"count" default:"1" min:"1" max:"10" doc:"How many of it."`
}

// Task is where the task definition comes from.
type Task struct {
	block templates.Block
}

// UnmarshalBlock takes the name of a file or of a revision, or a definition.
func (t *Task) UnmarshalBlock(b templates.Block) templates.Diagnostics {
	t.block = b
	if _, ok := b.Text(); !ok && !b.IsMapping() && !b.Unresolved() {
		d := b.Errorf("a task definition is the path of a file, FAMILY:REVISION, or a mapping")
		return templates.Diagnostics{d}
	}
	return nil
}

// JSONSchema describes what UnmarshalBlock takes.
func (Task) JSONSchema() map[string]any { return map[string]any{"type": []string{"string", "object"}} }

// Accepts says that only container images are deployed.
func (o *Output) Accepts(k builder.ArtifactKind) bool { return k == builder.ImageArtifact }

// Validate checks what can be told without asking AWS.
func (o *Output) Validate(b templates.Block) templates.Diagnostics {
	var out templates.Diagnostics
	add := func(at templates.Block, hint, format string, args ...any) {
		d := at.Errorf(format, args...)
		d.Hint = hint
		out = append(out, d)
	}
	if o.Service == "" && !b.Has("service") && len(o.Before)+len(o.After) == 0 {
		add(b, "name the service, or tasks under `before` that run once", "there is nothing to deploy: %q is missing", "service")
	}
	if o.Revision != "" && (!o.Task.block.IsZero() || o.Image != "" || len(o.Images) > 0 || o.changed()) {
		add(b.At("revision"), "a revision is deployed as it is", "\"revision\" does not go together with an image or changes")
	}
	for i, once := range append(append([]Once{}, o.Before...), o.After...) {
		if len(once.Command) == 0 && once.Task == "" && !b.Unresolved() {
			at := b.At("before", fmt.Sprint(i))
			if i >= len(o.Before) {
				at = b.At("after", fmt.Sprint(i-len(o.Before)))
			}
			add(at, "write the command, or a task_definition of its own", "the task has no command")
		}
	}
	if o.Service == "" && o.Like == "" && o.Task.block.IsZero() && !b.Has("service") && len(o.Before)+len(o.After) > 0 {
		for i, once := range o.Before {
			if once.Task == "" {
				add(b.At("before", fmt.Sprint(i)), "name a `task_definition` for it or for all of them", "there is no service to take the task definition of")
			}
		}
	}
	out = append(out, o.ServiceFields.validate(b)...)
	if def, diags := o.Task.definition(false); len(diags) > 0 {
		out = append(out, diags...)
	} else if def != nil && !o.Task.block.Unresolved() {
		out = append(out, checkDefinition(def, o.Task.block)...)
	}
	return append(out, fill(o.Definition, newContainer())...)
}

// changed reports whether anything of the task definition is to be different.
func (o *Output) changed() bool {
	return o.CPU+o.Memory+o.TaskRole+o.ExecRole+o.Platform != "" || o.Ephemeral != 0 || len(o.Others) > 0 || o.Change.any()
}

func (c *Change) any() bool {
	return len(c.Env)+len(c.Secrets)+len(c.Command)+len(c.Entrypoint)+len(c.Ports) > 0 || c.User != "" ||
		c.HealthCheck != nil || c.Logs != nil || !c.Definition.IsZero()
}

// isRevision reports whether the text names a revision or a family rather
// than a file.
func isRevision(text string) bool {
	family, _, numbered := strings.Cut(text, ":")
	return strings.HasPrefix(text, "arn:") || numbered && !strings.ContainsAny(family, "/.")
}
