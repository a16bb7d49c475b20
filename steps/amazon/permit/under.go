package permit

import (
	"strings"

	"bake/steps/amazon"
)

// For is the environment of what is called with an access: in its region, and
// in the account of its last role. What is not known before a run is any.
func (e Env) For(a amazon.Access) Env {
	e.access = a
	return e
}

// In is the same in another region. None stays none.
func (e Env) In(region string) Env {
	e.access.Region = region
	return e
}

// Actor is whose rights an access stands for: its last role's or its profile's;
// empty: those of whoever runs bake.
func Actor(a amazon.Access) string {
	if n := len(a.Roles); n > 0 {
		return a.Roles[n-1].ARN
	}
	return a.Profile
}

// Under says that the statements are those of the environment's access, and
// adds what each role before the last needs to assume the next.
func (e Env) Under(all ...Statement) []Statement {
	for i := range all {
		all[i].As = Actor(e.access)
	}
	for i, r := range e.access.Roles {
		before := e.access
		before.Roles = before.Roles[:i]
		assume := Statement{Sid: "AssumeRoles", Actions: []string{"sts:AssumeRole"}, Resources: []string{r.ARN}, As: Actor(before)}
		if len(r.Tags) > 0 {
			assume.Actions = append(assume.Actions, "sts:TagSession")
		}
		all = append(all, assume)
	}
	return all
}

// region and account are those of the access, or * if they are not known.
func (e Env) region() string { return Any(e.access.Region) }

func (e Env) account() string {
	if n := len(e.access.Roles); n > 0 {
		if parts := strings.SplitN(e.access.Roles[n-1].ARN, ":", 6); len(parts) == 6 {
			return Any(parts[4])
		}
	}
	if e.access.Profile != "" { // it may be of any
		return "*"
	}
	return Any(e.Account)
}

// AccountOf is the account of the access, or * if it is not known.
func (e Env) AccountOf() string { return e.account() }

// Partition is the first part of the ARNs of the access's region.
func (e Env) Partition() string {
	switch region := e.access.Region; {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	if n := len(e.access.Roles); n > 0 {
		if parts := strings.SplitN(e.access.Roles[n-1].ARN, ":", 3); len(parts) == 3 {
			return parts[1]
		}
	}
	return "aws"
}

// ARN is the ARN of a resource of the access's account and region.
func (e Env) ARN(service, resource string) string {
	return e.arn(service, e.region(), e.account(), resource)
}

// ARNOf is ARN in an account that may be another than the access's; empty: its own.
func (e Env) ARNOf(service, account, resource string) string {
	if account == "" {
		account = e.account()
	}
	return e.arn(service, e.region(), account, resource)
}

// Region is the ARN of what belongs to no account, like images and snapshots.
func (e Env) Region(service, resource string) string {
	return e.arn(service, e.region(), "", resource)
}

// IAM is the ARN of what belongs to no region: a role, an instance profile.
func (e Env) IAM(resource string) string { return e.Global("iam", resource) }

func (e Env) arn(service, region, account, resource string) string {
	return "arn:" + e.Partition() + ":" + service + ":" + region + ":" + account + ":" + resource
}

// EC2 returns the ARN of all resources of EC2 types. Images and snapshots are
// of no account in ARNs.
func (e Env) EC2(kinds ...string) []string {
	var all []string
	for _, kind := range kinds {
		if kind == "image" || kind == "snapshot" {
			all = append(all, e.Region("ec2", kind+"/*"))
		} else {
			all = append(all, e.ARN("ec2", kind+"/*"))
		}
	}
	return all
}

// Any is a name, or * if it is not known before a run.
func Any(name string) string {
	if name == "" {
		return "*"
	}
	return name
}

// Role is the ARN of a role that a template names, by its ARN or its name;
// empty: any of the account.
func (e Env) Role(nameOrARN string) string {
	if strings.HasPrefix(nameOrARN, "arn:") {
		return nameOrARN
	}
	return e.IAM("role/" + strings.TrimPrefix(Any(nameOrARN), "/"))
}

// Global is the ARN of what an account has in no region.
func (e Env) Global(service, resource string) string {
	return e.arn(service, "", e.account(), resource)
}
