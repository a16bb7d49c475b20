package ec2

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"

	"bake/internal/sandbox/api"
)

// A block is a further CIDR block of a VPC or a subnet: IPv6, or a VPC's second IPv4 one.
type block struct {
	ID   string // of the association
	CIDR string
}

// A cidrState is how far an association has come.
type cidrState struct {
	State string `xml:"state"`
}

type ipv6Block struct {
	ID     string    `xml:"associationId"`
	CIDR   string    `xml:"ipv6CidrBlock"`
	State  cidrState `xml:"ipv6CidrBlockState"`
	Pool   string    `xml:"ipv6Pool,omitempty"` // of a VPC's
	Border string    `xml:"networkBorderGroup,omitempty"`
}

// associated is the block as Describe actions show it.
func (b block) associated() ipv6Block {
	return ipv6Block{ID: b.ID, CIDR: b.CIDR, State: cidrState{"associated"}}
}

// ofVPC adds whose the block of a VPC is: Amazon's.
func (o *op) ofVPC(b ipv6Block) ipv6Block {
	b.Pool, b.Border = "Amazon", o.r.Name
	return b
}

// amazonBlock is a /56 for a VPC. Amazon's own would be addresses of others in
// the world, so these are of the range that belongs to nobody (RFC 3849).
func (o *op) amazonBlock() block {
	for {
		a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		_, _ = rand.Read(a[4:7]) // crypto/rand does not fail
		p := netip.PrefixFrom(netip.AddrFrom16(a), 56)
		if !o.known6(p) {
			return block{"vpc-cidr-assoc-" + random(17), p.String()}
		}
	}
}

// known6 reports whether any VPC of the sandbox has addresses of the block.
func (x *Control) known6(p netip.Prefix) bool {
	for _, r := range x.state.Regions {
		for _, v := range r.VPCs {
			if slices.ContainsFunc(v.IPv6, func(b block) bool { return b.prefix().Overlaps(p) }) {
				return true
			}
		}
	}
	return false
}

// prefix is the block's CIDR, which was checked when it came.
func (b block) prefix() netip.Prefix {
	p, _ := netip.ParsePrefix(b.CIDR)
	return p
}

// An ipv6In is how a request asks for an IPv6 block of a VPC.
type ipv6In struct {
	Amazon bool   `q:"AmazonProvidedIpv6CidrBlock"`
	Border string `q:"Ipv6CidrBlockNetworkBorderGroup"`
	Pool   string `q:"Ipv6Pool"`
	CIDR6  string `q:"Ipv6CidrBlock"`
}

// check refuses what the sandbox's AWS has not: pools of addresses of one's own.
func (o *op) checkIPv6(in ipv6In) error {
	switch {
	case in.CIDR6 != "" && in.Pool == "":
		return api.Errorf("MissingParameter", "The request must contain the parameter ipv6Pool")
	case in.Pool != "":
		return api.Errorf("InvalidIpv6PoolId.NotFound", "The ipv6Pool ID '%s' does not exist", in.Pool)
	case in.Border != "" && !in.Amazon:
		return api.Errorf("InvalidParameterCombination", "The parameter ipv6CidrBlockNetworkBorderGroup is only valid with amazonProvidedIpv6CidrBlock")
	case in.Border != "" && in.Border != o.r.Name:
		return api.Errorf("InvalidParameterValue", "Value (%s) for parameter ipv6CidrBlockNetworkBorderGroup is invalid.", in.Border)
	}
	return nil
}

type associateVpcIn struct {
	ipv6In
	VpcID string `q:"VpcId,required"`
	CIDR  string `q:"CidrBlock"`
}

type associateVpcOut struct {
	VpcID string     `xml:"vpcId"`
	IPv6  *ipv6Block `xml:"ipv6CidrBlockAssociation,omitempty"`
	IPv4  *cidrBlock `xml:"cidrBlockAssociation,omitempty"`
}

// maxBlocks is the quota of IPv4 blocks of a VPC, and of IPv6 ones.
const maxBlocks = 5

