package builder

import (
	"bytes"
	"strings"
	"sync"
)

// maxLine bounds what a program without line ends can make us hold.
const maxLine = 64 << 10

// lineWriter hands on whole lines without their end. A carriage return that
// ends a line goes with it; one inside is kept (the display decides).
type lineWriter struct {
	mu   sync.Mutex
	part []byte
	line func(string)
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			w.part = append(w.part, p...)
			if len(w.part) >= maxLine {
				w.flush()
			}
			break
		}
		w.part = append(w.part, p[:i]...)
		w.flush()
		p = p[i+1:]
	}
	return n, nil
}

func (w *lineWriter) flush() {
	w.line(strings.ToValidUTF8(strings.TrimSuffix(string(w.part), "\r"), "\uFFFD"))
	w.part = w.part[:0]
}

// Close hands on a last line that had no end.
func (w *lineWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.part) > 0 {
		w.flush()
	}
	return nil
}
