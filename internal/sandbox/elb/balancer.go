package elb

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
)

// A balancer is a load balancer.
type balancer struct {
	ARN            string
	Name           string
	Address        netip.Addr
	Created        time.Time
	Scheme         string
	Type           string // application, network
	VPC            string
	Subnets        []string
	SecurityGroups []string
	Attributes     map[string]string
}

type balancerXML struct {
	ARN           string    `xml:"LoadBalancerArn"`
	DNSName       string    `xml:"DNSName"`
	Zone          string    `xml:"CanonicalHostedZoneId"`
	Created       time.Time `xml:"CreatedTime"`
	Name          string    `xml:"LoadBalancerName"`
	Scheme        string    `xml:"Scheme"`
	VPC           string    `xml:"VpcId"`
	State         string    `xml:"State>Code"`
	Type          string    `xml:"Type"`
	Zones         []zoneXML `xml:"AvailabilityZones>member"`
	Groups        []string  `xml:"SecurityGroups>member"`
	IPAddressType string    `xml:"IpAddressType"`
}

type zoneXML struct {
	Name   string `xml:"ZoneName"`
	Subnet string `xml:"SubnetId"`
}

// takesBalancer is how long a load balancer is "provisioning" on AWS.
const takesBalancer = 90 * time.Second

func (t *T) balancerXML(r *region, b *balancer) balancerXML {
	x := balancerXML{ARN: b.ARN, DNSName: b.Address.String(), Zone: "Z32O12XQLNTSW2", Created: b.Created, Name: b.Name, Scheme: b.Scheme, VPC: b.VPC,
		State: "active", Type: b.Type, Groups: b.SecurityGroups, IPAddressType: "ipv4"}
	if t.now().Sub(b.Created) < t.w.Takes(takesBalancer) {
		x.State = "provisioning"
	}
	for i, s := range b.Subnets {
		x.Zones = append(x.Zones, zoneXML{r.Region + string(rune('a'+i%3)), s})
	}
	return x
}

type createLoadBalancerIn struct {
	Name           string          `q:"Name,required"`
	Subnets        []string        `q:"Subnets"`
	SubnetMappings []subnetMapping `q:"SubnetMappings"`
	SecurityGroups []string        `q:"SecurityGroups"`
	Scheme         string          `q:"Scheme"`
	Tags           []tag           `q:"Tags"`
	Type           string          `q:"Type"`
	IPAddressType  string          `q:"IpAddressType"`
}

type subnetMapping struct {
	SubnetID string `q:"SubnetId"`
}

type balancersOut struct {
	Balancers []balancerXML `xml:"LoadBalancers>member"`
	Next      string        `xml:"NextMarker,omitempty"`
}

var balancerName = lazyregexp.New(`^[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?$`)

func (t *T) createLoadBalancer(call *api.Call, r *region, in *createLoadBalancerIn) (*balancersOut, error) {
	if !balancerName.MatchString(in.Name) || strings.HasPrefix(in.Name, "internal-") {
		return nil, validation("The load balancer name '%s' can only contain characters that are alphanumeric characters and hyphens(-), at most 32", in.Name)
	}
	for _, b := range r.Balancers {
		if b.Name == in.Name {
			if b.Type == or(in.Type, "application") && b.Scheme == or(in.Scheme, "internet-facing") {
				return &balancersOut{Balancers: []balancerXML{t.balancerXML(r, b)}}, nil
			}
			return nil, invalid("DuplicateLoadBalancerName", "A load balancer with the same name '%s' exists, but with different settings", in.Name)
		}
	}
	b := &balancer{Name: in.Name, Created: t.now(), Scheme: or(in.Scheme, "internet-facing"), Type: or(in.Type, "application"), VPC: "vpc-0sandbox", Subnets: in.Subnets, SecurityGroups: in.SecurityGroups}
	kind, ok := map[string]string{"application": "app", "network": "net"}[b.Type]
	if !ok {
		return nil, validation("'%s' is not a type that bake's sandbox has: application, network", b.Type)
	}
	for _, m := range in.SubnetMappings {
		b.Subnets = append(b.Subnets, m.SubnetID)
	}
	if len(b.Subnets) == 0 || b.Type == "application" && len(b.Subnets) < 2 {
		return nil, validation("At least two subnets in two different Availability Zones must be specified")
	}
	b.ARN = r.arn("loadbalancer/" + kind + "/" + in.Name + "/" + newID())
	b.Address = t.freeAddress()
	b.Attributes = map[string]string{"deletion_protection.enabled": "false", "idle_timeout.timeout_seconds": "60"}
	r.Balancers[b.ARN], r.Tags[b.ARN] = b, in.Tags
	return &balancersOut{Balancers: []balancerXML{t.balancerXML(r, b)}}, nil
}

// freeAddress is one of 127.240.0.0 and above, where nothing else of the sandbox is.
func (t *T) freeAddress() netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(240 + rand.IntN(14)), byte(rand.IntN(256)), byte(2 + rand.IntN(250))})
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

type describeLoadBalancersIn struct {
	ARNs   []string `q:"LoadBalancerArns"`
	Names  []string `q:"Names"`
	Marker string   `q:"Marker"`
	Size   int      `q:"PageSize"`
}

