package ecs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// A Stage is how far a deployment has come that moves traffic: blue/green,
// linear or canary.
type Stage struct {
	Name       string        `json:"stage"`              // "production traffic shift", "bake time", ...
	Production float64       `json:"production_percent"` // of the traffic that the new revision gets
	Test       float64       `json:"test_percent"`       // of the test traffic
	Left       time.Duration `json:"-"`                  // until the next step, or the end of the bake time; 0: it does not wait
	Until      time.Time     `json:"until,omitzero"`     // when that is over
	Hooks      []Hook        `json:"hooks,omitempty"`    // that hold the stage up
}

// A Hook is a lifecycle hook that is not over.
type Hook struct {
	ID        string    `json:"id"`
	Pause     bool      `json:"pause"`            // it waits for ContinueServiceDeployment
	Target    string    `json:"target,omitempty"` // function that decides otherwise
	Until     time.Time `json:"until,omitzero"`
	Otherwise string    `json:"otherwise,omitempty"` // what AWS does then: CONTINUE or ROLLBACK
}

// stageOf is what a service deployment tells of its stage, but for the time
// that it waits.
func stageOf(d *types.ServiceDeployment) Stage {
	s := Stage{Name: strings.ToLower(strings.ReplaceAll(string(d.LifecycleStage), "_", " "))}
	if r := d.TargetServiceRevision; r != nil {
		s.Production, s.Test = aws.ToFloat64(r.RequestedProductionTrafficWeight), aws.ToFloat64(r.RequestedTestTrafficWeight)
	}
	for _, h := range d.LifecycleHookDetails {
		if h.Status == types.DeploymentLifecycleHookStatusAwaitingAction || h.Status == types.DeploymentLifecycleHookStatusInProgress {
			s.Hooks = append(s.Hooks, Hook{ID: aws.ToString(h.HookId), Pause: h.TargetType == types.DeploymentLifecycleHookTargetTypePause,
				Target: aws.ToString(h.TargetArn), Until: aws.ToTime(h.ExpiresAt), Otherwise: string(h.TimeoutAction)})
		}
	}
	return s
}

// waits sets how long the stage still lasts by what is configured. since is
// when it began, or the traffic's share changed; at is now.
func (s *Stage) waits(d *types.ServiceDeployment, since, at time.Time) {
	if wait := stageWait(d.DeploymentConfiguration, d.LifecycleStage, s.Production); wait > 0 && len(s.Hooks) == 0 {
		s.Until = since.Add(wait)
		s.Left = max(0, s.Until.Sub(at))
	}
}

// stageWait is how long a deployment stays as it is by what is configured.
func stageWait(c *types.DeploymentConfiguration, stage types.ServiceDeploymentLifecycleStage, percent float64) time.Duration {
	if c == nil {
		return 0
	}
	switch {
	case stage == types.ServiceDeploymentLifecycleStageBakeTime:
		return time.Duration(aws.ToInt32(c.BakeTimeInMinutes)) * time.Minute
	case stage != types.ServiceDeploymentLifecycleStageProductionTrafficShift || percent <= 0 || percent >= 100:
		return 0
	}
	_, wait := trafficStep(c)
	return wait
}

// AWS's defaults of how traffic moves.
const (
	canaryPercent, canaryMinutes = 5, 10
	linearPercent, linearMinutes = 10, 6
)

