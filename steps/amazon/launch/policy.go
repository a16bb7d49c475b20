package launch

import (
	"slices"

	"bake/steps/amazon/permit"
)

// Reads are the actions that Resolve needs for what the machine names.
func (m Machine) Reads() []string {
	all := []string{"ec2:DescribeInstanceTypes", "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeSubnets"}
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

// Starting is what starting an instance of an image (empty: any) has to be
// allowed. What comes into being bears the template's tag from its birth.
func (m Machine) Starting(env permit.Env, image string) []permit.Statement {
	kinds := []string{"subnet/*", "security-group/*", "network-interface/*"}
	if m.KeyPair != nil {
		kinds = append(kinds, "key-pair/"+permit.Any(m.KeyPair.Name))
	}
	if m.Reservation != nil {
		kinds = append(kinds, "capacity-reservation/*")
	}
	if m.Placement != nil {
		kinds = append(kinds, "placement-group/*", "dedicated-host/*")
	}
	var used []string
	for _, k := range kinds {
		used = append(used, env.ARN("ec2", k))
	}
	used = append(used, env.Region("ec2", "image/"+permit.Any(image)), env.Region("ec2", "snapshot/*"))
	used = append(used, m.Licenses...)
	if m.Reservation != nil && m.Reservation.Group != "" {
		used = append(used, m.Reservation.Group)
	}
	if m.Placement != nil && m.Placement.HostGroup != "" {
		used = append(used, m.Placement.HostGroup)
	}
	made := []string{env.ARN("ec2", "instance/*"), env.ARN("ec2", "volume/*")}
	tagged := append(slices.Clone(made), env.ARN("ec2", "network-interface/*"))
	if m.Spot != nil && m.Spot.Yes {
		request := env.ARN("ec2", "spot-instances-request/*")
		made, tagged = append(made, request), append(tagged, request)
	}
	all := []permit.Statement{
		{Sid: "StartMachines", Actions: []string{"ec2:RunInstances"}, Resources: used},
		{Sid: "StartTaggedMachines", Actions: []string{"ec2:RunInstances"}, Resources: made, Conditions: []permit.Condition{env.Born()}},
		{Sid: "TagNewMachines", Actions: []string{"ec2:CreateTags"}, Resources: tagged, Conditions: []permit.Condition{permit.Creating("RunInstances")}},
	}
	return append(all, m.lent(env)...)
}

// lent is what AWS does for the instance in the caller's name.
func (m Machine) lent(env permit.Env) []permit.Statement {
	var all []permit.Statement
	if m.Profile != nil && m.Profile.Name != "" { // its role is not known beforehand
		all = append(all, permit.Statement{Sid: "PassRoles", Actions: []string{"iam:PassRole"}, Resources: []string{"arn:" + env.Partition() + ":iam::*:role/*"},
			Conditions: []permit.Condition{{Operator: "StringEquals", Key: "iam:PassedToService", Values: []string{"ec2.amazonaws.com"}}}})
	}
	if m.Spot != nil && m.Spot.Yes { // in an account's first spot instance
		all = append(all, permit.Statement{Sid: "UseSpot", Actions: []string{"iam:CreateServiceLinkedRole"}, Resources: []string{"arn:" + env.Partition() + ":iam::*:role/aws-service-role/spot.amazonaws.com/*"},
			Conditions: []permit.Condition{{Operator: "StringEquals", Key: "iam:AWSServiceName", Values: []string{"spot.amazonaws.com"}}}})
	}
	for _, v := range m.Volumes {
		if v.KMSKey != "" || v.Encrypted != nil && *v.Encrypted || v.Snapshot != "" {
			all = append(all, permit.Encryption(env, v.KMSKey)...)
		}
	}
	return all
}
