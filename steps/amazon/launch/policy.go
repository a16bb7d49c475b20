package launch

import (
	"slices"
	"strings"

	"bake/steps/amazon/permit"
)

// Reads are the actions that Resolve needs for what the machine names.
func (m Machine) Reads() []string {
	all := []string{"ec2:DescribeSubnets"}
	if len(m.Type) > 0 {
		all = append(all, "ec2:DescribeInstanceTypes", "ec2:DescribeInstanceTypeOfferings")
	}
	if m.VPC != nil && m.VPC.ID == "" {
		all = append(all, "ec2:DescribeVpcs")
	}
	if slices.ContainsFunc(m.SecurityGroups, func(s Selector) bool { return s.ID == "" }) {
		all = append(all, "ec2:DescribeSecurityGroups")
	}
	if len(m.Interfaces) > 0 && m.Interfaces[0].ID != "" {
		all = append(all, "ec2:DescribeNetworkInterfaces")
	}
	return all
}

// Own says what an instance is made with that is the template's own and bears
// its tag: one of its images, a temporary security group, a temporary key pair.
type Own struct {
	Image, Group, Key bool
}

// Starting is what starting an instance has to be allowed: of an image by its
// id or * for any, and of the template's own. What comes into being bears the
// template's tag from its birth.
func (m Machine) Starting(env permit.Env, image string, own Own) []permit.Statement {
	used := append(m.network(env), m.Licenses...)
	var owned []string
	for kind, mine := range map[string]bool{"image": own.Image, "security-group": own.Group, "key-pair": own.Key} {
		if mine {
			owned = append(owned, env.EC2(kind)...)
		}
	}
	if image != "" {
		used = append(used, env.Region("ec2", "image/"+image))
	}
	if m.KeyPair != nil {
		used = append(used, env.ARN("ec2", "key-pair/"+permit.Any(m.KeyPair.Name)))
	}
	used = append(used, m.capacity(env)...)
	for _, v := range m.Volumes {
		if v.Snapshot != "" {
			used = append(used, env.Region("ec2", "snapshot/"+v.Snapshot))
		}
	}
	made := env.EC2("instance", "volume", "network-interface")
	if m.Spot != nil && m.Spot.Yes {
		made = append(made, env.EC2("spot-instances-request")...)
	}
	all := []permit.Statement{
		{Sid: "StartMachines", Actions: []string{"ec2:RunInstances"}, Resources: used},
		{Sid: "StartTaggedMachines", Actions: []string{"ec2:RunInstances"}, Resources: made, Conditions: []permit.Condition{env.Born()}},
		{Sid: "TagNewMachines", Actions: []string{"ec2:CreateTags"}, Resources: made, Conditions: []permit.Condition{permit.Creating("RunInstances")}},
	}
	if len(owned) > 0 {
		all = append(all, permit.Statement{Sid: "StartWithOwn", Actions: []string{"ec2:RunInstances"}, Resources: owned, Conditions: []permit.Condition{env.Tag()}})
	}
	return append(all, m.lent(env)...)
}

// network is where the instance starts, and the groups that are not its own.
func (m Machine) network(env permit.Env) []string {
	var all []string
	add := func(kind string, selectors []Selector) {
		for _, s := range selectors {
			all = append(all, env.ARN("ec2", kind+"/"+permit.Any(s.ID)))
		}
	}
	if len(m.Subnet) == 0 {
		all = env.EC2("subnet")
	}
	add("subnet", m.Subnet)
	add("security-group", m.SecurityGroups)
	for _, i := range m.Interfaces {
		if i.ID != "" {
			all = append(all, env.ARN("ec2", "network-interface/"+i.ID))
		}
		if i.Subnet != "" {
			all = append(all, env.ARN("ec2", "subnet/"+i.Subnet))
		}
		for _, g := range i.SecurityGroups {
			all = append(all, env.ARN("ec2", "security-group/"+g))
		}
	}
	return all
}

// capacity is what was reserved for the instance, or is the place of it.
func (m Machine) capacity(env permit.Env) []string {
	var all []string
	if r := m.Reservation; r != nil {
		if strings.HasPrefix(r.ID, "cr-") {
			all = append(all, env.ARN("ec2", "capacity-reservation/"+r.ID))
		} else if r.ID != "none" {
			all = append(all, env.EC2("capacity-reservation")...)
		}
		if r.Group != "" {
			all = append(all, r.Group)
		}
	}
	if p := m.Placement; p != nil {
		if p.Group != "" { // ids are not in ARNs
			all = append(all, env.EC2("placement-group")...)
		}
		if p.Host != "" || p.Tenancy == "host" {
			all = append(all, env.ARN("ec2", "dedicated-host/"+permit.Any(p.Host)))
		}
		if p.HostGroup != "" {
			all = append(all, p.HostGroup)
		}
	}
	return all
}

// lent is what AWS does for the instance in the caller's name.
func (m Machine) lent(env permit.Env) []permit.Statement {
	var all []permit.Statement
	if m.Profile != nil && m.Profile.Name != "" { // its role is not known beforehand
		all = append(all, permit.Statement{Sid: "PassRoles", Actions: []string{"iam:PassRole"}, Resources: []string{env.IAM("role/*")}, Conditions: []permit.Condition{env.PassedTo("ec2")}})
	}
	if m.Spot != nil && m.Spot.Yes { // in an account's first spot instance
		all = append(all, permit.Statement{Sid: "UseSpot", Actions: []string{"iam:CreateServiceLinkedRole"}, Resources: []string{env.IAM("role/aws-service-role/spot.amazonaws.com/*")},
			Conditions: []permit.Condition{{Operator: "StringEquals", Key: "iam:AWSServiceName", Values: []string{"spot.amazonaws.com"}}}})
	}
	for _, v := range m.Volumes {
		if v.KMSKey != "" || v.Encrypted != nil && *v.Encrypted || v.Snapshot != "" {
			all = append(all, permit.Encryption(env, v.KMSKey)...)
		}
	}
	return all
}
