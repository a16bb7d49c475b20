package ec2

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"bake/internal/sandbox/api"
)

// A rule is one rule of a security group: one source (or destination), one range of ports.
type rule struct {
	meta
	Group       string
	Egress      bool
	Protocol    string // "tcp", "udp", "icmp", "icmpv6", a number, or "-1" for all
	From, To    int
	CIDR        string
	CIDR6       string
	PrefixList  string
	Source      string // a group
	SourceOwner string
	Description string
}

// same reports whether two rules of a group mean the same, so that AWS refuses the second.
func (r *rule) same(s *rule) bool {
	return r.Egress == s.Egress && r.Protocol == s.Protocol && r.From == s.From && r.To == s.To &&
		r.CIDR == s.CIDR && r.CIDR6 == s.CIDR6 && r.PrefixList == s.PrefixList && r.Source == s.Source
}

// rules are all rules of all groups.
func (r *region) rules() map[string]*rule {
	all := map[string]*rule{}
	for _, g := range r.Groups {
		for _, x := range g.Rules {
			all[x.ID] = x
		}
	}
	return all
}

type ipRange struct {
	Description string `q:"Description" xml:"description,omitempty"`
	CIDR        string `q:"CidrIp" xml:"cidrIp"`
}

type ipv6Range struct {
	Description string `q:"Description" xml:"description,omitempty"`
	CIDR        string `q:"CidrIpv6" xml:"cidrIpv6"`
}

type prefixListID struct {
	Description string `q:"Description" xml:"description,omitempty"`
	ID          string `q:"PrefixListId" xml:"prefixListId"`
}

type groupPair struct {
	Description string `q:"Description" xml:"description,omitempty"`
	UserID      string `q:"UserId" xml:"userId"`
	GroupName   string `q:"GroupName" xml:"groupName,omitempty"`
	GroupID     string `q:"GroupId" xml:"groupId"`
	VpcID       string `q:"VpcId" xml:"-"`
	Peering     string `q:"VpcPeeringConnectionId" xml:"-"`
	PeerStatus  string `q:"PeeringStatus" xml:"-"`
}

type permissionIn struct {
	Protocol   string         `q:"IpProtocol"`
	FromPort   *int           `q:"FromPort"`
	ToPort     *int           `q:"ToPort"`
	Groups     []groupPair    `q:"Groups"`
	Ranges     []ipRange      `q:"IpRanges"`
	Ranges6    []ipv6Range    `q:"Ipv6Ranges"`
	PrefixList []prefixListID `q:"PrefixListIds"`
}

type permissionXML struct {
	Protocol   string            `xml:"ipProtocol"`
	FromPort   *int              `xml:"fromPort,omitempty"`
	ToPort     *int              `xml:"toPort,omitempty"`
	Groups     set[groupPair]    `xml:"groups>item"`
	Ranges     set[ipRange]      `xml:"ipRanges>item"`
	Ranges6    set[ipv6Range]    `xml:"ipv6Ranges>item"`
	PrefixList set[prefixListID] `xml:"prefixListIds>item"`
}

// rulesIn is what authorize and revoke actions take.
type rulesIn struct {
	dry
	GroupID     string         `q:"GroupId"`
	GroupName   string         `q:"GroupName"`
	Protocol    string         `q:"IpProtocol"`
	FromPort    *int           `q:"FromPort"`
	ToPort      *int           `q:"ToPort"`
	CIDR        string         `q:"CidrIp"`
	SourceName  string         `q:"SourceSecurityGroupName"`
	SourceOwner string         `q:"SourceSecurityGroupOwnerId"`
	Permissions []permissionIn `q:"IpPermissions"`
	RuleIDs     []string       `q:"SecurityGroupRuleId"`
	Tags        []tagSpec      `q:"TagSpecification"`
}

