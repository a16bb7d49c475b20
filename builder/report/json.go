package report

import (
	"bufio"
	"io"
	"time"

	"bake/builder"
)

// progressEvery bounds how many progress events of one step JSON has.
const progressEvery = 100 * time.Millisecond

// jsonLines writes every event as JSON, one a line: builder.Event as it is.
type jsonLines struct {
	w    *bufio.Writer
	last map[builder.StepID]time.Time // of the step's last progress event
	err  error
}

func newJSON(w io.Writer) *jsonLines {
	return &jsonLines{w: bufio.NewWriter(w), last: map[builder.StepID]time.Time{}}
}

func (h *jsonLines) event(e builder.Event) {
	if e.Type == builder.StepProgress && e.Progress != nil && !e.Progress.Ended {
		if e.Time.Sub(h.last[e.Step]) < progressEvery {
			return
		}
		h.last[e.Step] = e.Time
	}
	line, err := encode(e)
	if err == nil {
		_, err = h.w.Write(line)
	}
	if h.err == nil {
		h.err = err
	}
}

func (h *jsonLines) lost(int)       {}
func (h *jsonLines) tick(time.Time) {}
func (h *jsonLines) end() error     { return h.flush() }

func (h *jsonLines) flush() error {
	if err := h.w.Flush(); h.err == nil {
		h.err = err
	}
	return h.err
}
