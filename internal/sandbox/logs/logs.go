// Package logs is the sandbox's CloudWatch Logs: groups, streams and what is
// written to them, in memory.
package logs

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/logs/wire"
)

// T is the log groups of all accounts and regions. Safe for concurrent use.
type T struct {
	w      *api.World
	mu     sync.Mutex
	places map[place]*region
	seq    int64 // of the last event
}

// A place is what state is apart by.
type place struct{ Account, Region string }

// A region is the log groups of one place.
type region struct {
	place
	Groups map[string]*group
}

// A group with its streams.
type group struct {
	wire.LogGroup
	Tags    map[string]string
	Streams map[string]*stream
}

// A stream with its events, in the order of their time stamps.
type stream struct {
	wire.LogStream
	Events []event
}

// An event is one line.
type event struct {
	Seq                int64 // which no other event of the sandbox has
	Timestamp, Arrived int64 // milliseconds since 1970
	Message            string
}

// New returns a T without groups.
func New(w *api.World) *T { return &T{w: w, places: map[place]*region{}} }

// Service returns the actions of CloudWatch Logs.
func (l *T) Service() *api.Service {
	return &api.Service{
		Name: "logs", Protocol: api.JSON, Target: "Logs_20140328",
		Actions: map[string]api.Action{
			"CreateLogGroup":        act(l, l.createLogGroup),
			"DeleteLogGroup":        act(l, l.deleteLogGroup),
			"DescribeLogGroups":     act(l, l.describeLogGroups),
			"PutRetentionPolicy":    act(l, l.putRetentionPolicy),
			"DeleteRetentionPolicy": act(l, l.deleteRetentionPolicy),
			"CreateLogStream":       act(l, l.createLogStream),
			"DeleteLogStream":       act(l, l.deleteLogStream),
			"DescribeLogStreams":    act(l, l.describeLogStreams),
			"PutLogEvents":          act(l, l.putLogEvents),
			"GetLogEvents":          act(l, l.getLogEvents),
			"FilterLogEvents":       act(l, l.filterLogEvents),
			"TagLogGroup":           act(l, l.tagLogGroup),
			"UntagLogGroup":         act(l, l.untagLogGroup),
			"ListTagsLogGroup":      act(l, l.listTagsLogGroup),
			"TagResource":           act(l, l.tagResource),
			"UntagResource":         act(l, l.untagResource),
			"ListTagsForResource":   act(l, l.listTagsForResource),
		},
	}
}

// act makes an action of a method that is called under the lock.
func act[In, Out any](l *T, f func(call *api.Call, r *region, in *In) (*Out, error)) api.Action {
	return api.Do(func(_ context.Context, call *api.Call, in *In) (*Out, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		out, err := f(call, l.region(call.Account, call.Region), in)
		if err != nil {
			return nil, err
		}
		return api.Detach(out)
	})
}

func (l *T) region(account, name string) *region {
	p := place{account, name}
	if l.places[p] == nil {
		l.places[p] = &region{place: p, Groups: map[string]*group{}}
	}
	return l.places[p]
}

func (l *T) now() int64 { return l.w.Now().UnixMilli() }

// EnsureStream makes a stream that is not there yet, and its group if create is
// true. Without the group it returns ResourceNotFoundException, as CreateLogStream does.
func (l *T) EnsureStream(account, regionName, groupName, streamName string, create bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.region(account, regionName)
	if r.Groups[groupName] == nil && create {
		l.addGroup(r, groupName)
	}
	g, err := r.group(groupName)
	if err != nil {
		return err
	}
	if g.Streams[streamName] == nil {
		l.addStream(r, g, streamName)
	}
	return nil
}

// Append adds one event to a stream; it is lost if there is no such stream.
func (l *T) Append(account, regionName, groupName, streamName string, at time.Time, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.region(account, regionName).Groups[groupName]
	if g == nil || g.Streams[streamName] == nil {
		return
	}
	l.add(g, g.Streams[streamName], at.UnixMilli(), message)
}