// trafficStep is how much traffic moves at once, in percent, and how long the
// deployment waits then.
func trafficStep(c *types.DeploymentConfiguration) (percent float64, wait time.Duration) {
	percent, minutes := 100.0, int32(0)
	switch c.Strategy {
	case types.DeploymentStrategyCanary:
		percent, minutes = canaryPercent, canaryMinutes
		if k := c.CanaryConfiguration; k != nil {
			percent, minutes = or(k.CanaryPercent, percent), or(k.CanaryBakeTimeInMinutes, minutes)
		}
	case types.DeploymentStrategyLinear:
		percent, minutes = linearPercent, linearMinutes
		if k := c.LinearConfiguration; k != nil {
			percent, minutes = or(k.StepPercent, percent), or(k.StepBakeTimeInMinutes, minutes)
		}
	}
	return percent, time.Duration(minutes) * time.Minute
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// shifting is how long a deployment waits on purpose: between the steps that
// move traffic, and while old tasks stay after the last.
func shifting(c *types.DeploymentConfiguration) time.Duration {
	if c == nil || rolling(c.Strategy) {
		return 0
	}
	total := time.Duration(aws.ToInt32(c.BakeTimeInMinutes)) * time.Minute
	percent, wait := trafficStep(c)
	switch {
	case percent <= 0 || percent >= 100:
	case c.Strategy == types.DeploymentStrategyCanary:
		total += wait
	case c.Strategy == types.DeploymentStrategyLinear:
		steps := int(99.999/percent) + 1 // the last one ends it
		total += time.Duration(steps-1) * wait
	}
	return total
}

// A stageMemory is what was told of a deployment's stages.
type stageMemory struct {
	now     Stage     // without a name: nothing was seen yet
	since   time.Time // when the name, or the share of the traffic, became so
	minutes int       // of waiting that were said to be left
	hooks   []string
}

// take notes what a service deployment tells and returns what is new in it.
// revision is the new one, goOn how a pause is ended, at is now.
func (m *stageMemory) take(d *types.ServiceDeployment, revision, goOn string, at time.Time) []string {
	if d.LifecycleStage == "" {
		return nil // it is over, or goes back
	}
	s := stageOf(d)
	fresh := s.Name != m.now.Name || s.Production != m.now.Production || s.Test != m.now.Test
	if fresh {
		m.since = at
		if up := aws.ToTime(d.UpdatedAt); m.now.Name == "" && !up.IsZero() && up.Before(at) {
			m.since = up // it was so before this look: since then, as far as AWS tells
		}
	}
	s.waits(d, m.since, at)
	m.now = s
	var lines []string
	left := int(s.Left / time.Minute)
	switch {
	case fresh:
		lines = append(lines, "stage "+s.describe(revision))
	case left < m.minutes && s.Left > 0:
		lines = append(lines, fmt.Sprintf("stage %s: %s left", s.Name, s.Left.Round(time.Second)))
	}
	m.minutes = left
	for _, h := range s.Hooks {
		if !slices.Contains(m.hooks, h.ID) {
			m.hooks = append(m.hooks, h.ID)
			lines = append(lines, h.describe(goOn))
		}
	}
	return lines
}

// describe is the stage in words: which revision gets what, and how long it waits.
func (s Stage) describe(revision string) string {
	text := s.Name
	if s.Production > 0 || strings.Contains(s.Name, "production") {
		text += fmt.Sprintf(": %g%% of the traffic goes to %s", s.Production, revision)
	}
	if s.Test > 0 && s.Production == 0 {
		text += fmt.Sprintf(": %g%% of the test traffic goes to %s", s.Test, revision)
	}
	switch {
	case s.Left == 0:
	case s.Name == "bake time":
		text += fmt.Sprintf(", %s left", s.Left.Round(time.Second))
	default:
		text += fmt.Sprintf(", more in %s", s.Left.Round(time.Second))
	}
	return text
}

// String is the stage in words, with what holds it up.
func (s Stage) String() string {
	text := s.describe("the new revision")
	for _, h := range s.Hooks {
		text += "; " + h.describe("`bake ecs continue` goes on, with --rollback it goes back")
	}
	return text
}

// describe says what the hook waits for, and what happens if nothing comes.
func (h Hook) describe(goOn string) string {
	text := "the lifecycle hook " + short(h.Target) + " decides"
	if h.Pause {
		text = "paused by lifecycle hook " + h.ID + ": " + goOn
	}
	if !h.Until.IsZero() {
		then := "it goes back"
		if h.Otherwise == string(types.DeploymentLifecycleHookActionContinue) {
			then = "it goes on"
		}
		text += fmt.Sprintf("; at %s %s by itself", h.Until.UTC().Format("15:04:05 MST on 2 January"), then)
	}
	return text
}
