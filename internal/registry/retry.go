package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Retry says how often something is tried again and how long to wait before.
type Retry struct {
	Attempts int           // tries in all; 0 means 6
	Base     time.Duration // before the second try, doubled after that; 0 means 250 ms
	Max      time.Duration // longest wait, whatever the registry asks for; 0 means 30 s
}

func (r Retry) withDefaults() Retry {
	if r.Attempts == 0 {
		r.Attempts = 6
	}
	if r.Base == 0 {
		r.Base = 250 * time.Millisecond
	}
	if r.Max == 0 {
		r.Max = 30 * time.Second
	}
	return r
}

// wait sleeps before the n-th retry (from 1), at least as long as after says.
func (r Retry) wait(ctx context.Context, n int, after time.Duration) error {
	pause := min(r.Base<<min(n-1, 16), r.Max)
	pause = pause/2 + rand.N(pause/2+1) // spread, so that many clients do not come back at once
	pause = min(max(pause, after), r.Max)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// pause waits before the n-th retry after err; not if new credentials are
// what it waited for.
func (r Retry) pause(ctx context.Context, n int, err error) error {
	if isRenewed(err) {
		return ctx.Err()
	}
	return r.wait(ctx, n, retryAfter(err))
}

// do calls try until it succeeds, fails for good, or has been tried often enough.
func (r Retry) do(ctx context.Context, try func() error) error {
	for n := 1; ; n++ {
		err := try()
		if err == nil || n >= r.Attempts || !retryable(ctx, err) {
			return err
		}
		if r.pause(ctx, n, err) != nil {
			return err
		}
	}
}

// A later is an error with the registry's word on when to come back.
type later struct {
	error
	after time.Duration
}

func (e *later) Unwrap() error { return e.error }

func retryAfter(err error) time.Duration {
	var l *later
	if errors.As(err, &l) {
		return l.after
	}
	return 0
}

// checkStatus is transport.CheckError that remembers Retry-After, in seconds
// or as a date (RFC 9110, 10.2.3).
func checkStatus(resp *http.Response, ok ...int) error {
	err := transport.CheckError(resp, ok...)
	value := resp.Header.Get("Retry-After")
	if err == nil || value == "" {
		return err
	}
	if seconds, bad := strconv.Atoi(value); bad == nil {
		return &later{err, time.Duration(seconds) * time.Second}
	}
	if date, bad := http.ParseTime(value); bad == nil {
		return &later{err, time.Until(date)}
	}
	return err
}

// retryable reports whether the same request may succeed in a moment.
func retryable(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return false
	}
	if isRenewed(err) {
		return true
	}
	switch StatusOf(err) {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case 0: // no answer
	default:
		return false
	}
	var netErr net.Error
	return !hopeless(err) && (errors.As(err, &netErr) || isCut(err))
}

// hopeless reports whether asking the same host the same way cannot work.
func hopeless(err error) bool {
	var (
		plain   *PlainHTTPError
		dns     *net.DNSError
		unknown x509.UnknownAuthorityError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
	)
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &plain) || errors.As(err, &unknown) ||
		errors.As(err, &cert) || errors.As(err, &record) || errors.As(err, &dns) && dns.IsNotFound
}
