package ssh

import (
	"testing"
	"time"

	"bake/builder/buildertest"
	"bake/internal/sshtest"
)

func TestCommunicatorKeepsItsContractFarAway(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Delay: 10 * time.Millisecond})
	m := connect(t, config(s))
	output(t, m, rootCommand("mkdir -p /run/suite"))
	buildertest.Communicator(t, m, "/run/suite")
}

func TestAFarCommandTakesOneRoundTrip(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Delay: 200 * time.Millisecond})
	m := connect(t, config(s))
	output(t, m, rootCommand("sleep 1")) // meanwhile the next session is opened
	began := time.Now()
	output(t, m, rootCommand("true"))
	if d := time.Since(began); d > 700*time.Millisecond {
		t.Errorf("a command took %v: more than one round trip of 400 ms", d)
	}
}

func TestALoginThatWaitedSeesWhatHasChanged(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Delay: 20 * time.Millisecond, Private: true, Config: []string{"PermitUserEnvironment yes"}})
	m := connect(t, config(s))
	for _, tc := range []struct{ change, look, want string }{
		{"sleep 1; mkdir -p .ssh; echo GREETING=hello >.ssh/environment", "echo $GREETING", "hello\n"},
		{"sleep 1; echo GREETING=again >.ssh/environment", "echo $GREETING", "again\n"},
		{"sleep 1; true", "echo $GREETING", "again\n"},
		{"sleep 1; rm -r $HOME; mkdir $HOME; echo x >$HOME/new", "cat new", "x\n"},
	} {
		output(t, m, rootCommand(tc.change))
		if got := output(t, m, rootCommand(tc.look)); got != tc.want {
			t.Errorf("after %q: %q, want %q", tc.change, got, tc.want)
		}
	}
}
