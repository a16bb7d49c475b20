package machine_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bake/builder"
	"bake/internal/need"
	"bake/internal/sandbox/machine"
	"bake/internal/sandbox/machinetest"
)

// client is OpenSSH's, which knows the machine by what its console shows.
func (l *lab) client(m *machine.Machine, tool string, args ...string) *exec.Cmd {
	l.t.Helper()
	known := filepath.Join(l.t.TempDir(), "known_hosts")
	var lines strings.Builder
	for _, k := range hostKeys(m) {
		fmt.Fprintf(&lines, "%s %s\n", m.Address(), k)
	}
	if err := os.WriteFile(known, []byte(lines.String()), 0o600); err != nil {
		l.t.Fatal(err)
	}
	options := []string{"-F", "none", "-i", l.id, "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile=" + known, "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"}
	return exec.Command(need.Tool(l.t, tool), append(options, args...)...)
}

func TestOpenSSHsClientIsServed(t *testing.T) {
	need.Root(t) // port 22
	bases(t, func(t *testing.T, base machine.Base) {
		l := newLab(t, base)
		m := l.start(l.spec("i-1"))
		at := m.Login() + "@" + m.Address().String()
		for _, c := range []struct {
			name string
			args []string
			in   string
			out  string
			code int
		}{
			{"a command", []string{at, "echo out; echo err >&2; exit 3"}, "", "out\n", 3},
			{"its input", []string{at, "cat"}, "from stdin", "from stdin", 0},
			{"a terminal", []string{"-tt", at, "test -t 0 && echo terminal"}, "", "terminal\r\n", 0},
			{"a shell", []string{at}, "echo $((1+1))\nexit 4\n", "2\n", 4},
			{"a signal", []string{at, "kill -9 $$"}, "", "", 255},
			{"a connection of its own", []string{"-W", m.Address().String() + ":1", at}, "", "", 255},
		} {
			t.Run(c.name, func(t *testing.T) {
				cmd := l.client(m, "ssh", c.args...)
				cmd.Stdin = strings.NewReader(c.in)
				var errs strings.Builder
				cmd.Stderr = &errs
				out, err := cmd.Output()
				got := string(out)
				if c.name == "a shell" { // a distribution greets
					got = got[max(0, strings.LastIndex(got, "2\n")):]
				}
				if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != c.code || got != c.out {
					t.Errorf("got %q, %v; want %q, %d\n%s", got, err, c.out, c.code, errs.String())
				}
			})
		}
		dir := t.TempDir()
		data := make([]byte, 5<<20)
		for i := range data {
			data[i] = byte(i * i >> 8)
		}
		file := filepath.Join(dir, "f")
		if err := os.WriteFile(file, data, 0o640); err != nil {
			t.Fatal(err)
		}
		if out, err := l.client(m, "scp", "-p", file, at+":copied").CombinedOutput(); err != nil {
			t.Fatalf("scp: %v: %s", err, out)
		}
		if out, err := l.client(m, "scp", at+":copied", filepath.Join(dir, "back")).CombinedOutput(); err != nil {
			t.Fatalf("scp: %v: %s", err, out)
		}
		back, err := os.ReadFile(filepath.Join(dir, "back"))
		if err != nil || sha256.Sum256(back) != sha256.Sum256(data) {
			t.Errorf("the file came back as another one: %d bytes, %v", len(back), err)
		}
	})
}

func TestAHundredSessionsAtOnce(t *testing.T) {
	bases(t, func(t *testing.T, base machine.Base) {
		l := newLab(t, base)
		c := l.connect(l.start(l.spec("i-1")))
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				var out strings.Builder
				if err := c.Run(t.Context(), builder.Command{Script: fmt.Sprintf("sleep 0.2; echo %d", i), Stdout: &out}); err != nil || out.String() != fmt.Sprintf("%d\n", i) {
					t.Errorf("session %d: %q, %v", i, out.String(), err)
				}
			})
		}
		wg.Wait()
	})
}

func TestManyMachinesShareOneBase(t *testing.T) {
	l := newLab(t, machine.Base{Image: machinetest.Builtin(t)})
	var wg sync.WaitGroup
	for i := range 20 {
		spec := l.spec(fmt.Sprintf("i-%d", i))
		wg.Go(func() {
			if err := l.host.NewDisk(t.Context(), spec.Disk, l.base); err != nil {
				t.Error(err)
				return
			}
			m, err := l.host.Start(t.Context(), spec)
			if err != nil {
				t.Error(err)
				return
			}
			if err := m.Serving(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	layers, err := os.ReadDir(filepath.Join(l.dir, "l"))
	if err != nil || len(layers) != 1 {
		t.Errorf("%d layers of one base (%v)", len(layers), err)
	}
}
