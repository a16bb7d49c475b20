// Package authorize decides whether a caller may do what it calls, by its IAM
// policies: what rights a call needs on which resources, and AWS's refusals. A
// caller that IAM does not know may do everything.
package authorize

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/policy"
	"bake/internal/sandbox/sts"
)

// Identities tells what callers may do.
type Identities interface {
	// Policies returns a caller's documents; false: it may do everything.
	Policies(account, arn string) ([]*policy.Document, bool)
	// ProfileRole returns the ARN of the role in an instance profile.
	ProfileRole(account, nameOrARN string) (arn string, ok bool)
	// Path returns the path of a "role", an "instance-profile" or a "user": "/" if
	// there is none of the name.
	Path(account, kind, name string) string
}

// Sessions tells what temporary credentials stand for.
type Sessions interface {
	Session(accessKey string) (sts.Session, bool)
}

// A Guard authorizes calls.
type Guard struct {
	Identities Identities
	Sessions   Sessions
	// Tags returns the tags of an EC2 resource, by its id or a key pair's name, and of
	// others by their ARN; nil: none are known.
	Tags func(account, region, id string) map[string]string
	// Key returns the ARN of a KMS key; nil: keys are not looked at.
	Key func(account, region, idOrAlias string) (arn string, err error)
	// Sealed returns the ARNs of the keys that a volume, a snapshot or an image of EC2
	// is encrypted with; nil: none are known.
	Sealed func(region, id string) []string
	// Snapshots returns the ids of an image's snapshots; nil: none are known.
	Snapshots func(region, image string) []string
	// Linked reports whether an account has the service-linked role of a service; nil: it has.
	Linked func(account, service string) bool
	// Aliases returns the aliases of the key with an ARN; nil: none are known.
	Aliases func(arn string) []string
	// Record is told of every decision about a caller that IAM knows; may be nil.
	Record *Record
}

// A need is one action on one resource.
type need struct {
	action, resource string
	context          map[string][]string // besides the call's
	unheeded         bool                // somebody else decides, who knows more
	refusal          error               // nil: as for any other
}

// Allowed reports whether a caller's policies allow an action on a resource.
func (g *Guard) Allowed(account, caller, action, resource string) bool {
	documents, known := g.Identities.Policies(account, caller)
	if !known {
		return true
	}
	request := policy.Request{Action: action, Resource: resource, Context: map[string][]string{}}
	effect := policy.Decide(documents, request)
	g.Record.note(Decision{caller, request, effect})
	return effect == policy.Allowed
}

// Authorize refuses a call, as an *api.Error, that the caller's policies do not
// allow. It is for api.Server.Authorize.
func (g *Guard) Authorize(_ context.Context, c *api.Call, r *api.Request) error {
	documents, known := g.Identities.Policies(c.Account, c.Caller)
	session, temporary := g.Sessions.Session(c.AccessKey)
	if !known || c.Caller == "anonymous" {
		return nil
	}
	var limits []*policy.Document
	if temporary && session.Policy != "" {
		if d, err := policy.Parse(session.Policy); err == nil { // it was checked when it came
			limits = []*policy.Document{d}
		}
	}
	call := global(c, session)
	for _, n := range g.needs(c, r) {
		request := policy.Request{Action: n.action, Resource: n.resource, Context: maps.Clone(call)}
		maps.Copy(request.Context, n.context)
		effect, kind := policy.Decide(documents, request), "identity-based"
		g.Record.note(Decision{c.Caller, request, effect})
		if effect == policy.Allowed && limits != nil {
			effect, kind = policy.Decide(limits, request), "session"
		}
		if effect != policy.Allowed && n.refusal != nil {
			return n.refusal
		}
		if effect != policy.Allowed && !n.unheeded {
			return refuse(c, r.Protocol, request, effect, kind)
		}
	}
	return nil
}

// global is the context that every call has.
func global(c *api.Call, s sts.Session) map[string][]string {
	principal := c.Caller
	if s.Role != "" {
		principal = s.Role
	}
	all := map[string][]string{
		"aws:requestedregion": {c.Region}, "ec2:region": {c.Region},
		"aws:principalarn": {principal}, "aws:principalaccount": {c.Account}, "aws:userid": {c.UserID},
		"aws:sourceip": {c.SourceIP}, "aws:securetransport": {"true"},
		"aws:multifactorauthpresent": {strconv.FormatBool(s.MFA)},
	}
	for k, v := range s.Tags {
		all["aws:principaltag/"+strings.ToLower(k)] = []string{v}
	}
	return all
}

// refuse words a refusal as the protocol and AWS's services do. Kind is that of
// the policy which does not allow it.
func refuse(c *api.Call, p api.Protocol, r policy.Request, effect policy.Effect, kind string) error {
	why := "because no " + kind + " policy allows the " + r.Action + " action"
	if effect == policy.Denied {
		why = "with an explicit deny in " + article(kind) + " " + kind + " policy"
	}
	message := fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s %s", c.Caller, r.Action, r.Resource, why)
	switch p {
	case api.EC2:
		if r.Resource == "*" { // what knows no resources is not told of them
			return &api.Error{Code: "UnauthorizedOperation", Status: http.StatusForbidden,
				Message: "You are not authorized to perform this operation. " + strings.Replace(message, " on resource: *", "", 1)}
		}
		return &api.Error{Code: "UnauthorizedOperation", Status: http.StatusForbidden,
			Message: "You are not authorized to perform this operation. " + message + ". Encoded authorization failure message: " + encode(c, r, effect)}
	case api.Query:
		return &api.Error{Code: "AccessDenied", Message: message, Status: http.StatusForbidden}
	}
	return &api.Error{Code: "AccessDeniedException", Message: message, Status: http.StatusBadRequest}
}

func article(word string) string {
	if strings.HasPrefix(word, "i") {
		return "an"
	}
	return "a"
}

type item struct {
	Value string `json:"value"`
}

type items[E any] struct {
	Items []E `json:"items"`
}

type condition struct {
	Key    string      `json:"key"`
	Values items[item] `json:"values"`
}

// message is what sts:DecodeAuthorizationMessage answers.
type message struct {
	Allowed      bool            `json:"allowed"`
	ExplicitDeny bool            `json:"explicitDeny"`
	Matched      items[struct{}] `json:"matchedStatements"`
	Failures     items[struct{}] `json:"failures"`
	Context      struct {
		Principal struct {
			ID  string `json:"id"`
			ARN string `json:"arn"`
		} `json:"principal"`
		Action     string           `json:"action"`
		Resource   string           `json:"resource"`
		Conditions items[condition] `json:"conditions"`
	} `json:"context"`
}

func encode(c *api.Call, r policy.Request, effect policy.Effect) string {
	m := message{ExplicitDeny: effect == policy.Denied, Matched: items[struct{}]{[]struct{}{}}, Failures: items[struct{}]{[]struct{}{}}}
	m.Context.Principal.ID, m.Context.Principal.ARN = c.UserID, c.Caller
	m.Context.Action, m.Context.Resource = r.Action, r.Resource
	for _, key := range slices.Sorted(maps.Keys(r.Context)) {
		one := condition{Key: key}
		for _, v := range r.Context[key] {
			one.Values.Items = append(one.Values.Items, item{v})
		}
		m.Context.Conditions.Items = append(m.Context.Conditions.Items, one)
	}
	data, err := json.Marshal(m)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(data)
}
