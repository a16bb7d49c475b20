package permit

import "bake/steps/amazon"

// A Condition has to hold for a statement to allow anything.
type Condition struct {
	Operator, Key string
	Values        []string
}

// Tag is a condition: the resource was made by this template.
func (e Env) Tag() Condition {
	return Condition{"StringEquals", "aws:ResourceTag/" + amazon.TagTemplate, []string{e.Plan.Name}}
}

// OfRun is a condition: the resource was made by a run of whatever template.
func OfRun() Condition {
	return Condition{"StringLike", "aws:ResourceTag/" + amazon.TagRun, []string{"*"}}
}

// Born is a condition: the resource gets this template's tag as it is made.
func (e Env) Born() Condition {
	return Condition{"StringEquals", "aws:RequestTag/" + amazon.TagTemplate, []string{e.Plan.Name}}
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

// PassedTo is a condition: a role is handed to these services ("ec2") alone.
func (e Env) PassedTo(services ...string) Condition {
	domain := ".amazonaws.com"
	if e.Partition() == "aws-cn" {
		domain = ".amazonaws.com.cn"
	}
	c := Condition{Operator: "StringEquals", Key: "iam:PassedToService"}
	for _, s := range services {
		name := s + ".amazonaws.com"
		if s == "ec2" { // the only one that has a name of its own in China
			name = s + domain
		}
		c.Values = append(c.Values, name)
	}
	return c
}
