package ami

import "bake/steps/amazon/permit"

// FindingLeftovers is what Leftovers has to be allowed: reading in all regions.
func FindingLeftovers(env permit.Env) []permit.Statement {
	roles := []string{env.IAM("role" + profilePath + "*")}
	return []permit.Statement{
		permit.Read("ec2:DescribeRegions", "ec2:DescribeTags", "ec2:DescribeInstances", "ec2:DescribeKeyPairs", "ec2:DescribeImages", "iam:ListRoles"),
		{Sid: "LookAtOwnRoles", Actions: []string{"iam:ListRoleTags"}, Resources: roles},
	}
}

// RemovingLeftovers is what removing them has to be allowed: whatever bears the
// tag of a run, and the roles in bake's own path.
func RemovingLeftovers(env permit.Env) []permit.Statement {
	env = env.In("")
	role, profile, made := []string{env.IAM("role" + profilePath + "*")}, []string{env.IAM("instance-profile" + profilePath + "*")}, []permit.Condition{permit.OfRun()}
	return []permit.Statement{
		permit.Read("ec2:DescribeSnapshots"),
		{Sid: "RemoveMachines", Actions: []string{"ec2:TerminateInstances"}, Resources: env.EC2("instance"), Conditions: made},
		{Sid: "DetachVolumes", Actions: []string{"ec2:DetachVolume"}, Resources: env.EC2("volume", "instance"), Conditions: made},
		{Sid: "RemoveVolumes", Actions: []string{"ec2:DeleteVolume"}, Resources: env.EC2("volume"), Conditions: made},
		{Sid: "RemoveImages", Actions: []string{"ec2:DeregisterImage", "ec2:DeleteSnapshot"}, Resources: env.EC2("image", "snapshot"), Conditions: made},
		{Sid: "RemoveGroups", Actions: []string{"ec2:DeleteSecurityGroup"}, Resources: env.EC2("security-group"), Conditions: made},
		{Sid: "RemoveKeys", Actions: []string{"ec2:DeleteKeyPair"}, Resources: env.EC2("key-pair"), Conditions: made},
		{Sid: "RemoveRoles", Actions: []string{"iam:ListRolePolicies", "iam:DeleteRolePolicy", "iam:ListAttachedRolePolicies", "iam:DetachRolePolicy", "iam:DeleteRole"}, Resources: role},
		{Sid: "RemoveProfiles", Actions: []string{"iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile"}, Resources: profile},
	}
}
