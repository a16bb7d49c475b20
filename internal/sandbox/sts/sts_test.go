package sts_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"bake/internal/sandbox"
	"bake/internal/sandbox/sandboxtest"
)

const other = "444455556666" // another account

// role makes a role in the other account.
func role(t *testing.T, s *sandbox.Sandbox, name, trust string) string {
	t.Helper()
	out, err := iam.NewFromConfig(sandboxtest.ConfigAs(s, "us-east-1", other, "x", "")).CreateRole(t.Context(),
		&iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust})
	if err != nil {
		t.Fatal(err)
	}
	return *out.Role.Arn
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

func trust(principal, more string) string {
	return `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": ` + principal + `, "Action": ["sts:AssumeRole", "sts:TagSession"]` + more + `}]}`
}

func TestAssumeRoleAsksTheTrustPolicy(t *testing.T) {
	s := sandboxtest.Start(t)
	client := sts.NewFromConfig(sandboxtest.Config(s, "eu-west-1"))
	account := `{"AWS": "arn:aws:iam::` + sandboxtest.Account + `:root"}`
	open := role(t, s, "open", trust(account, ""))
	closed := role(t, s, "closed", trust(`{"AWS": "arn:aws:iam::999900001111:root"}`, ""))
	external := role(t, s, "external", trust(account, `, "Condition": {"StringEquals": {"sts:ExternalId": "42"}}`))
	mfa := role(t, s, "mfa", trust(account, `, "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}`))
	tagged := role(t, s, "tagged", trust(account, `, "Condition": {"StringEquals": {"aws:RequestTag/team": "web"}}`))
	untagged := role(t, s, "untagged", `{"Statement": {"Effect": "Allow", "Principal": `+account+`, "Action": "sts:AssumeRole"}}`)
	web := []types.Tag{{Key: aws.String("team"), Value: aws.String("web")}}
	serial := aws.String("arn:aws:iam::" + sandboxtest.Account + ":mfa/ann")
	for _, c := range []struct {
		name string
		in   sts.AssumeRoleInput
		want string
	}{
		{"one that trusts the account", sts.AssumeRoleInput{RoleArn: &open}, ""},
		{"one that trusts another", sts.AssumeRoleInput{RoleArn: &closed}, "AccessDenied"},
		{"one that does not exist", sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + other + ":role/none")}, "AccessDenied"},
		{"without the external id", sts.AssumeRoleInput{RoleArn: &external}, "AccessDenied"},
		{"with another external id", sts.AssumeRoleInput{RoleArn: &external, ExternalId: aws.String("43")}, "AccessDenied"},
		{"with the external id", sts.AssumeRoleInput{RoleArn: &external, ExternalId: aws.String("42")}, ""},
		{"without MFA", sts.AssumeRoleInput{RoleArn: &mfa}, "AccessDenied"},
		{"with MFA", sts.AssumeRoleInput{RoleArn: &mfa, SerialNumber: serial, TokenCode: aws.String("123456")}, ""},
		{"with a code that was used", sts.AssumeRoleInput{RoleArn: &mfa, SerialNumber: serial, TokenCode: aws.String("123456")}, "AccessDenied"},
		{"with a wrong code", sts.AssumeRoleInput{RoleArn: &mfa, SerialNumber: serial, TokenCode: aws.String("000000")}, "AccessDenied"},
		{"without the tag", sts.AssumeRoleInput{RoleArn: &tagged}, "AccessDenied"},
		{"with the tag", sts.AssumeRoleInput{RoleArn: &tagged, Tags: web}, ""},
		{"with a tag where tags are not allowed", sts.AssumeRoleInput{RoleArn: &untagged, Tags: web}, "AccessDenied"},
		{"for too long", sts.AssumeRoleInput{RoleArn: &open, DurationSeconds: aws.Int32(7200)}, "ValidationError"},
		{"too briefly", sts.AssumeRoleInput{RoleArn: &open, DurationSeconds: aws.Int32(60)}, "ValidationError"},
	} {
		c.in.RoleSessionName = aws.String("bake")
		_, err := client.AssumeRole(t.Context(), &c.in)
		if got := code(err); err != nil && got != c.want || err == nil && c.want != "" {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestASessionIsTheRoles(t *testing.T) {
	s := sandboxtest.Start(t)
	ctx := t.Context()
	first := role(t, s, "first", trust(`{"AWS": "arn:aws:iam::`+sandboxtest.Account+`:root"}`, ""))
	second := role(t, s, "second", trust(`{"AWS": "`+first+`"}`, ""))
	assume := func(c *sts.Client, arn string, seconds int32) (*sts.Client, error) {
		out, err := c.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: aws.String("ci"), DurationSeconds: &seconds})
		if err != nil {
			return nil, err
		}
		k := out.Credentials
		return sts.NewFromConfig(sandboxtest.ConfigAs(s, "eu-west-1", *k.AccessKeyId, *k.SecretAccessKey, *k.SessionToken)), nil
	}
	direct := sts.NewFromConfig(sandboxtest.Config(s, "eu-west-1"))
	if _, err := assume(direct, second, 900); code(err) != "AccessDenied" {
		t.Errorf("the second role without the first: %v", err)
	}
	one, err := assume(direct, first, 900)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := assume(one, second, 7200); code(err) != "ValidationError" {
		t.Errorf("chained for two hours: %v", err)
	}
	two, err := assume(one, second, 3600)
	if err != nil {
		t.Fatal(err)
	}
	who, err := two.GetCallerIdentity(ctx, nil)
	if err != nil || *who.Arn != "arn:aws:sts::"+other+":assumed-role/second/ci" || *who.Account != other {
		t.Errorf("%+v, %v", who, err)
	}
	s.World.Now = func() time.Time { return time.Now().Add(16 * time.Minute) }
	if _, err := one.GetCallerIdentity(ctx, nil); code(err) != "ExpiredToken" {
		t.Errorf("after its time: %v", err)
	}
}

