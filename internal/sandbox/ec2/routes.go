package ec2

import "strings"

type route struct {
	Destination  string `xml:"destinationCidrBlock,omitempty"`
	Destination6 string `xml:"destinationIpv6CidrBlock,omitempty"`
	Gateway      string `xml:"gatewayId"`
	State        string `xml:"state"`
	Origin       string `xml:"origin"`
}

type association struct {
	ID    string `xml:"routeTableAssociationId"`
	Table string `xml:"routeTableId"`
	Main  bool   `xml:"main"`
	State struct {
		State string `xml:"state"`
	} `xml:"associationState"`
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
	a := association{ID: "rtbassoc-" + strings.TrimPrefix(t.ID, "rtb-"), Table: t.ID, Main: true}
	a.State.State = "associated"
	v := routeTableXML{ID: t.ID, VpcID: t.VPC, Owner: t.Owner, Associations: set[association]{a}, Tags: t.Tags,
		Routes: set[route]{{t.CIDR, "", "local", "active", "CreateRouteTable"}}}
	if vpc := o.r.VPCs[t.VPC]; vpc != nil {
		for _, b := range vpc.More {
			v.Routes = append(v.Routes, route{b.CIDR, "", "local", "active", "CreateRouteTable"})
		}
		for _, b := range vpc.IPv6 {
			v.Routes = append(v.Routes, route{"", b.CIDR, "local", "active", "CreateRouteTable"})
		}
	}
	if t.Gateway != "" {
		v.Routes = append(v.Routes, route{"0.0.0.0/0", "", t.Gateway, "active", "CreateRoute"})
	}
	return v
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
		"route-table-id":               one(func(t *routeTable) string { return t.ID }),
		"vpc-id":                       one(func(t *routeTable) string { return t.VPC }),
		"owner-id":                     one(func(t *routeTable) string { return t.Owner }),
		"association.main":             one(func(*routeTable) string { return "true" }),
		"association.route-table-id":   one(func(t *routeTable) string { return t.ID }),
		"association.subnet-id":        func(*routeTable) []string { return nil },
		"route.gateway-id":             func(t *routeTable) []string { return []string{"local", t.Gateway} },
		"route.destination-cidr-block": one(func(t *routeTable) string { return t.CIDR }),
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
		"attachment.vpc-id":   one(func(g *gateway) string { return g.VPC }),
		"attachment.state":    one(func(*gateway) string { return "available" }),
		"owner-id":            one(func(g *gateway) string { return g.Owner }),
	}})
	if err != nil {
		return nil, err
	}
	out := &describeGatewaysOut{NextToken: next}
	for _, g := range found {
		out.Gateways = append(out.Gateways, gatewayXML{ID: g.ID, Owner: g.Owner, Attachments: set[gatewayVPC]{{g.VPC, "available"}}, Tags: g.Tags})
	}
	return out, nil
}
