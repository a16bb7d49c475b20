package builtin_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bake/internal/need"
	"bake/internal/shell"
)

func TestScriptsBehaveAsInDashWithBusybox(t *testing.T) {
	need.Root(t)
	dash, busybox := need.Tool(t, "dash"), need.Tool(t, "busybox")
	root := unpack(t)
	// The peer's utilities: links to busybox, and nothing else in PATH.
	bin := t.TempDir()
	if out, err := exec.Command(busybox, "--install", "-s", bin).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, script := range scripts() {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp(filepath.Join(root, "tmp"), "case")
			if err != nil {
				t.Fatal(err)
			}
			script = "umask 022\n" + script
			ours := command(t, root, "/bin/sh", "-c", script, "name", "one", "two words", "three")
			ours.Dir = "/tmp/" + filepath.Base(dir)
			peer := exec.CommandContext(t.Context(), dash, "-c", script, "name", "one", "two words", "three")
			peer.Dir = t.TempDir()
			peer.Env = []string{"PATH=" + bin, "HOME=/root"}
			got, want := run(t, ours, "in 1\nin 2\nin 3\n"), run(t, peer, "in 1\nin 2\nin 3\n")
			got.Stderr, want.Stderr = "", ""
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("-dash and busybox +built-in base\n%s", d)
			}
		})
	}
}

func TestScriptsBehaveAsWithTheToolsOfGNU(t *testing.T) {
	need.Root(t)
	root := unpack(t)
	for name, test := range gnu() {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp(filepath.Join(root, "tmp"), "case")
			if err != nil {
				t.Fatal(err)
			}
			cmd := command(t, root, "/bin/sh", "-c", "umask 022\n"+test[0])
			cmd.Dir = "/tmp/" + filepath.Base(dir)
			if got := run(t, cmd, ""); got.Stdout != test[1] {
				t.Errorf("got %q, want %q; stderr %q", got.Stdout, test[1], got.Stderr)
			}
		})
	}
}

func TestTarDoesNotFollowLinksOutOfItsDirectory(t *testing.T) {
	need.Root(t)
	root := unpack(t)
	got := in(t, root, "", "/bin/sh", "-c", `mkdir o t; ln -s /etc o/out; mkdir t/out; echo x > t/out/pwned; tar cf t.tar -C t out/pwned; tar xf t.tar -C o; ls /etc; cat o/etc/pwned`)
	if d := cmp.Diff("group\nos-release\npasswd\nshells\nx\n", got.Stdout); d != "" {
		t.Error(d, got.Stderr)
	}
}

