package api

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"time"
)

// special decodes times and blobs.
func (d *formDecoder) special(text string, v reflect.Value, bad func() error) error {
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return bad()
		}
		v.Set(reflect.ValueOf(t))
	case reflect.TypeFor[Time]():
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return bad()
		}
		v.Set(reflect.ValueOf(Time{t}))
	case reflect.TypeFor[[]byte]():
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return bad()
		}
		v.SetBytes(data)
	default:
		return fmt.Errorf("a parameter of type %s", v.Type())
	}
	return nil
}
