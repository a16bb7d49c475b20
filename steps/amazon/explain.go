package amazon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"bake/internal/lazyregexp"
)

// Explained is an error of AWS with what can be done about it.
type Explained struct {
	Err  error
	Why  string // what the code means here; may be empty
	Cure string
}

func (e *Explained) Error() string {
	if e.Why == "" {
		return plain(e.Err)
	}
	return plain(e.Err) + ": " + e.Why
}

// Unwrap returns the error as AWS gave it.
func (e *Explained) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *Explained) Hint() string { return e.Cure }

// Explain adds to an error of AWS what it means and what to do. A denial's
// encoded message is decoded (STS DecodeAuthorizationMessage) if the caller may.
// An error that needs no words comes back as it is; so does nil.
func (c *Cloud) Explain(ctx context.Context, a Access, err error) error {
	var told interface{ Hint() string }
	if err == nil {
		return nil
	}
	if errors.As(err, &told) {
		return toldOnce(err, told.Hint())
	}
	if isDenied(err) {
		return c.explainDenial(ctx, a, err)
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return explainConfig(a, err)
	}
	if cure, ok := cures[api.ErrorCode()]; ok {
		return &Explained{Err: err, Cure: cure}
	}
	return &Explained{Err: err}
}

// toldOnce is an error with a hint. If the hint is of something that a call
// needed (an MFA code that nobody can give), the call's layers go, too.
func toldOnce(err error, hint string) error {
	var call *smithy.OperationError
	var inside interface{ Hint() string }
	if !errors.As(err, &call) || !errors.As(call.Err, &inside) {
		return err
	}
	if e, ok := err.(*Explained); ok {
		return e
	}
	return &Explained{Err: err, Cure: hint}
}

// cures are what to do about AWS's codes whose message does not tell.
var cures = map[string]string{
	"ExpiredToken":                      "the credentials have run out: log in again (`aws sso login`), or renew them",
	"ExpiredTokenException":             "the credentials have run out: log in again (`aws sso login`), or renew them",
	"RequestExpired":                    "the clock of this machine is wrong, or the credentials have run out",
	"SignatureDoesNotMatch":             "the secret key does not fit the access key, or this machine's clock is wrong",
	"InvalidClientTokenId":              "AWS does not know the access key: is it deleted, or of another partition?",
	"UnrecognizedClientException":       "AWS does not know the access key: is it deleted, or of another partition?",
	"AuthFailure":                       "the region may have to be enabled for the account, or this machine's clock is wrong",
	"OptInRequired":                     "subscribe to the product in the AWS Marketplace, or enable the region for the account",
	"VcpuLimitExceeded":                 "ask for a higher vCPU quota (Service Quotas, EC2), or name another instance type in machine: type:",
	"InstanceLimitExceeded":             "terminate instances or ask for a higher quota (Service Quotas, EC2)",
	"MaxSpotInstanceCountExceeded":      "ask for a higher spot quota, or build on demand",
	"VolumeLimitExceeded":               "delete volumes or ask for a higher quota (Service Quotas, EBS)",
	"SnapshotLimitExceeded":             "delete snapshots or ask for a higher quota (Service Quotas, EBS)",
	"ResourceLimitExceeded":             "delete what is not needed or ask for a higher quota (Service Quotas)",
	"SecurityGroupLimitExceeded":        "name an existing group in machine: security_groups:, or delete groups that nothing uses",
	"VPCIdNotSpecified":                 "the account has no default VPC in this region: name a subnet in machine: subnet:",
	"DefaultVpcDoesNotExist":            "the account has no default VPC in this region: name a subnet in machine: subnet:",
	"MissingInput":                      "the account has no default VPC in this region: name a subnet in machine: subnet:",
	"InsufficientInstanceCapacity":      "name more types or subnets in machine: type: and subnet:; they are tried in turn",
	"InsufficientFreeAddressesInSubnet": "name another subnet in machine: subnet:, or more of them",
	"PendingVerification":               "AWS is checking the account for this region; that takes up to some hours",
	"OperationNotPermitted":             "the account or an organization policy forbids it; the message above says what",
	"KMSInvalidStateException":          "enable the KMS key, or name another one",
	"KMS.NotFoundException":             "name a KMS key that exists in this region",
}

