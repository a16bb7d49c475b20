package ecs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"bake/builder"
	"bake/internal/registry"
)

// checkRoles wants both roles to exist and to trust ECS's tasks.
func (d *deployment) checkRoles(ctx context.Context) ([]Check, error) {
	var out []Check
	if aws.ToString(d.def.ExecutionRoleArn) == "" {
		if why := d.needsExecutionRole(); why != "" {
			out = append(out, ng("execution role", "name one with `execution_role`; the word default stands for ecsTaskExecutionRole, which is made if it is missing", "the task definition has none, but %s", why))
		}
	}
	for _, r := range []struct{ what, name string }{{"execution role", aws.ToString(d.def.ExecutionRoleArn)}, {"task role", aws.ToString(d.def.TaskRoleArn)}} {
		if r.name == "" {
			continue
		}
		name := r.name[strings.LastIndexByte(r.name, '/')+1:]
		subject := r.what + " " + name
		got, err := d.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
		switch {
		case err != nil && isMissing(err) && name == defaultRole && d.out.ExecRole == "default":
			out = append(out, skipped(subject, "it is made when it is needed"))
		case err != nil && isMissing(err):
			out = append(out, ng(subject, "make it; `execution_role: default` has it made", "there is no such role"))
		case err != nil:
			return out, err
		case !trusts(aws.ToString(got.Role.AssumeRolePolicyDocument), "ecs-tasks.amazonaws.com"):
			out = append(out, ng(subject, `its trust policy must let {"Service": "ecs-tasks.amazonaws.com"} do sts:AssumeRole`, "ECS tasks may not assume it"))
		default:
			out = append(out, fine(subject))
		}
	}
	return out, nil
}

// needsExecutionRole is why the task cannot do without; empty if it can.
func (d *deployment) needsExecutionRole() string {
	for _, c := range d.def.ContainerDefinitions {
		switch {
		case len(c.Secrets) > 0:
			return fmt.Sprintf("container %s has secrets", aws.ToString(c.Name))
		case c.RepositoryCredentials != nil:
			return fmt.Sprintf("container %s has registry credentials", aws.ToString(c.Name))
		case !d.fargate():
		case c.LogConfiguration != nil && c.LogConfiguration.LogDriver == types.LogDriverAwslogs:
			return fmt.Sprintf("container %s writes to CloudWatch Logs from Fargate", aws.ToString(c.Name))
		case strings.Contains(aws.ToString(c.Image), ".dkr.ecr."):
			return fmt.Sprintf("the image of container %s is pulled from ECR by Fargate", aws.ToString(c.Name))
		}
	}
	return ""
}

// fargate reports whether the tasks run on Fargate.
func (d *deployment) fargate() bool {
	p := d.want.placementOf(d.live)
	if p.launch != "" {
		return p.launch == types.LaunchTypeFargate
	}
	if len(p.capacity) > 0 {
		return strings.HasPrefix(aws.ToString(p.capacity[0].CapacityProvider), "FARGATE")
	}
	return false
}

// trusts reports whether a trust policy, as IAM returns it, lets a service
// assume the role.
func trusts(policy, service string) bool {
	text, err := url.QueryUnescape(policy)
	if err != nil {
		return false
	}
	var doc struct {
		Statement oneOrMany[struct {
			Effect    string
			Action    oneOrMany[string]
			Principal json.RawMessage
		}]
	}
	if json.Unmarshal([]byte(text), &doc) != nil {
		return false
	}
	for _, s := range doc.Statement {
		var who struct{ Service oneOrMany[string] }
		if s.Effect != "Allow" || json.Unmarshal(s.Principal, &who) != nil {
			continue
		}
		may := func(action string) bool {
			return action == "*" || action == "sts:*" || strings.EqualFold(action, "sts:AssumeRole")
		}
		if slices.Contains(who.Service, service) && slices.ContainsFunc(s.Action, may) {
			return true
		}
	}
	return false
}

// oneOrMany is how IAM writes lists: a single element needs no brackets.
type oneOrMany[T any] []T

// UnmarshalJSON takes an element or a list of them.
func (o *oneOrMany[T]) UnmarshalJSON(data []byte) error {
	var one T
	if data[0] != '[' {
		if err := json.Unmarshal(data, &one); err != nil {
			return err
		}
		*o = []T{one}
		return nil
	}
	return json.Unmarshal(data, (*[]T)(o))
}

// checkImages wants each image to be there, for the task's platform.
func (d *deployment) checkImages(ctx context.Context) ([]Check, error) {
	var out []Check
	for _, c := range d.def.ContainerDefinitions {
		image := aws.ToString(c.Image)
		subject := "image " + image
		ref, err := registry.ParseReference(image, false)
		if err != nil {
			out = append(out, ng(subject, "", "%v", err))
			continue
		}
		if d.deps.Registry == nil {
			out = append(out, skipped(subject, "no registry is known here"))
			continue
		}
		_, err = d.deps.Registry.Find(ctx, ref, registry.Pull{Platform: platformOf(d.def)})
		out = append(out, imageCheck(subject, err))
	}
	return out, nil
}

