package iam_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"bake/internal/sandbox"
	"bake/internal/sandbox/sandboxtest"
)

const trust = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}`

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

func TestAProfileIsMadeAndTakenApartInOrder(t *testing.T) {
	s := sandboxtest.StartWith(t, sandbox.Options{Account: sandboxtest.Account, Pace: 1})
	c := iam.NewFromConfig(sandboxtest.Config(s, "us-east-1"))
	ctx := t.Context()
	name, document := aws.String("builder"), aws.String(`{"Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}}`)
	steps := []struct {
		name string
		do   func() error
		want string
	}{
		{"a role", func() error {
			_, err := c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trust)})
			return err
		}, ""},
		{"the role again", func() error {
			_, err := c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trust)})
			return err
		}, "EntityAlreadyExists"},
		{"a role that nobody may assume", func() error {
			_, err := c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("x"), AssumeRolePolicyDocument: document})
			return err
		}, "MalformedPolicyDocument"},
		{"its policy", func() error {
			_, err := c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: name, PolicyDocument: document})
			return err
		}, ""},
		{"a policy of AWS", func() error {
			_, err := c.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore")})
			return err
		}, ""},
		{"a policy that is not there", func() error {
			_, err := c.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/None")})
			return err
		}, "NoSuchEntity"},
		{"a profile", func() error {
			_, err := c.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: name})
			return err
		}, ""},
		{"the role in it", func() error {
			_, err := c.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name})
			return err
		}, ""},
		{"two roles in it", func() error {
			_, err := c.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name})
			return err
		}, "LimitExceeded"},
		{"deleting the profile with a role", func() error {
			_, err := c.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: name})
			return err
		}, "DeleteConflict"},
	}
	for _, step := range steps {
		if err := step.do(); code(err) != step.want {
			t.Fatalf("%s: %v, want %q", step.name, err, step.want)
		}
	}
	if _, ok := s.Services.IAM.InstanceProfile(sandboxtest.Account, "builder"); ok {
		t.Error("EC2 knows the profile at once")
	}
	s.World.Now = func() time.Time { return time.Now().Add(15 * time.Second) }
	if arn, ok := s.Services.IAM.InstanceProfile(sandboxtest.Account, "builder"); !ok || arn != "arn:aws:iam::111122223333:instance-profile/builder" {
		t.Errorf("profile %q, %v", arn, ok)
	}
	out, err := c.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: name})
	if err != nil {
		t.Fatal(err)
	}
	if d, _ := url.QueryUnescape(*out.InstanceProfile.Roles[0].AssumeRolePolicyDocument); d != trust {
		t.Errorf("trust: %s", d)
	}
	for _, del := range []struct {
		do   func() error
		want string
	}{
		{func() error { _, err := c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name}); return err }, "DeleteConflict"},
		{func() error {
			_, err := c.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: name})
			return err
		}, ""},
		{func() error { _, err := c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name}); return err }, "DeleteConflict"},
		{func() error {
			_, err := c.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: name})
			return err
		}, ""},
		{func() error {
			_, err := c.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore")})
			return err
		}, ""},
		{func() error { _, err := c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name}); return err }, ""},
		{func() error { _, err := c.GetRole(ctx, &iam.GetRoleInput{RoleName: name}); return err }, "NoSuchEntity"},
	} {
		if err := del.do(); code(err) != del.want {
			t.Errorf("%v, want %q", err, del.want)
		}
	}
}

func TestTheCLIReadsPoliciesAsDocuments(t *testing.T) {
	s := sandboxtest.Start(t)
	sandboxtest.CLI(t, s, "us-east-1", "iam", "create-role", "--role-name", "r", "--assume-role-policy-document", trust)
	var out struct {
		Role struct{ AssumeRolePolicyDocument struct{ Statement []any } }
	}
	if err := json.Unmarshal([]byte(sandboxtest.CLI(t, s, "us-east-1", "iam", "get-role", "--role-name", "r")), &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Role.AssumeRolePolicyDocument.Statement) != 1 {
		t.Errorf("%+v", out)
	}
}
