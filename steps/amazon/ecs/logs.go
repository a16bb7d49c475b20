package ecs

import (
	"context"
	"fmt"
	"maps"
	"slices"
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

// A LogQuery says which lines of a service's or a task's containers are wanted.
type LogQuery struct {
	Service   string    // of all its tasks, also of those that stopped within the last hour
	Task      string    // or of one task: its id, or a unique beginning of it
	Container string    // empty: of all containers
	Filter    string    // empty: all; else a CloudWatch Logs filter pattern
	Since     time.Time // zero: from the beginning
	Follow    bool      // go on until ctx ends
}

// A LogLine is one line that a container wrote.
type LogLine struct {
	Time      time.Time `json:"time"`
	Task      string    `json:"task"`
	Container string    `json:"container"`
	Text      string    `json:"text"`
}

// Logs calls line for each line in the order of time. It returns a
// *missingError if the containers keep no output in CloudWatch Logs.
func (c *Client) Logs(ctx context.Context, q LogQuery, line func(LogLine)) error {
	r := &logReader{Client: c, q: q, line: line, seen: map[string]bool{}}
	for {
		n, err := r.read(ctx)
		if err != nil || !q.Follow {
			return err
		}
		pause := period
		if n == 0 {
			pause = 2 * period
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// A logReader reads the streams of tasks that come and go.
type logReader struct {
	*Client
	q    LogQuery
	line func(LogLine)
	seen map[string]bool // ids of events that were told
	from time.Time       // of the newest of them
}

// read tells what is new since the last time, and how much that was.
func (r *logReader) read(ctx context.Context) (int, error) {
	groups, err := r.streams(ctx)
	if err != nil {
		return 0, err
	}
	var lines []LogLine
	for s, owners := range groups {
		more, err := r.filter(ctx, s, owners)
		if err != nil {
			return 0, err
		}
		lines = append(lines, more...)
	}
	slices.SortStableFunc(lines, func(a, b LogLine) int { return a.Time.Compare(b.Time) })
	for _, l := range lines {
		r.line(l)
		if l.Time.After(r.from) {
			r.from = l.Time
		}
	}
	return len(lines), nil
}

// streams maps log groups to their streams of interest, and whose those are.
func (r *logReader) streams(ctx context.Context) (map[stream]map[string]LogLine, error) {
	tasks, err := r.tasks(ctx)
	if err != nil {
		return nil, err
	}
	groups := map[stream]map[string]LogLine{}
	kept := false
	for _, t := range tasks {
		td, err := r.revision(ctx, t.Revision)
		if err != nil {
			return nil, err
		}
		for _, k := range t.Containers {
			if r.q.Container != "" && k.Name != r.q.Container {
				continue
			}
			s, ok := streamOf(td, k.Name, t.ID)
			if !ok {
				continue
			}
			kept = true
			name := s.Name
			s.Name = ""
			if groups[s] == nil {
				groups[s] = map[string]LogLine{}
			}
			groups[s][name] = LogLine{Task: t.ID, Container: k.Name}
		}
	}
	if len(tasks) > 0 && !kept {
		return nil, &missingError{what: "these containers keep no output in CloudWatch Logs", hint: "give them `logs: {group: ...}`; `bake ecs tasks` shows them"}
	}
	return groups, nil
}

func (r *logReader) tasks(ctx context.Context) ([]RunningTask, error) {
	if r.q.Task == "" {
		return r.AllTasks(ctx, r.q.Service)
	}
	t, err := r.Task(ctx, r.q.Task)
	return []RunningTask{t}, err
}

// maxStreams is how many streams FilterLogEvents takes.
const maxStreams = 100

func (r *logReader) filter(ctx context.Context, group stream, owners map[string]LogLine) ([]LogLine, error) {
	since := r.q.Since
	if !r.from.IsZero() {
		since = r.from // lines of other streams may come late: what was told already is known by its id
	}
	var out []LogLine
	for names := range slices.Chunk(slices.Sorted(maps.Keys(owners)), maxStreams) {
		in := &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group.Group, LogStreamNames: names, FilterPattern: text(r.q.Filter)}
		if !since.IsZero() {
			in.StartTime = aws.Int64(since.UnixMilli())
		}
		for p := cloudwatchlogs.NewFilterLogEventsPaginator(r.logsIn(group), in); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
			if amazon.IsCode(err, "ResourceNotFoundException") {
				break // nothing was written yet
			}
			if err != nil {
				return nil, fmt.Errorf("log group %s: %w", group.Group, r.explain(ctx, err))
			}
			for _, e := range page.Events {
				if id := aws.ToString(e.EventId); !r.seen[id] {
					r.seen[id] = true
					l := owners[aws.ToString(e.LogStreamName)]
					l.Time, l.Text = time.UnixMilli(aws.ToInt64(e.Timestamp)), strings.TrimRight(aws.ToString(e.Message), "\n")
					out = append(out, l)
				}
			}
		}
	}
	return out, nil
}
