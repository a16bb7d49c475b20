package shell

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shells are the interpreters of the loader that this machine has: each
// stands in for /bin/sh.
func shells(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for name, words := range map[string][]string{"dash": {"dash"}, "bash": {"bash"}, "ash": {"busybox", "ash"}, "ksh": {"ksh"}} {
		if path, err := exec.LookPath(words[0]); err == nil {
			found[name] = append([]string{path}, words[1:]...)
		}
	}
	if len(found) == 0 {
		t.Fatal("no shell at all")
	}
	return found
}

// run runs a loader with sh in place of /bin/sh and returns what the command
// wrote, without the loader's line.
func run(t *testing.T, sh []string, l Loader, input string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(sh[0], append(sh[1:len(sh):len(sh)], l.Argv[1:]...)...)
	cmd.Stdin = strings.NewReader(l.Head + input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	first, rest, ok := strings.Cut(out.String(), "\n")
	if _, err := strconv.Atoi(first); err != nil || !ok {
		t.Fatalf("first line %q is no process id; stderr %q", first, errs.String())
	}
	return rest, errs.String(), cmd.ProcessState.ExitCode()
}

func TestScriptIsNotOnTheStdinOfWhatItRuns(t *testing.T) {
	for name, sh := range shells(t) {
		interpreter := append(sh[:len(sh):len(sh)], "-e")
		for _, c := range []struct{ script, want, code string }{
			{"cat; echo after", "after\n", "0"},
			{"read x || echo empty", "empty\n", "0"},
			{"cat <&3 2>/dev/null || echo closed\necho next", "closed\nnext\n", "0"},
			{"false\necho not reached", "", "1"},
			{"exit 7", "", "7"},
			{"#!/bin/sh\necho comment", "comment\n", "0"},
			{strings.Repeat("x=0123456789\n", 30000) + "echo big", "big\n", "0"},
		} {
			out, errs, code := run(t, sh, LoadScript(interpreter, nil), c.script)
			want := c.want
			if name == "ash" && strings.Contains(c.script, "<&3") {
				want = out // an interpreter called "busybox" is not known to be a shell: it keeps the descriptor
			}
			if out != want || fmt.Sprint(code) != c.code {
				t.Errorf("%s: %.40q: got %q, status %d (stderr %q), want %q, %s", name, c.script, out, code, errs, want, c.code)
			}
		}
	}
}

func TestEnvironmentTravelsWithoutBeingAnArgument(t *testing.T) {
	env := map[string]string{"A": "one", "SECRET": "it's\n$(echo two) \"three\" \\ \n", "bake_n": "4"}
	const show = `for p in /proc/$$/cmdline /proc/$PPID/cmdline; do tr '\0' ' ' <$p; done; printf '%s|' "$A" "$SECRET" "$bake_n"`
	want := "one|" + env["SECRET"] + "|4|"
	for name, sh := range shells(t) {
		out, errs, _ := run(t, sh, LoadScript(nil, env), show)
		if !strings.HasSuffix(out, want) || strings.Contains(strings.TrimSuffix(out, want), "three") {
			t.Errorf("%s: script: got %q, stderr %q", name, out, errs)
		}
		out, errs, _ = run(t, sh, LoadProgram([]string{"sh", "-c", `cat; printf '%s|' "$A" "$SECRET" "$bake_n"`}, env), "its input\n")
		if out != "its input\n"+want {
			t.Errorf("%s: program: got %q, stderr %q", name, out, errs)
		}
	}
}

func TestKillEndsTheWholeSession(t *testing.T) {
	for name, sh := range shells(t) {
		pids := filepath.Join(t.TempDir(), "pids")
		script := fmt.Sprintf("sleep 1000 & echo $! >>%[1]s\n(trap '' TERM HUP; sleep 1000 & echo $! >>%[1]s; wait) &\nsetsid sleep 1000 & echo $! >>%[1]s\necho ready\nwait\n", pids)
		l := LoadScript(nil, nil)
		cmd := exec.Command(sh[0], append(sh[1:len(sh):len(sh)], l.Argv[1:]...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Stdin = strings.NewReader(l.Head + script)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var pid int
		if _, err := fmt.Fscanf(out, "%d\nready\n", &pid); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		killer := Kill(pid)
		if msg, err := exec.Command(sh[0], append(sh[1:len(sh):len(sh)], killer[1:]...)...).CombinedOutput(); err != nil {
			t.Errorf("%s: kill: %v: %s", name, err, msg)
		}
		_ = cmd.Wait()
		list, _ := os.ReadFile(pids)
		for _, p := range strings.Fields(string(list)) {
			if alive(p) {
				t.Errorf("%s: process %s of %q is left", name, p, list)
			}
		}
	}
}

// alive reports whether a process runs. One that was killed may take a moment
// to become a zombie, or to be reaped by whoever adopted it.
func alive(pid string) bool {
	for range 200 {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return false
		}
		time.Sleep(5 * time.Millisecond)
	}
	return true
}
