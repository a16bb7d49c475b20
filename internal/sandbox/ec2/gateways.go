package ec2

import (
	"net/netip"
	"slices"

	"bake/internal/sandbox/api"
)

type createGatewayIn struct {
	dry
	Tags []tagSpec `q:"TagSpecification"`
}

type createGatewayOut struct {
	Gateway gatewayXML `xml:"internetGateway"`
}

func (o *op) createGateway(in *createGatewayIn) (*createGatewayOut, error) {
	tags, err := tagsFor(in.Tags, kindGateway.name)
	if err != nil {
		return nil, err
	}
	g := &gateway{meta: o.make(kindGateway, tags[kindGateway.name])}
	o.r.Gateways[g.ID] = g
	return &createGatewayOut{g.view()}, nil
}

type gatewayIn struct {
	dry
	ID    string `q:"InternetGatewayId,required"`
	VpcID string `q:"VpcId,required"`
}

// gatewayOf finds the gateway and the VPC that a call names.
func (o *op) gatewayOf(in *gatewayIn) (*gateway, error) {
	g, err := find(o, kindGateway, o.r.Gateways, in.ID)
	if err == nil {
		_, err = find(o, kindVPC, o.r.VPCs, in.VpcID)
	}
	return g, err
}

func (o *op) attachGateway(in *gatewayIn) (*returned, error) {
	g, err := o.gatewayOf(in)
	if err != nil {
		return nil, err
	}
	if g.VPC != "" {
		return nil, api.Errorf("Resource.AlreadyAssociated", "resource %s is already attached to network %s", g.ID, g.VPC)
	}
	for _, other := range o.r.Gateways {
		if other.VPC == in.VpcID {
			return nil, api.Errorf("InvalidParameterValue", "Network %s already has an internet gateway attached", in.VpcID)
		}
	}
	g.VPC = in.VpcID
	return ok(), nil
}

func (o *op) detachGateway(in *gatewayIn) (*returned, error) {
	g, err := o.gatewayOf(in)
	if err != nil {
		return nil, err
	}
	if g.VPC != in.VpcID {
		return nil, api.Errorf("Gateway.NotAttached", "resource %s is not attached to network %s", g.ID, in.VpcID)
	}
	for _, i := range o.r.Instances {
		if i.VPC == g.VPC && i.Public && i.State != terminated {
			return nil, api.Errorf("DependencyViolation", "Network %s has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.", g.VPC)
		}
	}
	g.VPC = ""
	return ok(), nil
}

type deleteGatewayIn struct {
	dry
	ID string `q:"InternetGatewayId,required"`
}

func (o *op) deleteGateway(in *deleteGatewayIn) (*returned, error) {
	g, err := find(o, kindGateway, o.r.Gateways, in.ID)
	if err != nil {
		return nil, err
	}
	if g.VPC != "" {
		return nil, api.Errorf("DependencyViolation", "The internetGateway '%s' has dependencies and cannot be deleted.", g.ID)
	}
	delete(o.r.Gateways, g.ID)
	return ok(), nil
}

type createRoutesIn struct {
	dry
	VpcID string    `q:"VpcId,required"`
	Token string    `q:"ClientToken"`
	Tags  []tagSpec `q:"TagSpecification"`
}

type createRoutesOut struct {
	Table routeTableXML `xml:"routeTable"`
}

func (o *op) createRoutes(in *createRoutesIn) (*createRoutesOut, error) {
	tags, err := tagsFor(in.Tags, kindRoutes.name)
	if err != nil {
		return nil, err
	}
	v, err := find(o, kindVPC, o.r.VPCs, in.VpcID)
	if err != nil {
		return nil, err
	}
	t := &routeTable{meta: o.make(kindRoutes, tags[kindRoutes.name]), VPC: v.ID, CIDR: v.CIDR, Other: true}
	o.r.Routes[t.ID] = t
	return &createRoutesOut{o.routeTableXML(t)}, nil
}

type routeTableIn struct {
	dry
	ID string `q:"RouteTableId,required"`
}

func (o *op) deleteRoutes(in *routeTableIn) (*returned, error) {
	t, err := find(o, kindRoutes, o.r.Routes, in.ID)
	if err != nil {
		return nil, err
	}
	if !t.Other || len(t.Subnets) > 0 {
		return nil, api.Errorf("DependencyViolation", "The routeTable '%s' has dependencies and cannot be deleted.", t.ID)
	}
	delete(o.r.Routes, t.ID)
	return ok(), nil
}

type associateRoutesIn struct {
	routeTableIn
	Subnet string `q:"SubnetId,required"`
}

type associateRoutesOut struct {
	ID    string    `xml:"associationId"`
	State cidrState `xml:"associationState"`
}

func (o *op) associateRoutes(in *associateRoutesIn) (*associateRoutesOut, error) {
	t, err := find(o, kindRoutes, o.r.Routes, in.ID)
	if err != nil {
		return nil, err
	}
	s, err := find(o, kindSubnet, o.r.Subnets, in.Subnet)
	if err != nil {
		return nil, err
	}
	if s.VPC != t.VPC {
		return nil, api.Errorf("InvalidParameterValue", "Route table %s and subnet %s belong to different networks", t.ID, s.ID)
	}
	for _, other := range o.r.Routes {
		for _, a := range other.Subnets {
			switch {
			case a.Subnet == s.ID && other == t:
				return &associateRoutesOut{a.ID, cidrState{"associated"}}, nil
			case a.Subnet == s.ID:
				return nil, api.Errorf("Resource.AlreadyAssociated", "the specified association for route table %s conflicts with an existing association", t.ID)
			}
		}
	}
	a := subnetRoutes{"rtbassoc-" + random(17), s.ID}
	t.Subnets = append(t.Subnets, a)
	return &associateRoutesOut{a.ID, cidrState{"associated"}}, nil
}

