package guest

import (
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
// carries: whoever has the image has them. It makes no RSA key: that takes
// longer than all the rest of a boot, and nobody needs one.
func (m *machine) hostKeys() error {
	found, err := filepath.Glob(keyFile("*"))
	if err != nil {
		return err
	}
	if m.fresh {
		for _, file := range found {
			if err := errors.Join(os.Remove(file), absent(os.Remove(file+".pub"))); err != nil {
				return err
			}
		}
		found = nil
	}
	if len(found) == 0 {
		if err := m.makeHostKeys("ed25519", "ecdsa"); err != nil {
			return err
		}
	}
	return m.showHostKeys()
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
