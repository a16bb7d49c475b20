package provisioners_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bake/builder"
	"bake/internal/chroottest"
	"bake/internal/need"
	"bake/provisioners/provtest"
)

func TestLocalEndsWithAllItsProcesses(t *testing.T) {
	b := provtest.New(t, nil)
	step := b.Step(t, "local", `["trap '' TERM INT", "sleep 1000 & echo $! >pid.new; mv pid.new pid", "wait"]`)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := step.Provision(ctx, b.Scope, nil)
		done <- err
	}()
	pid := 0
	for deadline := time.Now().Add(time.Minute); pid == 0 && time.Now().Before(deadline); {
		text, err := os.ReadFile(filepath.Join(b.Dir, "pid"))
		if err == nil {
			pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	// What was killed may stay a zombie until its new parent looks.
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(text), ") Z ") {
		t.Errorf("process %d is still there: %s", pid, text)
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestLocalSaysHowItsScriptEnded(t *testing.T) {
	b := provtest.New(t, nil)
	for text, want := range map[string]builder.ExitError{
		"exit 7":        {Code: 7},
		"kill -KILL $$": {Code: 137, Signal: "KILL"},
	} {
		_, err := b.Try(t, "local", text)
		if exit, ok := errors.AsType[*builder.ExitError](err); !ok || *exit != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	if out := b.Do(t, "local", "{script: exit 3, exit_codes: [3]}", changed); out.Note != "exit status 3, which is allowed" {
		t.Errorf("note %q", out.Note)
	}
	if _, err := b.Try(t, "local", "{script: x, shell: /no/such/shell}"); err == nil {
		t.Error("a shell that does not exist ran")
	}
	b.Log()
	b.Do(t, "local", "{script: 'echo $0 ${#BASH_VERSION}', shell: bash}", changed)
	if got := b.Log(); !strings.HasPrefix(got, "/dev/fd/3 ") {
		t.Errorf("log %q", got)
	}
}

func TestLocalKeepsItsTextOutOfArguments(t *testing.T) {
	b := provtest.New(t, nil)
	b.Do(t, "local", `["x=SECRET-4711", "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null || true; done"]`, changed)
	if strings.Contains(b.Log(), "SECRET-4711") {
		t.Error("the script's text stands in a process's arguments")
	}
}

func TestScriptThatIsABinaryRunsAndLeavesNothing(t *testing.T) {
	b := provtest.New(t, chroottest.Busybox(t))
	busybox, err := os.ReadFile(need.Tool(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	b.File(t, "expr", string(busybox)) // busybox does what it is called
	b.Do(t, "script", "{file: expr, args: [6, '*', 7]}", changed)
	if got := b.Log(); got != "42" {
		t.Errorf("log %q", got)
	}
	b.Want(t, "ls -A /tmp", "")
	if _, err := b.Try(t, "script", "{file: expr, args: [syntax, error]}"); err == nil {
		t.Error("its failure was lost")
	}
	b.Want(t, "ls -A /tmp", "")
}

func TestFilesGoToAMachineWithoutAShell(t *testing.T) {
	need.Root(t)
	need.Tool(t, "unshare")
	root := t.TempDir()
	b := provtest.New(t, &chroottest.Machine{Root: root})
	if err := errors.Join(os.MkdirAll(root+"/tmp", 0o755), os.Chmod(root+"/tmp", 0o777|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	b.File(t, "tree/tmp/f", "f")
	b.File(t, "tree/opt/app/app", "app")
	b.Do(t, "copy", "{from: tree/, to: /}", changed)
	b.WantTree(t, "/tmp", "dtrwxrwxrwx 0:0 tmp", `-rw-r--r-- 0:0 tmp/f "f"`)
	b.WantTree(t, "/opt", "drwxr-xr-x 0:0 opt", "drwxr-xr-x 0:0 opt/app", `-rw-r--r-- 0:0 opt/app/app "app"`)
	b.Do(t, "copy", "{from: tree/opt/app/app, to: /app, mode: '0755'}", changed)
	b.Do(t, "copy", "{from: tree/opt/app/app, to: /app, mode: '0755'}", unchanged)
	b.Do(t, "write", "{to: /etc/motd, content: hi}", changed)
	b.Do(t, "write", "{to: /etc/motd, content: hi}", unchanged)
	b.Do(t, "user", "{name: app, uid: 65532, create_home: true}", changed)
	b.Do(t, "user", "{name: app, uid: 65532, create_home: true}", unchanged)
	b.WantTree(t, "/etc/passwd", `-rw-r--r-- 0:0 passwd "app:x:65532:65532::/home/app:/bin/sh\n"`)
	b.Do(t, "directory", "{path: /data, owner: app}", changed)
	b.WantTree(t, "/data", "drwxr-xr-x 65532:65532 data")
	b.Do(t, "link", "{path: /l, target: app}", changed)
}

func TestShadowFilesAreKeptUp(t *testing.T) {
	b := provtest.New(t, chroottest.Busybox(t))
	b.Sh(t, `umask 077; echo 'root:*:1::::::' >/etc/shadow; echo 'root:*::' >/etc/gshadow; echo 'sudo:x:27:' >>/etc/group; echo 'sudo:*::' >>/etc/gshadow; mkdir -p /etc/skel/.config; echo x >/etc/skel/.profile; chmod 644 /etc/skel/.profile`)
	b.Do(t, "user", "{name: app, uid: 1000, groups: sudo, group: '100'}", changed)
	b.WantTree(t, "/etc/shadow", `-rw------- 0:0 shadow "root:*:1::::::\napp:!::0:99999:7:::\n"`)
	b.WantTree(t, "/etc/gshadow", `-rw------- 0:0 gshadow "root:*::\nsudo:*::app\n"`)
	b.WantTree(t, "/home/app", "drwxr-xr-x 1000:100 app", "drwx------ 1000:100 app/.config", `-rw-r--r-- 1000:100 app/.profile "x\n"`)
	b.Do(t, "user", "{name: app, uid: 1001, shell: /bin/false}", changed)
	b.Want(t, "grep app /etc/passwd", "app:x:1001:100::/home/app:/bin/false")
	b.Do(t, "user", "{name: two}", changed)
	b.Want(t, "grep two /etc/passwd /etc/group", "/etc/passwd:two:x:1000:1000::/home/two:/bin/sh\n/etc/group:two:x:1000:")
	for text, want := range map[string]string{
		"{name: three, uid: 1001}":          "uid 1001 belongs to user app",
		"{name: three, groups: [no-group]}": `group "no-group": not known on the machine`,
		"{name: three, group: no-group}":    `group "no-group": not known on the machine`,
	} {
		if _, err := b.Try(t, "user", text); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := b.Try(t, "group", "{name: four, gid: 27}"); err == nil || err.Error() != "gid 27 belongs to group sudo" {
		t.Errorf("a gid that is taken: %v", err)
	}
	b.Do(t, "user", "{name: app, state: absent}", changed)
	b.WantTree(t, "/etc/shadow", `-rw------- 0:0 shadow "root:*:1::::::\ntwo:!::0:99999:7:::\n"`)
	b.WantTree(t, "/etc/gshadow", `-rw------- 0:0 gshadow "root:*::\nsudo:*::\ntwo:!::\n"`)
}

func TestWaitSeesAPortThatListens(t *testing.T) {
	b := provtest.New(t, chroottest.Busybox(t))
	l := listen(t)
	b.Do(t, "wait", fmt.Sprintf("{port: %d}", l), unchanged)
	free := freePort(t)
	if _, err := b.Try(t, "wait", fmt.Sprintf("{port: %d, timeout: 20ms, interval: 10ms}", free)); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("waiting for port %d: not after 20ms", free)) {
		t.Errorf("a port that nobody listens on: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Step(t, "wait", "1h").Provision(ctx, b.Scope, b.Comm); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCheckoutOfSubmodules(t *testing.T) {
	need.Tool(t, "git")
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "protocol.file.allow")
	t.Setenv("GIT_CONFIG_VALUE_0", "always")
	b := provtest.New(t, chroottest.Busybox(t))
	for _, line := range []string{
		"git init -q -b main sub; cd sub; echo s >s; git add s; git -c user.name=t -c user.email=t@x commit -q -m s",
		"git init -q -b main main; cd main; git -c protocol.file.allow=always submodule --quiet add ../sub lib; git -c user.name=t -c user.email=t@x commit -q -m m",
	} {
		cmd := exec.Command("sh", "-e", "-c", line)
		cmd.Dir = b.Dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	b.Do(t, "checkout", "{repo: 'file://"+b.Dir+"/main', to: /with, submodules: true, exclude: .gitmodules}", changed)
	b.WantTree(t, "/with", "drwxr-xr-x 0:0 with", "drwxr-xr-x 0:0 with/lib", `-rw-r--r-- 0:0 with/lib/s "s\n"`)
	before := fingerprint(t, b.Dir, "checkout", "{repo: main, to: /x}")
	if same := fingerprint(t, b.Dir, "checkout", "{repo: main, ref: main, to: /x}"); same != before {
		t.Error("the branch and HEAD are the same commit")
	}
	cmd := exec.Command("sh", "-c", "cd main; git -c user.name=t -c user.email=t@x commit -q --allow-empty -m n")
	cmd.Dir = b.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if after := fingerprint(t, b.Dir, "checkout", "{repo: main, to: /x}"); after == before {
		t.Error("a new commit does not change the digest")
	}
}
