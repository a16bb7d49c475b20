package amazon_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"bake/internal/sandbox"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
)

const account = sandboxtest.Account

// role makes a role that account's callers may assume under a condition, with a policy.
func role(t *testing.T, s *sandbox.Sandbox, name, principal, condition, policy string) string {
	t.Helper()
	client := iam.NewFromConfig(sandboxtest.Config(s, "us-east-1"))
	trust := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":%q},"Action":["sts:AssumeRole","sts:TagSession"],"Condition":%s}]}`, principal, condition)
	out, err := client.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust})
	if err != nil {
		t.Fatal(err)
	}
	if policy != "" {
		if _, err := client.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &name, PolicyName: &name, PolicyDocument: &policy}); err != nil {
			t.Fatal(err)
		}
	}
	return aws.ToString(out.Role.Arn)
}

const mayAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

func TestRolesAreAssumedOneWithTheRightsOfTheOther(t *testing.T) {
	s := sandboxtest.Start(t)
	root := "arn:aws:iam::" + account + ":root"
	first := role(t, s, "first", root, `{"StringEquals":{"sts:ExternalId":"secret"}}`, mayAll)
	second := role(t, s, "second", first, `{}`, mayAll)
	cloud := amazon.New(amazon.Options{Endpoint: s.URL})
	a := amazon.Access{Region: "eu-west-1", Roles: []amazon.Role{
		{ARN: first, ExternalID: "secret", SessionName: "release", Tags: map[string]string{"team": "web"}}, {ARN: second, SessionName: "deploy"}}}
	caller, err := cloud.Caller(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if want := "arn:aws:sts::" + account + ":assumed-role/second/deploy"; caller.ARN != want || caller.Account != account {
		t.Errorf("it is %+v, want %s", caller, want)
	}
	a.Roles = []amazon.Role{{ARN: first}}
	if _, err := cloud.Caller(t.Context(), a); err == nil || !strings.Contains(err.Error(), "AssumeRole") {
		t.Errorf("without the external id: %v", err)
	}
}

func TestAnMFACodeIsAskedForOnceAndKeptForTheNextProcess(t *testing.T) {
	s := sandboxtest.Start(t)
	arn := role(t, s, "guarded", "arn:aws:iam::"+account+":root", `{"Bool":{"aws:MultiFactorAuthPresent":"true"}}`, mayAll)
	dir, asked := t.TempDir(), 0
	a := amazon.Access{Region: "eu-west-1", Roles: []amazon.Role{{ARN: arn, MFASerial: "arn:aws:iam::" + account + ":mfa/ops"}}}
	ask := func(_ context.Context, question string) (string, error) {
		asked++
		if !strings.Contains(question, "mfa/ops") {
			t.Errorf("the question is %q", question)
		}
		return "123456", nil
	}
	for range 2 { // two processes
		cloud := amazon.New(amazon.Options{Endpoint: s.URL, CacheDir: dir, Ask: ask})
		if _, err := cloud.Caller(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 1 {
		t.Errorf("the code was asked for %d times", asked)
	}
	files, err := filepath.Glob(filepath.Join(dir, "aws", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	_, err = amazon.New(amazon.Options{Endpoint: s.URL}).Caller(t.Context(), a)
	var e *amazon.Explained
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), "in a terminal") {
		t.Errorf("with nobody to ask: %v", err)
	}
}

func TestThrottledCallsAreMadeAgain(t *testing.T) {
	s := sandboxtest.Start(t)
	if err := s.Faults.Add(api.Fault{Action: "GetCallerIdentity", Kind: "throttle", Times: 3}); err != nil {
		t.Fatal(err)
	}
	from := time.Now()
	if _, err := amazon.New(amazon.Options{Endpoint: s.URL}).Caller(t.Context(), amazon.Access{Region: "eu-west-1"}); err != nil {
		t.Errorf("after %v: %v", time.Since(from), err)
	}
	if n := s.Faults.Counts()["sts:GetCallerIdentity"]; n != 4 {
		t.Errorf("%d calls, %v", n, s.Faults.Counts())
	}
}

func TestADeniedCallNamesTheStatementThatIsMissing(t *testing.T) {
	s := sandboxtest.Start(t)
	may := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sts:*"],"Resource":"*"}]}`
	arn := role(t, s, "poor", "arn:aws:iam::"+account+":root", `{}`, may)
	cloud := amazon.New(amazon.Options{Endpoint: s.URL})
	a := amazon.Access{Region: "eu-west-1", Roles: []amazon.Role{{ARN: arn}}}
	cfg, err := cloud.Config(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	_, err = iam.NewFromConfig(cfg).GetRole(t.Context(), &iam.GetRoleInput{RoleName: aws.String("poor")})
	err = cloud.Explain(t.Context(), a, err)
	var e *amazon.Explained
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), `"Action": "iam:GetRole"`) || !strings.Contains(e.Hint(), arn) {
		t.Errorf("%v\nhint: %v", err, e)
	}
}

func TestTheUsersOwnCredentialsStayOutOfTheSandbox(t *testing.T) {
	s := sandboxtest.Start(t)
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("[profile prod]\nregion = eu-north-1\ncredential_process = /bin/false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", file)
	t.Setenv("AWS_PROFILE", "prod")
	t.Setenv("AWS_ACCESS_KEY_ID", "999999999999")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "real")
	caller, err := amazon.New(amazon.Options{Endpoint: s.URL}).Caller(t.Context(), amazon.Access{Profile: "prod"})
	if err != nil || caller.Account != account {
		t.Errorf("%+v, %v", caller, err)
	}
}

func TestAProfileThatDoesNotExistIsNamed(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	_, err := amazon.New(amazon.Options{}).Config(t.Context(), amazon.Access{Region: "eu-west-1", Profile: "nope"})
	var e *amazon.Explained
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "nope") || !strings.Contains(e.Hint(), "list-profiles") {
		t.Errorf("%v", err)
	}
}

func TestWithoutARegionNothingIsAsked(t *testing.T) {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	_, err := amazon.New(amazon.Options{}).Config(t.Context(), amazon.Access{})
	var e *amazon.Explained
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), "AWS_REGION") {
		t.Errorf("%v", err)
	}
}
