package permit

import (
	"fmt"
	"strings"
	"testing"

	"bake/builder"
	"bake/steps/amazon"
)

func TestAPolicyIsCutIntoWhatIAMTakes(t *testing.T) {
	var all []Statement
	for i := range 60 {
		all = append(all, Statement{Sid: fmt.Sprintf("S%d", i), Actions: []string{"ec2:DescribeImages"}, Resources: []string{"arn:aws:ec2:*:*:" + strings.Repeat("x", 100+i)}})
	}
	whole := Merge(all)
	parts, n := whole.Split(), 0
	for _, d := range parts {
		if size := d.Characters(); size > ManagedLimit {
			t.Errorf("%d characters", size)
		}
		n += len(d.Statements)
	}
	if want := whole.Characters()/ManagedLimit + 1; n != 60 || len(parts) > want {
		t.Errorf("%d statements in %d parts, want 60 in %d", n, len(parts), want)
	}
}

func TestStatementsAreJoinedOnlyIfTheyAllowNoMoreTogether(t *testing.T) {
	one := Condition{"StringEquals", "a", []string{"b"}}
	doc := Merge([]Statement{
		{Sid: "A", Actions: []string{"s:X"}, Resources: []string{"r1"}},
		{Sid: "A", Actions: []string{"s:Y"}, Resources: []string{"r1"}},
		{Sid: "A", Actions: []string{"s:X", "s:Y"}, Resources: []string{"r2"}},
		{Sid: "A", Actions: []string{"s:X"}, Resources: []string{"r3"}},
		{Sid: "A", Actions: []string{"s:X"}, Resources: []string{"r1"}, Conditions: []Condition{one}},
	})
	var got []string
	for _, s := range doc.Statements {
		got = append(got, fmt.Sprintf("%s %v %v %d", s.Sid, s.Action, s.Resource, len(s.Condition)))
	}
	if want := "A [s:X] [r1] 1, A2 [s:X s:Y] [r1 r2] 0, A3 [s:X] [r3] 0"; strings.Join(got, ", ") != want {
		t.Errorf("%q", got)
	}
}

func TestEachRoleOfAChainMayAssumeTheNext(t *testing.T) {
	env := Env{Plan: &builder.Plan{Name: "web"}, Account: "111122223333"}.For(amazon.Access{Region: "cn-north-1", Roles: []amazon.Role{
		{ARN: "arn:aws-cn:iam::222233334444:role/a"}, {ARN: "arn:aws-cn:iam::333344445555:role/b", Tags: map[string]string{"x": "y"}}}})
	var got []string
	for _, s := range env.Under(Statement{Sid: "Do", Actions: []string{"ec2:X"}, Resources: env.EC2("instance")}) {
		got = append(got, s.As+" "+strings.Join(s.Actions, "+")+" "+s.Resources[0])
	}
	want := []string{"arn:aws-cn:iam::333344445555:role/b ec2:X arn:aws-cn:ec2:cn-north-1:333344445555:instance/*",
		" sts:AssumeRole arn:aws-cn:iam::222233334444:role/a",
		"arn:aws-cn:iam::222233334444:role/a sts:AssumeRole+sts:TagSession arn:aws-cn:iam::333344445555:role/b"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q", got)
	}
}
