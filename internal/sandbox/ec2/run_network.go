package ec2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"bake/internal/sandbox/api"
)

// checkNetwork finds subnet, groups and interfaces of a launch.
func (o *op) checkNetwork(p *plan, in *runInstancesIn) error {
	p.nics = p.spec.Interfaces
	if len(p.nics) > 0 {
		switch {
		case in.SubnetID != "":
			return api.Errorf("InvalidParameterCombination", "Network interfaces and an instance-level subnet ID may not be specified on the same request")
		case len(in.GroupIDs) > 0 || len(in.GroupNames) > 0:
			return api.Errorf("InvalidParameterCombination", "Network interfaces and an instance-level security groups may not be specified on the same request")
		case in.PrivateIP != "":
			return api.Errorf("InvalidParameterCombination", "Network interfaces and an instance-level private address may not be specified on the same request")
		case in.IPv6Count != nil || len(in.IPv6) > 0:
			return api.Errorf("InvalidParameterCombination", "Network interfaces and instance-level IPv6 addresses may not be specified on the same request")
		}
	} else {
		p.nics = []interfaceSpec{{Index: ref(0), Subnet: in.SubnetID, PrivateIP: in.PrivateIP, Groups: p.spec.GroupIDs, IPv6Count: in.IPv6Count, IPv6: in.IPv6}}
	}
	if err := p.checkInterfaces(); err != nil {
		return err
	}
	first := p.nics[0]
	if first.Subnet != "" {
		s, err := find(o, kindSubnet, o.r.Subnets, first.Subnet)
		if err != nil {
			return err
		}
		p.subnet = s
	} else if o.me.DefaultVPC == "" {
		return api.Errorf("VPCIdNotSpecified", "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.")
	}
	if err := o.checkGroups(p, first.Groups); err != nil {
		return err
	}
	if first.PrivateIP != "" && p.count > 1 {
		return api.Errorf("InvalidParameterCombination", "A private IP address can not be specified when launching multiple instances.")
	}
	return o.checkAddress(p, first.PrivateIP)
}

// checkInterfaces checks the list of interfaces by itself, and puts the primary first.
func (p *plan) checkInterfaces() error {
	seen := map[int]bool{}
	for _, n := range p.nics {
		switch {
		case n.Index == nil:
			return api.Errorf("MissingParameter", "Each network interface requires a device index.")
		case seen[*n.Index]:
			return api.Errorf("InvalidParameterValue", "Duplicate device index %d in network interfaces", *n.Index)
		case n.PublicIP != nil && *n.PublicIP && len(p.nics) > 1:
			return api.Errorf("InvalidParameterCombination", "The associatePublicIPAddress parameter cannot be specified when launching with multiple network interfaces.")
		case n.ID != "":
			return kindInterface.notFound(n.ID) // there are none that stand alone
		}
		seen[*n.Index] = true
	}
	if !seen[0] {
		return api.Errorf("InvalidParameterValue", "A network interface with the device index 0 is required")
	}
	if len(p.nics) > p.kind.interfaces {
		return api.Errorf("AttachmentLimitExceeded", "The maximum number of network interfaces of %s is %d", p.kind.ID, p.kind.interfaces)
	}
	slices.SortFunc(p.nics, func(a, b interfaceSpec) int { return *a.Index - *b.Index })
	return nil
}

// checkGroups finds the groups of the launch, all in the VPC of its subnet.
func (o *op) checkGroups(p *plan, ids []string) error {
	vpcID := o.me.DefaultVPC
	if p.subnet != nil {
		vpcID = p.subnet.VPC
	}
	for _, id := range ids {
		g, err := find(o, kindGroup, o.r.Groups, id)
		if err != nil {
			return err
		}
		if g.VPC != vpcID {
			if p.subnet == nil {
				return api.Errorf("InvalidParameter", "Security group %s and the default VPC belong to different networks.", id)
			}
			return api.Errorf("InvalidParameter", "Security group %s and subnet %s belong to different networks.", id, p.subnet.ID)
		}
		p.groups = append(p.groups, id)
	}
	for _, name := range p.spec.GroupNames {
		if len(p.spec.Interfaces) > 0 {
			break
		}
		if p.subnet != nil && !p.subnet.Default {
			return api.Errorf("InvalidParameterCombination", "The parameter groupName cannot be used with the parameter subnet")
		}
		g := o.groupNamed(vpcID, name)
		if g == nil || o.call.Hidden(g.ID) {
			return api.Errorf(kindGroup.missing, "The security group '%s' does not exist in default VPC '%s'", name, vpcID)
		}
		p.groups = append(p.groups, g.ID)
	}
	if len(p.groups) == 0 {
		if g := o.groupNamed(vpcID, "default"); g != nil {
			p.groups = []string{g.ID}
		}
	}
	return nil
}

