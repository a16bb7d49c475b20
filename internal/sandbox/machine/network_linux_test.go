package machine_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bake/internal/need"
	"bake/internal/sandbox/machine"
	"bake/internal/sandbox/machinetest"
)

// dial connects to a port of a machine as this machine sees it.
func dial(m *machine.Machine, port uint16) (net.Conn, error) {
	return net.DialTimeout("tcp", netip.AddrPortFrom(m.Address(), port).String(), 5*time.Second)
}

func TestPortsAreReachedThatSomethingListensOnAndTheRulesLetIn(t *testing.T) {
	l := newLab(t, machine.Base{Image: machinetest.Builtin(t)})
	var open atomic.Int32 // the port that the rules let in, besides SSH
	spec := l.spec("i-1")
	asked := make(chan netip.Addr, 100)
	spec.Allow = func(from netip.Addr, protocol string, port uint16) bool {
		select {
		case asked <- from:
		default:
		}
		return protocol == "tcp" && (port == 22 || int32(port) == open.Load())
	}
	m := l.start(spec)
	c := l.connect(m)
	if want := uint16(22); os.Geteuid() == 0 && m.HostPort(22) != want {
		t.Errorf("SSH is at port %d", m.HostPort(22))
	}
	refused := func(when string, port uint16) {
		t.Helper()
		if conn, err := dial(m, port); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: connecting gives %v, %v; want that it is refused", when, conn, err)
		}
	}
	refused("nobody listens", 8000)
	open.Store(8000)
	l.keep(c, "mkdir /srv/www; echo hello >/srv/www/f; httpd -p 8000 -h /srv/www")
	reached := func() bool {
		answer, err := http.Get("http://" + netip.AddrPortFrom(m.Address(), 8000).String() + "/f")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		data, err := io.ReadAll(answer.Body)
		return err == nil && string(data) == "hello\n"
	}
	await(t, "the port to be reached", reached)
	open.Store(0)
	m.RulesChanged()
	refused("the rules forbid it", 8000)
	open.Store(8000)
	m.RulesChanged()
	await(t, "the port to be reached again", reached)
	if from := <-asked; from != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("the rules were asked about %s", from)
	}
}

// await polls: programs in machines tell nobody when they begin to listen.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if done() {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatalf("waiting for %s", what)
}

func TestMachinesReachOneAnotherAsTheRulesSay(t *testing.T) {
	if _, err := tunDevice(); err != nil {
		need.Missing(t, "no TUN devices: %v", err)
	}
	l := newLab(t, machine.Base{Image: machinetest.Builtin(t)})
	one, two := l.spec("i-1"), l.spec("i-2")
	one.Private, two.Private = netip.MustParseAddr("172.31.0.1"), netip.MustParseAddr("172.31.0.2")
	var asked atomic.Bool
	two.Allow = func(from netip.Addr, _ string, port uint16) bool {
		if port == 9000 && from == one.Private {
			asked.Store(true)
		}
		return port != 9001
	}
	a, b := l.connect(l.start(one)), l.connect(l.start(two))
	l.keep(b, "mkdir /srv/www; echo from two >/srv/www/f; httpd -p 9001 -h /srv/www & httpd -p 9000 -h /srv/www")
	await(t, "the other machine's server", func() bool { return l.sh(a, "wget -qO- http://host-i-2:9000/f 2>&1 || true") == "from two" })
	if !asked.Load() {
		t.Errorf("the rules were not asked about %v", one.Private)
	}
	if got := l.sh(a, "wget -qO- http://172.31.0.2:9001/f 2>&1 || echo refused"); !strings.HasSuffix(got, "refused") {
		t.Errorf("a port that the rules forbid: %q", got)
	}
	began := time.Now()
	if got := l.sh(a, "wget -qO- http://169.254.169.254/latest/meta-data 2>&1 || echo refused"); !strings.HasSuffix(got, "refused") || time.Since(began) > 2*time.Second {
		t.Errorf("the metadata service: %q after %v", got, time.Since(began))
	}
	three := l.spec("i-3")
	three.Private, three.Network = two.Private, "another VPC"
	l.start(three) // the same address in another network is fine
}

func TestPackagesAreInstalledThroughTheWayOut(t *testing.T) {
	if _, err := tunDevice(); err != nil {
		need.Missing(t, "no TUN devices: %v", err)
	}
	l := newLab(t, machine.Base{Fixed: machinetest.Debian(t)})
	c := l.connect(l.start(l.spec("i-1")))
	began := time.Now()
	out := l.sh(c, "sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends tree >/dev/null && tree --version | head -1")
	if !strings.Contains(out, "tree v") {
		t.Errorf("installed: %q", out)
	}
	t.Logf("apt-get update and install: %v", time.Since(began))
}

func TestWithoutANetworkOfItsOwnAMachineServesSSHAtItsAddress(t *testing.T) {
	need.Root(t) // port 22
	bases(t, func(t *testing.T, base machine.Base) {
		l := newLab(t, base)
		if err := l.host.Close(); err != nil {
			t.Fatal(err)
		}
		l.openWith(machine.Options{Dir: l.dir, SharedNetwork: true})
		one, two := l.start(l.spec("i-1")), l.start(l.spec("i-2"))
		for _, m := range []*machine.Machine{one, two} {
			if got := l.sh(l.connect(m), "whoami"); got != m.Login() {
				t.Errorf("got %q", got)
			}
			if !strings.Contains(string(m.Console()), "shares the network") {
				t.Errorf("the console does not say it:\n%s", m.Console())
			}
		}
	})
}

func BenchmarkThroughput(b *testing.B) {
	l := newLab(b, machine.Base{Image: machinetest.Builtin(b)})
	m := l.start(l.spec("i-1"))
	c := l.connect(m)
	const size = 256 << 20
	l.keep(c, fmt.Sprintf("mkdir /srv/www; head -c %d /dev/zero >/srv/www/f; httpd -p 8000 -h /srv/www", size))
	get := func() (n int64, err error) {
		answer, err := http.Get("http://" + netip.AddrPortFrom(m.Address(), 8000).String() + "/f")
		if err != nil {
			return 0, err
		}
		defer answer.Body.Close()
		return io.Copy(io.Discard, answer.Body)
	}
	await(b, "the server", func() bool { n, _ := get(); return n == size })
	b.SetBytes(size)
	for b.Loop() {
		if n, err := get(); n != size || err != nil {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkBoot is from asking for a machine until somebody can log in.
func BenchmarkBoot(b *testing.B) {
	bases(b, func(b *testing.B, base machine.Base) {
		l := newLab(b, base)
		n := 0
		for b.Loop() {
			n++
			m := l.start(l.spec(fmt.Sprintf("i-%d", n)))
			b.StopTimer()
			m.Kill()
			b.StartTimer()
		}
	})
}
