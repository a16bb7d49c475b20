package ecr

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"time"

	"bake/internal/sandbox/api"
)

// A token lets its bearer into registries as who asked for it.
type token struct {
	Account string    `json:"account"`
	Region  string    `json:"region"` // empty: of ECR Public
	Caller  string    `json:"caller"`
	Expires time.Time `json:"expires"`
}

type authData struct {
	Token    string    `json:"authorizationToken"`
	Expires  time.Time `json:"expiresAt"`
	Endpoint string    `json:"proxyEndpoint,omitempty"`
}

type authOut struct {
	Data []authData `json:"authorizationData"`
}

func (t *T) getAuthorizationToken(_ context.Context, c *api.Call, in *struct {
	IDs []string `json:"registryIds"`
}) (*authOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(in.IDs) == 0 {
		in.IDs = []string{c.Account}
	}
	var out authOut
	for _, id := range in.IDs {
		r, err := t.of(id, c.Region)
		if err != nil {
			return nil, err
		}
		d := t.give(c, c.Region)
		d.Endpoint = "http://" + r.host()
		out.Data = append(out.Data, d)
	}
	return &out, nil
}

// give makes a token for a caller.
func (t *T) give(c *api.Call, region string) authData {
	lasts := 12 * time.Hour
	if t.knobs.TokenLasts > 0 {
		lasts = time.Duration(t.knobs.TokenLasts)
	}
	b := make([]byte, 48)
	_, _ = rand.Read(b) // it cannot fail: crypto/rand
	password := hex.EncodeToString(b)
	k := &token{Account: c.Account, Region: region, Caller: c.Caller, Expires: t.now().Add(lasts)}
	t.tokens[password] = k
	return authData{Token: base64.StdEncoding.EncodeToString([]byte("AWS:" + password)), Expires: k.Expires}
}

// enter says who a request to a registry is from, or refuses it as ECR does.
func (t *T) enter(req *http.Request, r *registry) (*token, *refusal) {
	user, password, ok := req.BasicAuth()
	if !ok {
		if r.Public && (req.Method == http.MethodGet || req.Method == http.MethodHead) {
			return &token{Caller: "anonymous"}, nil
		}
		return nil, &refusal{http.StatusUnauthorized, "UNAUTHORIZED", "Not Authorized"}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.tokens[password]
	switch {
	case user != "AWS" || k == nil || r.Public != (k.Region == "") || !r.Public && k.Region != r.Region:
		return nil, &refusal{http.StatusForbidden, "DENIED", "Your Authorization Token is invalid."}
	case t.now().After(k.Expires):
		return nil, &refusal{http.StatusForbidden, "DENIED", "Your authorization token has expired. Reauthenticate and try again."}
	}
	return k, nil
}
