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

func TestFarCommandsTakeOneRoundTripEach(t *testing.T) {
	const roundTrip, commands = 400 * time.Millisecond, 6
	s := sshtest.Start(t, sshtest.Options{Delay: roundTrip / 2})
	m := connect(t, config(s))
	output(t, m, rootCommand("sleep 1")) // meanwhile the next sessions are opened
	began := time.Now()
	for range commands {
		output(t, m, rootCommand("true"))
	}
	if d := time.Since(began); d > (commands+2)*roundTrip {
		t.Errorf("%d commands took %v: more than a round trip of %v each", commands, d, roundTrip)
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
