package session

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"bake/internal/datachannel"
)

// A Started session is one that another call than StartSession has begun, as
// ECS's ExecuteCommand does: it leads to a terminal.
type Started struct {
	ID, URL, Token string
	Name           string // of where it leads, for errors
}

// A Terminal is the terminal of a command that runs somewhere else. Reading is
// io.EOF when the command has ended.
type Terminal struct{ *conn }

// Enter joins the data channel of a session to a terminal. ctx bounds that
// alone; closing it ends the session. If the WebSocket breaks, the session is
// resumed (ssm:ResumeSession).
func Enter(ctx context.Context, client *ssm.Client, s Started) (*Terminal, error) {
	again := func(ctx context.Context) (url, token string, err error) {
		out, err := client.ResumeSession(ctx, &ssm.ResumeSessionInput{SessionId: &s.ID})
		if err != nil {
			return "", "", fmt.Errorf("resuming session %s: %w", s.ID, err)
		}
		return aws.ToString(out.StreamUrl), aws.ToString(out.TokenValue), nil
	}
	c := newConn(Target{Instance: s.Name}, again, func(context.Context) {})
	c.kinds = []string{"Standard_Stream", "InteractiveCommands", "NonInteractiveCommands"}
	if err := c.begin(ctx, s.URL, s.Token); err != nil {
		c.Close()
		return nil, fmt.Errorf("joining session %s on %s: %w", s.ID, s.Name, err)
	}
	return &Terminal{c}, nil
}

// Resize tells the other side how big the terminal is.
func (t *Terminal) Resize(rows, cols int) error {
	size, err := json.Marshal(map[string]int{"cols": cols, "rows": rows})
	if err != nil {
		return err
	}
	return t.out.Send(datachannel.Size, size)
}

// Close ends the session, and with it the command.
func (t *Terminal) Close() error {
	if t.life.Err() == nil {
		_ = t.out.Send(datachannel.Flag, binary.BigEndian.AppendUint32(nil, datachannel.Terminate)) // else it ends when nobody is there for long
		t.out.Last(datachannel.New(datachannel.Acknowledge, 0, 0, []byte(`{"AcknowledgedMessageSequenceNumber":-1}`)))
	}
	return t.conn.Close()
}
