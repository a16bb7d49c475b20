package ecr

import (
	"context"
	"errors"

	"github.com/google/go-containerregistry/pkg/authn"

	"bake/internal/registry"
	"bake/steps/amazon"
)

// A Keychain has credentials for every registry of ECR, from AWS's API, so that
// no `docker login` is needed; other registries are left to Next. ECR Public
// is read without credentials unless Next has some.
type Keychain struct {
	Tokens *Tokens
	Access amazon.Access  // whose credentials are used; its region does not matter
	Next   authn.Keychain // nil: registry.UserKeychain
}

// Resolve returns the credentials for a repository.
func (k Keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

// ResolveContext is Resolve; go-containerregistry prefers it.
func (k Keychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	next := k.Next
	if next == nil {
		next = registry.UserKeychain{}
	}
	p, ok := k.place(ctx, target.RegistryStr())
	if !ok {
		return authn.Resolve(ctx, next, target)
	}
	t := k.Tokens.at(p)
	_, err := t.AuthorizationContext(ctx)
	if err == nil {
		return t, nil
	}
	// A token of `docker login` may be there where there are no credentials of AWS.
	if auth, nerr := authn.Resolve(ctx, next, target); nerr == nil && auth != authn.Anonymous {
		return auth, nil
	}
	return nil, &noTokenError{err}
}

// place is the registry that a host's name means, if it is one of ECR's that
// wants credentials.
func (k Keychain) place(ctx context.Context, host string) (place, bool) {
	if h, ok := ParseHost(host); ok {
		return place{access: k.Access.In(h.Region), account: h.Account}, !h.Public
	}
	return k.Tokens.whose(ctx, k.Access, host)
}

// A noTokenError is a registry of ECR that there are no credentials for.
type noTokenError struct{ error }

func (e *noTokenError) Unwrap() error { return e.error }

// Hint repeats what AWS's error hints at, or names the ways to log in.
func (e *noTokenError) Hint() string {
	var hinted interface{ Hint() string }
	if errors.As(e.error, &hinted) && hinted.Hint() != "" {
		return hinted.Hint()
	}
	return "bake asks AWS for the registry's token itself: log in to AWS (AWS_PROFILE, `aws sso login`); `docker login` is not needed"
}

// Password returns a user and a password for a registry of ECR, for an engine
// that fetches images itself; empty for other registries.
func (k Keychain) Password(ctx context.Context, host string) (user, password string, err error) {
	p, ok := k.place(ctx, host)
	if !ok {
		return "", "", nil
	}
	auth, err := k.Tokens.at(p).AuthorizationContext(ctx)
	if err != nil {
		return "", "", &noTokenError{err}
	}
	return auth.Username, auth.Password, nil
}

// onlyAt are the credentials of one registry, for a push.
type onlyAt struct {
	host string
	auth authn.Authenticator
	next authn.Keychain
}

// Resolve gives the credentials to that registry alone.
func (k onlyAt) Resolve(target authn.Resource) (authn.Authenticator, error) {
	if target.RegistryStr() == k.host {
		return k.auth, nil
	}
	return k.next.Resolve(target)
}
