package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAFailureIsAskedAboutOnTheTerminal answers the question of --on-error ask
// twice. While it stands there nothing else is drawn: the view of the run, which
// counts the seconds, would write over it.
func TestAFailureIsAskedAboutOnTheTerminal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	template := "name: web\nsource: {scratch: true}\nsteps:\n  - local: exit 3\noutputs:\n  - archive: web.tar\n"
	if err := os.WriteFile(filepath.Join(dir, "bake.yaml"), []byte(template), 0o600); err != nil {
		t.Fatal(err)
	}
	term, slave := newTerminal(t, 33, 101)
	cmd := exec.CommandContext(t.Context(), "bake", "bake.yaml", "--engine", "embedded", "--on-error", "ask")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "BAKE_CACHE_DIR="+filepath.Join(dir, "cache"), "TERM=xterm", "CI=")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	const question = "[r]etry the failed step? "
	term.shows(question)
	if drawn := term.hears(2500 * time.Millisecond); drawn != "" {
		t.Errorf("while the question stands there, %q is drawn", drawn)
	}
	term.types("retry\n")
	term.shows(question)
	term.types("clean\n")
	term.shows("of 1 build 1 failed")
	_ = cmd.Wait() // the exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
}

// hears reads what is shown within a time.
func (t *terminal) hears(within time.Duration) string {
	t.Helper()
	heard, buf := t.seen, make([]byte, 4096)
	for end := time.Now().Add(within); ; {
		left := time.Until(end)
		if left <= 0 {
			return string(heard)
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(t.master.Fd()), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
		if ready <= 0 {
			continue
		}
		n, err := t.master.Read(buf)
		if heard = append(heard, buf[:n]...); err != nil {
			t.Fatalf("after %q: %v", heard, err)
		}
	}
}
