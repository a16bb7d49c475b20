package image

import (
	"strings"

	"bake/steps/amazon/permit"
)

// Permissions is what publishing an AMI has to be allowed: a line for each
// thing that the template asks for. What bake may change or remove bears the
// template's tag, unless the template says to replace what others have made.
func (o *AMI) Permissions(env permit.Env) []permit.Statement {
	all := o.here(env)
	for _, c := range o.Regions {
		at := o.at(c)
		access := c.access(env.Home)
		if c.Region == env.Home.Region && c.Profile == "" && len(c.Roles) == 0 {
			continue
		}
		local := append(at.here(env), copying(env)...)
		if at.encrypted() {
			local = append(local, permit.Encryption(env, at.KMSKey)...)
		}
		foreign := c.Profile != "" || len(c.Roles) > 0
		for _, s := range local {
			if foreign {
				s.As = access
			}
			all = append(all, s)
		}
		if foreign {
			all = append(all, lending(env)...)
		}
		for _, r := range c.Roles {
			all = append(all, permit.Statement{Sid: "AssumeRoles", Actions: []string{"sts:AssumeRole"}, Resources: []string{r.ARN}})
			break // the others are assumed by the ones before
		}
	}
	if o.encrypted() {
		all = append(all, permit.Encryption(env, o.KMSKey)...)
		all = append(all, copying(env)...) // where the machine was not started with it
	}
	return all
}

func (o *AMI) encrypted() bool { return o.KMSKey != "" || o.Encrypt != nil && *o.Encrypt }

// here is what one place needs, apart from making a copy there.
func (o *AMI) here(env permit.Env) []permit.Statement {
	images, snapshots, made := env.EC2("image"), env.EC2("snapshot"), []permit.Condition{env.Tag()}
	all := []permit.Statement{
		permit.Read("ec2:DescribeImages", "ec2:DescribeSnapshots", "ec2:DescribeImageAttribute", "ec2:DescribeSnapshotAttribute"),
		{Sid: "TagImages", Actions: []string{"ec2:CreateTags", "ec2:DeleteTags"}, Resources: []string{images, snapshots}, Conditions: made},
		{Sid: "DescribeAndShareImages", Actions: []string{"ec2:ModifyImageAttribute"}, Resources: []string{images}, Conditions: made},
		{Sid: "ShareSnapshots", Actions: []string{"ec2:ModifySnapshotAttribute"}, Resources: []string{snapshots}, Conditions: made},
	}
	all = append(all, naming(env)...)
	if o.LaunchPermissions.Public {
		all = append(all, permit.Read("ec2:GetImageBlockPublicAccessState"))
	}
	if len(o.LaunchPermissions.grantees("")) > 0 {
		all = append(all, permit.Statement{Sid: "AskAboutKeys", Actions: []string{"kms:DescribeKey"}})
	}
	if o.DeprecateAfter > 0 || o.DeprecateAt != "" {
		all = append(all, permit.Statement{Sid: "DeprecateImages", Actions: []string{"ec2:EnableImageDeprecation", "ec2:DisableImageDeprecation"}, Resources: []string{images}, Conditions: made})
	}
	if o.Protection.Enabled {
		all = append(all, permit.Statement{Sid: "ProtectImages", Actions: []string{"ec2:EnableImageDeregistrationProtection", "ec2:DisableImageDeregistrationProtection"}, Resources: []string{images}, Conditions: made})
	}
	if o.IfExists == IfExistsReplace {
		all = append(all, permit.Statement{Sid: "ReplaceImages", Actions: []string{"ec2:DeregisterImage", "ec2:DeleteSnapshot", "ec2:CreateTags", "ec2:DeleteTags"}, Resources: []string{images, snapshots}})
	}
	if o.Keep > 0 {
		all = append(all, permit.Read("ec2:DescribeInstances", "ec2:DescribeLaunchTemplateVersions"))
	}
	return all
}

