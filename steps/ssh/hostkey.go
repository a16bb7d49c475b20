package ssh

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// HostKeys says how a machine proves that it is the one that is meant. There
// is no way to accept any key. What is set first wins: Pinned, Console,
// KnownHosts.
type HostKeys struct {
	// Pinned are public keys ("ssh-ed25519 AAAA...") or fingerprints ("SHA256:...").
	Pinned []string
	// Console takes the keys from the machine's console output
	// (Config.Console), where cloud-init writes them.
	Console bool
	// KnownHosts are files in the format of sshd(8), hashed names and
	// @cert-authority lines included; default: the user's and the system's.
	KnownHosts []string
	Alias      string // the name to look up instead of the host's
}

// HostKeyError says that a machine could not prove that it is the one that is
// meant. It is never tried again.
type HostKeyError struct {
	Addr    string
	Got     gossh.PublicKey // nil: it has no key of a kind that is known
	Changed bool            // another key is known for it
	Known   []string        // where the known keys stand, or they themselves
}

func (e *HostKeyError) Error() string {
	got := "its host key"
	if e.Got != nil {
		got = "its host key " + e.Got.Type() + " " + gossh.FingerprintSHA256(e.Got)
	}
	if e.Changed {
		return fmt.Sprintf("verifying %s: %s is not the one that is known (%s)", e.Addr, got, strings.Join(e.Known, ", "))
	}
	return fmt.Sprintf("verifying %s: %s is not known", e.Addr, got)
}

// Hint says what to do.
func (e *HostKeyError) Hint() string {
	host, port, _ := net.SplitHostPort(e.Addr)
	if e.Changed {
		return "if the machine was made anew, remove its old key (ssh-keygen -R " + knownhosts.Normalize(e.Addr) + ") and add the new one; if not, somebody may be listening in"
	}
	return fmt.Sprintf("check the fingerprint, then set host_key, or add the key to known_hosts: ssh-keyscan -p %s %s >> ~/.ssh/known_hosts", port, host)
}

// errNoConsoleKeys says that the console does not show host keys yet.
var errNoConsoleKeys = errors.New("the console output shows no host keys yet")

// verifier checks one machine's host key.
type verifier struct {
	callback   gossh.HostKeyCallback
	algorithms []string // that are asked for, so that the machine shows the key that is known
	addr       string   // to look up
	passed     bool
}

func (k HostKeys) verifier(ctx context.Context, addr string, console func(context.Context) (string, error)) (*verifier, error) {
	v := &verifier{addr: addr}
	if k.Alias != "" {
		_, port, _ := net.SplitHostPort(addr)
		v.addr = net.JoinHostPort(k.Alias, port)
	}
	var err error
	switch {
	case len(k.Pinned) > 0:
		err = v.pin(k.Pinned, addr)
	case k.Console:
		err = v.fromConsole(ctx, console, addr)
	default:
		err = v.fromFiles(k.KnownHosts, addr)
	}
	return v, err
}

// check is the callback of the SSH client.
func (v *verifier) check(_ string, remote net.Addr, key gossh.PublicKey) error {
	err := v.callback(v.addr, remote, key)
	v.passed = err == nil
	return err
}

func (v *verifier) pin(pinned []string, addr string) error {
	var keys []gossh.PublicKey
	var prints []string
	for _, p := range pinned {
		p = strings.TrimSpace(p)
		if strings.HasPrefix(p, "SHA256:") {
			prints = append(prints, p)
			continue
		}
		key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(p))
		if err != nil {
			return fmt.Errorf("reading the host key of %s: want \"ssh-ed25519 AAAA...\" or \"SHA256:...\": %w", addr, err)
		}
		keys = append(keys, key)
	}
	v.callback = func(_ string, _ net.Addr, got gossh.PublicKey) error {
		if slices.Contains(prints, gossh.FingerprintSHA256(got)) {
			return nil
		}
		known := slices.Clone(prints)
		for _, k := range keys {
			if bytes.Equal(k.Marshal(), got.Marshal()) {
				return nil
			}
			known = append(known, gossh.FingerprintSHA256(k))
		}
		return &HostKeyError{Addr: addr, Got: got, Changed: true, Known: known}
	}
	if len(prints) == 0 {
		v.algorithms = algorithmsOf(keys)
	}
	return nil
}

// fromConsole pins the keys that cloud-init writes to the console.
func (v *verifier) fromConsole(ctx context.Context, console func(context.Context) (string, error), addr string) error {
	if console == nil {
		return fmt.Errorf("verifying %s: nothing gives its console output", addr)
	}
	text, err := console(ctx)
	if err != nil {
		return fmt.Errorf("reading the console output of %s: %w", addr, err)
	}
	keys := ConsoleHostKeys(text)
	if len(keys) == 0 {
		return errNoConsoleKeys
	}
	return v.pin(keys, addr)
}

