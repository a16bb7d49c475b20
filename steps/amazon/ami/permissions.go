package ami

import (
	"strings"

	"bake/steps/amazon/image"
	"bake/steps/amazon/keypair"
	"bake/steps/amazon/launch"
	"bake/steps/amazon/permit"
)

// Permissions is what building an AMI has to be allowed: finding the image,
// starting a machine with what it needs for the time of the build, stopping and
// freezing it, and removing all of that. What is made bears the template's tag
// from its birth, and nothing else is touched.
func (s *Source) Permissions(env permit.Env) []permit.Statement {
	image := "*"
	if s.ID != "" {
		image = s.ID
	}
	all := s.Build.needs(env, image)
	if s.SSM == "" {
		return all
	}
	home := env.For(env.Home)
	name := strings.TrimPrefix(s.SSM, "/")
	parameter := home.ARN("ssm", "parameter/"+name)
	if strings.HasPrefix(name, "aws/service/") { // AWS's own are of no account
		parameter = home.Region("ssm", "parameter/"+name)
	}
	return append(all, home.Under(permit.Statement{Sid: "FindImage", Actions: []string{"ssm:GetParameter"}, Resources: []string{parameter}})...)
}

// Permissions is what building on the AMI of another build has to be allowed.
func (s *OnBase) Permissions(env permit.Env) []permit.Statement { return s.Build.needs(env, "") }

// needs is what a machine of the build, started from an image (empty: one of
// the template's own), and the image that it becomes, have to be allowed.
func (s *Build) needs(env permit.Env, from string) []permit.Statement {
	env = env.For(env.Home)
	made, born := []permit.Condition{env.Tag()}, []permit.Condition{env.Born()}
	use := []string{"ec2:TerminateInstances", "ec2:GetConsoleOutput"}
	if !s.Capture.Live {
		use = append(use, "ec2:StopInstances")
	}
	all := []permit.Statement{
		permit.Read(append(s.Machine.Reads(), "ec2:DescribeImages", "ec2:DescribeInstances", "ec2:DescribeSnapshots")...),
		{Sid: "UseMachines", Actions: use, Resources: env.EC2("instance"), Conditions: made},
		{Sid: "FreezeMachines", Actions: []string{"ec2:CreateImage"}, Resources: env.EC2("instance"), Conditions: made},
		{Sid: "MakeImages", Actions: []string{"ec2:CreateImage"}, Resources: env.EC2("image", "snapshot"), Conditions: born},
		{Sid: "TagNewImages", Actions: []string{"ec2:CreateTags"}, Resources: env.EC2("image", "snapshot"), Conditions: []permit.Condition{permit.Creating("CreateImage")}},
		{Sid: "TagImages", Actions: []string{"ec2:CreateTags", "ec2:DeleteTags"}, Resources: env.EC2("image", "snapshot"), Conditions: made},
		{Sid: "RemoveOwnImages", Actions: []string{"ec2:DeregisterImage", "ec2:DeleteSnapshot"}, Resources: env.EC2("image", "snapshot"), Conditions: made},
	}
	m := s.Machine
	own := launch.Own{Group: len(m.SecurityGroups) == 0 && !s.interfacesHaveGroups()}
	if own.Group {
		all = append(all, temporaryGroup(env)...)
	}
	switch {
	case s.SSH.PushKey:
		all = append(all, permit.Statement{Sid: "SendKeys", Actions: []string{"ec2-instance-connect:SendSSHPublicKey"}, Resources: env.EC2("instance"), Conditions: made})
	case m.KeyPair == nil:
		own.Key = true
		all = append(all, temporaryKey(env)...)
	case m.KeyPair.PublicKey != "":
		all = append(all, keypair.Permissions(env, m.KeyPair.Name, nil)...)
	}
	own.Image = from != "*" // a fresh machine for the tests is started from the candidate
	all = append(all, m.Starting(env, from, own)...)
	all = append(all, s.reaching(env)...)
	all = append(all, s.volumes(env)...)
	all = append(all, s.lent(env)...)
	return env.Under(all...)
}

