package report

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"sync"

	"bake/builder"
	"bake/internal/redact"
)

// longLine is the length of a log line that may be a piece of a longer one:
// the engine cuts what does not end.
const longLine = 64 << 10

// Redact returns a sink that takes the secrets r knows out of every text in an
// event before it hands the event on: it stands before all others. What
// identifies things is left as it is: run, build, step, phase, kind, digests and
// positions, none of which is made of values.
func Redact(next Sink, r *redact.Redactor) Sink {
	return &redacting{Sink: next, r: r, cut: map[stream]*cutLine{}}
}

type redacting struct {
	Sink
	r *redact.Redactor

	mu  sync.Mutex
	cut map[stream]*cutLine // lines whose next piece is still to come
}

type stream struct {
	step builder.StepID
	name string
}

// A cutLine finds secrets across the pieces of a line.
type cutLine struct {
	out bytes.Buffer
	w   io.WriteCloser
}

func (s *redacting) Emit(e builder.Event) {
	switch e.Type {
	case builder.StepLog:
		e.Text = s.logText(e)
		s.Sink.Emit(e)
		return
	case builder.StepDone, builder.StepFailed:
		s.endCuts(e)
	}
	e.Text, e.Err, e.Hint = s.r.String(e.Text), s.r.String(e.Err), s.r.String(e.Hint)
	for _, p := range []any{&e.Progress, &e.Resource, &e.Outcome, &e.Published, &e.Artifact, &e.Left, &e.Plan} {
		s.walk(reflect.ValueOf(p).Elem())
	}
	s.Sink.Emit(e)
}

// logText redacts a line of a log. The end of a long one is held back as long
// as it may be the beginning of a secret, until the next piece comes.
func (s *redacting) logText(e builder.Event) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := stream{e.Step, e.Stream}
	c := s.cut[key]
	if c == nil && len(e.Text) < longLine {
		return s.r.String(e.Text)
	}
	if c == nil {
		c = new(cutLine)
		c.w = s.r.Writer(&c.out)
		s.cut[key] = c
	}
	io.WriteString(c.w, e.Text) // a buffer takes everything
	if len(e.Text) < longLine {
		c.w.Close()
		delete(s.cut, key)
	}
	text := c.out.String()
	c.out.Reset()
	return text
}

// endCuts hands on what is held back of the step's lines.
func (s *redacting) endCuts(e builder.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, c := range s.cut {
		if key.step != e.Step {
			continue
		}
		delete(s.cut, key)
		if c.w.Close(); c.out.Len() > 0 {
			s.Sink.Emit(builder.Event{Time: e.Time, Run: e.Run, Type: builder.StepLog, Build: e.Build, Step: e.Step, Stream: key.name, Text: c.out.String()})
		}
	}
}

// walk redacts every string below v, which is settable, and copies what it
// changes: the event shares it with the engine.
func (s *redacting) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			v.SetString(s.r.String(v.String()))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			fresh := reflect.New(v.Type().Elem())
			fresh.Elem().Set(v.Elem())
			s.walk(fresh.Elem())
			v.Set(fresh)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && !identity(v.Type().Field(i)) {
				s.walk(f)
			}
		}
	case reflect.Slice:
		s.walkSlice(v)
	case reflect.Map:
		if v.Len() > 0 && v.Type().Elem().Kind() == reflect.String {
			fresh := reflect.MakeMapWithSize(v.Type(), v.Len())
			for it := v.MapRange(); it.Next(); {
				fresh.SetMapIndex(it.Key(), reflect.ValueOf(s.r.String(it.Value().String())).Convert(v.Type().Elem()))
			}
			v.Set(fresh)
		}
	}
}

func (s *redacting) walkSlice(v reflect.Value) {
	if raw, ok := v.Interface().(json.RawMessage); ok {
		v.Set(reflect.ValueOf(s.json(raw)))
		return
	}
	if v.Len() == 0 || v.Type().Elem().Kind() == reflect.Uint8 {
		return
	}
	fresh := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
	reflect.Copy(fresh, v)
	for i := range fresh.Len() {
		s.walk(fresh.Index(i))
	}
	v.Set(fresh)
}

// identity tells the fields by which events and plans refer to things.
func identity(f reflect.StructField) bool {
	switch f.Name {
	case "Name":
		return f.Tag.Get("json") == "name"
	case "Kind", "Needs", "Platform", "Pos", "Phase", "Token":
		return true
	}
	return false
}

// json redacts the strings and numbers in raw, so that it stays valid.
func (s *redacting) json(raw json.RawMessage) json.RawMessage {
	if s.r.String(string(raw)) == string(raw) {
		return raw
	}
	var v any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return json.RawMessage(`"` + redact.Mask + `"`)
	}
	out, err := json.Marshal(s.plain(v))
	if err != nil {
		return json.RawMessage(`"` + redact.Mask + `"`)
	}
	return out
}

func (s *redacting) plain(v any) any {
	switch v := v.(type) {
	case string:
		return s.r.String(v)
	case json.Number:
		if t := s.r.String(v.String()); t != v.String() {
			return t
		}
	case []any:
		for i := range v {
			v[i] = s.plain(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[s.r.String(k)] = s.plain(x)
		}
		return out
	}
	return v
}
