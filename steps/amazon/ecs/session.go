package ecs

import (
	"cmp"
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"

	"bake/steps/amazon"
	"bake/steps/amazon/session"
)

// A Visit is a terminal in a container.
type Visit struct {
	Task, Container string
	*session.Terminal
}

// Enter runs an errand in a container of a task (ExecuteCommand) and joins the
// session that leads there; an empty container means the only one. The task must
// have been started with execute command enabled.
func (c *Client) Enter(ctx context.Context, task, container string, e Errand) (*Visit, error) {
	t, err := c.Task(ctx, task)
	if err != nil {
		return nil, err
	}
	if container == "" && len(t.Containers) > 1 {
		var names []string
		for _, k := range t.Containers {
			names = append(names, k.Name)
		}
		return nil, &missingError{what: fmt.Sprintf("task %s has several containers", t.ID), hint: fmt.Sprintf("name one with --container: %q", names)}
	}
	if container == "" && len(t.Containers) == 1 {
		container = t.Containers[0].Name
	}
	out, err := c.ecs.ExecuteCommand(ctx, &awsecs.ExecuteCommandInput{Cluster: &c.Cluster, Task: &t.ARN, Container: text(container), Command: &e.Command, Interactive: true})
	switch {
	case amazon.IsCode(err, "TargetNotConnectedException"), amazon.IsCode(err, "InvalidParameterException"):
		return nil, &missingError{what: fmt.Sprintf("task %s takes no commands: %v", t.ID, err), err: err,
			hint: "set `execute_command: true`, give the task role ssmmessages:*, and deploy anew: tasks that run already stay as they were started"}
	case err != nil:
		return nil, fmt.Errorf("task %s: %w", t.ID, c.explain(ctx, err))
	case out.Session == nil:
		return nil, fmt.Errorf("task %s: AWS began no session and gave no reason", t.ID)
	}
	terminal, err := session.Enter(ctx, c.ssm, session.Started{ID: aws.ToString(out.Session.SessionId), URL: aws.ToString(out.Session.StreamUrl),
		Token: aws.ToString(out.Session.TokenValue), Name: "task " + t.ID})
	if err != nil {
		return nil, err
	}
	return &Visit{Task: t.ID, Container: cmp.Or(container, aws.ToString(out.ContainerName)), Terminal: terminal}, nil
}