// permissions are the rules of one direction, put together by protocol and ports as AWS shows them.
func permissions(g *group, egress bool) set[permissionXML] {
	var all set[permissionXML]
	for _, r := range g.Rules {
		if r.Egress != egress {
			continue
		}
		i := slices.IndexFunc(all, func(p permissionXML) bool {
			return p.Protocol == r.Protocol && (r.Protocol == "-1" || *p.FromPort == r.From && *p.ToPort == r.To)
		})
		if i < 0 {
			p := permissionXML{Protocol: r.Protocol}
			if r.Protocol != "-1" {
				p.FromPort, p.ToPort = &r.From, &r.To
			}
			all = append(all, p)
			i = len(all) - 1
		}
		p := &all[i]
		switch {
		case r.CIDR != "":
			p.Ranges = append(p.Ranges, ipRange{r.Description, r.CIDR})
		case r.CIDR6 != "":
			p.Ranges6 = append(p.Ranges6, ipv6Range{r.Description, r.CIDR6})
		case r.PrefixList != "":
			p.PrefixList = append(p.PrefixList, prefixListID{r.Description, r.PrefixList})
		default:
			p.Groups = append(p.Groups, groupPair{Description: r.Description, UserID: r.SourceOwner, GroupID: r.Source})
		}
	}
	return all
}

// asked returns the rules that the request describes, checked.
func (o *op) asked(g *group, in *rulesIn, egress bool) ([]*rule, error) {
	permissions := in.Permissions
	if in.Protocol != "" || in.SourceName != "" || in.CIDR != "" {
		p := permissionIn{Protocol: cmp.Or(in.Protocol, "-1"), FromPort: in.FromPort, ToPort: in.ToPort}
		if in.CIDR != "" {
			p.Ranges = []ipRange{{CIDR: in.CIDR}}
		}
		if in.SourceName != "" {
			p.Groups = []groupPair{{GroupName: in.SourceName, UserID: in.SourceOwner}}
		}
		permissions = append(permissions, p)
	}
	if len(permissions) == 0 {
		return nil, api.Errorf("MissingParameter", "The request must contain the parameter ipPermissions")
	}
	var all []*rule
	for _, p := range permissions {
		base, err := ports(p)
		if err != nil {
			return nil, err
		}
		base.Group, base.Egress = g.ID, egress
		rules, err := o.sources(g, p, base)
		if err != nil {
			return nil, err
		}
		all = append(all, rules...)
	}
	return all, nil
}

