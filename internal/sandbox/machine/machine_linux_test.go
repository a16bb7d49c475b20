package machine_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"bake/builder"
	"bake/internal/need"
	"bake/internal/rootfs"
	"bake/internal/sandbox/machine"
	"bake/internal/sandbox/machinetest"
	"bake/steps/ssh"
)

// A lab is a Host with a base, and a key that its machines let in.
type lab struct {
	t    testing.TB
	host *machine.Host
	dir  string
	id   string // file of the private key
	key  string // its public half, a line of authorized_keys
	base string
}

func newLab(t testing.TB, base machine.Base) *lab {
	t.Helper()
	return newLabIn(t, t.TempDir(), base)
}

func newLabIn(t testing.TB, dir string, base machine.Base) *lab {
	t.Helper()
	machinetest.Program(t)
	if os.Geteuid() != 0 && os.Getenv(rootless) == "" {
		need.Missing(t, "needs root; TestRootless runs this again without")
	}
	l := &lab{t: t, dir: dir, base: "snap-base"}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	l.id, l.key = filepath.Join(t.TempDir(), "id"), string(gossh.MarshalAuthorizedKey(signer))
	if err := os.WriteFile(l.id, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	l.open()
	if err := l.host.ImportBase(t.Context(), l.base, base); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.host.Close(); err != nil {
			t.Error(err)
		}
		clean(t, l.dir)
	})
	return l
}

func (l *lab) open() { l.openWith(machine.Options{Dir: l.dir, Log: l.t.Logf}) }

func (l *lab) openWith(o machine.Options) {
	l.t.Helper()
	var err error
	if l.host, err = machine.Open(o); err != nil {
		l.t.Fatal(err)
	}
}

// clean removes a folder with files of users that only a namespace has.
func clean(t testing.TB, dir string) {
	h, err := rootfs.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if err := h.Remove(context.Background(), filepath.Join(dir, n.Name())); err != nil {
			t.Error(err)
		}
	}
}

// addresses are counted, so that machines of one test binary have different ones.
var addresses atomic.Uint32

func address() netip.Addr {
	n := addresses.Add(1)
	return netip.AddrFrom4([4]byte{127, byte(100 + os.Getpid()%100), byte(os.Getpid() / 100 % 250), byte(n)})
}

func (l *lab) spec(id string) machine.Spec {
	return machine.Spec{ID: id, Disk: "vol-" + id, Hostname: "host-" + id, Address: address(), Region: "us-east-1", AuthorizedKeys: []string{l.key}, FirstBoot: true}
}

// start boots a machine on a new disk of the base.
func (l *lab) start(spec machine.Spec) *machine.Machine {
	l.t.Helper()
	if err := l.host.NewDisk(l.t.Context(), spec.Disk, l.base); err != nil {
		l.t.Fatal(err)
	}
	return l.boot(spec)
}

func (l *lab) boot(spec machine.Spec) *machine.Machine {
	l.t.Helper()
	m, err := l.host.Start(l.t.Context(), spec)
	if err != nil {
		l.t.Fatal(err)
	}
	l.serving(m)
	return m
}

func (l *lab) serving(m *machine.Machine) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
	defer cancel()
	if err := m.Serving(ctx); err != nil {
		l.t.Fatalf("%v\n%s", err, m.Console())
	}
}

func (l *lab) config(m *machine.Machine, user string) ssh.Config {
	return ssh.Config{
		Hop: ssh.Hop{Host: m.Address().String(), Port: int(m.HostPort(22)), User: user, Auth: ssh.Auth{Keys: []ssh.Key{{File: l.id}}},
			HostKeys: ssh.HostKeys{Console: true}},
		Fresh: true, Patience: 10 * time.Second,
		Console: func(context.Context) (string, error) { return string(m.Console()), nil },
	}
}

func (l *lab) connect(m *machine.Machine) *ssh.Communicator {
	l.t.Helper()
	return l.connectWith(l.config(m, m.Login()))
}

func (l *lab) connectWith(config ssh.Config) *ssh.Communicator {
	l.t.Helper()
	c, err := ssh.Connect(l.t.Context(), config)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	return c
}

// sh runs a script and returns what it prints.
func (l *lab) sh(c *ssh.Communicator, script string) string {
	l.t.Helper()
	var out, errs bytes.Buffer
	if err := c.Run(l.t.Context(), builder.Command{Script: script, Stdout: &out, Stderr: &errs}); err != nil {
		l.t.Fatalf("%s: %v: %s", script, err, errs.String())
	}
	return strings.TrimSpace(out.String())
}

