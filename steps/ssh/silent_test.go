package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bake/internal/sshtest"
)

// TestAServerThatTakesConnectionsAndIsSilentIsGivenUp: each handshake ends, is
// said to be what is waited for, and is tried again.
func TestAServerThatTakesConnectionsAndIsSilentIsGivenUp(t *testing.T) {
	_, key := sshtest.NewKey(t, "")
	synctest.Test(t, func(t *testing.T) {
		var said []string
		c := Config{Hop: Hop{Host: "silent", Auth: Auth{Keys: []Key{{PEM: []byte(key)}}}, HostKeys: HostKeys{Pinned: []string{"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"}}},
			Patience: time.Minute, Log: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }}
		c.Dial = func(context.Context) (net.Conn, error) {
			here, there := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, there) }()
			return here, nil
		}
		began := time.Now()
		_, err := Connect(t.Context(), c)
		gave, ok := errors.AsType[*ConnectError](err)
		if !ok || !errors.Is(err, errHandshakeTime) || gave.Tries < 2 {
			t.Errorf("error %v", err)
		}
		if d := time.Since(began); d < c.Patience || d > c.Patience+2*handshakeTime {
			t.Errorf("it took %v", d)
		}
		if len(said) == 0 || !strings.Contains(said[0], "it accepts connections, but does not answer") {
			t.Errorf("said %q", said)
		}
	})
}

// TestOnlyARefusedLoginIsFinal: of a machine that is not
// fresh, a login that is refused once is refused for good; whatever else fails
// may be the machine's start.
func TestOnlyARefusedLoginIsFinal(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	p, c := behind(t, s)
	tries := 0
	c.Log = t.Logf
	c.Dial = func(ctx context.Context) (net.Conn, error) {
		if tries++; tries < 3 {
			return nil, errors.New("not yet")
		}
		return net.Dial("tcp", p.Addr())
	}
	connect(t, c)
	if tries != 3 {
		t.Errorf("it was tried %d times", tries)
	}
	_, stranger := sshtest.NewKey(t, "")
	c.Auth, tries = Auth{Keys: []Key{{PEM: []byte(stranger)}}}, 3
	if _, err := Connect(t.Context(), c); err == nil || tries != 4 {
		t.Errorf("a key that is not known: %v after %d tries", err, tries-3)
	}
}

// TestACommandAfterALostConnectionGetsAnother: a broken connection ends what was under way, and
// the next command makes another.
func TestACommandAfterALostConnectionGetsAnother(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	p, c := behind(t, s)
	m := connect(t, c)
	before := p.Connections()
	p.Cut()
	for n := 0; ; n++ { // until it is noticed, a command is lost with it
		err := m.Run(t.Context(), rootCommand("true"))
		if err == nil {
			break
		}
		if _, lost := errors.AsType[*LostError](err); !lost || n == 3 {
			t.Fatal(err)
		}
	}
	if p.Connections() <= before {
		t.Errorf("%d connections, there were %d", p.Connections(), before)
	}
}
