package ssh

import (
	"bytes"
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

// A Key is a private key: ed25519, ECDSA or RSA (which signs with SHA-2).
type Key struct {
	Signer      gossh.Signer // the key itself, or
	PEM         []byte       // its text, or
	File        string       // the file that holds it
	Passphrase  string       // if it is encrypted
	Certificate string       // file of its certificate; default: FILE-cert.pub if there is one
	Optional    bool         // left out if File does not exist (defaults of ssh_config)
}

// signers returns a certificate and its key, or the key alone.
func (k Key) signers() ([]gossh.Signer, error) {
	signer, err := k.signer()
	if err != nil {
		return nil, err
	}
	path := k.Certificate
	if path == "" && k.File != "" {
		path = k.File + "-cert.pub"
		if _, err := os.Stat(path); err != nil {
			return []gossh.Signer{signer}, nil
		}
	}
	if path == "" {
		return []gossh.Signer{signer}, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading SSH certificate: %w", err)
	}
	public, _, _, _, err := gossh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, fmt.Errorf("reading SSH certificate %s: %w", path, err)
	}
	cert, ok := public.(*gossh.Certificate)
	if !ok {
		return nil, fmt.Errorf("reading SSH certificate %s: it is a plain key", path)
	}
	certified, err := gossh.NewCertSigner(cert, signer)
	if err != nil {
		return nil, fmt.Errorf("using SSH certificate %s: %w", path, err)
	}
	return []gossh.Signer{certified, signer}, nil
}

func (k Key) signer() (gossh.Signer, error) {
	if k.Signer != nil {
		return k.Signer, nil
	}
	text, name := k.PEM, "SSH key"
	if len(text) == 0 {
		var err error
		if text, err = os.ReadFile(k.File); err != nil {
			return nil, fmt.Errorf("reading SSH key: %w", err)
		}
		name = "SSH key " + k.File
	}
	text = append(bytes.TrimSpace(text), '\n') // a key from a variable often lost its last newline
	var signer gossh.Signer
	var err error
	if k.Passphrase != "" {
		signer, err = gossh.ParsePrivateKeyWithPassphrase(text, []byte(k.Passphrase))
		if err != nil && isPlain(text) {
			signer, err = gossh.ParsePrivateKey(text)
		}
	} else {
		signer, err = gossh.ParsePrivateKey(text)
	}
	if _, missing := errors.AsType[*gossh.PassphraseMissingError](err); missing {
		return nil, &PassphraseError{Key: name}
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return signer, nil
}

// isPlain reports whether a key needs no passphrase.
func isPlain(text []byte) bool {
	_, err := gossh.ParsePrivateKey(text)
	return err == nil
}

// PassphraseError says that a key is encrypted and no passphrase was given.
type PassphraseError struct{ Key string }

func (e *PassphraseError) Error() string { return "reading " + e.Key + ": it is encrypted" }

// Hint says what to do.
func (e *PassphraseError) Hint() string {
	return "give its passphrase, or load it into an agent with ssh-add and set agent: true"
}

// login is one attempt's view of Auth: what was offered, for the error when
// the machine refuses it.
type login struct {
	auth    Auth
	signers []gossh.Signer
	agent   net.Conn
	offered []string
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
			continue // as the OpenSSH client does: another key may do
		}
		if err != nil {
			return nil, err
		}
		l.signers = append(l.signers, signers...)
	}
	return l, nil
}

// methods returns the ways to log in, in the order they are tried.
func (l *login) methods() []gossh.AuthMethod {
	var methods []gossh.AuthMethod
	if len(l.signers) > 0 || l.auth.Agent != "" {
		methods = append(methods, gossh.PublicKeysCallback(l.publicKeys))
	}
	if l.auth.Password != "" {
		methods = append(methods, gossh.PasswordCallback(func() (string, error) {
			l.offered = append(l.offered, "a password")
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
	for _, s := range signers {
		l.offered = append(l.offered, s.PublicKey().Type()+" "+gossh.FingerprintSHA256(s.PublicKey()))
	}
	return signers, nil
}

func (l *login) agentKeys() ([]gossh.Signer, error) {
	socket := l.auth.Agent
	if socket == "env" {
		if socket = os.Getenv("SSH_AUTH_SOCK"); socket == "" {
			return nil, errors.New("asking the SSH agent: SSH_AUTH_SOCK is not set")
		}
	}
	conn, err := net.Dial("unix", expandHome(socket))
	if err != nil {
		return nil, fmt.Errorf("asking the SSH agent: %w", err)
	}
	l.agent = conn // it signs until the login is over
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		return nil, fmt.Errorf("asking the SSH agent %s for its keys: %w", socket, err)
	}
	return signers, nil
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
