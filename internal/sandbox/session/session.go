// Package session speaks the data channel of Systems Manager's Session Manager,
// over which `aws ecs execute-command` reaches a container: messages over a
// WebSocket, to the session-manager-plugin and whoever speaks as it does.
package session

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/websocket"
)

// A Terminal is what a session's command is joined to.
type Terminal struct {
	Stdin      io.Reader
	Stdout     io.Writer
	Rows, Cols uint16
}

// A Command runs until it ends or ctx does.
type Command func(ctx context.Context, t Terminal) error

// A Server answers sessions on a free port of loopback.
type Server struct {
	// Address is where it listens, "127.0.0.1:40000".
	Address string
	server  *http.Server
	ctx     context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]waiting
}

// waiting is a session that nobody has joined yet. It can be joined once.
type waiting struct {
	token, text string
	command     Command
}

// Listen starts a server. It runs until Close.
func Listen(ctx context.Context) (*Server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{Address: l.Addr().String(), sessions: map[string]waiting{}}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	// Handshake lets everybody try: the token, not the origin, says who may.
	channel := websocket.Server{Handshake: func(*websocket.Config, *http.Request) error { return nil }, Handler: s.serve}
	s.server = &http.Server{Handler: channel, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	s.work.Go(func() { _ = s.server.Serve(l) }) // until Close
	return s, nil
}

// Close ends all sessions.
func (s *Server) Close() error {
	s.stop()
	err := s.server.Close()
	s.work.Wait()
	return err
}

// Open makes a session that runs command, whose text is for the client to show,
// when somebody joins it. It returns its URL and the token that lets one in.
func (s *Server) Open(id, text string, command Command) (url, token string) {
	var b [48]byte
	_, _ = rand.Read(b[:]) // it cannot fail: crypto/rand
	token = base64.StdEncoding.EncodeToString(b[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[id] = waiting{token, text, command}
	return "ws://" + s.Address + "/v1/data-channel/" + id + "?role=publish_subscribe", token
}

// serve is one client's session.
func (s *Server) serve(ws *websocket.Conn) {
	s.work.Add(1)
	defer s.work.Done()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { ws.Close() })
	ws.PayloadType = websocket.BinaryFrame
	id := ws.Request().URL.Path[strings.LastIndexByte(ws.Request().URL.Path, '/')+1:]
	w, err := s.join(ws, id)
	if err != nil {
		return
	}
	c := &channel{ws: ws, id: id}
	c.input, c.typed = io.Pipe()
	if c.handshake(w.text) != nil {
		return
	}
	sized := make(chan struct{})
	go func() {
		defer cancel()
		c.receive(sized)
	}()
	select {
	case <-sized:
	case <-time.After(sizeWithin):
	case <-ctx.Done():
		return
	}
	rows, cols := c.size()
	if err := w.command(ctx, Terminal{Stdin: c.input, Stdout: c, Rows: rows, Cols: cols}); err != nil && ctx.Err() == nil {
		fmt.Fprintf(c, "%v\r\n", err)
	}
	c.input.CloseWithError(io.EOF)
	c.closed()
}

// sizeWithin is how long a client has to tell its terminal's size.
const sizeWithin = time.Second

// join reads what a client opens the channel with, and finds its session.
func (s *Server) join(ws *websocket.Conn, id string) (waiting, error) {
	var opening struct {
		MessageSchemaVersion, RequestID, TokenValue, ClientID, ClientVersion string
	}
	if err := websocket.JSON.Receive(ws, &opening); err != nil {
		return waiting{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.sessions[id]
	if !ok || w.token != opening.TokenValue {
		return waiting{}, errors.New("no such session, or another token")
	}
	delete(s.sessions, id)
	return w, nil
}

// A channel is one client's, after it was let in.
type channel struct {
	ws    *websocket.Conn
	id    string
	input *io.PipeReader
	typed *io.PipeWriter

	mu         sync.Mutex
	sent       int64 // sequence number of the next message out
	rows, cols uint16
}

func (c *channel) size() (rows, cols uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rows, c.cols
}

// send sends output in order.
func (c *channel) send(payloadType uint32, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := newMessage(typeOutput, c.sent, payloadType, payload)
	if c.sent == 0 {
		m.Flags = 1 // the first of its stream
	}
	c.sent++
	return websocket.Message.Send(c.ws, m.encode())
}

// maxPayload is how much output one message carries.
const maxPayload = 1024

// Write sends what the command writes.
func (c *channel) Write(p []byte) (int, error) {
	for i := 0; i < len(p); i += maxPayload {
		if err := c.send(payloadOutput, p[i:min(i+maxPayload, len(p))]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// handshake asks the client to handle a command, and waits until it agrees.
func (c *channel) handshake(command string) error {
	began := time.Now()
	request, err := json.Marshal(map[string]any{"AgentVersion": "3.3.0.0", "RequestedClientActions": []any{map[string]any{
		"ActionType": "SessionType", "ActionParameters": map[string]any{"SessionType": "InteractiveCommands", "Properties": map[string]string{"command": command}}}}})
	if err == nil {
		err = c.send(payloadHandshakeRequest, request)
	}
	for err == nil {
		var m message
		if m, err = c.next(); err == nil && m.PayloadType == payloadHandshakeResponse {
			done, _ := json.Marshal(map[string]any{"HandshakeTimeToComplete": time.Since(began).Nanoseconds(), "CustomerMessage": ""}) // of numbers and text
			return c.send(payloadHandshakeComplete, done)
		}
	}
	return err
}

// next returns the next input, which it acknowledges.
func (c *channel) next() (message, error) {
	for {
		var data []byte
		if err := websocket.Message.Receive(c.ws, &data); err != nil {
			return message{}, err
		}
		m, err := decode(data)
		if err != nil {
			return m, err
		}
		if m.Type != typeInput {
			continue // an acknowledgement: the WebSocket loses nothing
		}
		ack, err := json.Marshal(map[string]any{"AcknowledgedMessageType": m.Type, "AcknowledgedMessageId": m.uuid(),
			"AcknowledgedMessageSequenceNumber": m.Sequence, "IsSequentialMessage": true})
		if err != nil {
			return m, err
		}
		c.mu.Lock()
		err = websocket.Message.Send(c.ws, newMessage(typeAcknowledge, 0, 0, ack).encode())
		c.mu.Unlock()
		return m, err
	}
}

// receive takes input until the client ends the session or is gone. It closes
// sized when the client has told how big its terminal is.
func (c *channel) receive(sized chan<- struct{}) {
	defer c.typed.Close()
	last := int64(-1)
	told := false
	for {
		m, err := c.next()
		if err != nil {
			return
		}
		if m.Sequence <= last {
			continue // sent again: the acknowledgement took long
		}
		last = m.Sequence
		switch m.PayloadType {
		case payloadOutput:
			if _, err := c.typed.Write(m.Payload); err != nil {
				return
			}
		case payloadSize:
			var size struct{ Cols, Rows uint16 }
			if json.Unmarshal(m.Payload, &size) != nil || told {
				continue
			}
			told = true
			c.mu.Lock()
			c.rows, c.cols = size.Rows, size.Cols
			c.mu.Unlock()
			close(sized)
		case payloadFlag:
			if len(m.Payload) == 4 && binary.BigEndian.Uint32(m.Payload) == flagTerminate {
				return
			}
		}
	}
}

// closed tells the client that the session is over.
func (c *channel) closed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := newMessage(typeClosed, c.sent, 0, nil)
	m.Payload, _ = json.Marshal(map[string]any{"MessageId": m.uuid(), "CreatedDate": time.Now().UTC().Format(time.RFC3339), "DestinationId": c.id,
		"SessionId": c.id, "MessageType": typeClosed, "SchemaVersion": 1, "Output": ""}) // of numbers and text
	_ = websocket.Message.Send(c.ws, m.encode()) // the client may be gone
}
