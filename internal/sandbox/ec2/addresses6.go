package ec2

import (
	"crypto/rand"
	"net/netip"
	"slices"

	"bake/internal/sandbox/api"
)

// checkIPv6Of checks the IPv6 addresses that an interface of a launch is to have.
func (o *op) checkIPv6Of(s *subnet, n interfaceSpec, count int) error {
	switch {
	case n.IPv6Count == nil && len(n.IPv6) == 0:
		return nil
	case n.IPv6Count != nil && len(n.IPv6) > 0:
		return api.Errorf("InvalidParameterCombination", "The parameters ipv6AddressCount and ipv6Addresses cannot be used together")
	case or(n.IPv6Count, 0) < 0 || or(n.IPv6Count, 0) > 50:
		return api.Errorf("InvalidParameterValue", "Value (%d) for parameter ipv6AddressCount is invalid.", *n.IPv6Count)
	case n.IPv6Count != nil && *n.IPv6Count == 0:
		return nil
	case len(n.IPv6) > 0 && count > 1:
		return api.Errorf("InvalidParameterCombination", "IPv6 addresses can not be specified when launching multiple instances.")
	}
	if s == nil || len(s.IPv6) == 0 {
		return api.Errorf("InvalidParameterValue", "The subnet '%s' does not have an IPv6 CIDR block associated with it.", or(s, subnet{}).ID)
	}
	asked := make([]string, len(n.IPv6))
	for i, a := range n.IPv6 {
		asked[i] = a.Address
	}
	_, err := o.asked6(s, asked)
	return err
}

// asked6 checks addresses of a subnet that were asked for.
func (o *op) asked6(s *subnet, texts []string) ([]netip.Addr, error) {
	used := o.usedAddresses(s.VPC)
	var all []netip.Addr
	for _, text := range texts {
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil || !a.Is6() || a.Zone() != "":
			return nil, api.Errorf("InvalidParameterValue", "invalid value for parameter ipv6Address: [%s]", text)
		case len(s.IPv6) == 0 || !s.IPv6[0].prefix().Contains(a):
			return nil, api.Errorf("InvalidParameterValue", "Address %s does not fall within the subnet's address range", text)
		case reserved6(s.IPv6[0].prefix(), a):
			return nil, api.Errorf("InvalidParameterValue", "Address %s is in subnet's reserved address range", text)
		case used[a] || slices.Contains(all, a):
			return nil, api.Errorf("InvalidIPAddress.InUse", "Address %s is in use.", text)
		}
		all = append(all, a)
	}
	return all, nil
}

// reserved6 reports whether AWS keeps an address of a subnet: the first four and the last.
func reserved6(p netip.Prefix, a netip.Addr) bool {
	b := a.As16()
	return p.Masked().Addr().As16() == [16]byte(append(append([]byte(nil), b[:15]...), b[15]&^3)) || !p.Contains(a.Next())
}

// addresses6 are the IPv6 addresses of an interface to be made: those asked for, or as
// many of the subnet's.
func (o *op) addresses6(s *subnet, n interfaceSpec) []netip.Addr {
	var all []netip.Addr
	for _, text := range n.IPv6 {
		if a, err := netip.ParseAddr(text.Address); err == nil {
			all = append(all, a)
		}
	}
	count := or(n.IPv6Count, 0)
	if n.IPv6Count == nil && len(all) == 0 && s.Assign6 {
		count = 1
	}
	return append(all, o.free6(s, count)...)
}

// free6 are addresses of the subnet that nobody has, any, as on AWS.
func (o *op) free6(s *subnet, count int) []netip.Addr {
	used := o.usedAddresses(s.VPC)
	var all []netip.Addr
	for len(s.IPv6) > 0 && len(all) < count {
		p := s.IPv6[0].prefix()
		b := p.Addr().As16()
		_, _ = rand.Read(b[8:]) // crypto/rand does not fail
		if a := netip.AddrFrom16(b); !used[a] && !reserved6(p, a) && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

func ipv6Addresses(all []netip.Addr) set[ipv6Address] {
	var list set[ipv6Address]
	for _, a := range all {
		list = append(list, ipv6Address{a.String()})
	}
	return list
}

type assign6In struct {
	Interface string   `q:"NetworkInterfaceId,required"`
	Count     *int     `q:"Ipv6AddressCount"`
	Addresses []string `q:"Ipv6Addresses"`
}

type assign6Out struct {
	Interface string      `xml:"networkInterfaceId"`
	Addresses set[string] `xml:"assignedIpv6Addresses>item"`
}

// assign6 gives an interface addresses. The machine has them from its next start on.
func (o *op) assign6(in *assign6In) (*assign6Out, error) {
	n, err := find(o, kindInterface, o.r.interfaces(), in.Interface)
	if err != nil {
		return nil, err
	}
	s := o.r.Subnets[n.Subnet]
	switch {
	case (in.Count == nil) == (len(in.Addresses) == 0):
		return nil, api.Errorf("InvalidParameterCombination", "Either ipv6AddressCount or ipv6Addresses should be provided.")
	case s == nil || len(s.IPv6) == 0:
		return nil, api.Errorf("InvalidParameterValue", "The subnet '%s' does not have an IPv6 CIDR block associated with it.", n.Subnet)
	}
	more, err := o.asked6(s, in.Addresses)
	if err != nil {
		return nil, err
	}
	more = append(more, o.free6(s, or(in.Count, 0))...)
	n.IPv6 = append(n.IPv6, more...)
	return &assign6Out{n.ID, texts(more)}, nil
}

type unassign6In struct {
	Interface string   `q:"NetworkInterfaceId,required"`
	Addresses []string `q:"Ipv6Addresses,required"`
}

type unassign6Out struct {
	Interface string      `xml:"networkInterfaceId"`
	Addresses set[string] `xml:"unassignedIpv6Addresses>item"`
}

func (o *op) unassign6(in *unassign6In) (*unassign6Out, error) {
	n, err := find(o, kindInterface, o.r.interfaces(), in.Interface)
	if err != nil {
		return nil, err
	}
	left := slices.Clone(n.IPv6)
	var gone []netip.Addr
	for _, text := range in.Addresses {
		a, _ := netip.ParseAddr(text)
		i := slices.Index(left, a)
		if i < 0 {
			return nil, api.Errorf("InvalidParameterValue", "Some of the specified addresses are not assigned to interface %s", n.ID)
		}
		gone, left = append(gone, a), slices.Delete(left, i, i+1)
	}
	n.IPv6 = left
	return &unassign6Out{n.ID, texts(gone)}, nil
}

func texts(all []netip.Addr) set[string] {
	var list set[string]
	for _, a := range all {
		list = append(list, a.String())
	}
	return list
}
