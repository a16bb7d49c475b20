package volume

import (
	"bake/steps/amazon/permit"
)

// Permissions is what keeping the volume has to be allowed. It is known by its
// Name tag, and what it may change has that.
func (o *Output) Permissions(env permit.Env) []permit.Statement {
	env = env.For(o.Access)
	volumes := []string{env.ARN("ec2", "volume/*")}
	this := []permit.Condition{permit.Named("Resource", o.Name)}
	all := []permit.Statement{
		permit.Read("ec2:DescribeVolumes"),
		{Sid: "MakeVolumes", Actions: []string{"ec2:CreateVolume"}, Resources: volumes, Conditions: []permit.Condition{permit.Named("Request", o.Name)}},
		{Sid: "TagNewVolumes", Actions: []string{"ec2:CreateTags"}, Resources: volumes, Conditions: []permit.Condition{permit.Creating("CreateVolume")}},
		{Sid: "ChangeVolumes", Actions: []string{"ec2:ModifyVolume"}, Resources: volumes, Conditions: this},
		{Sid: "RemoveOwnVolumes", Actions: []string{"ec2:DeleteVolume"}, Resources: volumes, Conditions: []permit.Condition{env.Tag()}},
	}
	if len(o.Tags) > 0 {
		all = append(all, permit.Statement{Sid: "TagVolumes", Actions: []string{"ec2:CreateTags"}, Resources: volumes, Conditions: this})
	}
	if o.Snapshot != "" {
		all = append(all, permit.Statement{Sid: "UseSnapshots", Actions: []string{"ec2:CreateVolume"}, Resources: []string{env.Region("ec2", "snapshot/"+o.Snapshot)}})
	}
	switch {
	case o.KMSKey != "":
		all = append(all, permit.Encryption(env, o.KMSKey)...)
	case o.Snapshot != "", o.Encrypted != nil && *o.Encrypted: // with the snapshot's key, or the account's own
		all = append(all, permit.Encryption(env, "")...)
	}
	return env.Under(append(all, o.attaching(env, this)...)...)
}

// attaching is what it takes to attach the volume, and to take it from another
// instance first.
func (o *Output) attaching(env permit.Env, this []permit.Condition) []permit.Statement {
	if o.Attach == nil {
		return nil
	}
	actions := []string{"ec2:AttachVolume"}
	instance := o.Attach.Instance
	if o.Attach.Move { // from whatever instance
		actions, instance = append(actions, "ec2:DetachVolume"), ""
	}
	all := []permit.Statement{
		{Sid: "AttachVolumes", Actions: actions, Resources: []string{env.ARN("ec2", "volume/*")}, Conditions: this},
		{Sid: "AttachToInstances", Actions: actions, Resources: []string{env.ARN("ec2", "instance/"+permit.Any(instance))}},
	}
	if o.Zone == "" {
		all = append(all, permit.Read("ec2:DescribeInstances"))
	}
	return all
}
