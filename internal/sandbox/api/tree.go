package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"
)

// A Time is a moment in a JSON request: seconds since 1970, or RFC 3339. In
// answers a time.Time does as well.
type Time struct{ time.Time }

// UnmarshalJSON reads seconds since 1970, or RFC 3339.
func (t *Time) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		return json.Unmarshal(data, &t.Time)
	}
	seconds, err := strconv.ParseFloat(string(data), 64)
	if err != nil {
		return fmt.Errorf("time %s: %w", data, err)
	}
	whole, part := math.Modf(seconds)
	t.Time = time.Unix(int64(whole), int64(part*1e9)).UTC()
	return nil
}

// MarshalJSON writes RFC 3339, for what is kept; answers have seconds.
func (t Time) MarshalJSON() ([]byte, error) { return json.Marshal(t.Time) }

// A member of an object, in the order of the struct's fields.
type member struct {
	name  string
	value any
}

type object []member

// tree makes of an answer what JSON and CBOR are written from: object, []any,
// string, bool, int64, float64, time.Time, []byte or nil. Names are those of the
// json tags. It differs from encoding/json in that a list is never null.
func tree(v reflect.Value) (any, error) {
	v = indirect(v)
	if !v.IsValid() {
		return nil, nil
	}
	switch t := v.Interface().(type) {
	case time.Time:
		return t, nil
	case Time:
		return t.Time, nil
	case json.Marshaler:
		return marshaled(t)
	}
	switch v.Kind() {
	case reflect.Struct:
		o, err := members(v, object{})
		return o, err
	case reflect.String:
		return v.String(), nil
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return int64(v.Uint()), nil
	case reflect.Float32, reflect.Float64:
		return v.Float(), nil
	case reflect.Map:
		return mapping(v)
	case reflect.Slice, reflect.Array:
		return list(v)
	}
	return nil, fmt.Errorf("an answer holds a %s", v.Type())
}

func list(v reflect.Value) (any, error) {
	if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice {
		return v.Bytes(), nil
	}
	all := make([]any, v.Len())
	for i := range all {
		var err error
		if all[i], err = tree(v.Index(i)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func mapping(v reflect.Value) (any, error) {
	o := object{}
	for _, key := range v.MapKeys() {
		value, err := tree(v.MapIndex(key))
		if err != nil {
			return nil, err
		}
		o = append(o, member{fmt.Sprint(key.Interface()), value})
	}
	slices.SortFunc(o, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return o, nil
}

func members(v reflect.Value, o object) (object, error) {
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && name == "" && indirectKind(field.Type) == reflect.Struct {
			if value = indirect(value); !value.IsValid() {
				continue
			}
			var err error
			if o, err = members(value, o); err != nil {
				return nil, err
			}
			continue
		}
		if !field.IsExported() || name == "-" || isLeftOut(options, value) || isNothing(value) {
			continue
		}
		if name == "" {
			name = field.Name
		}
		t, err := tree(value)
		if err != nil {
			return nil, err
		}
		o = append(o, member{name, t})
	}
	return o, nil
}

// isLeftOut reports whether the tag of a field leaves its value out, as it does
// in encoding/json: a list that is empty, and there, is not a zero value.
func isLeftOut(options string, v reflect.Value) bool {
	return strings.Contains(options, "omitempty") && isEmpty(v) || strings.Contains(options, "omitzero") && v.IsZero()
}

// isNothing is what AWS leaves out: what has no value, and no time.
func isNothing(v reflect.Value) bool {
	v = indirect(v)
	if !v.IsValid() {
		return true
	}
	switch t := v.Interface().(type) {
	case time.Time:
		return t.IsZero()
	case Time:
		return t.IsZero()
	case json.RawMessage:
		return len(t) == 0
	}
	return false
}

func marshaled(m json.Marshaler) (any, error) {
	data, err := m.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return parsed(data)
}

// parsed is the tree of a JSON text.
func parsed(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return plain(v)
}

func plain(v any) (any, error) {
	switch t := v.(type) {
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return n, nil
		}
		return t.Float64()
	case []any:
		for i := range t {
			var err error
			if t[i], err = plain(t[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		o := object{}
		for _, name := range slices.Sorted(maps.Keys(t)) {
			value, err := plain(t[name])
			if err != nil {
				return nil, err
			}
			o = append(o, member{name, value})
		}
		return o, nil
	}
	return v, nil
}

// seconds is how JSON protocols and CBOR write a time.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// writeJSON writes a tree as JSON.
func writeJSON(b *bytes.Buffer, v any) error {
	switch t := v.(type) {
	case object:
		b.WriteByte('{')
		for i, m := range t {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, m.name); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := writeJSON(b, m.value); err != nil {
				return err
			}
		}
		b.WriteByte('}')
		return nil
	case []any:
		b.WriteByte('[')
		for i, e := range t {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, e); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case time.Time:
		b.WriteString(strconv.FormatFloat(seconds(t), 'f', -1, 64))
		return nil
	}
	data, err := json.Marshal(v)
	b.Write(data)
	return err
}

// asCBOR is a tree as CBOR.
func asCBOR(v any) (cbor.Value, error) {
	switch t := v.(type) {
	case nil:
		return new(cbor.Nil), nil
	case object:
		m := cbor.Map{}
		for _, e := range t {
			value, err := asCBOR(e.value)
			if err != nil {
				return nil, err
			}
			m[e.name] = value
		}
		return m, nil
	case []any:
		l := make(cbor.List, len(t))
		for i, e := range t {
			var err error
			if l[i], err = asCBOR(e); err != nil {
				return nil, err
			}
		}
		return l, nil
	case time.Time:
		return &cbor.Tag{ID: 1, Value: cbor.Float64(seconds(t))}, nil
	case string:
		return cbor.String(t), nil
	case []byte:
		return cbor.Slice(t), nil
	case bool:
		return cbor.Bool(t), nil
	case int64:
		if t < 0 {
			return cbor.NegInt(uint64(-t)), nil
		}
		return cbor.Uint(uint64(t)), nil
	case float64:
		return cbor.Float64(t), nil
	}
	return nil, fmt.Errorf("%T has no CBOR", v)
}

// fromCBOR is a CBOR value as what encoding/json writes.
func fromCBOR(v cbor.Value) (any, error) {
	switch t := v.(type) {
	case cbor.Map:
		m := map[string]any{}
		for name, e := range t {
			value, err := fromCBOR(e)
			if err != nil {
				return nil, err
			}
			m[name] = value
		}
		return m, nil
	case cbor.List:
		l := make([]any, len(t))
		for i, e := range t {
			var err error
			if l[i], err = fromCBOR(e); err != nil {
				return nil, err
			}
		}
		return l, nil
	case *cbor.Tag:
		return fromCBOR(t.Value)
	case cbor.String:
		return string(t), nil
	case cbor.Slice:
		return []byte(t), nil
	case cbor.Bool:
		return bool(t), nil
	case cbor.Uint:
		return uint64(t), nil
	case cbor.NegInt:
		return -int64(t), nil
	case cbor.Float32:
		return float64(t), nil
	case cbor.Float64:
		return float64(t), nil
	case *cbor.Nil, *cbor.Undefined:
		return nil, nil
	}
	return nil, fmt.Errorf("%T is not known", v)
}
