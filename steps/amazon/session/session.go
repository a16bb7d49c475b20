// Package session reaches a port of an instance through Systems Manager's
// Session Manager: no open port, no public address, no plugin. A session is a
// net.Conn; it survives a WebSocket that breaks.
package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// document is AWS's own, for SSH: the session's bytes are those of the port.
const document = "AWS-StartSSHSession"

// A Target is a port of an instance.
type Target struct {
	Instance string
	Port     int
	Reason   string // for who looks at the account's sessions
}

// A NotConnectedError says that the instance's agent has not reported to
// Systems Manager, yet or any more.
type NotConnectedError struct {
	Instance string
	err      error
}

func (e *NotConnectedError) Error() string {
	return "its Systems Manager agent is not connected yet"
}

func (e *NotConnectedError) Unwrap() error { return e.err }

// Hint says what to do.
func (e *NotConnectedError) Hint() string {
	return "the image needs the SSM agent, the machine's instance profile the policy AmazonSSMManagedInstanceCore, and its subnet a way to the endpoints ssm and ssmmessages"
}

// Dial starts a session (ssm:StartSession) and joins its data channel. ctx
// bounds that alone; closing the connection ends the session
// (ssm:TerminateSession). Errors: *NotConnectedError.
func Dial(ctx context.Context, client *ssm.Client, to Target) (net.Conn, error) {
	in := &ssm.StartSessionInput{Target: &to.Instance, DocumentName: aws.String(document), Parameters: map[string][]string{"portNumber": {strconv.Itoa(to.Port)}}}
	if to.Reason != "" {
		in.Reason = &to.Reason
	}
	out, err := client.StartSession(ctx, in)
	if away, ok := errors.AsType[*types.TargetNotConnected](err); ok {
		return nil, &NotConnectedError{to.Instance, away}
	}
	if err != nil {
		return nil, fmt.Errorf("starting a session on %s: %w", to.Instance, err)
	}
	id := aws.ToString(out.SessionId)
	again := func(ctx context.Context) (url, token string, err error) {
		out, err := client.ResumeSession(ctx, &ssm.ResumeSessionInput{SessionId: &id})
		if err != nil {
			return "", "", fmt.Errorf("resuming session %s: %w", id, err)
		}
		return aws.ToString(out.StreamUrl), aws.ToString(out.TokenValue), nil
	}
	end := func(ctx context.Context) {
		_, _ = client.TerminateSession(ctx, &ssm.TerminateSessionInput{SessionId: &id}) // it ends by itself too, when nobody is there
	}
	c := newConn(to, again, end)
	if err := c.begin(ctx, aws.ToString(out.StreamUrl), aws.ToString(out.TokenValue)); err != nil {
		c.Close()
		return nil, fmt.Errorf("joining session %s on %s: %w", id, to.Instance, err)
	}
	return c, nil
}

// Addr is the address of a session's end: it has none of the network.
type Addr struct{}

// Network names the kind of address.
func (Addr) Network() string { return "session" }

func (Addr) String() string { return "0.0.0.0:0" } // known_hosts wants one that parses

// LocalAddr is there for net.Conn.
func (c *conn) LocalAddr() net.Addr { return Addr{} }

// RemoteAddr is there for net.Conn.
func (c *conn) RemoteAddr() net.Addr { return Addr{} }

// SetDeadline is there for net.Conn; a session has no deadlines.
func (c *conn) SetDeadline(time.Time) error { return errors.ErrUnsupported }

// SetReadDeadline is there for net.Conn.
func (c *conn) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

// SetWriteDeadline is there for net.Conn.
func (c *conn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }
