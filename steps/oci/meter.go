package oci

import (
	"sync"
	"time"

	"bake/builder"
)

// A meter reports progress, some ten times a second at most.
type meter struct {
	sc *builder.Scope

	mu   sync.Mutex
	p    builder.Progress
	last time.Time
}

func newMeter(sc *builder.Scope, id, verb string, total int64) *meter {
	return &meter{sc: sc, p: builder.Progress{ID: id, Verb: verb, Total: total, Unit: "B"}, last: time.Now()}
}

// add notes n more bytes. What is done within the first tenth of a second is
// not worth a report.
func (m *meter) add(n int) {
	if m == nil || m.sc == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p.Done += int64(n)
	if now := time.Now(); now.Sub(m.last) > 100*time.Millisecond {
		m.last = now
		m.sc.Progress(m.p)
	}
}

func (m *meter) end() {
	if m == nil || m.sc == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p.Ended = true
	m.sc.Progress(m.p)
}
