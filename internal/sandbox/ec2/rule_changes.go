package ec2

import (
	"slices"

	"bake/internal/sandbox/api"
)

type modifyRulesIn struct {
	dry
	Group string `q:"GroupId,required"`
	Rules []struct {
		ID   string `q:"SecurityGroupRuleId,required"`
		Rule struct {
			Protocol    string `q:"IpProtocol"`
			From        *int   `q:"FromPort"`
			To          *int   `q:"ToPort"`
			CIDR        string `q:"CidrIpv4"`
			CIDR6       string `q:"CidrIpv6"`
			PrefixList  string `q:"PrefixListId"`
			Source      string `q:"ReferencedGroupId"`
			Description string `q:"Description"`
		} `q:"SecurityGroupRule"`
	} `q:"SecurityGroupRule,required"`
}

// modifyRules replaces rules of a group, which keep their ids and tags: all or none.
func (o *op) modifyRules(in *modifyRulesIn) (*returned, error) {
	g, err := o.groupBy(in.Group, "")
	if err != nil {
		return nil, err
	}
	after := slices.Clone(g.Rules)
	for _, w := range in.Rules {
		if err := kindRule.check(w.ID); err != nil {
			return nil, err
		}
		n := slices.IndexFunc(after, func(r *rule) bool { return r.ID == w.ID })
		if n < 0 {
			return nil, kindRule.notFound(w.ID)
		}
		p := permissionIn{Protocol: w.Rule.Protocol, FromPort: w.Rule.From, ToPort: w.Rule.To}
		d := w.Rule.Description
		for text, add := range map[string]func(){
			w.Rule.CIDR:       func() { p.Ranges = []ipRange{{d, w.Rule.CIDR}} },
			w.Rule.CIDR6:      func() { p.Ranges6 = []ipv6Range{{d, w.Rule.CIDR6}} },
			w.Rule.PrefixList: func() { p.PrefixList = []prefixListID{{d, w.Rule.PrefixList}} },
			w.Rule.Source:     func() { p.Groups = []groupPair{{Description: d, GroupID: w.Rule.Source}} },
		} {
			if text != "" {
				add()
			}
		}
		made, err := o.asked(g, &rulesIn{Permissions: []permissionIn{p}}, after[n].Egress)
		switch {
		case err != nil:
			return nil, err
		case len(made) != 1:
			return nil, api.Errorf("InvalidParameterCombination", "A security group rule has one source: CidrIpv4, CidrIpv6, PrefixListId or ReferencedGroupId")
		case slices.ContainsFunc(after, func(r *rule) bool { return r.ID != w.ID && r.same(made[0]) }):
			return nil, api.Errorf("InvalidPermission.Duplicate", "the specified rule already exists")
		}
		made[0].meta = after[n].meta
		after[n] = made[0]
	}
	g.Rules = after
	o.rulesChanged()
	return ok(), nil
}

type describeAgainIn struct {
	rulesIn
	Rules []struct {
		ID          string `q:"SecurityGroupRuleId,required"`
		Description string `q:"Description"`
	} `q:"SecurityGroupRuleDescription"`
}

func (o *op) describeIngressAgain(in *describeAgainIn) (*returned, error) {
	return o.describeAgain(in, false)
}

func (o *op) describeEgressAgain(in *describeAgainIn) (*returned, error) {
	return o.describeAgain(in, true)
}

// describeAgain gives rules new descriptions; those that are not named lose theirs.
func (o *op) describeAgain(in *describeAgainIn, egress bool) (*returned, error) {
	g, err := o.groupBy(in.GroupID, in.GroupName)
	if err != nil {
		return nil, err
	}
	texts := map[*rule]string{}
	for _, w := range in.Rules {
		n := slices.IndexFunc(g.Rules, func(r *rule) bool { return r.ID == w.ID && r.Egress == egress })
		if n < 0 {
			return nil, kindRule.notFound(w.ID)
		}
		if !groupText.MatchString(w.Description) {
			return nil, api.Errorf("InvalidParameterValue", "Invalid rule description.")
		}
		texts[g.Rules[n]] = w.Description
	}
	if len(in.Rules) == 0 {
		named, err := o.asked(g, &in.rulesIn, egress)
		if err != nil {
			return nil, err
		}
		for _, s := range named {
			n := slices.IndexFunc(g.Rules, s.same)
			if n < 0 {
				return nil, api.Errorf("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
			}
			texts[g.Rules[n]] = s.Description
		}
	}
	for r, text := range texts {
		r.Description = text
	}
	return ok(), nil
}
