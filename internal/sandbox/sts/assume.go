package sts

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/iam"
	"bake/internal/sandbox/policy"
)

type tag struct {
	Key   string `q:"Key,required"`
	Value string `q:"Value"`
}

type assumeIn struct {
	mfa
	Role       string   `q:"RoleArn,required"`
	Session    string   `q:"RoleSessionName,required"`
	ExternalID string   `q:"ExternalId"`
	Duration   int      `q:"DurationSeconds"`
	Policy     string   `q:"Policy"`
	Tags       []tag    `q:"Tags"`
	Transitive []string `q:"TransitiveTagKeys"`
	Source     string   `q:"SourceIdentity"`
}

type assumedUser struct {
	ID  string `xml:"AssumedRoleId"`
	ARN string `xml:"Arn"`
}

type assumeOut struct {
	Credentials credentials `xml:"Credentials"`
	User        assumedUser `xml:"AssumedRoleUser"`
	Packed      int         `xml:"PackedPolicySize"`
}

var (
	roleForm    = lazyregexp.New(`^arn:aws[a-z-]*:iam::([0-9]{12}):role/.+$`)
	sessionForm = lazyregexp.New(`^[\w+=,.@-]{2,64}$`)
)

func (t *T) assumeRole(_ context.Context, c *api.Call, in *assumeIn) (*assumeOut, error) {
	if err := in.valid(); err != nil {
		return nil, err
	}
	caller, chained := t.Session(c.AccessKey)
	chained = chained && caller.Role != ""
	no := denied(fmt.Sprintf("User: %s is not authorized to perform: sts:AssumeRole on resource: %s", c.Caller, in.Role))
	role, ok := t.iam.Role(in.Role)
	if !ok {
		return nil, no
	}
	with, err := t.check(in.mfa)
	if err != nil {
		return nil, err
	}
	if !t.mayAssume(c, caller, role, in, with || caller.MFA) {
		return nil, no
	}
	if err := in.lasts(role, chained); err != nil {
		return nil, err
	}
	tags := map[string]string{}
	for _, g := range in.Tags {
		tags[g.Key] = g.Value
	}
	return t.assumed(role, in.Session, in.Duration, Session{Tags: tags, MFA: with || caller.MFA, Policy: in.Policy}), nil
}

func (in *assumeIn) valid() error {
	switch {
	case !roleForm.MatchString(in.Role):
		return api.Errorf("ValidationError", "%s is invalid", in.Role)
	case !sessionForm.MatchString(in.Session):
		return api.Errorf("ValidationError", "1 validation error detected: Value '%s' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*", in.Session)
	case len(in.Tags) > 50:
		return api.Errorf("PackedPolicyTooLarge", "Packed size of session tags consumes more than the allotted space.")
	}
	if in.Policy != "" {
		if _, err := policy.Parse(in.Policy); err != nil {
			return api.Errorf("MalformedPolicyDocument", "%v", err)
		}
	}
	return nil
}

