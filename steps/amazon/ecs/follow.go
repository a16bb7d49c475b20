package ecs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// An Outcome is how a deployment ended.
type Outcome string

// The outcomes. GoingOn is not one yet.
const (
	GoingOn     Outcome = ""
	Succeeded   Outcome = "succeeded"
	Failed      Outcome = "failed"      // and it did not go back
	RolledBack  Outcome = "rolled back" // the service is where it was before
	Superseded  Outcome = "superseded"  // somebody deployed something else in the middle of it
	TimedOut    Outcome = "timed out"   // it is still going on
	Interrupted Outcome = "interrupted"
)

// A target is the deployment that is followed.
type target struct {
	Deployment        string    // the service's id for it, "ecs-svc/1234"; its tasks are started by it
	ServiceDeployment string    // ARN, as far as it is known
	Revision          string    // ARN of the task definition that it brings
	Before            string    // ARN of the one before; empty: the service is new
	Since             time.Time // it is not older than that
	Scale             bool      // no deployment: the same one gets another number of tasks
}

// An observation is what AWS answered at one moment.
type observation struct {
	Service *types.Service                 // nil: not asked this time
	Briefs  []types.ServiceDeploymentBrief // newest first; nil: not known
	Stopped []types.Task                   // seen for the first time
	// Deployment is the service deployment that is followed; nil: not asked this time.
	Deployment *types.ServiceDeployment
	At         time.Time // when it was so
}

// A follower decides what the answers of AWS mean for one deployment. It asks
// nothing itself: the same observations give the same verdict.
type follower struct {
	target  target
	giveUp  int  // quick exits of its tasks after which it is not worth waiting; 0: the service decides
	leaving bool // the service was asked to go back, or goes back by itself

	failures []StoppedTask
	reason   string          // why it fails, in AWS's words
	rows     map[string]row  // of the deployments, as told last
	events   map[string]bool // told, by id
	last     *types.Service
	status   types.ServiceDeploymentStatus
	stage    stageMemory
}

// A row is one line of the table of deployments.
type row struct {
	Deployment string `json:"deployment"` // "ecs-svc/1234"
	Revision   string `json:"revision"`   // "api:42"
	Status     string `json:"status"`     // PRIMARY, ACTIVE, DRAINING
	Rollout    string `json:"rollout"`    // IN_PROGRESS, COMPLETED, FAILED
	Desired    int32  `json:"desired"`
	Running    int32  `json:"running"`
	Pending    int32  `json:"pending"`
	Failed     int32  `json:"failed"`
}

// String is the row for people.
func (r row) String() string {
	s := fmt.Sprintf("%-12s %-9s %3d desired %3d running %3d pending", r.Revision, strings.ToLower(r.Status), r.Desired, r.Running, r.Pending)
	if r.Failed > 0 {
		s += fmt.Sprintf(" %3d failed", r.Failed)
	}
	if r.Rollout != "" {
		s += "  " + strings.ToLower(strings.ReplaceAll(r.Rollout, "_", " "))
	}
	return s
}

func newFollower(t target, giveUp int) *follower {
	return &follower{target: t, giveUp: giveUp, rows: map[string]row{}, events: map[string]bool{}}
}

// A judgement is what follows from an observation.
type judgement struct {
	Lines    []string      // what is new, to be told
	Stopped  []StoppedTask // tasks of this deployment that failed, new ones
	Outcome  Outcome
	Hopeless string // not empty: it is not worth waiting; the service should go back
}

// observe takes in what AWS answered.
func (f *follower) observe(o observation) judgement {
	var j judgement
	if o.Service != nil {
		f.last = o.Service
		j.Lines = append(f.newRows(o.Service), f.newEvents(o.Service)...)
	}
	if d := o.Deployment; d != nil {
		j.Lines = append(j.Lines, f.stage.take(d, short(f.target.Revision), f.goOn(d), o.At)...)
	}
	for _, t := range o.Stopped {
		if aws.ToString(t.StartedBy) != f.target.Deployment {
			continue
		}
		if s, failed := stopped(t); failed {
			f.failures = append(f.failures, s)
			j.Stopped = append(j.Stopped, s)
		}
	}
	j.Outcome = f.outcome(o)
	if j.Outcome == GoingOn && !f.leaving {
		j.Hopeless = f.hopeless()
	}
	return j
}

// goOn is how a paused deployment is told to go on.
func (f *follower) goOn(d *types.ServiceDeployment) string {
	at := ""
	if parts := strings.Split(aws.ToString(d.ServiceArn), "/"); len(parts) == 3 {
		at = fmt.Sprintf(" --cluster %s --service %s", parts[1], parts[2])
	}
	return fmt.Sprintf("`bake ecs continue%s` goes on, with --rollback it goes back", at)
}

// newRows lists the deployments whose numbers changed, ours first.
func (f *follower) newRows(s *types.Service) []string {
	var lines []string
	for _, d := range s.Deployments {
		r := rowOf(d)
		if f.rows[r.Deployment] != r {
			f.rows[r.Deployment] = r
			lines = append(lines, r.String())
		}
	}
	return lines
}

func rowOf(d types.Deployment) row {
	return row{
		Deployment: aws.ToString(d.Id), Revision: short(aws.ToString(d.TaskDefinition)), Status: aws.ToString(d.Status),
		Rollout: string(d.RolloutState), Desired: d.DesiredCount, Running: d.RunningCount, Pending: d.PendingCount, Failed: d.FailedTasks,
	}
}

// newEvents lists the service's events since the deployment began that were
// not told yet, oldest first.
func (f *follower) newEvents(s *types.Service) []string {
	var lines []string
	for _, e := range slices.Backward(s.Events) {
		id := aws.ToString(e.Id)
		if f.events[id] || aws.ToTime(e.CreatedAt).Before(f.target.Since) {
			continue
		}
		f.events[id] = true
		lines = append(lines, aws.ToString(e.Message))
	}
	return lines
}

