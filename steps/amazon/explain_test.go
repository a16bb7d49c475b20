package amazon

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/smithy-go"
)

func TestADenialSaysWhatStatementIsMissing(t *testing.T) {
	err := New(Options{}).Explain(t.Context(), Access{}, &smithy.GenericAPIError{Code: "AccessDeniedException",
		Message: "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: ecr:PutImage on resource: arn:aws:ecr:eu-west-1:123456789012:repository/api because no identity-based policy allows the ecr:PutImage action"})
	var e *Explained
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), `"Action": "ecr:PutImage", "Resource": "arn:aws:ecr:eu-west-1:123456789012:repository/api"`) {
		t.Errorf("hint: %v", e)
	}
	err = New(Options{}).Explain(t.Context(), Access{}, &smithy.GenericAPIError{Code: "AccessDenied",
		Message: "User: arn:aws:iam::1:user/ci is not authorized to perform: ssm:GetParameter on resource: * with an explicit deny in a service control policy"})
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), "forbids it explicitly") {
		t.Errorf("hint: %v", e)
	}
}

func TestAnErrorIsExplainedOnce(t *testing.T) {
	c := New(Options{})
	once := c.Explain(t.Context(), Access{}, &smithy.GenericAPIError{Code: "VcpuLimitExceeded", Message: "no"})
	if twice := c.Explain(t.Context(), Access{}, once); twice != once {
		t.Errorf("%v became %v", once, twice)
	}
	if c.Explain(t.Context(), Access{}, nil) != nil {
		t.Error("no error became one")
	}
	plain := errors.New("x")
	if got := c.Explain(t.Context(), Access{}, plain); got != plain {
		t.Errorf("%v became %v", plain, got)
	}
}

func TestAnErrorIsToldWithoutTheSDKsLayers(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_PROFILE", "")
	answer := &smithy.GenericAPIError{Code: "InvalidParameterValue", Message: "Value (nope) is invalid"}
	noKey := errors.New("get identity: get credentials: failed to refresh cached credentials, no EC2 IMDS role found, operation error ec2imds: GetMetadata, access disabled")
	for _, c := range []struct {
		name, want, hint string
		access           Access
		err              error
	}{
		{"an answer", "RunInstances: InvalidParameterValue: Value (nope) is invalid", "", Access{}, answer},
		{"no credentials", "RunInstances: there are no AWS credentials: none in the environment", "--sandbox", Access{}, noKey},
		{"no SSO session", "RunInstances: there are no AWS credentials: the SSO session has ended", "`aws sso login --profile dev`", Access{Profile: "dev"},
			errors.New("get identity: get credentials: failed to refresh cached credentials, the SSO session has expired or is invalid: open /home/x/.aws/sso/cache/1.json")},
		{"no MFA code", "RunInstances: the role wants a code", "run bake in a terminal", Access{},
			fmt.Errorf("get identity: get credentials: failed to refresh cached credentials, %w", &Explained{Err: errors.New("the role wants a code"), Cure: "run bake in a terminal"})},
		{"not reached", `RunInstances: Post "https://x/": dial tcp: refused`, "", Access{},
			errors.New(`https response error StatusCode: 0, RequestID: , request send failed, Post "https://x/": dial tcp: refused`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := fmt.Errorf("starting a machine: %w", &smithy.OperationError{ServiceID: "EC2", OperationName: "RunInstances", Err: c.err})
			got := New(Options{}).Explain(t.Context(), c.access, err)
			if !strings.HasPrefix(got.Error(), "starting a machine: "+c.want) || strings.Contains(got.Error(), "operation error") {
				t.Errorf("it says %q", got)
			}
			var e *Explained
			if !errors.As(got, &e) || !strings.Contains(e.Hint(), c.hint) {
				t.Errorf("hint of %v, want %s", got, c.hint)
			}
			if !errors.Is(got, c.err) {
				t.Error("the SDK's error is no longer in the chain")
			}
		})
	}
}

func TestHalfACredentialIsToldToBeOne(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	err := New(Options{}).Explain(t.Context(), Access{}, &smithy.OperationError{OperationName: "DescribeImages", Err: errors.New("get identity: get credentials: no EC2 IMDS role found")})
	if !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not") {
		t.Errorf("%v", err)
	}
}
