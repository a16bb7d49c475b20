package elb

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"bake/internal/sandbox/api"
)

// A group is a target group.
type group struct {
	ARN         string
	Name        string
	Protocol    string
	Version     string // HTTP1, ...
	Port        int32
	VPC         string
	TargetType  string
	Check       check
	Attributes  map[string]string
	Targets     []*member
	LastCreated int
}

// A check is how the health of targets is found out.
type check struct {
	Enabled   bool
	Protocol  string
	Port      string // "traffic-port" or a number
	Path      string
	Interval  int32 // seconds
	Timeout   int32 // seconds
	Healthy   int32 // successes in a row
	Unhealthy int32 // failures in a row
	Matcher   string
}

type groupXML struct {
	ARN       string   `xml:"TargetGroupArn"`
	Name      string   `xml:"TargetGroupName"`
	Protocol  string   `xml:"Protocol"`
	Port      int32    `xml:"Port"`
	VPC       string   `xml:"VpcId,omitempty"`
	CProtocol string   `xml:"HealthCheckProtocol"`
	CPort     string   `xml:"HealthCheckPort"`
	CEnabled  bool     `xml:"HealthCheckEnabled"`
	Interval  int32    `xml:"HealthCheckIntervalSeconds"`
	Timeout   int32    `xml:"HealthCheckTimeoutSeconds"`
	Healthy   int32    `xml:"HealthyThresholdCount"`
	Unhealthy int32    `xml:"UnhealthyThresholdCount"`
	Path      string   `xml:"HealthCheckPath,omitempty"`
	Matcher   string   `xml:"Matcher>HttpCode,omitempty"`
	Balancers []string `xml:"LoadBalancerArns>member"`
	Type      string   `xml:"TargetType"`
	Version   string   `xml:"ProtocolVersion,omitempty"`
	IPType    string   `xml:"IpAddressType"`
}

func (r *region) groupXML(g *group) groupXML {
	c := g.Check
	return groupXML{ARN: g.ARN, Name: g.Name, Protocol: g.Protocol, Port: g.Port, VPC: g.VPC, CProtocol: c.Protocol, CPort: c.Port, CEnabled: c.Enabled,
		Interval: c.Interval, Timeout: c.Timeout, Healthy: c.Healthy, Unhealthy: c.Unhealthy, Path: c.Path, Matcher: c.Matcher,
		Balancers: r.balancersOf(g.ARN), Type: g.TargetType, Version: g.Version, IPType: "ipv4"}
}

