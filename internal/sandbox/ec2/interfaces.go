package ec2

import "fmt"

type associationXML struct {
	Owner     string `xml:"ipOwnerId"`
	PublicDNS string `xml:"publicDnsName"`
	PublicIP  string `xml:"publicIp"`
	// Of an Elastic IP address; EC2 tells it only where interfaces are asked for themselves.
	Allocation  string `xml:"allocationId,omitempty"`
	Association string `xml:"associationId,omitempty"`
}

type nicAttachment struct {
	ID                  string `xml:"attachmentId"`
	Index               int    `xml:"deviceIndex"`
	State               string `xml:"status"`
	At                  string `xml:"attachTime"`
	DeleteOnTermination bool   `xml:"deleteOnTermination"`
	Card                int    `xml:"networkCardIndex"`
	Instance            string `xml:"instanceId,omitempty"`
	Owner               string `xml:"instanceOwnerId,omitempty"`
}

type nicAddress struct {
	Address     string          `xml:"privateIpAddress"`
	DNS         string          `xml:"privateDnsName"`
	Primary     bool            `xml:"primary"`
	Association *associationXML `xml:"association,omitempty"`
}

type interfaceXML struct {
	ID          string           `xml:"networkInterfaceId"`
	Subnet      string           `xml:"subnetId"`
	VPC         string           `xml:"vpcId"`
	Zone        string           `xml:"availabilityZone,omitempty"`
	Description string           `xml:"description"`
	Owner       string           `xml:"ownerId"`
	Status      string           `xml:"status"`
	MAC         string           `xml:"macAddress"`
	Address     string           `xml:"privateIpAddress"`
	DNS         string           `xml:"privateDnsName"`
	SourceCheck bool             `xml:"sourceDestCheck"`
	Groups      set[groupRef]    `xml:"groupSet>item"`
	Attachment  nicAttachment    `xml:"attachment"`
	Association *associationXML  `xml:"association,omitempty"`
	Addresses   set[nicAddress]  `xml:"privateIpAddressesSet>item"`
	Addresses6  set[ipv6Address] `xml:"ipv6AddressesSet>item"`
	Type        string           `xml:"interfaceType"`
	Tags        *set[tag]        `xml:"tagSet>item,omitempty"` // only where interfaces are asked for themselves
}

func (o *op) interfaceXML(n *networkInterface, i *instance) interfaceXML {
	state := "attached"
	if i.State == pending && !i.Booted {
		state = "attaching"
	}
	address, dns := n.Address.String(), o.r.privateName(n.Address)
	v := interfaceXML{ID: n.ID, Subnet: n.Subnet, VPC: n.VPC, Description: n.Description, Owner: n.Owner, Status: "in-use", MAC: n.MAC, Address: address, DNS: dns,
		SourceCheck: !i.Unchecked, Groups: o.groupRefs(n.Groups), Type: "interface",
		Attachment: nicAttachment{ID: n.Attachment, Index: n.Index, State: state, At: stamp(n.Created), DeleteOnTermination: n.DeleteOnTermination}}
	switch e := o.r.Addresses[i.Elastic]; {
	case e != nil && n.Index == 0:
		v.Association = &associationXML{Owner: e.Owner, PublicDNS: i.Address.String(), PublicIP: i.Address.String(), Allocation: e.ID, Association: e.Association}
	case n.Public && i.State == running:
		v.Association = &associationXML{Owner: "amazon", PublicDNS: i.Address.String(), PublicIP: i.Address.String()}
	}
	v.Addresses6 = ipv6Addresses(n.IPv6)
	v.Addresses = set[nicAddress]{{address, dns, true, v.Association}}
	return v
}

// associated makes a filter field of an interface's public address.
func (o *op) associated(get func(associationXML) string) func(*networkInterface) []string {
	return func(n *networkInterface) []string {
		if a := o.interfaceXML(n, o.r.Instances[n.Instance]).Association; a != nil {
			return []string{get(*a)}
		}
		return nil
	}
}

type describeInterfacesIn struct {
	dry
	page
	IDs     []string `q:"NetworkInterfaceId"`
	Filters []filter `q:"Filter"`
}

type describeInterfacesOut struct {
	Interfaces set[interfaceXML] `xml:"networkInterfaceSet>item"`
	NextToken  string            `xml:"nextToken,omitempty"`
}

func (o *op) describeInterfaces(in *describeInterfacesIn) (*describeInterfacesOut, error) {
	found, next, err := list(o, listing[*networkInterface]{kind: kindInterface, all: o.r.interfaces(), ids: in.IDs, filters: in.Filters, page: in.page, fields: fields[*networkInterface]{
		"network-interface-id":             one(func(n *networkInterface) string { return n.ID }),
		"attachment.instance-id":           one(func(n *networkInterface) string { return n.Instance }),
		"attachment.attachment-id":         one(func(n *networkInterface) string { return n.Attachment }),
		"attachment.device-index":          one(func(n *networkInterface) string { return fmt.Sprint(n.Index) }),
		"attachment.delete-on-termination": func(n *networkInterface) []string { return yes(n.DeleteOnTermination) },
		"subnet-id":                        one(func(n *networkInterface) string { return n.Subnet }),
		"vpc-id":                           one(func(n *networkInterface) string { return n.VPC }),
		"availability-zone":                one(func(n *networkInterface) string { return n.Zone }),
		"group-id":                         func(n *networkInterface) []string { return n.Groups },
		"private-ip-address":               one(func(n *networkInterface) string { return n.Address.String() }),
		"addresses.private-ip-address":     one(func(n *networkInterface) string { return n.Address.String() }),
		"ipv6-addresses.ipv6-address":      func(n *networkInterface) []string { return texts(n.IPv6) },
		"association.public-ip":            o.associated(func(a associationXML) string { return a.PublicIP }),
		"association.allocation-id":        o.associated(func(a associationXML) string { return a.Allocation }),
		"association.association-id":       o.associated(func(a associationXML) string { return a.Association }),
		"association.ip-owner-id":          o.associated(func(a associationXML) string { return a.Owner }),
		"mac-address":                      one(func(n *networkInterface) string { return n.MAC }),
		"description":                      one(func(n *networkInterface) string { return n.Description }),
		"status":                           one(func(*networkInterface) string { return "in-use" }),
		"interface-type":                   one(func(*networkInterface) string { return "interface" }),
		"owner-id":                         one(func(n *networkInterface) string { return n.Owner }),
	}})
	if err != nil {
		return nil, err
	}
	out := &describeInterfacesOut{NextToken: next}
	for _, n := range found {
		i := o.r.Instances[n.Instance]
		v := o.interfaceXML(n, i)
		v.Zone, v.Attachment.Instance, v.Attachment.Owner = n.Zone, i.ID, i.Owner
		tags := set[tag](n.Tags)
		v.Tags = &tags
		out.Interfaces = append(out.Interfaces, v)
	}
	return out, nil
}
