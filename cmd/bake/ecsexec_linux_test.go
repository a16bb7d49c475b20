package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"golang.org/x/sys/unix"

	"bake/internal/sandbox/sandboxtest"
)

// A terminal is one that a test sits at.
type terminal struct {
	*testing.T
	master *os.File
	seen   []byte
}

// newTerminal makes a terminal and returns its other side, for a process.
func newTerminal(t *testing.T, rows, cols uint16) (*terminal, *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return &terminal{T: t, master: master}, slave
}

func (t *terminal) types(text string) {
	t.Helper()
	if _, err := t.master.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// shows reads until a text is shown.
func (t *terminal) shows(text string) {
	t.Helper()
	buf := make([]byte, 4096)
	for {
		if i := bytes.Index(t.seen, []byte(text)); i >= 0 {
			t.seen = t.seen[i+len(text):]
			return
		}
		n, err := t.master.Read(buf)
		if t.seen = append(t.seen, buf[:n]...); err != nil {
			t.Fatalf("%q was not shown (%v):\n%s", text, err, t.seen)
		}
	}
}

// aTask is a task of a service that takes commands.
func (w *ecsWorld) aTask() string {
	w.Helper()
	w.write("api.yaml", strings.Replace(apiTemplate, "desired_count: 2", "desired_count: 1\n      execute_command: true", 1))
	w.write("task.yaml", apiTask+"taskRoleArn: task\n")
	_, err := iam.NewFromConfig(sandboxtest.Config(w.sandbox, "eu-west-1")).CreateRole(w.Context(), &iam.CreateRoleInput{RoleName: aws.String("task"), AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)})
	if err != nil {
		w.Fatal(err)
	}
	w.bake(0, "ecs", "clusters", "create", "prod")
	w.bake(0, "ecs", "deploy", "api.yaml", "--var", "image="+w.image("v1"), "-o", "plain")
	out, _ := w.bake(0, "ecs", "tasks", "--cluster", "prod", "--service", "api", "-o", "json")
	var tasks []struct{ ID string }
	if err := json.Unmarshal([]byte(out), &tasks); err != nil || len(tasks) != 1 {
		w.Fatalf("%v\n%s", err, out)
	}
	return tasks[0].ID
}

// inTask is a bake ecs exec that has not started.
func (w *ecsWorld) inTask(task string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.Context(), "bake", append([]string{"ecs", "exec", task, "--cluster", "prod"}, args...)...)
	cmd.Dir = w.dir
	cmd.Env = append(sandboxtest.Env(w.sandbox, "eu-west-1"), "BAKE_CACHE_DIR="+filepath.Join(w.dir, "cache"), "HOME="+w.dir, "TERM=xterm", "PATH="+os.Getenv("PATH"))
	return cmd
}

// TestExecRunsACommandInATaskAndExitsAsItDid needs no plugin and no terminal.
func TestExecRunsACommandInATaskAndExitsAsItDid(t *testing.T) {
	t.Parallel()
	w := newECSWorld(t)
	task := w.aTask()
	for _, c := range []struct {
		name, stdin, says string
		args              []string
		code              int
	}{
		{name: "several words", args: []string{"--", "echo", "a  b", "it's", "$HOME"}, says: "a  b it's $HOME\n"},
		{name: "one text, by a shell", args: []string{"--", "echo $LOG; echo err >&2; exit 5"}, says: "json\nerr\n", code: 5},
		{name: "a script on stdin", stdin: "for i in 1 2; do echo line $i; done\nfalse\n", says: "line 1\nline 2\n", code: 1},
		{name: "as it is", args: []string{"--direct", "--", "/bin/echo", "direct"}, says: "direct\n"},
		{name: "much", args: []string{"--", "seq 20000"}, says: numbered(20000)},
	} {
		cmd := w.inTask(task[:8], c.args...)
		var out, errs bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(c.stdin), &out, &errs
		err := cmd.Run()
		if out.String() != c.says || cmd.ProcessState.ExitCode() != c.code {
			t.Errorf("%s: exit code %d, want %d (%v); it says %.200q (%d bytes), want %.200q\n%s", c.name, cmd.ProcessState.ExitCode(), c.code, err, out.String(), out.Len(), c.says, errs.String())
		}
	}
	_, errs := w.bake(1, "ecs", "exec", "nothing", "--cluster", "prod", "--", "true")
	w.wants(errs, "cluster prod has no task nothing")
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}

// TestExecOpensAShellOnTheUsersTerminal types at a terminal of a certain size:
// Ctrl-C reaches the command in the container, and not bake.
func TestExecOpensAShellOnTheUsersTerminal(t *testing.T) {
	t.Parallel()
	w := newECSWorld(t)
	task := w.aTask()
	term, slave := newTerminal(t, 33, 101)
	cmd := w.inTask(task)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	term.types("busybox stty size; echo $LOG $TERM\n")
	term.shows("33 101\r\njson xterm\r\n")
	term.types("echo be\"\"gun; sleep 1000\n")
	term.shows("begun\r\n")
	term.types("\x03")
	term.types("echo st\"\"ill $?\n")
	term.shows("still 130\r\n")
	term.types("exit 4\n")
	_ = cmd.Wait() // the exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 4 {
		t.Errorf("exit code %d", code)
	}
}
