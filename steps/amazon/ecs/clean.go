package ecs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/builder"
	"bake/steps/amazon"
)

// Kinds of resources that deployments make. A service is kept once it has been
// deployed successfully; a one-off task is kept when it has ended well.
const (
	serviceKind = "ecs-service"
	taskKind    = "ecs-task"
)

// Cleaners returns what removes services that never worked, and one-off tasks.
func Cleaners(d Deps) map[string]builder.Cleaner {
	return map[string]builder.Cleaner{serviceKind: serviceCleaner{d}, taskKind: taskCleaner{d}}
}

// resource names something in a cluster, for the journal.
func (c *Client) resource(kind, name string) builder.Resource {
	return builder.Resource{Kind: kind, Name: short(c.Cluster) + "/" + name, Where: c.access.In(c.cfg.Region).Where()}
}

// open returns the client and the name of what resource made.
func (d Deps) open(ctx context.Context, r builder.Resource) (*Client, string, error) {
	a, err := amazon.ParseAccess(r.Where)
	if err != nil {
		return nil, "", err
	}
	cluster, name, _ := strings.Cut(r.Name, "/")
	c, err := Open(ctx, d, a, cluster)
	return c, name, err
}

// isGone reports whether what a call names does not exist any more.
func isGone(err error) bool {
	if amazon.IsCode(err, "ClusterNotFoundException", "ServiceNotFoundException", "ServiceNotActiveException", "ResourceNotFoundException") {
		return true
	}
	var bad *types.InvalidParameterException
	return errors.As(err, &bad) && strings.Contains(bad.ErrorMessage(), "task was not found")
}

type serviceCleaner struct{ deps Deps }

// Find looks for the service with the run's token among its tags.
func (s serviceCleaner) Find(ctx context.Context, r builder.Resource) (string, error) {
	c, name, err := s.deps.open(ctx, r)
	if err != nil {
		return "", err
	}
	live, err := c.describeService(ctx, name)
	var missing *missingError
	switch {
	case errors.As(err, &missing), err == nil && live == nil:
		return "", builder.ErrNotFound
	case err != nil:
		return "", err
	case tagValue(live.Tags, amazon.TagToken) != r.Token:
		return "", builder.ErrNotFound
	}
	return aws.ToString(live.ServiceArn), nil
}

// Delete removes the service with its tasks, unless it is another one, or has
// been deployed successfully since: then it is somebody's product.
func (s serviceCleaner) Delete(ctx context.Context, r builder.Resource) error {
	c, name, err := s.deps.open(ctx, r)
	if err != nil {
		return err
	}
	live, err := c.describeService(ctx, name)
	var missing *missingError
	if errors.As(err, &missing) || err == nil && live == nil {
		return nil
	}
	if err != nil {
		return err
	}
	if tagValue(live.Tags, amazon.TagToken) != r.Token || tagValue(live.Tags, tagGood) != "" {
		return nil
	}
	return c.deleteService(ctx, live)
}

// Lag is how long a new service may be missing from answers.
func (s serviceCleaner) Lag() time.Duration { return 5 * time.Second }

// deleteService deletes a service with its tasks and waits until none runs.
func (c *Client) deleteService(ctx context.Context, live *types.Service) error {
	name := aws.ToString(live.ServiceName)
	arns, err := c.taskARNs(ctx, name, types.DesiredStatusRunning)
	if err != nil {
		return fmt.Errorf("tasks of service %s: %w", name, c.explain(ctx, err))
	}
	_, err = c.ecs.DeleteService(ctx, &awsecs.DeleteServiceInput{Cluster: &c.Cluster, Service: live.ServiceArn, Force: aws.Bool(true)})
	if err != nil && !isGone(err) {
		return fmt.Errorf("deleting service %s: %w", name, c.explain(ctx, err))
	}
	return c.awaitGone(ctx, aws.ToString(live.ServiceArn), arns)
}

// awaitGone waits until a deleted service is INACTIVE and its tasks stopped.
func (c *Client) awaitGone(ctx context.Context, arn string, tasks []string) error {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		live, err := c.describeService(ctx, arn)
		if err != nil {
			return err
		}
		if live == nil {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	if len(tasks) == 0 {
		return nil
	}
	return c.awaitStopped(ctx, tasks)
}

type taskCleaner struct{ deps Deps }

// Find looks for running tasks that were started with the token. Tasks that
// ended need not be removed; RunTask with the same token answers with them.
func (t taskCleaner) Find(ctx context.Context, r builder.Resource) (string, error) {
	c, _, err := t.deps.open(ctx, r)
	if err != nil {
		return "", err
	}
	out, err := c.ecs.ListTasks(ctx, &awsecs.ListTasksInput{Cluster: &c.Cluster, StartedBy: &r.Token})
	switch {
	case err != nil && isGone(err), err == nil && len(out.TaskArns) == 0:
		return "", builder.ErrNotFound
	case err != nil:
		return "", c.explain(ctx, err)
	}
	return strings.Join(out.TaskArns, ","), nil
}

// Delete stops the tasks.
func (t taskCleaner) Delete(ctx context.Context, r builder.Resource) error {
	c, _, err := t.deps.open(ctx, r)
	if err != nil {
		return err
	}
	if err := c.stop(ctx, strings.Split(r.ID, ","), "bake: the run is over"); err != nil && !isGone(err) {
		return err
	}
	return nil
}

// Lag is how long a new task may be missing from ListTasks.
func (t taskCleaner) Lag() time.Duration { return 5 * time.Second }
