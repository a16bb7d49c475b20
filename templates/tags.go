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
	tag      reflect.StructTag
	main     bool
	required bool
	beside   bool
}

func (s *fieldSpec) pattern() string { return s.tag.Get("pattern") }
func (s *fieldSpec) min() string     { return s.tag.Get("min") }
func (s *fieldSpec) max() string     { return s.tag.Get("max") }
func (s *fieldSpec) doc() string     { return s.tag.Get("doc") }

func (s *fieldSpec) enum() []string {
	if e := s.tag.Get("enum"); e != "" {
		return strings.Split(e, "|")
	}
	return nil
}

// specs returns the template's fields of a struct type. Fields of an embedded
// struct without a name of its own count as the outer struct's.
func specs(t reflect.Type) []fieldSpec {
	all := make([]fieldSpec, 0, t.NumField())
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
		all = append(all, newSpec(f, name))
	}
	return all
}

func newSpec(f reflect.StructField, name string) fieldSpec {
	s := fieldSpec{name: name, index: f.Index, typ: f.Type, tag: f.Tag}
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