// naming is what it takes to give an image another name: it is registered anew,
// or copied, and what had a temporary name, or was not finished, is removed.
func naming(env permit.Env) []permit.Statement {
	images, snapshots := env.EC2("image"), env.EC2("snapshot")
	return []permit.Statement{
		{Sid: "RegisterImages", Actions: []string{"ec2:RegisterImage"}, Resources: []string{images, snapshots}},
		{Sid: "TagNewImages", Actions: []string{"ec2:CreateTags"}, Resources: []string{images, snapshots},
			Conditions: []permit.Condition{{Operator: "StringEquals", Key: "ec2:CreateAction", Values: []string{"CopyImage", "RegisterImage"}}}},
		{Sid: "RemoveOwnImages", Actions: []string{"ec2:DeregisterImage", "ec2:DeleteSnapshot"}, Resources: []string{images, snapshots}, Conditions: []permit.Condition{env.Tag()}},
	}
}

func copying(env permit.Env) []permit.Statement {
	return []permit.Statement{{Sid: "CopyImages", Actions: []string{"ec2:CopyImage"}, Resources: []string{env.EC2("image"), env.EC2("snapshot")}}}
}

// lending is what the image's own account needs for another to copy it: no
// more than sharing does.
func lending(env permit.Env) []permit.Statement {
	return []permit.Statement{
		{Sid: "DescribeAndShareImages", Actions: []string{"ec2:ModifyImageAttribute"}, Resources: []string{env.EC2("image")}, Conditions: []permit.Condition{env.Tag()}},
		{Sid: "AskAboutKeys", Actions: []string{"kms:DescribeKey"}},
	}
}

// Permissions is what setting SSM parameters has to be allowed.
func (o *Parameter) Permissions(env permit.Env) []permit.Statement {
	var names []string
	for _, name := range append([]string{o.Name}, o.Promote...) {
		if name == "" { // not known before the run
			name = "*"
		}
		names = append(names, "arn:"+env.Partition()+":ssm:*:*:parameter/"+strings.TrimPrefix(name, "/"))
	}
	return []permit.Statement{
		{Sid: "SetParameters", Resources: names, Actions: []string{"ssm:GetParameter", "ssm:PutParameter", "ssm:ListTagsForResource", "ssm:AddTagsToResource", "ssm:RemoveTagsFromResource"}},
		permit.Read("ec2:DescribeImages"), // SSM looks at the image as the caller
	}
}

// Permissions is what a launch template's new version has to be allowed.
func (o *LaunchTemplate) Permissions(env permit.Env) []permit.Statement {
	all := []permit.Statement{
		permit.Read("ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions"),
		{Sid: "ChangeLaunchTemplates", Actions: []string{"ec2:CreateLaunchTemplateVersion"}, Resources: []string{env.EC2("launch-template")}},
	}
	change := &all[1]
	if o.Default {
		change.Actions = append(change.Actions, "ec2:ModifyLaunchTemplate")
	}
	if o.Keep > 0 {
		change.Actions = append(change.Actions, "ec2:DeleteLaunchTemplateVersions")
		all = append(all, permit.Read("ec2:DescribeInstances"))
	}
	if o.Create != nil {
		all = append(all,
			permit.Statement{Sid: "CreateLaunchTemplates", Actions: []string{"ec2:CreateLaunchTemplate"}, Resources: []string{env.EC2("launch-template")}, Conditions: []permit.Condition{env.Born()}},
			permit.Statement{Sid: "TagNewLaunchTemplates", Actions: []string{"ec2:CreateTags"}, Resources: []string{env.EC2("launch-template")},
				Conditions: []permit.Condition{{Operator: "StringEquals", Key: "ec2:CreateAction", Values: []string{"CreateLaunchTemplate"}}}},
			permit.Statement{Sid: "RemoveOwnLaunchTemplates", Actions: []string{"ec2:DeleteLaunchTemplate"}, Resources: []string{env.EC2("launch-template")}, Conditions: []permit.Condition{env.Tag()}})
	}
	return all
}
