package ec2

import (
	"fmt"
	"net/netip"
	"slices"

	"bake/internal/sandbox/api"
)

type subnetXML struct {
	ID       string         `xml:"subnetId"`
	ARN      string         `xml:"subnetArn"`
	State    string         `xml:"state"`
	Owner    string         `xml:"ownerId"`
	VpcID    string         `xml:"vpcId"`
	CIDR     string         `xml:"cidrBlock"`
	IPv6     set[ipv6Block] `xml:"ipv6CidrBlockAssociationSet>item"`
	AssignV6 bool           `xml:"assignIpv6AddressOnCreation"`
	Free     int            `xml:"availableIpAddressCount"`
	Zone     string         `xml:"availabilityZone"`
	ZoneID   string         `xml:"availabilityZoneId"`
	Default  bool           `xml:"defaultForAz"`
	PublicIP bool           `xml:"mapPublicIpOnLaunch"`
	Native6  bool           `xml:"ipv6Native"`
	DNS64    bool           `xml:"enableDns64"`
	Tags     set[tag]       `xml:"tagSet>item"`
}

func (o *op) subnetXML(s *subnet) subnetXML {
	z, _ := zoneNamed(o.r.Name, s.Zone, "") // it was checked when the subnet was made
	out := subnetXML{ID: s.ID, ARN: o.arn("subnet/" + s.ID), State: "available", Owner: s.Owner, VpcID: s.VPC, CIDR: s.CIDR,
		Free: o.free(s), Zone: s.Zone, ZoneID: z.id, Default: s.Default, PublicIP: s.PublicIP, AssignV6: s.Assign6, Tags: s.Tags}
	for _, b := range s.IPv6 {
		out.IPv6 = append(out.IPv6, b.associated())
	}
	return out
}

type describeSubnetsIn struct {
	dry
	page
	IDs     []string `q:"SubnetId"`
	Filters []filter `q:"Filter"`
}

type describeSubnetsOut struct {
	Subnets   set[subnetXML] `xml:"subnetSet>item"`
	NextToken string         `xml:"nextToken,omitempty"`
}

func (o *op) describeSubnets(in *describeSubnetsIn) (*describeSubnetsOut, error) {
	text := func(get func(subnetXML) string) func(*subnet) []string {
		return func(s *subnet) []string { return []string{get(o.subnetXML(s))} }
	}
	f := fields[*subnet]{
		"subnet-arn": text(func(v subnetXML) string { return v.ARN }), "owner-id": text(func(v subnetXML) string { return v.Owner }),
		"ipv6-native":                                 text(func(subnetXML) string { return "false" }),
		"map-public-ip-on-launch":                     text(func(v subnetXML) string { return fmt.Sprint(v.PublicIP) }),
		"ipv6-cidr-block-association.ipv6-cidr-block": subnetBlocks(func(b block) string { return b.CIDR }),
		"ipv6-cidr-block-association.association-id":  subnetBlocks(func(b block) string { return b.ID }),
		"ipv6-cidr-block-association.state":           subnetBlocks(func(block) string { return "associated" }),
	}
	// Some have been named twice in the API's life.
	for names, get := range map[[2]string]func(subnetXML) string{
		{"availability-zone", "availabilityZone"}:                 func(v subnetXML) string { return v.Zone },
		{"availability-zone-id", "availabilityZoneId"}:            func(v subnetXML) string { return v.ZoneID },
		{"available-ip-address-count", "availableIpAddressCount"}: func(v subnetXML) string { return fmt.Sprint(v.Free) },
		{"cidr-block", "cidrBlock"}:                               func(v subnetXML) string { return v.CIDR },
		{"cidr", "cidr"}:                                          func(v subnetXML) string { return v.CIDR },
		{"default-for-az", "defaultForAz"}:                        func(v subnetXML) string { return fmt.Sprint(v.Default) },
		{"subnet-id", "subnetId"}:                                 func(v subnetXML) string { return v.ID },
		{"vpc-id", "vpcId"}:                                       func(v subnetXML) string { return v.VpcID },
		{"state", "state"}:                                        func(v subnetXML) string { return v.State },
	} {
		f[names[0]], f[names[1]] = text(get), text(get)
	}
	found, next, err := list(o, listing[*subnet]{kind: kindSubnet, all: o.r.Subnets, ids: in.IDs, filters: in.Filters, page: in.page, fields: f})
	if err != nil {
		return nil, err
	}
	out := &describeSubnetsOut{NextToken: next}
	for _, s := range found {
		out.Subnets = append(out.Subnets, o.subnetXML(s))
	}
	return out, nil
}

