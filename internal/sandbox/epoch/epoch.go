// Package epoch has points in time as the JSON protocols of AWS write them:
// seconds since 1970 as a number, with milliseconds.
package epoch

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// A Time is a point in time that is a number of seconds in JSON. A nil *Time is absent.
type Time struct{ time.Time }

// At returns t, to the millisecond; nil for the zero time.
func At(t time.Time) *Time {
	if t.IsZero() {
		return nil
	}
	return &Time{t.UTC().Truncate(time.Millisecond)}
}

// Std returns the time; the zero time if t is nil.
func (t *Time) Std() time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// MarshalJSON writes seconds with three decimals.
func (t Time) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(t.UnixMilli())/1000, 'f', 3, 64), nil
}

// UnmarshalJSON reads seconds, or the text of RFC 3339 that some clients send.
func (t *Time) UnmarshalJSON(data []byte) error {
	var seconds float64
	if err := json.Unmarshal(data, &seconds); err == nil {
		t.Time = time.UnixMilli(int64(seconds*1000 + 0.5)).UTC()
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("%s is not a time", data)
	}
	parsed, err := time.Parse(time.RFC3339, text)
	t.Time = parsed
	return err
}
