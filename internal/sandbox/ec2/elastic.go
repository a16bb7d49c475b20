package ec2

import (
	"net/netip"
	"slices"

	"bake/internal/sandbox/api"
)

// An elasticIP is an Elastic IP address: one of this machine's loopback
// addresses, as all public ones of the sandbox are, at which the instance that
// has it is reached instead of at its own.
type elasticIP struct {
	meta
	IP          netip.Addr
	Instance    string
	Association string
}

// maxAddresses is the default quota of an account in a region.
const maxAddresses = 5

type addressXML struct {
	Instance    string   `xml:"instanceId,omitempty"`
	IP          string   `xml:"publicIp"`
	Allocation  string   `xml:"allocationId"`
	Association string   `xml:"associationId,omitempty"`
	Domain      string   `xml:"domain"`
	Interface   string   `xml:"networkInterfaceId,omitempty"`
	Owner       string   `xml:"networkInterfaceOwnerId,omitempty"`
	Private     string   `xml:"privateIpAddress,omitempty"`
	Tags        set[tag] `xml:"tagSet>item"`
	Pool        string   `xml:"publicIpv4Pool"`
	Border      string   `xml:"networkBorderGroup"`
}

func (o *op) addressXML(e *elasticIP) addressXML {
	v := addressXML{IP: e.IP.String(), Allocation: e.ID, Association: e.Association, Domain: "vpc", Tags: e.Tags, Pool: "amazon", Border: o.r.Name}
	if i := o.r.Instances[e.Instance]; i != nil && len(i.Interfaces) > 0 {
		v.Instance, v.Interface, v.Owner, v.Private = i.ID, i.Interfaces[0].ID, i.Owner, i.private().String()
	}
	return v
}

type allocateIn struct {
	dry
	Domain  string    `q:"Domain"`
	Address string    `q:"Address"`
	Pool    string    `q:"PublicIpv4Pool"`
	Border  string    `q:"NetworkBorderGroup"`
	Tags    []tagSpec `q:"TagSpecification"`
}

type allocateOut struct {
	IP         string `xml:"publicIp"`
	Allocation string `xml:"allocationId"`
	Pool       string `xml:"publicIpv4Pool"`
	Border     string `xml:"networkBorderGroup"`
	Domain     string `xml:"domain"`
}

func (o *op) allocateAddress(in *allocateIn) (*allocateOut, error) {
	tags, err := tagsFor(in.Tags, kindAddress.name)
	if err != nil {
		return nil, err
	}
	owned := 0
	for _, e := range o.r.Addresses {
		if e.Owner == o.call.Account {
			owned++
		}
	}
	switch {
	case !slices.Contains([]string{"", "vpc"}, in.Domain):
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter domain is invalid.", in.Domain)
	case in.Address != "":
		return nil, api.Errorf("InvalidAddress.NotFound", "Address '%s' not found.", in.Address)
	case !slices.Contains([]string{"", "amazon"}, in.Pool):
		return nil, api.Errorf("InvalidPublicIpv4PoolID.NotFound", "The publicIpv4Pool ID '%s' does not exist", in.Pool)
	case !slices.Contains([]string{"", o.r.Name}, in.Border):
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter networkBorderGroup is invalid.", in.Border)
	case owned >= maxAddresses:
		return nil, api.Errorf("AddressLimitExceeded", "The maximum number of addresses has been reached.")
	}
	e := &elasticIP{meta: o.make(kindAddress, tags[kindAddress.name]), IP: o.nextAddress()}
	o.r.Addresses[e.ID] = e
	return &allocateOut{e.IP.String(), e.ID, "amazon", o.r.Name, "vpc"}, nil
}

// address finds an Elastic IP address of the caller's by its allocation, or by itself.
func (o *op) address(allocation, ip string) (*elasticIP, error) {
	switch {
	case allocation != "" && ip != "":
		return nil, api.Errorf("InvalidParameterCombination", "You may specify public IP or allocation id, but not both in the same call")
	case allocation != "":
		return find(o, kindAddress, o.r.Addresses, allocation)
	case ip == "":
		return nil, api.Errorf("MissingParameter", "Either public IP or allocation id must be specified")
	}
	for _, e := range o.r.Addresses {
		if e.Owner == o.call.Account && e.IP.String() == ip {
			return e, nil
		}
	}
	return nil, api.Errorf("InvalidAddress.NotFound", "Address '%s' not found.", ip)
}

type associateAddressIn struct {
	dry
	Allocation string `q:"AllocationId"`
	IP         string `q:"PublicIp"`
	Instance   string `q:"InstanceId"`
	Interface  string `q:"NetworkInterfaceId"`
	Private    string `q:"PrivateIpAddress"`
	Again      *bool  `q:"AllowReassociation"`
}

type associateAddressOut struct {
	Return      bool   `xml:"return"`
	Association string `xml:"associationId"`
}

func (o *op) associateAddress(in *associateAddressIn) (*associateAddressOut, error) {
	e, err := o.address(in.Allocation, in.IP)
	if err != nil {
		return nil, err
	}
	i, err := o.addressee(in)
	switch {
	case err != nil:
		return nil, err
	case in.Private != "" && in.Private != i.private().String():
		return nil, api.Errorf("InvalidParameterValue", "The address %s is not a private address of the network interface.", in.Private)
	case e.Instance == i.ID:
		return &associateAddressOut{true, e.Association}, nil
	// Asked for by its public address, an address moves as it did in EC2-Classic.
	case e.Instance != "" && !or(in.Again, in.IP != ""):
		return nil, api.Errorf("Resource.AlreadyAssociated", "resource %s is already associated with associate-id %s", e.ID, e.Association)
	}
	if before := o.r.Instances[e.Instance]; before != nil {
		o.takeBack(e, before)
	}
	if other := o.r.Addresses[i.Elastic]; other != nil {
		o.takeBack(other, i)
	}
	e.Instance, e.Association = i.ID, "eipassoc-"+random(17)
	i.Elastic, i.WasPublic, i.Public = e.ID, i.Public, true
	o.move(i, e.IP)
	return &associateAddressOut{true, e.Association}, nil
}

