package image

import (
	"strings"

	"bake/builder"
	"bake/steps/amazon/permit"
)

// Destroying says what `bake destroy` is to be allowed.
type Destroying struct {
	Name      string // an AMI's id or name; empty: those of the plan
	Remove    bool   // not only find them
	Unprotect bool
}

// Permissions is what finding images has to be allowed, in all regions, and
// removing those that bake has made: of the plan's template, or of any.
func (d Destroying) Permissions(env permit.Env) []permit.Statement {
	home := env.For(env.Home).In("")
	all := home.Under(d.in(home, true)...)
	if d.Name != "" {
		return all
	}
	for _, b := range env.Plan.Builds {
		for _, s := range b.Steps {
			if s.Phase != builder.Publish || s.Kind != Kind {
				continue
			}
			o, err := outputOf(s)
			if err != nil {
				continue // a plan has been decoded before
			}
			for _, c := range o.Regions {
				if there := env.For(c.access(env.Home)); c.Profile != "" || len(c.Roles) > 0 {
					all = append(all, there.Under(d.in(there, false)...)...)
				}
			}
		}
	}
	return all
}

// in is what one account needs; home is where the regions are asked for.
func (d Destroying) in(env permit.Env, home bool) []permit.Statement {
	all := []permit.Statement{permit.Read("ec2:DescribeImages", "ec2:DescribeInstances", "ec2:DescribeLaunchTemplateVersions")}
	if home {
		all = append(all, permit.Read("ec2:DescribeRegions"))
	}
	if !d.Remove {
		return all
	}
	made := []permit.Condition{env.Tag()}
	if d.Name != "" {
		made = []permit.Condition{permit.OfRun()}
	}
	images := env.EC2("image")
	all = append(all,
		permit.Read("ec2:DescribeImageAttribute"), // who may use the key of an encrypted one
		permit.Statement{Sid: "RemoveImages", Actions: []string{"ec2:DeregisterImage", "ec2:DeleteSnapshot"}, Resources: env.EC2("image", "snapshot"), Conditions: made},
		permit.Statement{Sid: "TakeKeysBack", Actions: []string{"kms:ListGrants", "kms:RevokeGrant"}, Resources: []string{env.ARN("kms", "key/*")}})
	if strings.HasPrefix(d.Name, "ami-") { // of whomever: it is named
		images = []string{env.Region("ec2", "image/"+d.Name)}
		all = append(all, permit.Statement{Sid: "RemoveTheImage", Actions: []string{"ec2:DeregisterImage"}, Resources: images})
		made = nil
	}
	if d.Unprotect {
		all = append(all, permit.Statement{Sid: "EndProtection", Actions: []string{"ec2:DisableImageDeregistrationProtection"}, Resources: images, Conditions: made})
	}
	return all
}
