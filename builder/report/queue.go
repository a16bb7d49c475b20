package report

import (
	"sync"
	"time"

	"bake/builder"
)

// A handler is what a sink does with events, in one goroutine.
type handler interface {
	event(e builder.Event)
	lost(lines int)     // this many log lines were dropped before the next event
	tick(now time.Time) // about once a second
	flush() error       // no event is waiting
	end() error         // the last call
}

// overflow says what becomes of log lines that come faster than they can be
// shown. Other events are few and always kept.
type overflow int

const (
	waits overflow = iota // the build waits: files and JSON have every line
	drops                 // after a short wait lines are dropped and counted
)

const (
	queueLimit = 2048        // events
	queueBytes = 4 << 20     // of text
	queueGrace = time.Second // how long a build waits for a reader that does not read
)

// A queue hands events to a handler in its own goroutine, so that a slow
// reader holds up the engine only a little, and in bounded memory.
type queue struct {
	h      handler
	policy overflow

	mu      sync.Mutex
	room    sync.Cond // waiting has become shorter, or stalled or closed is set
	waiting []builder.Event
	bytes   int // of text in waiting
	dropped int
	stalled bool // nobody takes events: do not wait again
	closed  bool

	wake chan struct{} // there is something to do
	done chan struct{} // the goroutine has ended
	err  error         // valid when done is closed
}

func newQueue(h handler, policy overflow) *queue {
	q := &queue{h: h, policy: policy, wake: make(chan struct{}, 1), done: make(chan struct{})}
	q.room.L = &q.mu
	go q.loop()
	return q
}

// Emit takes the event, or drops it if it is a log line and the policy says so.
func (q *queue) Emit(e builder.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if often(e) && q.full() && !q.makeRoom() {
		q.dropped++
		return
	}
	q.waiting = append(q.waiting, e)
	q.bytes += len(e.Text)
	q.signal()
}

func often(e builder.Event) bool {
	return e.Type == builder.StepLog || e.Type == builder.StepProgress
}

func (q *queue) full() bool { return len(q.waiting) >= queueLimit || q.bytes >= queueBytes }

// makeRoom waits until there is room, and reports whether there is.
func (q *queue) makeRoom() bool {
	if q.policy == drops && !q.stalled {
		defer time.AfterFunc(queueGrace, q.stall).Stop()
	}
	for q.full() && !q.stalled && !q.closed {
		q.room.Wait()
	}
	return !q.full()
}

func (q *queue) stall() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stalled = true
	q.room.Broadcast()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) loop() {
	defer close(q.done)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var spare []builder.Event
	for {
		select {
		case <-q.wake:
		case now := <-ticker.C:
			q.h.tick(now)
		}
		batch, dropped, closed := q.take(spare)
		for _, e := range batch {
			q.h.event(e)
		}
		if dropped > 0 {
			q.h.lost(dropped)
		}
		err := q.h.flush()
		if closed {
			if q.err = q.h.end(); q.err == nil {
				q.err = err
			}
			return
		}
		clear(batch)
		spare = batch[:0]
	}
}

func (q *queue) take(spare []builder.Event) (batch []builder.Event, dropped int, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch, dropped = q.waiting, q.dropped
	q.waiting, q.bytes, q.dropped, q.stalled = spare, 0, 0, false
	q.room.Broadcast()
	return batch, dropped, q.closed
}

// Close hands on what is waiting and returns the first error of the handler.
// Events that come later are dropped.
func (q *queue) Close() error {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		q.room.Broadcast()
		q.signal()
	}
	q.mu.Unlock()
	<-q.done
	return q.err
}
