package session

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/websocket"

	"bake/internal/datachannel"
)

// client speaks as the session-manager-plugin does.
type client struct {
	t    *testing.T
	ws   *websocket.Conn
	sent int64
}

func join(t *testing.T, url, token string) *client {
	t.Helper()
	ws, err := websocket.Dial(url, "", "http://127.0.0.1/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	if err := websocket.JSON.Send(ws, map[string]string{"MessageSchemaVersion": "1.0", "RequestId": "r", "TokenValue": token, "ClientId": "c", "ClientVersion": "1.2.0.0"}); err != nil {
		t.Fatal(err)
	}
	return &client{t: t, ws: ws}
}

func (c *client) send(payloadType uint32, payload string) {
	c.t.Helper()
	if err := websocket.Message.Send(c.ws, datachannel.New(datachannel.Input, c.sent, payloadType, []byte(payload)).Encode()); err != nil {
		c.t.Fatal(err)
	}
	c.sent++
}

// next is the next message that is no acknowledgement.
func (c *client) next() (datachannel.Message, error) {
	for {
		var data []byte
		if err := websocket.Message.Receive(c.ws, &data); err != nil {
			return datachannel.Message{}, err
		}
		m, err := datachannel.Decode(data)
		if err != nil || m.Type != datachannel.Acknowledge {
			return m, err
		}
	}
}

func TestASessionRunsACommandOnTheClientsTerminal(t *testing.T) {
	s, err := Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	url, token := s.Open("s-1", "greet", func(_ context.Context, term Terminal) error {
		line, err := bufio.NewReader(term.Stdin).ReadString('\n')
		fmt.Fprintf(term.Stdout, "%dx%d %s", term.Cols, term.Rows, line)
		return err
	})
	c := join(t, url, token)
	m, err := c.next()
	if err != nil || m.PayloadType != datachannel.HandshakeRequest || !strings.Contains(string(m.Payload), `"InteractiveCommands"`) {
		t.Fatalf("%v %s", err, m.Payload)
	}
	c.send(datachannel.HandshakeResponse, `{"ClientVersion":"1.2.0.0","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1}]}`)
	if m, err = c.next(); err != nil || m.PayloadType != datachannel.HandshakeComplete {
		t.Fatalf("%v %+v", err, m)
	}
	c.send(datachannel.Size, `{"cols":80,"rows":24}`)
	c.send(datachannel.Bytes, "hello\n")
	var out strings.Builder
	for {
		m, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if m.Type == datachannel.Closed {
			var closed struct{ SessionId, MessageType string }
			if err := json.Unmarshal(m.Payload, &closed); err != nil || closed.SessionId != "s-1" || closed.MessageType != "channel_closed" {
				t.Errorf("%v %s", err, m.Payload)
			}
			break
		}
		out.Write(m.Payload)
	}
	if out.String() != "80x24 hello\n" {
		t.Errorf("the terminal showed %q", out.String())
	}
}

func TestNobodyGetsInWithoutTheToken(t *testing.T) {
	s, err := Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	url, _ := s.Open("s-1", "x", func(context.Context, Terminal) error { t.Error("it ran"); return nil })
	if m, err := join(t, url, "guess").next(); err == nil {
		t.Errorf("got %s", m.Payload)
	}
}