func (o *op) associateVpc(in *associateVpcIn) (*associateVpcOut, error) {
	v, err := find(o, kindVPC, o.r.VPCs, in.VpcID)
	if err == nil {
		err = o.checkIPv6(in.ipv6In)
	}
	switch {
	case err != nil:
		return nil, err
	case in.Amazon && in.CIDR != "":
		return nil, api.Errorf("InvalidParameterCombination", "The parameters cidrBlock and amazonProvidedIpv6CidrBlock cannot be used together")
	case in.CIDR != "":
		return o.associateIPv4(v, in.CIDR)
	case !in.Amazon:
		return nil, api.Errorf("MissingParameter", "Either 'cidrBlock' or 'amazonProvidedIpv6CidrBlock' should be provided.")
	case len(v.IPv6) >= maxBlocks:
		return nil, tooManyBlocks(v)
	}
	o.addIPv6(v)
	b := o.ofVPC(v.IPv6[len(v.IPv6)-1].associated())
	b.State.State = "associating"
	return &associateVpcOut{VpcID: v.ID, IPv6: &b}, nil
}

func tooManyBlocks(v *vpc) error {
	return api.Errorf("CidrLimitExceeded", "This network '%s' has met its maximum number of allowed CIDRs: %d", v.ID, maxBlocks)
}

// addIPv6 gives a VPC a block. Groups that let everything out over IPv4 do so over IPv6 from then on.
func (o *op) addIPv6(v *vpc) {
	v.IPv6 = append(v.IPv6, o.amazonBlock())
	for _, g := range o.r.Groups {
		all := &rule{Egress: true, Protocol: "-1", From: -1, To: -1, CIDR: "0.0.0.0/0"}
		all6 := &rule{Egress: true, Protocol: "-1", From: -1, To: -1, CIDR6: "::/0"}
		if g.VPC == v.ID && slices.ContainsFunc(g.Rules, all.same) && !slices.ContainsFunc(g.Rules, all6.same) {
			o.letOut6(g)
		}
	}
}

// letOut6 adds the rule that lets everything out over IPv6.
func (o *op) letOut6(g *group) {
	g.Rules = append(g.Rules, &rule{meta: o.make(kindRule, nil), Group: g.ID, Egress: true, Protocol: "-1", From: -1, To: -1, CIDR6: "::/0"})
}

// associateIPv4 gives a VPC a further block of IPv4 addresses.
func (o *op) associateIPv4(v *vpc, cidr string) (*associateVpcOut, error) {
	p, err := vpcRange(cidr)
	if err != nil {
		return nil, err
	}
	if len(v.More)+1 >= maxBlocks {
		return nil, tooManyBlocks(v)
	}
	for _, b := range v.blocks() {
		if b.prefix().Overlaps(p) {
			return nil, api.Errorf("CidrConflict", "The CIDR '%s' conflicts with another CIDR of the vpc '%s'", cidr, v.ID)
		}
	}
	b := block{"vpc-cidr-assoc-" + random(17), p.String()}
	v.More = append(v.More, b)
	return &associateVpcOut{VpcID: v.ID, IPv4: &cidrBlock{b.ID, b.CIDR, cidrState{"associating"}}}, nil
}

// vpcRange checks an IPv4 block of a VPC.
func vpcRange(cidr string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(cidr)
	if err != nil || !p.Addr().Is4() {
		return p, api.Errorf("InvalidParameterValue", "Value (%s) for parameter cidrBlock is invalid. This is not a valid CIDR block.", cidr)
	}
	if p.Bits() < 16 || p.Bits() > 28 {
		return p, api.Errorf("InvalidVpc.Range", "The CIDR '%s' is invalid.", cidr)
	}
	return p.Masked(), nil
}

type disassociateIn struct {
	Association string `q:"AssociationId,required"`
}

func (o *op) disassociateVpc(in *disassociateIn) (*associateVpcOut, error) {
	var v *vpc
	for _, candidate := range o.r.VPCs {
		if candidate.Owner == o.call.Account && slices.ContainsFunc(slices.Concat(candidate.blocks(), candidate.IPv6), in.is) {
			v = candidate
		}
	}
	if v == nil {
		return nil, api.Errorf("InvalidVpcCidrBlockAssociationID.NotFound", "The vpc CIDR block association ID '%s' does not exist", in.Association)
	}
	if in.is(v.blocks()[0]) {
		return nil, api.Errorf("OperationNotPermitted", "The vpc CIDR block with association ID %s may not be disassociated. It is the primary IPv4 CIDR block of the VPC", in.Association)
	}
	out := &associateVpcOut{VpcID: v.ID}
	for _, list := range []*[]block{&v.More, &v.IPv6} {
		n := slices.IndexFunc(*list, in.is)
		if n < 0 {
			continue
		}
		b := (*list)[n]
		if o.inUse(v.ID, b.prefix()) {
			return nil, api.Errorf("DependencyViolation", "The vpc CIDR block with association ID %s has subnets and cannot be disassociated.", b.ID)
		}
		*list = slices.Delete(slices.Clone(*list), n, n+1)
		if b.prefix().Addr().Is4() {
			out.IPv4 = &cidrBlock{b.ID, b.CIDR, cidrState{"disassociating"}}
			continue
		}
		v6 := o.ofVPC(b.associated())
		v6.State.State = "disassociating"
		out.IPv6 = &v6
	}
	return out, nil
}

