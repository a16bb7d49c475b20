package ecr

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/google/go-containerregistry/pkg/authn"

	"bake/steps/amazon"
)

// A place is a registry as somebody may use it.
type place struct {
	access  amazon.Access // with its region
	account string        // of the registry; empty: the caller's
	public  bool
}

func (p place) key() string {
	if p.public {
		return "public " + p.access.Where()
	}
	return p.account + " " + p.access.Where()
}

// publicRegion is where ECR Public's API is.
const publicRegion = "us-east-1"

// A credential is what GetAuthorizationToken gives.
type credential struct {
	user, password string
	expires        time.Time
	taken          time.Time
}

// fresh reports whether the credential is good for some time yet: tokens last
// twelve hours, and are renewed five minutes before that; shorter ones in time.
func (c credential) fresh(now time.Time) bool {
	margin := min(5*time.Minute, c.expires.Sub(c.taken)/5)
	return c.password != "" && now.Before(c.expires.Add(-margin))
}

// A token is the credentials for one place, renewed before they expire and
// when a registry refuses them. They are kept in memory only. It is a
// registry.Renewer.
type token struct {
	get func(ctx context.Context) (credential, error)

	mu     sync.Mutex
	have   credential
	proven string // the password that a registry has accepted
}

// Authorization is AuthorizationContext for callers without a context.
func (t *token) Authorization() (*authn.AuthConfig, error) {
	return t.AuthorizationContext(context.Background())
}

// AuthorizationContext returns credentials that are good for some time.
func (t *token) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if !t.have.fresh(now) {
		c, err := t.get(ctx)
		if err != nil && !now.Before(t.have.expires) {
			return nil, err
		}
		if err == nil {
			t.have = c
		}
	}
	return &authn.AuthConfig{Username: t.have.user, Password: t.have.password}, nil
}

// Accepted notes that a registry took the password.
func (t *token) Accepted(password string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if password == t.have.password { // not a late word on the one before
		t.proven = password
	}
}

// Renew gets another token if the registry refused one that it took before, or
// one whose time is over.
func (t *token) Renew(ctx context.Context, password string) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.have.password != password {
		return true, nil // somebody else did
	}
	if t.proven != password && time.Now().Before(t.have.expires) {
		return false, nil // a new token would be refused as well
	}
	c, err := t.get(ctx)
	if err != nil {
		return false, err
	}
	t.have = c
	return c.password != password, nil
}

// Tokens hands out the tokens of a process: one for each place.
type Tokens struct {
	cloud *amazon.Cloud

	mu      sync.Mutex
	byPlace map[string]*token
	stands  map[string]place // where registries of a sandbox are, by host
}

// NewTokens returns tokens that are asked for when they are needed.
func NewTokens(cloud *amazon.Cloud) *Tokens {
	return &Tokens{cloud: cloud, byPlace: map[string]*token{}, stands: map[string]place{}}
}

func (t *Tokens) at(p place) *token {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.account = "" // the same token serves all accounts
	found := t.byPlace[p.key()]
	if found == nil {
		found = &token{get: func(ctx context.Context) (credential, error) { return t.fetch(ctx, p) }}
		t.byPlace[p.key()] = found
	}
	return found
}

// fetch calls GetAuthorizationToken.
func (t *Tokens) fetch(ctx context.Context, p place) (credential, error) {
	where := p.access.Region
	if p.public {
		where = PublicHost
	}
	cfg, err := t.cloud.Config(ctx, p.access)
	if err != nil {
		return credential{}, err
	}
	var data string
	var expires time.Time
	if p.public {
		data, expires, err = publicToken(ctx, cfg)
	} else {
		data, expires, err = privateToken(ctx, cfg)
	}
	if err != nil {
		return credential{}, t.cloud.Explain(ctx, p.access, fmt.Errorf("getting a token for ECR in %s: %w", where, err))
	}
	user, password, err := decodeToken(data)
	if err != nil {
		return credential{}, fmt.Errorf("getting a token for ECR in %s: %w", where, err)
	}
	return credential{user: user, password: password, expires: expires, taken: time.Now()}, nil
}

// privateToken asks for a token, which is good for every registry of the
// region that the caller may use: AWS heeds registryIds no longer.
func privateToken(ctx context.Context, cfg aws.Config) (string, time.Time, error) {
	out, err := ecr.NewFromConfig(cfg).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return "", time.Time{}, err
	}
	if len(out.AuthorizationData) == 0 {
		return "", time.Time{}, errors.New("the answer has no token")
	}
	data := out.AuthorizationData[0]
	return aws.ToString(data.AuthorizationToken), aws.ToTime(data.ExpiresAt), nil
}

func publicToken(ctx context.Context, cfg aws.Config) (string, time.Time, error) {
	out, err := ecrpublic.NewFromConfig(cfg).GetAuthorizationToken(ctx, &ecrpublic.GetAuthorizationTokenInput{})
	if err != nil {
		return "", time.Time{}, err
	}
	if out.AuthorizationData == nil {
		return "", time.Time{}, errors.New("the answer has no token")
	}
	return aws.ToString(out.AuthorizationData.AuthorizationToken), aws.ToTime(out.AuthorizationData.ExpiresAt), nil
}

// decodeToken reads base64 of "USER:PASSWORD".
func decodeToken(data string) (user, password string, err error) {
	plain, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return "", "", errors.New("the token is not base64")
	}
	user, password, ok := strings.Cut(string(plain), ":")
	if !ok || user == "" || password == "" {
		return "", "", errors.New("the token does not hold a user and a password")
	}
	return user, password, nil
}
