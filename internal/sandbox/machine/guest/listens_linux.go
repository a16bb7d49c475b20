package guest

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// listens reports whether a TCP socket listens on an address or on all,
// without connecting to it (proc_net(5)).
func listens(addr string) bool {
	want, err := netip.ParseAddrPort(addr)
	if err != nil {
		return false
	}
	ip := want.Addr().As4()
	// Addresses are written as the number that they are in this machine's memory: little-endian.
	for _, spot := range []string{
		fmt.Sprintf(" %02X%02X%02X%02X:%04X 00000000:0000 0A ", ip[3], ip[2], ip[1], ip[0], want.Port()),
		fmt.Sprintf(" 00000000:%04X 00000000:0000 0A ", want.Port()),
		fmt.Sprintf(" %s:%04X %s:0000 0A ", strings.Repeat("0", 32), want.Port(), strings.Repeat("0", 32)),
	} {
		for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
			if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), spot) {
				return true
			}
		}
	}
	return false
}