type disassociateRoutesIn struct {
	dry
	ID string `q:"AssociationId,required"`
}

func (o *op) disassociateRoutes(in *disassociateRoutesIn) (*returned, error) {
	for _, t := range o.r.Routes {
		if t.Owner != o.call.Account {
			continue
		}
		if !t.Other && t.mainID() == in.ID {
			return nil, api.Errorf("InvalidParameterValue", "cannot disassociate the main route table association %s", in.ID)
		}
		if n := slices.IndexFunc(t.Subnets, func(a subnetRoutes) bool { return a.ID == in.ID }); n >= 0 {
			t.Subnets = slices.Delete(t.Subnets, n, n+1)
			return ok(), nil
		}
	}
	return nil, api.Errorf("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", in.ID)
}

type routeIn struct {
	routeTableIn
	Destination  string `q:"DestinationCidrBlock"`
	Destination6 string `q:"DestinationIpv6CidrBlock"`
}

type newRouteIn struct {
	routeIn
	Gateway   string `q:"GatewayId"`
	Instance  string `q:"InstanceId"`
	Interface string `q:"NetworkInterfaceId"`
}

// to finds the table of a route, and makes its destination what it is kept as.
func (o *op) to(in *routeIn) (*routeTable, error) {
	t, err := find(o, kindRoutes, o.r.Routes, in.ID)
	if err != nil {
		return nil, err
	}
	if (in.Destination == "") == (in.Destination6 == "") {
		return nil, api.Errorf("InvalidParameterCombination", "Exactly one of destinationCidrBlock and destinationIpv6CidrBlock must be specified")
	}
	p, err := netip.ParsePrefix(in.Destination + in.Destination6)
	if err != nil || p.Addr().Is4() != (in.Destination != "") {
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block.", in.Destination+in.Destination6)
	}
	if in.Destination != "" {
		in.Destination = p.Masked().String()
	} else {
		in.Destination6 = p.Masked().String()
	}
	return t, nil
}

func (in *routeIn) is(r route) bool {
	return r.Destination == in.Destination && r.Destination6 == in.Destination6
}

// target is the route that a call describes: through a gateway, or a machine.
func (o *op) target(t *routeTable, in *newRouteIn) (route, error) {
	r := route{Destination: in.Destination, Destination6: in.Destination6, State: "active", Origin: "CreateRoute"}
	switch {
	case in.Gateway != "":
		g, err := find(o, kindGateway, o.r.Gateways, in.Gateway)
		if err != nil {
			return r, err
		}
		if g.VPC != t.VPC {
			return r, api.Errorf("InvalidParameterValue", "route table %s and network gateway %s belong to different networks", t.ID, g.ID)
		}
		r.Gateway = g.ID
	case in.Instance != "":
		i, err := find(o, kindInstance, o.r.Instances, in.Instance)
		if err != nil {
			return r, err
		}
		r.Instance, r.Owner, r.Interface = i.ID, i.Owner, i.Interfaces[0].ID
	case in.Interface != "":
		n, err := find(o, kindInterface, o.r.interfaces(), in.Interface)
		if err != nil {
			return r, err
		}
		r.Interface, r.Instance, r.Owner = n.ID, n.Instance, n.Owner
	default:
		return r, api.Errorf("MissingParameter", "The request must contain exactly one of gatewayId, natGatewayId, networkInterfaceId, vpcPeeringConnectionId, egressOnlyInternetGatewayId, transitGatewayId, localGatewayId, carrierGatewayId or instanceId")
	}
	return r, nil
}

func (o *op) createRoute(in *newRouteIn) (*returned, error) {
	t, err := o.to(&in.routeIn)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(o.routes(t), in.is) {
		return nil, api.Errorf("RouteAlreadyExists", "The route identified by %s already exists.", in.Destination+in.Destination6)
	}
	r, err := o.target(t, in)
	if err != nil {
		return nil, err
	}
	t.Routes = append(t.Routes, r)
	return ok(), nil
}

func (o *op) replaceRoute(in *newRouteIn) (*returned, error) {
	t, err := o.to(&in.routeIn)
	if err != nil {
		return nil, err
	}
	r, err := o.target(t, in)
	if err != nil {
		return nil, err
	}
	if err := o.dropRoute(t, &in.routeIn, "replaced"); err != nil {
		return nil, err
	}
	t.Routes = append(t.Routes, r)
	return ok(), nil
}

func (o *op) deleteRoute(in *routeIn) (*returned, error) {
	t, err := o.to(in)
	if err != nil {
		return nil, err
	}
	if err := o.dropRoute(t, in, "removed"); err != nil {
		return nil, err
	}
	return ok(), nil
}

// dropRoute takes a route out of a table. How says what becomes of it.
func (o *op) dropRoute(t *routeTable, in *routeIn, how string) error {
	n := slices.IndexFunc(t.Routes, in.is)
	switch {
	case n >= 0:
		t.Routes = slices.Delete(t.Routes, n, n+1)
	case t.Gateway != "" && in.Destination == "0.0.0.0/0":
		t.Gateway = ""
	case slices.ContainsFunc(o.routes(t), in.is):
		return api.Errorf("InvalidParameterValue", "cannot have local route %s %s in route table %s", in.Destination+in.Destination6, how, t.ID)
	default:
		return api.Errorf("InvalidRoute.NotFound", "no route with destination-cidr-block %s in route table %s", in.Destination+in.Destination6, t.ID)
	}
	return nil
}
