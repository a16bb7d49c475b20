package session

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"sync"
	"time"

	"golang.org/x/net/websocket"

	"bake/internal/datachannel"
)

// A channel is one session: what it is joined to, and the client that is there
// now, if one is.
type channel struct {
	id         string
	kind       string // of session
	properties map[string]string
	run        func(*channel)
	token      string // that lets a client in; guarded by the server

	ctx    context.Context // ends with the session
	end    context.CancelFunc
	input  *io.PipeReader // what the client sends
	typed  *io.PipeWriter
	agreed chan struct{} // closed when the client has agreed to the session's kind
	sized  chan struct{} // closed when it has told its terminal's size

	queue chan datachannel.Message // what the client has sent and nobody has taken

	out *datachannel.Sender

	mu         sync.Mutex
	joined     bool  // the client was there once
	expected   int64 // sequence number of the next message in
	taken      int64 // all before it are acknowledged, or will be at once
	agrees     bool
	rows, cols uint16 // 0: not told
	abandoned  *time.Timer
}

// How long a session waits for a client that went away, and how many of its
// messages wait to be taken.
const (
	patience = 30 * time.Second
	mostHeld = 1000
)

func (c *channel) init(ctx context.Context) {
	c.ctx, c.end = context.WithCancel(ctx)
	c.input, c.typed = io.Pipe()
	c.agreed, c.sized = make(chan struct{}), make(chan struct{})
	c.queue = make(chan datachannel.Message, mostHeld)
	c.out = datachannel.NewSender(datachannel.Output)
	c.abandoned = time.AfterFunc(patience, c.end)
	context.AfterFunc(c.ctx, func() {
		c.typed.Close()
		c.abandoned.Stop()
		c.out.End(context.Cause(c.ctx))
	})
}

// attach makes ws the client's connection. It reports whether it is the first.
func (c *channel) attach(ws *websocket.Conn) (first bool) {
	c.abandoned.Stop()
	if before := c.out.Attach(ws); before != nil {
		before.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first, c.joined = !c.joined, true
	return first
}

// detach notes that the client went away; it may come again.
func (c *channel) detach(ws *websocket.Conn) {
	ws.Close()
	if c.out.Detach(ws) && c.ctx.Err() == nil {
		c.abandoned.Reset(patience)
	}
}

// cut breaks the connection.
func (c *channel) cut() {
	if ws := c.out.WebSocket(); ws != nil {
		ws.Close()
	}
}

// live is the session from its first client to its end.
func (c *channel) live() {
	defer c.end()
	if c.handshake() != nil {
		return
	}
	go c.pump() // ends with the session
	c.run(c)
	if c.ctx.Err() == nil {
		c.closed()
	}
}

// handshake asks the client to handle a session of this kind, and waits until it agrees.
func (c *channel) handshake() error {
	began := time.Now()
	request, err := json.Marshal(map[string]any{"AgentVersion": "3.3.0.0", "RequestedClientActions": []any{map[string]any{
		"ActionType": "SessionType", "ActionParameters": map[string]any{"SessionType": c.kind, "Properties": c.properties}}}})
	if err != nil {
		return err
	}
	if err := c.out.Send(datachannel.HandshakeRequest, request); err != nil {
		return err
	}
	select {
	case <-c.agreed:
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
	done, err := json.Marshal(map[string]any{"HandshakeTimeToComplete": time.Since(began).Nanoseconds(), "CustomerMessage": ""})
	if err != nil {
		return err
	}
	return c.out.Send(datachannel.HandshakeComplete, done)
}

func (c *channel) size() (rows, cols uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rows, c.cols
}

// Write sends what the session leads to has to say.
func (c *channel) Write(p []byte) (int, error) { return c.out.Write(p) }

// flag tells the client something about the port.
func (c *channel) flag(flag uint32) {
	_ = c.out.Send(datachannel.Flag, binary.BigEndian.AppendUint32(nil, flag)) // the client may be gone
}

// take takes in a message of the client. What comes before its turn comes again.
func (c *channel) take(m datachannel.Message) {
	switch m.Type {
	case datachannel.Acknowledge:
		var ack datachannel.Acknowledgement
		if json.Unmarshal(m.Payload, &ack) == nil {
			c.out.Heard(ack.AcknowledgedMessageSequenceNumber)
		}
	case datachannel.Input:
		if c.accept(m) {
			c.out.Ack(m)
		}
	}
}

// accept takes in input whose turn it is, if there is room for it, and reports
// whether the client may forget it.
func (c *channel) accept(m datachannel.Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.Sequence != c.expected {
		return m.Sequence < c.taken // it was here before
	}
	if m.PayloadType == datachannel.Bytes {
		select {
		case c.queue <- m:
			c.expected++
		default: // it comes again
		}
		return false
	}
	c.expected++
	c.obey(m)
	return true
}

// pump hands what the client sends to what the session leads to, which need
// not take it at once. Only then it is acknowledged: so the client waits.
func (c *channel) pump() {
	for {
		select {
		case m := <-c.queue:
			if _, err := c.typed.Write(m.Payload); err != nil {
				return
			}
			c.mu.Lock()
			c.taken = m.Sequence + 1
			c.mu.Unlock()
			c.out.Ack(m)
		case <-c.ctx.Done():
			return
		}
	}
}

// obey does what one message of the client says. c.mu is held.
func (c *channel) obey(m datachannel.Message) {
	switch m.PayloadType {
	case datachannel.HandshakeResponse:
		if !c.agrees {
			c.agrees = true
			close(c.agreed)
		}
	case datachannel.Size:
		var size struct{ Cols, Rows uint16 }
		if json.Unmarshal(m.Payload, &size) != nil || c.rows > 0 {
			return
		}
		c.rows, c.cols = max(size.Rows, 1), size.Cols
		close(c.sized)
	case datachannel.Flag:
		if len(m.Payload) == 4 && binary.BigEndian.Uint32(m.Payload) == datachannel.Terminate {
			c.end()
		}
	}
}

// closed tells the client that the session is over, once it has heard the rest.
func (c *channel) closed() {
	m := datachannel.New(datachannel.Closed, 0, 0, nil)
	m.Payload, _ = json.Marshal(map[string]any{"MessageId": m.UUID(), "CreatedDate": time.Now().UTC().Format(time.RFC3339), "DestinationId": c.id,
		"SessionId": c.id, "MessageType": datachannel.Closed, "SchemaVersion": 1, "Output": ""}) // of numbers and text
	c.out.Last(m)
}
