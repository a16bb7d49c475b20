package ecs

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"bake/templates"
)

// The SDK's structs name their fields as AWS's JSON does, but for the first
// letter. Fill and Tree go both ways between them and plain data.

// fill sets the SDK struct that into points to from a block that is written as
// AWS writes it: camelCase keys, as in `aws ecs describe-task-definition`.
// Every mistake has its place. Keys in skip are left out.
func fill(b templates.Block, into any, skip ...string) templates.Diagnostics {
	var f filler
	f.skip = skip
	f.value(b, reflect.ValueOf(into).Elem(), "")
	return f.diags
}

type filler struct {
	diags templates.Diagnostics
	skip  []string // keys of the outermost mapping
}

func (f *filler) add(d *templates.Diagnostic, hint string) {
	d.Hint = hint
	f.diags = append(f.diags, d)
}

func (f *filler) value(b templates.Block, v reflect.Value, key string) {
	switch {
	case b.IsZero() || b.IsNull():
		return
	case b.Unresolved() && !b.IsMapping() && !b.IsList():
		return // not known yet
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.value(b, v.Elem(), key)
	case reflect.Struct:
		f.structure(b, v, key)
	case reflect.Slice:
		f.list(b, v, key)
	case reflect.Map:
		f.mapping(b, v, key)
	default:
		f.scalar(b, v, key)
	}
}

func (f *filler) structure(b templates.Block, v reflect.Value, key string) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		return // AWS's own times are never sent
	}
	if !b.IsMapping() {
		f.add(b.Errorf("%q must be a mapping", key), "")
		return
	}
	skip := f.skip
	f.skip = nil
	for _, name := range b.Keys() {
		if slices.Contains(skip, name) {
			continue
		}
		field, ok := fieldOf(v, name)
		if !ok {
			d := b.Key(name).Errorf("unknown key %q%s", name, inside(key))
			f.add(d, nearest(name, keysOf(v.Type())))
			continue
		}
		f.value(b.At(name), field, name)
	}
}

func inside(key string) string {
	if key == "" {
		return ""
	}
	return fmt.Sprintf(" in %q", key)
}

func (f *filler) list(b templates.Block, v reflect.Value, key string) {
	if !b.IsList() {
		f.add(b.Errorf("%q must be a list", key), "")
		return
	}
	out := reflect.MakeSlice(v.Type(), b.Len(), b.Len())
	for i := range b.Len() {
		f.value(b.At(fmt.Sprint(i)), out.Index(i), key)
	}
	v.Set(out)
}

func (f *filler) mapping(b templates.Block, v reflect.Value, key string) {
	if !b.IsMapping() {
		f.add(b.Errorf("%q must be a mapping", key), "")
		return
	}
	out := reflect.MakeMap(v.Type())
	for _, name := range b.Keys() {
		elem := reflect.New(v.Type().Elem()).Elem()
		f.value(b.At(name), elem, name)
		out.SetMapIndex(reflect.ValueOf(name), elem)
	}
	v.Set(out)
}

func (f *filler) scalar(b templates.Block, v reflect.Value, key string) {
	text, ok := b.Text()
	if !ok {
		f.add(b.Errorf("%q must be one value", key), "")
		return
	}
	var err error
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
		if all := enum(v); len(all) > 0 && !slices.Contains(all, text) {
			err = fmt.Errorf("%q must be one of %s", key, strings.Join(all, ", "))
		}
	case reflect.Bool, reflect.Int32, reflect.Int64, reflect.Float64:
		if jerr := json.Unmarshal([]byte(text), v.Addr().Interface()); jerr != nil {
			err = fmt.Errorf("%q must be a %s, not %q", key, word(v.Kind()), text)
		}
	default:
		err = fmt.Errorf("%q cannot be set here", key)
	}
	if err != nil {
		f.add(b.Errorf("%v", err), "")
	}
}

func word(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "bool (true or false)"
	case reflect.Float64:
		return "number"
	}
	return "whole number"
}

// enum lists the values of an SDK enumeration; none if v is a plain string.
// AWS may know values that this SDK does not, but refusing a typo early is
// worth more.
func enum(v reflect.Value) []string {
	m := v.MethodByName("Values")
	if !m.IsValid() {
		return nil
	}
	list := m.Call(nil)[0]
	out := make([]string, list.Len())
	for i := range out {
		out[i] = list.Index(i).String()
	}
	return out
}

// tree returns an SDK value as plain data in AWS's JSON names: map[string]any,
// []any, string, float64, bool. What is not set is left out: nil, "", empty
// lists, and numbers that are 0 without a pointer.
func tree(v any) any { return treeOf(reflect.ValueOf(v)) }

func treeOf(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		if v.Kind() == reflect.Pointer && !isStruct(v.Type().Elem()) {
			return scalarOf(v.Elem()) // a pointer says that 0, false and "" are meant
		}
		return treeOf(v.Elem())
	case reflect.Struct:
		return structTree(v)
	case reflect.Slice:
		if v.Len() == 0 {
			return nil
		}
		out := make([]any, v.Len())
		for i := range out {
			out[i] = treeOf(v.Index(i))
			if isScalar(v.Index(i).Kind()) {
				out[i] = scalarOf(v.Index(i))
			}
		}
		return out
	case reflect.Map:
		if v.Len() == 0 {
			return nil
		}
		out := map[string]any{}
		for _, k := range v.MapKeys() {
			out[k.String()] = scalarOf(v.MapIndex(k))
		}
		return out
	}
	if !v.IsValid() || v.IsZero() {
		return nil
	}
	return scalarOf(v)
}

func structTree(v reflect.Value) any {
	if t, ok := v.Interface().(time.Time); ok {
		return t.UTC().Format(time.RFC3339)
	}
	out := map[string]any{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		if value := treeOf(v.Field(i)); value != nil {
			out[keyOf(f.Name)] = value
		}
	}
	return out
}

func isStruct(t reflect.Type) bool { return t.Kind() == reflect.Struct }

func isScalar(k reflect.Kind) bool {
	return k == reflect.String || k == reflect.Int32 || k == reflect.Int64 || k == reflect.Bool || k == reflect.Float64
}

func scalarOf(v reflect.Value) any {
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return v.Bool()
	case reflect.Int32, reflect.Int64, reflect.Int:
		return float64(v.Int())
	case reflect.Float64:
		return v.Float()
	}
	return treeOf(v)
}

// keyOf is AWS's JSON name of an SDK field.
func keyOf(field string) string {
	r, n := utf8.DecodeRuneInString(field)
	return string(unicode.ToLower(r)) + field[n:]
}

func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && keyOf(f.Name) == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func keysOf(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			out = append(out, keyOf(f.Name))
		}
	}
	return out
}

// nearest is a hint: the word that was probably meant, else all of them.
func nearest(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	slices.Sort(known)
	return "known keys: " + strings.Join(known, ", ")
}

// distance is how many letters have to change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost = 1 + min(last, row[j], row[j+1])
			}
			last, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