// keep runs a script that does not end, until the test does.
func (l *lab) keep(c *ssh.Communicator, script string) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx, builder.Command{Script: script}) // it ends because it is told to, or the machine is
	}()
	l.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// bases runs a test or benchmark on every base.
func bases[T interface {
	testing.TB
	Run(string, func(T)) bool
}](t T, test func(t T, base machine.Base)) {
	t.Run("built-in", func(t T) { test(t, machine.Base{Image: machinetest.Builtin(t)}) })
	t.Run("Debian", func(t T) {
		if archive := os.Getenv(debianTar); archive != "" {
			test(t, machine.Base{Tar: archive})
			return
		}
		test(t, machine.Base{Fixed: machinetest.Debian(t)})
	})
}

func TestAMachineLetsInTheKeyItWasGiven(t *testing.T) {
	bases(t, func(t *testing.T, base machine.Base) {
		l := newLab(t, base)
		spec := l.spec("i-1")
		began := time.Now()
		m := l.start(spec)
		t.Logf("somebody can log in as %s after %v", m.Login(), time.Since(began))
		c := l.connect(m)
		if got := l.sh(c, "whoami; hostname"); got != m.Login()+"\n"+spec.Hostname {
			t.Errorf("whoami, hostname: %s", got)
		}
		if m.Login() != "root" {
			if got := l.sh(c, "sudo -n id -u"); got != "0" {
				t.Errorf("sudo: %s", got)
			}
			root, err := ssh.Connect(t.Context(), l.config(m, "root"))
			if err == nil {
				err = root.Run(t.Context(), builder.Command{Script: "true"})
				root.Close()
			}
			if _, ok := errors.AsType[*ssh.WrongUserError](err); !ok {
				t.Errorf("logging in as root: %v", err)
			}
		}
		other := newLab(t, base)
		config := l.config(m, m.Login())
		config.Fresh, config.Auth.Keys[0].File = false, other.id
		if _, err := ssh.Connect(t.Context(), config); err == nil {
			t.Error("another key is let in")
		}
	})
}

func TestADiskKeepsWhatIsWrittenAndASnapshotFreezesIt(t *testing.T) {
	bases(t, func(t *testing.T, base machine.Base) {
		l := newLab(t, base)
		spec := l.spec("i-1")
		m := l.start(spec)
		l.sh(l.connect(m), "echo one >~/f; echo x >/tmp/leftover; sync")
		key := hostKeys(m)
		if err := m.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := l.host.Snapshot(t.Context(), spec.Disk, "snap-1"); err != nil {
			t.Fatal(err)
		}
		m = l.boot(spec)
		c := l.connect(m)
		if got := l.sh(c, "cat ~/f; ls /tmp; echo two >~/f"); got != "one" {
			t.Errorf("after stop and start: %q", got)
		}
		if !slices.Equal(hostKeys(m), key) {
			t.Error("the host keys changed at a start of the same instance")
		}
		// A snapshot of a running machine has what is on its disk.
		if err := l.host.Snapshot(t.Context(), spec.Disk, "snap-2"); err != nil {
			t.Fatal(err)
		}
		m.Kill()
		if err := l.host.DeleteDisk(t.Context(), spec.Disk); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"one", "two"} {
			spec := l.spec(fmt.Sprintf("i-%d", i+2))
			if err := l.host.NewDisk(t.Context(), spec.Disk, fmt.Sprintf("snap-%d", i+1)); err != nil {
				t.Fatal(err)
			}
			m := l.boot(spec)
			if got := l.sh(l.connect(m), "cat ~/f"); got != want {
				t.Errorf("snapshot %d has %q, want %q", i+1, got, want)
			}
			if slices.Equal(hostKeys(m), key) {
				t.Error("an instance of an image has the host keys of the one it was made of")
			}
			if err := l.host.DeleteDisk(t.Context(), spec.Disk); err == nil {
				t.Error("the disk of a running machine was deleted")
			}
			if err := m.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := l.host.DeleteDisk(t.Context(), spec.Disk); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range []string{"snap-1", "snap-2", l.base, "snap-none"} {
			if err := l.host.DeleteSnapshot(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		for _, d := range []string{"l", "disks", "snapshots", "tmp"} {
			if left, err := os.ReadDir(filepath.Join(l.dir, d)); err != nil || len(left) > 0 {
				t.Errorf("left in %s: %v, %v", d, left, err)
			}
		}
	})
}

// hostKeys are the keys that a machine shows.
func hostKeys(m *machine.Machine) []string { return ssh.ConsoleHostKeys(string(m.Console())) }

// tunDevice opens what a way out needs.
func tunDevice() (string, error) {
	const path = "/dev/net/tun"
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	return path, f.Close()
}
