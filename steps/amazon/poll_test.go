package amazon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"bake/builder"
)

// counter is a resource whose value is how often it was asked for.
func counter(calls *atomic.Int64) func(context.Context, []string) (map[string]int64, error) {
	return func(_ context.Context, ids []string) (map[string]int64, error) {
		n := calls.Add(1)
		found := map[string]int64{}
		for _, id := range ids {
			found[id] = n
		}
		return found, nil
	}
}

func TestManyWaitsShareTheirCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := func(builds int) int64 {
			var calls atomic.Int64
			p := newPoller("thing", perCall, counter(&calls))
			var wg sync.WaitGroup
			for i := range builds {
				wg.Go(func() {
					from := time.Now()
					if _, err := p.wait(t.Context(), fmt.Sprint(i), func(int64) (bool, error) { return time.Since(from) > time.Minute, nil }); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			return calls.Load()
		}
		one, fifty := run(1), run(50)
		if fifty > one+2 {
			t.Errorf("one wait of a minute took %d calls, fifty took %d", one, fifty)
		}
		if one > 35 || one < 12 {
			t.Errorf("a minute took %d calls", one)
		}
	})
}

func TestAWaitEndsAtOnceWhenItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		p := newPoller("thing", perCall, counter(&calls))
		from := time.Now()
		if v, err := p.wait(t.Context(), "a", func(int64) (bool, error) { return true, nil }); err != nil || v != 1 {
			t.Errorf("got %d, %v", v, err)
		}
		if took := time.Since(from); took != 0 {
			t.Errorf("it took %v", took)
		}
		synctest.Wait() // the loop has ended, or Test complains
	})
}

func TestWhatIsHiddenAtFirstIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		p := newPoller("thing", perCall, func(_ context.Context, ids []string) (map[string]string, error) {
			if calls.Add(1) < 5 {
				return nil, nil
			}
			return map[string]string{ids[0]: "there"}, nil
		})
		if v, err := p.wait(t.Context(), "a", func(string) (bool, error) { return true, nil }); err != nil || v != "there" {
			t.Errorf("got %q, %v", v, err)
		}
	})
}

func TestWhatDoesNotExistIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoller("thing", perCall, func(context.Context, []string) (map[string]string, error) { return nil, nil })
		from := time.Now()
		_, err := p.wait(t.Context(), "a", func(string) (bool, error) { return true, nil })
		if !errors.Is(err, builder.ErrNotFound) || time.Since(from) > settling+2*latest {
			t.Errorf("after %v: %v", time.Since(from), err)
		}
	})
}

func TestADenialEndsTheWaitAndAnOutageDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		answers := []error{errors.New("connection refused"), errors.New("connection refused"), nil, &smithy.GenericAPIError{Code: "UnauthorizedOperation"}}
		p := newPoller("thing", perCall, func(context.Context, []string) (map[string]string, error) {
			return map[string]string{"a": "pending"}, answers[calls.Add(1)-1]
		})
		seen := 0
		_, err := p.wait(t.Context(), "a", func(string) (bool, error) { seen++; return false, nil })
		if seen != 1 || !IsCode(err, "UnauthorizedOperation") {
			t.Errorf("seen %d times, then %v", seen, err)
		}
	})
}

// TestWhatTheCallerAloneCanMendIsToldSoonerThanAnOutage: a proxy that lets
// nobody through answers in no words of AWS's.
func TestWhatTheCallerAloneCanMendIsToldSoonerThanAnOutage(t *testing.T) {
	answered := func(status int, err error) error {
		return &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err}
	}
	for name, c := range map[string]struct {
		err         error
		least, most time.Duration
	}{
		"expired credentials": {answered(400, &smithy.GenericAPIError{Code: "ExpiredToken"}), blame, 2 * blame},
		"a proxy":             {answered(403, errors.New("not XML")), blame, 2 * blame},
		"throttling":          {answered(400, &smithy.GenericAPIError{Code: "ThrottlingException"}), silence, 2 * silence},
		"AWS is down":         {answered(503, errors.New("not XML")), silence, 2 * silence},
		"no network":          {errors.New("connection refused"), silence, 2 * silence},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPoller("thing", perCall, func(context.Context, []string) (map[string]string, error) { return nil, c.err })
				began := time.Now()
				_, err := p.wait(t.Context(), "a", func(string) (bool, error) { return false, nil })
				if took := time.Since(began); !errors.Is(err, c.err) || took < c.least || took > c.most {
					t.Errorf("%v after %s", err, took)
				}
			})
		})
	}
}

func TestManyIdsAreAskedForInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var most atomic.Int64
		p := newPoller("thing", 20, func(_ context.Context, ids []string) (map[string]bool, error) {
			most.Store(max(most.Load(), int64(len(ids))))
			found := map[string]bool{}
			for _, id := range ids {
				found[id] = true
			}
			return found, nil
		})
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if _, err := p.wait(t.Context(), fmt.Sprint(i), func(bool) (bool, error) { return true, nil }); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if most.Load() > 20 {
			t.Errorf("a call asked for %d", most.Load())
		}
	})
}

func TestWhatTellsItsProgressIsAskedForWhenItMayBeDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, takes := range []time.Duration{30 * time.Second, time.Minute, 10 * time.Minute} {
			calls, from := 0, time.Now()
			p := newPoller("thing", perCall, func(_ context.Context, ids []string) (map[string]float64, error) {
				calls++
				return map[string]float64{ids[0]: min(1, time.Since(from).Seconds()/takes.Seconds())}, nil
			})
			p.progress = func(far float64) float64 { return far }
			if _, err := p.wait(t.Context(), "a", func(far float64) (bool, error) { return far == 1, nil }); err != nil {
				t.Error(err)
			}
			late := time.Since(from) - takes
			if most := 25; calls > most || late > max(soonest, 11*takes/10/finest) {
				t.Errorf("%v: %d calls, want at most %d; %v late", takes, calls, most, late)
			}
		}
	})
}

func TestAGuardAsksSeldomAndEndsWithTheError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		p := newPoller("thing", perCall, counter(&calls))
		from, gone := time.Now(), errors.New("gone")
		_, _, err := p.follow(t.Context(), "a", timetable{from: from, guard: true}, func(int64) (bool, error) {
			if time.Since(from) > time.Minute {
				return false, gone
			}
			return false, nil
		})
		if !errors.Is(err, gone) || calls.Load() > 5 {
			t.Errorf("%d calls, then %v", calls.Load(), err)
		}
	})
}
