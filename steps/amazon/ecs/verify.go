package ecs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"bake/steps/amazon"
)

// A Result is what a check came to.
type Result string

// The results of checks.
const (
	OK   Result = "OK"
	NG   Result = "NG"   // it will not work
	Skip Result = "SKIP" // it could not be looked at, or need not be
)

// A Check is one thing that was looked at before a deployment.
type Check struct {
	Kind    string `json:"kind"`    // "roles", "image", ... as verify.skip names it
	Subject string `json:"subject"` // what was looked at
	Result  Result `json:"result"`
	Reason  string `json:"reason,omitempty"`
	Cure    string `json:"cure,omitempty"`
}

// A VerifyError is a deployment that was not begun because it could not work.
type VerifyError struct{ Checks []Check }

func (e *VerifyError) Error() string {
	var wrong []string
	for _, c := range e.Checks {
		if c.Result == NG {
			wrong = append(wrong, c.Subject+": "+c.Reason)
		}
	}
	if len(wrong) == 1 {
		return "nothing was changed: " + wrong[0]
	}
	return fmt.Sprintf("nothing was changed, %d things would not work: %s", len(wrong), strings.Join(wrong, "; "))
}

// Hint is what to do about the first of them.
func (e *VerifyError) Hint() string {
	for _, c := range e.Checks {
		if c.Result == NG && c.Cure != "" {
			return c.Cure
		}
	}
	return "`verify: {skip: [...]}` leaves checks out"
}

// verify looks at everything that the deployment needs, and refuses it if
// something is wrong. What is fine is not told.
func (d *deployment) verify(ctx context.Context) error {
	if slices.Contains(d.out.Checks.Skip, "all") {
		return nil
	}
	checks, err := d.checks(ctx)
	if err != nil {
		return err
	}
	for _, c := range checks {
		if c.Result == NG {
			d.story.Log("NG %s: %s", c.Subject, c.Reason)
		}
	}
	if slices.ContainsFunc(checks, func(c Check) bool { return c.Result == NG }) {
		return &VerifyError{checks}
	}
	return nil
}

// A checker looks at one kind of thing. It reads only.
type checker struct {
	kind string
	run  func(d *deployment, ctx context.Context) ([]Check, error)
}

// checkers are what is looked at, in the order in which it is told.
func checkers() []checker {
	return []checker{
		{"cluster", (*deployment).checkCluster},
		{"service", (*deployment).checkService},
		{"roles", (*deployment).checkRoles},
		{"image", (*deployment).checkImages},
		{"secrets", (*deployment).checkSecrets},
		{"logs", (*deployment).checkLogs},
		{"load_balancers", (*deployment).checkBalancers},
		{"network", (*deployment).checkNetwork},
		{"quotas", (*deployment).checkQuotas},
	}
}

// checks runs all checks at once. A check that may not ask is skipped with the
// reason; other failures of AWS are errors.
func (d *deployment) checks(ctx context.Context) ([]Check, error) {
	all := checkers()
	found := make([][]Check, len(all))
	g, gctx := errgroup.WithContext(ctx)
	for i, c := range all {
		if slices.Contains(d.out.Checks.Skip, c.kind) {
			found[i] = []Check{{Subject: c.kind, Result: Skip, Reason: "left out"}}
			continue
		}
		g.Go(func() (err error) {
			found[i], err = c.run(d, gctx)
			if err != nil && mayNotAsk(err) {
				found[i], err = append(found[i], Check{Subject: c.kind, Result: Skip, Reason: "cannot be asked: " + err.Error()}), nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var out []Check
	for i, list := range found {
		for _, c := range list {
			c.Kind = all[i].kind
			c.Result = cmp.Or(c.Result, OK)
			out = append(out, c)
		}
	}
	return out, nil
}

// mayNotAsk reports whether a call failed because this caller may not make it,
// or because there is no such service here.
func mayNotAsk(err error) bool {
	return amazon.IsCode(err, "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError",
		"UnknownOperationException", "InvalidAction", "UnknownService", "OptInRequired", "SubscriptionRequiredException")
}

func ng(subject, cure, format string, args ...any) Check {
	return Check{Subject: subject, Result: NG, Reason: fmt.Sprintf(format, args...), Cure: cure}
}

func skipped(subject, format string, args ...any) Check {
	return Check{Subject: subject, Result: Skip, Reason: fmt.Sprintf(format, args...)}
}

func fine(subject string) Check { return Check{Subject: subject, Result: OK} }

// isMissing reports whether err is AWS's way to say that there is no such thing.
func isMissing(err error) bool {
	if errors.As(err, new(*missingError)) {
		return true
	}
	return amazon.IsCode(err, "NoSuchEntity", "ResourceNotFoundException", "ParameterNotFound", "TargetGroupNotFound",
		"InvalidSubnetID.NotFound", "InvalidGroup.NotFound", "ClusterNotFoundException")
}
