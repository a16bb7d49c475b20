// Package session speaks the agent's side of Session Manager's data channel:
// over it `aws ecs execute-command` reaches a container, and
// `aws ssm start-session` a port of an instance. It serves the
// session-manager-plugin, bake, and whoever speaks as they do. A client whose
// WebSocket breaks may resume its session: nothing is lost on the way.
package session

import (
	"context"
	"crypto/rand"
	"encoding/base64"
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

	"bake/internal/datachannel"
)

// A Terminal is what a session's command is joined to.
type Terminal struct {
	Stdin      io.Reader
	Stdout     io.Writer
	Rows, Cols uint16
}

// A Command runs until it ends or ctx does.
type Command func(ctx context.Context, t Terminal) error

// A Dial connects to what a session leads to.
type Dial func(ctx context.Context) (net.Conn, error)

// A Server answers sessions on a free port of loopback.
type Server struct {
	// Address is where it listens, "127.0.0.1:40000".
	Address string
	server  *http.Server
	ctx     context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]*channel
}

// Listen starts a server. It runs until Close.
func Listen(ctx context.Context) (*Server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{Address: l.Addr().String(), sessions: map[string]*channel{}}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	// Handshake lets everybody try: the token, not the origin, says who may.
	handler := websocket.Server{Handshake: func(*websocket.Config, *http.Request) error { return nil }, Handler: s.serve}
	s.server = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
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
	return s.open(&channel{id: id, kind: "InteractiveCommands", properties: map[string]string{"command": text}, run: runs(command)})
}

// OpenPort makes a session that is joined to what dial connects to: an
// instance's port. It returns its URL and the token that lets one in.
func (s *Server) OpenPort(id, port string, dial Dial) (url, token string) {
	return s.open(&channel{id: id, kind: "Port", properties: map[string]string{"portNumber": port}, run: forwards(dial)})
}

func (s *Server) open(c *channel) (url, token string) {
	c.init(s.ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[c.id] = c
	context.AfterFunc(c.ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sessions, c.id)
	})
	return s.admit(c)
}

// admit makes a token that lets one client in.
func (s *Server) admit(c *channel) (url, token string) {
	var b [48]byte
	_, _ = rand.Read(b[:]) // it cannot fail: crypto/rand
	c.token = base64.StdEncoding.EncodeToString(b[:])
	return "ws://" + s.Address + "/v1/data-channel/" + c.id + "?role=publish_subscribe", c.token
}

// Resume returns the URL and a new token of a session that has not ended; ok is
// false if it has.
func (s *Server) Resume(id string) (url, token string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.sessions[id]
	if !ok {
		return "", "", false
	}
	url, token = s.admit(c)
	return url, token, true
}

// End ends a session. One that has ended already is fine.
func (s *Server) End(id string) {
	s.mu.Lock()
	c := s.sessions[id]
	s.mu.Unlock()
	if c != nil {
		c.end()
	}
}

// Sessions are the ids of those that have not ended.
func (s *Server) Sessions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for id := range s.sessions {
		all = append(all, id)
	}
	return all
}

// Cut breaks the WebSockets of all sessions, as a network does.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.sessions {
		c.cut()
	}
}

// serve is one client's WebSocket.
func (s *Server) serve(ws *websocket.Conn) {
	s.work.Add(1)
	defer s.work.Done()
	defer context.AfterFunc(s.ctx, func() { ws.Close() })()
	ws.PayloadType = websocket.BinaryFrame
	id := ws.Request().URL.Path[strings.LastIndexByte(ws.Request().URL.Path, '/')+1:]
	c, err := s.join(ws, id)
	if err != nil {
		return
	}
	// Also of a session that ends while its client joins it again.
	defer context.AfterFunc(c.ctx, func() { ws.Close() })()
	first := c.attach(ws)
	defer c.detach(ws)
	if first {
		s.work.Go(c.live)
	}
	for {
		var data []byte
		if err := websocket.Message.Receive(ws, &data); err != nil {
			return
		}
		m, err := datachannel.Decode(data)
		if err != nil {
			return
		}
		c.take(m)
	}
}

// join reads what a client opens the channel with, and finds its session.
func (s *Server) join(ws *websocket.Conn, id string) (*channel, error) {
	var opening datachannel.Opening
	if err := websocket.JSON.Receive(ws, &opening); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.sessions[id]
	if !ok || c.token == "" || c.token != opening.TokenValue {
		return nil, errors.New("no such session, or another token")
	}
	c.token = "" // it lets in once
	return c, nil
}

// sizeWithin is how long a client has to tell its terminal's size.
const sizeWithin = time.Second

// runs joins a session to a command on the client's terminal.
func runs(command Command) func(c *channel) {
	return func(c *channel) {
		select {
		case <-c.sized:
		case <-time.After(sizeWithin):
		case <-c.ctx.Done():
			return
		}
		rows, cols := c.size()
		if err := command(c.ctx, Terminal{Stdin: c.input, Stdout: c, Rows: rows, Cols: cols}); err != nil && c.ctx.Err() == nil {
			fmt.Fprintf(c, "%v\r\n", err)
		}
	}
}

// forwards joins a session to a connection.
func forwards(dial Dial) func(c *channel) {
	return func(c *channel) {
		conn, err := dial(c.ctx)
		if err != nil {
			c.flag(datachannel.Unreachable)
			return
		}
		defer conn.Close()
		defer context.AfterFunc(c.ctx, func() { conn.Close() })()
		go func() {
			_, _ = io.Copy(conn, c.input)
			conn.Close()
		}()
		_, _ = io.Copy(c, conn)
	}
}
