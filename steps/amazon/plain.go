package amazon

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
)

// plain is the text of an error without what only the SDK's authors need: the
// layers a call went through, status codes and request ids. What AWS said, its
// code and the name of the call stay.
func plain(err error) string {
	text := err.Error()
	var call *smithy.OperationError
	if !errors.As(err, &call) {
		return text
	}
	return strings.Replace(text, call.Error(), call.OperationName+": "+said(call.Err), 1)
}

// said is what was answered to a call, or what kept it from being made.
func said(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	if why := noCredentials(err); why != "" {
		return why
	}
	var tries *retry.MaxAttemptsError
	if errors.As(err, &tries) {
		return fmt.Sprintf("%s (%d attempts)", said(tries.Err), tries.Attempt)
	}
	var sent *smithy.CanceledError
	if errors.As(err, &sent) {
		return sent.Error()
	}
	text := err.Error()
	for _, layer := range []string{"get identity: get credentials: ", "failed to refresh cached credentials, ", "https response error StatusCode: 0, RequestID: , ", "request send failed, "} {
		text = strings.ReplaceAll(text, layer, "")
	}
	return text
}

// noCredentials says why there are none, if that is what is wrong.
func noCredentials(err error) string {
	text := err.Error()
	switch {
	case !strings.Contains(text, "get credentials"):
		return ""
	case strings.Contains(text, "no EC2 IMDS role found"):
		if os.Getenv("AWS_ACCESS_KEY_ID") != "" && os.Getenv("AWS_SECRET_ACCESS_KEY") == "" {
			return "there are no AWS credentials: AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not"
		}
		return "there are no AWS credentials: none in the environment, none in ~/.aws, and this machine has no role"
	case strings.Contains(text, "SSO"):
		return "there are no AWS credentials: the SSO session has ended, or was never begun"
	}
	return ""
}
