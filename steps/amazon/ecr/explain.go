package ecr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"bake/internal/lazyregexp"
	"bake/internal/registry"
)

// explain adds to an error of the registry what it means in ECR.
func (o *Output) explain(ctx context.Context, t *target, err error) error {
	var refused *registry.Error
	if err == nil || !errors.As(err, &refused) || ctx.Err() != nil {
		return o.deps.Cloud.Explain(ctx, t.access, err)
	}
	text := err.Error()
	switch status := registry.StatusOf(err); {
	case strings.Contains(text, "not authorized to perform"):
		return explainDenied(err)
	case status == http.StatusUnauthorized, status == http.StatusForbidden, strings.Contains(text, "no basic auth credentials"):
		return &explained{err, fmt.Sprintf("ECR did not take the token it gave for %s: is the account allowed to use that registry? Another account's is used with `assume_role`, or with a repository policy that allows it", t)}
	case status == http.StatusNotFound && strings.Contains(text, "does not exist in the registry"):
		return &explained{err, (&MissingRepositoryError{}).Hint()}
	}
	return err
}

// explained is an error with its cure.
type explained struct {
	error
	cure string
}

func (e *explained) Unwrap() error { return e.error }

// Hint says what to do.
func (e *explained) Hint() string { return e.cure }

// pushActions are what a push calls, whatever of it was refused first.
var pushActions = []string{"ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart",
	"ecr:CompleteLayerUpload", "ecr:PutImage", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}

var deniedText = lazyregexp.New(`(arn:\S+) is not authorized to perform: (\S+) on resource: (\S+)`)

// explainDenied turns a refusal into the statement that would allow the push.
// Docker shows it as EOF or a plain 403.
func explainDenied(err error) error {
	m := deniedText.FindStringSubmatch(err.Error())
	if m == nil {
		return &explained{err, "the credentials lack a permission on the repository"}
	}
	if strings.Contains(err.Error(), "explicit deny") {
		return &explained{err, "a statement forbids " + m[2] + " explicitly (a policy, a permissions boundary or an organization's): it must be changed"}
	}
	resource := strings.TrimRight(m[3], ".,)")
	return &explained{err, fmt.Sprintf(`add to the policy of %s: {"Effect": "Allow", "Action": ["%s"], "Resource": %q}`, m[1], strings.Join(pushActions, `", "`), resource)}
}
