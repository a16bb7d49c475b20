package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// A Request is the parameters of a call as they came.
type Request struct {
	Protocol Protocol
	Form     url.Values // EC2, Query: without Action and Version
	Body     []byte     // JSON, also what came as CBOR
	dryRun   bool       // EC2: DryRun, which the decoded struct has no field for
}

// Decode fills the struct that into points to.
//
// For the JSON protocol that is encoding/json, and a member that into does not
// have is an error. For EC2 and Query the tag of a field is its name on the
// wire: `q:"ImageId"`, with the option required: `q:"ImageId,required"`.
// Lists are Name.1, Name.2 (EC2) or Name.member.1 (Query); structs are
// Name.Field. Fields are string, bool, int, int32, int64, float64, time.Time,
// Time, []byte (base64), structs, pointers to them (nil if not given) and slices. A
// parameter that into does not have is AWS's UnknownParameter.
func (r *Request) Decode(into any) error {
	if r.Protocol == JSON || r.Protocol == CBOR {
		return r.decodeJSON(into)
	}
	d := &formDecoder{form: r.Form, members: r.Protocol == Query, used: map[string]bool{}}
	if err := d.structure("", reflect.ValueOf(into).Elem()); err != nil {
		return err
	}
	for name := range r.Form {
		switch {
		case d.used[name]:
		case name == "DryRun" && r.Protocol == EC2:
			r.dryRun = r.Form.Get(name) == "true"
		default:
			return Errorf("UnknownParameter", "The parameter %s is not recognized", name)
		}
	}
	return nil
}

func (r *Request) decodeJSON(into any) error {
	if len(bytes.TrimSpace(r.Body)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typ):
		return Errorf("SerializationException", "%s can not be converted to the type of %s", typ.Value, typ.Field)
	case err != nil:
		return Errorf("SerializationException", "%v", err)
	}
	return nil
}

type formDecoder struct {
	form    url.Values
	members bool
	used    map[string]bool
}

// has reports whether any parameter is name or lies below it.
func (d *formDecoder) has(name string) bool {
	if _, ok := d.form[name]; ok {
		return true
	}
	for k := range d.form {
		if strings.HasPrefix(k, name+".") {
			return true
		}
	}
	return false
}

func (d *formDecoder) structure(prefix string, v reflect.Value) error {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous && field.Type.Kind() == reflect.Struct {
			if err := d.structure(prefix, v.Field(i)); err != nil {
				return err
			}
			continue
		}
		name, option, _ := strings.Cut(field.Tag.Get("q"), ",")
		if name == "" {
			continue
		}
		if prefix != "" {
			name = prefix + "." + name
		}
		if !d.has(name) {
			if option == "required" {
				return Errorf("MissingParameter", "The request must contain the parameter %s", name)
			}
			continue
		}
		if err := d.value(name, v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

func (d *formDecoder) value(name string, v reflect.Value) error {
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(name, v.Elem())
	case v.Type() == reflect.TypeFor[time.Time](), v.Type() == reflect.TypeFor[Time](), v.Type() == reflect.TypeFor[[]byte]():
		return d.scalar(name, v)
	case v.Kind() == reflect.Struct:
		return d.structure(name, v)
	case v.Kind() == reflect.Slice:
		return d.list(name, v)
	}
	return d.scalar(name, v)
}

func (d *formDecoder) list(name string, v reflect.Value) error {
	if d.members && d.has(name+".member") {
		name += ".member"
	}
	for i := 1; d.has(fmt.Sprintf("%s.%d", name, i)); i++ {
		elem := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(fmt.Sprintf("%s.%d", name, i), elem); err != nil {
			return err
		}
		v.Set(reflect.Append(v, elem))
	}
	if d.form.Get(name) == "" { // an empty list
		d.used[name] = true
	}
	return nil
}

func (d *formDecoder) scalar(name string, v reflect.Value) error {
	text := d.form.Get(name)
	d.used[name] = true
	bad := func() error {
		return Errorf("InvalidParameterValue", "Invalid value '%s' for %s", text, name)
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return bad()
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return bad()
		}
		v.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return bad()
		}
		v.SetFloat(f)
	default:
		return d.special(text, v, bad)
	}
	return nil
}