// temporaryKey is the key pair of a machine that names none.
func temporaryKey(env permit.Env) []permit.Statement {
	pairs := env.EC2("key-pair")
	return []permit.Statement{
		permit.Read("ec2:DescribeKeyPairs"),
		{Sid: "ImportKeys", Actions: []string{"ec2:ImportKeyPair"}, Resources: pairs, Conditions: []permit.Condition{env.Born()}},
		{Sid: "TagNewKeys", Actions: []string{"ec2:CreateTags"}, Resources: pairs, Conditions: []permit.Condition{permit.Creating("ImportKeyPair")}},
		{Sid: "RemoveOwnKeys", Actions: []string{"ec2:DeleteKeyPair"}, Resources: pairs, Conditions: []permit.Condition{env.Tag()}},
	}
}

// temporaryGroup is the security group of a machine that names none.
func temporaryGroup(env permit.Env) []permit.Statement {
	groups := env.EC2("security-group")
	return []permit.Statement{
		permit.Read("ec2:DescribeSecurityGroups"),
		{Sid: "MakeGroups", Actions: []string{"ec2:CreateSecurityGroup"}, Resources: env.EC2("vpc")},
		{Sid: "MakeTaggedGroups", Actions: []string{"ec2:CreateSecurityGroup"}, Resources: groups, Conditions: []permit.Condition{env.Born()}},
		{Sid: "TagNewGroups", Actions: []string{"ec2:CreateTags"}, Resources: groups, Conditions: []permit.Condition{permit.Creating("CreateSecurityGroup")}},
		{Sid: "UseOwnGroups", Actions: []string{"ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup"}, Resources: groups, Conditions: []permit.Condition{env.Tag()}},
	}
}

// reaching is what a way to the machine needs that is not the network's.
func (s *Build) reaching(env permit.Env) []permit.Statement {
	machines, made := env.EC2("instance"), []permit.Condition{env.Tag()}
	switch s.SSH.Via {
	case "session-manager":
		return []permit.Statement{
			{Sid: "OpenSessions", Actions: []string{"ssm:StartSession"}, Resources: machines, Conditions: made},
			{Sid: "OpenSSHSessions", Actions: []string{"ssm:StartSession"}, Resources: []string{env.Region("ssm", "document/AWS-StartSSHSession")}},
			{Sid: "OpenChannels", Actions: []string{"ssmmessages:OpenDataChannel"}, Resources: []string{env.ARN("ssm", "session/*")}},
			// A session's id begins with a user's or a role session's name, which is no
			// variable of policies; AWS tags it with the id of who has started it.
			{Sid: "EndOwnSessions", Actions: []string{"ssm:TerminateSession", "ssm:ResumeSession"}, Resources: []string{env.ARN("ssm", "session/*")},
				Conditions: []permit.Condition{{Operator: "StringEquals", Key: "ssm:resourceTag/aws:ssmmessages:session-id", Values: []string{"${aws:userid}"}}}},
		}
	case "instance-connect":
		return []permit.Statement{
			permit.Read("ec2:DescribeInstanceConnectEndpoints"),
			{Sid: "OpenTunnels", Actions: []string{"ec2-instance-connect:OpenTunnel"}, Resources: env.EC2("instance-connect-endpoint")},
		}
	}
	return nil
}

