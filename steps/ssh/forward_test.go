package ssh

import (
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"bake/internal/need"
	"bake/internal/sshtest"
)

// TestForwardedKeysAreUsedOnTheMachineAndStayHere: OpenSSH's own ssh-add and
// ssh on the machine ask for them.
func TestForwardedKeysAreUsedOnTheMachineAndStayHere(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Accounts: []sshtest.Account{{Name: "free", Sudo: "nopasswd"}}})
	signer, text := sshtest.NewKey(t, "")
	file := write(t, "deploy", text)
	public := strings.Fields(string(gossh.MarshalAuthorizedKey(signer.PublicKey())))[1]
	list := need.Tool(t, "ssh-add") + " -L"
	for _, c := range []struct {
		name, user, become string
		forward            Forwarded
		want               bool
	}{
		{"nothing is forwarded unless asked for", "root", "", Forwarded{}, false},
		{"a key", "free", "", Forwarded{Keys: []Key{{File: file}}}, true},
		{"a key, for root by sudo", "free", "root", Forwarded{Keys: []Key{{File: file}}}, true},
		{"the agent's keys", "root", "", Forwarded{Agent: runAgent(t, text)}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(s)
			cfg.User, cfg.Become, cfg.Forward = c.user, Become{User: c.become}, c.forward
			got := output(t, connect(t, cfg), rootCommand(list+" 2>&1 || true; "+list+" 2>&1 || true")) // in a session opened ahead, and in another
			if strings.Contains(got, public) != c.want {
				t.Errorf("the machine sees %q", got)
			}
		})
	}
	cfg := config(s)
	cfg.Forward = Forwarded{Agent: runAgent(t, text)}
	m := connect(t, cfg)
	if got := output(t, m, rootCommand(need.Tool(t, "ssh-add")+" -D 2>&1 || true; "+list)); !strings.Contains(got, public) {
		t.Errorf("the machine has changed the agent: %q", got)
	}
}

func TestAKeyThatCannotBeForwardedIsToldAtOnce(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	for want, f := range map[string]Forwarded{"/no/such/key": {Keys: []Key{{File: "/no/such/key"}}}, "SSH_AUTH_SOCK is not set": {Agent: "env"}} {
		t.Setenv("SSH_AUTH_SOCK", "")
		c := config(s)
		c.Forward = f
		if _, err := Connect(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
