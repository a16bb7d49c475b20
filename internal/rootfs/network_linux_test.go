package rootfs_test

import (
	"context"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"bake/internal/rootfs"
)

func TestANetworkOfItsOwn(t *testing.T) {
	b := newBox(t)
	cfg := b.config()
	cfg.Network = &rootfs.Network{Interface: "eth0", Address: netip.MustParsePrefix("10.1.2.3/24"), MTU: 9001}
	c, err := b.host.Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	got, err := sh(c, "cat /proc/net/fib_trie /proc/net/dev; grep eth0 /proc/net/route || true")
	if err != nil || !strings.Contains(got, "10.1.2.3") || !strings.Contains(got, "lo:") {
		t.Fatalf("%v: %s", err, got)
	}
	socket, err := c.Socket(t.Context(), syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	// Only in the container's network this address can be bound.
	if err := syscall.Bind(int(socket.Fd()), &syscall.SockaddrInet4{Port: 80, Addr: [4]byte{10, 1, 2, 3}}); err != nil {
		t.Error(err)
	}
	if c.Device() == nil {
		if strings.Contains(got, "eth0") {
			t.Error("an interface without a device")
		}
		return
	}
	if !strings.Contains(got, "eth0\t00000000") {
		t.Errorf("no default route: %s", got)
	}
}
