package ecs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/steps/amazon"
)

// prepare works out the task definition that shall run.
func (d *deployment) prepare(ctx context.Context, outputs map[string]map[string]string) error {
	d.as, d.def = "", nil
	if err := d.base(ctx); err != nil {
		return err
	}
	if d.as == "" {
		if err := d.setImages(ctx, outputs); err != nil {
			return err
		}
		if err := d.out.apply(d.def, d.cfg.Region); err != nil {
			return err
		}
		if err := d.nameRoles(ctx); err != nil {
			return err
		}
	}
	d.want.Container = d.out.Container
	if main, err := containerNamed(d.def, d.out.Container); err == nil {
		d.want.Container = aws.ToString(main.Name)
	}
	return nil
}

// nameRoles turns names of roles into ARNs, of the account that deploys.
func (d *deployment) nameRoles(ctx context.Context) error {
	for _, role := range []**string{&d.def.TaskRoleArn, &d.def.ExecutionRoleArn} {
		name := aws.ToString(*role)
		if name == "" || strings.HasPrefix(name, "arn:") {
			continue
		}
		caller, err := d.deps.Cloud.Caller(ctx, d.access)
		if err != nil {
			return err
		}
		*role = aws.String(fmt.Sprintf("arn:%s:iam::%s:role/%s", partition(caller.ARN), caller.Account, strings.TrimPrefix(name, "/")))
	}
	return nil
}

// partition is aws, aws-cn or aws-us-gov, as an ARN of the account says it.
func partition(arn string) string {
	parts := strings.SplitN(arn, ":", 3)
	if len(parts) < 3 {
		return "aws"
	}
	return parts[1]
}

// base is the definition before the changes: a revision, the template's own,
// or what the service runs.
func (d *deployment) base(ctx context.Context) error {
	if d.out.Revision != "" {
		return d.useRevision(ctx, d.out.Revision)
	}
	def, diags := d.out.Task.definition(true)
	if err := diags.Err(); err != nil {
		return err
	}
	switch {
	case def != nil:
		d.def = clone(def)
	case d.out.Task.named() != "":
		td, err := d.revision(ctx, d.out.Task.named())
		if err != nil {
			return err
		}
		d.def = clone(definitionOf(td))
	case d.runs != nil:
		d.def = clone(definitionOf(d.runs))
	default:
		return &missingError{what: fmt.Sprintf("service %s does not exist yet, and there is no task definition to make it with", d.out.Service),
			hint: "write `task_definition: task.json` into the output; `bake ecs init` writes one from a service that exists"}
	}
	if d.def.Family == nil {
		d.def.Family = aws.String(cmp.Or(d.out.Service, "bake"))
	}
	return nil
}

// useRevision takes a revision as it is: a number of the service's family,
// FAMILY:NUMBER, an ARN, or "good".
func (d *deployment) useRevision(ctx context.Context, name string) error {
	if name == "good" {
		good, err := d.lastGood(ctx, d.live)
		if err != nil {
			return err
		}
		name = good
	} else if _, err := strconv.Atoi(name); err == nil && d.runs != nil {
		name = aws.ToString(d.runs.Family) + ":" + name
	}
	td, err := d.revision(ctx, name)
	if err != nil {
		return err
	}
	if td.Status != types.TaskDefinitionStatusActive {
		return fmt.Errorf("revision %s is not active any more: AWS starts no new tasks of it", short(aws.ToString(td.TaskDefinitionArn)))
	}
	d.as, d.def = aws.ToString(td.TaskDefinitionArn), definitionOf(td)
	return nil
}

// ensureRevision registers the definition, unless there is an identical one.
func (d *deployment) ensureRevision(ctx context.Context) (err error) {
	if d.arn = d.as; d.arn != "" {
		return nil
	}
	d.arn, d.fresh, err = d.register(ctx, d.def, d.runs, d.tags(nil))
	if err == nil && d.fresh {
		d.story.Log("registered %s", short(d.arn))
	}
	return err
}

// tags are those of everything that the deployment makes.
func (d *deployment) tags(more map[string]string) map[string]string {
	all := map[string]string{amazon.TagRun: string(d.sc.Run)}
	if p := d.sc.Plan; p != nil && p.Name != "" {
		all[amazon.TagTemplate] = p.Name
	}
	maps.Copy(all, d.out.Tags)
	maps.Copy(all, more)
	return all
}
