package report

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bake/builder"
)

// watch plays a story to a live view in made-up time and calls look whenever
// a moment of the story has been drawn.
func watch(t *testing.T, s *story, v *vt, o Options, look func(since time.Duration)) {
	t.Helper()
	o.Mode, o.Err = Text, v
	o.Terminal = &Terminal{Size: func() (int, int) { return v.width, v.height }, Color: true}
	sink, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	start, first := time.Now(), s.events[0].Time
	for _, e := range s.events {
		if d := e.Time.Sub(first) - time.Since(start); d > 0 {
			time.Sleep(d) // made-up time: see synctest
			synctest.Wait()
			look(time.Since(start))
		}
		e.Time = start.Add(e.Time.Sub(first))
		sink.Emit(e)
	}
	time.Sleep(frameEvery)
	synctest.Wait()
	look(time.Since(start))
	if err := sink.Close(); err != nil {
		t.Error(err)
	}
}

func TestTheLiveViewShowsTenBuildsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVT(t, 100, 30)
		var shots []string
		next := time.Duration(0)
		watch(t, tenBuilds(), v, Options{Dir: ".bake/runs/x"}, func(since time.Duration) {
			if !v.cursor || !v.wrap {
				t.Fatal("a frame left the cursor hidden or lines unwrapped")
			}
			if since >= next {
				shots = append(shots, fmt.Sprintf("=== after %s\n%s", since.Round(10*time.Millisecond), v.text()))
				next = since + 700*time.Millisecond
			}
		})
		golden(t, "ten.live", strings.Join(shots, "\n")+"=== at the end, with what scrolled by\n"+v.all())
	})
}

func TestTheLiveViewOfOneBuildShowsItsOutput(t *testing.T) {
	for name, s := range stories() {
		synctest.Test(t, func(t *testing.T) {
			v := newVT(t, 80, 24)
			var shots []string
			watch(t, s, v, Options{Dir: ".bake/runs/x"}, func(time.Duration) {
				if text := v.text(); len(shots) == 0 || shots[len(shots)-1] != text {
					shots = append(shots, text)
				}
			})
			golden(t, name+".live", strings.Join(shots, "=====\n")+"===== at the end\n"+v.all())
		})
	}
}

func TestNoLineOfTheViewIsTooWideOrTooMany(t *testing.T) {
	var r Run
	s := tenBuilds()
	for i, e := range s.events {
		r.Apply(e)
		if i%50 != 0 {
			continue
		}
		for _, width := range []int{1, 5, 20, 40, 79, 200} {
			for _, height := range []int{1, 2, 5, 11, 12, 13, 50} {
				lines := layout(&r, newStyle(true, false), width, height, e.Time)
				if len(lines) > max(height-1, 1) {
					t.Fatalf("%dx%d: %d lines", width, height, len(lines))
				}
				for _, l := range lines {
					if w := cells(l); w > max(width-1, 1) {
						t.Fatalf("%dx%d: %d cells: %q", width, height, w, l)
					}
				}
			}
		}
	}
}

func TestNothingIsDrawnWhenNothingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &countingWriter{}
		sink, err := New(Options{Err: w, Terminal: &Terminal{Size: func() (int, int) { return 80, 24 }}})
		if err != nil {
			t.Fatal(err)
		}
		s := newStory()
		s.add(builder.Event{Type: builder.RunStarted, Text: "web.yaml"})
		s.add(builder.Event{Type: builder.BuildStarted, Build: "web"})
		s.start("web/provision/0")
		for _, e := range s.events {
			e.Time = time.Now()
			sink.Emit(e)
		}
		time.Sleep(10 * time.Second)
		before := w.writes.Load()
		if before > 11 {
			t.Errorf("%d writes in 10 quiet seconds, want one for each second", before)
		}
		for range 10_000 {
			s.log("web/provision/0", "stdout", "x")
			sink.Emit(s.events[len(s.events)-1])
			time.Sleep(100 * time.Microsecond)
		}
		if n := w.writes.Load() - before; n > 13 {
			t.Errorf("%d writes in a second of 10,000 lines, want 12", n)
		}
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
	})
}

type countingWriter struct{ writes atomic.Int64 }

func (w *countingWriter) Write(p []byte) (int, error) { w.writes.Add(1); return len(p), nil }

func TestAViewThatWasNarrowedLeavesNoRest(t *testing.T) {
	var s screen
	wide := newVT(t, 40, 10)
	wide.Write(s.frame([]string{"history"}, []string{strings.Repeat("a", 39), strings.Repeat("b", 39)}, 40, 10))
	// As terminals do that reflow: each line of 39 cells becomes two of 20.
	narrow := newVT(t, 20, 10)
	narrow.Write([]byte("history\r\n" + strings.Repeat("a", 39) + "\r\n" + strings.Repeat("b", 39) + "\r\n"))
	narrow.Write(s.frame(nil, []string{"short"}, 20, 10))
	if got, want := narrow.text(), "history\nshort\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAPausedViewLeavesTheTerminalAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVT(t, 60, 10)
		sink, err := New(Options{Err: v, Terminal: &Terminal{Size: func() (int, int) { return 60, 10 }}})
		if err != nil {
			t.Fatal(err)
		}
		all := Tee(sink)
		s := newStory()
		s.add(builder.Event{Type: builder.RunStarted, Text: "web.yaml"})
		s.start("web/provision/0")
		s.feed(all)
		time.Sleep(time.Second)
		synctest.Wait()
		if !strings.Contains(v.text(), "0 of 1 build done") {
			t.Errorf("before: %q", v.text())
		}
		resume := Pause(all)
		fmt.Fprint(v, "keep it? ")
		s.feed(all)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := v.text(); got != "keep it?\n" {
			t.Errorf("while paused: %q", got)
		}
		fmt.Fprint(v, "y\r\n")
		resume()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := v.text(); !strings.HasPrefix(got, "keep it? y\n") || !strings.Contains(got, "0 of 1 build done") {
			t.Errorf("after: %q", got)
		}
		if err := all.Close(); err != nil {
			t.Error(err)
		}
	})
}
