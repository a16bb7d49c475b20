package instance

import (
	"encoding/json"

	"bake/steps/amazon/keypair"
	"bake/steps/amazon/launch"
	"bake/steps/amazon/permit"
)

// Permissions is what keeping the instance has to be allowed. What it starts,
// and ends, bears the template's tag.
func (o *Output) Permissions(env permit.Env) []permit.Statement {
	encrypted, key := imageKey(env)
	env = env.For(o.Access)
	use := []string{"ec2:StartInstances", "ec2:TerminateInstances"}
	if o.Protected {
		use = append(use, "ec2:ModifyInstanceAttribute")
	}
	all := []permit.Statement{
		permit.Read(append(o.Machine.Reads(), "ec2:DescribeInstances", "ec2:DescribeImages")...),
		{Sid: "UseMachines", Actions: use, Resources: []string{env.ARN("ec2", "instance/*")}, Conditions: []permit.Condition{env.Tag()}},
	}
	all = append(all, o.Machine.Starting(env, o.Image, launch.Own{Image: true})...)
	if len(o.Machine.SecurityGroups) == 0 { // the VPC's own, or that which is opened
		all = append(all, permit.Statement{Sid: "StartMachines", Actions: []string{"ec2:RunInstances"}, Resources: env.EC2("security-group")})
	}
	if o.Wait.Checks {
		all = append(all, permit.Read("ec2:DescribeInstanceStatus"))
	}
	if o.Open != nil {
		all = append(all, o.opening(env)...)
	}
	if k := o.Machine.KeyPair; k != nil && k.PublicKey != "" {
		all = append(all, keypair.Permissions(env, k.Name, nil)...)
	}
	if encrypted {
		all = append(all, permit.Encryption(env, key)...)
	}
	return env.Under(all...)
}

// opening is what keeping the instance's own security group takes. It is known
// by its name, which is its Name tag too.
func (o *Output) opening(env permit.Env) []permit.Statement {
	name := o.Name
	if name != "" {
		name = "bake-" + name
	}
	groups := []string{env.ARN("ec2", "security-group/*")}
	return []permit.Statement{
		permit.Read("ec2:DescribeSecurityGroups"),
		{Sid: "MakeGroups", Actions: []string{"ec2:CreateSecurityGroup"}, Resources: []string{env.ARN("ec2", "vpc/*")}},
		{Sid: "MakeTaggedGroups", Actions: []string{"ec2:CreateSecurityGroup"}, Resources: groups, Conditions: []permit.Condition{permit.Named("Request", name)}},
		{Sid: "TagNewGroups", Actions: []string{"ec2:CreateTags"}, Resources: groups, Conditions: []permit.Condition{permit.Creating("CreateSecurityGroup")}},
		{Sid: "OpenPorts", Actions: []string{"ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"}, Resources: groups, Conditions: []permit.Condition{permit.Named("Resource", name)}},
	}
}

// imageKey tells whether the build encrypts its image, which EBS has to read
// then in the caller's name, and with which key; empty: the account's own.
func imageKey(env permit.Env) (encrypted bool, key string) {
	b, _ := env.Plan.Build(env.Build)
	for _, s := range b.Steps {
		var says struct {
			Encrypt any    `json:"encrypt"`
			KMSKey  string `json:"kms_key"`
		}
		if s.Kind != "ami" || json.Unmarshal(s.Config, &says) != nil {
			continue
		}
		if says.KMSKey != "" || says.Encrypt == true {
			encrypted, key = true, says.KMSKey
		}
	}
	return encrypted, key
}
