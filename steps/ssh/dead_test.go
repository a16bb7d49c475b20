package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"bake/internal/shell"
	"bake/internal/sshtest"
)

// behind returns how to reach s through a proxy.
func behind(t *testing.T, s *sshtest.Server) (*sshtest.Proxy, Config) {
	t.Helper()
	p := sshtest.NewProxy(t, s.Addr())
	c := config(s)
	c.Host, c.Port = p.Host, p.Port
	c.HostKeys = HostKeys{Pinned: []string{strings.TrimSpace(keyOf(s))}}
	return p, c
}

func TestABlackHoleEndsACommandWithinItsDeadline(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Delay: time.Millisecond})
	c := config(s)
	c.KeepAlive, c.DeadAfter, c.Patience = 500*time.Millisecond, 3*time.Second, 3*time.Second
	m := connect(t, c)
	done := make(chan error, 1)
	started := &signal{got: make(chan struct{})}
	go func() {
		cmd := rootCommand("echo started; sleep 1000")
		cmd.Stdout = started
		done <- m.Run(t.Context(), cmd)
	}()
	<-started.got
	s.Link.Lose(true)
	began := time.Now()
	err := <-done
	if lost, ok := errors.AsType[*LostError](err); !ok || lost.Err == nil {
		t.Errorf("error %v", err)
	} else if _, ok := errors.AsType[*DeadPeerError](err); !ok {
		t.Errorf("the cause is %v", lost.Err)
	}
	if d := time.Since(began); d > 8*time.Second {
		t.Errorf("it took %v", d)
	}
	// A new connection gives up, too.
	began = time.Now()
	err = m.Run(t.Context(), rootCommand("true"))
	if _, ok := errors.AsType[*ConnectError](err); !ok || time.Since(began) > 12*time.Second {
		t.Errorf("connecting to nothing: %v after %v", err, time.Since(began))
	}
	s.Link.Lose(false)
	output(t, m, rootCommand("true")) // and it is back
}

type signal struct {
	once sync.Once
	got  chan struct{}
}

func (s *signal) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.got) })
	return len(p), nil
}

func TestAHalfOpenConnectionNeverHangs(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	p, c := behind(t, s)
	c.KeepAlive, c.DeadAfter = 300*time.Millisecond, 2*time.Second
	m := connect(t, c)
	output(t, m, rootCommand("true"))
	p.Freeze(true)
	began := time.Now()
	// The proxy takes what is written, and answers nothing: also a cancelled command must end.
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := m.Run(ctx, rootCommand("sleep 1000")); err == nil {
		t.Error("no error")
	}
	if d := time.Since(began); d > 25*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestAnErrorWithoutExitStatusIsNotSuccess(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	p, c := behind(t, s)
	m := connect(t, c)
	started := &signal{got: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		cmd := rootCommand("echo started; sleep 1000")
		cmd.Stdout = started
		done <- m.Run(t.Context(), cmd)
	}()
	<-started.got
	p.Cut()
	if err := <-done; err == nil {
		t.Error("success")
	} else if _, ok := errors.AsType[*LostError](err); !ok {
		t.Errorf("error %v", err)
	}
	// A new connection is made as soon as it is noticed that the old one is
	// gone; until then a command is lost with it, and says so.
	err := m.Run(t.Context(), rootCommand("true"))
	for n := 0; n < 3 && err != nil; n++ {
		if _, ok := errors.AsType[*LostError](err); !ok {
			break
		}
		err = m.Run(t.Context(), rootCommand("true"))
	}
	if err != nil {
		t.Errorf("on a new connection: %v", err)
	}
	// The server's side of the session ends without a status.
	if err := m.Run(t.Context(), rootCommand("kill -9 $PPID; sleep 10")); err == nil {
		t.Error("success")
	}
}

// TestANameThatNobodyKnowsIsNotWaitedForAsLongAsAMachine: it is mistyped, but
// that of a machine which was started just now may come late.
func TestANameThatNobodyKnowsIsNotWaitedForAsLongAsAMachine(t *testing.T) {
	unknown := &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "wbe", IsNotFound: true}}
	for fresh, waits := range map[bool]bool{false: false, true: true} {
		m := &Communicator{config: Config{Hop: Hop{Host: "wbe", Port: 22}, Patience: 5 * time.Minute, Fresh: fresh, Log: t.Logf}}
		w := &waiting{m: m, began: time.Now().Add(-20 * time.Second), told: time.Now()}
		err := w.next(t.Context(), unknown)
		if gave, ok := errors.AsType[*ConnectError](err); ok == waits || ok && !strings.Contains(gave.Error(), "no such host") {
			t.Errorf("fresh %v: %v", fresh, err)
		}
	}
}

func TestConnectWaitsAndSaysForWhat(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	p, c := behind(t, s)
	p.Refuse(true)
	var mu sync.Mutex
	var said []string
	c.Log = func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		if said = append(said, fmt.Sprintf(format, args...)); len(said) == 1 {
			p.Refuse(false)
		}
	}
	connect(t, c)
	if !strings.Contains(said[0], "it closes the connection") || !strings.Contains(said[len(said)-1], "connected to") {
		t.Errorf("said %q", said)
	}
	s.Down()
	said, c.Patience = nil, 2*time.Second
	c.Host, c.Port = s.Host, s.Port
	c.Console = func(context.Context) (string, error) { return "Kernel panic - not syncing\n", nil }
	_, err := Connect(t.Context(), c)
	gave, ok := errors.AsType[*ConnectError](err)
	if !ok || gave.Tries < 3 || !strings.Contains(err.Error(), "Kernel panic") || gave.Hint() == "" {
		t.Errorf("giving up: %v", err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "connection refused") {
		t.Errorf("said %q", said)
	}
}

func TestAServerThatSaysNothingDoesNotOutlastThePatience(t *testing.T) {
	p, c := behind(t, sshtest.Start(t, sshtest.Options{}))
	p.Freeze(true)
	c.Patience = time.Second
	_, err := Connect(t.Context(), c)
	gave, ok := errors.AsType[*ConnectError](err)
	if !ok || !errors.Is(err, errHandshakeTime) || gave.Waited >= handshakeTime {
		t.Errorf("giving up: %v", err)
	}
}

func TestConnectCanBeCancelled(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	p, c := behind(t, s)
	p.Freeze(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	if _, err := Connect(ctx, c); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func keyOf(s *sshtest.Server) string { return string(gossh.MarshalAuthorizedKey(s.HostKey)) }

// The server tells how a command has ended before it has sent all output: if
// the connection breaks then, a transfer is not whole.
func TestOutputCutShortAfterTheStatusIsNotWhole(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	p, c := behind(t, s)
	m := connect(t, c)
	// What the command leaves behind goes on printing when its status was told.
	script := `me=$$; (while kill -0 $me; do sleep 0.01; done; while :; do echo more; sleep 0.1; done) 2>/dev/null & exit 0`
	for _, whole := range []bool{false, true} {
		began := &signal{got: make(chan struct{})}
		done := make(chan error, 1)
		go func() {
			done <- m.do(t.Context(), job{call: shell.Call{Script: script}, as: m.identity(""), stdout: began, whole: whole})
		}()
		select {
		case <-began.got:
		case err := <-done:
			t.Fatalf("it ended before the connection was cut: %v", err)
		}
		p.Cut()
		_, lost := errors.AsType[*LostError](<-done)
		if lost != whole {
			t.Errorf("whole %v: lost %v", whole, lost)
		}
		for !m.pool.idle() { // until it is noticed that the connection is gone
			time.Sleep(time.Millisecond)
		}
	}
}