// deniedCodes say that the caller may not do it.
var deniedCodes = []string{"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "UnauthorizedException", "Client.UnauthorizedOperation"}

func isDenied(err error) bool { return IsCode(err, deniedCodes...) }

// A Denial is what AWS says a caller may not do.
type Denial struct {
	Action, Resource, Principal string
	Explicit                    bool // a statement forbids it; it is not enough to add one that allows it
}

var (
	encodedMessage = lazyregexp.New(`Encoded authorization failure message: ([A-Za-z0-9_+/=-]+)`)
	plainDenial    = lazyregexp.New(`(?:User: )?(arn:\S+) is not authorized to perform: ([A-Za-z0-9-]+:[A-Za-z0-9*]+)(?: on resource: (\S+))?`)
)

func (c *Cloud) explainDenial(ctx context.Context, a Access, err error) error {
	d, ok := c.denial(ctx, a, err)
	if !ok {
		return &Explained{Err: err, Cure: "the credentials lack a permission; `bake policy TEMPLATE` prints those that the template needs"}
	}
	e := &Explained{Err: err, Cure: "add to the caller's policy: " + d.Statement()}
	if d.Explicit {
		e.Cure = "a statement forbids it explicitly (a policy, a permissions boundary or an organization's): it must be changed"
	}
	if !strings.Contains(err.Error(), d.Action) {
		e.Why = fmt.Sprintf("%s may not do %s on %s", d.Principal, d.Action, d.Resource)
	}
	return e
}

// Statement is the IAM statement that would allow it.
func (d Denial) Statement() string {
	resource := d.Resource
	if resource == "" {
		resource = "*"
	}
	return fmt.Sprintf(`{"Effect": "Allow", "Action": %q, "Resource": %q}`, d.Action, resource)
}

// denial reads what was denied, out of the message or by having it decoded.
func (c *Cloud) denial(ctx context.Context, a Access, err error) (Denial, bool) {
	text := err.Error()
	if m := encodedMessage.FindStringSubmatch(text); m != nil {
		if d, ok := c.decode(ctx, a, m[1]); ok {
			return d, true
		} // the caller may not decode it; most of it stands in the text too
	}
	m := plainDenial.FindStringSubmatch(text)
	if m == nil {
		return Denial{}, false
	}
	return Denial{Principal: m[1], Action: m[2], Resource: strings.TrimRight(m[3], ".,"), Explicit: strings.Contains(text, "explicit deny")}, true
}

func (c *Cloud) decode(ctx context.Context, a Access, message string) (Denial, bool) {
	cfg, err := c.Config(ctx, a)
	if err != nil {
		return Denial{}, false
	}
	out, err := sts.NewFromConfig(cfg).DecodeAuthorizationMessage(ctx, &sts.DecodeAuthorizationMessageInput{EncodedMessage: &message})
	if err != nil {
		return Denial{}, false
	}
	var decoded struct {
		ExplicitDeny bool `json:"explicitDeny"`
		Context      struct {
			Principal struct {
				ARN string `json:"arn"`
			} `json:"principal"`
			Action   string `json:"action"`
			Resource string `json:"resource"`
		} `json:"context"`
	}
	if json.Unmarshal([]byte(aws.ToString(out.DecodedMessage)), &decoded) != nil || decoded.Context.Action == "" {
		return Denial{}, false
	}
	return Denial{Action: decoded.Context.Action, Resource: decoded.Context.Resource, Principal: decoded.Context.Principal.ARN, Explicit: decoded.ExplicitDeny}, true
}

// explainConfig is for what goes wrong before AWS is reached.
func explainConfig(a Access, err error) error {
	var profile config.SharedConfigProfileNotExistError
	text := err.Error()
	switch {
	case errors.As(err, &profile):
		return &Explained{Err: fmt.Errorf("there is no profile %s in ~/.aws/config", cmp.Or(profile.Profile, a.Profile)), Cure: "`aws configure list-profiles` lists those that there are"}
	case strings.Contains(text, "SSO"):
		return &Explained{Err: err, Cure: "log in: " + ssoLogin(a)}
	case strings.Contains(text, "error in credential_process"):
		return &Explained{Err: err, Cure: "run the credential_process of the profile in ~/.aws/config by hand: it has to print credentials as JSON"}
	case strings.Contains(text, "no EC2 IMDS role found"), strings.Contains(text, "failed to refresh cached credentials"):
		return &Explained{Err: err, Cure: "log in (`aws sso login`, AWS_PROFILE, AWS_ACCESS_KEY_ID), or try the template with --sandbox, which needs no account"}
	case strings.Contains(text, "Failed to parse uri"):
		return &Explained{Err: err, Cure: "an endpoint (AWS_ENDPOINT_URL, endpoint_url in ~/.aws/config) is a URL like http://127.0.0.1:4566"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &Explained{Err: err, Cure: "nothing listens there: is it the right endpoint (AWS_ENDPOINT_URL, endpoint_url in ~/.aws/config), or proxy (HTTPS_PROXY)?"}
	case strings.Contains(text, "no such host"):
		return &Explained{Err: err, Cure: fmt.Sprintf("is %q a region of AWS? If it is, this machine cannot look names up", a.Region)}
	}
	var call *smithy.OperationError
	if errors.As(err, &call) {
		return &Explained{Err: err}
	}
	return err
}

// ssoLogin is the command that begins the session of an access's profile.
func ssoLogin(a Access) string {
	if profile := cmp.Or(a.Profile, os.Getenv("AWS_PROFILE")); profile != "" {
		return "`aws sso login --profile " + profile + "`"
	}
	return "`aws sso login`"
}
