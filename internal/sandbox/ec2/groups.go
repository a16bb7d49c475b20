package ec2

import (
	"fmt"
	"slices"
	"strings"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
)

// A group is a security group with its rules.
type group struct {
	meta
	Name        string
	Description string
	VPC         string
	Rules       []*rule
}

type groupRef struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
}

type groupXML struct {
	OwnerID     string             `xml:"ownerId"`
	GroupID     string             `xml:"groupId"`
	Name        string             `xml:"groupName"`
	Description string             `xml:"groupDescription"`
	VpcID       string             `xml:"vpcId"`
	ARN         string             `xml:"securityGroupArn"`
	Ingress     set[permissionXML] `xml:"ipPermissions>item"`
	Egress      set[permissionXML] `xml:"ipPermissionsEgress>item"`
	Tags        set[tag]           `xml:"tagSet>item"`
}

type createSecurityGroupIn struct {
	dry
	Description string    `q:"GroupDescription,required"`
	Name        string    `q:"GroupName,required"`
	VpcID       string    `q:"VpcId"`
	Tags        []tagSpec `q:"TagSpecification"`
}

type createSecurityGroupOut struct {
	Return  bool     `xml:"return"`
	GroupID string   `xml:"groupId"`
	ARN     string   `xml:"securityGroupArn"`
	Tags    set[tag] `xml:"tagSet>item"`
}

// groupText is what names, descriptions of groups and of rules may consist of.
var groupText = lazyregexp.New(`^[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}$`)

func (o *op) createSecurityGroup(in *createSecurityGroupIn) (*createSecurityGroupOut, error) {
	tags, err := tagsFor(in.Tags, kindGroup.name)
	if err != nil {
		return nil, err
	}
	vpcID := in.VpcID
	if vpcID == "" {
		vpcID = o.me.DefaultVPC
	}
	switch {
	case in.Name == "default":
		return nil, api.Errorf("InvalidParameterValue", "Cannot use reserved security group name: default")
	case in.Name == "" || !groupText.MatchString(in.Name) || strings.TrimSpace(in.Name) == "":
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter GroupName is invalid. Character sets beyond ASCII are not supported.", in.Name)
	case strings.HasPrefix(in.Name, "sg-"):
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter GroupName is invalid. Group names may not be in the format sg-*.", in.Name)
	case in.Description == "" || !groupText.MatchString(in.Description):
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter GroupDescription is invalid. Character sets beyond ASCII are not supported.", in.Description)
	case vpcID == "":
		return nil, api.Errorf("VPCIdNotSpecified", "No default VPC for this user")
	}
	if _, err := find(o, kindVPC, o.r.VPCs, vpcID); err != nil {
		return nil, err
	}
	if o.groupNamed(vpcID, in.Name) != nil {
		return nil, api.Errorf("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", in.Name, vpcID)
	}
	g := o.addGroup(vpcID, in.Name, in.Description, tags[kindGroup.name])
	return &createSecurityGroupOut{true, g.ID, o.arn("security-group/" + g.ID), g.Tags}, nil
}

// addGroup makes a group that lets everything out, as new groups do.
func (o *op) addGroup(vpcID, name, description string, tags []tag) *group {
	g := &group{meta: o.make(kindGroup, tags), Name: name, Description: description, VPC: vpcID}
	o.r.Groups[g.ID] = g
	g.Rules = append(g.Rules, &rule{meta: o.make(kindRule, nil), Group: g.ID, Egress: true, Protocol: "-1", From: -1, To: -1, CIDR: "0.0.0.0/0"})
	if v := o.r.VPCs[vpcID]; v != nil && len(v.IPv6) > 0 {
		o.letOut6(g)
	}
	return g
}

func (o *op) arn(rest string) string {
	return fmt.Sprintf("arn:aws:ec2:%s:%s:%s", o.r.Name, o.call.Account, rest)
}

// groupNamed returns the caller's group of the name in the VPC, or nil.
func (o *op) groupNamed(vpcID, name string) *group {
	for _, g := range o.r.Groups {
		if g.Owner == o.call.Account && g.VPC == vpcID && g.Name == name {
			return g
		}
	}
	return nil
}

// groupBy finds a group as older actions name it: by id, or by name in the default VPC.
func (o *op) groupBy(id, name string) (*group, error) {
	if id == "" && name == "" {
		return nil, api.Errorf("MissingParameter", "The request must contain the parameter groupName or groupId")
	}
	if id != "" {
		return find(o, kindGroup, o.r.Groups, id)
	}
	g := o.groupNamed(o.me.DefaultVPC, name)
	if g == nil || o.call.Hidden(g.ID) {
		return nil, api.Errorf(kindGroup.missing, "The security group '%s' does not exist in default VPC '%s'", name, o.me.DefaultVPC)
	}
	return g, nil
}

