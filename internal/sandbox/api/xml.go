package api

import (
	"encoding"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// An xmlWriter writes answers as AWS does, where encoding/xml does not: an
// empty list is an empty element, and not nothing.
type xmlWriter struct{ b strings.Builder }

// fields writes what a struct holds, without an element around it.
func (w *xmlWriter) fields(v reflect.Value) error {
	v = indirect(v)
	if !v.IsValid() {
		return nil
	}
	if v.Kind() != reflect.Struct {
		return fmt.Errorf("an answer is a struct, not %s", v.Type())
	}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Type == reflect.TypeFor[xml.Name]() || !field.IsExported() && !field.Anonymous {
			continue
		}
		tag, options, _ := strings.Cut(field.Tag.Get("xml"), ",")
		if tag == "-" || strings.Contains(options, "omitempty") && isEmpty(v.Field(i)) {
			continue
		}
		if err := w.field(field, tag, options, v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

func (w *xmlWriter) field(field reflect.StructField, tag, options string, v reflect.Value) error {
	switch {
	case field.Anonymous && tag == "" && indirectKind(field.Type) == reflect.Struct:
		return w.fields(v)
	case options == "chardata":
		return w.text(indirect(v))
	case options == "innerxml":
		w.b.WriteString(v.String())
		return nil
	case tag == "":
		tag = field.Name
	}
	return w.path(strings.Split(tag, ">"), v)
}

// path writes a>b: an element for each name; of a list, the last is repeated.
func (w *xmlWriter) path(names []string, v reflect.Value) error {
	v = indirect(v)
	if !v.IsValid() {
		return nil
	}
	list := v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8
	if len(names) > 1 {
		return w.element(names[0], func() error { return w.path(names[1:], v) })
	}
	if !list {
		if t, ok := v.Interface().(time.Time); ok && t.IsZero() {
			return nil
		}
		return w.element(names[0], func() error { return w.text(v) })
	}
	for i := range v.Len() {
		item := indirect(v.Index(i))
		if err := w.element(names[0], func() error { return w.text(item) }); err != nil {
			return err
		}
	}
	return nil
}

func (w *xmlWriter) element(name string, content func() error) error {
	w.b.WriteString("<" + name + ">")
	if err := content(); err != nil {
		return err
	}
	w.b.WriteString("</" + name + ">")
	return nil
}

// text writes what stands inside an element.
func (w *xmlWriter) text(v reflect.Value) error {
	if !v.IsValid() {
		return nil
	}
	switch t := v.Interface().(type) {
	case time.Time:
		w.b.WriteString(t.UTC().Format("2006-01-02T15:04:05.000Z"))
		return nil
	case Time:
		w.b.WriteString(t.UTC().Format("2006-01-02T15:04:05.000Z"))
		return nil
	case encoding.TextMarshaler:
		data, err := t.MarshalText()
		w.b.WriteString(escape(string(data)))
		return err
	}
	switch v.Kind() {
	case reflect.Struct:
		return w.fields(v)
	case reflect.String:
		w.b.WriteString(escape(v.String()))
	case reflect.Bool:
		w.b.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		w.b.WriteString(strconv.FormatInt(v.Int(), 10))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		w.b.WriteString(strconv.FormatUint(v.Uint(), 10))
	case reflect.Float32, reflect.Float64:
		w.b.WriteString(strconv.FormatFloat(v.Float(), 'f', -1, 64))
	case reflect.Slice: // of bytes
		w.b.WriteString(base64.StdEncoding.EncodeToString(v.Bytes()))
	default:
		return fmt.Errorf("an answer holds a %s", v.Type())
	}
	return nil
}

// escape makes text of XML.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}

func indirect(v reflect.Value) reflect.Value {
	for v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) {
		v = v.Elem()
	}
	return v
}

func indirectKind(t reflect.Type) reflect.Kind {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind()
}

// isEmpty is what omitempty leaves out; a zero time and a struct that is all zero too.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	return v.IsZero()
}
