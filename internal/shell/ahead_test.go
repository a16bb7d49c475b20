package shell

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// An ahead is AheadLoader under way, in a home of its own.
type ahead struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  bytes.Buffer
	errs words
}

// words are what a command says while the test looks.
type words struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// startAhead starts the loader and returns when it says so.
func startAhead(t *testing.T, sh []string, home string) *ahead {
	t.Helper()
	// What this machine's login reads may change while the test runs.
	loader := strings.Replace(AheadLoader, "/etc /etc/environment /etc/passwd /etc/group /etc/pam.d /etc/profile.d /etc/security /etc/security/limits.d /etc/sudoers.d /etc/ssh ", "", 1)
	a := &ahead{cmd: exec.Command(sh[0], append(sh[1:len(sh):len(sh)], "-c", loader)...)}
	a.cmd.Env = append(os.Environ(), "HOME="+home)
	a.cmd.Stderr = &a.errs // through a pipe, as with an SSH server
	var err error
	if a.in, err = a.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	a.cmd.Stdout = w
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for !strings.HasSuffix(a.out.String(), "\x1e\n") {
		if _, err := io.CopyN(&a.out, r, 1); err != nil {
			t.Fatalf("%v after %q", err, a.out.String())
		}
	}
	if a.errs.String() != "" {
		t.Errorf("it says %q before it has anything to run", a.errs.String())
	}
	t.Cleanup(func() { _ = a.cmd.Process.Kill() })
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return a
}

// finish gives it something to run, and returns stderr and the status.
func (a *ahead) finish(t *testing.T) (string, int) {
	t.Helper()
	if _, err := io.WriteString(a.in, Call{Script: "echo ran >&2"}.Stream()); err != nil {
		t.Fatal(err)
	}
	a.in.Close()
	_ = a.cmd.Wait()
	return a.errs.String(), a.cmd.ProcessState.ExitCode()
}

func TestALoaderThatWaitedRunsOnlyInALoginLikeOneOfNow(t *testing.T) {
	for name, sh := range shells(t) {
		t.Run(name, func(t *testing.T) {
			for _, tc := range []struct {
				name   string
				change func(home string) error
				stale  bool
			}{
				{"nothing", func(string) error { return nil }, false},
				{"a startup file", func(home string) error { return os.WriteFile(filepath.Join(home, ".profile"), []byte("x"), 0o600) }, true},
				{"a startup file removed", func(home string) error { return os.Remove(filepath.Join(home, ".old")) }, true},
				{"the environment", func(home string) error {
					return os.WriteFile(filepath.Join(home, ".ssh/environment"), []byte("x"), 0o600)
				}, true},
			} {
				home := agedHome(t)
				a := startAhead(t, sh, home)
				if err := tc.change(home); err != nil {
					t.Fatal(err)
				}
				said, code := a.finish(t)
				switch {
				case tc.stale && (said != CallStale || code != CallStaleCode):
					t.Errorf("%s changed: status %d, %q", tc.name, code, said)
				case !tc.stale && (said != CallMarkErr+"ran\n" || code != 0):
					t.Errorf("%s changed: status %d, %q", tc.name, code, said)
				}
			}
		})
	}
}

// agedHome is a home whose files are all older than any process of the test.
func agedHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	for _, name := range []string{".profile", ".old", ".ssh/environment", ".ssh", "."} {
		path := filepath.Join(home, name)
		if name != "." && name != ".ssh" {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(path, past, past); err != nil {
			t.Fatal(err)
		}
	}
	return home
}