// outcome asks the service deployments first: they say what became of this
// one deployment. The service itself only says what it runs now, which after a
// rollback looks just as well.
func (f *follower) outcome(o observation) Outcome {
	if f.target.Scale {
		return f.scaled(o.Service)
	}
	if brief := f.brief(o.Briefs); brief != nil {
		f.target.ServiceDeployment = aws.ToString(brief.ServiceDeploymentArn)
		return f.judgeBrief(brief, o.Briefs)
	}
	if o.Service == nil {
		return GoingOn
	}
	return f.judgeService(o.Service)
}

// brief is the service deployment that is followed, among those listed. Its
// target's revision is numbered as the service numbers the deployment.
func (f *follower) brief(all []types.ServiceDeploymentBrief) *types.ServiceDeploymentBrief {
	number := f.target.Deployment[strings.LastIndexByte(f.target.Deployment, '/')+1:]
	var youngest *types.ServiceDeploymentBrief
	for i := range all {
		b := &all[i]
		arn := aws.ToString(b.ServiceDeploymentArn)
		if f.target.ServiceDeployment != "" {
			if arn == f.target.ServiceDeployment {
				return b
			}
			continue
		}
		if strings.HasSuffix(aws.ToString(b.TargetServiceRevisionArn), "/"+number) {
			return b
		}
		if !aws.ToTime(b.CreatedAt).Before(f.target.Since) && (youngest == nil || aws.ToTime(b.CreatedAt).Before(aws.ToTime(youngest.CreatedAt))) {
			youngest = b // the first one since ours began
		}
	}
	return youngest
}

func (f *follower) judgeBrief(b *types.ServiceDeploymentBrief, all []types.ServiceDeploymentBrief) Outcome {
	if why := aws.ToString(b.StatusReason); why != "" {
		f.reason = why
	}
	f.status = b.Status
	switch b.Status {
	case types.ServiceDeploymentStatusSuccessful:
		return Succeeded
	case types.ServiceDeploymentStatusRollbackRequested, types.ServiceDeploymentStatusRollbackInProgress:
		f.leaving = true
	case types.ServiceDeploymentStatusRollbackSuccessful:
		return RolledBack
	case types.ServiceDeploymentStatusRollbackFailed:
		return Failed
	case types.ServiceDeploymentStatusStopped:
		for _, other := range all { // newest first; two may be of one moment
			if aws.ToString(other.ServiceDeploymentArn) == aws.ToString(b.ServiceDeploymentArn) {
				break
			}
			if !aws.ToTime(other.CreatedAt).Before(aws.ToTime(b.CreatedAt)) {
				return Superseded
			}
		}
		return Failed
	}
	return GoingOn
}

// judgeService is for services and credentials that know no service
// deployments.
func (f *follower) judgeService(s *types.Service) Outcome {
	ours, primary := f.deployments(s)
	if ours != nil {
		if why := aws.ToString(ours.RolloutStateReason); why != "" && ours.RolloutState == types.DeploymentRolloutStateFailed {
			f.reason = why
		}
		switch ours.RolloutState {
		case types.DeploymentRolloutStateCompleted:
			if primary == ours {
				return Succeeded
			}
		case types.DeploymentRolloutStateFailed:
			f.leaving = true
			if primary == ours && !goesBack(s) {
				return Failed
			}
		}
	}
	if primary == nil || primary == ours {
		return GoingOn
	}
	back := aws.ToString(primary.TaskDefinition) == f.target.Before || f.leaving
	switch {
	case !back:
		return Superseded
	case primary.RolloutState == types.DeploymentRolloutStateCompleted:
		return RolledBack
	}
	f.leaving = true
	return GoingOn
}

func goesBack(s *types.Service) bool {
	c := s.DeploymentConfiguration
	return c != nil && c.DeploymentCircuitBreaker != nil && c.DeploymentCircuitBreaker.Rollback
}

// deployments finds ours and the one that the service wants to have.
func (f *follower) deployments(s *types.Service) (ours, primary *types.Deployment) {
	for i := range s.Deployments {
		d := &s.Deployments[i]
		if aws.ToString(d.Id) == f.target.Deployment {
			ours = d
		}
		if aws.ToString(d.Status) == "PRIMARY" {
			primary = d
		}
	}
	return ours, primary
}

// scaled is for a change of the number of tasks alone.
func (f *follower) scaled(s *types.Service) Outcome {
	if s == nil {
		return GoingOn
	}
	ours, primary := f.deployments(s)
	switch {
	case primary == nil:
		return GoingOn
	case primary != ours:
		return Superseded
	case s.RunningCount == s.DesiredCount && s.PendingCount == 0 && len(s.Deployments) == 1:
		return Succeeded
	}
	return GoingOn
}

// hopeless is why the deployment is not worth waiting for; empty if it may
// still come to something.
func (f *follower) hopeless() string {
	crashes := 0
	for _, s := range f.failures {
		if s.Hopeless {
			return s.String()
		}
		if s.Crashed {
			crashes++
		}
	}
	if f.giveUp == 0 || crashes < f.giveUp || f.upAndRunning() {
		return ""
	}
	last := f.failures[len(f.failures)-1]
	return fmt.Sprintf("%d tasks ended as soon as they began; the last: %s", crashes, last)
}

// upAndRunning reports whether all tasks that the deployment shall have run:
// then what stops is not for us to judge.
func (f *follower) upAndRunning() bool {
	if f.last == nil {
		return false
	}
	ours, _ := f.deployments(f.last)
	return ours != nil && ours.DesiredCount > 0 && ours.RunningCount >= ours.DesiredCount
}
