package ecs

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// A Difference is one value that differs: Old is what is, New what shall be; nil:
// it is not there.
type Difference struct {
	Path string `json:"path"` // "containerDefinitions[api].environment[LOG].value"
	Old  any    `json:"old,omitempty"`
	New  any    `json:"new,omitempty"`
}

// differences compares two task definitions and lists what differs, in order.
// What one writes out and the other leaves to AWS's defaults does not differ.
func differences(old, now *Definition) []Difference {
	a, b := normal(old), normal(now)
	for _, key := range []string{"taskRoleArn", "executionRoleArn"} {
		if sameRole(a[key], b[key]) {
			b[key] = a[key]
		}
	}
	var out []Difference
	compare("", "", a, b, &out)
	return out
}

// identical reports whether registering now would only repeat old.
func identical(old, now *Definition) bool { return len(differences(old, now)) == 0 }

// sameRole reports whether two names of a role mean the same: AWS turns a
// role's name into its ARN.
func sameRole(a, b any) bool {
	x, _ := a.(string)
	y, _ := b.(string)
	if x == "" || y == "" || strings.HasPrefix(x, "arn:") == strings.HasPrefix(y, "arn:") {
		return x == y
	}
	if len(x) < len(y) {
		x, y = y, x
	}
	return strings.HasSuffix(x, ":role/"+strings.TrimPrefix(y, "/"))
}

// compare adds what differs below path. pattern is path as it stands in the
// list unordered.
func compare(path, pattern string, a, b any, out *[]Difference) {
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			compareMaps(path, pattern, x, y, out)
			return
		}
	case []any:
		if y, ok := b.([]any); ok {
			compareLists(path, pattern, x, y, out)
			return
		}
	}
	if !reflect.DeepEqual(a, b) {
		*out = append(*out, Difference{Path: path, Old: a, New: b})
	}
}

func compareMaps(path, pattern string, a, b map[string]any, out *[]Difference) {
	keys := sortedKeys(a)
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		compare(dotted(path, k), dotted(pattern, k), a[k], b[k], out)
	}
}

func dotted(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// compareLists compares element by element: by what identifies them, or by
// their place.
func compareLists(path, pattern string, a, b []any, out *[]Difference) {
	x, y := named(pattern, a), named(pattern, b)
	if x == nil || y == nil {
		if !reflect.DeepEqual(a, b) {
			*out = append(*out, Difference{Path: path, Old: a, New: b})
		}
		return
	}
	for _, name := range slices.Sorted(maps.Keys(x)) {
		compare(path+"["+name+"]", pattern+".*", x[name], y[name], out)
	}
	for _, name := range slices.Sorted(maps.Keys(y)) {
		if _, ok := x[name]; !ok {
			compare(path+"["+name+"]", pattern+".*", nil, y[name], out)
		}
	}
}

// named maps a list of mappings by what identifies its elements; nil if
// nothing does.
func named(pattern string, list []any) map[string]any {
	i := slices.IndexFunc(unordered, func(u struct {
		path string
		keys []string
	}) bool {
		return u.path == pattern && u.keys != nil
	})
	if i < 0 {
		return nil
	}
	out := map[string]any{}
	for _, v := range list {
		out[identity(v, unordered[i].keys)] = v
	}
	if len(out) < len(list) {
		return nil // two are called the same
	}
	return out
}

// WriteDifferences writes differences for people, one line each.
func WriteDifferences(w io.Writer, changes []Difference) error {
	for _, c := range changes {
		var err error
		switch {
		case c.Old == nil:
			_, err = fmt.Fprintf(w, "+ %s: %s\n", c.Path, plain(c.New))
		case c.New == nil:
			_, err = fmt.Fprintf(w, "- %s: %s\n", c.Path, plain(c.Old))
		default:
			_, err = fmt.Fprintf(w, "~ %s: %s -> %s\n", c.Path, plain(c.Old), plain(c.New))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
