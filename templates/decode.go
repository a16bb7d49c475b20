package templates

import (
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Decode fills the struct that into points to from a mapping, or from a scalar
// or list if the struct has a main field. Every mistake is a diagnostic with its
// place: unknown keys (with "did you mean"), wrong types, missing required keys,
// values out of range. If into, or a struct below it, is a Validator, it is
// asked last, unless its own fields are wrong already. A field whose expression
// is unresolved keeps its zero value and is not checked. A key without a value
// counts as not given.
//
// Tags of a field:
//
//	yaml:"name"        its key; a field without this tag is not the template's
//	bake:"main"        takes the value of the short form (`run: echo hi`)
//	bake:"required"    must be given (options are joined by commas)
//	bake:"beside"      its key stands beside the kind's key, not under it (sources)
//	enum:"a|b|c"       the only values
//	default:"x"        what it is if it is not given, as YAML
//	pattern:"^re$"     what a string must match
//	min:"1" max:"9"    bounds of a number, duration or size
//	doc:"..."          one sentence for the JSON schema and the editor
//
// enum, pattern, min and max of a list or map hold for its elements.
//
// Types of a field: string, bool, int, int64, float64, time.Duration ("90s"),
// Size ("20GiB"), Mode ("0755"), Strings (one or a list), any (plain data),
// Block (as it is), and structs, pointers, slices and string-keyed maps of
// these; or an Unmarshaler, which may also have a method
// JSONSchema() map[string]any. An embedded struct without a yaml tag lends its
// fields to the outer one. Decode panics if into has another type of field:
// that is a mistake of the program, not of the template.
func Decode(b Block, into any) Diagnostics {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		panic("templates.Decode: want a pointer to a struct, got " + v.Type().String())
	}
	var d decoder
	d.structure(b, v.Elem())
	return d.diags
}

// decodeValue is Decode for a single value of a type that a field can have.
func decodeValue[T any](b Block, into *T) Diagnostics {
	var d decoder
	d.value(b, reflect.ValueOf(into).Elem(), nil)
	return d.diags
}

type decoder struct{ diags Diagnostics }

func (d *decoder) add(ds ...*Diagnostic) { d.diags = append(d.diags, ds...) }

var (
	unmarshalerType = reflect.TypeFor[Unmarshaler]()
	blockType       = reflect.TypeFor[Block]()
	durationType    = reflect.TypeFor[time.Duration]()
	sizeType        = reflect.TypeFor[Size]()
	modeType        = reflect.TypeFor[Mode]()
	stringsType     = reflect.TypeFor[Strings]()
)