// checkAddress checks an address in the subnet that was asked for.
func (o *op) checkAddress(p *plan, address string) error {
	if address == "" {
		return nil
	}
	a, err := netip.ParseAddr(address)
	if err != nil || p.subnet == nil {
		return api.Errorf("InvalidParameterValue", "invalid value for parameter address: [%s]", address)
	}
	block, err := netip.ParsePrefix(p.subnet.CIDR)
	if err != nil || !block.Contains(a) {
		return api.Errorf("InvalidParameterValue", "Address %s does not fall within the subnet's address range", address)
	}
	if reserved(block, a) {
		return api.Errorf("InvalidParameterValue", "Address %s is in subnet's reserved address range", address)
	}
	if o.usedAddresses(p.subnet.VPC)[a] {
		return api.Errorf("InvalidIPAddress.InUse", "Address %s is in use.", address)
	}
	return nil
}

// reserved reports whether AWS keeps an address of a subnet: the first four and the last.
func reserved(block netip.Prefix, a netip.Addr) bool {
	first := block.Masked().Addr()
	for range 4 {
		if a == first {
			return true
		}
		first = first.Next()
	}
	return !block.Contains(a.Next())
}

// usedAddresses are those that interfaces in a VPC have.
func (o *op) usedAddresses(vpc string) map[netip.Addr]bool {
	used := map[netip.Addr]bool{}
	for _, i := range o.r.Instances {
		if i.VPC != vpc || i.State == terminated {
			continue
		}
		used[i.private()] = true
		for _, n := range i.Interfaces {
			used[n.Address] = true
			for _, a := range n.IPv6 {
				used[a] = true
			}
		}
	}
	return used
}

// privateAddress is the one asked for, or one of the subnet that is free: any,
// as on AWS, so that two sandboxes on this machine seldom choose the same.
func (o *op) privateAddress(s *subnet, asked string) netip.Addr {
	if a, err := netip.ParseAddr(asked); err == nil {
		return a
	}
	block, err := netip.ParsePrefix(s.CIDR)
	if err != nil {
		return netip.Addr{}
	}
	used, size := o.usedAddresses(s.VPC), uint32(1)<<(32-block.Bits())
	first := binary.BigEndian.Uint32(block.Masked().Addr().AsSlice())
	at := rand.Uint32N(size)
	for n := range size {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], first+(at+n)%size)
		if a := netip.AddrFrom4(b); !reserved(block, a) && !used[a] {
			return a
		}
	}
	return netip.Addr{} // the plan has seen to it that there is one
}

// nextAddress is one that no machine of the sandbox has had, nor one of
// another sandbox: each has a network of its own.
func (o *op) nextAddress() netip.Addr {
	s := o.state
	if s.Network == [2]byte{} {
		s.Network = o.ownNetwork()
	}
	s.NextIP++
	third := int(s.Network[1]) + s.NextIP/254
	return netip.AddrFrom4([4]byte{127, s.Network[0] + byte(third/256)%8, byte(third), byte(1 + s.NextIP%254)})
}

// networkPort is what a sandbox listens on at the last address of its network,
// which no machine has, so that no other takes it.
const networkPort = 40022

// ownNetwork returns the second and third number of a network that is this
// sandbox's alone, as long as it runs: one at random that nobody has.
func (x *Control) ownNetwork() [2]byte {
	for range 100 {
		if x.reserved != nil {
			break
		}
		n := []byte(random(4))
		x.network = [2]byte{16 + hexDigit(n[0])*14 + hexDigit(n[1])%14, hexDigit(n[2])<<4 | hexDigit(n[3])}
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, x.network[0], x.network[1], 255}), networkPort)
		l, err := net.Listen("tcp4", at.String())
		if err == nil {
			x.reserved = l
		} else if !errors.Is(err, syscall.EADDRINUSE) {
			break // this machine has no such addresses: no machine listens there either
		}
	}
	return x.network
}

func hexDigit(c byte) byte { return byte(strings.IndexByte("0123456789abcdef", c)) }

// addInterfaces gives the instance its network interfaces.
func (o *op) addInterfaces(i *instance, p *plan) {
	for _, s := range p.nics {
		n := &networkInterface{meta: o.make(kindInterface, p.tags["network-interface"]), Attachment: "eni-attach-" + random(17), Instance: i.ID, Index: *s.Index,
			Description: s.Description, Groups: p.groups, Subnet: i.Subnet, VPC: i.VPC, Zone: i.Zone, DeleteOnTermination: or(s.DeleteOnTermination, true),
			Address: i.private(), Public: i.Public && *s.Index == 0, IPv6: o.addresses6(o.r.Subnets[i.Subnet], s)}
		m := random(10)
		n.MAC = fmt.Sprintf("02:%s:%s:%s:%s:%s", m[:2], m[2:4], m[4:6], m[6:8], m[8:])
		if *s.Index > 0 {
			n.Address = o.privateAddress(o.r.Subnets[i.Subnet], s.PrivateIP)
			if len(s.Groups) > 0 {
				n.Groups = s.Groups
			}
		}
		i.Interfaces = append(i.Interfaces, n)
	}
}
