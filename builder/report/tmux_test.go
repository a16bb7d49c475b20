package report

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"bake/internal/need"
)

// TestMain lets the test binary play a story to the terminal it is on: with
// BAKE_TEST_PLAY=FILE it shows the first half, waits until FILE (a named pipe) is
// written to, and shows the rest. To look at the view yourself:
//
//	go test -c -o /tmp/play ./builder/report && BAKE_TEST_PLAY=- /tmp/play
func TestMain(m *testing.M) {
	if gate := os.Getenv("BAKE_TEST_PLAY"); gate != "" {
		if err := play(gate); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func play(gate string) error {
	sink, err := New(Options{Mode: Text, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), Dir: ".bake/runs/20261121-223100-k3f9"})
	if err != nil {
		return err
	}
	s := tenBuilds()
	start, first := time.Now(), s.events[0].Time
	for i, e := range s.events {
		time.Sleep(e.Time.Sub(first) - time.Since(start)) // this plays a film
		if i == len(s.events)/2 && gate != "-" {
			if _, err := os.ReadFile(gate); err != nil {
				return err
			}
		}
		e.Time = start.Add(e.Time.Sub(first))
		sink.Emit(e)
	}
	return sink.Close()
}

// A tmux is a terminal that a test looks at.
type tmux struct {
	t      *testing.T
	path   string
	socket string
}

func startTmux(t *testing.T, width, height int, command string) *tmux {
	m := &tmux{t, need.Tool(t, "tmux"), filepath.Join(t.TempDir(), "tmux")}
	// The server's environment is that of its first command; the shell stays,
	// so that there is a screen to look at when the command is over.
	m.run("-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), command+"; echo exit $?; exec cat")
	t.Cleanup(func() { exec.Command(m.path, "-S", m.socket, "kill-server").Run() })
	return m
}

func (m *tmux) run(args ...string) string {
	m.t.Helper()
	cmd := exec.Command(m.path, append([]string{"-S", m.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TERM=xterm-256color")
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %s: %v: %s", args[0], err, out)
	}
	return string(out)
}

// until looks at the screen until ok says that it is as it should be.
func (m *tmux) until(what string, ok func(screen string) bool) string {
	m.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		screen := m.run("capture-pane", "-p")
		if ok(screen) {
			return screen
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%s: not within 30 s; the screen:\n%s", what, screen)
		}
		time.Sleep(20 * time.Millisecond) // between two looks
	}
}

func startPlayer(t *testing.T, width, height int, env string) (m *tmux, gate string) {
	mkfifo := need.Tool(t, "mkfifo")
	gate = filepath.Join(t.TempDir(), "gate")
	if out, err := exec.Command(mkfifo, gate).CombinedOutput(); err != nil {
		t.Fatalf("mkfifo: %v: %s", err, out)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startTmux(t, width, height, fmt.Sprintf("sh -c 'echo $$ >%s.pid; %s BAKE_TEST_PLAY=%s exec %s'", gate, env, gate, exe)), gate
}

var greenMark = regexp.MustCompile(`\x1b\[32m(\x1b\[[0-9;]*m)*✔`)

func TestTheLiveViewInARealTerminal(t *testing.T) {
	t.Parallel()
	m, gate := startPlayer(t, 110, 40, "")
	half := func(screen string) bool {
		return strings.Contains(screen, "image-9  ") && strings.Contains(screen, " 2s\n")
	}
	t.Logf("halfway:\n%s", m.until("half of the run", half))
	// tmux may say other attributes between the colour and the mark, as the
	// screen's last state asks for.
	if colours := m.run("capture-pane", "-p", "-e"); !greenMark.MatchString(colours) {
		t.Errorf("the view has no colours: %q", colours)
	}

	m.run("resize-window", "-x", "60", "-y", "24")
	narrow := m.until("the view in a narrow terminal", func(s string) bool {
		return strings.Count(s, "builds done") == 1 && strings.Count(s, "▸ image-9") == 1 && !strings.Contains(s, "(2.36-9+deb12u")
	})
	t.Logf("narrow:\n%s", narrow)
	if err := os.WriteFile(gate, []byte("go\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	end := m.until("the end", func(s string) bool { return strings.Contains(s, "exit 0") })
	if !strings.Contains(end, "bake resume 20261121-223100-k3f9") || !strings.Contains(end, "of 10 builds 9 done, 1 failed") {
		t.Errorf("the summary is not there:\n%s", end)
	}
	all := m.run("capture-pane", "-p", "-S", "-")
	t.Logf("all:\n%s", all)
	if n := strings.Count(all, "builds done,"); n != 0 {
		t.Errorf("%d live views are left in the history", n)
	}
	if n := strings.Count(all, "image-3  20/21 "); n != 1 {
		t.Errorf("a step that was done stands in the history %d times", n)
	}
}

func TestAKilledViewLeavesTheTerminalWhole(t *testing.T) {
	t.Parallel()
	m, gate := startPlayer(t, 80, 24, "NO_COLOR=1")
	m.until("the view", func(s string) bool { return strings.Contains(s, "builds done,") })
	if colours := m.run("capture-pane", "-p", "-e"); strings.Contains(colours, "\x1b") {
		t.Errorf("the view has colours, with NO_COLOR set: %q", colours)
	}
	pid, err := os.ReadFile(gate + ".pid")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("kill", "-9", strings.TrimSpace(string(pid))).CombinedOutput(); err != nil {
		t.Fatalf("kill: %v: %s", err, out)
	}
	m.until("the kill", func(s string) bool { return strings.Contains(s, "exit 137") })
	if got := strings.TrimSpace(m.run("display-message", "-p", "#{cursor_flag} #{wrap_flag} #{alternate_on}")); got != "1 1 0" {
		t.Errorf("cursor, wrap, alternate screen are %s, want 1 1 0", got)
	}
}
