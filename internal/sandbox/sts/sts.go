// Package sts is the sandbox's Security Token Service: who a caller is, and
// temporary credentials for roles and users.
package sts

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/iam"
	"bake/internal/sandbox/policy"
)

// Identities is what STS asks IAM.
type Identities interface {
	// Role returns the role that an ARN names.
	Role(arn string) (iam.Role, bool)
	// Provider returns the OpenID Connect provider of an account, and whether it knows the audience.
	Provider(account, issuer, audience string) (arn string, ok bool)
	// Policies returns what a caller may do; false: everything.
	Policies(account, arn string) ([]*policy.Document, bool)
}

// T is the STS of all accounts of a sandbox.
type T struct {
	world *api.World
	iam   Identities

	mu       sync.Mutex
	sessions map[string]*Session // by access key
	codes    map[string]bool     // MFA codes that were used: serial and code
}

// A Session is what temporary credentials stand for.
type Session struct {
	Account string            `json:"account"`
	ARN     string            `json:"arn"`
	UserID  string            `json:"user_id"`
	Role    string            `json:"role,omitempty"` // ARN; empty: a user's session
	Secret  string            `json:"secret"`         // the sandbox's own, of no use elsewhere
	Token   string            `json:"token"`
	Expires time.Time         `json:"expires"`
	Tags    map[string]string `json:"tags,omitempty"`
	MFA     bool              `json:"mfa,omitempty"`
	Policy  string            `json:"policy,omitempty"` // of the session, beside the role's
}

// New returns an STS that has given nothing out.
func New(w *api.World, identities Identities) *T {
	return &T{world: w, iam: identities, sessions: map[string]*Session{}, codes: map[string]bool{}}
}

// Save returns the state as JSON.
func (t *T) Save() (json.RawMessage, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, s := range t.sessions {
		if t.world.Now().After(s.Expires.Add(24 * time.Hour)) {
			delete(t.sessions, key)
		}
	}
	return json.Marshal(t.sessions)
}

// Load takes the state that Save returned.
func (t *T) Load(data json.RawMessage) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Unmarshal(data, &t.sessions)
}

// Service is STS as clients call it.
func (t *T) Service() *api.Service {
	return &api.Service{Name: "sts", Protocol: api.Query, Version: "2011-06-15", XMLNS: "https://sts.amazonaws.com/doc/2011-06-15/",
		Unsigned: map[string]bool{"AssumeRoleWithWebIdentity": true},
		Actions: map[string]api.Action{
			"GetCallerIdentity":          api.Do(t.getCallerIdentity),
			"AssumeRole":                 api.Do(t.assumeRole),
			"AssumeRoleWithWebIdentity":  api.Do(t.assumeRoleWithWebIdentity),
			"GetSessionToken":            api.Do(t.getSessionToken),
			"GetAccessKeyInfo":           api.Do(t.getAccessKeyInfo),
			"DecodeAuthorizationMessage": api.Do(t.decodeAuthorizationMessage),
		}}
}

// Caller returns whom temporary credentials belong to.
func (t *T) Caller(accessKey string) (api.Caller, bool) {
	s, ok := t.Session(accessKey)
	if !ok {
		return api.Caller{}, false
	}
	return api.Caller{Account: s.Account, ARN: s.ARN, UserID: s.UserID, Secret: s.Secret, Token: s.Token, Expires: s.Expires}, true
}

// Session returns what an access key stands for, if STS gave it out.
func (t *T) Session(accessKey string) (Session, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sessions[accessKey]
	if s == nil {
		return Session{}, false
	}
	return *s, true
}

type credentials struct {
	Key     string    `xml:"AccessKeyId"`
	Secret  string    `xml:"SecretAccessKey"`
	Token   string    `xml:"SessionToken"`
	Expires time.Time `xml:"Expiration"`
}

