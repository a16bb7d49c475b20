package session

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/websocket"

	"bake/internal/datachannel"
)

// What a session may have under way, and how long it waits.
const (
	mostHeld    = 4 << 20                // bytes that nobody has read
	mostEarly   = 10000                  // messages that came before their turn
	resumeFor   = 20 * time.Second       // a broken WebSocket is tried to be replaced
	resumePause = 200 * time.Millisecond // between two tries
	endTime     = 5 * time.Second        // for taking leave
)

// A conn is a session's data channel.
type conn struct {
	to    Target
	kinds []string // of sessions that it agrees to
	again func(ctx context.Context) (url, token string, err error)
	end   func(ctx context.Context)

	life context.Context // ends when the session does, or is closed
	stop context.CancelFunc
	work sync.WaitGroup

	out *datachannel.Sender

	mu       sync.Mutex
	changed  *sync.Cond
	ready    bool  // the agent has connected to the port
	expected int64 // sequence number of the next message in
	early    map[int64]datachannel.Message
	held     []byte // what was not read yet
	err      error  // why it ended
	closed   bool
}

func newConn(to Target, again func(context.Context) (string, string, error), end func(context.Context)) *conn {
	c := &conn{to: to, kinds: []string{"Port"}, again: again, end: end, out: datachannel.NewSender(datachannel.Input), early: map[int64]datachannel.Message{}}
	c.life, c.stop = context.WithCancel(context.Background())
	c.changed = sync.NewCond(&c.mu)
	return c
}

// begin joins the data channel, and returns when the agent has connected.
func (c *conn) begin(ctx context.Context, url, token string) error {
	ws, err := join(ctx, url, token)
	if err != nil {
		return err
	}
	c.out.Attach(ws)
	c.work.Go(func() { c.serve(ws) })
	defer context.AfterFunc(ctx, func() { c.fail(context.Cause(ctx)) })()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.ready && c.err == nil {
		c.changed.Wait()
	}
	return c.err
}

// join opens a WebSocket and shows the token.
func join(ctx context.Context, url, token string) (*websocket.Conn, error) {
	config, err := websocket.NewConfig(url, "http://localhost/")
	if err != nil {
		return nil, errors.New("the session's address is malformed") // not err: it has the address in it
	}
	ws, err := config.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	ws.PayloadType = websocket.BinaryFrame
	err = websocket.JSON.Send(ws, datachannel.Opening{MessageSchemaVersion: "1.0", RequestId: uuid(), TokenValue: token, ClientId: uuid(), ClientVersion: version})
	if err != nil {
		ws.Close()
		return nil, err
	}
	return ws, nil
}

// version is the plugin's whose protocol this is.
const version = "1.2.650.0"

func uuid() string { return datachannel.New("", 0, 0, nil).UUID() }

// serve reads what the agent sends until the session ends. A WebSocket that
// breaks is replaced.
func (c *conn) serve(ws *websocket.Conn) {
	for {
		err := c.receive(ws)
		ws.Close()
		if c.life.Err() != nil {
			return
		}
		if ws, err = c.resume(err); err != nil {
			c.fail(err)
			return
		}
	}
}

// receive reads from one WebSocket until it breaks.
func (c *conn) receive(ws *websocket.Conn) error {
	defer context.AfterFunc(c.life, func() { ws.Close() })()
	for {
		var data []byte
		if err := websocket.Message.Receive(ws, &data); err != nil {
			return err
		}
		m, err := datachannel.Decode(data)
		if err != nil {
			return err
		}
		if err := c.take(m); err != nil {
			c.fail(err)
			return err
		}
	}
}

// resume joins the session anew, and sends what may have been lost.
func (c *conn) resume(cause error) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(c.life, resumeFor)
	defer cancel()
	for {
		url, token, err := c.again(ctx)
		if err == nil && token == "" {
			return nil, fmt.Errorf("the session on %s has ended: %w", c.to.Instance, cause)
		}
		var ws *websocket.Conn
		if err == nil {
			ws, err = join(ctx, url, token)
		}
		if err == nil {
			c.out.Attach(ws)
			return ws, nil
		}
		select {
		case <-time.After(resumePause):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (%w)", err, cause)
		}
	}
}

