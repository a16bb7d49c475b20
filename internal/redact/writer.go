package redact

import (
	"io"
	"sync"
)

// Writer returns a writer that hands on to w what it gets, without the
// secrets, however they are split over writes. It passes on everything at once,
// except an end that may be the beginning of a secret: that waits for the
// next Write or Close, and is always shorter than the longest form. Close
// writes what is held back; it does not close w.
func (r *Redactor) Writer(w io.Writer) io.WriteCloser {
	return &writer{r: r, w: w}
}

type writer struct {
	r *Redactor
	w io.Writer

	mu      sync.Mutex
	held    string // not written yet: it may be the beginning of a secret
	covered int    // bytes of held that belong to a secret that is replaced already
	out     []byte // reused
}

func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.pass(w.held+string(p), false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what is held back.
func (w *writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pass(w.held, true)
}

func (w *writer) pass(text string, end bool) error {
	m := w.r.forms.Load()
	if m == nil {
		m = new(matcher)
	}
	w.out, w.held, w.covered = m.mask(w.out[:0], text, w.covered, end)
	if len(w.out) == 0 {
		return nil
	}
	_, err := w.w.Write(w.out)
	return err
}
