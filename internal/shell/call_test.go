package shell

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// call runs c with sh in place of /bin/sh. ahead is written before the head.
func call(t *testing.T, sh []string, c Call, ahead, input string, socket bool) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(sh[0], append(sh[1:len(sh):len(sh)], "-c", CallLoader)...)
	feed := ahead + c.Stream() + input
	if socket {
		cmd.Stdin = socketWith(t, feed)
	} else {
		cmd.Stdin = strings.NewReader(feed)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	mark, rest, ok := strings.Cut(out.String(), "\x1e\n")
	if !ok || !strings.HasPrefix(mark, CallMarkOut) || !strings.HasPrefix(errs.String(), CallMarkErr) {
		t.Fatalf("no marks: stdout %q, stderr %q", out.String(), errs.String())
	}
	return rest, errs.String()[len(CallMarkErr):], cmd.ProcessState.ExitCode()
}

// socketWith returns a socket that feed can be read from, as some SSH servers
// give their commands one for stdin.
func socketWith(t *testing.T, feed string) *os.File {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	go func() {
		_, _ = io.WriteString(ours, feed)
		ours.Close()
	}()
	t.Cleanup(func() { theirs.Close() })
	return theirs
}

func TestCallRunsFromAPipeAndFromASocket(t *testing.T) {
	long := strings.Repeat("x=0123456789\n", 30000)
	for name, sh := range shells(t) {
		for _, socket := range []bool{false, true} {
			for _, c := range []struct {
				call            Call
				ahead, in, want string
				code            int
			}{
				{Call{Script: "cat; echo after"}, "", "", "after\n", 0},
				{Call{Script: "cat <&3 2>/dev/null || echo closed\necho next"}, "", "", "closed\nnext\n", 0},
				{Call{Script: "false\necho not reached"}, "", "", "", 1},
				{Call{Script: "exit 7"}, "a password\n", "", "", 7},
				{Call{Script: long + "cat; echo big"}, "", "", "big\n", 0},
				{Call{Script: "printf %s \"$A\"; pwd", Env: map[string]string{"A": "it's\n$(x) \\ \n"}, Dir: "/tmp"}, "", "", "it's\n$(x) \\ \n/tmp\n", 0},
				{Call{Script: "true", Dir: "/no/such"}, "", "", "", 125},
				{Call{Argv: []string{"cat"}, Stdin: true}, "", "its input\n", "its input\n", 0},
				{Call{Argv: []string{"cat"}}, "", "nobody's\n", "", 0},
				{Call{Argv: []string{"printf", "<%s>", "a b", "", "'"}}, "", "", "<a b><><'>", 0},
			} {
				out, errs, code := call(t, sh, c.call, c.ahead, c.in, socket)
				if out != c.want || code != c.code {
					t.Errorf("%s, socket %v: %.60q: got %q, status %d (stderr %q), want %q, %d", name, socket, c.call.Script, out, code, errs, c.want, c.code)
				}
			}
		}
	}
}

func TestACallThatIsCutRunsNothing(t *testing.T) {
	whole := Call{Script: strings.Repeat("# filler\n", 10000) + "echo ran"}.Stream()
	short := Call{Script: "echo ran"}.Stream()
	for name, sh := range shells(t) {
		for _, feed := range []string{whole[:len(whole)-20], whole[:40000], short[:20], short[:3], ""} {
			cmd := exec.Command(sh[0], append(sh[1:len(sh):len(sh)], "-c", CallLoader)...)
			cmd.Stdin = strings.NewReader(feed)
			out, _ := cmd.Output()
			if code := cmd.ProcessState.ExitCode(); code == 0 || strings.Contains(string(out), "ran") {
				t.Errorf("%s: %d bytes of the stream: status %d, output %q", name, len(feed), code, out)
			}
		}
	}
}
