package session

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
)

func TestAMessageHasTheLayoutOfTheDataChannel(t *testing.T) {
	m := newMessage(typeOutput, 7, payloadOutput, []byte("hello"))
	data := m.encode()
	if len(data) != 125 || string(data[4:22]) != "output_stream_data" || data[3] != 116 || data[55] != 7 || data[115] != 1 || data[119] != 5 || string(data[120:]) != "hello" {
		t.Errorf("%x", data)
	}
	got, err := decode(data)
	if err != nil || got.Type != m.Type || got.Sequence != 7 || got.uuid() != m.uuid() || string(got.Payload) != "hello" {
		t.Errorf("%+v, %v", got, err)
	}
	data[121] ^= 1
	if _, err := decode(data); err == nil {
		t.Error("a payload that is not what its digest says was taken")
	}
}

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
	if err := websocket.Message.Send(c.ws, newMessage(typeInput, c.sent, payloadType, []byte(payload)).encode()); err != nil {
		c.t.Fatal(err)
	}
	c.sent++
}

// next is the next message that is no acknowledgement.
func (c *client) next() (message, error) {
	for {
		var data []byte
		if err := websocket.Message.Receive(c.ws, &data); err != nil {
			return message{}, err
		}
		m, err := decode(data)
		if err != nil || m.Type != typeAcknowledge {
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
	if err != nil || m.PayloadType != payloadHandshakeRequest || !strings.Contains(string(m.Payload), `"InteractiveCommands"`) {
		t.Fatalf("%v %s", err, m.Payload)
	}
	c.send(payloadHandshakeResponse, `{"ClientVersion":"1.2.0.0","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1}]}`)
	if m, err = c.next(); err != nil || m.PayloadType != payloadHandshakeComplete {
		t.Fatalf("%v %+v", err, m)
	}
	c.send(payloadSize, `{"cols":80,"rows":24}`)
	c.send(payloadOutput, "hello\n")
	var out strings.Builder
	for {
		m, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if m.Type == typeClosed {
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
