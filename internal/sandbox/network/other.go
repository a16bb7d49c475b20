//go:build !linux

package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
)

// Without Linux there is no container to join: package rootfs starts none.
// What is here lets the rest of bake be built.

const mtu = 1500

func hasIPv6() bool { return false }

type inbound struct {
	near []netip.Addr
}

func newInbound(context.Context, *Port) (*inbound, error) {
	return nil, errors.ErrUnsupported
}

func (in *inbound) watch(context.Context)  {}
func (in *inbound) update()                {}
func (in *inbound) move(netip.Addr)        {}
func (in *inbound) hostPort(uint16) uint16 { return 0 }
func (in *inbound) close()                 {}

func (p *Port) bringNear(context.Context, netip.Addr) bool { return false }

func (p *Port) dial(context.Context, int, netip.AddrPort) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

type outbound struct {
	port   *Port
	device *os.File
}

func (o *outbound) run(context.Context) {}
func (o *outbound) close()              {}