// ConsoleHostKeys finds the host keys in what a machine wrote to its console,
// between the lines that cloud-init and Amazon's images put around them. The
// last such block counts: it is that of the last boot.
func ConsoleHostKeys(text string) []string {
	var keys []string
	inside := false
	sc := bufio.NewScanner(strings.NewReader(text))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := sc.Text()
		switch {
		case strings.Contains(line, "-----BEGIN SSH HOST KEY KEYS-----"):
			keys, inside = nil, true
		case strings.Contains(line, "-----END SSH HOST KEY KEYS-----"):
			inside = false
		case inside:
			for _, kind := range []string{"ssh-ed25519 ", "ecdsa-sha2-", "ssh-rsa "} {
				if i := strings.Index(line, kind); i >= 0 {
					if key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(line[i:])); err == nil {
						keys = append(keys, strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key))))
					}
					break
				}
			}
		}
	}
	return keys
}

func (v *verifier) fromFiles(files []string, addr string) error {
	if len(files) == 0 {
		files = []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts"}
	}
	var present []string
	for _, f := range files {
		f = expandHome(f)
		if _, err := os.Stat(f); err == nil {
			present = append(present, f)
		}
	}
	check, err := knownhosts.New(present...)
	if err != nil {
		return fmt.Errorf("reading known hosts: %w", err)
	}
	v.callback = func(name string, remote net.Addr, key gossh.PublicKey) error {
		return explain(check(name, remote, key), addr, key)
	}
	v.algorithms, err = knownAlgorithms(check, present, v.addr)
	return err
}

// explain turns an error of package knownhosts into ours.
func explain(err error, addr string, got gossh.PublicKey) error {
	if err == nil {
		return nil
	}
	if revoked, ok := errors.AsType[*knownhosts.RevokedError](err); ok {
		return &fatalError{fmt.Errorf("verifying %s: its host key %s is revoked (%s:%d)", addr, gossh.FingerprintSHA256(got), revoked.Revoked.Filename, revoked.Revoked.Line)}
	}
	e := &HostKeyError{Addr: addr, Got: got}
	if key, ok := errors.AsType[*knownhosts.KeyError](err); ok {
		for _, w := range key.Want {
			e.Changed = true
			e.Known = append(e.Known, fmt.Sprintf("%s:%d", w.Filename, w.Line))
		}
		return e
	}
	return fmt.Errorf("%w: %w", e, err) // a certificate that is not valid
}

// knownAlgorithms returns the kinds of keys that the files have for addr: asked
// for others, the machine would show a key that cannot be checked.
func knownAlgorithms(check gossh.HostKeyCallback, files []string, addr string) ([]string, error) {
	var algorithms []string
	authority, err := hasAuthority(files, addr)
	if err != nil {
		return nil, err
	}
	if authority {
		algorithms = []string{gossh.CertAlgoED25519v01, gossh.CertAlgoECDSA256v01, gossh.CertAlgoECDSA384v01,
			gossh.CertAlgoECDSA521v01, gossh.CertAlgoRSASHA512v01, gossh.CertAlgoRSASHA256v01}
	}
	var keys []gossh.PublicKey
	if known, ok := errors.AsType[*knownhosts.KeyError](check(addr, &net.TCPAddr{IP: net.IPv4zero}, noKey{})); ok {
		for _, w := range known.Want {
			keys = append(keys, w.Key)
		}
	}
	return append(algorithms, algorithmsOf(keys)...), nil
}

// noKey is a key that no file knows: asked for it, a file says what it knows instead.
type noKey struct{}

func (noKey) Type() string                          { return "none" }
func (noKey) Marshal() []byte                       { return nil }
func (noKey) Verify([]byte, *gossh.Signature) error { return errors.New("no key") }

// algorithmsOf returns the signature algorithms of keys. Those of an RSA key
// are the ones with SHA-2.
func algorithmsOf(keys []gossh.PublicKey) []string {
	var all []string
	for _, k := range keys {
		algorithms := []string{k.Type()}
		if k.Type() == gossh.KeyAlgoRSA {
			algorithms = []string{gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256}
		}
		for _, a := range algorithms {
			if !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	return all
}

// hasAuthority reports whether a @cert-authority line is about addr.
func hasAuthority(files []string, addr string) (bool, error) {
	name := knownhosts.Normalize(addr)
	for _, f := range files {
		rest, err := os.ReadFile(f)
		if err != nil {
			return false, fmt.Errorf("reading known hosts: %w", err)
		}
		for len(rest) > 0 {
			var marker string
			var hosts []string
			marker, hosts, _, _, rest, err = gossh.ParseKnownHosts(rest)
			if err != nil {
				break // the end, or a line that knownhosts.New has complained about already
			}
			if marker == "cert-authority" && matches(hosts, name) {
				return true, nil
			}
		}
	}
	return false, nil
}

func matches(patterns []string, name string) bool {
	found := false
	for _, p := range patterns {
		negated := strings.HasPrefix(p, "!")
		p = strings.TrimPrefix(p, "!")
		// Brackets are letters here, not a class: "[host]:2222".
		p = strings.NewReplacer("[", `\[`, "]", `\]`).Replace(p)
		if ok, _ := path.Match(p, name); ok {
			if negated {
				return false
			}
			found = true
		}
	}
	return found
}
