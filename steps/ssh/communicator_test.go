package ssh

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"bake/builder"
	"bake/internal/sshtest"
)

// config returns how to reach s.
func config(s *sshtest.Server) Config {
	return Config{
		Hop:      Hop{Host: s.Host, Port: s.Port, User: "root", Auth: Auth{Keys: []Key{{File: s.KeyFile}}}, HostKeys: HostKeys{KnownHosts: []string{s.KnownHosts}}},
		Patience: 20 * time.Second,
	}
}

// connect connects for one test.
func connect(t testing.TB, c Config) *Communicator {
	t.Helper()
	if c.Log == nil {
		c.Log = t.Logf
	}
	m, err := Connect(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// output runs a script and returns what it writes to stdout.
func output(t testing.TB, m *Communicator, cmd builder.Command) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := m.Run(t.Context(), cmd); err != nil {
		t.Fatalf("%q: %v\n%s", cmd.Script, err, errs.String())
	}
	return out.String()
}

func TestAServerMayAllowOneSessionAtATime(t *testing.T) {
	for name, delay := range map[string]time.Duration{"near": 0, "far": 10 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			m := connect(t, config(sshtest.Start(t, sshtest.Options{Delay: delay, Config: []string{"MaxSessions 1"}})))
			for i := range 5 {
				if got := output(t, m, builder.Command{Script: "sleep 0.1; echo " + strings.Repeat("x", i)}); got != strings.Repeat("x", i)+"\n" {
					t.Errorf("command %d said %q", i, got)
				}
			}
		})
	}
}

func TestAHundredCommandsRunAtOnce(t *testing.T) {
	m := connect(t, config(sshtest.Start(t, sshtest.Options{})))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// Each waits for all others: only 100 sessions at once can end.
	output(t, m, builder.Command{Script: "mkdir -p /run/meet"})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			var out bytes.Buffer
			script := ": >/run/meet/$N\nwhile set -- /run/meet/*; [ $# -lt 100 ]; do sleep 1; done\necho $N"
			err := m.Run(ctx, builder.Command{Script: script, Env: map[string]string{"N": strings.Repeat("x", i+1)}, Stdout: &out})
			if err != nil || len(out.String()) != i+2 {
				t.Errorf("command %d: %v, %q", i, err, out.String())
			}
		})
	}
	wg.Wait()
}

func TestOutputOfTheLoginShellIsNotTheCommands(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Config: []string{"ForceCommand echo welcome; echo beware >&2; eval \"$SSH_ORIGINAL_COMMAND\""}})
	var out, errs bytes.Buffer
	err := connect(t, config(s)).Run(t.Context(), builder.Command{Script: "echo out; echo err >&2", Stdout: &out, Stderr: &errs})
	if err != nil || out.String() != "out\n" || errs.String() != "err\n" {
		t.Errorf("error %v, stdout %q, stderr %q", err, out.String(), errs.String())
	}
}

func TestALeftProcessDoesNotHoldTheCommand(t *testing.T) {
	m := connect(t, config(sshtest.Start(t, sshtest.Options{})))
	began := time.Now()
	if got := output(t, m, builder.Command{Script: "sleep 600 &\necho done"}); got != "done\n" {
		t.Errorf("got %q", got)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestATerminalOnRequest(t *testing.T) {
	m := connect(t, config(sshtest.Start(t, sshtest.Options{})))
	script := "[ -t 0 ] && [ -t 1 ] && echo terminal\n" + strings.Repeat("# longer than a line of a terminal may be\n", 300) + "printf '%s' \"$A\""
	got := output(t, m, builder.Command{Script: script, TTY: true, Env: map[string]string{"A": "a\x03b'c"}})
	if want := "terminal\r\na\x03b'c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	err := m.Run(t.Context(), builder.Command{Script: "exit 3", TTY: true})
	if exit, ok := errors.AsType[*builder.ExitError](err); !ok || exit.Code != 3 {
		t.Errorf("error %v, want exit status 3", err)
	}
}

func TestSudo(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Accounts: []sshtest.Account{
		{Name: "free", Password: "x", Sudo: "nopasswd"}, {Name: "asked", Password: "s3cret \\x", Sudo: "password"}, {Name: "none", Password: "x"}}})
	for _, tc := range []struct {
		name, user, password, as string
		want                     string // output, or
		err                      string // part of the error
	}{
		{"without a password", "free", "", "", "0 root\n", ""},
		{"with a password it does not ask for", "free", "unused", "", "0 root\n", ""},
		{"with a password", "asked", "s3cret \\x", "", "0 root\n", ""},
		{"with a wrong password", "asked", "wrong", "", "", "becoming user root: sudo does not accept the password"},
		{"a password is missing", "asked", "", "", "", "becoming user root: sudo: a password is required"},
		{"not allowed", "none", "x", "", "", "becoming user root:"},
		{"another user", "asked", "s3cret \\x", "nobody", "65534 nonexistent\n", ""},
		{"a group", "asked", "s3cret \\x", "asked:nogroup", "20002 asked\n", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := config(s)
			c.User, c.Become = tc.user, Become{User: "root", Password: tc.password}
			var out bytes.Buffer
			err := connect(t, c).Run(t.Context(), builder.Command{Script: "read x || echo $(id -u) ${HOME##*/}", User: tc.as, Stdout: &out})
			if tc.err != "" {
				if became, ok := errors.AsType[*BecomeError](err); !ok || !strings.Contains(err.Error(), tc.err) || became.Hint() == "" {
					t.Errorf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil || out.String() != tc.want {
				t.Errorf("error %v, got %q, want %q", err, out.String(), tc.want)
			}
		})
	}
}

func TestCancelWithSudoLeavesNoProcess(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{Accounts: []sshtest.Account{{Name: "free", Sudo: "nopasswd"}}})
	c := config(s)
	c.User, c.Become = "free", Become{User: "root"}
	m := connect(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := m.Run(ctx, builder.Command{Script: "trap '' HUP TERM INT\nsleep 4711 &\nsetsid sleep 4711 & wait"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if got := output(t, m, builder.Command{Script: "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null; echo; done | grep 'sleep 471[1]' || true"}); got != "" {
		t.Errorf("left: %s", got)
	}
}

func rootCommand(script string) builder.Command { return builder.Command{Script: script} }
