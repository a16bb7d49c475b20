package ec2

import "time"

// A set is a list as EC2 writes it: its elements are called item.
type set[T any] []T

// stamp writes a time as EC2 does; the zero time is "".
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// returned is the answer of actions that have nothing to say.
type returned struct {
	Return bool `xml:"return"`
}

func ok() *returned { return &returned{Return: true} }

// A value is an attribute in an answer of Describe...Attribute, or in a request.
type value struct {
	Value string `q:"Value" xml:"value"`
}

type boolValue struct {
	Value bool `q:"Value" xml:"value"`
}

// ref returns a pointer to v, as optional elements want it.
func ref[T any](v T) *T { return &v }

// or returns what p points to, or v.
func or[T any](p *T, v T) T {
	if p == nil {
		return v
	}
	return *p
}