func TestAWebIdentityIsCheckedAgainstTheRole(t *testing.T) {
	s := sandboxtest.Start(t)
	admin := iam.NewFromConfig(sandboxtest.ConfigAs(s, "us-east-1", other, "x", ""))
	const issuer = "token.actions.githubusercontent.com"
	if _, err := admin.CreateOpenIDConnectProvider(t.Context(), &iam.CreateOpenIDConnectProviderInput{Url: aws.String("https://" + issuer), ClientIDList: []string{"sts.amazonaws.com"}}); err != nil {
		t.Fatal(err)
	}
	arn := role(t, s, "github", `{"Statement": {"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": "arn:aws:iam::`+other+`:oidc-provider/`+issuer+`"},
		"Condition": {"StringLike": {"`+issuer+`:sub": "repo:org/app:*"}}}}`)
	token := func(iss, aud, sub string, in time.Duration) string {
		claims := fmt.Sprintf(`{"iss": %q, "aud": %q, "sub": %q, "exp": %d}`, iss, aud, sub, time.Now().Add(in).Unix())
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	client := sts.New(sts.Options{Region: "eu-west-1", BaseEndpoint: &s.URL, Retryer: aws.NopRetryer{}})
	for _, c := range []struct{ name, token, want string }{
		{"the repository", token("https://"+issuer, "sts.amazonaws.com", "repo:org/app:ref:main", time.Hour), ""},
		{"another repository", token("https://"+issuer, "sts.amazonaws.com", "repo:org/other:ref:main", time.Hour), "AccessDenied"},
		{"another audience", token("https://"+issuer, "x", "repo:org/app:ref:main", time.Hour), "InvalidIdentityToken"},
		{"another issuer", token("https://evil.example", "sts.amazonaws.com", "repo:org/app:x", time.Hour), "InvalidIdentityToken"},
		{"an old token", token("https://"+issuer, "sts.amazonaws.com", "repo:org/app:x", -time.Hour), "ExpiredTokenException"},
		{"no token", "x", "InvalidIdentityToken"},
	} {
		out, err := client.AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{RoleArn: &arn, RoleSessionName: aws.String("gha"), WebIdentityToken: &c.token})
		if err != nil && code(err) != c.want || err == nil && c.want != "" {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if err == nil {
			k := out.Credentials
			me := sts.NewFromConfig(sandboxtest.ConfigAs(s, "eu-west-1", *k.AccessKeyId, *k.SecretAccessKey, *k.SessionToken))
			if _, err := me.GetCallerIdentity(context.Background(), nil); err != nil {
				t.Error(err)
			}
		}
	}
}
