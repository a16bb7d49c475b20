package report

import "time"

// A span is the time that the timeline of a report shows: what the last process
// of the run took.
type span struct{ start, end time.Time }

func newSpan(r *Run) span {
	s := span{r.Started, r.Ended}
	for _, b := range r.Builds {
		for _, step := range b.Steps {
			if end := step.Started.Add(step.Elapsed); end.After(s.end) {
				s.end = end
			}
			if step.lastSeen.After(s.end) {
				s.end = step.lastSeen
			}
		}
	}
	return s
}

func (s span) percent(t time.Time) float64 {
	all := s.end.Sub(s.start)
	if all <= 0 {
		return 0
	}
	return min(100, max(0, 100*float64(t.Sub(s.start))/float64(all)))
}

// place tells whether a step is in the span, where it begins and how wide it is.
func (s span) place(step *Step) (ok bool, at, width float64) {
	if step.Started.IsZero() || step.Started.Before(s.start) || step.Status == Cached {
		return false, 0, 0
	}
	end := step.Started.Add(step.Elapsed)
	if step.Status == Running {
		end = s.end
	}
	at = s.percent(step.Started)
	return true, at, s.percent(end) - at
}

// cached marks where steps were found in the cache; those that follow one
// another have one mark.
func (s span) cached(b *Build) []tick {
	var out []tick
	n := 0
	for _, step := range b.Steps {
		if step.Status != Cached || step.Started.Before(s.start) {
			n = 0
			continue
		}
		n++
		mark := tick{min(s.percent(step.Started), 99), count(n, "step") + " cached"}
		if n == 1 {
			out = append(out, mark)
		} else {
			mark.At = out[len(out)-1].At
			out[len(out)-1] = mark
		}
	}
	return out
}

// ticks are four to eight round times.
func (s span) ticks() []tick {
	all := s.end.Sub(s.start)
	if all <= 0 {
		return nil
	}
	step := time.Millisecond
	for _, factor := range []int64{10, 10, 10, 10, 6, 10, 6, 4, 6, 10, 10} { // 1ms to days
		if all/step < 8 {
			break
		}
		for _, part := range []int64{2, 5} {
			if part < factor && factor%part == 0 && all/(step*time.Duration(part)) < 8 {
				return s.every(step * time.Duration(part))
			}
		}
		step *= time.Duration(factor)
	}
	return s.every(step)
}

func (s span) every(step time.Duration) []tick {
	var out []tick
	for d := time.Duration(0); d <= s.end.Sub(s.start)*24/25; d += step { // the last label needs room
		out = append(out, tick{s.percent(s.start.Add(d)), roundTime(d)})
	}
	return out
}

func roundTime(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	return d.String()
}