// volumes are those of the build that do not become part of the AMI.
func (s *Build) volumes(env permit.Env) []permit.Statement {
	if len(s.Extra) == 0 {
		return nil
	}
	volumes, born, made := env.EC2("volume"), []permit.Condition{env.Born()}, []permit.Condition{env.Tag()}
	all := []permit.Statement{
		permit.Read("ec2:DescribeVolumes"),
		{Sid: "MakeVolumes", Actions: []string{"ec2:CreateVolume"}, Resources: volumes, Conditions: born},
		{Sid: "TagNewVolumes", Actions: []string{"ec2:CreateTags"}, Resources: volumes, Conditions: []permit.Condition{permit.Creating("CreateVolume")}},
		{Sid: "UseOwnVolumes", Actions: []string{"ec2:AttachVolume", "ec2:DetachVolume"}, Resources: env.EC2("volume", "instance"), Conditions: made},
		{Sid: "RemoveOwnVolumes", Actions: []string{"ec2:DeleteVolume"}, Resources: volumes, Conditions: made},
	}
	for _, v := range s.Extra {
		if v.Snapshot != "" {
			all = append(all, permit.Statement{Sid: "UseSnapshots", Actions: []string{"ec2:CreateVolume"}, Resources: []string{env.Region("ec2", "snapshot/"+v.Snapshot)}})
		}
		if v.KMSKey != "" || v.Snapshot != "" || v.Encrypted != nil && *v.Encrypted {
			all = append(all, permit.Encryption(env, v.KMSKey)...)
		}
		if v.After == "snapshot" {
			all = append(all,
				permit.Statement{Sid: "MakeSnapshots", Actions: []string{"ec2:CreateSnapshot"}, Resources: volumes, Conditions: made},
				permit.Statement{Sid: "MakeTaggedSnapshots", Actions: []string{"ec2:CreateSnapshot"}, Resources: env.EC2("snapshot"), Conditions: born},
				permit.Statement{Sid: "TagNewSnapshots", Actions: []string{"ec2:CreateTags"}, Resources: env.EC2("snapshot"), Conditions: []permit.Condition{permit.Creating("CreateSnapshot")}})
		}
	}
	return all
}

// lent is the role that the machine has, and the key that its disks have for
// the image's sake.
func (s *Build) lent(env permit.Env) []permit.Statement {
	var all []permit.Statement
	switch profile := s.profile(); {
	case profile == nil, !profile.Temporary(): // see launch.Machine.Starting
	default:
		role, own := env.IAM("role"+profilePath+"*"), env.IAM("instance-profile"+profilePath+"*")
		create := permit.Statement{Sid: "MakeOwnRoles", Resources: []string{role}, Actions: []string{"iam:CreateRole"}}
		if profile.Boundary != "" {
			create.Conditions = []permit.Condition{{Operator: "ArnEquals", Key: "iam:PermissionsBoundary", Values: []string{profile.Boundary}}}
		}
		use := []string{"iam:TagRole", "iam:GetRole", "iam:ListRolePolicies", "iam:ListAttachedRolePolicies", "iam:DeleteRole"}
		if profile.Policy != nil {
			use = append(use, "iam:PutRolePolicy", "iam:DeleteRolePolicy")
		}
		if len(profile.Policies) > 0 { // those and no others: the machine has what its role has
			all = append(all, permit.Statement{Sid: "GiveOwnRoles", Resources: []string{role}, Actions: []string{"iam:AttachRolePolicy", "iam:DetachRolePolicy"},
				Conditions: []permit.Condition{{Operator: "ArnEquals", Key: "iam:PolicyARN", Values: profile.Policies}}})
		}
		all = append(all, create,
			permit.Statement{Sid: "UseOwnRoles", Resources: []string{role}, Actions: use},
			permit.Statement{Sid: "MakeOwnProfiles", Resources: []string{own}, Actions: []string{"iam:CreateInstanceProfile", "iam:TagInstanceProfile", "iam:GetInstanceProfile", "iam:AddRoleToInstanceProfile",
				"iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile"}},
			permit.Statement{Sid: "PassOwnRoles", Actions: []string{"iam:PassRole"}, Resources: []string{role}, Conditions: []permit.Condition{env.PassedTo("ec2")}})
	}
	if want, err := image.Candidate(env.Plan, env.Build); err == nil && (want.KMSKey != "" || want.Encrypt != nil && *want.Encrypt) {
		all = append(all, permit.Encryption(env, want.KMSKey)...)
	}
	return all
}
