package amazon

import "time"

// How often a poller asks.
const (
	// soonest and latest are the least and the most that is waited between looks
	// at what may be done any moment.
	soonest = 250 * time.Millisecond
	latest  = 5 * time.Second
	// share is the part of its time that is waited where nothing is known of it:
	// nothing is noticed later by more than that.
	share = 4
	// finest is the part of its time between two looks where much is known of it.
	finest = 40
	// crowd is the most that a look is put off for the sake of several watches.
	crowd = 2 * time.Second
	// farthest is how long, or for as long again as it has taken so far, what
	// tells its progress is left alone.
	farthest = 10 * time.Second
)

// A Span is how long something usually takes: at least and at most.
type Span struct{ Least, Most time.Duration }

// A timetable says when to look at what is waited for: often when it usually
// ends, and seldom before.
type timetable struct {
	from time.Time // when what is waited for was begun
	// usual is how long it took the last few times; zero: not known.
	usual Span
	// about is how long it takes as a rule, by AWS's documentation; zero: not known.
	about Span
	// early also asks for looks long before it usually ends: there is something
	// to be seen or to be done by then.
	early bool
	// guard is a watch that expects nothing to happen: what it waits for is usual
	// to be over without it.
	guard bool
}

// first is how long to wait until the first look. What nobody knows anything of
// is looked at at once: it may have been done long ago.
func (t timetable) first(waited time.Duration) time.Duration {
	if t.usual == (Span{}) && t.about == (Span{}) && !t.early && !t.guard {
		return 0
	}
	return t.pause(waited, 0)
}

// pause is how long to wait until the next look at what has taken waited so
// far, and is as far as its progress says (0 to 1; 0 may mean unknown).
func (t timetable) pause(waited time.Duration, progress float64) time.Duration {
	var d time.Duration
	switch known := t.usual != (Span{}); {
	case t.guard:
		d = t.guarded(waited)
	case known && waited < t.usual.Most:
		d = t.expected(waited)
	case progress > 0.02 && progress < 1:
		left := time.Duration(float64(waited) * (1 - progress) / progress)
		d = min(max(left*9/10, min(waited/finest, latest)), max(farthest, waited))
	case known: // it takes longer than ever
		d = min(max((waited-t.usual.Most)/2, waited/finest), latest)
	case t.about != (Span{}) && waited < t.about.Least:
		// Where the sandbox is, or where AWS is quick, it is over long before.
		d = min(2*waited, t.about.Least-waited)
	case t.about != (Span{}):
		d = min(waited/8, max((t.about.Most-t.about.Least)/6, waited/finest), latest)
	case t.early: // it will tell its progress
		d = min(2*waited, farthest)
	default:
		d = min(waited/share, latest)
	}
	return max(d, soonest)
}

// expected is pause for what usually takes longer yet: it is looked at shortly
// before it was done the quickest time, and then in steps, which are the finer
// the less its times differ.
func (t timetable) expected(waited time.Duration) time.Duration {
	begin := t.usual.Least * 97 / 100
	if t.early {
		for _, mark := range []time.Duration{t.usual.Least / 8, t.usual.Least / 2} {
			if waited < mark && mark >= soonest {
				return mark - waited
			}
		}
	}
	if waited < begin {
		return begin - waited
	}
	return max(t.usual.Least*3/100, (t.usual.Most-begin)/6)
}

// guarded is pause for a guard: half of what it usually takes, and then rarer
// and rarer.
func (t timetable) guarded(waited time.Duration) time.Duration {
	if half := t.usual.Least / 2; waited < half {
		return half - waited
	}
	return min(max(2*time.Second, 2*waited, t.usual.Most-waited), 30*time.Second)
}