// balancersOf are the load balancers whose listeners forward to a group.
func (r *region) balancersOf(groupARN string) []string {
	found := map[string]bool{}
	for _, l := range r.Listeners {
		if l.Default.forwards(groupARN) {
			found[l.Balancer] = true
		}
	}
	for _, u := range r.Rules {
		if l := r.Listeners[u.Listener]; l != nil && u.Actions.forwards(groupARN) {
			found[l.Balancer] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

type checkIn struct {
	Enabled   *bool    `q:"HealthCheckEnabled"`
	Protocol  string   `q:"HealthCheckProtocol"`
	Port      string   `q:"HealthCheckPort"`
	Path      string   `q:"HealthCheckPath"`
	Interval  int32    `q:"HealthCheckIntervalSeconds"`
	Timeout   int32    `q:"HealthCheckTimeoutSeconds"`
	Healthy   int32    `q:"HealthyThresholdCount"`
	Unhealthy int32    `q:"UnhealthyThresholdCount"`
	Matcher   *matcher `q:"Matcher"`
}

type matcher struct {
	HTTPCode string `q:"HttpCode"`
	GRPCCode string `q:"GrpcCode"`
}

type createGroupIn struct {
	checkIn
	Name          string `q:"Name,required"`
	Protocol      string `q:"Protocol"`
	Version       string `q:"ProtocolVersion"`
	Port          int32  `q:"Port"`
	VPC           string `q:"VpcId"`
	Type          string `q:"TargetType"`
	IPAddressType string `q:"IpAddressType"`
	Tags          []tag  `q:"Tags"`
}

type groupsOut struct {
	Groups []groupXML `xml:"TargetGroups>member"`
	Next   string     `xml:"NextMarker,omitempty"`
}

func (t *T) createTargetGroup(call *api.Call, r *region, in *createGroupIn) (*groupsOut, error) {
	if !balancerName.MatchString(in.Name) {
		return nil, validation("Target group name '%s' can only contain characters that are alphanumeric characters and hyphens(-), at most 32", in.Name)
	}
	g := &group{Name: in.Name, Protocol: in.Protocol, Version: in.Version, Port: in.Port, VPC: in.VPC, TargetType: or(in.Type, "instance")}
	if !slices.Contains([]string{"instance", "ip"}, g.TargetType) {
		return nil, validation("'%s' is not a target type that bake's sandbox has: instance, ip", g.TargetType)
	}
	if !slices.Contains([]string{"HTTP", "HTTPS", "TCP"}, g.Protocol) {
		return nil, validation("'%s' is not a protocol that bake's sandbox has: HTTP, HTTPS, TCP", g.Protocol)
	}
	if g.Port < 1 || g.Port > 65535 {
		return nil, validation("A port must be specified")
	}
	for _, old := range r.Groups {
		if old.Name != in.Name {
			continue
		}
		if old.Protocol == g.Protocol && old.Port == g.Port && old.VPC == g.VPC && old.TargetType == g.TargetType {
			return &groupsOut{Groups: []groupXML{r.groupXML(old)}}, nil
		}
		return nil, invalid("DuplicateTargetGroupName", "A target group with the same name '%s' exists, but with different settings", in.Name)
	}
	g.Check = check{Enabled: true, Protocol: "HTTP", Port: "traffic-port", Path: "/", Interval: 30, Timeout: 5, Healthy: 5, Unhealthy: 2, Matcher: "200"}
	if g.Protocol == "TCP" {
		g.Check = check{Enabled: true, Protocol: "TCP", Port: "traffic-port", Interval: 30, Timeout: 10, Healthy: 5, Unhealthy: 2}
	} else {
		g.Version = or(in.Version, "HTTP1")
	}
	if err := g.Check.set(in.checkIn); err != nil {
		return nil, err
	}
	g.Attributes = map[string]string{"deregistration_delay.timeout_seconds": "300", "stickiness.enabled": "false", "load_balancing.algorithm.type": "round_robin"}
	g.ARN = r.arn("targetgroup/" + in.Name + "/" + newID())
	r.Groups[g.ARN], r.Tags[g.ARN] = g, in.Tags
	return &groupsOut{Groups: []groupXML{r.groupXML(g)}}, nil
}

// set takes what is given over what there is.
func (c *check) set(in checkIn) error {
	if in.Enabled != nil {
		c.Enabled = *in.Enabled
	}
	if in.Protocol != "" {
		c.Protocol = in.Protocol
		if in.Protocol != "TCP" {
			c.Path, c.Matcher = or(c.Path, "/"), or(c.Matcher, "200")
		}
	}
	c.Port, c.Path = or(in.Port, c.Port), or(in.Path, c.Path)
	for _, n := range []struct {
		to        *int32
		given     int32
		low, high int32
		name      string
	}{
		{&c.Interval, in.Interval, 5, 300, "interval"}, {&c.Timeout, in.Timeout, 2, 120, "timeout"},
		{&c.Healthy, in.Healthy, 2, 10, "healthy threshold"}, {&c.Unhealthy, in.Unhealthy, 2, 10, "unhealthy threshold"},
	} {
		if n.given == 0 {
			continue
		}
		if n.given < n.low || n.given > n.high {
			return validation("Health check %s must be between %d and %d: %d", n.name, n.low, n.high, n.given)
		}
		*n.to = n.given
	}
	if c.Timeout >= c.Interval && c.Protocol != "TCP" {
		return validation("Health check timeout '%d' must be smaller than the interval '%d'", c.Timeout, c.Interval)
	}
	if in.Matcher != nil && in.Matcher.HTTPCode != "" {
		c.Matcher = in.Matcher.HTTPCode
	}
	return nil
}

// matches reports whether an HTTP status is one of the matcher's: "200,301-399".
func (c check) matches(status int) bool {
	for _, part := range strings.Split(c.Matcher, ",") {
		low, high, ranged := strings.Cut(strings.TrimSpace(part), "-")
		from, err1 := strconv.Atoi(low)
		to := from
		var err2 error
		if ranged {
			to, err2 = strconv.Atoi(high)
		}
		if err1 == nil && err2 == nil && status >= from && status <= to {
			return true
		}
	}
	return false
}

type describeGroupsIn struct {
	ARNs     []string `q:"TargetGroupArns"`
	Names    []string `q:"Names"`
	Balancer string   `q:"LoadBalancerArn"`
	Marker   string   `q:"Marker"`
	Size     int      `q:"PageSize"`
}

func (t *T) describeTargetGroups(call *api.Call, r *region, in *describeGroupsIn) (*groupsOut, error) {
	for _, arn := range in.ARNs {
		if r.Groups[arn] == nil || call.Hidden(arn) {
			return nil, invalid("TargetGroupNotFound", "One or more target groups not found")
		}
	}
	for _, name := range in.Names {
		if !slices.ContainsFunc(slices.Collect(maps.Values(r.Groups)), func(g *group) bool { return g.Name == name && !call.Hidden(g.ARN) }) {
			return nil, invalid("TargetGroupNotFound", "One or more target groups not found")
		}
	}
	out := &groupsOut{}
	for _, arn := range slices.Sorted(maps.Keys(r.Groups)) {
		x := r.groupXML(r.Groups[arn])
		if (len(in.ARNs) == 0 || slices.Contains(in.ARNs, arn)) && (len(in.Names) == 0 || slices.Contains(in.Names, x.Name)) &&
			(in.Balancer == "" || slices.Contains(x.Balancers, in.Balancer)) && !call.Hidden(arn) {
			out.Groups = append(out.Groups, x)
		}
	}
	out.Groups, out.Next = cut(out.Groups, in.Marker, in.Size, func(g groupXML) string { return g.ARN })
	return out, nil
}

// group finds a target group.
func (r *region) group(arn string) (*group, error) {
	if g := r.Groups[arn]; g != nil {
		return g, nil
	}
	return nil, invalid("TargetGroupNotFound", "Target groups '%s' not found", arn)
}

type groupIn struct {
	ARN string `q:"TargetGroupArn,required"`
}

type modifyGroupIn struct {
	groupIn
	checkIn
}

func (t *T) modifyTargetGroup(call *api.Call, r *region, in *modifyGroupIn) (*groupsOut, error) {
	g, err := r.group(in.ARN)
	if err != nil {
		return nil, err
	}
	next := g.Check
	if err := next.set(in.checkIn); err != nil {
		return nil, err
	}
	g.Check = next
	return &groupsOut{Groups: []groupXML{r.groupXML(g)}}, nil
}

func (t *T) deleteTargetGroup(call *api.Call, r *region, in *groupIn) (*done, error) {
	if r.Groups[in.ARN] != nil && len(r.balancersOf(in.ARN)) > 0 {
		return nil, invalid("ResourceInUse", "Target group '%s' is currently in use by a listener or a rule", in.ARN)
	}
	if g := r.Groups[in.ARN]; g != nil {
		for _, m := range g.Targets {
			m.end()
		}
	}
	delete(r.Groups, in.ARN)
	delete(r.Tags, in.ARN)
	return &done{}, nil
}

func (t *T) describeTargetGroupAttributes(call *api.Call, r *region, in *groupIn) (*attributesOut, error) {
	g, err := r.group(in.ARN)
	if err != nil {
		return nil, err
	}
	return attributes(g.Attributes), nil
}

type modifyGroupAttributesIn struct {
	groupIn
	Attributes []attribute `q:"Attributes"`
}

func (t *T) modifyTargetGroupAttributes(call *api.Call, r *region, in *modifyGroupAttributesIn) (*attributesOut, error) {
	g, err := r.group(in.ARN)
	if err != nil {
		return nil, err
	}
	for _, a := range in.Attributes {
		g.Attributes[a.Key] = a.Value
	}
	return attributes(g.Attributes), nil
}
