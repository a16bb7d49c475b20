package amazon

import (
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// attempts with waits of up to maxBackoff ride out some five minutes of
// throttling, which is what an account with many builders sees.
const (
	attempts   = 20
	maxBackoff = 20 * time.Second
)

// newRetryer returns the retryer of all calls. It has no budget of tokens: the
// SDK's own fails calls of a busy process that would have gone through.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.MaxBackoff = maxBackoff
		o.RateLimiter = ratelimit.None
	})
}

// Once returns a retryer for a creating call that takes no client token
// (CreateImage, ImportKeyPair, RegisterTaskDefinition): it repeats the call only
// when AWS said that it did nothing. When the answer was lost, the caller has
// to look for what the call may have made.
func Once(r aws.Retryer) aws.Retryer { return onceRetryer{r} }

type onceRetryer struct{ aws.Retryer }

func (r onceRetryer) IsErrorRetryable(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false // the connection broke: the call may have been carried out
	}
	return isThrottle(err)
}

func isThrottle(err error) bool {
	return retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}.IsErrorThrottle(err).Bool()
}

// IsCode reports whether err is an answer of AWS with one of the codes.
func IsCode(err error, codes ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, code := range codes {
		if api.ErrorCode() == code {
			return true
		}
	}
	return false
}

// IsUnsure reports whether a call ended without an answer that tells whether
// AWS carried it out: none at all, or one that says that AWS itself failed.
func IsUnsure(err error) bool {
	var api smithy.APIError
	if err == nil || !errors.As(err, &api) {
		return err != nil
	}
	var answer *awshttp.ResponseError
	return api.ErrorFault() == smithy.FaultServer || errors.As(err, &answer) && answer.HTTPStatusCode() >= 500
}

// blamesCaller reports whether a call was answered, by AWS or by what stands in
// between, with an error that the caller alone can mend.
func blamesCaller(err error) bool {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || isThrottle(err) {
		return false
	}
	status := answer.HTTPStatusCode()
	return status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}
