package report

import (
	"fmt"
	"strings"
	"time"
)

// A sum is the progress of all of a step's transfers together.
type sum struct {
	text  string  // "pulling 3/5 12.1 MiB of 40.3 MiB 3.4 MiB/s"
	ratio float64 // 0 to 1; negative: not known
}

// total adds up transfers of the verb that is going on. Those that ended count,
// so that the bar does not run back.
func total(ts []*Transfer) sum { return totalAt(ts, time.Time{}) }

// totalAt is like total and tells the speed at a moment.
func totalAt(ts []*Transfer, now time.Time) sum {
	var current *Transfer
	for _, t := range ts {
		if !t.Ended {
			current = t
			break
		}
	}
	if current == nil {
		return sum{ratio: -1}
	}
	var done, all int64
	n, ended, known := 0, 0, true
	first := current.Started
	for _, t := range ts {
		if t.Verb != current.Verb || t.Unit != current.Unit {
			continue
		}
		n++
		done += t.Done
		all += max(t.Total, t.Done)
		known = known && (t.Total > 0 || t.Ended)
		if t.Ended {
			ended++
		}
		if t.Started.Before(first) {
			first = t.Started
		}
	}
	parts := []string{clean(current.Verb)}
	if n > 1 {
		parts = append(parts, fmt.Sprintf("%d/%d", ended, n))
	} else if current.Verb == "" {
		parts = append(parts, shortID(current.ID))
	}
	s := sum{ratio: -1}
	switch {
	case known && all > 0:
		s.ratio = min(1, float64(done)/float64(all))
		parts = append(parts, amount(done, current.Unit)+" of "+amount(all, current.Unit))
	case done > 0:
		parts = append(parts, amount(done, current.Unit))
	}
	if d := now.Sub(first); current.Unit == "B" && !now.IsZero() && d > time.Second {
		parts = append(parts, size(int64(float64(done)/d.Seconds()))+"/s")
	}
	s.text = strings.TrimSpace(strings.Join(parts, " "))
	return s
}

// progressBar draws a progress bar of width cells.
func (st style) progressBar(ratio float64, width int) string {
	n := int(ratio*float64(width) + 0.5)
	return st.cyan(strings.Repeat(st.sym.full, n)) + st.dim(strings.Repeat(st.sym.empty, width-n))
}
