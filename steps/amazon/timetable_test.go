package amazon

import (
	"testing"
	"time"
)

// looks plays a wait for what takes some time: how often it is looked at, and
// how late its end is seen.
func looks(t timetable, takes time.Duration, progress func(waited time.Duration) float64) (n int, late time.Duration) {
	waited := t.first(0)
	for n = 1; waited < takes; n++ {
		far := 0.0
		if progress != nil {
			far = progress(waited)
		}
		waited += t.pause(waited, far)
	}
	return n, waited - takes
}

func about(least, most time.Duration) Span { return Span{Least: least, Most: most} }

func TestATimetableLooksSeldomAndSeesTheEndSoon(t *testing.T) {
	const s, min = time.Second, time.Minute
	steady := func(takes time.Duration) func(time.Duration) float64 { // in whole percent, as AWS tells it
		return func(waited time.Duration) float64 { return float64(int(100*waited/takes)) / 100 }
	}
	atOnce := func(takes time.Duration) func(time.Duration) float64 { // nothing, and then all
		return func(time.Duration) float64 { return 0 }
	}
	stop := timetable{about: about(8*s, 30*s)}
	for name, c := range map[string]struct {
		plan     timetable
		takes    time.Duration
		progress func(time.Duration) func(time.Duration) float64
		n        int
		late     time.Duration
	}{
		"what nobody knows, in no time":                 {timetable{}, 0, nil, 1, 0},
		"what nobody knows, in a minute":                {timetable{}, min, nil, 28, latest},
		"stopping, in no time":                          {stop, 0, nil, 1, soonest},
		"stopping at a twentieth of AWS's pace":         {stop, s / 2, nil, 2, s / 2},
		"stopping, as in the sandbox":                   {stop, 10 * s, nil, 7, 13 * s / 10},
		"stopping a slow machine":                       {stop, 40 * s, nil, 20, 5 * s},
		"stopping, as always":                           {timetable{usual: about(10*s, 10*s)}, 10 * s, nil, 2, s / 3},
		"stopping, a bit longer than always":            {timetable{usual: about(10*s, 10*s)}, 11 * s, nil, 6, s / 2},
		"stopping, quicker than ever":                   {timetable{usual: about(10*s, 10*s)}, 5 * s, nil, 1, 5 * s},
		"stopping, within its usual times":              {timetable{usual: about(20*s, 40*s)}, 31 * s, nil, 5, 4 * s},
		"a first capture":                               {timetable{early: true}, 64 * s, steady, 9, 2 * s},
		"a first capture of a large disk":               {timetable{early: true}, 40 * min, steady, 19, 30 * s},
		"a first capture, in no time":                   {timetable{early: true}, 0, steady, 1, soonest},
		"a capture that tells nothing until it is done": {timetable{early: true}, 3 * min, atOnce, 22, farthest},
		"a capture as always":                           {timetable{early: true, usual: about(64*s, 64*s)}, 64 * s, steady, 4, 2 * s},
		"a capture that has nothing to do":              {timetable{early: true, usual: about(64*s, 64*s)}, 3 * s, steady, 1, 5 * s},
		"a capture of ten times as much":                {timetable{early: true, usual: about(64*s, 64*s)}, 640 * s, steady, 12, 16 * s},
		"a guard of a boot that nobody knows":           {timetable{guard: true}, 20 * s, nil, 4, 40 * s},
		"a guard of a boot as always":                   {timetable{guard: true, usual: about(20*s, 21*s)}, 20 * s, nil, 2, 20 * s},
	} {
		t.Run(name, func(t *testing.T) {
			var progress func(time.Duration) float64
			if c.progress != nil {
				progress = c.progress(c.takes)
			}
			if n, late := looks(c.plan, c.takes, progress); n > c.n || late > c.late {
				t.Errorf("%d looks, %v late; want at most %d, and %v", n, late, c.n, c.late)
			} else {
				t.Logf("%d looks, %v late", n, late)
			}
		})
	}
}

func TestADyingMachineIsNoticedLongBeforeItsBootTimeIsOver(t *testing.T) {
	for name, plan := range map[string]timetable{
		"nothing is known": {guard: true},
		"its boot is":      {guard: true, usual: about(30*time.Second, 40*time.Second)},
	} {
		if first := plan.first(0); first > 15*time.Second {
			t.Errorf("%s: the first look is after %v", name, first)
		}
	}
}
