package logs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/logs/wire"
)

// maxEvents is how many events one answer holds at most.
const maxEvents = 10000

func (l *T) putLogEvents(call *api.Call, r *region, in *wire.PutLogEventsInput) (*wire.PutLogEventsOutput, error) {
	g, s, err := r.stream(in.LogGroupName, "", in.LogStreamName)
	if err != nil {
		return nil, err
	}
	if len(in.LogEvents) == 0 || len(in.LogEvents) > maxEvents {
		return nil, badParameter("Log events in a single PutLogEvents request must be between 1 and %d.", maxEvents)
	}
	for i, e := range in.LogEvents {
		if e.Timestamp == nil || e.Message == "" {
			return nil, badParameter("1 validation error detected: Value at 'logEvents.%d.member' needs a timestamp and a message", i+1)
		}
		if i > 0 && *e.Timestamp < *in.LogEvents[i-1].Timestamp {
			return nil, badParameter("Log events in a single PutLogEvents request must be in chronological order.")
		}
	}
	out := &wire.PutLogEventsOutput{NextSequenceToken: s.UploadSequenceToken}
	rejected := wire.RejectedLogEventsInfo{}
	for i, e := range in.LogEvents {
		age := l.w.Now().Sub(time.UnixMilli(*e.Timestamp))
		switch {
		case age > 14*24*time.Hour:
			rejected.TooOldLogEventEndIndex, out.RejectedLogEventsInfo = new(int32(i+1)), &rejected
		case age < -2*time.Hour && rejected.TooNewLogEventStartIndex == nil:
			rejected.TooNewLogEventStartIndex, out.RejectedLogEventsInfo = new(int32(i)), &rejected
		case age >= -2*time.Hour:
			l.add(g, s, *e.Timestamp, e.Message)
		}
	}
	return out, nil
}

// within reports whether a time is in what a call asked for; the end is excluded.
func within(at int64, start, end *int64) bool {
	return (start == nil || at >= *start) && (end == nil || at < *end)
}

func (l *T) getLogEvents(call *api.Call, r *region, in *wire.GetLogEventsInput) (*wire.GetLogEventsOutput, error) {
	_, s, err := r.stream(in.LogGroupName, in.LogGroupIdentifier, in.LogStreamName)
	if err != nil {
		return nil, err
	}
	size := maxEvents
	if in.Limit != nil && *in.Limit > 0 {
		size = min(size, int(*in.Limit))
	}
	var found []event
	for _, e := range s.Events {
		if within(e.Timestamp, in.StartTime, in.EndTime) {
			found = append(found, e)
		}
	}
	from, to, err := window(found, size, in)
	if err != nil {
		return nil, err
	}
	out := &wire.GetLogEventsOutput{Events: []wire.OutputLogEvent{}, NextForwardToken: token("f", found, to-1), NextBackwardToken: token("b", found, from)}
	if from == to && in.NextToken != "" { // at an end the same token comes back
		_, id, _ := strings.Cut(in.NextToken, "/")
		out.NextForwardToken, out.NextBackwardToken = "f/"+id, "b/"+id
	}
	for _, e := range found[from:to] {
		out.Events = append(out.Events, wire.OutputLogEvent{Timestamp: new(e.Timestamp), IngestionTime: new(e.Arrived), Message: e.Message})
	}
	return out, nil
}

// window is which of the events a call gets: those after or before its token,
// or the first or the last ones. A token holds the event that was last seen.
func window(found []event, size int, in *wire.GetLogEventsInput) (from, to int, err error) {
	if in.NextToken == "" {
		if in.StartFromHead != nil && *in.StartFromHead {
			return 0, min(size, len(found)), nil
		}
		return max(0, len(found)-size), len(found), nil
	}
	kind, rest, _ := strings.Cut(in.NextToken, "/")
	digits, _, _ := strings.Cut(rest, "/")
	seen := number(digits)
	at := slices.IndexFunc(found, func(e event) bool { return e.Seq == seen })
	switch {
	case kind == "f":
		return at + 1, min(at+1+size, len(found)), nil
	case kind == "b" && at < 0:
		return 0, 0, nil
	case kind == "b":
		return max(0, at-size), at, nil
	}
	return 0, 0, badParameter("The specified nextToken is invalid.")
}

