package guest

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// listens reports whether a TCP socket listens on an address, without
// connecting to it (proc_net(5)).
func listens(addr string) bool {
	want, err := netip.ParseAddrPort(addr)
	if err != nil {
		return false
	}
	ip := want.Addr().As4()
	// Addresses are written as the number that they are in this machine's memory: little-endian.
	return listening(fmt.Sprintf(" %02X%02X%02X%02X:%04X 00000000:0000 0A ", ip[3], ip[2], ip[1], ip[0], want.Port()))
}

// anyListens reports whether any TCP socket listens.
func anyListens() bool { return listening(":0000 0A ") }

// listening looks for text in the tables of sockets; 0A is the state of those that listen.
func listening(text string) bool {
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), text) {
			return true
		}
	}
	return false
}
