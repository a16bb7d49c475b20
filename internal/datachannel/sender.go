package datachannel

import (
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/websocket"
)

// What one side may have under way: messages that the other has not
// acknowledged, and how long after it was sent one of them counts as lost.
const (
	mostSent  = 1000
	sendAgain = 3 * time.Second
)

// A Sender writes one side's messages to the WebSocket that is there at the
// moment: stream data in order, each kept until the other side has
// acknowledged it and sent again when that takes long or the WebSocket is
// another one, and acknowledgements as they are due. Nobody but it writes, so
// that who reads never waits for who writes. It is safe for concurrent use.
type Sender struct {
	kind string
	over chan struct{}

	mu      sync.Mutex
	changed *sync.Cond
	ws      *websocket.Conn // nil: none at the moment
	acks    []Message
	sent    int64 // sequence number of the next message
	unheard []Message
	next    int       // of unheard: the first that this WebSocket has not carried
	heard   time.Time // when the other side last acknowledged something, or was sent something first
	paused  bool
	last    *Message // sent after everything else
	err     error    // why it ended
}

// NewSender starts a sender of messages of a type, Input or Output. It ends
// with End.
func NewSender(kind string) *Sender {
	s := &Sender{kind: kind, over: make(chan struct{})}
	s.changed = sync.NewCond(&s.mu)
	go s.write()
	go s.watch()
	return s
}

// Attach makes ws the one to write to, and returns the one before it, if any.
// What that may have lost is sent again.
func (s *Sender) Attach(ws *websocket.Conn) (before *websocket.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.ws = s.ws, ws
	s.next, s.acks = 0, nil
	s.changed.Broadcast()
	return before
}

// Detach notes that ws is not there any more; false: another one is there.
func (s *Sender) Detach(ws *websocket.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ws != ws {
		return false
	}
	s.ws = nil
	return true
}

// WebSocket is the one that is there; nil: none.
func (s *Sender) WebSocket() *websocket.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ws
}

// Send sends a payload as soon as there is room for it. It does not wait until
// it is there. It returns what End was told, once it was.
func (s *Sender) Send(payloadType uint32, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && payloadType == Bytes && (s.paused || len(s.unheard) >= mostSent) {
		s.changed.Wait()
	}
	if s.err != nil {
		return s.err
	}
	m := New(s.kind, s.sent, payloadType, payload)
	if s.sent == 0 {
		m.Flags = 1 // the first of its stream
	}
	s.sent++
	if len(s.unheard) == 0 {
		s.heard = time.Now()
	}
	s.unheard = append(s.unheard, m)
	s.changed.Broadcast()
	return nil
}

// Write sends bytes, in messages of maxPayload.
func (s *Sender) Write(p []byte) (int, error) {
	for i := 0; i < len(p); i += maxPayload {
		if err := s.Send(Bytes, slices.Clone(p[i:min(i+maxPayload, len(p))])); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// Ack acknowledges a message of the other side.
func (s *Sender) Ack(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks = append(s.acks, m.Ack())
	s.changed.Broadcast()
}

// lastTime bounds the wait for the WebSocket to take the last message.
const lastTime = 10 * time.Second

// Last sends a message that is not part of the stream, after everything in it,
// and returns when it is written, or cannot be.
func (s *Sender) Last(m Message) {
	timer := time.AfterFunc(lastTime, func() { s.End(errors.New("the other side is gone")) })
	defer timer.Stop()
	s.mu.Lock()
	s.last = &m
	s.changed.Broadcast()
	for s.err == nil && s.last != nil {
		s.changed.Wait()
	}
	s.mu.Unlock()
}

// Heard forgets a message that the other side has acknowledged.
func (s *Sender) Heard(sequence int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.unheard, func(m Message) bool { return m.Sequence == sequence })
	switch {
	case i < 0:
		return
	case i == 0: // as nearly always
		s.unheard = s.unheard[1:]
	default:
		s.unheard = slices.Delete(slices.Clone(s.unheard), i, i+1)
	}
	if i < s.next {
		s.next--
	}
	s.heard = time.Now()
	s.changed.Broadcast()
}

// Pause makes Send wait, or go on.
func (s *Sender) Pause(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = paused
	s.changed.Broadcast()
}

// End ends the sender for a reason, which Send returns; the first counts.
func (s *Sender) End(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.over)
	}
	s.changed.Broadcast()
}

// write is the one that writes.
func (s *Sender) write() {
	for {
		ws, m, ok := s.due()
		if !ok {
			return
		}
		_ = websocket.Message.Send(ws, m.Encode()) // one that breaks is noticed by who reads from it
		s.mu.Lock()
		if s.last != nil && s.last.ID == m.ID {
			s.last = nil
			s.changed.Broadcast()
		}
		s.mu.Unlock()
	}
}

// due waits for what is to be written next.
func (s *Sender) due() (ws *websocket.Conn, m Message, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && (s.ws == nil || len(s.acks) == 0 && s.next == len(s.unheard) && s.last == nil) {
		s.changed.Wait()
	}
	switch {
	case s.err != nil:
		return nil, m, false
	case len(s.acks) > 0:
		m, s.acks = s.acks[0], s.acks[1:]
	case s.next < len(s.unheard):
		m = s.unheard[s.next]
		s.next++
	default:
		m = *s.last
	}
	return s.ws, m, true
}

// watch has everything sent again when nothing was acknowledged for long.
func (s *Sender) watch() {
	tick := time.NewTicker(sendAgain / 3)
	defer tick.Stop()
	for {
		select {
		case <-s.over:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		if len(s.unheard) > 0 && s.next > 0 && time.Since(s.heard) > sendAgain {
			s.next, s.heard = 0, time.Now()
			s.changed.Broadcast()
		}
		s.mu.Unlock()
	}
}
