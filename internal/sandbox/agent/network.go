package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"bake/internal/rootfs"
	"bake/internal/sandbox/network"
)

// A Network is what the containers of one task share: a network of their own,
// with an address at which this machine reaches what they listen on.
type Network struct {
	// Address is 127.x.y.z. If this machine does not let the agent make
	// networks it is 127.0.0.1, and what listens there is everybody's.
	Address netip.Addr
	agent   *Agent
	root    *rootfs.Container // holds the network; runs nothing. Nil if it is this machine's
	port    *network.Port
}

// tries is how many addresses are tried before a network is given up.
const tries = 20

// NewNetwork makes a network. Those of one group reach one another by the
// names that they are given.
func (a *Agent) NewNetwork(ctx context.Context, group string, names ...string) (*Network, error) {
	if a.host == nil {
		return nil, rootfs.ErrUnsupported
	}
	a.mu.Lock()
	shared, closed := a.shared, a.closed
	a.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if shared {
		return &Network{Address: netip.AddrFrom4([4]byte{127, 0, 0, 1}), agent: a}, nil
	}
	var err error
	for range tries {
		end := network.Endpoint{Group: group, Names: names}
		end.Outside, end.Inside = addresses()
		var n *Network
		if n, err = a.join(ctx, end); err == nil {
			return n, nil
		}
		if !errors.Is(err, network.ErrAddressInUse) {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	a.mu.Lock()
	a.shared = true // it is the machine, not this network
	a.mu.Unlock()
	return &Network{Address: netip.AddrFrom4([4]byte{127, 0, 0, 1}), agent: a}, nil
}

func (a *Agent) join(ctx context.Context, end network.Endpoint) (*Network, error) {
	root, err := a.host.Start(ctx, rootfs.Config{Base: a.dir, Root: "layers/skeleton", Network: end.Config()})
	if err != nil {
		return nil, fmt.Errorf("making a network: %w", err)
	}
	port, err := a.network.Attach(ctx, root, end)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &Network{Address: end.Outside, agent: a, root: root, port: port}, nil
}

// addresses are a new network's, outside and inside. Several sandboxes run on
// one machine, so they are taken at random from many; instances of EC2 have
// others (below 127.192).
func addresses() (outside, inside netip.Addr) {
	b := [3]byte{byte(192 + rand.IntN(48)), byte(rand.IntN(256)), byte(2 + rand.IntN(250))}
	return netip.AddrFrom4([4]byte{127, b[0], b[1], b[2]}), netip.AddrFrom4([4]byte{10, b[0], b[1], b[2]})
}

// files are /etc/resolv.conf and /etc/hosts of a container in the network.
func (n *Network) files(hostname string) []rootfs.ExtraFile {
	return []rootfs.ExtraFile{
		{Path: "/etc/resolv.conf", Data: network.ResolvConf()},
		{Path: "/etc/hosts", Data: fmt.Appendf(nil, "127.0.0.1 localhost\n::1 localhost\n%s %s\n", n.port.Inside, hostname)},
	}
}

// HostPort is the port at Address for one that is listened on inside; see
// network.Port. It is 0 if nothing listens there.
func (n *Network) HostPort(port uint16) uint16 {
	if n.port == nil {
		return port
	}
	return n.port.HostPort(port)
}

// Shared reports whether the network is this machine's.
func (n *Network) Shared() bool { return n.root == nil }

// Close ends the network; the containers in it should have ended.
func (n *Network) Close() error {
	if n.root == nil {
		return nil
	}
	n.port.Close()
	return n.root.Close()
}