// ports checks protocol and ports of a permission.
func ports(p permissionIn) (rule, error) {
	r := rule{From: -1, To: -1}
	r.Protocol = strings.ToLower(p.Protocol)
	if name, ok := map[string]string{"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "all": "-1"}[r.Protocol]; ok {
		r.Protocol = name
	}
	switch r.Protocol {
	case "-1":
		return r, nil
	case "":
		return r, api.Errorf("MissingParameter", "The request must contain the parameter ipProtocol")
	case "icmp", "icmpv6":
		r.From, r.To = or(p.FromPort, -1), or(p.ToPort, -1)
		return r, nil
	case "tcp", "udp":
	default:
		if n, err := strconv.Atoi(r.Protocol); err != nil || n < 0 || n > 255 {
			return r, api.Errorf("InvalidPermission.Malformed", "Invalid IP protocol '%s'", p.Protocol)
		}
		return r, nil
	}
	if p.FromPort == nil || p.ToPort == nil {
		return r, api.Errorf("InvalidParameterValue", "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
	}
	r.From, r.To = *p.FromPort, *p.ToPort
	for _, port := range []int{r.From, r.To} {
		if port < 0 || port > 65535 {
			return r, api.Errorf("InvalidParameterValue", "TCP/UDP port (%d) out of range", port)
		}
	}
	if r.From > r.To {
		return r, api.Errorf("InvalidParameterValue", "Invalid TCP/UDP port range (%d:%d)", r.From, r.To)
	}
	return r, nil
}

// sources makes a rule of base for each range, list and group of the permission.
func (o *op) sources(g *group, p permissionIn, base rule) ([]*rule, error) {
	var all []*rule
	add := func(description string, set func(*rule)) error {
		if !groupText.MatchString(description) {
			return api.Errorf("InvalidParameterValue", "Invalid rule description. Valid descriptions are strings less than 256 characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*")
		}
		r := base
		r.Description = description
		set(&r)
		all = append(all, &r)
		return nil
	}
	for _, x := range p.Ranges {
		cidr, err := network(x.CIDR, true)
		if err == nil {
			err = add(x.Description, func(r *rule) { r.CIDR = cidr })
		}
		if err != nil {
			return nil, err
		}
	}
	for _, x := range p.Ranges6 {
		cidr, err := network(x.CIDR, false)
		if err == nil {
			err = add(x.Description, func(r *rule) { r.CIDR6 = cidr })
		}
		if err != nil {
			return nil, err
		}
	}
	for _, x := range p.PrefixList {
		if !strings.HasPrefix(x.ID, "pl-") {
			return nil, api.Errorf("InvalidPrefixListId.Malformed", "Invalid id: \"%s\" (expecting \"pl-...\")", x.ID)
		}
		if err := add(x.Description, func(r *rule) { r.PrefixList = x.ID }); err != nil {
			return nil, err
		}
	}
	for _, x := range p.Groups {
		source, err := o.sourceGroup(g, x)
		if err == nil {
			err = add(x.Description, func(r *rule) { r.Source, r.SourceOwner = source.ID, source.Owner })
		}
		if err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, api.Errorf("InvalidParameterValue", "The permission names no source: CidrIp, CidrIpv6, PrefixListId or a group")
	}
	return all, nil
}

func (o *op) sourceGroup(g *group, x groupPair) (*group, error) {
	if x.GroupID == "" && x.GroupName != "" {
		if s := o.groupNamed(g.VPC, x.GroupName); s != nil {
			return s, nil
		}
		return nil, kindGroup.notFound(x.GroupName)
	}
	return find(o, kindGroup, o.r.Groups, x.GroupID)
}

// network checks a CIDR block, and clears the bits that are not the network's, as AWS does.
func network(cidr string, four bool) (string, error) {
	p, err := netip.ParsePrefix(cidr)
	if err != nil || p.Addr().Is4() != four {
		return "", api.Errorf("InvalidParameterValue", "CIDR block %s is malformed", cidr)
	}
	return p.Masked().String(), nil
}

type ruleXML struct {
	ID          string      `xml:"securityGroupRuleId"`
	ARN         string      `xml:"securityGroupRuleArn"`
	GroupID     string      `xml:"groupId"`
	Owner       string      `xml:"groupOwnerId"`
	Egress      bool        `xml:"isEgress"`
	Protocol    string      `xml:"ipProtocol"`
	From        int         `xml:"fromPort"`
	To          int         `xml:"toPort"`
	CIDR        string      `xml:"cidrIpv4,omitempty"`
	CIDR6       string      `xml:"cidrIpv6,omitempty"`
	PrefixList  string      `xml:"prefixListId,omitempty"`
	Source      *ruleSource `xml:"referencedGroupInfo,omitempty"`
	SourceID    string      `xml:"referencedGroupId,omitempty"` // of revoked rules
	Description string      `xml:"description,omitempty"`
	Tags        set[tag]    `xml:"tagSet>item"`
}

type ruleSource struct {
	GroupID string `xml:"groupId"`
	UserID  string `xml:"userId"`
}

func (o *op) ruleXML(r *rule) ruleXML {
	v := ruleXML{ID: r.ID, ARN: o.arn("security-group-rule/" + r.ID), GroupID: r.Group, Owner: r.Owner, Egress: r.Egress, Protocol: r.Protocol, From: r.From, To: r.To,
		CIDR: r.CIDR, CIDR6: r.CIDR6, PrefixList: r.PrefixList, Description: r.Description, Tags: r.Tags}
	if r.Source != "" {
		v.Source = &ruleSource{r.Source, r.SourceOwner}
	}
	return v
}

type authorizeOut struct {
	Return bool         `xml:"return"`
	Rules  set[ruleXML] `xml:"securityGroupRuleSet>item"`
}

func (o *op) authorizeIngress(in *rulesIn) (*authorizeOut, error) { return o.authorize(in, false) }
func (o *op) authorizeEgress(in *rulesIn) (*authorizeOut, error)  { return o.authorize(in, true) }

// maxRules is the default quota of rules in each direction of a group.
const maxRules = 60

func (o *op) authorize(in *rulesIn, egress bool) (*authorizeOut, error) {
	g, err := o.groupBy(in.GroupID, in.GroupName)
	if err != nil {
		return nil, err
	}
	tags, err := tagsFor(in.Tags, kindRule.name)
	if err != nil {
		return nil, err
	}
	rules, err := o.asked(g, in, egress)
	if err != nil {
		return nil, err
	}
	count := 0
	for _, r := range g.Rules {
		if r.Egress == egress {
			count++
		}
		for _, s := range rules {
			if r.same(s) {
				return nil, api.Errorf("InvalidPermission.Duplicate", "the specified rule \"peer: %s, %s, from port: %d, to port: %d, ALLOW\" already exists",
					cmp.Or(s.CIDR, s.CIDR6, s.PrefixList, s.Source), strings.ToUpper(s.Protocol), s.From, s.To)
			}
		}
	}
	if count+len(rules) > maxRules {
		return nil, api.Errorf("RulesPerSecurityGroupLimitExceeded", "The maximum number of rules per security group has been reached.")
	}
	o.rulesChanged()
	out := &authorizeOut{Return: true}
	for _, r := range rules {
		r.meta = o.make(kindRule, tags[kindRule.name])
		g.Rules = append(g.Rules, r)
		out.Rules = append(out.Rules, o.ruleXML(r))
	}
	return out, nil
}

type revokeOut struct {
	Return  bool               `xml:"return"`
	Unknown set[permissionXML] `xml:"unknownIpPermissionSet>item"`
	Revoked set[ruleXML]       `xml:"revokedSecurityGroupRuleSet>item"`
}

func (o *op) revokeIngress(in *rulesIn) (*revokeOut, error) { return o.revoke(in, false) }
func (o *op) revokeEgress(in *rulesIn) (*revokeOut, error)  { return o.revoke(in, true) }

func (o *op) revoke(in *rulesIn, egress bool) (*revokeOut, error) {
	g, err := o.groupBy(in.GroupID, in.GroupName)
	if err != nil {
		return nil, err
	}
	o.rulesChanged()
	out := &revokeOut{Return: true}
	drop := func(which func(*rule) bool) bool {
		i := slices.IndexFunc(g.Rules, which)
		if i < 0 {
			return false
		}
		r := o.ruleXML(g.Rules[i])
		r.Source, r.SourceID = nil, g.Rules[i].Source
		out.Revoked = append(out.Revoked, r)
		g.Rules = slices.Delete(g.Rules, i, i+1)
		return true
	}
	for _, id := range in.RuleIDs {
		if err := kindRule.check(id); err != nil {
			return nil, err
		}
		if !drop(func(r *rule) bool { return r.ID == id && r.Egress == egress }) {
			return nil, kindRule.notFound(id)
		}
	}
	if len(in.RuleIDs) > 0 {
		return out, nil
	}
	rules, err := o.asked(g, in, egress)
	if err != nil {
		return nil, err
	}
	for _, s := range rules {
		if !slices.ContainsFunc(g.Rules, s.same) {
			return nil, api.Errorf("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
		}
	}
	for _, s := range rules {
		drop(s.same)
	}
	return out, nil
}

type describeRulesIn struct {
	dry
	page
	IDs     []string `q:"SecurityGroupRuleId"`
	Filters []filter `q:"Filter"`
}

type describeRulesOut struct {
	Rules     set[ruleXML] `xml:"securityGroupRuleSet>item"`
	NextToken string       `xml:"nextToken,omitempty"`
}

func (o *op) describeRules(in *describeRulesIn) (*describeRulesOut, error) {
	found, next, err := list(o, listing[*rule]{kind: kindRule, all: o.r.rules(), ids: in.IDs, filters: in.Filters, page: in.page, fields: fields[*rule]{
		"group-id":               one(func(r *rule) string { return r.Group }),
		"security-group-rule-id": one(func(r *rule) string { return r.ID }),
	}})
	if err != nil {
		return nil, err
	}
	out := &describeRulesOut{NextToken: next}
	for _, r := range found {
		out.Rules = append(out.Rules, o.ruleXML(r))
	}
	return out, nil
}

// admits reports whether the rule lets a connection in from the address; inGroup
// says whether that address belongs to an instance of a group.
func (r *rule) admits(from netip.Addr, protocol string, port uint16, inGroup func(group string) bool) bool {
	if r.Egress || r.Protocol != "-1" && r.Protocol != protocol {
		return false
	}
	if r.Protocol != "-1" && (int(port) < r.From || int(port) > r.To) {
		return false
	}
	switch {
	case r.Source != "":
		return inGroup(r.Source)
	case r.CIDR != "", r.CIDR6 != "":
		p, err := netip.ParsePrefix(r.CIDR + r.CIDR6)
		return err == nil && p.Contains(from.Unmap())
	}
	return false // prefix lists hold AWS's own addresses, and none is here
}
