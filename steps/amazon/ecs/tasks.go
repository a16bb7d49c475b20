package ecs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/steps/amazon"
)

// A RunningTask is a task of a cluster, whatever its state.
type RunningTask struct {
	ID         string          `json:"id"`
	Revision   string          `json:"revision"`
	Group      string          `json:"group,omitempty"` // "service:api"
	Status     string          `json:"status"`
	Wanted     string          `json:"desired_status"`
	Health     string          `json:"health,omitempty"`
	Address    string          `json:"address,omitempty"` // private IP of an awsvpc task
	Launch     string          `json:"launch_type,omitempty"`
	StartedBy  string          `json:"started_by,omitempty"`
	Created    time.Time       `json:"created,omitzero"`
	Containers []TaskContainer `json:"containers"`
	Reason     string          `json:"reason,omitempty"` // why it stopped
	ARN        string          `json:"arn"`
}

// A TaskContainer is a container of a task.
type TaskContainer struct {
	Name     string `json:"name"`
	Status   string `json:"status"`
	Health   string `json:"health,omitempty"`
	Image    string `json:"image"`
	Digest   string `json:"digest,omitempty"`
	ExitCode *int32 `json:"exit_code,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// Tasks lists the tasks of a service, or of the cluster if service is empty,
// newest first; also those that stopped within the last hour if stopped is
// asked for.
func (c *Client) Tasks(ctx context.Context, service string, states ...types.DesiredStatus) ([]RunningTask, error) {
	if len(states) == 0 {
		states = []types.DesiredStatus{types.DesiredStatusRunning}
	}
	var arns []string
	for _, s := range states {
		more, err := c.taskARNs(ctx, service, s)
		switch {
		case amazon.IsCode(err, "ClusterNotFoundException"):
			return nil, c.noCluster(err)
		case amazon.IsCode(err, "ServiceNotFoundException"):
			return nil, c.noService(service, err)
		case err != nil:
			return nil, fmt.Errorf("tasks of cluster %s: %w", short(c.Cluster), c.explain(ctx, err))
		}
		arns = append(arns, more...)
	}
	tasks, err := c.describeTasks(ctx, arns)
	if err != nil {
		return nil, err
	}
	out := []RunningTask{}
	for _, t := range tasks {
		out = append(out, runningTask(t))
	}
	slices.SortFunc(out, func(a, b RunningTask) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// AllTasks lists tasks that run and tasks that stopped within the last hour.
func (c *Client) AllTasks(ctx context.Context, service string) ([]RunningTask, error) {
	return c.Tasks(ctx, service, types.DesiredStatusRunning, types.DesiredStatusStopped)
}

func runningTask(t types.Task) RunningTask {
	out := RunningTask{
		ID: short(aws.ToString(t.TaskArn)), ARN: aws.ToString(t.TaskArn), Revision: short(aws.ToString(t.TaskDefinitionArn)), Group: aws.ToString(t.Group),
		Status: aws.ToString(t.LastStatus), Wanted: aws.ToString(t.DesiredStatus), Health: string(t.HealthStatus), Launch: cmp.Or(aws.ToString(t.CapacityProviderName), string(t.LaunchType)),
		StartedBy: aws.ToString(t.StartedBy), Created: aws.ToTime(t.CreatedAt),
	}
	for _, a := range t.Attachments {
		for _, d := range a.Details {
			if aws.ToString(d.Name) == "privateIPv4Address" {
				out.Address = aws.ToString(d.Value)
			}
		}
	}
	for _, k := range t.Containers {
		out.Containers = append(out.Containers, TaskContainer{Name: aws.ToString(k.Name), Status: aws.ToString(k.LastStatus), Health: string(k.HealthStatus),
			Image: aws.ToString(k.Image), Digest: aws.ToString(k.ImageDigest), ExitCode: k.ExitCode, Reason: aws.ToString(k.Reason)})
	}
	if out.Status == "STOPPED" {
		s, _ := stopped(t)
		out.Reason = strings.TrimPrefix(s.String(), "task "+out.ID+" stopped: ")
	}
	return out
}

// Task finds a task by its id, by a beginning of it that is unique, or by ARN.
func (c *Client) Task(ctx context.Context, id string) (RunningTask, error) {
	all, err := c.AllTasks(ctx, "")
	if err != nil {
		return RunningTask{}, err
	}
	var match []RunningTask
	for _, t := range all {
		if t.ID == id || t.ARN == id {
			return t, nil
		}
		if strings.HasPrefix(t.ID, id) {
			match = append(match, t)
		}
	}
	if len(match) == 1 {
		return match[0], nil
	}
	hint := fmt.Sprintf("`bake ecs tasks --cluster %s` lists them", short(c.Cluster))
	if len(match) > 1 {
		return RunningTask{}, &missingError{what: fmt.Sprintf("%q could be any of %d tasks", id, len(match)), hint: hint}
	}
	return RunningTask{}, &missingError{what: fmt.Sprintf("cluster %s has no task %s", short(c.Cluster), id), hint: hint}
}

// Stop stops tasks, for a reason that AWS keeps, and waits until they have stopped.
func (c *Client) Stop(ctx context.Context, ids []string, reason string) error {
	var arns []string
	for _, id := range ids {
		t, err := c.Task(ctx, id)
		if err != nil {
			return err
		}
		arns = append(arns, t.ARN)
	}
	return c.stop(ctx, arns, reason)
}
