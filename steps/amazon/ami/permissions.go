package ami

import (
	"bake/steps/amazon/permit"
)

// Permissions is what building an AMI has to be allowed: finding the image,
// starting a machine with what it needs for the time of the build, stopping and
// freezing it, and removing all of that. What is made bears the template's tag
// from its birth, and nothing else is touched.
func (s *Source) Permissions(env permit.Env) []permit.Statement {
	all := s.Build.Permissions(env)
	if s.SSM != "" {
		all = append(all, permit.Statement{Sid: "FindImage", Actions: []string{"ssm:GetParameter"}, Resources: []string{"arn:" + env.Partition() + ":ssm:*:*:parameter/" + trimSlash(s.SSM)}})
	}
	return all
}

func trimSlash(name string) string {
	if len(name) > 0 && name[0] == '/' {
		return name[1:]
	}
	return name
}

// Permissions is what a machine of the build, and the image that it becomes,
// have to be allowed.
func (s *Build) Permissions(env permit.Env) []permit.Statement {
	made := []permit.Condition{env.Tag()}
	born := []permit.Condition{env.Born()}
	ec2 := func(kinds ...string) (arns []string) {
		for _, kind := range kinds {
			arns = append(arns, env.EC2(kind))
		}
		return arns
	}
	all := []permit.Statement{
		permit.Read("ec2:DescribeImages", "ec2:DescribeInstances", "ec2:DescribeInstanceStatus", "ec2:DescribeInstanceTypes", "ec2:DescribeInstanceTypeOfferings",
			"ec2:DescribeSnapshots", "ec2:DescribeVolumes", "ec2:DescribeSubnets", "ec2:DescribeVpcs", "ec2:DescribeSecurityGroups", "ec2:DescribeKeyPairs"),
		{Sid: "StartMachines", Actions: []string{"ec2:RunInstances"}, Resources: ec2("image", "snapshot", "subnet", "security-group", "key-pair", "network-interface")},
		{Sid: "StartTaggedMachines", Actions: []string{"ec2:RunInstances"}, Resources: ec2("instance", "volume"), Conditions: born},
		{Sid: "TagWhatIsMade", Actions: []string{"ec2:CreateTags"}, Resources: ec2("instance", "volume", "network-interface", "image", "snapshot", "security-group", "key-pair"),
			Conditions: []permit.Condition{{Operator: "StringEquals", Key: "ec2:CreateAction", Values: creators}}},
		{Sid: "UseMachines", Actions: []string{"ec2:StopInstances", "ec2:TerminateInstances", "ec2:GetConsoleOutput", "ec2:ModifyInstanceAttribute"}, Resources: ec2("instance"), Conditions: made},
		{Sid: "FreezeMachines", Actions: []string{"ec2:CreateImage"}, Resources: ec2("instance"), Conditions: made},
		{Sid: "MakeImages", Actions: []string{"ec2:CreateImage"}, Resources: ec2("image", "snapshot"), Conditions: born},
		{Sid: "TagImages", Actions: []string{"ec2:CreateTags", "ec2:DeleteTags"}, Resources: ec2("image", "snapshot"), Conditions: made},
		{Sid: "RemoveOwnImages", Actions: []string{"ec2:DeregisterImage", "ec2:DeleteSnapshot"}, Resources: ec2("image", "snapshot"), Conditions: made},
	}
	all = append(all, s.access(env)...)
	all = append(all, s.more(env)...)
	return all
}

// creators are the calls that make what they tag.
var creators = []string{"RunInstances", "CreateImage", "CreateSecurityGroup", "ImportKeyPair", "CreateVolume", "CreateSnapshot"}

// access is the temporary key and the temporary group of a machine.
func (s *Build) access(env permit.Env) []permit.Statement {
	var all []permit.Statement
	if s.Machine.KeyPair == nil || s.Machine.KeyPair.PublicKey != "" {
		all = append(all,
			permit.Statement{Sid: "ImportKeys", Actions: []string{"ec2:ImportKeyPair"}, Resources: []string{env.EC2("key-pair")}, Conditions: []permit.Condition{env.Born()}},
			permit.Statement{Sid: "RemoveOwnKeys", Actions: []string{"ec2:DeleteKeyPair"}, Resources: []string{env.EC2("key-pair")}, Conditions: []permit.Condition{env.Tag()}})
	}
	if len(s.Machine.SecurityGroups) == 0 {
		all = append(all,
			permit.Statement{Sid: "MakeGroups", Actions: []string{"ec2:CreateSecurityGroup"}, Resources: []string{env.EC2("vpc")}},
			permit.Statement{Sid: "MakeTaggedGroups", Actions: []string{"ec2:CreateSecurityGroup"}, Resources: []string{env.EC2("security-group")}, Conditions: []permit.Condition{env.Born()}},
			permit.Statement{Sid: "UseOwnGroups", Actions: []string{"ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup"}, Resources: []string{env.EC2("security-group")}, Conditions: []permit.Condition{env.Tag()}})
	}
	return all
}

// more is what not every machine has: a profile, volumes of its own.
func (s *Build) more(env permit.Env) []permit.Statement {
	var all []permit.Statement
	if len(s.Extra) > 0 {
		all = append(all,
			permit.Statement{Sid: "MakeVolumes", Actions: []string{"ec2:CreateVolume", "ec2:CreateSnapshot"}, Resources: []string{env.EC2("volume"), env.EC2("snapshot")}},
			permit.Statement{Sid: "UseOwnVolumes", Actions: []string{"ec2:AttachVolume", "ec2:DetachVolume", "ec2:DeleteVolume"}, Resources: []string{env.EC2("volume"), env.EC2("instance")}, Conditions: []permit.Condition{env.Tag()}})
	}
	profile := s.profile()
	switch {
	case profile == nil:
	case profile.Policy == nil && len(profile.Policies) == 0:
		all = append(all,
			permit.Statement{Sid: "FindProfiles", Actions: []string{"iam:GetInstanceProfile"}},
			permit.Statement{Sid: "PassRoles", Actions: []string{"iam:PassRole"}, Conditions: []permit.Condition{{Operator: "StringEquals", Key: "iam:PassedToService", Values: []string{"ec2.amazonaws.com"}}}})
	default:
		own := []string{"arn:" + env.Partition() + ":iam::*:role" + profilePath + "*", "arn:" + env.Partition() + ":iam::*:instance-profile" + profilePath + "*"}
		all = append(all,
			permit.Statement{Sid: "MakeOwnProfiles", Resources: own, Actions: []string{"iam:CreateRole", "iam:TagRole", "iam:GetRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:ListRolePolicies", "iam:ListAttachedRolePolicies",
				"iam:CreateInstanceProfile", "iam:TagInstanceProfile", "iam:GetInstanceProfile", "iam:AddRoleToInstanceProfile",
				"iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile", "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:DeleteRole"}},
			permit.Statement{Sid: "PassOwnRoles", Actions: []string{"iam:PassRole"}, Resources: own[:1]})
	}
	return all
}
