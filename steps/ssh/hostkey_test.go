package ssh

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"bake/internal/sshtest"
)

func TestAServerThatChangesItsHostKeyIsRefused(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	m := connect(t, config(s))
	s.Down()
	s.ReplaceHostKey()
	s.Up()
	_, err := Connect(t.Context(), config(s))
	changed, ok := errors.AsType[*HostKeyError](err)
	if !ok || !changed.Changed || changed.Got == nil || !strings.Contains(changed.Hint(), "ssh-keygen -R") || !strings.Contains(err.Error(), "known_hosts:1") {
		t.Errorf("a new connection: %v", err)
	}
	if err := m.Run(t.Context(), rootCommand("true")); err == nil {
		t.Error("a connection that is made again accepted the new key")
	}
}

func TestHostKeys(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	_, other := sshtest.NewKey(t, "")
	stranger, err := gossh.ParsePrivateKey([]byte(other))
	if err != nil {
		t.Fatal(err)
	}
	line := func(addr string, key gossh.PublicKey) string { return knownhosts.Line([]string{addr}, key) }
	hashed := knownhosts.HashHostname(knownhosts.Normalize(s.Addr())) + " " + string(gossh.MarshalAuthorizedKey(s.HostKey))
	for _, tc := range []struct {
		name   string
		keys   HostKeys
		file   string // known_hosts
		refuse string // part of the error
	}{
		{"pinned key", HostKeys{Pinned: []string{string(gossh.MarshalAuthorizedKey(s.HostKey))}}, "", ""},
		{"pinned fingerprint", HostKeys{Pinned: []string{gossh.FingerprintSHA256(s.HostKey)}}, "", ""},
		{"another key pinned", HostKeys{Pinned: []string{string(gossh.MarshalAuthorizedKey(stranger.PublicKey()))}}, "", "is not the one that is known"},
		{"another fingerprint pinned", HostKeys{Pinned: []string{"SHA256:abc"}}, "", "is not the one that is known (SHA256:abc)"},
		{"no pin at all", HostKeys{Pinned: []string{"nonsense"}}, "", "reading the host key"},
		{"known", HostKeys{}, line(s.Addr(), s.HostKey), ""},
		{"known by a hashed name", HostKeys{}, hashed, ""},
		{"another is known by a hashed name", HostKeys{}, strings.Fields(hashed)[0] + " " + string(gossh.MarshalAuthorizedKey(stranger.PublicKey())), "is not the one that is known"},
		{"not known", HostKeys{}, line("elsewhere:22", s.HostKey), "is not known"},
		{"revoked", HostKeys{}, line(s.Addr(), s.HostKey) + "\n@revoked * " + string(gossh.MarshalAuthorizedKey(s.HostKey)), "revoked"},
		{"known by an alias", HostKeys{Alias: "web"}, line(fmt.Sprintf("[web]:%d", s.Port), s.HostKey), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "known_hosts")
			if err := os.WriteFile(file, []byte(tc.file+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			c := config(s)
			c.HostKeys = tc.keys
			c.HostKeys.KnownHosts = []string{file}
			m, err := Connect(t.Context(), c)
			if err == nil {
				m.Close()
			}
			if tc.refuse == "" && err != nil || tc.refuse != "" && (err == nil || !strings.Contains(err.Error(), tc.refuse)) {
				t.Errorf("error %v, want %q", err, tc.refuse)
			}
		})
	}
}

func TestTheKindOfKeyThatIsKnownIsAskedFor(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	// A second host key, of a kind that clients prefer less: only it is known.
	for _, kind := range []string{"ecdsa", "rsa"} {
		key, text := sshtest.NewKey(t, kind)
		path := filepath.Join(s.Dir, kind)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		two := sshtest.Start(t, sshtest.Options{Config: []string{"HostKey " + path}})
		c := config(two)
		c.HostKeys = HostKeys{Pinned: []string{string(gossh.MarshalAuthorizedKey(key.PublicKey()))}}
		connect(t, c)
		file := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(file, []byte(knownhosts.Line([]string{two.Addr()}, key.PublicKey())), 0o600); err != nil {
			t.Fatal(err)
		}
		c.HostKeys = HostKeys{KnownHosts: []string{file}}
		connect(t, c)
	}
}

func TestAHostCertificateOfAKnownAuthority(t *testing.T) {
	authority, _ := sshtest.NewKey(t, "")
	dir := t.TempDir()
	host, text := sshtest.NewKey(t, "")
	cert := &gossh.Certificate{Key: host.PublicKey(), CertType: gossh.HostCert, ValidPrincipals: []string{"127.0.0.1"}, ValidBefore: gossh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"key": text, "key-cert.pub": string(gossh.MarshalAuthorizedKey(cert))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := sshtest.Start(t, sshtest.Options{Config: []string{"HostKey " + dir + "/key", "HostCertificate " + dir + "/key-cert.pub"}})
	stranger, _ := sshtest.NewKey(t, "")
	for _, tc := range []struct {
		name string
		key  gossh.PublicKey
		host string
		ok   bool
	}{
		{"known", authority.PublicKey(), fmt.Sprintf("[127.0.0.1]:%d", s.Port), true},
		{"known for a pattern", authority.PublicKey(), fmt.Sprintf("[127.0.0.*]:%d", s.Port), true},
		{"another authority", stranger.PublicKey(), "*", false},
		{"for another host", authority.PublicKey(), "elsewhere", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "known_hosts")
			if err := os.WriteFile(file, []byte("@cert-authority "+tc.host+" "+string(gossh.MarshalAuthorizedKey(tc.key))), 0o600); err != nil {
				t.Fatal(err)
			}
			c := config(s)
			c.HostKeys = HostKeys{KnownHosts: []string{file}}
			m, err := Connect(t.Context(), c)
			if err == nil {
				m.Close()
			}
			if (err == nil) != tc.ok {
				t.Errorf("error %v, want success %v", err, tc.ok)
			}
		})
	}
}

func TestHostKeysFromTheConsole(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	stranger, _ := sshtest.NewKey(t, "")
	block := func(key gossh.PublicKey) string {
		return "[   21.0] cloud-init: \r\nci-info: x\r\n-----BEGIN SSH HOST KEY KEYS-----\r\n<14>May 1 00:00:00 ec2: " +
			strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key))) + " root@ip-10-0-0-1\r\n-----END SSH HOST KEY KEYS-----\r\nlogin:"
	}
	asked := 0
	c := config(s)
	c.HostKeys = HostKeys{Console: true}
	c.Console = func(context.Context) (string, error) {
		if asked++; asked < 3 {
			return "booting\n", nil
		}
		return block(stranger.PublicKey()) + block(s.HostKey), nil // the last boot counts
	}
	connect(t, c)
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	c.Console = func(context.Context) (string, error) { return block(s.HostKey) + block(stranger.PublicKey()), nil }
	if _, err := Connect(t.Context(), c); err == nil || !strings.Contains(err.Error(), "is not the one") {
		t.Errorf("another machine's console: %v", err)
	}
	c.Console = func(context.Context) (string, error) { return "line\nkernel panic", nil }
	c.Patience = time.Second
	_, err := Connect(t.Context(), c)
	if gave, ok := errors.AsType[*ConnectError](err); !ok || !strings.Contains(gave.Console, "kernel panic") || !strings.Contains(err.Error(), "kernel panic") {
		t.Errorf("giving up: %v", err)
	}
}