// eventOverhead is what AWS counts for an event beside its text, in bytes.
const eventOverhead = 26

func (l *T) add(g *group, s *stream, at int64, message string) {
	l.seq++
	e := event{Seq: l.seq, Timestamp: at, Arrived: l.now(), Message: message}
	i := len(s.Events)
	for i > 0 && s.Events[i-1].Timestamp > at {
		i--
	}
	s.Events = slices.Insert(s.Events, i, e)
	s.FirstEventTimestamp, s.LastEventTimestamp = &s.Events[0].Timestamp, &s.Events[len(s.Events)-1].Timestamp
	s.LastIngestionTime = &e.Arrived
	*g.StoredBytes += int64(len(message) + eventOverhead)
}

func (l *T) addGroup(r *region, name string) *group {
	arn := fmt.Sprintf("arn:aws:logs:%s:%s:log-group:%s", r.Region, r.Account, name)
	g := &group{Tags: map[string]string{}, Streams: map[string]*stream{}}
	g.LogGroup = wire.LogGroup{LogGroupName: name, Arn: arn + ":*", LogGroupArn: arn, CreationTime: new(l.now()), MetricFilterCount: new(int32(0)), StoredBytes: new(int64(0)), LogGroupClass: "STANDARD"}
	r.Groups[name] = g
	return g
}

func (l *T) addStream(r *region, g *group, name string) {
	s := &stream{}
	s.LogStream = wire.LogStream{LogStreamName: name, Arn: strings.TrimSuffix(g.Arn, "*") + "log-stream:" + name, CreationTime: new(l.now()), StoredBytes: new(int64(0)), UploadSequenceToken: "49039859639868436839374"}
	g.Streams[name] = s
}

// group finds a group by name or ARN.
func (r *region) group(name string) (*group, error) {
	if _, rest, ok := strings.Cut(name, ":log-group:"); ok {
		name = strings.TrimSuffix(rest, ":*")
	}
	if g := r.Groups[name]; g != nil {
		return g, nil
	}
	return nil, api.Errorf("ResourceNotFoundException", "The specified log group does not exist.")
}

func (r *region) stream(groupName, identifier, streamName string) (*group, *stream, error) {
	if groupName == "" {
		groupName = identifier
	}
	g, err := r.group(groupName)
	if err != nil {
		return nil, nil, err
	}
	if s := g.Streams[streamName]; s != nil {
		return g, s, nil
	}
	return nil, nil, api.Errorf("ResourceNotFoundException", "The specified log stream does not exist.")
}

// page returns the part of sorted names that a Describe answers, and the token for the rest.
func page(names []string, limit *int32, token string) ([]string, string) {
	size := 50
	if limit != nil && *limit > 0 {
		size = int(*limit)
	}
	if token != "" {
		i, _ := slices.BinarySearch(names, token)
		for i < len(names) && names[i] <= token {
			i++
		}
		names = names[i:]
	}
	if len(names) <= size {
		return names, ""
	}
	return names[:size], names[size-1]
}

// state is what is saved.
type state struct {
	Seq     int64
	Regions []*region
}

// Save returns all groups with their events.
func (l *T) Save() (json.RawMessage, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := state{Seq: l.seq}
	for _, r := range l.places {
		s.Regions = append(s.Regions, r)
	}
	return json.Marshal(s)
}

// Load replaces everything by what Save returned.
func (l *T) Load(data json.RawMessage) error {
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("reading the state of CloudWatch Logs: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq, l.places = s.Seq, map[place]*region{}
	for _, r := range s.Regions {
		l.places[r.place] = r
	}
	return nil
}

// id is an event's id as AWS writes it.
func (e event) id() string { return fmt.Sprintf("%056d", e.Seq) }

func number(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimLeft(s, "0"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
