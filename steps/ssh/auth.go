package ssh

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Auth is what a login can prove itself with. Everything that is set is
// offered: certificates and keys, the agent's keys, the password.
type Auth struct {
	Keys     []Key
	Agent    string // socket of an SSH agent; "env": that of $SSH_AUTH_SOCK
	Password string // also the answer to a keyboard-interactive question without echo
	// Ask answers other keyboard-interactive questions (a one-time code); it
	// may be nil.
	Ask func(question string, echo bool) (string, error)
}

// login is one attempt's view of Auth: what was offered, for the error when
// the machine refuses it.
type login struct {
	auth    Auth
	signers []gossh.Signer
	agent   net.Conn
	offered []string
	unable  []string // what might have been offered, and why it was not
}

// newLogin reads the keys. The agent is asked for its own on the way.
func newLogin(a Auth) (*login, error) {
	l := &login{auth: a}
	for _, k := range a.Keys {
		if k.Optional {
			if _, err := os.Stat(k.File); errors.Is(err, os.ErrNotExist) {
				continue
			}
		}
		signers, err := k.signers()
		if k.Optional && err != nil {
			l.unable = append(l.unable, strings.TrimPrefix(err.Error(), "reading "))
			continue // as the OpenSSH client does: another key may do
		}
		if err != nil {
			return nil, err
		}
		l.signers = append(l.signers, signers...)
	}
	return l, nil
}

// aPassword is what a password is called where it is told what was offered.
const aPassword = "a password"

// methods returns the ways to log in, in the order they are tried.
func (l *login) methods() []gossh.AuthMethod {
	var methods []gossh.AuthMethod
	if len(l.signers) > 0 || l.auth.Agent != "" {
		methods = append(methods, gossh.PublicKeysCallback(l.publicKeys))
	}
	if l.auth.Password != "" {
		methods = append(methods, gossh.PasswordCallback(func() (string, error) {
			l.offered = append(l.offered, aPassword)
			return l.auth.Password, nil
		}))
	}
	if l.auth.Password != "" || l.auth.Ask != nil {
		methods = append(methods, gossh.KeyboardInteractive(l.answer))
	}
	return methods
}

func (l *login) publicKeys() ([]gossh.Signer, error) {
	signers := l.signers
	if l.auth.Agent != "" {
		held, err := l.agentKeys()
		if err != nil && len(signers) == 0 {
			return nil, &fatalError{err}
		}
		signers = append(signers[:len(signers):len(signers)], held...)
	}
	if l.auth.Agent != "" && l.agent != nil && len(signers) == 0 {
		l.unable = append(l.unable, "the SSH agent holds no keys")
	}
	for _, s := range signers {
		l.offered = append(l.offered, s.PublicKey().Type()+" "+gossh.FingerprintSHA256(s.PublicKey()))
	}
	return signers, nil
}

func (l *login) agentKeys() ([]gossh.Signer, error) {
	socket := l.auth.Agent
	if socket == "env" {
		if socket = os.Getenv("SSH_AUTH_SOCK"); socket == "" {
			return nil, &agentError{errors.New("SSH_AUTH_SOCK is not set")}
		}
	}
	conn, err := net.Dial("unix", expandHome(socket))
	if err != nil {
		return nil, &agentError{err}
	}
	l.agent = conn // it signs until the login is over
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		return nil, fmt.Errorf("asking the SSH agent %s for its keys: %w", socket, err)
	}
	return signers, nil
}

// agentError says that the SSH agent does not answer.
type agentError struct{ err error }

func (e *agentError) Error() string { return "asking the SSH agent: " + e.err.Error() }
func (e *agentError) Unwrap() error { return e.err }

// Hint says what to do.
func (e *agentError) Hint() string {
	return "start one (eval $(ssh-agent), then ssh-add), or name a private key in key:"
}

// answer answers what a server asks. A question that is not echoed is one for
// the password, unless that was the answer already.
func (l *login) answer(name, instruction string, questions []string, echos []bool) ([]string, error) {
	answers := make([]string, len(questions))
	for i, q := range questions {
		switch {
		case !echos[i] && l.auth.Password != "" && strings.Contains(strings.ToLower(q), "password"), l.auth.Ask == nil && !echos[i]:
			l.offered = append(l.offered, "the password, asked for as "+strings.TrimSpace(q))
			answers[i] = l.auth.Password
		case l.auth.Ask != nil:
			a, err := l.auth.Ask(q, echos[i])
			if err != nil {
				return nil, fmt.Errorf("answering %q: %w", q, err)
			}
			l.offered = append(l.offered, "an answer to "+strings.TrimSpace(q))
			answers[i] = a
		default:
			return nil, fmt.Errorf("the machine asks %q, and nothing is there to answer it", q)
		}
	}
	return answers, nil
}

func (l *login) close() {
	if l.agent != nil {
		l.agent.Close()
	}
}

// expandHome replaces a leading ~/ by the home directory.
func expandHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}
