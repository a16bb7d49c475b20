package policy

import "testing"

func TestDecide(t *testing.T) {
	request := Request{
		Action: "ec2:RunInstances", Resource: "arn:aws:ec2:eu-west-1:111122223333:instance/*",
		Principal: map[string][]string{"AWS": {"arn:aws:iam::111122223333:role/ci", "111122223333"}},
		Context: map[string][]string{
			"aws:requestedregion": {"eu-west-1"}, "aws:tagkeys": {"bake:run", "app"}, "aws:sourceip": {"10.1.2.3"},
			"aws:multifactorauthpresent": {"true"}, "aws:principaltag/team": {"web"}, "s3:max": {"5"},
		},
	}
	for _, c := range []struct {
		name, document string
		want           Effect
	}{
		{"everything", `{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`, Allowed},
		{"a wildcard, whatever the case", `{"Statement": [{"Effect": "Allow", "Action": ["s3:Get*", "EC2:run*"], "Resource": "*"}]}`, Allowed},
		{"another action", `{"Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}]}`, Silent},
		{"another region's resource", `{"Statement": [{"Effect": "Allow", "Action": "ec2:*", "Resource": "arn:aws:ec2:us-*:*:instance/*"}]}`, Silent},
		{"its resource", `{"Statement": [{"Effect": "Allow", "Action": "ec2:*", "Resource": "arn:aws:ec2:*:*:instance/*"}]}`, Allowed},
		{"not action", `{"Statement": [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}]}`, Allowed},
		{"not resource", `{"Statement": [{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:ec2:*"}]}`, Silent},
		{"deny wins", `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": "ec2:RunInstances", "Resource": "*"}]}`, Denied},
		{"equals", `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:RequestedRegion": ["us-east-1", "eu-west-1"]}}}]}`, Allowed},
		{"not equals", `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringNotEquals": {"aws:RequestedRegion": ["us-east-1", "eu-west-1"]}}}]}`, Silent},
		{"a key that is not there", `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:x": "1"}}}]}`, Silent},
		{"if exists", `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEqualsIfExists": {"aws:x": "1"}}}]}`, Allowed},
		{"null", `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Null": {"aws:x": "true"}}}]}`, Allowed},
		{"any value", `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"ForAnyValue:StringLike": {"aws:TagKeys": "bake:*"}}}]}`, Allowed},
		{"all values", `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"ForAllValues:StringLike": {"aws:TagKeys": "bake:*"}}}]}`, Silent},
		{"an address", `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}]}`, Allowed},
		{"a boolean", `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:MultiFactorAuthPresent": true}}}]}`, Allowed},
		{"a number", `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"NumericLessThanEquals": {"s3:max": 4}}}]}`, Silent},
		{"a variable", `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalTag/team": "web"}}}]}`, Allowed},
		{"the account", `{"Statement": [{"Effect": "Allow", "Action": "*", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}}]}`, Allowed},
		{"another principal", `{"Statement": [{"Effect": "Allow", "Action": "*", "Principal": {"AWS": "arn:aws:iam::111122223333:role/other"}}]}`, Silent},
		{"a service", `{"Statement": [{"Effect": "Allow", "Action": "*", "Principal": {"Service": "ec2.amazonaws.com"}}]}`, Silent},
	} {
		d, err := Parse(c.document)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := Decide([]*Document{d}, request); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestDocumentsThatAreWrongAreRefused(t *testing.T) {
	for _, text := range []string{
		``, `[]`, `{`, `{"Version": "2012-10-17"}`,
		`{"Statement": [{"Effect": "allow", "Action": "*", "Resource": "*"}]}`,
		`{"Statement": [{"Effect": "Allow", "Resource": "*"}]}`,
		`{"Statement": [{"Effect": "Allow", "Action": "RunInstances", "Resource": "*"}]}`,
		`{"Statement": [{"Effect": "Allow", "Action": "*", "Resources": "*"}]}`,
		`{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringIs": {"a": "b"}}}]}`,
		`{"Statement": [{"Effect": "Allow", "Action": "*", "Principal": {"Person": "a"}}]}`,
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%s is read", text)
		}
	}
	d, err := Parse(`{"Statement": [{"Effect": "Allow", "Action": "s3:Get", "Principal": "*"}]}`)
	if err != nil || d.CheckIdentity() == nil || d.CheckTrust() == nil {
		t.Errorf("%v: neither an identity's nor a role's", err)
	}
}
