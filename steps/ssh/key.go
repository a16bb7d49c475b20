package ssh

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	gossh "golang.org/x/crypto/ssh"
)

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

// name is what the key is called in errors and questions.
func (k Key) name() string {
	if k.File == "" {
		return "SSH key"
	}
	return "SSH key " + k.File
}

func (k Key) signer() (gossh.Signer, error) {
	if k.Signer != nil {
		return k.Signer, nil
	}
	raw, err := k.raw()
	if err != nil {
		return nil, err
	}
	return gossh.NewSignerFromKey(raw)
}

// raw reads a key that stands in PEM or in File.
func (k Key) raw() (any, error) {
	text := k.PEM
	if len(text) == 0 {
		var err error
		if text, err = os.ReadFile(k.File); err != nil {
			return nil, fmt.Errorf("reading SSH key: %w", err)
		}
	}
	text = append(bytes.TrimSpace(text), '\n') // a key from a variable often lost its last newline
	var raw any
	var err error
	if k.Passphrase != "" {
		raw, err = gossh.ParseRawPrivateKeyWithPassphrase(text, []byte(k.Passphrase))
		if err != nil && isPlain(text) {
			raw, err = gossh.ParseRawPrivateKey(text)
		}
	} else {
		raw, err = gossh.ParseRawPrivateKey(text)
	}
	if err == nil {
		return raw, nil
	}
	if _, missing := errors.AsType[*gossh.PassphraseMissingError](err); missing {
		return nil, &PassphraseError{Key: k.name()}
	}
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, &PassphraseError{Key: k.name(), Wrong: true}
	}
	return nil, &KeyError{Key: k.name(), file: k.File, is: kindOf(text), err: err}
}

// isPlain reports whether a key needs no passphrase.
func isPlain(text []byte) bool {
	_, err := gossh.ParsePrivateKey(text)
	return err == nil
}

// PassphraseError says that a key is encrypted and that no passphrase was
// given, or a wrong one.
type PassphraseError struct {
	Key   string
	Wrong bool
}

func (e *PassphraseError) Error() string {
	if e.Wrong {
		return "reading " + e.Key + ": the passphrase is wrong"
	}
	return "reading " + e.Key + ": it is encrypted"
}

// Hint says what to do.
func (e *PassphraseError) Hint() string {
	if e.Wrong {
		return "`ssh-keygen -y -f KEY` asks for it, and shows whether it is right"
	}
	return "give its passphrase, or load it into an agent with ssh-add and set agent: true"
}

// What is given instead of a private key.
const (
	somethingElse = iota
	publicKey
	puttyKey
	emptyKey
)

// kindOf tells what a text is that is no private key.
func kindOf(text []byte) int {
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return emptyKey
	case bytes.HasPrefix(text, []byte("PuTTY-User-Key-File-")):
		return puttyKey
	case bytes.Contains(text, []byte("PUBLIC KEY--")):
		return publicKey
	}
	if _, _, _, _, err := gossh.ParseAuthorizedKey(text); err == nil {
		return publicKey
	}
	return somethingElse
}

// KeyError says that what was given as a private key is none.
type KeyError struct {
	Key  string
	file string
	is   int
	err  error
}

func (e *KeyError) Error() string {
	text := "reading " + e.Key + ": "
	switch e.is {
	case publicKey:
		return text + "it is a public key"
	case puttyKey:
		return text + "it is in PuTTY's own format"
	case emptyKey:
		return text + "it is empty"
	}
	return text + e.err.Error()
}

// Unwrap returns why it could not be read.
func (e *KeyError) Unwrap() error { return e.err }

// Hint says what to do.
func (e *KeyError) Hint() string {
	private, isPub := strings.CutSuffix(e.file, ".pub")
	switch {
	case e.is == publicKey && isPub:
		return "the private one stands beside it: " + private
	case e.is == puttyKey:
		file := e.file
		if file == "" {
			file = "KEY.ppk"
		}
		return fmt.Sprintf("convert it: puttygen %s -O private-openssh -o %s", file, strings.TrimSuffix(file, ".ppk"))
	case e.is == emptyKey && e.file == "":
		return "is the variable set?"
	}
	return "a private key begins with a line like -----BEGIN OPENSSH PRIVATE KEY-----"
}

// unlock asks for the passphrases of encrypted keys that came without one.
func (c *Config) unlock(ctx context.Context) error {
	if c.Passphrase == nil {
		return nil
	}
	hops := []*Hop{&c.Hop}
	for i := range c.Jumps {
		hops = append(hops, &c.Jumps[i])
	}
	for _, h := range hops {
		if err := h.Auth.unlock(ctx, c.Passphrase); err != nil {
			return err
		}
	}
	return nil
}

// unlock asks for what nothing else can take the place of: a key that the
// template names, or the user's own if there is no other way in.
func (a *Auth) unlock(ctx context.Context, ask func(context.Context, Key) (string, error)) error {
	keys := append([]Key(nil), a.Keys...)
	other := a.Agent != "" || a.Password != ""
	var locked []int
	for i, k := range keys {
		_, err := k.signer()
		other = other || err == nil
		if e, ok := errors.AsType[*PassphraseError](err); ok && !e.Wrong {
			locked = append(locked, i)
		}
	}
	for _, i := range locked {
		if keys[i].Optional && other {
			continue
		}
		var err error
		if keys[i].Passphrase, err = ask(ctx, keys[i]); err != nil {
			return err
		}
		other = true
	}
	a.Keys = keys
	return nil
}

// exposed returns the files of keys that other users of this machine can read.
func (a Auth) exposed() []string {
	var files []string
	for _, k := range a.Keys {
		if info, err := os.Stat(k.File); k.File != "" && err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			files = append(files, k.File)
		}
	}
	return files
}
