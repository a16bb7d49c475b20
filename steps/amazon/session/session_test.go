package session_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"bake/internal/sandbox"
	"bake/internal/sandbox/sandboxtest"
	agents "bake/internal/sandbox/ssm"
	"bake/internal/sshtest"
	"bake/steps/amazon/session"
	"bake/steps/ssh"

	"bake/builder"
)

const instance = "i-0123456789abcdef0"

// start starts a sandbox with one instance whose agent connects to address.
func start(t *testing.T, address string) (*sandbox.Sandbox, *ssm.Client, chan struct{}) {
	t.Helper()
	s := sandboxtest.Start(t)
	gone := make(chan struct{})
	s.Services.SSM.Agents = func(_, _, id string) (agents.Agent, bool) {
		dial := func(ctx context.Context, _ uint16) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
		return agents.Agent{Dial: dial, Gone: gone}, id == instance
	}
	return s, ssm.NewFromConfig(sandboxtest.Config(s, "us-east-1")), gone
}

// listen serves connections until the test ends.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

func dial(t *testing.T, client *ssm.Client) net.Conn {
	t.Helper()
	c, err := session.Dial(t.Context(), client, session.Target{Instance: instance, Port: 22, Reason: "a test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func active(t *testing.T, client *ssm.Client) []types.Session {
	t.Helper()
	out, err := client.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: types.SessionStateActive})
	if err != nil {
		t.Fatal(err)
	}
	return out.Sessions
}

func TestEveryByteArrivesOnceThoughTheWebSocketBreaks(t *testing.T) {
	s, client, _ := start(t, listen(t, echo))
	c := dial(t, client)
	if all := active(t, client); len(all) != 1 || *all[0].Target != instance || *all[0].Reason != "a test" {
		t.Errorf("sessions: %+v", all)
	}
	sent := make([]byte, 3<<20)
	_, _ = rand.Read(sent)
	go func() {
		for rest := sent; len(rest) > 0; rest = rest[min(100<<10, len(rest)):] {
			if _, err := c.Write(rest[:min(100<<10, len(rest))]); err != nil {
				t.Errorf("writing: %v", err)
				return
			}
		}
	}()
	got := make([]byte, len(sent))
	for n, cuts := 0, 0; n < len(got); {
		k, err := c.Read(got[n:])
		if err != nil {
			t.Fatalf("after %d bytes and %d cuts: %v", n, cuts, err)
		}
		if n += k; n > (cuts+1)*len(got)/4 {
			cuts++
			s.Services.SSM.Cut()
		}
	}
	if !bytes.Equal(got, sent) {
		t.Error("what came back is not what was sent")
	}
	c.Close()
	if all := active(t, client); len(all) != 0 {
		t.Errorf("after Close: %+v", all)
	}
}

func TestASessionEndsWithItsInstance(t *testing.T) {
	_, client, gone := start(t, listen(t, echo))
	c := dial(t, client)
	close(gone)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("read something")
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("wrote something")
	}
}

func TestASessionThatWasTerminatedIsNotResumed(t *testing.T) {
	_, client, _ := start(t, listen(t, echo))
	c := dial(t, client)
	if _, err := client.TerminateSession(t.Context(), &ssm.TerminateSessionInput{SessionId: active(t, client)[0].SessionId}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("read something")
	}
}

func TestAnAgentThatIsNotThereYetIsAnErrorOfItsOwn(t *testing.T) {
	_, client, _ := start(t, "127.0.0.1:1")
	_, err := session.Dial(t.Context(), client, session.Target{Instance: "i-0fedcba9876543210", Port: 22})
	away, ok := errors.AsType[*session.NotConnectedError](err)
	if !ok || away.Hint() == "" {
		t.Errorf("an instance without an agent: %v", err)
	}
	c, err := session.Dial(t.Context(), client, session.Target{Instance: instance, Port: 22})
	if err == nil { // the agent shakes hands before it looks at the port
		_, err = c.Read(make([]byte, 1))
		c.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "nothing answers on port 22") {
		t.Errorf("a port that nobody listens on: %v", err)
	}
	if all := active(t, client); len(all) != 0 {
		t.Errorf("sessions are left: %+v", all)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	s, client, _ := start(t, listen(t, echo))
	ctx, cancel := context.WithCancel(t.Context())
	s.Services.SSM.Agents = func(string, string, string) (agents.Agent, bool) {
		hang := func(ctx context.Context, _ uint16) (net.Conn, error) {
			cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return agents.Agent{Dial: hang}, true
	}
	c, err := session.Dial(ctx, client, session.Target{Instance: instance, Port: 22})
	if err == nil {
		c.Close() // the agent had agreed before
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSSHGoesThroughASessionAndOutlivesItsWebSocket(t *testing.T) {
	server := sshtest.Start(t, sshtest.Options{})
	s, client, _ := start(t, server.Addr())
	m, err := ssh.Connect(t.Context(), ssh.Config{
		Hop: ssh.Hop{Host: server.Host, Port: server.Port, User: "root", Auth: ssh.Auth{Keys: []ssh.Key{{File: server.KeyFile}}}, HostKeys: ssh.HostKeys{KnownHosts: []string{server.KnownHosts}}},
		Dial: func(ctx context.Context) (net.Conn, error) {
			return session.Dial(ctx, client, session.Target{Instance: instance, Port: 22})
		},
		Patience: 30 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() {
		done <- m.Run(t.Context(), builder.Command{Script: "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done", Stdout: &out})
	}()
	for range 3 {
		time.Sleep(150 * time.Millisecond) // while it runs
		s.Services.SSM.Cut()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if out.String() != "1\n2\n3\n4\n5\n6\n7\n8\n" {
		t.Errorf("it said %q", out.String())
	}
}
