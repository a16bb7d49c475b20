package amazon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestDurationsAreKnownToTheNextRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "aws", "waits.json")
	first := &durations{file: file}
	if first.usual("stop") != (Span{}) {
		t.Error("something is known before anything was noted")
	}
	for _, s := range []int{90, 12, 10, 11, 10, 14} { // the oldest is forgotten
		first.note("stop", time.Duration(s)*time.Second)
	}
	next := &durations{file: file}
	if got, want := next.usual("stop"), about(10*time.Second, 14*time.Second); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	// Two processes do not take each other's notes away.
	next.note("boot", time.Second)
	first.note("capture", time.Minute)
	last := &durations{file: file}
	for _, name := range []string{"stop", "boot", "capture"} {
		if last.usual(name) == (Span{}) {
			t.Errorf("%s is forgotten", name)
		}
	}
	if last.usual("") != (Span{}) {
		t.Error("a wait without a name is known")
	}
}

func TestADamagedFileOfDurationsIsNone(t *testing.T) {
	for _, text := range []string{"", "{", "null", "[1]", `{"stop": {"seconds": "x"}}`} {
		file := filepath.Join(t.TempDir(), "waits.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d := &durations{file: file}
		if got := d.usual("stop"); got != (Span{}) {
			t.Errorf("%q: %v is known", text, got)
		}
		d.note("stop", time.Second)
		if again := (&durations{file: file}).usual("stop"); again != about(time.Second, time.Second) {
			t.Errorf("%q: then %v", text, again)
		}
	}
}

func TestOnlySoManyDurationsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &durations{}
		for i := range waitsMax + 50 {
			d.note(fmt.Sprint(i), time.Second)
			time.Sleep(time.Second)
		}
		if len(d.known) != waitsMax || d.usual("49") != (Span{}) || d.usual("50") == (Span{}) {
			t.Errorf("%d are kept", len(d.known))
		}
	})
}

// TestAWaitThatIsKnownIsLookedAtWhenItEnds waits for the same thing again and
// again, each time with what was learned before.
func TestAWaitThatIsKnownIsLookedAtWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &durations{}
		for run := range 6 {
			from, calls := time.Now(), 0
			p := newPoller("thing", perCall, func(t0 time.Time) func(_ context.Context, ids []string) (map[string]bool, error) {
				return func(_ context.Context, ids []string) (map[string]bool, error) {
					calls++
					return map[string]bool{ids[0]: time.Since(t0) >= time.Minute}, nil
				}
			}(from))
			_, took, err := p.follow(t.Context(), "a", timetable{from: from, usual: d.usual("a"), about: about(8*time.Second, 30*time.Second)}, func(done bool) (bool, error) { return done, nil })
			if err != nil {
				t.Fatal(err)
			}
			late := time.Since(from) - time.Minute
			t.Logf("run %d: %d calls, %v late", run, calls, late)
			if run > 0 && (calls > 4 || late > 3*time.Second) {
				t.Errorf("run %d: %d calls, %v late", run, calls, late)
			}
			d.note("a", took)
		}
	})
}
