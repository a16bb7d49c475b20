package ec2

import (
	"cmp"
	"slices"

	"bake/internal/sandbox/api"
)

// A zone is an availability zone.
type zone struct{ name, id string }

// zonePrefix is how the zone ids of a region begin.
func zonePrefix(region string) string {
	if p, ok := map[string]string{"us-east-1": "use1", "us-east-2": "use2", "us-west-1": "usw1", "us-west-2": "usw2", "ca-central-1": "cac1",
		"eu-west-1": "euw1", "eu-west-2": "euw2", "eu-west-3": "euw3", "eu-central-1": "euc1", "eu-north-1": "eun1", "eu-south-1": "eus1",
		"ap-southeast-1": "apse1", "ap-southeast-2": "apse2", "ap-northeast-1": "apne1", "ap-northeast-2": "apne2", "ap-south-1": "aps1",
		"sa-east-1": "sae1"}[region]; ok {
		return p
	}
	return region
}

// zonesOf are the zones of a region: three.
func zonesOf(region string) []zone {
	var all []zone
	for i, letter := range "abc" {
		all = append(all, zone{region + string(letter), zonePrefix(region) + "-az" + string(rune('1'+i))})
	}
	return all
}

// A named is something that filters go over, and that is no resource.
type named struct {
	meta
	zone zone
}

type describeRegionsIn struct {
	dry
	Names   []string `q:"RegionName"`
	All     bool     `q:"AllRegions"`
	Filters []filter `q:"Filter"`
}

type regionXML struct {
	Name     string `xml:"regionName"`
	Endpoint string `xml:"regionEndpoint"`
	OptIn    string `xml:"optInStatus"`
}

type describeRegionsOut struct {
	Regions set[regionXML] `xml:"regionInfo>item"`
}

func (o *op) describeRegions(in *describeRegionsIn) (*describeRegionsOut, error) {
	regions := o.world.Regions
	if len(regions) == 0 {
		regions = []string{o.r.Name}
	}
	all := map[string]*named{}
	for i, name := range slices.Sorted(slices.Values(regions)) {
		if len(in.Names) == 0 || slices.Contains(in.Names, name) {
			all[name] = &named{meta: meta{ID: name, Owner: o.call.Account, Seq: int64(i)}}
		}
	}
	for _, name := range in.Names {
		if all[name] == nil {
			return nil, api.Errorf("InvalidParameterValue", "Invalid region provided: [%s]", name)
		}
	}
	endpoint := func(n *named) string { return "ec2." + n.ID + ".amazonaws.com" }
	found, _, err := list(o, listing[*named]{all: all, filters: in.Filters, fields: fields[*named]{
		"region-name":   one(func(n *named) string { return n.ID }),
		"endpoint":      one(endpoint),
		"opt-in-status": one(func(*named) string { return "opt-in-not-required" }),
	}})
	if err != nil {
		return nil, err
	}
	out := &describeRegionsOut{}
	for _, n := range found {
		out.Regions = append(out.Regions, regionXML{n.ID, endpoint(n), "opt-in-not-required"})
	}
	return out, nil
}

type describeZonesIn struct {
	dry
	Names   []string `q:"ZoneName"`
	IDs     []string `q:"ZoneId"`
	All     bool     `q:"AllAvailabilityZones"`
	Filters []filter `q:"Filter"`
}

type zoneXML struct {
	Name    string   `xml:"zoneName"`
	ID      string   `xml:"zoneId"`
	State   string   `xml:"zoneState"`
	Region  string   `xml:"regionName"`
	Group   string   `xml:"groupName"`
	Border  string   `xml:"networkBorderGroup"`
	Type    string   `xml:"zoneType"`
	OptIn   string   `xml:"optInStatus"`
	Message set[tag] `xml:"messageSet>item"`
}

type describeZonesOut struct {
	Zones set[zoneXML] `xml:"availabilityZoneInfo>item"`
}

func (o *op) describeZones(in *describeZonesIn) (*describeZonesOut, error) {
	all := map[string]*named{}
	for i, z := range zonesOf(o.r.Name) {
		if (len(in.Names) == 0 || slices.Contains(in.Names, z.name)) && (len(in.IDs) == 0 || slices.Contains(in.IDs, z.id)) {
			all[z.name] = &named{meta: meta{ID: z.name, Owner: o.call.Account, Seq: int64(i)}, zone: z}
		}
	}
	for _, name := range in.Names {
		if all[name] == nil {
			return nil, api.Errorf("InvalidParameterValue", "Invalid availability zone: [%s]", name)
		}
	}
	always := func(s string) func(*named) []string { return func(*named) []string { return []string{s} } }
	found, _, err := list(o, listing[*named]{all: all, filters: in.Filters, fields: fields[*named]{
		"zone-name": one(func(n *named) string { return n.zone.name }), "zone-id": one(func(n *named) string { return n.zone.id }),
		"region-name": always(o.r.Name), "state": always("available"), "zone-type": always("availability-zone"),
		"opt-in-status": always("opt-in-not-required"), "group-name": always(o.r.Name + "-zg-1"), "message": always(""),
	}})
	if err != nil {
		return nil, err
	}
	out := &describeZonesOut{}
	for _, n := range found {
		out.Zones = append(out.Zones, zoneXML{Name: n.zone.name, ID: n.zone.id, State: "available", Region: o.r.Name, Group: o.r.Name + "-zg-1",
			Border: o.r.Name, Type: "availability-zone", OptIn: "opt-in-not-required"})
	}
	return out, nil
}

type accountAttributesIn struct {
	dry
	Names []string `q:"AttributeName"`
}

type accountAttribute struct {
	Name   string                `xml:"attributeName"`
	Values set[accountAttrValue] `xml:"attributeValueSet>item"`
}

type accountAttrValue struct {
	Value string `xml:"attributeValue"`
}

type accountAttributesOut struct {
	Attributes set[accountAttribute] `xml:"accountAttributeSet>item"`
}

func (o *op) describeAccountAttributes(in *accountAttributesIn) (*accountAttributesOut, error) {
	all := []accountAttribute{
		{"supported-platforms", set[accountAttrValue]{{"VPC"}}},
		{"vpc-max-security-groups-per-interface", set[accountAttrValue]{{"5"}}},
		{"max-elastic-ips", set[accountAttrValue]{{"5"}}},
		{"max-instances", set[accountAttrValue]{{"20"}}},
		{"vpc-max-elastic-ips", set[accountAttrValue]{{"5"}}},
		{"default-vpc", set[accountAttrValue]{{cmp.Or(o.me.DefaultVPC, "none")}}},
	}
	out := &accountAttributesOut{}
	for _, name := range in.Names {
		if !slices.ContainsFunc(all, func(a accountAttribute) bool { return a.Name == name }) {
			return nil, api.Errorf("InvalidParameterValue", "Invalid value '%s' for attributeName", name)
		}
	}
	for _, a := range all {
		if len(in.Names) == 0 || slices.Contains(in.Names, a.Name) {
			out.Attributes = append(out.Attributes, a)
		}
	}
	return out, nil
}
