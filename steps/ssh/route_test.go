package ssh

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bake/internal/sshtest"
)

func TestAnyNumberOfJumpHosts(t *testing.T) {
	var hops []Hop
	var last *sshtest.Server
	for range 3 {
		last = sshtest.Start(t, sshtest.Options{})
		hops = append(hops, config(last).Hop)
	}
	c := config(last)
	c.Jumps = hops[:2]
	m := connect(t, c)
	if got := output(t, m, rootCommand("echo $SSH_CONNECTION")); !strings.HasSuffix(got, fmt.Sprintf(" %d\n", last.Port)) {
		t.Errorf("got %q", got)
	}
	// Each hop's key is verified.
	c.Jumps[0].HostKeys = HostKeys{Pinned: []string{"SHA256:other"}}
	if _, err := Connect(t.Context(), c); err == nil || !strings.Contains(err.Error(), c.Jumps[0].Addr()) {
		t.Errorf("a jump host with another key: %v", err)
	}
}

// socks runs a SOCKS5 proxy (RFC 1928, RFC 1929) for user "u" with password
// "p" and returns its address and how often it was used.
func socks(t *testing.T) (string, *int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	used := new(int)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			*used++
			go func() {
				defer c.Close()
				if err := serveSOCKS(c); err != nil {
					t.Logf("socks: %v", err)
				}
			}()
		}
	}()
	return l.Addr().String(), used
}

func serveSOCKS(c net.Conn) error {
	buf := make([]byte, 300)
	read := func(n int) []byte { _, _ = io.ReadFull(c, buf[:n]); return buf[:n] }
	read(int(read(2)[1])) // version, methods
	_, _ = c.Write([]byte{5, 2})
	user := string(read(int(read(2)[1])))
	password := string(read(int(read(1)[0])))
	if user != "u" || password != "p" {
		_, _ = c.Write([]byte{1, 1})
		return fmt.Errorf("user %q, password %q", user, password)
	}
	_, _ = c.Write([]byte{1, 0})
	request := read(4)
	host := ""
	switch request[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	}
	target, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(read(2))))))
	if err != nil {
		return err
	}
	defer target.Close()
	_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	go func() { _, _ = io.Copy(target, c); target.Close() }()
	_, _ = io.Copy(c, target)
	return nil
}

func TestThroughASOCKSProxy(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	address, used := socks(t)
	c := config(s)
	c.Proxy = "socks5://u:p@" + address
	m := connect(t, c)
	if output(t, m, rootCommand("true")); *used == 0 {
		t.Error("the proxy was not used")
	}
	c.Proxy = "http://u:topsecret@" + address
	if _, err := Connect(t.Context(), c); err == nil || strings.Contains(err.Error(), "topsecret") {
		t.Errorf("another kind of proxy: %v", err)
	}
}

// forwarder returns a shell command that connects its stdin and stdout to
// HOST PORT: the OpenSSH client through the server itself.
func forwarder(s *sshtest.Server, target string) string {
	return fmt.Sprintf("ssh -F none -i %s -o BatchMode=yes -o UserKnownHostsFile=%s -p %d -W %s root@%s", s.KeyFile, s.KnownHosts, s.Port, target, s.Host)
}

func TestThroughAProxyCommand(t *testing.T) {
	s, gate := sshtest.Start(t, sshtest.Options{}), sshtest.Start(t, sshtest.Options{})
	c := config(s)
	c.ProxyCommand = forwarder(gate, s.Addr())
	m := connect(t, c)
	if got := output(t, m, rootCommand("echo $SSH_CONNECTION")); !strings.HasSuffix(got, fmt.Sprintf(" %d\n", s.Port)) {
		t.Errorf("got %q", got)
	}
	c.ProxyCommand = "echo out of order >&2; exit 1"
	c.Patience = 1
	var said []string
	c.Log = func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	if _, err := Connect(t.Context(), c); err == nil {
		t.Error("a command that fails made a connection")
	}
}

func TestTheUsersSSHConfigIsHonoured(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Accounts: []sshtest.Account{{Name: "deploy"}}})
	gate := sshtest.Start(t, sshtest.Options{})
	dir := t.TempDir()
	text := fmt.Sprintf(`Include %[1]s/included
Host web-*
  HostName 127.0.0.1
  Port %[2]d
  User deploy
  IdentityFile /no/such/key
  IdentityFile %[3]s
  IdentitiesOnly yes
  UserKnownHostsFile %[1]s/known
  HostKeyAlias real-name
Host web-jump
  ProxyJump gate
Host web-command
  ProxyCommand %[4]s
Host *
  User nobody-else
`, dir, s.Port, s.KeyFile, forwarder(gate, "%h:%p"))
	included := fmt.Sprintf("Host gate\n  HostName 127.0.0.1\n  Port %d\n  User root\n  IdentityFile %s\n  UserKnownHostsFile %s\n", gate.Port, gate.KeyFile, gate.KnownHosts)
	known := strings.Replace(read(t, s.KnownHosts), "127.0.0.1", "real-name", 1)
	for name, content := range map[string]string{"config": text, "included": included, "known": known} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, host := range []string{"web-plain", "web-jump", "web-command"} {
		t.Run(host, func(t *testing.T) {
			m := connect(t, Config{Hop: Hop{Host: host}, UserConfig: filepath.Join(dir, "config"), Log: t.Logf})
			if got := output(t, m, rootCommand("id -un; echo $SSH_CONNECTION")); !strings.HasPrefix(got, "deploy\n") || !strings.HasSuffix(got, fmt.Sprintf(" %d\n", s.Port)) {
				t.Errorf("got %q", got)
			}
			if jumped := len(m.config.Jumps); (host == "web-jump") != (jumped == 1) {
				t.Errorf("%d jump hosts", jumped)
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParseHop(t *testing.T) {
	for _, tc := range []struct {
		text string
		want Hop
		ok   bool
	}{
		{"host", Hop{Host: "host"}, true},
		{"me@host:2222", Hop{Host: "host", User: "me", Port: 2222}, true},
		{"ssh://me@host:22", Hop{Host: "host", User: "me", Port: 22}, true},
		{"me@corp@host", Hop{Host: "host", User: "me@corp"}, true},
		{"[2001:db8::1]:22", Hop{Host: "2001:db8::1", Port: 22}, true},
		{"[2001:db8::1]", Hop{Host: "2001:db8::1"}, true},
		{"host:x", Hop{}, false},
		{"host:70000", Hop{}, false},
		{"", Hop{}, false},
	} {
		got, err := ParseHop(tc.text)
		if (err == nil) != tc.ok || tc.ok && (got.Host != tc.want.Host || got.User != tc.want.User || got.Port != tc.want.Port) {
			t.Errorf("%q: %+v, %v", tc.text, got, err)
		}
	}
}
