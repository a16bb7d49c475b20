package machine_test

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bake/internal/need"
	"bake/internal/sandbox/machine"
	"bake/internal/sandbox/machinetest"
)

func TestAMachineIsReachedAtItsIPv6AddressesByThisMachineAndByOthers(t *testing.T) {
	need.Root(t)
	if off, err := os.ReadFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6"); err != nil || strings.TrimSpace(string(off)) != "0" {
		need.Missing(t, "this machine's kernel has no IPv6, or it is disabled")
	}
	l := newLab(t, machine.Base{Image: machinetest.Builtin(t)})
	one, two := l.spec("i-1"), l.spec("i-2")
	one.Private6 = []netip.Addr{netip.MustParseAddr("2001:db8:ba7e:1::a"), netip.MustParseAddr("2001:db8:ba7e:1::b")}
	two.Private6 = []netip.Addr{netip.MustParseAddr("2001:db8:ba7e:2::a")}
	one.Near, two.Network = true, "another VPC" // IPv6 addresses are the world's
	var closed atomic.Bool
	asked := make(chan netip.Addr, 1000)
	one.Allow = func(from netip.Addr, _ string, port uint16) bool {
		if from.Is6() {
			asked <- from
		}
		return !closed.Load() || from.Is4()
	}
	m := l.start(one)
	b := l.connect(l.start(two))
	for _, a := range one.Private6 {
		at := netip.AddrPortFrom(a, 22).String()
		await(t, "SSH at "+at, func() bool {
			c, err := net.DialTimeout("tcp", at, time.Second)
			if err != nil {
				return false
			}
			defer c.Close()
			buf := make([]byte, 4)
			n, _ := c.Read(buf)
			return string(buf[:n]) == "SSH-"
		})
	}
	if from := <-asked; from != netip.IPv6Loopback() {
		t.Errorf("the rules were asked about %s, want this machine's own address", from)
	}
	l.keep(l.connect(m), "mkdir /srv/www; echo over six >/srv/www/f; httpd -p [::]:9000 -h /srv/www")
	await(t, "the other machine's server", func() bool {
		return l.sh(b, "wget -qO- http://[2001:db8:ba7e:1::b]:9000/f 2>&1 || true") == "over six"
	})
	await(t, "the rules being asked about the other machine", func() bool { return <-asked == two.Private6[0] })
	closed.Store(true)
	m.RulesChanged()
	if c, err := net.DialTimeout("tcp", "[2001:db8:ba7e:1::a]:22", time.Second); err == nil {
		c.Close()
		t.Error("a connection came in that no rule allows")
	}
	m.Kill()
	all, err := net.InterfaceAddrs()
	for _, a := range all {
		if strings.Contains(a.String(), "2001:db8:ba7e:1:") {
			t.Errorf("%s is still this machine's (%v)", a, err)
		}
	}
}