// subnetBlocks makes a filter field of a subnet's IPv6 blocks.
func subnetBlocks(get func(block) string) func(*subnet) []string {
	return func(s *subnet) []string {
		var values []string
		for _, b := range s.IPv6 {
			values = append(values, get(b))
		}
		return values
	}
}

type createSubnetIn struct {
	dry
	VpcID  string    `q:"VpcId,required"`
	CIDR   string    `q:"CidrBlock"`
	CIDR6  string    `q:"Ipv6CidrBlock"`
	Zone   string    `q:"AvailabilityZone"`
	ZoneID string    `q:"AvailabilityZoneId"`
	Tags   []tagSpec `q:"TagSpecification"`
}

type createSubnetOut struct {
	Subnet subnetXML `xml:"subnet"`
}

func (o *op) createSubnet(in *createSubnetIn) (*createSubnetOut, error) {
	tags, err := tagsFor(in.Tags, kindSubnet.name)
	if err != nil {
		return nil, err
	}
	v, err := find(o, kindVPC, o.r.VPCs, in.VpcID)
	if err != nil {
		return nil, err
	}
	z, err := zoneNamed(o.r.Name, in.Zone, in.ZoneID)
	if err != nil {
		return nil, err
	}
	p, err := netip.ParsePrefix(in.CIDR)
	if err != nil || !p.Addr().Is4() {
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter cidrBlock is invalid. This is not a valid CIDR block.", in.CIDR)
	}
	within := func(b block) bool { return b.prefix().Contains(p.Addr()) && p.Bits() >= b.prefix().Bits() }
	if p = p.Masked(); !slices.ContainsFunc(v.blocks(), within) || p.Bits() > 28 {
		return nil, api.Errorf("InvalidSubnet.Range", "The CIDR '%s' is invalid.", in.CIDR)
	}
	if o.taken(v.ID, p) {
		return nil, api.Errorf("InvalidSubnet.Conflict", "The CIDR '%s' conflicts with another subnet", in.CIDR)
	}
	var six []block
	if in.CIDR6 != "" {
		b, err := o.subnetBlock(v, in.CIDR6)
		if err != nil {
			return nil, err
		}
		six = []block{b}
	}
	s := &subnet{meta: o.make(kindSubnet, tags[kindSubnet.name]), VPC: v.ID, CIDR: p.String(), Zone: z.name, IPv6: six}
	o.r.Subnets[s.ID] = s
	return &createSubnetOut{o.subnetXML(s)}, nil
}

type deleteSubnetIn struct {
	dry
	ID string `q:"SubnetId,required"`
}

func (o *op) deleteSubnet(in *deleteSubnetIn) (*returned, error) {
	s, err := find(o, kindSubnet, o.r.Subnets, in.ID)
	if err != nil {
		return nil, err
	}
	for _, i := range o.r.Instances {
		if i.Subnet == s.ID && i.State != terminated {
			return nil, api.Errorf("DependencyViolation", "The subnet '%s' has dependencies and cannot be deleted.", s.ID)
		}
	}
	delete(o.r.Subnets, s.ID)
	for _, t := range o.r.Routes {
		t.Subnets = slices.DeleteFunc(t.Subnets, func(a subnetRoutes) bool { return a.Subnet == s.ID })
	}
	return ok(), nil
}

type modifySubnetIn struct {
	ID       string     `q:"SubnetId,required"`
	PublicIP *boolValue `q:"MapPublicIpOnLaunch"`
	Assign6  *boolValue `q:"AssignIpv6AddressOnCreation"`
}

func (o *op) modifySubnet(in *modifySubnetIn) (*returned, error) {
	s, err := find(o, kindSubnet, o.r.Subnets, in.ID)
	if err != nil {
		return nil, err
	}
	switch {
	case in.PublicIP == nil && in.Assign6 == nil:
		return nil, api.Errorf("MissingParameter", "The request must contain the attribute to be modified")
	case in.PublicIP != nil && in.Assign6 != nil:
		return nil, api.Errorf("InvalidParameterCombination", "Only one attribute may be modified at a time")
	case in.PublicIP != nil:
		s.PublicIP = in.PublicIP.Value
	case in.Assign6.Value && len(s.IPv6) == 0:
		return nil, api.Errorf("InvalidParameterValue", "Invalid value 'true' for assignIpv6AddressOnCreation. The subnet %s must have an associated IPv6 CIDR block.", s.ID)
	default:
		s.Assign6 = in.Assign6.Value
	}
	return ok(), nil
}