// addressee is the instance that an address is to have.
func (o *op) addressee(in *associateAddressIn) (*instance, error) {
	id := in.Instance
	switch {
	case id != "" && in.Interface != "":
		return nil, api.Errorf("InvalidParameterCombination", "You may specify either an instance ID or a network interface ID, but not both in the same call")
	case in.Interface != "":
		n, err := find(o, kindInterface, o.r.interfaces(), in.Interface)
		if err != nil {
			return nil, err
		}
		if n.Index != 0 {
			return nil, api.Errorf("InvalidParameterValue", "bake's sandbox reaches an instance at its first interface only")
		}
		id = n.Instance
	case id == "":
		return nil, api.Errorf("MissingParameter", "Either 'InstanceId' or 'NetworkInterfaceId' must be specified")
	}
	i, err := find(o, kindInstance, o.r.Instances, id)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{running, stopped, stopping}, i.State) {
		return nil, api.Errorf("InvalidInstanceID", "The %s instance '%s' is not in a valid state for this operation.", i.State, i.ID)
	}
	return i, nil
}

// move gives an instance another address outside.
func (o *op) move(i *instance, to netip.Addr) {
	i.Address = to
	if len(i.Interfaces) > 0 {
		i.Interfaces[0].Public = i.Public
	}
	if g := o.live[i.ID]; g != nil && g.machine != nil {
		m := g.machine
		o.unlocked(func() { m.Move(to) })
	}
}

// takeBack parts an address from its instance, which has one of its own again.
func (o *op) takeBack(e *elasticIP, i *instance) {
	e.Instance, e.Association = "", ""
	i.Elastic, i.Public = "", i.WasPublic
	o.move(i, o.nextAddress())
}

// giveBack parts an instance that is gone from its address.
func (r *region) giveBack(i *instance) {
	if e := r.Addresses[i.Elastic]; e != nil {
		e.Instance, e.Association = "", ""
		i.Elastic = ""
	}
}

type disassociateAddressIn struct {
	dry
	Association string `q:"AssociationId"`
	IP          string `q:"PublicIp"`
}

func (o *op) disassociateAddress(in *disassociateAddressIn) (*returned, error) {
	if (in.Association == "") == (in.IP == "") {
		return nil, api.Errorf("MissingParameter", "Either public IP or association id must be specified")
	}
	for _, e := range o.r.Addresses {
		if e.Owner != o.call.Account || e.Instance == "" || e.Association != in.Association && e.IP.String() != in.IP {
			continue
		}
		o.takeBack(e, o.r.Instances[e.Instance])
		return ok(), nil
	}
	if in.IP != "" {
		return nil, api.Errorf("InvalidAddress.NotFound", "Address '%s' not found.", in.IP)
	}
	return nil, api.Errorf("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", in.Association)
}

type releaseIn struct {
	dry
	Allocation string `q:"AllocationId"`
	IP         string `q:"PublicIp"`
	Border     string `q:"NetworkBorderGroup"`
}

func (o *op) releaseAddress(in *releaseIn) (*returned, error) {
	e, err := o.address(in.Allocation, in.IP)
	if err != nil {
		return nil, err
	}
	if e.Instance != "" {
		return nil, api.Errorf("InvalidIPAddress.InUse", "Address %s is in use.", e.ID)
	}
	delete(o.r.Addresses, e.ID)
	return ok(), nil
}

type describeAddressesIn struct {
	dry
	IDs     []string `q:"AllocationId"`
	IPs     []string `q:"PublicIp"`
	Filters []filter `q:"Filter"`
}

type describeAddressesOut struct {
	Addresses set[addressXML] `xml:"addressesSet>item"`
}

func (o *op) describeAddresses(in *describeAddressesIn) (*describeAddressesOut, error) {
	ids := slices.Clone(in.IDs)
	for _, ip := range in.IPs {
		e, err := o.address("", ip)
		if err != nil {
			return nil, err
		}
		ids = append(ids, e.ID)
	}
	f := fields[*elasticIP]{}
	for name, get := range map[string]func(addressXML) string{
		"allocation-id": func(v addressXML) string { return v.Allocation }, "association-id": func(v addressXML) string { return v.Association },
		"instance-id": func(v addressXML) string { return v.Instance }, "network-interface-id": func(v addressXML) string { return v.Interface },
		"network-interface-owner-id": func(v addressXML) string { return v.Owner }, "private-ip-address": func(v addressXML) string { return v.Private },
		"public-ip": func(v addressXML) string { return v.IP }, "domain": func(v addressXML) string { return v.Domain },
		"network-border-group": func(v addressXML) string { return v.Border },
	} {
		f[name] = func(e *elasticIP) []string { return []string{get(o.addressXML(e))} }
	}
	found, _, err := list(o, listing[*elasticIP]{kind: kindAddress, all: o.r.Addresses, ids: ids, filters: in.Filters, fields: f})
	if err != nil {
		return nil, err
	}
	out := &describeAddressesOut{}
	for _, e := range found {
		out.Addresses = append(out.Addresses, o.addressXML(e))
	}
	return out, nil
}
