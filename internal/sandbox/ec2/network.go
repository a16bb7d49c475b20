package ec2

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"bake/internal/sandbox/api"
)

// A vpc is a network: here, a name for subnets and groups.
type vpc struct {
	meta
	CIDR    string
	Tenancy string
	Default bool
	NoDNS   bool    // no name server
	Names   *bool   // public host names; nil: a default VPC has them
	More    []block // of IPv4 addresses
	IPv6    []block
}

// A subnet is a part of a VPC in one zone.
type subnet struct {
	meta
	VPC, CIDR, Zone string
	Default         bool    // of its zone
	PublicIP        bool    // to instances launched in it
	IPv6            []block // one at most
	Assign6         bool    // an IPv6 address to instances launched in it
}

// A routeTable is a VPC's main one, or another, which subnets are associated with.
// Routes are shown, not enforced.
type routeTable struct {
	meta
	VPC, CIDR string
	Gateway   string // of the route to everywhere that default VPCs have
	Other     bool   // not the main one
	Routes    []route
	Subnets   []subnetRoutes
}

// A subnetRoutes is the association of a subnet with a route table.
type subnetRoutes struct{ ID, Subnet string }

// A gateway is an internet gateway.
type gateway struct {
	meta
	VPC string // empty: it is attached to none
}

// makeDefaultVPC gives an account what AWS gives it in every region.
func (o *op) makeDefaultVPC(a *account) *vpc {
	v := o.addVPC("172.31.0.0/16", nil)
	v.Default = true
	a.DefaultVPC = v.ID
	g := &gateway{meta: o.make(kindGateway, nil), VPC: v.ID}
	o.r.Gateways[g.ID] = g
	for _, t := range o.r.Routes {
		if t.VPC == v.ID {
			t.Gateway = g.ID
		}
	}
	for i, zone := range zonesOf(o.r.Name) {
		s := &subnet{meta: o.make(kindSubnet, nil), VPC: v.ID, CIDR: fmt.Sprintf("172.31.%d.0/20", 16*i), Zone: zone.name, Default: true, PublicIP: true}
		o.r.Subnets[s.ID] = s
	}
	return v
}

// addVPC makes a VPC with its main route table and default group.
func (o *op) addVPC(cidr string, tags []tag) *vpc {
	v := &vpc{meta: o.make(kindVPC, tags), CIDR: cidr}
	o.r.VPCs[v.ID] = v
	t := &routeTable{meta: o.make(kindRoutes, nil), VPC: v.ID, CIDR: cidr}
	o.r.Routes[t.ID] = t
	g := o.addGroup(v.ID, "default", "default VPC security group", nil)
	g.Rules = append(g.Rules, &rule{meta: o.make(kindRule, nil), Group: g.ID, Protocol: "-1", From: -1, To: -1, Source: g.ID, SourceOwner: g.Owner})
	return v
}

type vpcXML struct {
	ID      string          `xml:"vpcId"`
	Owner   string          `xml:"ownerId"`
	State   string          `xml:"state"`
	CIDR    string          `xml:"cidrBlock"`
	Blocks  set[cidrBlock]  `xml:"cidrBlockAssociationSet>item"`
	IPv6    *set[ipv6Block] `xml:"ipv6CidrBlockAssociationSet>item,omitempty"`
	DHCP    string          `xml:"dhcpOptionsId"`
	Tenancy string          `xml:"instanceTenancy"`
	Default bool            `xml:"isDefault"`
	Tags    set[tag]        `xml:"tagSet>item"`
}

type cidrBlock struct {
	ID    string    `xml:"associationId"`
	CIDR  string    `xml:"cidrBlock"`
	State cidrState `xml:"cidrBlockState"`
}

func (o *op) vpcXML(v *vpc) vpcXML {
	out := vpcXML{ID: v.ID, Owner: v.Owner, State: "available", CIDR: v.CIDR, DHCP: "dopt-" + strings.TrimPrefix(v.ID, "vpc-"), Tenancy: cmp.Or(v.Tenancy, "default"), Default: v.Default, Tags: v.Tags}
	for _, b := range v.blocks() {
		out.Blocks = append(out.Blocks, cidrBlock{b.ID, b.CIDR, cidrState{"associated"}})
	}
	if len(v.IPv6) > 0 {
		out.IPv6 = new(set[ipv6Block])
	}
	for _, b := range v.IPv6 {
		*out.IPv6 = append(*out.IPv6, o.ofVPC(b.associated()))
	}
	return out
}

