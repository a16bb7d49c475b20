package report

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"

	"bake/builder"
	"bake/internal/redact"
)

// A Sink shows or keeps the events of one run.
type Sink interface {
	builder.Sink
	// Close shows or writes what is left and gives back the terminal. It
	// returns what went wrong since the sink was made. Emit after Close does nothing.
	Close() error
}

// Tee returns a sink that hands every event to all sinks, in order, and closes them all.
func Tee(sinks ...Sink) Sink { return tee(sinks) }

type tee []Sink

func (t tee) Emit(e builder.Event) {
	for _, s := range t {
		s.Emit(e)
	}
}

func (t tee) Close() error {
	var errs []error
	for _, s := range t {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// Redact returns a sink that takes the secrets r knows out of every text in an
// event before it hands the event on: it stands before all others. What
// identifies things is left as it is: run, build, step, phase, kind, digests and
// positions, none of which is made of values.
func Redact(next Sink, r *redact.Redactor) Sink { return &redacting{next, r} }

type redacting struct {
	Sink
	r *redact.Redactor
}

func (s *redacting) Emit(e builder.Event) {
	e.Text, e.Err, e.Hint = s.r.String(e.Text), s.r.String(e.Err), s.r.String(e.Hint)
	for _, p := range []any{&e.Progress, &e.Resource, &e.Outcome, &e.Published, &e.Artifact, &e.Left, &e.Plan} {
		s.walk(reflect.ValueOf(p).Elem())
	}
	s.Sink.Emit(e)
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

// Pause takes what s draws off the terminal, so that something else can be
// written or asked there, until resume is called. Events go on being taken.
func Pause(s Sink) (resume func()) {
	switch s := s.(type) {
	case tee:
		resumes := make([]func(), len(s))
		for i, one := range s {
			resumes[i] = Pause(one)
		}
		return func() {
			for _, r := range resumes {
				r()
			}
		}
	case *redacting:
		return Pause(s.Sink)
	case *live:
		return s.Pause()
	}
	return func() {}
}
