package image

import (
	"slices"
	"strings"

	"bake/builder"
	"bake/steps/amazon/permit"
	"bake/templates"
)

// Permissions is what publishing an AMI has to be allowed: a line for each
// thing that the template asks for. What bake may change or remove bears the
// template's tag, unless the template says to replace what others have made.
func (o *AMI) Permissions(env permit.Env) []permit.Statement {
	home := env.For(env.Home)
	mine := o.here(home)
	if o.encrypted() {
		mine = append(mine, permit.Encryption(home, o.KMSKey)...)
		mine = append(mine, copying(home, home)...) // where the machine was not started with it
	}
	var theirs []permit.Statement
	for _, c := range o.Regions {
		foreign := c.Profile != "" || len(c.Roles) > 0
		if c.Region == env.Home.Region && !foreign {
			continue
		}
		at, there := o.at(c), env.For(c.access(env.Home))
		local := append(at.here(there), copying(home, there)...)
		if at.encrypted() {
			local = append(local, permit.Encryption(there, at.KMSKey)...)
		}
		if foreign {
			mine = append(mine, o.lending(home, there.AccountOf())...)
			if o.encrypted() { // who copies reads what the image's own key has sealed
				local = append(local, permit.Encryption(home, o.KMSKey)...)
			}
		}
		theirs = append(theirs, there.Under(local...)...)
	}
	return append(home.Under(mine...), theirs...)
}

func (o *AMI) encrypted() bool { return o.KMSKey != "" || o.Encrypt != nil && *o.Encrypt }

// here is what one place needs, apart from making a copy there.
func (o *AMI) here(env permit.Env) []permit.Statement {
	images, snapshots, made := env.EC2("image"), env.EC2("snapshot"), []permit.Condition{env.Tag()}
	both := env.EC2("image", "snapshot")
	all := []permit.Statement{
		permit.Read("ec2:DescribeImages", "ec2:DescribeSnapshots", "ec2:DescribeImageAttribute", "ec2:DescribeSnapshotAttribute"),
		{Sid: "TagImages", Actions: []string{"ec2:CreateTags", "ec2:DeleteTags"}, Resources: both, Conditions: made},
		{Sid: "DescribeAndShareImages", Actions: []string{"ec2:ModifyImageAttribute"}, Resources: images, Conditions: made},
		{Sid: "ShareSnapshots", Actions: []string{"ec2:ModifySnapshotAttribute"}, Resources: snapshots, Conditions: made},
	}
	all = append(all, naming(env)...)
	if o.LaunchPermissions.Public {
		all = append(all, permit.Read("ec2:GetImageBlockPublicAccessState"))
	}
	if len(o.LaunchPermissions.grantees("")) > 0 {
		all = append(all, permit.DescribeKey(env, o.KMSKey))
	}
	all = append(all, o.sharingKeys(env, accounts(o.LaunchPermissions.grantees("")))...)
	if o.DeprecateAfter > 0 || o.DeprecateAt != "" {
		all = append(all, permit.Statement{Sid: "DeprecateImages", Actions: []string{"ec2:EnableImageDeprecation", "ec2:DisableImageDeprecation"}, Resources: images, Conditions: made})
	}
	if o.Protection.Enabled {
		all = append(all, permit.Statement{Sid: "ProtectImages", Actions: []string{"ec2:EnableImageDeregistrationProtection", "ec2:DisableImageDeregistrationProtection"}, Resources: images, Conditions: made})
	}
	if o.IfExists == IfExistsReplace {
		all = append(all, permit.Statement{Sid: "ReplaceImages", Actions: []string{"ec2:DeregisterImage", "ec2:DeleteSnapshot", "ec2:CreateTags", "ec2:DeleteTags"}, Resources: both})
	}
	if o.Keep > 0 {
		all = append(all, permit.Read("ec2:DescribeInstances", "ec2:DescribeLaunchTemplateVersions"))
	}
	return all
}

// naming is what it takes to give an image another name: it is registered anew,
// or copied, and what had a temporary name, or was not finished, is removed.
func naming(env permit.Env) []permit.Statement {
	both := env.EC2("image", "snapshot")
	return []permit.Statement{
		{Sid: "RegisterImages", Actions: []string{"ec2:RegisterImage"}, Resources: both},
		{Sid: "TagNewImages", Actions: []string{"ec2:CreateTags"}, Resources: both, Conditions: []permit.Condition{permit.Creating("CopyImage", "RegisterImage")}},
		{Sid: "RemoveOwnImages", Actions: []string{"ec2:DeregisterImage", "ec2:DeleteSnapshot"}, Resources: both, Conditions: []permit.Condition{env.Tag()}},
	}
}

// copying is of an image there is to one there shall be.
func copying(from, to permit.Env) []permit.Statement {
	return []permit.Statement{{Sid: "CopyImages", Actions: []string{"ec2:CopyImage"}, Resources: append(to.EC2("image", "snapshot"), from.EC2("image")...)}}
}

// lending is what the image's own account needs for another to copy it: no
// more than sharing does.
func (o *AMI) lending(env permit.Env, account string) []permit.Statement {
	return append([]permit.Statement{
		{Sid: "DescribeAndShareImages", Actions: []string{"ec2:ModifyImageAttribute"}, Resources: env.EC2("image"), Conditions: []permit.Condition{env.Tag()}},
		permit.DescribeKey(env, o.KMSKey),
	}, o.sharingKeys(env, []grantee{grantee(account)})...)
}