type describeVpcsIn struct {
	dry
	page
	IDs     []string `q:"VpcId"`
	Filters []filter `q:"Filter"`
}

type describeVpcsOut struct {
	Vpcs      set[vpcXML] `xml:"vpcSet>item"`
	NextToken string      `xml:"nextToken,omitempty"`
}

func (o *op) describeVpcs(in *describeVpcsIn) (*describeVpcsOut, error) {
	isDefault := func(v *vpc) []string { return yes(v.Default) }
	found, next, err := list(o, listing[*vpc]{kind: kindVPC, all: o.r.VPCs, ids: in.IDs, filters: in.Filters, page: in.page, fields: fields[*vpc]{
		"vpc-id": one(func(v *vpc) string { return v.ID }), "cidr": one(func(v *vpc) string { return v.CIDR }),
		"cidr-block":                                  one(func(v *vpc) string { return v.CIDR }),
		"cidr-block-association.cidr-block":           blocksOf((*vpc).blocks, func(b block) string { return b.CIDR }),
		"cidr-block-association.association-id":       blocksOf((*vpc).blocks, func(b block) string { return b.ID }),
		"cidr-block-association.state":                blocksOf((*vpc).blocks, func(block) string { return "associated" }),
		"ipv6-cidr-block-association.ipv6-cidr-block": blocksOf((*vpc).blocks6, func(b block) string { return b.CIDR }),
		"ipv6-cidr-block-association.association-id":  blocksOf((*vpc).blocks6, func(b block) string { return b.ID }),
		"ipv6-cidr-block-association.ipv6-pool":       blocksOf((*vpc).blocks6, func(block) string { return "Amazon" }),
		"ipv6-cidr-block-association.state":           blocksOf((*vpc).blocks6, func(block) string { return "associated" }),
		"isDefault":                                   isDefault, "is-default": isDefault,
		"owner-id": one(func(v *vpc) string { return v.Owner }), "state": one(func(*vpc) string { return "available" }),
		"dhcp-options-id": one(func(v *vpc) string { return o.vpcXML(v).DHCP }),
	}})
	if err != nil {
		return nil, err
	}
	out := &describeVpcsOut{NextToken: next}
	for _, v := range found {
		out.Vpcs = append(out.Vpcs, o.vpcXML(v))
	}
	return out, nil
}

type createVpcIn struct {
	dry
	ipv6In
	CIDR    string    `q:"CidrBlock"`
	Tenancy string    `q:"InstanceTenancy"`
	Tags    []tagSpec `q:"TagSpecification"`
}

type createVpcOut struct {
	Vpc vpcXML `xml:"vpc"`
}

func (o *op) createVpc(in *createVpcIn) (*createVpcOut, error) {
	tags, err := tagsFor(in.Tags, kindVPC.name)
	if err != nil {
		return nil, err
	}
	if err := o.checkIPv6(in.ipv6In); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"", "default", "dedicated"}, in.Tenancy) {
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter instanceTenancy is invalid.", in.Tenancy)
	}
	p, err := vpcRange(in.CIDR)
	if err != nil {
		return nil, err
	}
	v := o.addVPC(p.String(), tags[kindVPC.name])
	v.Tenancy = in.Tenancy
	if in.Amazon {
		o.addIPv6(v)
	}
	return &createVpcOut{o.vpcXML(v)}, nil
}

func (o *op) createDefaultVpc(*struct{ dry }) (*createVpcOut, error) {
	if v := o.r.VPCs[o.me.DefaultVPC]; v != nil {
		return nil, api.Errorf("DefaultVpcAlreadyExists", "A Default VPC already exists for this account in this region.")
	}
	return &createVpcOut{o.vpcXML(o.makeDefaultVPC(o.me))}, nil
}

// blocksOf makes a filter field of a VPC's blocks.
func blocksOf(blocks func(*vpc) []block, get func(block) string) func(*vpc) []string {
	return func(v *vpc) []string {
		var values []string
		for _, b := range blocks(v) {
			values = append(values, get(b))
		}
		return values
	}
}

func (v *vpc) blocks6() []block { return v.IPv6 }

type deleteVpcIn struct {
	dry
	ID string `q:"VpcId,required"`
}