// give makes credentials for a session.
func (t *T) give(s Session, lasts time.Duration) credentials {
	s.Secret, s.Token = text(30), text(120)
	s.Expires = t.world.Now().UTC().Add(lasts).Truncate(time.Second)
	key := "ASIA" + strings.ToUpper(strings.NewReplacer("-", "A", "_", "B").Replace(text(12)))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sessions[key] = &s
	return credentials{key, s.Secret, s.Token, s.Expires}
}

func text(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // it cannot fail: crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}

type identity struct {
	UserID  string `xml:"UserId"`
	Account string `xml:"Account"`
	ARN     string `xml:"Arn"`
}

func (t *T) getCallerIdentity(_ context.Context, c *api.Call, _ *struct{}) (*identity, error) {
	return &identity{c.UserID, c.Account, c.Caller}, nil
}

type keyInfo struct {
	Account string `xml:"Account"`
}

func (t *T) getAccessKeyInfo(_ context.Context, c *api.Call, in *struct {
	Key string `q:"AccessKeyId,required"`
}) (*keyInfo, error) {
	if s, ok := t.Session(in.Key); ok {
		return &keyInfo{s.Account}, nil
	}
	return &keyInfo{c.Account}, nil
}

type mfa struct {
	Serial string `q:"SerialNumber"`
	Code   string `q:"TokenCode"`
}

var codeForm = lazyregexp.New(`^[0-9]{6}$`)

// check verifies an MFA code: six digits, of which 000000 is never right, and
// none is right twice. It reports whether there was one.
func (t *T) check(m mfa) (bool, error) {
	if m.Serial == "" && m.Code == "" {
		return false, nil
	}
	wrong := denied("MultiFactorAuthentication failed with invalid MFA one time pass code. ")
	if m.Code == "" {
		return false, denied("MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.")
	}
	if !codeForm.MatchString(m.Code) || m.Code == "000000" {
		return false, wrong
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.codes[m.Serial+m.Code] {
		return false, wrong
	}
	t.codes[m.Serial+m.Code] = true
	return true, nil
}

type sessionTokenIn struct {
	mfa
	Duration int `q:"DurationSeconds"`
}

type sessionTokenOut struct {
	Credentials credentials `xml:"Credentials"`
}

func (t *T) getSessionToken(_ context.Context, c *api.Call, in *sessionTokenIn) (*sessionTokenOut, error) {
	if s, ok := t.Session(c.AccessKey); ok && s.Token != "" {
		return nil, denied("Cannot call GetSessionToken with session credentials")
	}
	if in.Duration == 0 {
		in.Duration = 43200
	}
	if in.Duration < 900 || in.Duration > 129600 {
		return nil, durationError(in.Duration, 129600)
	}
	with, err := t.check(in.mfa)
	if err != nil {
		return nil, err
	}
	s := Session{Account: c.Account, ARN: c.Caller, UserID: c.UserID, MFA: with}
	return &sessionTokenOut{t.give(s, time.Duration(in.Duration)*time.Second)}, nil
}

func durationError(seconds, most int) error {
	word, limit := "greater", 900
	if seconds > most {
		word, limit = "less", most
	}
	return api.Errorf("ValidationError", "1 validation error detected: Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value %s than or equal to %d", seconds, word, limit)
}

func denied(message string) error {
	return &api.Error{Code: "AccessDenied", Message: message, Status: http.StatusForbidden}
}

type decodedOut struct {
	Message string `xml:"DecodedMessage"`
}

func (t *T) decodeAuthorizationMessage(_ context.Context, _ *api.Call, in *struct {
	Message string `q:"EncodedMessage,required"`
}) (*decodedOut, error) {
	data, err := base64.RawURLEncoding.DecodeString(in.Message)
	if err != nil || !json.Valid(data) {
		return nil, api.Errorf("InvalidAuthorizationMessageException", "Message is not valid")
	}
	return &decodedOut{string(data)}, nil
}
