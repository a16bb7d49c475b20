package report

import (
	"io"
	"strconv"
	"sync"
	"time"

	"bake/builder"
)

// frameEvery bounds how often the view is drawn: twelve times a second.
const frameEvery = 80 * time.Millisecond

// historyLimit bounds the lines that wait for a terminal that takes none.
const historyLimit = 10_000

// A live draws all builds on a terminal: what is over scrolls by above, what
// goes on is redrawn below. It leaves the terminal as it is between frames
// (cursor shown, lines wrapping), so that there is nothing to repair whatever
// ends the process.
type live struct {
	o  Options
	t  *Terminal
	st style
	w  io.Writer

	mu      sync.Mutex
	run     Run
	history []string
	cached  map[*Build]int // steps that the history does not tell of yet
	changed bool
	paused  int
	closed  bool

	draw   sync.Mutex // held while a frame is made and written; before mu
	screen screen
	second int64 // of the last frame
	err    error // of the terminal

	stop, done chan struct{}
}

func newLive(o Options, t *Terminal) *live {
	l := &live{o: o, t: t, st: newStyle(t.Color, t.ASCII), w: o.Err, cached: map[*Build]int{},
		stop: make(chan struct{}), done: make(chan struct{})}
	go l.loop()
	return l
}

// Emit adds the event to what the next frame shows.
func (l *live) Emit(e builder.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.run.Apply(e)
	l.note(e)
	l.changed = true
	if n := len(l.history); n > historyLimit {
		l.history = append([]string{l.st.dim("(" + count(n-historyLimit/2, "line") + " not shown)")}, l.history[n-historyLimit/2:]...)
	}
}

// note adds to the history what is over.
func (l *live) note(e builder.Event) {
	if e.Type == builder.Notice {
		l.history = append(l.history, notice(Notice{e.Text, e.Hint}, l.st)...)
		return
	}
	s := l.run.steps[e.Step]
	if s == nil || e.Type == builder.StepLog || e.Type == builder.StepProgress {
		return
	}
	if e.Type == builder.StepCached {
		if s.Number > 0 {
			l.cached[s.build]++
		}
		return
	}
	if n := l.cached[s.build]; n > 0 {
		delete(l.cached, s.build)
		l.tell(s.build, Cached, l.st.dim(count(n, "step")+" cached"))
	}
	l.noteStep(s, e)
}

func (l *live) noteStep(s *Step, e builder.Event) {
	switch e.Type {
	case builder.StepDone:
		switch {
		case s.Published != nil && s.Published.Summary != "":
			l.tell(s.build, Done, clean(s.Published.Summary)+"  "+l.st.dim(duration(s.Elapsed)))
		case s.worthTelling():
			how := duration(s.Elapsed)
			if o := outcome(s); o != "done" {
				how = o + ", " + how
			}
			l.tell(s.build, Done, s.title()+"  "+l.st.dim(how))
		}
	case builder.StepSkipped:
		l.tell(s.build, Skipped, l.st.dim(s.title()+" skipped"+because(s.Skipped)))
	case builder.StepRetry:
		l.tell(s.build, Running, s.title()+l.st.yellow(" again: ")+clean(retry(e)))
	case builder.StepFailed:
		if s.Status == Interrupted {
			l.tell(s.build, Interrupted, s.title()+l.st.yellow(" stopped")+" after "+duration(s.Elapsed))
			return
		}
		l.tell(s.build, Failed, s.title()+l.st.red(" failed after "+duration(s.Elapsed))+": "+clean(firstLine(s.Err))+l.st.dim(where(s)))
	}
}

func (l *live) tell(b *Build, of Status, text string) {
	if len(l.run.Builds) > 1 {
		text = fit(clean(b.Name), nameWidth(&l.run, 80)) + "  " + text
	}
	l.history = append(l.history, l.st.mark(of)+" "+text)
}

func (l *live) loop() {
	defer close(l.done)
	ticker := time.NewTicker(frameEvery)
	defer ticker.Stop()
	for {
		select {
		case <-l.stop:
			return
		case now := <-ticker.C:
			l.frame(now)
		}
	}
}

// frame draws the view if it looks other than it did.
func (l *live) frame(now time.Time) {
	l.draw.Lock()
	defer l.draw.Unlock()
	if l.err != nil {
		return
	}
	width, height := l.t.Size()
	resized := width != l.screen.width || height != l.screen.height
	l.mu.Lock()
	if l.paused > 0 || l.closed || l.run.Started.IsZero() || !l.changed && !resized && now.Unix() == l.second {
		l.mu.Unlock()
		return
	}
	lines := layout(&l.run, l.st, width, height, now)
	history := l.history
	l.history, l.changed, l.second = nil, false, now.Unix()
	l.mu.Unlock()
	_, l.err = l.w.Write(l.screen.frame(history, lines, width, height))
}

// Pause takes the view off the terminal until resume is called, for a question
// to the user.
func (l *live) Pause() (resume func()) {
	l.draw.Lock()
	defer l.draw.Unlock()
	l.mu.Lock()
	l.paused++
	history := l.history
	l.history = nil
	l.mu.Unlock()
	width, height := l.t.Size()
	if l.err == nil {
		_, l.err = l.w.Write(l.screen.frame(history, nil, width, height))
	}
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.paused--
		l.changed = true
	})
}

// Close takes the view off the terminal and writes how it all ended.
func (l *live) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	close(l.stop)
	l.mu.Unlock()
	<-l.done
	l.draw.Lock()
	defer l.draw.Unlock()
	history := l.history
	if !l.run.Started.IsZero() {
		history = append(history, summary(&l.run, l.o, l.st)...)
	}
	if l.err == nil && (len(history) > 0 || len(l.screen.lines) > 0) {
		width, height := l.t.Size()
		_, l.err = l.w.Write(l.screen.frame(history, nil, width, height))
	}
	return l.err
}

// A screen knows what it drew last and turns the next frame into bytes.
type screen struct {
	lines         []string // below which the cursor stands, in the first column
	width, height int
}

// frame returns one write that puts history above the live lines and makes
// those the new ones. Synchronized output (mode 2026) keeps terminals that know
// it from showing half a frame; the others pass over it. Lines of the view are
// never wrapped, so that a character whose width the terminal sees otherwise
// cannot shift the rows. Rows are cleared one by one: tmux takes "clear all that
// is below" at the top of the screen for an order to keep it in its history.
func (s *screen) frame(history, lines []string, width, height int) []byte {
	b := []byte("\x1b[?2026h\x1b[?25l\r")
	n := min(s.rows(width), max(height-1, 0))
	b = up(b, n)
	redraw := len(history) > 0 || len(lines) < len(s.lines) || width != s.width
	if redraw && n > 0 {
		for range n {
			b = append(b, "\x1b[K\n"...)
		}
		b = up(append(b, "\x1b[K"...), n)
	}
	for _, l := range history {
		b = append(b, l...)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\x1b[?7l"...)
	for i, l := range lines {
		if redraw || i >= len(s.lines) || s.lines[i] != l {
			b = append(b, l...)
			b = append(b, "\x1b[K"...)
		}
		b = append(b, "\r\n"...)
	}
	b = append(b, "\x1b[K\x1b[?7h\x1b[?25h\x1b[?2026l"...)
	s.lines, s.width, s.height = lines, width, height
	return b
}

// up appends the order to move the cursor up n rows.
func up(b []byte, n int) []byte {
	if n == 0 {
		return b
	}
	return append(b, "\x1b["+strconv.Itoa(n)+"A"...)
}
