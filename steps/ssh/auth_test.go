package ssh

import (
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"bake/internal/sshtest"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// encrypted returns a key's text with a passphrase.
func encrypted(t *testing.T, text, passphrase string) string {
	t.Helper()
	raw, err := gossh.ParseRawPrivateKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKeyWithPassphrase(raw, "", []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

func TestLogins(t *testing.T) {
	var allowed strings.Builder
	keys := map[string]string{}
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		signer, text := sshtest.NewKey(t, kind)
		keys[kind] = text
		allowed.Write(gossh.MarshalAuthorizedKey(signer.PublicKey()))
	}
	authority, _ := sshtest.NewKey(t, "")
	allowed.WriteString("cert-authority " + string(gossh.MarshalAuthorizedKey(authority.PublicKey())))
	certified := certifiedKey(t, authority)
	s := sshtest.Start(t, sshtest.Options{Keys: allowed.String(), NoKey: true, Accounts: []sshtest.Account{{Name: "deploy", Password: "s3cret"}},
		Config: []string{"PubkeyAcceptedAlgorithms -ssh-rsa", "PasswordAuthentication yes", "KbdInteractiveAuthentication yes"}})
	typing := sshtest.Start(t, sshtest.Options{NoKey: true, Accounts: []sshtest.Account{{Name: "deploy", Password: "s3cret"}},
		Config: []string{"AuthenticationMethods keyboard-interactive", "KbdInteractiveAuthentication yes"}})
	_, stranger := sshtest.NewKey(t, "")
	secret := encrypted(t, keys["ed25519"], "open sesame")
	socket, empty := runAgent(t, keys["rsa"]), write(t, "empty", "")
	for _, tc := range []struct {
		name   string
		s      *sshtest.Server
		auth   Auth
		refuse string
	}{
		{"ed25519", s, Auth{Keys: []Key{{PEM: []byte(keys["ed25519"])}}}, ""},
		{"ECDSA", s, Auth{Keys: []Key{{PEM: []byte(keys["ecdsa"])}}}, ""},
		{"RSA with SHA-2", s, Auth{Keys: []Key{{PEM: []byte(keys["rsa"])}}}, ""},
		{"text without its last newline", s, Auth{Keys: []Key{{PEM: []byte(strings.TrimSpace(keys["ed25519"]))}}}, ""},
		{"passphrase", s, Auth{Keys: []Key{{PEM: []byte(secret), Passphrase: "open sesame"}}}, ""},
		{"passphrase of a key without", s, Auth{Keys: []Key{{PEM: []byte(keys["ed25519"]), Passphrase: "unused"}}}, ""},
		{"passphrase missing", s, Auth{Keys: []Key{{PEM: []byte(secret)}}}, "it is encrypted"},
		{"passphrase wrong", s, Auth{Keys: []Key{{PEM: []byte(secret), Passphrase: "x"}}}, "the passphrase is wrong"},
		{"public key", s, Auth{Keys: []Key{{PEM: gossh.MarshalAuthorizedKey(authority.PublicKey())}}}, "it is a public key"},
		{"PuTTY's key", s, Auth{Keys: []Key{{PEM: []byte("PuTTY-User-Key-File-3: ssh-ed25519\n")}}}, "it is in PuTTY's own format"},
		{"empty key", s, Auth{Keys: []Key{{File: empty}}}, "it is empty"},
		{"key with CRLF", s, Auth{Keys: []Key{{PEM: []byte(strings.ReplaceAll(keys["rsa"], "\n", "\r\n"))}}}, ""},
		{"nothing but an encrypted key", s, Auth{Keys: []Key{{File: write(t, "id", secret), Optional: true}}}, "id: it is encrypted)"},
		{"agent without keys", s, Auth{Agent: runAgent(t)}, "the SSH agent holds no keys"},
		{"certificate", s, Auth{Keys: []Key{{File: certified}}}, ""},
		{"agent", s, Auth{Agent: socket}, ""},
		{"agent beside a key that is not known", s, Auth{Keys: []Key{{PEM: []byte(stranger)}}, Agent: socket}, ""},
		{"no agent", s, Auth{Agent: "/no/such/socket"}, "asking the SSH agent"},
		{"password", s, Auth{Password: "s3cret"}, ""},
		{"password wrong", s, Auth{Password: "x"}, "it did not accept a password"},
		{"keyboard-interactive", typing, Auth{Password: "s3cret"}, ""},
		{"keyboard-interactive, asked", typing, Auth{Ask: func(q string, echo bool) (string, error) { return "s3cret", nil }}, ""},
		{"key not known", s, Auth{Keys: []Key{{PEM: []byte(stranger)}}}, "it did not accept ssh-ed25519 SHA256:"},
		{"nothing", s, Auth{}, "nothing was there to offer"},
		{"no such file", s, Auth{Keys: []Key{{File: "/no/such/key"}}}, "/no/such/key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := config(tc.s)
			c.User, c.Auth, c.Log = "deploy", tc.auth, t.Logf
			m, err := Connect(t.Context(), c)
			if tc.refuse != "" {
				if err == nil || !strings.Contains(err.Error(), tc.refuse) {
					t.Errorf("error %v, want %q", err, tc.refuse)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if got := output(t, m, rootCommand("id -un")); got != "deploy\n" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// certifiedKey returns the file of a key that only its certificate lets in.
func certifiedKey(t *testing.T, authority gossh.Signer) string {
	t.Helper()
	key, text := sshtest.NewKey(t, "")
	cert := &gossh.Certificate{Key: key.PublicKey(), CertType: gossh.UserCert, ValidPrincipals: []string{"deploy"}, ValidBefore: gossh.CertTimeInfinity,
		Permissions: gossh.Permissions{Extensions: map[string]string{"permit-pty": ""}}}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	path := write(t, "key", text)
	if err := os.WriteFile(path+"-cert.pub", gossh.MarshalAuthorizedKey(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runAgent runs an SSH agent that holds a key, and returns its socket.
func runAgent(t *testing.T, held ...string) string {
	t.Helper()
	keyring := agent.NewKeyring()
	for _, text := range held {
		raw, err := gossh.ParseRawPrivateKey([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := keyring.Add(agent.AddedKey{PrivateKey: raw}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = agent.ServeAgent(keyring, conn)
				conn.Close()
			}()
		}
	}()
	return path
}

func TestAMachineThatWantsAnotherUserNamesIt(t *testing.T) {
	said := `Please login as the user "ubuntu" rather than the user "root".`
	signer, text := sshtest.NewKey(t, "")
	forced := `command="echo '` + strings.ReplaceAll(said, `"`, `\"`) + `';echo;sleep 10;exit 142" ` + string(gossh.MarshalAuthorizedKey(signer.PublicKey()))
	s := sshtest.Start(t, sshtest.Options{Keys: forced, NoKey: true})
	c := config(s)
	c.Auth = Auth{Keys: []Key{{PEM: []byte(text)}}}
	began := time.Now()
	err := connect(t, c).Run(t.Context(), rootCommand("true"))
	wrong, ok := errors.AsType[*WrongUserError](err)
	if !ok || wrong.Right != "ubuntu" || !strings.Contains(wrong.Hint(), "user: ubuntu") {
		t.Errorf("after the login: %v", err)
	}
	if d := time.Since(began); d > 8*time.Second {
		t.Errorf("it took %v", d)
	}
	banner := write(t, "banner", strings.ReplaceAll(said, "ubuntu", "ec2-user")+"\n")
	s = sshtest.Start(t, sshtest.Options{NoKey: true, Config: []string{"Banner " + banner}})
	_, err = Connect(t.Context(), config(s))
	if wrong, ok := errors.AsType[*WrongUserError](err); !ok || wrong.Right != "ec2-user" {
		t.Errorf("before the login: %v", err)
	}
}

func TestALoginThatIsRefusedAtFirstIsTriedAgainOnAFreshMachine(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{NoKey: true})
	key, err := os.ReadFile(s.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.ParsePrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := config(s)
	if _, err := Connect(t.Context(), c); err == nil {
		t.Fatal("it was let in")
	} else if _, ok := errors.AsType[*AuthError](err); !ok {
		t.Fatalf("error %v", err)
	}
	c.Fresh = true
	var waits []string
	c.Log = func(format string, args ...any) {
		if waits = append(waits, format); len(waits) == 1 { // it has been refused once
			if err := os.WriteFile(filepath.Join(s.Dir, "authorized_keys"), gossh.MarshalAuthorizedKey(signer.PublicKey()), 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	connect(t, c)
}