func (t *T) describeLoadBalancers(call *api.Call, r *region, in *describeLoadBalancersIn) (*balancersOut, error) {
	out := &balancersOut{}
	for _, arn := range in.ARNs {
		if r.Balancers[arn] == nil || call.Hidden(arn) {
			return nil, noBalancer(arn)
		}
	}
	for _, name := range in.Names {
		if !slices.ContainsFunc(slices.Collect(maps.Values(r.Balancers)), func(b *balancer) bool { return b.Name == name && !call.Hidden(b.ARN) }) {
			return nil, noBalancer(name)
		}
	}
	for _, arn := range slices.Sorted(maps.Keys(r.Balancers)) {
		b := r.Balancers[arn]
		if (len(in.ARNs) == 0 || slices.Contains(in.ARNs, arn)) && (len(in.Names) == 0 || slices.Contains(in.Names, b.Name)) && !call.Hidden(arn) {
			out.Balancers = append(out.Balancers, t.balancerXML(r, b))
		}
	}
	out.Balancers, out.Next = cut(out.Balancers, in.Marker, in.Size, func(b balancerXML) string { return b.ARN })
	return out, nil
}

func noBalancer(name string) error {
	return invalid("LoadBalancerNotFound", "Load balancers '[%s]' not found", name)
}

// cut returns one page of a list and the marker of the next.
func cut[V any](all []V, marker string, size int, name func(V) string) ([]V, string) {
	if i := slices.IndexFunc(all, func(v V) bool { return name(v) == marker }); marker != "" {
		all = all[i+1:]
	}
	if size <= 0 || size > 400 {
		size = 400
	}
	if len(all) <= size {
		return all, ""
	}
	return all[:size], name(all[size-1])
}

type balancerIn struct {
	ARN string `q:"LoadBalancerArn,required"`
}

type done struct{}

func (t *T) deleteLoadBalancer(call *api.Call, r *region, in *balancerIn) (*done, error) {
	b := r.Balancers[in.ARN]
	if b == nil {
		return &done{}, nil // it is not an error on AWS either
	}
	if b.Attributes["deletion_protection.enabled"] == "true" {
		return nil, invalid("OperationNotPermitted", "Load balancer '%s' cannot be deleted because deletion protection is enabled", in.ARN)
	}
	for arn, l := range r.Listeners {
		if l.Balancer == in.ARN {
			t.removeListener(r, arn)
		}
	}
	delete(r.Balancers, in.ARN)
	delete(r.Tags, in.ARN)
	return &done{}, nil
}

type attribute struct {
	Key   string `q:"Key" xml:"Key"`
	Value string `q:"Value" xml:"Value"`
}

type attributesOut struct {
	Attributes []attribute `xml:"Attributes>member"`
}

func attributes(m map[string]string) *attributesOut {
	out := &attributesOut{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out.Attributes = append(out.Attributes, attribute{k, m[k]})
	}
	return out
}

func (t *T) describeLoadBalancerAttributes(call *api.Call, r *region, in *balancerIn) (*attributesOut, error) {
	b := r.Balancers[in.ARN]
	if b == nil {
		return nil, noBalancer(in.ARN)
	}
	return attributes(b.Attributes), nil
}

type modifyBalancerIn struct {
	balancerIn
	Attributes []attribute `q:"Attributes"`
}

func (t *T) modifyLoadBalancerAttributes(call *api.Call, r *region, in *modifyBalancerIn) (*attributesOut, error) {
	b := r.Balancers[in.ARN]
	if b == nil {
		return nil, noBalancer(in.ARN)
	}
	for _, a := range in.Attributes {
		b.Attributes[a.Key] = a.Value
	}
	return attributes(b.Attributes), nil
}

// A tag is a key with a value.
type tag struct {
	Key   string `q:"Key" xml:"Key"`
	Value string `q:"Value" xml:"Value"`
}

type addTagsIn struct {
	ARNs []string `q:"ResourceArns"`
	Tags []tag    `q:"Tags"`
	Keys []string `q:"TagKeys"`
}

func (t *T) addTags(call *api.Call, r *region, in *addTagsIn) (*done, error) {
	for _, arn := range in.ARNs {
		for _, add := range in.Tags {
			r.Tags[arn] = append(slices.DeleteFunc(slices.Clone(r.Tags[arn]), func(old tag) bool { return old.Key == add.Key }), add)
		}
	}
	return &done{}, nil
}

func (t *T) removeTags(call *api.Call, r *region, in *addTagsIn) (*done, error) {
	for _, arn := range in.ARNs {
		r.Tags[arn] = slices.DeleteFunc(slices.Clone(r.Tags[arn]), func(old tag) bool { return slices.Contains(in.Keys, old.Key) })
	}
	return &done{}, nil
}

type tagsOut struct {
	Descriptions []tagDescription `xml:"TagDescriptions>member"`
}

type tagDescription struct {
	ARN  string `xml:"ResourceArn"`
	Tags []tag  `xml:"Tags>member"`
}

func (t *T) describeTags(call *api.Call, r *region, in *addTagsIn) (*tagsOut, error) {
	out := &tagsOut{}
	for _, arn := range in.ARNs {
		out.Descriptions = append(out.Descriptions, tagDescription{arn, r.Tags[arn]})
	}
	return out, nil
}