func imageCheck(subject string, err error) Check {
	if err == nil {
		return fine(subject)
	}
	if _, wrong := errors.AsType[*registry.PlatformError](err); wrong {
		return ng(subject, "build it for the task's platform, or set `platform`", "%v", err)
	}
	if errors.Is(err, builder.ErrNotFound) {
		return ng(subject, "push it first, or correct its name", "it is not in the registry")
	}
	return skipped(subject, "it cannot be asked for from here: %v", err)
}

// checkLogs wants the log groups to be there.
func (d *deployment) checkLogs(ctx context.Context) ([]Check, error) {
	var out []Check
	seen := map[string]bool{}
	for _, c := range d.def.ContainerDefinitions {
		if c.LogConfiguration == nil || c.LogConfiguration.LogDriver != types.LogDriverAwslogs {
			continue
		}
		o := c.LogConfiguration.Options
		group := o["awslogs-group"]
		if seen[group] || group == "" {
			continue
		}
		seen[group] = true
		subject := "log group " + group
		if o["awslogs-create-group"] == "true" {
			out = append(out, skipped(subject, "ECS makes it if it is missing"))
			continue
		}
		there, err := d.hasLogGroup(ctx, stream{Region: o["awslogs-region"], Group: group})
		if err != nil {
			return out, err
		}
		if !there {
			out = append(out, ng(subject, "make it, or say `logs: {group: ..., create: true}`", "there is no such log group"))
			continue
		}
		out = append(out, fine(subject))
	}
	return out, nil
}

func (d *deployment) hasLogGroup(ctx context.Context, s stream) (bool, error) {
	got, err := d.logsIn(s).DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &s.Group})
	if err != nil {
		return false, err
	}
	for _, g := range got.LogGroups {
		if aws.ToString(g.LogGroupName) == s.Group {
			return true, nil
		}
	}
	return false, nil
}

// checkSecrets wants the secrets and parameters to be there, with the JSON key
// that is asked for.
func (d *deployment) checkSecrets(ctx context.Context) ([]Check, error) {
	var out []Check
	for _, from := range d.secretNames() {
		subject := "secret " + from
		a, err := arn.Parse(from)
		switch {
		case err != nil, a.Service == "ssm":
			name := from
			if err == nil {
				subject, name = "parameter "+from, from
			}
			_, err = d.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
		case a.Service == "secretsmanager":
			var c Check
			if c, err = d.checkSecret(ctx, subject, a); err == nil {
				out = append(out, c)
				continue
			}
		default:
			out = append(out, ng(subject, "", "it is neither a secret nor a parameter"))
			continue
		}
		switch {
		case err == nil:
			out = append(out, fine(subject))
		case isMissing(err):
			out = append(out, ng(subject, "make it, or correct its name", "there is no such secret or parameter"))
		case mayNotAsk(err):
			out = append(out, skipped(subject, "it may not be read from here"))
		default:
			return out, err
		}
	}
	return out, nil
}

// secretNames are all secrets that the containers name, each once.
func (d *deployment) secretNames() []string {
	var all []string
	for _, c := range d.def.ContainerDefinitions {
		for _, s := range c.Secrets {
			all = append(all, aws.ToString(s.ValueFrom))
		}
		if c.LogConfiguration != nil {
			for _, s := range c.LogConfiguration.SecretOptions {
				all = append(all, aws.ToString(s.ValueFrom))
			}
		}
		if c.RepositoryCredentials != nil {
			all = append(all, aws.ToString(c.RepositoryCredentials.CredentialsParameter))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// checkSecret looks at secret:NAME:KEY:STAGE:VERSION. Its value is read only
// if a key of it is wanted, and is not kept.
func (d *deployment) checkSecret(ctx context.Context, subject string, a arn.ARN) (Check, error) {
	parts := strings.SplitN(a.Resource, ":", 5)
	for len(parts) < 5 {
		parts = append(parts, "")
	}
	a.Resource = strings.Join(parts[:2], ":")
	id, key, stage, version := a.String(), parts[2], parts[3], parts[4]
	if key == "" {
		_, err := d.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &id})
		return fine(subject), err
	}
	got, err := d.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id, VersionStage: text(stage), VersionId: text(version)})
	if err != nil {
		return Check{}, err
	}
	var values map[string]json.RawMessage
	if json.Unmarshal([]byte(aws.ToString(got.SecretString)), &values) != nil {
		return ng(subject, "", "key %s is asked for, but the secret is no JSON object", key), nil
	}
	if _, ok := values[key]; !ok {
		return ng(subject, "", "it has no key %s", key), nil
	}
	return fine(subject), nil
}
