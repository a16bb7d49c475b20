// Package api is what the services of the sandbox have in common: the wire
// protocols of AWS, who calls, errors as AWS answers them, how long states
// take, and faults on demand. A service is a value: a map of actions.
package api

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// A Protocol is how a service's requests and answers look on the wire.
type Protocol int

// The protocols of the services the sandbox has.
const (
	EC2   Protocol = iota // ec2Query: a form in, XML out, lists as <item>
	Query                 // awsQuery: a form in, XML out, lists as <member>
	JSON                  // awsJson1_0, awsJson1_1: X-Amz-Target says the action
	CBOR                  // smithy rpcv2Cbor: the path says the action
)

// A Service answers the actions of one AWS service.
type Service struct {
	Name string // as requests are signed for it: "ec2", "ecs"
	// Protocol is EC2, Query or JSON. A service with a Target also speaks JSON
	// and CBOR, whatever its Protocol is: its structs need both kinds of tags.
	Protocol Protocol
	Version  string // EC2 and Query: the API's version, "2016-11-15"
	XMLNS    string // EC2 and Query: the namespace of answers
	Target   string // JSON: what stands before the action, "AmazonEC2ContainerServiceV20141113"
	Actions  map[string]Action
	// Unsigned names the actions that anybody may call: AssumeRoleWithWebIdentity.
	Unsigned map[string]bool
	// Control answers below /_sandbox/NAME/: knobs that AWS does not have. May be nil.
	Control http.Handler
}

// An Action answers one call. It returns what is encoded as the answer, or an *Error.
type Action func(ctx context.Context, c *Call, r *Request) (any, error)

// Do makes an action of a function over structs. See Decode for the tags of
// In; Out is encoded by its xml tags (EC2, Query) or json tags (JSON), where a
// list without omitempty is there also when it is empty, and a zero time never.
// DryRun of EC2 is answered here, unless In has a field for it.
func Do[In, Out any](f func(ctx context.Context, c *Call, in *In) (*Out, error)) Action {
	return func(ctx context.Context, c *Call, r *Request) (any, error) {
		in := new(In)
		if err := r.Decode(in); err != nil {
			return nil, err
		}
		if r.dryRun {
			return nil, DryRun()
		}
		out, err := f(ctx, c, in)
		if err != nil {
			return nil, err
		}
		return out, nil
	}
}

// DryRun is the answer to a call with DryRun that would have succeeded.
func DryRun() *Error {
	return &Error{Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set.", Status: http.StatusPreconditionFailed}
}

// A Call is who calls what, and where.
type Call struct {
	Service, Action string
	Region          string // of the credential scope
	Account         string // twelve digits
	Caller          string // ARN of the user or role that calls
	UserID          string // "AIDA...", or "AROA...:session"
	AccessKey       string
	SourceIP        string // address the call came from, "127.0.0.1"
	RequestID       string
	// Fresh, if it is not nil, is asked before an answer shows the resource
	// id: it reports true while a fault hides resources that were just made.
	Fresh func(id string) bool

	protocol    Protocol
	contentType string // JSON: of the request
}

// Hidden reports whether the resource id shall not be seen by this call yet
// (AWS is eventually consistent).
func (c *Call) Hidden(id string) bool { return c.Fresh != nil && c.Fresh(id) }

// An Error is an answer that is an error, with AWS's code.
type Error struct {
	Code    string // "InvalidAMIID.NotFound"
	Message string
	Status  int // HTTP; 0: 400
	// Fields are further members of a JSON error (cancellation reasons, ...).
	Fields map[string]any
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errorf returns an error that the caller is to blame for (HTTP 400).
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: http.StatusBadRequest}
}

// A World is what the services of one sandbox share.
type World struct {
	Dir     string   // folder for disks, layers and blobs; exists
	Account string   // of callers whose key is not known: twelve digits
	Regions []string // that exist; none: all
	Pace    float64  // how long states take: 1 as on AWS, 0 no time at all
	Now     func() time.Time
	// URL is where the sandbox listens, "http://127.0.0.1:4566".
	URL string
	// Faults are met by calls that the server does not see, too; may be nil.
	Faults *Faults
	// Changed keeps the state now: for what changes outside of a call. May be nil.
	Changed func() error
}

// Takes is how long what takes d on AWS takes here.
func (w *World) Takes(d time.Duration) time.Duration { return time.Duration(float64(d) * w.Pace) }
