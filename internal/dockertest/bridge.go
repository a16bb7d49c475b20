package dockertest

import (
	"crypto/rand"
	"fmt"
	"net"
	"os/exec"
)

// newBridge makes a bridge with an address of a small network that is free on
// this machine, and returns its name, or "" if that is not possible here.
func newBridge() string {
	for range 16 {
		var b [3]byte
		rand.Read(b[:])
		name, addr := fmt.Sprintf("bake%x", b), fmt.Sprintf("10.%d.%d.1/24", b[0], b[1])
		if taken(addr) {
			continue
		}
		if exec.Command("ip", "link", "add", name, "type", "bridge").Run() != nil {
			return ""
		}
		if exec.Command("ip", "addr", "add", addr, "dev", name).Run() == nil && exec.Command("ip", "link", "set", name, "up").Run() == nil {
			return name
		}
		_ = exec.Command("ip", "link", "delete", name).Run()
	}
	return ""
}

// taken reports whether an interface of this machine has an address in the network of addr.
func taken(addr string) bool {
	_, wanted, err := net.ParseCIDR(addr)
	if err != nil {
		return true
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && (wanted.Contains(n.IP) || n.Contains(wanted.IP)) {
			return true
		}
	}
	return false
}

func (d *Daemon) removeBridge() error {
	if d.bridge == "" {
		return nil
	}
	if out, err := exec.Command("ip", "link", "delete", d.bridge).CombinedOutput(); err != nil {
		return fmt.Errorf("removing bridge %s: %w: %s", d.bridge, err, out)
	}
	d.bridge = ""
	return nil
}