// value sets v from b, by the type of v. s may limit the value.
func (d *decoder) value(b Block, v reflect.Value, s *fieldSpec) {
	switch {
	case v.Type() == blockType:
		v.Set(reflect.ValueOf(b))
		return
	case len(b.node.parts) > 0: // not known yet
		if v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.New(v.Type().Elem())) // but there
		}
		return
	case v.CanAddr() && v.Addr().Type().Implements(unmarshalerType):
		d.add(v.Addr().Interface().(Unmarshaler).UnmarshalBlock(b)...)
		return
	}
	switch v.Type() {
	case durationType, sizeType, modeType:
		d.quantity(b, v, s)
		return
	case stringsType:
		if b.node.kind == scalarNode {
			one := reflect.MakeSlice(v.Type(), 1, 1)
			d.value(b, one.Index(0), s)
			v.Set(one)
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if b.node.kind == nullNode {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		d.value(b, v.Elem(), s)
	case reflect.Struct:
		d.structure(b, v)
	case reflect.Slice:
		d.list(b, v, s)
	case reflect.Map:
		d.mapping(b, v, s)
	case reflect.Interface:
		if data := b.node.data(); data != nil {
			v.Set(reflect.ValueOf(data))
		}
	default:
		d.scalar(b, v, s)
	}
}

// structure fills a struct and asks it for its own opinion.
func (d *decoder) structure(b Block, v reflect.Value) {
	before, all := len(d.diags), specs(v.Type())
	given, ok := d.given(b, v.Type(), all)
	if !ok {
		return
	}
	for i := range all {
		s := &all[i]
		field := v.FieldByIndex(s.index)
		n := given.get(s.name)
		switch {
		case n != nil && n.kind != nullNode:
			d.value(b.with(n, s.name), field, s)
		case s.required:
			missing := b.Errorf("%q is missing%s", s.name, b.in())
			if n != nil {
				missing = n.diag("%q has no value", s.name)
			} else if s.main && b.IsNull() {
				missing = b.Errorf("%s has no value", b.name())
			}
			if s.doc() != "" {
				missing.Hint = s.name + ": " + s.doc()
			}
			if n != nil || !mistyped(given, s.name, all) {
				d.add(missing)
			}
		default:
			if text, is := s.tag.Lookup("default"); is {
				d.value(b.with(fallback(text, b), s.name), field, s)
			}
		}
	}
	if val, is := v.Addr().Interface().(Validator); is && len(d.diags) == before {
		d.add(val.Validate(b)...)
	}
}

// given returns the block's fields as a mapping, whichever form it is written
// in. It is false if there is nothing to decode.
func (d *decoder) given(b Block, t reflect.Type, all []fieldSpec) (*node, bool) {
	switch {
	case b.node == nil || b.node.kind == nullNode:
		return &node{kind: mappingNode}, true
	case len(b.node.parts) > 0 && mainField(all) == nil:
		return nil, false
	case b.node.kind == mappingNode:
		for _, f := range b.node.fields {
			if !known(all, f.key.text) {
				unknown := f.key.diag("unknown key %q%s", shorten(f.key.text), b.in())
				unknown.Hint = suggestKey(standsIn(b, t), f.key.text, fieldNames(all))
				d.add(unknown)
			}
		}
		return b.node, true
	}
	main := mainField(all)
	if main == nil || b.node.kind == listNode && !takesList(main.typ) {
		want := "a mapping"
		if main != nil {
			want = wants(main.typ) + " or a mapping"
		}
		wrong := b.Errorf("%s must be %s, not %s", b.name(), want, b.node.what())
		if names := fieldNames(all); len(names) > 0 && main == nil {
			wrong.Hint = suggest("", names)
		}
		d.add(wrong)
		return nil, false
	}
	return &node{kind: mappingNode, fields: []field{{&node{text: main.name}, b.node}}}, true
}

// mistyped reports whether a key that is missing is there with a typo, which is
// told already.
func mistyped(n *node, name string, all []fieldSpec) bool {
	for _, f := range n.fields {
		if !known(all, f.key.text) && (Nearest(f.key.text, fieldNames(all)) == name || strings.HasPrefix(f.key.text, name+" ")) {
			return true
		}
	}
	return false
}

// standsIn is where keys of a struct stand, for suggestKey: "" is the template.
func standsIn(b Block, t reflect.Type) string {
	switch t {
	case typeOf[singleDoc](), typeOf[graphDoc](), typeOf[buildDoc]():
		return ""
	}
	return "key" + b.label
}

func known(all []fieldSpec, name string) bool {
	for i := range all {
		if all[i].name == name {
			return true
		}
	}
	return false
}

func takesList(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t == blockType || t.Kind() == reflect.Slice || t.Kind() == reflect.Interface || reflect.PointerTo(t).Implements(unmarshalerType)
}

// fallback returns the default as if the template said it where b is.
func fallback(text string, b Block) *node {
	n := parsePlain(text)
	if b.node != nil {
		n.src, n.line, n.col = b.node.src, b.node.line, b.node.col
	} else {
		n.src = &source{name: b.file}
	}
	return n
}

func (d *decoder) list(b Block, v reflect.Value, s *fieldSpec) {
	if b.node.kind != listNode {
		wrong := b.Errorf("%s must be %s, not %s", b.name(), wants(v.Type()), b.node.what())
		if b.node.kind == scalarNode && !b.node.secret {
			wrong.Hint = "write it as a list: [" + shorten(b.node.text) + "]"
		}
		d.add(wrong)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(b.node.items), len(b.node.items))
	for i, item := range b.node.items {
		if item.kind == nullNode {
			d.add(b.item(i).Errorf("element %d of %s has no value", i+1, b.name()))
			continue
		}
		d.value(b.item(i), out.Index(i), s)
	}
	v.Set(out)
}

func (d *decoder) mapping(b Block, v reflect.Value, s *fieldSpec) {
	if b.node.kind != mappingNode {
		d.add(b.Errorf("%s must be %s, not %s", b.name(), wants(v.Type()), b.node.what()))
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(b.node.fields))
	for _, f := range b.node.fields {
		elem := reflect.New(v.Type().Elem()).Elem()
		if f.value.kind != nullNode || elem.Kind() == reflect.Interface {
			d.value(b.with(f.value, f.key.text), elem, s)
		}
		out.SetMapIndex(reflect.ValueOf(f.key.text).Convert(v.Type().Key()), elem)
	}
	v.Set(out)
}

// data returns the node as plain data: nil, bool, int, float64, string, []any,
// map[string]any. What is not resolved is nil.
func (n *node) data() any {
	switch n.kind {
	case listNode:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = item.data()
		}
		return list
	case mappingNode:
		m := make(map[string]any, len(n.fields))
		for _, f := range n.fields {
			m[f.key.text] = f.value.data()
		}
		return m
	case scalarNode:
		return n.scalarData()
	}
	return nil
}

func (n *node) scalarData() any {
	if len(n.parts) > 0 {
		return nil
	}
	switch n.tag {
	case boolTag:
		return strings.EqualFold(n.text, "true")
	case intTag:
		if i, err := strconv.ParseInt(yamlInt(n.text), 0, strconv.IntSize); err == nil {
			return int(i)
		}
	case floatTag:
		if f, ok := n.float(); ok {
			return f
		}
	}
	return n.text
}
