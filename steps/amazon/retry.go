package amazon

import (
	"context"
	"errors"
	"fmt"
	"net"
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
func (c *Cloud) newRetryer() aws.Retryer {
	return &retryer{cloud: c, Standard: retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.MaxBackoff = maxBackoff
		o.RateLimiter = ratelimit.None
	})}
}

// firstAttempts are those of a process that AWS never answered: its address is
// wrong rather than the line broken, as it may be for minutes in a build.
const firstAttempts = 5

// A retryer tells what calls wait for, and gives up soon where nothing ever answered.
type retryer struct {
	*retry.Standard
	cloud *Cloud
}

// RetryDelay returns how long to wait after a failed attempt.
func (r *retryer) RetryDelay(attempt int, err error) (time.Duration, error) {
	dial, ok := errors.AsType[*net.OpError](err)
	unreached := ok && dial.Op == "dial"
	if unreached && !r.cloud.answered.Load() && attempt >= firstAttempts {
		return 0, err
	}
	if unreached && attempt >= 2 || attempt >= 4 {
		r.cloud.tellWaiting(err, attempt)
	}
	return r.Standard.RetryDelay(attempt, err)
}

// GetAttemptToken returns what is told how an attempt ended.
func (r *retryer) GetAttemptToken(ctx context.Context) (func(error) error, error) {
	release, err := r.Standard.GetAttemptToken(ctx)
	return r.heard(release), err
}

func (r *retryer) heard(release func(error) error) func(error) error {
	return func(err error) error {
		var api smithy.APIError
		if err == nil || errors.As(err, &api) {
			r.cloud.answered.Store(true)
		}
		return release(err)
	}
}

// tellAgain is the least time between two words about what calls wait for:
// many may wait for the same.
const tellAgain = 15 * time.Second

func (c *Cloud) tellWaiting(err error, attempt int) {
	c.mu.Lock()
	due := c.options.Waiting != nil && time.Since(c.told) >= tellAgain
	if due {
		c.told = time.Now()
	}
	c.mu.Unlock()
	if due {
		c.options.Waiting(fmt.Sprintf("waiting for AWS, tried %d times: %s", attempt, said(err)))
	}
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
