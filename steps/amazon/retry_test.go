package amazon

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"bake/builder"
)

// answer is an error as AWS's clients return it.
func answer(status int, code string) error {
	return &smithy.OperationError{ServiceID: "EC2", OperationName: "CreateImage", Err: &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: &smithy.GenericAPIError{Code: code, Message: "no"}}}}
}

// TestWhatIsCalledAgain: a predicate that is never true, or always, is not seen
// in a run in which all goes well.
func TestWhatIsCalledAgain(t *testing.T) {
	all := New(Options{}).newRetryer()
	for _, c := range []struct {
		name                string
		err                 error
		again, once, unsure bool // by all calls, by creating ones without a token; and whether it may have been done
	}{
		{"throttled", answer(503, "RequestLimitExceeded"), true, true, true},
		{"throttled, as a wrong request", answer(400, "RequestLimitExceeded"), true, true, false},
		{"throttled, in another service's words", answer(400, "ThrottlingException"), true, true, false},
		{"AWS failed", answer(500, "InternalError"), true, false, true},
		{"AWS is not there", answer(503, "Unavailable"), true, false, true},
		{"wrong", answer(400, "InvalidParameterValue"), false, false, false},
		{"denied", answer(403, "UnauthorizedOperation"), false, false, false},
		{"not there", answer(400, "InvalidAMIID.NotFound"), false, false, false},
		{"the connection broke", fmt.Errorf("reading the answer: %w", io.ErrUnexpectedEOF), false, false, true},
		{"the request was not sent", &smithyhttp.RequestSendError{Err: io.ErrUnexpectedEOF}, true, false, true},
	} {
		if got := all.IsErrorRetryable(c.err); got != c.again {
			t.Errorf("%s: a call is made again: %v", c.name, got)
		}
		if got := Once(all).IsErrorRetryable(c.err); got != c.once {
			t.Errorf("%s: a creating call is made again: %v", c.name, got)
		}
		if got := IsUnsure(c.err); got != c.unsure {
			t.Errorf("%s: unsure is %v", c.name, got)
		}
	}
	if IsUnsure(nil) || IsCode(nil, "") || IsCode(errors.New("Throttling"), "Throttling") {
		t.Error("what is no answer of AWS has a code")
	}
	if !IsCode(fmt.Errorf("starting: %w", answer(400, "A")), "B", "A") || IsCode(answer(400, "A"), "B") {
		t.Error("codes are not those of the answer")
	}
	if got := all.MaxAttempts(); got < 11 { // Packer's three were regularly too few, and so were ten of AWS's own budget
		t.Errorf("%d attempts", got)
	}
	for n := range 200 { // no budget: a busy process is not refused what would go through
		if _, err := all.(aws.RetryerV2).GetAttemptToken(t.Context()); err != nil {
			t.Fatalf("attempt %d: %v", n, err)
		}
		if _, err := all.GetRetryToken(t.Context(), answer(503, "RequestLimitExceeded")); err != nil {
			t.Fatalf("retry %d: %v", n, err)
		}
	}
}

func TestWhatHasNoNetworkIsToldToNameASubnet(t *testing.T) {
	for _, code := range []string{"VPCIdNotSpecified", "DefaultVpcDoesNotExist", "MissingInput"} {
		var e *Explained
		if err := New(Options{}).Explain(t.Context(), Access{}, answer(400, code)); !errors.As(err, &e) || e.Hint() != "the account has no default VPC in this region: name a subnet in machine: subnet:" {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// refused is how an attempt ends where nothing listens.
var refused = &smithyhttp.RequestSendError{Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}

func TestACallGivesUpSoonWhereNothingEverAnswered(t *testing.T) {
	var told []string
	c := New(Options{Waiting: func(text string) { told = append(told, text) }})
	r := c.newRetryer().(aws.RetryerV2)
	for n := 1; n < firstAttempts; n++ {
		if _, err := r.RetryDelay(n, refused); err != nil {
			t.Fatalf("attempt %d: %v", n, err)
		}
	}
	if _, err := r.RetryDelay(firstAttempts, refused); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("it goes on: %v", err)
	}
	if len(told) != 1 || !strings.Contains(told[0], "tried 2 times") || !strings.Contains(told[0], "refused") {
		t.Errorf("told %q, want once", told)
	}
	if hint := builder.Hint(c.Explain(t.Context(), Access{}, &smithy.OperationError{OperationName: "X", Err: refused})); !strings.Contains(hint, "nothing listens") {
		t.Errorf("hint %q", hint)
	}
	release, err := r.GetAttemptToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := release(nil); err != nil { // an answer came: now it is the line that is broken
		t.Fatal(err)
	}
	if _, err := r.RetryDelay(firstAttempts, refused); err != nil {
		t.Errorf("it gives up a service that has answered: %v", err)
	}
}
