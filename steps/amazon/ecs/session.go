package ecs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/steps/amazon"
)

// A Session is a way into a container: what the Session Manager plugin is
// started with. It holds a token: it is not for logs.
type Session struct {
	Task, Container string
	Args            []string // of session-manager-plugin
}

// Session asks for a session that runs a command in a container of a task; an
// empty container means the only one. The task must have been started with
// execute command enabled.
func (c *Client) Session(ctx context.Context, task, container, command string) (Session, error) {
	t, err := c.Task(ctx, task)
	if err != nil {
		return Session{}, err
	}
	if container == "" && len(t.Containers) > 1 {
		var names []string
		for _, k := range t.Containers {
			names = append(names, k.Name)
		}
		return Session{}, &missingError{what: fmt.Sprintf("task %s has several containers", t.ID), hint: fmt.Sprintf("name one with --container: %q", names)}
	}
	container = cmp.Or(container, t.Containers[0].Name)
	out, err := c.ecs.ExecuteCommand(ctx, &awsecs.ExecuteCommandInput{Cluster: &c.Cluster, Task: &t.ARN, Container: &container, Command: &command, Interactive: true})
	switch {
	case amazon.IsCode(err, "TargetNotConnectedException"), amazon.IsCode(err, "InvalidParameterException"):
		return Session{}, &missingError{what: fmt.Sprintf("task %s takes no commands: %v", t.ID, err), err: err,
			hint: "set `execute_command: true`, give the task role ssmmessages:*, and deploy anew: tasks that run already stay as they were started"}
	case err != nil:
		return Session{}, fmt.Errorf("task %s: %w", t.ID, c.explain(ctx, err))
	}
	args, err := c.pluginArgs(ctx, t, container, out)
	return Session{Task: t.ID, Container: container, Args: args}, err
}

// pluginArgs are the plugin's arguments, as the AWS CLI gives them: the
// session, the region, what it is for, the profile, the target, the endpoint.
func (c *Client) pluginArgs(ctx context.Context, t RunningTask, container string, out *awsecs.ExecuteCommandOutput) ([]string, error) {
	if out.Session == nil {
		out.Session = new(types.Session)
	}
	session, err := json.Marshal(map[string]string{"SessionId": aws.ToString(out.Session.SessionId), "StreamUrl": aws.ToString(out.Session.StreamUrl), "TokenValue": aws.ToString(out.Session.TokenValue)})
	if err != nil {
		return nil, err
	}
	tasks, err := c.describeTasks(ctx, []string{t.ARN})
	if err != nil {
		return nil, err
	}
	runtime := ""
	for _, task := range tasks {
		for _, k := range task.Containers {
			if aws.ToString(k.Name) == container {
				runtime = aws.ToString(k.RuntimeId)
			}
		}
	}
	target, err := json.Marshal(map[string]string{"Target": fmt.Sprintf("ecs:%s_%s_%s", short(c.Cluster), t.ID, runtime)})
	if err != nil {
		return nil, err
	}
	endpoint := cmp.Or(aws.ToString(c.cfg.BaseEndpoint), fmt.Sprintf("https://ssm.%s.amazonaws.com", c.cfg.Region))
	return []string{string(session), c.cfg.Region, "StartSession", c.access.Profile, string(target), endpoint}, nil
}