type deleteSecurityGroupIn struct {
	dry
	GroupID string `q:"GroupId"`
	Name    string `q:"GroupName"`
}

type deleteSecurityGroupOut struct {
	Return  bool   `xml:"return"`
	GroupID string `xml:"groupId"`
}

func (o *op) deleteSecurityGroup(in *deleteSecurityGroupIn) (*deleteSecurityGroupOut, error) {
	g, err := o.groupBy(in.GroupID, in.Name)
	if err != nil {
		return nil, err
	}
	if g.Name == "default" {
		return nil, api.Errorf("CannotDelete", "the specified group: \"%s\" name: \"default\" cannot be deleted by a user", g.ID)
	}
	if o.groupInUse(g) {
		return nil, api.Errorf("DependencyViolation", "resource %s has a dependent object", g.ID)
	}
	delete(o.r.Groups, g.ID)
	return &deleteSecurityGroupOut{true, g.ID}, nil
}

// groupInUse reports whether an instance that is not terminated has the group, or a rule of another names it.
func (o *op) groupInUse(g *group) bool {
	for _, i := range o.r.Instances {
		if i.State != terminated && slices.Contains(i.Groups, g.ID) {
			return true
		}
	}
	for _, other := range o.r.Groups {
		for _, r := range other.Rules {
			if other != g && r.Source == g.ID {
				return true
			}
		}
	}
	return false
}

type describeSecurityGroupsIn struct {
	dry
	page
	GroupIDs []string `q:"GroupId"`
	Names    []string `q:"GroupName"`
	Filters  []filter `q:"Filter"`
}

type describeSecurityGroupsOut struct {
	Groups    set[groupXML] `xml:"securityGroupInfo>item"`
	NextToken string        `xml:"nextToken,omitempty"`
}

func (o *op) describeSecurityGroups(in *describeSecurityGroupsIn) (*describeSecurityGroupsOut, error) {
	var named []string
	for _, name := range in.Names {
		g, err := o.groupBy("", name)
		if err != nil {
			return nil, err
		}
		named = append(named, g.ID)
	}
	found, next, err := list(o, listing[*group]{kind: kindGroup, all: o.r.Groups, ids: in.GroupIDs, filters: in.Filters, page: in.page,
		visible: func(g *group) bool {
			return g.Owner == o.call.Account && (len(in.Names) == 0 || slices.Contains(named, g.ID))
		},
		fields: groupFields()})
	if err != nil {
		return nil, err
	}
	out := &describeSecurityGroupsOut{NextToken: next}
	for _, g := range found {
		out.Groups = append(out.Groups, groupXML{OwnerID: g.Owner, GroupID: g.ID, Name: g.Name, Description: g.Description, VpcID: g.VPC,
			ARN: o.arn("security-group/" + g.ID), Ingress: permissions(g, false), Egress: permissions(g, true), Tags: g.Tags})
	}
	return out, nil
}

func groupFields() fields[*group] {
	f := fields[*group]{
		"group-id":    one(func(g *group) string { return g.ID }),
		"group-name":  one(func(g *group) string { return g.Name }),
		"description": one(func(g *group) string { return g.Description }),
		"owner-id":    one(func(g *group) string { return g.Owner }),
		"vpc-id":      one(func(g *group) string { return g.VPC }),
	}
	for prefix, egress := range map[string]bool{"ip-permission.": false, "egress.ip-permission.": true} {
		for name, get := range map[string]func(*rule) string{
			"cidr":           func(r *rule) string { return r.CIDR },
			"ipv6-cidr":      func(r *rule) string { return r.CIDR6 },
			"from-port":      func(r *rule) string { return fmt.Sprint(r.From) },
			"to-port":        func(r *rule) string { return fmt.Sprint(r.To) },
			"protocol":       func(r *rule) string { return r.Protocol },
			"group-id":       func(r *rule) string { return r.Source },
			"user-id":        func(r *rule) string { return r.SourceOwner },
			"prefix-list-id": func(r *rule) string { return r.PrefixList },
		} {
			f[prefix+name] = func(g *group) []string {
				var values []string
				for _, r := range g.Rules {
					if r.Egress == egress {
						values = append(values, get(r))
					}
				}
				return values
			}
		}
	}
	return f
}
