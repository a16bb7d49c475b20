package main

import (
	"os"
	"slices"
	"testing"
	"time"
)

func TestASignalThatIsSentTwiceIsOne(t *testing.T) {
	for name, c := range map[string]struct {
		at   []time.Duration // when signals come
		want []string
	}{
		"once":                    {[]time.Duration{0}, []string{"first"}},
		"twice":                   {[]time.Duration{0, 2 * time.Second}, []string{"first", "second"}},
		"by timeout(1)":           {[]time.Duration{0, time.Millisecond}, []string{"first"}},
		"by timeout(1), and then": {[]time.Duration{0, time.Millisecond, time.Second}, []string{"first", "second"}},
	} {
		began := time.Unix(1700000000, 0)
		clock := c.at
		now := func() time.Time {
			at := began.Add(clock[0])
			clock = clock[1:]
			return at
		}
		signals, over := make(chan os.Signal), make(chan struct{})
		go func() {
			for range c.at {
				select {
				case signals <- os.Interrupt:
				case <-time.After(10 * time.Second):
				}
			}
			close(over)
		}()
		var got []string
		heed(signals, over, now, func() { got = append(got, "first") }, func() { got = append(got, "second") })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