// lasts fills in the duration, which the role limits, and an hour if one role assumes another.
func (in *assumeIn) lasts(role iam.Role, chained bool) error {
	if in.Duration == 0 {
		in.Duration = 3600
	}
	switch {
	case in.Duration < 900 || in.Duration > 43200:
		return durationError(in.Duration, 43200)
	case chained && in.Duration > 3600:
		return api.Errorf("ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	case in.Duration > role.MaxSession:
		return api.Errorf("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return nil
}

// mayAssume asks the role's trust policy, and the caller's own policies where
// trust in its account alone is not enough.
func (t *T) mayAssume(c *api.Call, caller Session, role iam.Role, in *assumeIn, withMFA bool) bool {
	ids := []string{c.Caller}
	if caller.Role != "" {
		ids = append(ids, caller.Role)
	}
	r := policy.Request{Action: "sts:AssumeRole", Resource: role.ARN, Context: map[string][]string{
		"aws:principalarn": ids[len(ids)-1:], "aws:principalaccount": {c.Account}, "aws:sourceip": {c.SourceIP},
		"aws:multifactorauthpresent": {strconv.FormatBool(withMFA)}, "sts:rolesessionname": {in.Session},
	}}
	if in.ExternalID != "" {
		r.Context["sts:externalid"] = []string{in.ExternalID}
	}
	if in.Source != "" {
		r.Context["sts:sourceidentity"] = []string{in.Source}
	}
	for _, g := range in.Tags {
		r.Context["aws:requesttag/"+strings.ToLower(g.Key)] = []string{g.Value}
		r.Context["aws:tagkeys"] = append(r.Context["aws:tagkeys"], g.Key)
	}
	trust := []*policy.Document{role.Trust}
	ask := func(action string, principals []string) bool {
		r.Action, r.Principal = action, map[string][]string{"AWS": principals}
		return policy.Decide(trust, r) == policy.Allowed
	}
	all := append([]string{c.Account}, ids...)
	if !ask("sts:AssumeRole", all) || len(in.Tags) > 0 && !ask("sts:TagSession", all) {
		return false
	}
	own, known := t.iam.Policies(c.Account, c.Caller)
	r.Action = "sts:AssumeRole"
	return !known || policy.Decide(own, r) == policy.Allowed ||
		strings.Contains(role.ARN, "::"+c.Account+":") && policy.Decide(own, r) != policy.Denied && ask("sts:AssumeRole", ids)
}

// assumed makes the session of a role.
func (t *T) assumed(role iam.Role, name string, seconds int, s Session) *assumeOut {
	s.Account = roleForm.FindStringSubmatch(role.ARN)[1]
	s.Role = role.ARN
	s.ARN = "arn:aws:sts::" + s.Account + ":assumed-role/" + role.Name + "/" + name
	s.UserID = role.ID + ":" + name
	return &assumeOut{Credentials: t.give(s, time.Duration(seconds)*time.Second), User: assumedUser{s.UserID, s.ARN}}
}

type webIn struct {
	Role     string `q:"RoleArn,required"`
	Session  string `q:"RoleSessionName,required"`
	Token    string `q:"WebIdentityToken,required"`
	Provider string `q:"ProviderId"`
	Duration int    `q:"DurationSeconds"`
	Policy   string `q:"Policy"`
}

type webOut struct {
	assumeOut
	Subject  string `xml:"SubjectFromWebIdentityToken"`
	Audience string `xml:"Audience"`
	Provider string `xml:"Provider"`
}

// claims are those of a token that matter. Its signature is not verified: the
// sandbox cannot ask the issuer for its keys.
type claims struct {
	Issuer   string       `json:"iss"`
	Audience policy.Words `json:"aud"`
	Subject  string       `json:"sub"`
	Expires  int64        `json:"exp"`
}

func readToken(token string) (claims, error) {
	var c claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, api.Errorf("InvalidIdentityToken", "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	}
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil || len(c.Audience) == 0 {
		return c, api.Errorf("InvalidIdentityToken", "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	}
	return c, nil
}

func (t *T) assumeRoleWithWebIdentity(_ context.Context, c *api.Call, in *webIn) (*webOut, error) {
	a := assumeIn{Role: in.Role, Session: in.Session, Duration: in.Duration, Policy: in.Policy}
	if err := a.valid(); err != nil {
		return nil, err
	}
	claim, err := readToken(in.Token)
	if err != nil {
		return nil, err
	}
	if t.world.Now().Unix() > claim.Expires {
		return nil, api.Errorf("ExpiredTokenException", "Token expired: current date/time must be before the expiration date/time")
	}
	issuer := strings.TrimPrefix(claim.Issuer, "https://")
	provider, ok := t.iam.Provider(roleForm.FindStringSubmatch(in.Role)[1], issuer, claim.Audience[0])
	switch {
	case provider == "":
		return nil, api.Errorf("InvalidIdentityToken", "No OpenIDConnect provider found in your account for %s", claim.Issuer)
	case !ok:
		return nil, api.Errorf("InvalidIdentityToken", "Incorrect token audience")
	}
	role, ok := t.iam.Role(in.Role)
	ask := policy.Request{Action: "sts:AssumeRoleWithWebIdentity", Resource: in.Role, Principal: map[string][]string{"Federated": {provider}},
		Context: map[string][]string{strings.ToLower(issuer) + ":aud": claim.Audience, strings.ToLower(issuer) + ":sub": {claim.Subject}, "sts:rolesessionname": {in.Session}}}
	if !ok || policy.Decide([]*policy.Document{role.Trust}, ask) != policy.Allowed {
		return nil, denied("Not authorized to perform sts:AssumeRoleWithWebIdentity")
	}
	if err := a.lasts(role, false); err != nil {
		return nil, err
	}
	return &webOut{*t.assumed(role, in.Session, a.Duration, Session{Policy: in.Policy}), claim.Subject, claim.Audience[0], provider}, nil
}
