package ecs

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// A DeploymentError is a deployment that did not come to what was wanted.
type DeploymentError struct {
	Outcome    Outcome       `json:"outcome"`
	Cluster    string        `json:"cluster"`
	Service    string        `json:"service"`
	Deployment string        `json:"deployment"` // ARN of the service deployment, else the service's id for it
	Revision   string        `json:"revision"`   // that was deployed, "api:43"
	Reason     string        `json:"reason,omitempty"`
	Stopped    []StoppedTask `json:"stopped,omitempty"` // tasks of it that failed
	Serving    []Serving     `json:"serving,omitempty"`
	Cause      error         `json:"-"` // why it was interrupted
}

// Serving is a revision that has tasks now.
type Serving struct {
	Revision string            `json:"revision"` // "api:42"
	Images   map[string]string `json:"images"`   // by container
	Running  int32             `json:"running"`
	Desired  int32             `json:"desired"`
}

// String is the revision and its numbers in one line.
func (s Serving) String() string {
	return fmt.Sprintf("%s (%d of %d running)", s.Revision, s.Running, s.Desired)
}

func (e *DeploymentError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "service %s: deployment %s of %s ", e.Service, short(e.Deployment), e.Revision)
	switch e.Outcome {
	case RolledBack:
		b.WriteString("was rolled back")
	case TimedOut:
		b.WriteString("is not finished yet; it goes on")
	case Superseded:
		b.WriteString("was replaced by another one before it was finished")
	case Interrupted:
		b.WriteString("was interrupted")
	default:
		b.WriteString("failed")
	}
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if len(e.Serving) > 0 {
		var now []string
		for _, s := range e.Serving {
			now = append(now, s.String())
		}
		b.WriteString("; serving now: " + strings.Join(now, ", "))
	} else if e.Outcome != TimedOut {
		b.WriteString("; nothing is serving now")
	}
	return b.String()
}

func (e *DeploymentError) Unwrap() error { return e.Cause }

// Hint says how to go on.
func (e *DeploymentError) Hint() string {
	at := fmt.Sprintf("--cluster %s --service %s", short(e.Cluster), e.Service)
	for _, s := range e.Stopped {
		if s.Cure != "" {
			return s.Cure
		}
	}
	switch e.Outcome {
	case TimedOut, Interrupted:
		return fmt.Sprintf("`bake ecs wait %s` follows it, `bake ecs rollback %s` goes back", at, at)
	case Superseded:
		return fmt.Sprintf("`bake ecs status %s` shows which", at)
	case Failed:
		return fmt.Sprintf("`bake ecs rollback %s` goes back to the last revision that was good", at)
	}
	return fmt.Sprintf("`bake ecs logs %s` shows the tasks' output", at)
}

// TurnedBack reports whether the deployment was rolled back or timed out: the
// service is up, but not with what was wanted.
func (e *DeploymentError) TurnedBack() bool { return e.Outcome == RolledBack || e.Outcome == TimedOut }

// servingOf lists the revisions that have tasks, the wanted one first.
func servingOf(s *types.Service, images func(revision string) map[string]string) []Serving {
	if s == nil {
		return nil
	}
	var out []Serving
	for _, d := range s.Deployments {
		if d.RunningCount > 0 {
			out = append(out, Serving{Revision: short(aws.ToString(d.TaskDefinition)), Running: d.RunningCount, Desired: d.DesiredCount, Images: images(aws.ToString(d.TaskDefinition))})
		}
	}
	return out
}
