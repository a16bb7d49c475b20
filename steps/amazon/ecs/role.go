package ecs

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"bake/steps/amazon"
)

// The execution role that AWS's console makes, and its trust: only ECS's tasks.
const (
	defaultRole  = "ecsTaskExecutionRole"
	defaultTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
)

// propagation is how long IAM may take until a new role can be assumed everywhere.
const propagation = 10 * time.Second

// ensureRole makes the default execution role if the template asks for it and
// it is missing. Both calls may be repeated: a role's name is its identity, and
// a policy that is attached already stays so.
func (d *deployment) ensureRole(ctx context.Context) error {
	if d.out.ExecRole != "default" {
		return nil
	}
	_, err := d.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(defaultRole)})
	if err == nil || !isMissing(err) {
		return nil // it is there, or may not be looked at: then it is taken for there
	}
	_, err = d.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String(defaultRole), AssumeRolePolicyDocument: aws.String(defaultTrust),
		Description: aws.String("Lets ECS pull images and write logs for tasks")})
	if err != nil && !amazon.IsCode(err, "EntityAlreadyExists") {
		return fmt.Errorf("making role %s: %w", defaultRole, d.explain(ctx, err))
	}
	caller, err := d.deps.Cloud.Caller(ctx, d.access)
	if err != nil {
		return err
	}
	policy := "arn:" + partition(caller.ARN) + ":iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
	if _, err := d.iam.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: aws.String(defaultRole), PolicyArn: &policy}); err != nil {
		return fmt.Errorf("role %s: %w", defaultRole, d.explain(ctx, err))
	}
	d.story.Log("made role %s", defaultRole)
	if endpoint, err := d.deps.Cloud.Endpoint(ctx, d.access); err != nil || endpoint != "" {
		return err // only AWS itself is spread over the world
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(propagation):
		return nil
	}
}
