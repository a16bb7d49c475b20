package permit

import (
	"reflect"

	"bake/steps/amazon"
)

// At is the environment of what calls another region than the home's. Where no
// region is named, the home's stays.
func (e Env) At(region string) Env {
	if region != "" {
		e.Home.Region = region
	}
	return e
}

// Under says whose the statements are that an access needs: the last role's or
// the profile's, and what each before it needs to assume the next. An access
// like the home's, or without profile and roles, needs nothing else.
func (e Env) Under(a amazon.Access, all ...Statement) []Statement {
	if a.Profile == e.Home.Profile && reflect.DeepEqual(a.Roles, e.Home.Roles) || a.Profile == "" && len(a.Roles) == 0 {
		return all
	}
	for i := range all {
		all[i].As = a
	}
	for i, r := range a.Roles {
		assume := Statement{Sid: "AssumeRoles", Actions: []string{"sts:AssumeRole"}, Resources: []string{r.ARN}}
		assume.As = amazon.Access{Region: a.Region, Profile: a.Profile, Roles: a.Roles[:i]}
		if len(r.Tags) > 0 {
			assume.Actions = append(assume.Actions, "sts:TagSession")
		}
		all = append(all, assume)
	}
	return all
}

// ARN is the ARN of a resource of any account in the home's region.
func (e Env) ARN(service, resource string) string { return e.arn(service, "*", resource) }

// Region is the ARN of what belongs to no account, like images and snapshots.
func (e Env) Region(service, resource string) string { return e.arn(service, "", resource) }

func (e Env) arn(service, account, resource string) string {
	return "arn:" + e.Partition() + ":" + service + ":" + Any(e.Home.Region) + ":" + account + ":" + resource
}

// Any is a name, or * if it is not known before a run.
func Any(name string) string {
	if name == "" {
		return "*"
	}
	return name
}

// Named is a condition: the resource has this Name tag already, or gets it as
// it is made.
func Named(when, name string) Condition {
	operator := "StringEquals"
	if name == "" { // not known before the run
		operator = "StringLike"
	}
	return Condition{operator, "aws:" + when + "Tag/Name", []string{Any(name)}}
}

// Creating is a condition: tags are given by the calls that make what gets them.
func Creating(calls ...string) Condition {
	return Condition{"StringEquals", "ec2:CreateAction", calls}
}
