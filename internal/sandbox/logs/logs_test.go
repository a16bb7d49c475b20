package logs_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/google/go-cmp/cmp"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/logs"
)

func newClient(t *testing.T) (*sdk.Client, *logs.T) {
	t.Helper()
	w := &api.World{Account: "123456789012", Now: time.Now}
	l := logs.New(w)
	server := httptest.NewServer(api.NewServer(w, l.Service()))
	t.Cleanup(server.Close)
	return sdk.NewFromConfig(aws.Config{Region: "eu-west-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", "")}), l
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stream makes a group with a stream and puts n lines into it.
func stream(t *testing.T, c *sdk.Client, group, name string, n int) {
	t.Helper()
	_, err := c.CreateLogGroup(t.Context(), &sdk.CreateLogGroupInput{LogGroupName: &group})
	if err != nil && !strings.Contains(err.Error(), "ResourceAlreadyExistsException: The specified log group already exists") {
		t.Fatal(err)
	}
	_, err = c.CreateLogStream(t.Context(), &sdk.CreateLogStreamInput{LogGroupName: &group, LogStreamName: &name})
	check(t, err)
	if n > 0 {
		put(t, c, group, name, 0, n)
	}
}

func put(t *testing.T, c *sdk.Client, group, name string, from, to int) {
	t.Helper()
	var events []types.InputLogEvent
	for i := from; i < to; i++ {
		events = append(events, types.InputLogEvent{Message: aws.String(fmt.Sprintf("%s %d", name, i)), Timestamp: aws.Int64(time.Now().UnixMilli() - 1000 + int64(i))})
	}
	_, err := c.PutLogEvents(t.Context(), &sdk.PutLogEventsInput{LogGroupName: &group, LogStreamName: &name, LogEvents: events})
	check(t, err)
}

func texts(events []types.OutputLogEvent) []string {
	var all []string
	for _, e := range events {
		all = append(all, *e.Message)
	}
	return all
}

func TestTheForwardTokenStaysTheSameAtTheEnd(t *testing.T) {
	c, _ := newClient(t)
	stream(t, c, "g", "s", 5)
	in := &sdk.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s"), Limit: aws.Int32(2), StartFromHead: aws.Bool(true)}
	var got []string
	pages := 0
	for {
		out, err := c.GetLogEvents(t.Context(), in)
		check(t, err)
		got = append(got, texts(out.Events)...)
		pages++
		if in.NextToken != nil && *out.NextForwardToken == *in.NextToken {
			break
		}
		in.NextToken = out.NextForwardToken
	}
	if diff := cmp.Diff([]string{"s 0", "s 1", "s 2", "s 3", "s 4"}, got); diff != "" || pages != 4 {
		t.Errorf("%d pages:\n%s", pages, diff)
	}
	put(t, c, "g", "s", 5, 6)
	out, err := c.GetLogEvents(t.Context(), in) // the token goes on with what came later
	check(t, err)
	if diff := cmp.Diff([]string{"s 5"}, texts(out.Events)); diff != "" {
		t.Error(diff)
	}
	tail, err := c.GetLogEvents(t.Context(), &sdk.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s"), Limit: aws.Int32(2)})
	check(t, err)
	before, err := c.GetLogEvents(t.Context(), &sdk.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s"), Limit: aws.Int32(2), NextToken: tail.NextBackwardToken})
	check(t, err)
	if diff := cmp.Diff([]string{"s 4", "s 5", "s 2", "s 3"}, append(texts(tail.Events), texts(before.Events)...)); diff != "" {
		t.Error(diff)
	}
}

func TestEventsOfAllStreamsAreFilteredInOrder(t *testing.T) {
	c, _ := newClient(t)
	stream(t, c, "g", "web/a", 3)
	stream(t, c, "g", "web/b", 3)
	stream(t, c, "g", "job/c", 3)
	find := func(in sdk.FilterLogEventsInput) []string {
		t.Helper()
		in.LogGroupName = aws.String("g")
		var all []string
		pages := sdk.NewFilterLogEventsPaginator(c, &in)
		for pages.HasMorePages() {
			out, err := pages.NextPage(t.Context())
			check(t, err)
			for i, e := range out.Events {
				if i > 0 && *e.Timestamp < *out.Events[i-1].Timestamp {
					t.Error("events are out of order")
				}
				all = append(all, *e.Message)
			}
		}
		return all
	}
	if got := find(sdk.FilterLogEventsInput{LogStreamNamePrefix: aws.String("web/"), Limit: aws.Int32(4)}); len(got) != 6 {
		t.Errorf("a prefix finds %v", got)
	}
	for pattern, want := range map[string]int{"2": 3, `"web/a 1"`: 1, "web -a": 3, "?web/a ?web/b": 6, "web/b": 3} {
		if got := find(sdk.FilterLogEventsInput{FilterPattern: &pattern}); len(got) != want {
			t.Errorf("%s finds %v", pattern, got)
		}
	}
}

func TestStreamsAreListedByNameOrByLastEvent(t *testing.T) {
	c, l := newClient(t)
	stream(t, c, "g", "a", 0)
	stream(t, c, "g", "b", 0)
	l.Append("123456789012", "eu-west-1", "g", "b", time.Now().Add(-time.Minute), "old")
	l.Append("123456789012", "eu-west-1", "g", "a", time.Now(), "new")
	out, err := c.DescribeLogStreams(t.Context(), &sdk.DescribeLogStreamsInput{LogGroupName: aws.String("g"), OrderBy: types.OrderByLastEventTime, Descending: aws.Bool(true)})
	check(t, err)
	if len(out.LogStreams) != 2 || *out.LogStreams[0].LogStreamName != "a" {
		t.Errorf("%+v", out.LogStreams)
	}
	_, err = c.DescribeLogStreams(t.Context(), &sdk.DescribeLogStreamsInput{LogGroupName: aws.String("g"), OrderBy: types.OrderByLastEventTime, LogStreamNamePrefix: aws.String("a")})
	if err == nil || !strings.Contains(err.Error(), "Cannot order by LastEventTime with a logStreamNamePrefix") {
		t.Errorf("an order with a prefix: %v", err)
	}
	if err := l.EnsureStream("123456789012", "eu-west-1", "none", "s", false); err == nil || !strings.Contains(err.Error(), "The specified log group does not exist.") {
		t.Errorf("a stream without its group: %v", err)
	}
}

func TestWhatWasWrittenSurvivesARestart(t *testing.T) {
	c, l := newClient(t)
	stream(t, c, "g", "s", 2)
	_, err := c.PutRetentionPolicy(t.Context(), &sdk.PutRetentionPolicyInput{LogGroupName: aws.String("g"), RetentionInDays: aws.Int32(7)})
	check(t, err)
	data, err := l.Save()
	check(t, err)
	c, l = newClient(t)
	check(t, l.Load(data))
	out, err := c.GetLogEvents(t.Context(), &sdk.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s")})
	check(t, err)
	groups, err := c.DescribeLogGroups(t.Context(), &sdk.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("g")})
	check(t, err)
	if len(out.Events) != 2 || len(groups.LogGroups) != 1 || *groups.LogGroups[0].RetentionInDays != 7 {
		t.Errorf("%d events, %+v", len(out.Events), groups.LogGroups)
	}
}
