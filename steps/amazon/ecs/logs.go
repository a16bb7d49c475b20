package ecs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/steps/amazon"
)

// tailLines is how many of a failed container's last lines are shown.
const tailLines = 20

// A stream is where CloudWatch Logs keeps the output of one container of one task.
type stream struct{ Region, Group, Name string }

// String is the stream as `aws logs tail` takes it.
func (s stream) String() string { return s.Group + " " + s.Name }

// streamOf says where a container's output goes: with the awslogs driver the
// stream is called PREFIX/CONTAINER/TASK. ok is false for other drivers, and
// for streams without a prefix, which are named by Docker.
func streamOf(td *types.TaskDefinition, container, task string) (s stream, ok bool) {
	for _, c := range td.ContainerDefinitions {
		if aws.ToString(c.Name) != container || c.LogConfiguration == nil || c.LogConfiguration.LogDriver != types.LogDriverAwslogs {
			continue
		}
		o := c.LogConfiguration.Options
		if o["awslogs-group"] == "" || o["awslogs-stream-prefix"] == "" {
			return s, false
		}
		return stream{o["awslogs-region"], o["awslogs-group"], strings.Join([]string{o["awslogs-stream-prefix"], container, short(task)}, "/")}, true
	}
	return s, false
}

// logsIn returns the client for a stream's region.
func (c *Client) logsIn(s stream) *cloudwatchlogs.Client {
	if s.Region == "" || s.Region == c.cfg.Region {
		return c.logs
	}
	return cloudwatchlogs.NewFromConfig(c.cfg, func(o *cloudwatchlogs.Options) { o.Region = s.Region })
}

// tail returns the last lines of a container of a stopped task, and where they
// stand; where is empty if its output is not in CloudWatch Logs. Lines may come
// a moment after the task has stopped.
func (c *Client) tail(ctx context.Context, revision, container, task string, lines int32) (out []string, where string, err error) {
	td, err := c.revision(ctx, revision)
	if err != nil {
		return nil, "", err
	}
	s, ok := streamOf(td, container, task)
	if !ok {
		return nil, "", nil
	}
	for n := 0; ; n++ {
		out, err = c.last(ctx, s, lines)
		if err != nil || len(out) > 0 || n == 2 {
			return out, s.String(), err
		}
		select {
		case <-ctx.Done():
			return nil, s.String(), ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// last reads the end of a stream; none if there is no such stream (yet).
func (c *Client) last(ctx context.Context, s stream, lines int32) ([]string, error) {
	got, err := c.logsIn(s).GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{
		LogGroupName: &s.Group, LogStreamName: &s.Name, Limit: &lines, StartFromHead: aws.Bool(false)})
	if amazon.IsCode(err, "ResourceNotFoundException") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("log %s: %w", s, c.explain(ctx, err))
	}
	var out []string
	for _, e := range got.Events {
		out = append(out, strings.Split(strings.TrimRight(aws.ToString(e.Message), "\n"), "\n")...)
	}
	if n := len(out) - int(lines); n > 0 {
		out = out[n:]
	}
	return out, nil
}

// A pump copies a stream line by line as it grows.
type pump struct {
	client *Client
	stream stream
	next   *string
}

// copy writes what is new, and returns how many events that was.
func (p *pump) copy(ctx context.Context, line func(at time.Time, text string)) (int, error) {
	total := 0
	for {
		got, err := p.client.logsIn(p.stream).GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{
			LogGroupName: &p.stream.Group, LogStreamName: &p.stream.Name, StartFromHead: aws.Bool(true), NextToken: p.next})
		if amazon.IsCode(err, "ResourceNotFoundException") {
			return total, nil // nothing was written yet
		}
		if err != nil {
			return total, fmt.Errorf("log %s: %w", p.stream, p.client.explain(ctx, err))
		}
		for _, e := range got.Events {
			line(time.UnixMilli(aws.ToInt64(e.Timestamp)), strings.TrimRight(aws.ToString(e.Message), "\n"))
		}
		total += len(got.Events)
		same := p.next != nil && aws.ToString(got.NextForwardToken) == *p.next
		p.next = got.NextForwardToken
		if same || len(got.Events) == 0 {
			return total, nil
		}
	}
}
