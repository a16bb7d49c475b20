package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// A Renewer is an Authenticator whose credentials run out, perhaps in the
// middle of a push. Both methods get the password that was sent.
type Renewer interface {
	authn.Authenticator
	// Accepted is told that a registry took it.
	Accepted(password string)
	// Renew is told that a registry refused it. It reports whether Authorization
	// returns another one from now on; not if this one was never accepted.
	Renew(ctx context.Context, password string) (bool, error)
}

// A renewedError is a refusal after which there are new credentials: the same
// request is worth another try, at once.
type renewedError struct{ error }

func (e *renewedError) Unwrap() error { return e.error }

func isRenewed(err error) bool {
	var r *renewedError
	return errors.As(err, &r)
}

// credentials returns the password of the next request; empty if it does not
// run out.
func (s *session) credentials(ctx context.Context) string {
	if s.auth == nil {
		return ""
	}
	auth, err := authn.Authorization(ctx, s.auth)
	if err != nil {
		return "" // the request itself will say so
	}
	return auth.Password
}

func (s *session) accepted(used string) {
	if s.auth != nil && used != "" {
		s.auth.Accepted(used)
	}
}

// renewed gets new credentials if err says that the ones used have run out.
func (s *session) renewed(ctx context.Context, used string, err error) error {
	if s.auth == nil || used == "" || !mayHaveExpired(err) {
		return err
	}
	ok, rerr := s.auth.Renew(ctx, used)
	switch {
	case rerr != nil:
		return errors.Join(err, rerr)
	case ok:
		return &renewedError{err}
	}
	return err
}

// mayHaveExpired reports whether a refusal may be due to the credentials' age:
// ECR answers 403 both for an expired token and for what a policy forbids, and
// only the words differ.
func mayHaveExpired(err error) bool {
	switch StatusOf(err) {
	case http.StatusUnauthorized:
		return true
	case http.StatusForbidden:
		return !strings.Contains(describe(err), "not authorized to perform")
	}
	return false
}