func token(kind string, events []event, i int) string {
	id := event{}.id()
	if i >= 0 && i < len(events) {
		id = events[i].id()
	}
	return kind + "/" + id + "/s"
}

// A found event is one of a stream.
type found struct {
	event
	stream string
}

func (l *T) filterLogEvents(call *api.Call, r *region, in *wire.FilterLogEventsInput) (*wire.FilterLogEventsOutput, error) {
	name := in.LogGroupName
	if name == "" {
		name = in.LogGroupIdentifier
	}
	g, err := r.group(name)
	if err != nil {
		return nil, err
	}
	if len(in.LogStreamNames) > 0 && in.LogStreamNamePrefix != "" {
		return nil, badParameter("Cannot specify both logStreamNames and logStreamNamePrefix.")
	}
	for _, s := range in.LogStreamNames {
		if g.Streams[s] == nil {
			return nil, api.Errorf("ResourceNotFoundException", "The specified log stream does not exist.")
		}
	}
	match, err := pattern(in.FilterPattern)
	if err != nil {
		return nil, err
	}
	var all []found
	for name, s := range g.Streams {
		if !strings.HasPrefix(name, in.LogStreamNamePrefix) || len(in.LogStreamNames) > 0 && !slices.Contains(in.LogStreamNames, name) {
			continue
		}
		for _, e := range s.Events {
			if within(e.Timestamp, in.StartTime, in.EndTime) && match(e.Message) {
				all = append(all, found{e, name})
			}
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), cmp.Compare(a.Seq, b.Seq))
	})
	return filtered(all, in)
}

// filtered is one page of what was found. The token holds its last event.
func filtered(all []found, in *wire.FilterLogEventsInput) (*wire.FilterLogEventsOutput, error) {
	out := &wire.FilterLogEventsOutput{Events: []wire.FilteredLogEvent{}, SearchedLogStreams: []wire.SearchedLogStream{}}
	if in.NextToken != "" {
		seen := number(in.NextToken)
		i := slices.IndexFunc(all, func(e found) bool { return e.Seq == seen })
		if i < 0 {
			return nil, badParameter("The specified nextToken is invalid.")
		}
		all = all[i+1:]
	}
	size := maxEvents
	if in.Limit != nil && *in.Limit > 0 {
		size = min(size, int(*in.Limit))
	}
	for i, e := range all {
		if i == size {
			out.NextToken = all[i-1].id()
			break
		}
		out.Events = append(out.Events, wire.FilteredLogEvent{EventId: e.id(), LogStreamName: e.stream, Message: e.Message, Timestamp: new(e.Timestamp), IngestionTime: new(e.Arrived)})
	}
	return out, nil
}

// pattern reads a filter pattern of terms: all must be in the message, one of
// those with a "?" before it, none of those with a "-"; quotes keep blanks.
func pattern(s string) (func(string) bool, error) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") {
		return nil, badParameter("Invalid filter pattern: bake's sandbox knows terms, not JSON or columns: %s", s)
	}
	var all, some, none []string
	for s != "" {
		kind := s[:1]
		if kind == "?" || kind == "-" {
			s = s[1:]
		}
		term, rest, err := nextTerm(s)
		if err != nil {
			return nil, err
		}
		s = strings.TrimSpace(rest)
		switch kind {
		case "?":
			some = append(some, term)
		case "-":
			none = append(none, term)
		default:
			all = append(all, term)
		}
	}
	return func(m string) bool {
		has := func(term string) bool { return strings.Contains(m, term) }
		lacks := func(term string) bool { return !has(term) }
		return !slices.ContainsFunc(all, lacks) && !slices.ContainsFunc(none, has) && (len(some) == 0 || slices.ContainsFunc(some, has))
	}, nil
}

func nextTerm(s string) (term, rest string, err error) {
	if quoted, ok := strings.CutPrefix(s, `"`); ok {
		term, rest, ok = strings.Cut(quoted, `"`)
		if !ok {
			return "", "", badParameter("Invalid filter pattern: a quotation mark is not closed: %s", fmt.Sprintf("%q", s))
		}
		return term, rest, nil
	}
	term, rest, _ = strings.Cut(s, " ")
	return term, rest, nil
}
