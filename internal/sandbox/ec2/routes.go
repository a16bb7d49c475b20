package ec2

import "strings"

// A route is one of a table, as it is kept and as it is shown.
type route struct {
	Destination  string `xml:"destinationCidrBlock,omitempty"`
	Destination6 string `xml:"destinationIpv6CidrBlock,omitempty"`
	Gateway      string `xml:"gatewayId,omitempty"`
	Interface    string `xml:"networkInterfaceId,omitempty"`
	Instance     string `xml:"instanceId,omitempty"`
	Owner        string `xml:"instanceOwnerId,omitempty"`
	State        string `xml:"state"`
	Origin       string `xml:"origin"`
}

type association struct {
	ID     string    `xml:"routeTableAssociationId"`
	Table  string    `xml:"routeTableId"`
	Subnet string    `xml:"subnetId,omitempty"`
	Main   bool      `xml:"main"`
	State  cidrState `xml:"associationState"`
}

type routeTableXML struct {
	ID           string           `xml:"routeTableId"`
	VpcID        string           `xml:"vpcId"`
	Owner        string           `xml:"ownerId"`
	Routes       set[route]       `xml:"routeSet>item"`
	Associations set[association] `xml:"associationSet>item"`
	Propagating  set[tag]         `xml:"propagatingVgwSet>item"`
	Tags         set[tag]         `xml:"tagSet>item"`
}

func (o *op) routeTableXML(t *routeTable) routeTableXML {
	v := routeTableXML{ID: t.ID, VpcID: t.VPC, Owner: t.Owner, Tags: t.Tags, Routes: o.routes(t)}
	if !t.Other {
		v.Associations = set[association]{{ID: t.mainID(), Table: t.ID, Main: true, State: cidrState{"associated"}}}
	}
	for _, a := range t.Subnets {
		v.Associations = append(v.Associations, association{ID: a.ID, Table: t.ID, Subnet: a.Subnet, State: cidrState{"associated"}})
	}
	return v
}

// mainID is the association of a VPC with its main table.
func (t *routeTable) mainID() string { return "rtbassoc-" + strings.TrimPrefix(t.ID, "rtb-") }

// routes are all of a table: those to the VPC itself, and those that were made.
func (o *op) routes(t *routeTable) set[route] {
	local := func(four, six string) route {
		return route{Destination: four, Destination6: six, Gateway: "local", State: "active", Origin: "CreateRouteTable"}
	}
	all := set[route]{local(t.CIDR, "")}
	if vpc := o.r.VPCs[t.VPC]; vpc != nil {
		for _, b := range vpc.More {
			all = append(all, local(b.CIDR, ""))
		}
		for _, b := range vpc.IPv6 {
			all = append(all, local("", b.CIDR))
		}
	}
	if t.Gateway != "" {
		all = append(all, route{Destination: "0.0.0.0/0", Gateway: t.Gateway, State: "active", Origin: "CreateRoute"})
	}
	for _, r := range t.Routes {
		if g := o.r.Gateways[r.Gateway]; r.Gateway != "" && (g == nil || g.VPC != t.VPC) {
			r.State = "blackhole"
		}
		all = append(all, r)
	}
	return all
}

type describeRoutesIn struct {
	dry
	page
	IDs     []string `q:"RouteTableId"`
	Filters []filter `q:"Filter"`
}

type describeRoutesOut struct {
	Tables    set[routeTableXML] `xml:"routeTableSet>item"`
	NextToken string             `xml:"nextToken,omitempty"`
}

func (o *op) describeRoutes(in *describeRoutesIn) (*describeRoutesOut, error) {
	found, next, err := list(o, listing[*routeTable]{kind: kindRoutes, all: o.r.Routes, ids: in.IDs, filters: in.Filters, page: in.page, fields: fields[*routeTable]{
		"route-table-id":                         one(func(t *routeTable) string { return t.ID }),
		"vpc-id":                                 one(func(t *routeTable) string { return t.VPC }),
		"owner-id":                               one(func(t *routeTable) string { return t.Owner }),
		"association.main":                       func(t *routeTable) []string { return yes(!t.Other) },
		"association.route-table-id":             one(func(t *routeTable) string { return t.ID }),
		"association.subnet-id":                  o.associations(func(a association) string { return a.Subnet }),
		"association.route-table-association-id": o.associations(func(a association) string { return a.ID }),
		"route.gateway-id":                       o.routeField(func(r route) string { return r.Gateway }),
		"route.destination-cidr-block":           o.routeField(func(r route) string { return r.Destination }),
		"route.destination-ipv6-cidr-block":      o.routeField(func(r route) string { return r.Destination6 }),
		"route.state":                            o.routeField(func(r route) string { return r.State }),
	}})
	if err != nil {
		return nil, err
	}
	out := &describeRoutesOut{NextToken: next}
	for _, t := range found {
		out.Tables = append(out.Tables, o.routeTableXML(t))
	}
	return out, nil
}

// associations makes a filter field of a table's associations.
func (o *op) associations(get func(association) string) func(*routeTable) []string {
	return func(t *routeTable) []string {
		var values []string
		for _, a := range o.routeTableXML(t).Associations {
			values = append(values, get(a))
		}
		return values
	}
}

// routeField makes a filter field of a table's routes.
func (o *op) routeField(get func(route) string) func(*routeTable) []string {
	return func(t *routeTable) []string {
		var values []string
		for _, r := range o.routes(t) {
			values = append(values, get(r))
		}
		return values
	}
}

type gatewayXML struct {
	ID          string          `xml:"internetGatewayId"`
	Owner       string          `xml:"ownerId"`
	Attachments set[gatewayVPC] `xml:"attachmentSet>item"`
	Tags        set[tag]        `xml:"tagSet>item"`
}

type gatewayVPC struct {
	VpcID string `xml:"vpcId"`
	State string `xml:"state"`
}

func (g *gateway) view() gatewayXML {
	v := gatewayXML{ID: g.ID, Owner: g.Owner, Tags: g.Tags}
	if g.VPC != "" {
		v.Attachments = set[gatewayVPC]{{g.VPC, "available"}}
	}
	return v
}

func attachedTo(g *gateway, value string) []string {
	if g.VPC == "" {
		return nil
	}
	return []string{value}
}

type describeGatewaysIn struct {
	dry
	page
	IDs     []string `q:"InternetGatewayId"`
	Filters []filter `q:"Filter"`
}

type describeGatewaysOut struct {
	Gateways  set[gatewayXML] `xml:"internetGatewaySet>item"`
	NextToken string          `xml:"nextToken,omitempty"`
}

func (o *op) describeGateways(in *describeGatewaysIn) (*describeGatewaysOut, error) {
	found, next, err := list(o, listing[*gateway]{kind: kindGateway, all: o.r.Gateways, ids: in.IDs, filters: in.Filters, page: in.page, fields: fields[*gateway]{
		"internet-gateway-id": one(func(g *gateway) string { return g.ID }),
		"attachment.vpc-id":   func(g *gateway) []string { return attachedTo(g, g.VPC) },
		"attachment.state":    func(g *gateway) []string { return attachedTo(g, "available") },
		"owner-id":            one(func(g *gateway) string { return g.Owner }),
	}})
	if err != nil {
		return nil, err
	}
	out := &describeGatewaysOut{NextToken: next}
	for _, g := range found {
		out.Gateways = append(out.Gateways, g.view())
	}
	return out, nil
}