// take takes in a message. Its error ends the session.
func (c *conn) take(m datachannel.Message) error {
	switch m.Type {
	case datachannel.Acknowledge:
		var ack datachannel.Acknowledgement
		if err := json.Unmarshal(m.Payload, &ack); err != nil {
			return fmt.Errorf("reading an acknowledgement: %w", err)
		}
		c.out.Heard(ack.AcknowledgedMessageSequenceNumber)
	case datachannel.Pause, datachannel.Start:
		c.out.Pause(m.Type == datachannel.Pause)
	case datachannel.Closed:
		var closed struct{ Output string }
		_ = json.Unmarshal(m.Payload, &closed) // it is there to be shown
		if closed.Output != "" {
			return fmt.Errorf("the session on %s has ended: %s", c.to.Instance, closed.Output)
		}
		return io.EOF
	case datachannel.Output:
		return c.incoming(m)
	}
	return nil
}

// incoming puts output in order, and acknowledges it.
func (c *conn) incoming(m datachannel.Message) error {
	c.mu.Lock()
	keep := m.Sequence <= c.expected || len(c.early) < mostEarly
	if keep && m.Sequence >= c.expected {
		c.early[m.Sequence] = m
	}
	var due []datachannel.Message
	for next, ok := c.early[c.expected]; ok; next, ok = c.early[c.expected] {
		delete(c.early, c.expected)
		c.expected++
		due = append(due, next)
	}
	c.mu.Unlock()
	for _, next := range due {
		if err := c.obey(next); err != nil {
			return err
		}
	}
	if keep { // if not, the agent sends it again
		c.out.Ack(m)
	}
	return nil
}

// obey does what output says whose turn it is.
func (c *conn) obey(m datachannel.Message) error {
	switch m.PayloadType {
	case datachannel.HandshakeRequest:
		return c.handshake(m.Payload)
	case datachannel.HandshakeComplete:
		c.begun()
	case datachannel.Bytes:
		c.begun() // an old agent shakes no hands
		c.mu.Lock()
		defer c.mu.Unlock()
		for len(c.held) > mostHeld && c.err == nil {
			c.changed.Wait()
		}
		c.held = append(c.held, m.Payload...)
		c.changed.Broadcast()
	case datachannel.Flag:
		if len(m.Payload) != 4 {
			return errors.New("malformed flag on the data channel")
		}
		switch binary.BigEndian.Uint32(m.Payload) {
		case datachannel.Unreachable:
			return fmt.Errorf("nothing answers on port %d of %s yet", c.to.Port, c.to.Instance)
		case datachannel.Disconnected:
			return io.EOF
		}
	}
	return nil
}

func (c *conn) begun() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = true
	c.changed.Broadcast()
}

// handshake agrees to a session of the kind that was begun, and to nothing else.
func (c *conn) handshake(request []byte) error {
	var asked struct {
		RequestedClientActions []struct {
			ActionType       string
			ActionParameters struct{ SessionType string }
		}
	}
	if err := json.Unmarshal(request, &asked); err != nil {
		return fmt.Errorf("reading the agent's handshake: %w", err)
	}
	type result struct {
		ActionType   string
		ActionStatus int // 1: done, 3: not known
		ActionResult any
		Error        string
	}
	var answer struct {
		ClientVersion          string
		ProcessedClientActions []result
		Errors                 []string
	}
	answer.ClientVersion = version
	for _, a := range asked.RequestedClientActions {
		r := result{ActionType: a.ActionType, ActionStatus: 1}
		if a.ActionType != "SessionType" || !slices.Contains(c.kinds, a.ActionParameters.SessionType) {
			r.ActionStatus, r.Error = 3, "Unsupported action "+a.ActionType
			answer.Errors = append(answer.Errors, r.Error)
		}
		answer.ProcessedClientActions = append(answer.ProcessedClientActions, r)
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return c.out.Send(datachannel.HandshakeResponse, text)
}

// Write sends p to the port. It does not wait until it is there.
func (c *conn) Write(p []byte) (int, error) { return c.out.Write(p) }

// Read returns what the port has sent. It is io.EOF when the session has ended well.
func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.held) == 0 && c.err == nil {
		c.changed.Wait()
	}
	if len(c.held) == 0 {
		return 0, c.err
	}
	n := copy(p, c.held)
	if c.held = c.held[n:]; len(c.held) == 0 {
		c.held = nil
	}
	c.changed.Broadcast()
	return n, nil
}

// fail ends the session for a reason; the first counts.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.changed.Broadcast()
	c.mu.Unlock()
	c.stop()
	c.out.End(err)
}

// errClosed is what Read and Write return after Close.
var errClosed = errors.New("the session is closed")

// Close ends the session, here and at AWS.
func (c *conn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if !first {
		return nil
	}
	c.fail(errClosed)
	c.work.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	c.end(ctx)
	return nil
}