func (o *op) deleteVpc(in *deleteVpcIn) (*returned, error) {
	v, err := find(o, kindVPC, o.r.VPCs, in.ID)
	if err != nil {
		return nil, err
	}
	busy := api.Errorf("DependencyViolation", "The vpc '%s' has dependencies and cannot be deleted.", v.ID)
	for _, s := range o.r.Subnets {
		if s.VPC == v.ID {
			return nil, busy
		}
	}
	for _, g := range o.r.Groups {
		if g.VPC == v.ID && g.Name != "default" {
			return nil, busy
		}
	}
	for _, t := range o.r.Routes {
		if t.VPC == v.ID && t.Other {
			return nil, busy
		}
	}
	for _, g := range o.r.Gateways {
		if g.VPC == v.ID {
			return nil, busy
		}
	}
	for id, g := range o.r.Groups {
		if g.VPC == v.ID {
			delete(o.r.Groups, id)
		}
	}
	for id, t := range o.r.Routes {
		if t.VPC == v.ID {
			delete(o.r.Routes, id)
		}
	}
	delete(o.r.VPCs, v.ID)
	if o.me.DefaultVPC == v.ID {
		o.me.DefaultVPC = ""
	}
	return ok(), nil
}

type vpcAttributeIn struct {
	dry
	VpcID     string `q:"VpcId,required"`
	Attribute string `q:"Attribute,required"`
}

type vpcAttributeOut struct {
	VpcID        string     `xml:"vpcId"`
	DNSSupport   *boolValue `xml:"enableDnsSupport,omitempty"`
	DNSHostnames *boolValue `xml:"enableDnsHostnames,omitempty"`
}

func (o *op) describeVpcAttribute(in *vpcAttributeIn) (*vpcAttributeOut, error) {
	v, err := find(o, kindVPC, o.r.VPCs, in.VpcID)
	if err != nil {
		return nil, err
	}
	out := &vpcAttributeOut{VpcID: v.ID}
	switch in.Attribute {
	case "enableDnsSupport":
		out.DNSSupport = &boolValue{!v.NoDNS}
	case "enableDnsHostnames":
		out.DNSHostnames = &boolValue{or(v.Names, v.Default)}
	default:
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter attribute is invalid. Unknown attribute.", in.Attribute)
	}
	return out, nil
}

type modifyVpcIn struct {
	VpcID        string     `q:"VpcId,required"`
	DNSSupport   *boolValue `q:"EnableDnsSupport"`
	DNSHostnames *boolValue `q:"EnableDnsHostnames"`
}

// modifyVpc sets one attribute of a VPC. Machines here have names and a name server in any case.
func (o *op) modifyVpc(in *modifyVpcIn) (*returned, error) {
	v, err := find(o, kindVPC, o.r.VPCs, in.VpcID)
	switch {
	case err != nil:
		return nil, err
	case (in.DNSSupport == nil) == (in.DNSHostnames == nil):
		return nil, api.Errorf("InvalidParameterCombination", "Exactly one of the attributes must be specified")
	case in.DNSSupport != nil:
		v.NoDNS = !in.DNSSupport.Value
	default:
		v.Names = &in.DNSHostnames.Value
	}
	return ok(), nil
}

// free is how many addresses of the subnet no interface has; AWS keeps five.
func (o *op) free(s *subnet) int {
	p, err := netip.ParsePrefix(s.CIDR)
	if err != nil {
		return 0
	}
	n := 1<<(32-p.Bits()) - 5
	for _, i := range o.r.Instances {
		if i.Subnet == s.ID && i.State != terminated {
			n--
		}
	}
	return n
}

// defaultSubnet is the caller's default subnet of the zone, or nil.
func (o *op) defaultSubnet(zone string) *subnet {
	for _, s := range o.r.Subnets {
		if s.Owner == o.call.Account && s.Default && s.Zone == zone {
			return s
		}
	}
	return nil
}

// taken reports whether a CIDR block overlaps a subnet of the VPC.
func (o *op) taken(vpcID string, p netip.Prefix) bool {
	for _, s := range o.r.Subnets {
		if other, err := netip.ParsePrefix(s.CIDR); err == nil && s.VPC == vpcID && other.Overlaps(p) {
			return true
		}
	}
	return false
}

func zoneNamed(region, name, id string) (zone, error) {
	all := zonesOf(region)
	if name == "" && id == "" {
		return all[0], nil
	}
	i := slices.IndexFunc(all, func(z zone) bool { return z.name == name || z.id == id && name == "" })
	if i < 0 {
		return zone{}, api.Errorf("InvalidParameterValue", "Invalid availability zone: [%s%s]", name, id)
	}
	return all[i], nil
}