func (in *disassociateIn) is(b block) bool { return b.ID == in.Association }

// inUse reports whether a subnet of the VPC has addresses of the block.
func (o *op) inUse(vpcID string, p netip.Prefix) bool {
	for _, s := range o.r.Subnets {
		own := append([]block{{CIDR: s.CIDR}}, s.IPv6...)
		if s.VPC == vpcID && slices.ContainsFunc(own, func(b block) bool { return b.prefix().Overlaps(p) }) {
			return true
		}
	}
	return false
}

// blocks are the IPv4 blocks of the VPC, the first one first.
func (v *vpc) blocks() []block {
	return append([]block{{"vpc-cidr-assoc-" + strings.TrimPrefix(v.ID, "vpc-"), v.CIDR}}, v.More...)
}

type associateSubnetIn struct {
	SubnetID string `q:"SubnetId,required"`
	CIDR6    string `q:"Ipv6CidrBlock,required"`
}

type associateSubnetOut struct {
	SubnetID string    `xml:"subnetId"`
	IPv6     ipv6Block `xml:"ipv6CidrBlockAssociation"`
}

func (o *op) associateSubnet(in *associateSubnetIn) (*associateSubnetOut, error) {
	s, err := find(o, kindSubnet, o.r.Subnets, in.SubnetID)
	if err != nil {
		return nil, err
	}
	if len(s.IPv6) > 0 {
		return nil, api.Errorf("InvalidParameterValue", "The subnet '%s' already has an IPv6 CIDR block associated with it.", s.ID)
	}
	b, err := o.subnetBlock(o.r.VPCs[s.VPC], in.CIDR6)
	if err != nil {
		return nil, err
	}
	s.IPv6 = []block{b}
	v := b.associated()
	v.State.State = "associating"
	return &associateSubnetOut{s.ID, v}, nil
}

// subnetBlock checks an IPv6 block for a subnet of the VPC.
func (o *op) subnetBlock(v *vpc, cidr string) (block, error) {
	p, err := netip.ParsePrefix(cidr)
	if err != nil || !p.Addr().Is6() {
		return block{}, api.Errorf("InvalidParameterValue", "Value (%s) for parameter ipv6CidrBlock is invalid. This is not a valid CIDR block.", cidr)
	}
	within := func(b block) bool { return b.prefix().Contains(p.Addr()) }
	if p = p.Masked(); p.Bits() != 64 || !slices.ContainsFunc(v.IPv6, within) {
		return block{}, api.Errorf("InvalidSubnet.Range", "The CIDR '%s' is invalid.", cidr)
	}
	if o.inUse(v.ID, p) {
		return block{}, api.Errorf("InvalidSubnet.Conflict", "The CIDR '%s' conflicts with another subnet", cidr)
	}
	return block{"subnet-cidr-assoc-" + random(17), p.String()}, nil
}

func (o *op) disassociateSubnet(in *disassociateIn) (*associateSubnetOut, error) {
	for _, s := range o.r.Subnets {
		n := slices.IndexFunc(s.IPv6, in.is)
		if n < 0 || s.Owner != o.call.Account {
			continue
		}
		for a := range o.usedAddresses(s.VPC) {
			if s.IPv6[n].prefix().Contains(a) {
				return nil, api.Errorf("DependencyViolation", "The subnet CIDR block with association ID %s is in use by a network interface and cannot be disassociated.", in.Association)
			}
		}
		v := s.IPv6[n].associated()
		v.State.State = "disassociating"
		s.IPv6 = slices.Delete(slices.Clone(s.IPv6), n, n+1)
		s.Assign6 = false
		return &associateSubnetOut{s.ID, v}, nil
	}
	return nil, api.Errorf("InvalidSubnetCidrBlockAssociationID.NotFound", "The subnet CIDR block association ID '%s' does not exist", in.Association)
}
