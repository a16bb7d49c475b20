package ssh

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"bake/builder"
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
	for name, delay := range map[string]time.Duration{"near": 0, "far": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			s := sshtest.Start(t, sshtest.Options{Delay: delay, Private: true, Config: []string{"PermitUserEnvironment yes"}})
			m := connect(t, config(s))
			for _, tc := range []struct{ change, look, want string }{
				{"mkdir -p .ssh; echo GREETING=hello >.ssh/environment", "echo $GREETING", "hello\n"},
				{"echo GREETING=again >.ssh/environment", "echo $GREETING", "again\n"},
				{"true", "echo $GREETING", "again\n"},
				{"rm -r $HOME; mkdir $HOME; echo x >$HOME/new", "cat new", "x\n"},
			} {
				output(t, m, rootCommand(tc.change))
				if got := output(t, m, rootCommand(tc.look)); got != tc.want {
					t.Errorf("after %q: %q, want %q", tc.change, got, tc.want)
				}
			}
		})
	}
}

// The login of the next command is made while this one runs: whatever it read
// before the change it must not keep.
func TestALoginThatWaitsMissesNoChangeMadeMeanwhile(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Private: true, Config: []string{"PermitUserEnvironment yes"}})
	m := connect(t, config(s))
	output(t, m, rootCommand("mkdir -p .ssh"))
	for i := range 60 {
		output(t, m, rootCommand(fmt.Sprintf("n=0; while [ $n -lt %d ]; do n=$((n+1)); done; echo COUNT=%d >.ssh/environment", i*200, i)))
		if got, want := output(t, m, rootCommand("echo $COUNT")), fmt.Sprintln(i); got != want {
			t.Fatalf("after change %d: %q", i, got)
		}
	}
}

// A command may end all shells of the login, also the one that waits for the
// next command.
func TestALoginThatWasEndedWhileItWaitedIsReplaced(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	m := connect(t, config(s))
	for range 10 {
		output(t, m, rootCommand(`for d in /proc/[0-9]*; do p=${d#/proc/}; [ $p = $$ ] || case $(tr '\0' ' ' <$d/cmdline 2>/dev/null) in "/bin/sh -c bake_r="*) kill -9 $p;; esac; done`))
		if got := output(t, m, rootCommand("echo ran")); got != "ran\n" {
			t.Fatalf("%q", got)
		}
	}
}

func TestInputIsWholeAfterALoginThatWasStale(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Private: true})
	m := connect(t, config(s))
	want := strings.Repeat("0123456789abcdef", 8<<10)
	for range 10 {
		output(t, m, rootCommand("touch /etc/passwd"))
		cat := builder.Command{Argv: []string{"cat"}, Stdin: strings.NewReader(want)}
		if got := output(t, m, cat); got != want {
			t.Fatalf("%d of %d bytes", len(got), len(want))
		}
		output(t, m, rootCommand("touch /etc/passwd"))
		if err := m.Put(t.Context(), "/tmp", each([]builder.File{{Path: "whole", Mode: 0o644, Size: int64(len(want)), Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(want)), nil }}})); err != nil {
			t.Fatal(err)
		}
		if got := output(t, m, rootCommand("cat /tmp/whole")); got != want {
			t.Fatalf("put %d of %d bytes", len(got), len(want))
		}
	}
}
