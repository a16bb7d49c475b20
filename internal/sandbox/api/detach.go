package api

import "encoding/json"

// Detach returns a copy of an answer that shares nothing with v. Answers are
// written after a service has unlocked its state, which they must not hold.
// Fields are copied as encoding/json does.
func Detach[T any](v *T) (*T, error) {
	if v == nil {
		return nil, nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	out := new(T)
	return out, json.Unmarshal(data, out)
}