// sharingKeys is giving accounts the use of the image's key, and taking it back
// from those that the template does not name any more.
func (o *AMI) sharingKeys(env permit.Env, with []grantee) []permit.Statement {
	if !o.encrypted() {
		return nil
	}
	keys, named := env.Key(o.KMSKey)
	all := []permit.Statement{{Sid: "TakeKeysBack", Actions: []string{"kms:ListGrants", "kms:RevokeGrant"}, Resources: keys, Conditions: named}}
	if len(with) == 0 {
		return all
	}
	var principals, operations []string
	for _, account := range with {
		principals = append(principals, "arn:"+env.Partition()+":iam::"+string(account)+":root")
	}
	for _, op := range lent() {
		operations = append(operations, string(op))
	}
	only := []permit.Condition{{Operator: "StringLike", Key: "kms:GranteePrincipal", Values: principals}, {Operator: "ForAllValues:StringEquals", Key: "kms:GrantOperations", Values: operations}}
	return append(all,
		permit.Statement{Sid: "ReadKeyPolicies", Actions: []string{"kms:GetKeyPolicy"}, Resources: keys, Conditions: named},
		permit.Statement{Sid: "LendKeysToAccounts", Actions: []string{"kms:CreateGrant"}, Resources: keys, Conditions: append(named, only...)})
}

// regionsOf are where the `ami` outputs of a build put its AMI, in the account
// that it is made in.
func regionsOf(env permit.Env) []string {
	b, _ := env.Plan.Build(env.Build)
	all := []string{env.Home.Region}
	for _, s := range b.Steps {
		if s.Phase != builder.Publish || s.Kind != Kind {
			continue
		}
		var o AMI
		block, err := templates.FromJSON(s.Config, s.Pos, nil)
		if err != nil || templates.Decode(block, &o).Err() != nil {
			continue // a plan has been decoded before
		}
		for _, c := range o.Regions {
			if c.Profile == "" && len(c.Roles) == 0 && !slices.Contains(all, c.Region) {
				all = append(all, c.Region)
			}
		}
	}
	return all
}

// reaching is what an output needs in each of the regions where it follows the AMI.
func reaching(env permit.Env, regions []string, needs func(permit.Env) []permit.Statement) []permit.Statement {
	home := env.For(env.Home)
	var all []permit.Statement
	for _, region := range regions {
		all = append(all, needs(home.In(region))...)
	}
	return home.Under(all...)
}

// Permissions is what setting SSM parameters has to be allowed.
func (o *Parameter) Permissions(env permit.Env) []permit.Statement {
	regions := o.Regions
	if len(regions) == 0 {
		regions = regionsOf(env)
	}
	return reaching(env, regions, func(env permit.Env) []permit.Statement {
		var names []string
		for _, name := range append([]string{o.Name}, o.Promote...) {
			names = append(names, env.ARN("ssm", "parameter/"+strings.TrimPrefix(permit.Any(name), "/")))
		}
		return []permit.Statement{
			{Sid: "SetParameters", Resources: names, Actions: []string{"ssm:GetParameter", "ssm:PutParameter", "ssm:ListTagsForResource", "ssm:AddTagsToResource", "ssm:RemoveTagsFromResource"}},
			permit.Read("ec2:DescribeImages"), // SSM looks at the image as the caller
		}
	})
}

// Permissions is what a launch template's new version has to be allowed.
func (o *LaunchTemplate) Permissions(env permit.Env) []permit.Statement {
	regions := o.Regions
	if len(regions) == 0 {
		regions = []string{env.Home.Region}
	}
	return reaching(env, regions, o.permissions)
}

func (o *LaunchTemplate) permissions(env permit.Env) []permit.Statement {
	these := env.EC2("launch-template")
	change := permit.Statement{Sid: "ChangeLaunchTemplates", Actions: []string{"ec2:CreateLaunchTemplateVersion"}, Resources: these}
	reads := []string{"ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions"}
	if o.Default {
		change.Actions = append(change.Actions, "ec2:ModifyLaunchTemplate")
	}
	if o.Keep > 0 {
		change.Actions = append(change.Actions, "ec2:DeleteLaunchTemplateVersions")
		reads = append(reads, "ec2:DescribeInstances")
	}
	all := []permit.Statement{permit.Read(reads...), change}
	if o.Create != nil {
		all = append(all,
			permit.Statement{Sid: "CreateLaunchTemplates", Actions: []string{"ec2:CreateLaunchTemplate"}, Resources: these, Conditions: []permit.Condition{env.Born()}},
			permit.Statement{Sid: "TagNewLaunchTemplates", Actions: []string{"ec2:CreateTags"}, Resources: these, Conditions: []permit.Condition{permit.Creating("CreateLaunchTemplate")}},
			permit.Statement{Sid: "RemoveOwnLaunchTemplates", Actions: []string{"ec2:DeleteLaunchTemplate"}, Resources: these, Conditions: []permit.Condition{env.Tag()}})
	}
	return all
}