func TestTheShellTakesItsScriptFromEverywhere(t *testing.T) {
	need.Root(t)
	root := unpack(t)
	if err := os.WriteFile(filepath.Join(root, "tmp/file.sh"), []byte("echo $0 $1\nfalse\necho on\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "tmp/exec"), []byte("#!/bin/sh\necho shebang $1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, stdin string
		argv        []string
		want        result
	}{
		{"a file", "", []string{"/bin/sh", "/tmp/file.sh", "a"}, result{"/tmp/file.sh a\non\n", "", 0}},
		{"a file with -e", "", []string{"/bin/sh", "-e", "/tmp/file.sh", "a"}, result{"/tmp/file.sh a\n", "", 1}},
		{"its own stdin", "echo a\nread x\nthis line is read\necho $x\nexit 4\n", []string{"/bin/sh"}, result{"a\nthis line is read\n", "", 4}},
		{"stdin with -es and arguments", "echo $1\nfalse\necho no\n", []string{"/bin/sh", "-es", "arg"}, result{"arg\n", "", 1}},
		{"eval of stdin", "echo a\nread x || echo empty\n", []string{"/bin/sh", "-c", `eval "$(cat)"`}, result{"a\nempty\n", "", 0}},
		{"a program with #!", "", []string{"/tmp/exec", "x"}, result{"shebang x\n", "", 0}},
		{"a missing file", "", []string{"/bin/sh", "/tmp/none"}, result{"", "sh: open /tmp/none: no such file or directory\n", 127}},
		{"a syntax error", "", []string{"/bin/sh", "-c", "if true; then"}, result{"", "sh: sh:1:1: `if <cond>` must be followed by `then`\n", 2}},
		{"an unknown command", "", []string{"/bin/sh", "-c", "nosuch"}, result{"", "nosuch: not found\n", 127}},
		{"a directory as a command", "", []string{"/bin/sh", "-c", "/tmp"}, result{"", "/tmp: Permission denied\n", 126}},
		{"pipefail", "", []string{"/bin/sh", "-euo", "pipefail", "-c", "false | true; echo no"}, result{"", "", 1}},
		{"an unset variable with -u", "", []string{"/bin/sh", "-uc", "echo $nope; echo no"}, result{"", "nope: unbound variable\n", 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := in(t, root, test.stdin, test.argv...)
			if test.name == "a syntax error" {
				got.Stderr, test.want.Stderr = "", "" // the parser's words
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAScriptOnAnotherDescriptorLeavesStdinAlone(t *testing.T) {
	need.Root(t)
	root := unpack(t)
	if err := os.Mkdir(filepath.Join(root, "dev/fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	// Without /proc in the chroot a FIFO stands for /dev/fd/3: both are read once, from the beginning.
	fifo := filepath.Join(root, "dev/fd/3")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	go os.WriteFile(fifo, []byte("cat; echo end; exit 5\n"), 0o600)
	got := in(t, root, "stdin\n", "/bin/sh", "-e", "/dev/fd/3")
	if d := cmp.Diff(result{"stdin\nend\n", "", 5}, got); d != "" {
		t.Error(d)
	}
}

func TestTheLoaderOfScriptsWorksInTheShell(t *testing.T) {
	need.Root(t)
	root := unpack(t)
	env := map[string]string{"SECRET": "it's \n two lines"}
	for _, test := range []struct {
		name   string
		loader shell.Loader
		input  string
		want   result
	}{
		{"a script finds its stdin empty", shell.LoadScript(nil, env), "cat\nread x || echo empty\necho \"$SECRET\"\nfalse\necho never\n", result{"empty\nit's \n two lines\n", "", 1}},
		{"children get no descriptor of it", shell.LoadScript(nil, nil), "{ cat <&3; } 2>/dev/null || echo closed\nexit 7\n", result{"closed\n", "", 7}},
		{"a large script", shell.LoadScript(nil, nil), strings.Repeat("x=0123456789\n", 20000) + "echo end\n", result{"end\n", "", 0}},
		{"a program reads what follows", shell.LoadProgram([]string{"cat"}, env), "in\n", result{"in\n", "", 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := in(t, root, test.loader.Head+test.input, test.loader.Argv...)
			_, got.Stdout, _ = strings.Cut(got.Stdout, "\n") // the loader's own line
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestATermSignalEndsTheShell(t *testing.T) {
	need.Root(t)
	cmd, lines := started(t, unpack(t), "/bin/sh", "-c", "echo ready; sleep 1000")
	expect(t, lines, "ready")
	cmd.Process.Signal(syscall.SIGTERM)
	if state, err := cmd.Process.Wait(); err != nil || state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("%v, %v", state, err)
	}
}

func TestATrapRunsWhenTheCommandEnds(t *testing.T) {
	need.Root(t)
	cmd, lines := started(t, unpack(t), "/bin/sh", "-c",
		`trap 'echo caught; exit 7' TERM; trap 'echo bye' EXIT; echo ready; while :; do sleep 0.01; done`)
	expect(t, lines, "ready")
	cmd.Process.Signal(syscall.SIGTERM)
	expect(t, lines, "caught")
	expect(t, lines, "bye")
	if state, err := cmd.Process.Wait(); err != nil || state.ExitCode() != 7 {
		t.Errorf("%v, %v", state, err)
	}
}

func TestExecPassesSignalsOn(t *testing.T) {
	need.Root(t)
	root := unpack(t)
	child := "#!/bin/sh\ntrap 'echo child; exit 9' TERM\necho ready\nwhile :; do sleep 0.01; done\n"
	if err := os.WriteFile(filepath.Join(root, "tmp/child"), []byte(child), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd, lines := started(t, root, "/bin/sh", "-c", "exec /tmp/child")
	expect(t, lines, "ready")
	cmd.Process.Signal(syscall.SIGTERM)
	expect(t, lines, "child")
	if state, err := cmd.Process.Wait(); err != nil || state.ExitCode() != 9 {
		t.Errorf("%v, %v", state, err)
	}
}

func TestHttpdServesAndEnds(t *testing.T) {
	need.Root(t)
	root := unpack(t)
	if err := os.WriteFile(filepath.Join(root, "tmp/index.html"), []byte("hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, root, "/bin/httpd", "-p", "127.0.0.1:0", "-h", "/tmp")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimSpace(strings.TrimPrefix(line, "httpd: listening on "))
	if got := in(t, root, "", "/bin/wget", "-qO-", "http://"+address+"/"); got.Stdout != "hello\n" || got.Code != 0 {
		t.Errorf("wget: %+v", got)
	}
	if got := in(t, root, "", "/bin/wget", "-qO-", "http://"+address+"/none"); got.Code != 1 || !strings.Contains(got.Stderr, "404") {
		t.Errorf("wget of nothing: %+v", got)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("httpd: %v", err)
	}
}

func started(t *testing.T, root string, argv ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := command(t, root, argv...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	return cmd, bufio.NewScanner(out)
}

func expect(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	if !lines.Scan() || lines.Text() != want {
		t.Fatalf("got line %q, want %q", lines.Text(), want)
	}
}
