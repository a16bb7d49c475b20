package templates

import (
	"reflect"
	"strings"
)

// A fieldSpec is what the tags of a struct field say.
type fieldSpec struct {
	name     string
	index    []int
	typ      reflect.Type
	main     bool
	required bool
	beside   bool
	enum     []string
	fallback string // the default
	hasDef   bool
	pattern  string
	min, max string
	doc      string
}

// specs returns the template's fields of a struct type. Fields of an embedded
// struct without a name of its own count as the outer struct's.
func specs(t reflect.Type) []fieldSpec {
	var all []fieldSpec
	for i := range t.NumField() {
		f := t.Field(i)
		name, hasName := f.Tag.Lookup("yaml")
		name, _, _ = strings.Cut(name, ",")
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			for _, inner := range specs(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				all = append(all, inner)
			}
			continue
		}
		if !hasName || name == "" || name == "-" || !f.IsExported() {
			continue
		}
		all = append(all, newSpec(f, name, i))
	}
	return all
}

func newSpec(f reflect.StructField, name string, i int) fieldSpec {
	s := fieldSpec{name: name, index: []int{i}, typ: f.Type, pattern: f.Tag.Get("pattern"),
		min: f.Tag.Get("min"), max: f.Tag.Get("max"), doc: f.Tag.Get("doc")}
	s.fallback, s.hasDef = f.Tag.Lookup("default")
	if e := f.Tag.Get("enum"); e != "" {
		s.enum = strings.Split(e, "|")
	}
	for opt := range strings.SplitSeq(f.Tag.Get("bake"), ",") {
		switch opt {
		case "main":
			s.main = true
		case "required":
			s.required = true
		case "beside":
			s.beside = true
		}
	}
	return s
}

// mainField returns the field that takes the short form, or nil.
func mainField(all []fieldSpec) *fieldSpec {
	for i := range all {
		if all[i].main {
			return &all[i]
		}
	}
	return nil
}

func fieldNames(all []fieldSpec) []string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.name
	}
	return names
}
