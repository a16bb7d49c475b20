package ssh

import (
	"sync"

	gossh "golang.org/x/crypto/ssh"
)

// A session is one SSH session: it runs one command.
type session struct {
	conn    *conn
	ch      gossh.Channel
	started bool // conn.loader waits in it

	mu     sync.Mutex
	status *exitStatus
	exited chan struct{} // closed when status is known
	ended  chan struct{} // closed when the peer has closed the session
}

// exitStatus is how a command ended.
type exitStatus struct {
	code   int
	signal string
}

func newSession(c *conn, ch gossh.Channel, reqs <-chan *gossh.Request) *session {
	s := &session{conn: c, ch: ch, exited: make(chan struct{}), ended: make(chan struct{})}
	c.done.Go(func() { s.serve(reqs) })
	return s
}

// serve takes what the peer says about the command.
func (s *session) serve(reqs <-chan *gossh.Request) {
	defer close(s.ended)
	for r := range reqs {
		switch r.Type {
		case "exit-status":
			var m struct{ Status uint32 }
			if gossh.Unmarshal(r.Payload, &m) == nil {
				s.exit(exitStatus{code: int(m.Status)})
			}
		case "exit-signal":
			var m struct {
				Signal     string
				CoreDumped bool
				Error      string
				Lang       string
			}
			if gossh.Unmarshal(r.Payload, &m) == nil {
				s.exit(exitStatus{code: 128 + signalNumbers()[m.Signal], signal: m.Signal})
			}
		}
		if r.WantReply {
			_ = r.Reply(false, nil)
		}
	}
}

func (s *session) exit(st exitStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status == nil {
		s.status = &st
		close(s.exited)
	}
}

func (s *session) result() *exitStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// start asks for a command to be run. It does not wait for the answer: that
// would be a round trip. What runs says that it does (shell.CallLoader).
func (s *session) start(command string, tty bool) error {
	if s.conn.agent {
		if _, err := s.ch.SendRequest(agentRequest, false, nil); err != nil {
			return err
		}
	}
	if tty {
		// No echo and no line editing: the loader reads its input as it is,
		// and sets the terminal up for what it runs.
		modes := gossh.TerminalModes{gossh.ECHO: 0, gossh.ICANON: 0, gossh.ISIG: 0, gossh.IEXTEN: 0, gossh.ICRNL: 0, gossh.IXON: 0, gossh.OPOST: 0,
			gossh.TTY_OP_ISPEED: 115200, gossh.TTY_OP_OSPEED: 115200}
		if _, err := s.ch.SendRequest("pty-req", false, gossh.Marshal(ptyRequest(modes))); err != nil {
			return err
		}
	}
	_, err := s.ch.SendRequest("exec", false, gossh.Marshal(struct{ Command string }{command}))
	return err
}

type ptyMessage struct {
	Term          string
	Columns, Rows uint32
	Width, Height uint32
	Modes         string
}

func ptyRequest(modes gossh.TerminalModes) ptyMessage {
	var encoded []byte
	for k, v := range modes {
		encoded = append(encoded, gossh.Marshal(struct {
			Key byte
			Val uint32
		}{k, v})...)
	}
	return ptyMessage{Term: "xterm", Columns: 120, Rows: 40, Modes: string(append(encoded, 0))}
}

// over reports whether what was started in the session has ended.
func (s *session) over() bool {
	select {
	case <-s.exited:
		return true
	case <-s.ended:
		return true
	default:
		return s.conn.dead()
	}
}

// close gives the session up. What it runs is not told.
func (s *session) close() { _ = s.ch.Close() }

// signalNumbers are the signals of RFC 4254, 6.10, as POSIX and Linux number them.
func signalNumbers() map[string]int {
	return map[string]int{"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "ABRT": 6, "FPE": 8, "KILL": 9, "USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15}
}
