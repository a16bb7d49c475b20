package guest

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// sshDir is where the keys of the machine are.
const sshDir = "/etc/ssh"

// keyFile is where a host key of a kind ("ed25519") is.
func keyFile(kind string) string { return filepath.Join(sshDir, "ssh_host_"+kind+"_key") }

// hostKeys gives a new instance keys of its own, makes what is missing, and
// shows the keys on the console. Like cloud-init it removes what keys the image
// carries, unless it is told not to: whoever has the image has them. It makes
// no RSA key unless asked: that takes longer than all the rest of a boot.
func (m *machine) hostKeys() error {
	m.once("ssh_host_keys", m.replaceHostKeys)
	found, err := filepath.Glob(keyFile("*"))
	if err == nil && len(found) == 0 {
		err = m.makeHostKeys("ed25519", "ecdsa")
	}
	if err != nil {
		return err
	}
	return m.showHostKeys()
}

func (m *machine) replaceHostKeys() error {
	c := m.cloud.user.Config
	found, err := filepath.Glob(keyFile("*"))
	if err != nil {
		return err
	}
	if remove := cmp.Or(c.SSHDeleteKeys, m.cloud.image.SSHDeleteKeys); remove == nil || *remove {
		for _, file := range found {
			if err := errors.Join(os.Remove(file), absent(os.Remove(file+".pub"))); err != nil {
				return err
			}
		}
	}
	if len(c.SSHKeys) > 0 {
		return writeHostKeys(c.SSHKeys)
	}
	if len(c.SSHKeyTypes) > 0 {
		return m.makeHostKeys(c.SSHKeyTypes...)
	}
	return nil
}

// writeHostKeys writes the keys that user data brings, "KIND_private",
// "KIND_public" and "KIND_certificate", and the public half of those that lack it.
func writeHostKeys(keys map[string]string) error {
	for name, text := range keys {
		kind, half, ok := strings.Cut(name, "_")
		suffix, known := map[string]string{"private": "", "public": ".pub", "certificate": "-cert.pub"}[half]
		if !ok || !known {
			return fmt.Errorf("ssh_keys: %q is no kind of key", name)
		}
		text = strings.TrimSpace(text) + "\n"
		mode := os.FileMode(0o644)
		if half == "private" {
			mode = 0o600
		}
		if err := writeFile(keyFile(kind)+suffix, []byte(text), mode); err != nil {
			return err
		}
		if half != "private" || keys[kind+"_public"] != "" {
			continue
		}
		signer, err := ssh.ParsePrivateKey([]byte(text))
		if err != nil {
			return fmt.Errorf("ssh_keys: reading %s: %w", name, err)
		}
		if err := writeFile(keyFile(kind)+".pub", ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// absent is err, but for what says that a file is not there.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (m *machine) makeHostKeys(kinds ...string) error {
	for _, kind := range kinds {
		key, err := newKey(kind)
		if err != nil {
			return err
		}
		block, err := ssh.MarshalPrivateKey(key, "")
		if err != nil {
			return err
		}
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			return err
		}
		public := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))) + " root@" + m.Hostname + "\n"
		if err := writeFile(keyFile(kind), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
		if err := writeFile(keyFile(kind)+".pub", []byte(public), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func newKey(kind string) (crypto.PrivateKey, error) {
	switch kind {
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "ecdsa":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 3072)
	}
	return nil, fmt.Errorf("no host key of kind %q", kind)
}

// showHostKeys writes what cloud-init writes: clients read it there.
func (m *machine) showHostKeys() error {
	files, err := filepath.Glob(keyFile("*") + ".pub")
	if err != nil {
		return err
	}
	slices.Sort(files)
	var prints, keys strings.Builder
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		key, comment, _, _, err := ssh.ParseAuthorizedKey(data)
		if err != nil {
			return fmt.Errorf("reading %s: %w", f, err)
		}
		kind := strings.ToUpper(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "ssh_host_"), "_key.pub"))
		fmt.Fprintf(&prints, "ci-info: %s %s (%s)\r\n", ssh.FingerprintSHA256(key), comment, kind)
		fmt.Fprintf(&keys, "%s\r\n", strings.TrimSpace(string(data)))
	}
	_, err = fmt.Fprintf(m.console, "-----BEGIN SSH HOST KEY FINGERPRINTS-----\r\n%s-----END SSH HOST KEY FINGERPRINTS-----\r\n"+
		"-----BEGIN SSH HOST KEY KEYS-----\r\n%s-----END SSH HOST KEY KEYS-----\r\n", prints.String(), keys.String())
	return err
}

// signers reads the machine's host keys.
func signers() ([]ssh.Signer, error) {
	files, err := filepath.Glob(keyFile("*"))
	if err != nil {
		return nil, err
	}
	var all []ssh.Signer
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		key, err := ssh.ParsePrivateKey(data)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", f, err)
		}
		all = append(all, key)
	}
	return all, nil
}
