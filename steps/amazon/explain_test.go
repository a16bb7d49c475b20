package amazon

import (
	"errors"
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
