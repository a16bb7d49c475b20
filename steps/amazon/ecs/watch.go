package ecs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"golang.org/x/sync/errgroup"

	"bake/builder"
	"bake/steps/amazon"
)

// period is the time between two Describe calls about one service, however
// many tasks it has.
const period = time.Second

// patience is how long AWS may fail to answer before the watch is given up;
// the deployment goes on meanwhile.
const patience = 2 * time.Minute

// A watch follows one deployment of a service: it asks, the follower judges.
// In each period it makes one Describe call, of the service or of tasks that
// stopped, and cheap List calls: of the service deployments, whose status is
// the verdict, and of stopped tasks.
type watch struct {
	*Client
	story   Story
	service *types.Service // as the call that started the deployment answered
	follow  *follower
	wait    time.Duration
	passive bool // it only looks on: the service is not asked to go back

	known    map[string]bool   // tasks that are not of this deployment, or told already
	told     map[string]bool   // kinds of failures whose output was shown
	was      map[string]string // stages and healths that were told
	turn     int               // of Describe calls
	asked    int               // target groups
	pending  []string          // stopped tasks that were not described yet
	tasks    bool              // the last Describe was of tasks
	blind    bool              // service deployments cannot be listed here
	unlisted bool              // tasks cannot be listed here
	since    time.Time         // of the first of the failed answers in a row
	seen     time.Time         // when the service was described last
}

// run returns nil when the deployment has succeeded, else a *DeploymentError,
// or an error of AWS. If ctx ends, the service is asked to go back.
func (w *watch) run(ctx context.Context) error {
	deadline := time.NewTimer(w.wait)
	defer deadline.Stop()
	tick := time.NewTicker(period)
	defer tick.Stop()
	asked, interrupted := ctx, error(nil)
	w.told, w.was = map[string]bool{}, map[string]string{}
	j := w.take(ctx, observation{Service: w.service})
	for {
		switch {
		case j.Outcome == Succeeded && interrupted == nil:
			return nil
		case j.Outcome == Succeeded:
			w.follow.reason = "it had succeeded already"
			return w.ended(Interrupted, interrupted)
		case j.Outcome != GoingOn:
			return w.ended(j.Outcome, interrupted)
		case j.Hopeless != "" && !w.passive:
			w.follow.reason = j.Hopeless
			if err := w.goBack(asked, "it cannot succeed"); err != nil {
				return w.ended(Failed, errors.Join(interrupted, err))
			}
			deadline.Reset(w.wait)
		}
		select {
		case <-asked.Done():
			interrupted = context.Cause(ctx)
			if w.passive {
				return interrupted
			}
			asked = context.WithoutCancel(ctx)
			if err := w.turnBack(asked); err != nil {
				return w.ended(Interrupted, errors.Join(interrupted, err))
			}
		case <-deadline.C:
			return w.ended(TimedOut, interrupted)
		case <-tick.C:
		}
		var err error
		if j, err = w.look(asked); err != nil {
			return err
		}
	}
}

// take lets the follower judge, and tells what is new.
func (w *watch) take(ctx context.Context, o observation) judgement {
	j := w.follow.observe(o)
	for _, line := range j.Lines {
		w.story.Log("%s", line)
	}
	for _, s := range j.Stopped {
		w.tellStopped(ctx, s)
	}
	w.progress()
	return j
}

func (w *watch) progress() {
	p, ok := w.story.(interface{ Progress(builder.Progress) })
	if !ok || w.follow.last == nil {
		return
	}
	verb := "running"
	if s := w.follow.stage.now; s.Name != "" && s.Production > 0 {
		verb = fmt.Sprintf("%s, %g%% of the traffic,", s.Name, s.Production)
	}
	if ours, _ := w.follow.deployments(w.follow.last); ours != nil {
		p.Progress(builder.Progress{ID: short(w.follow.target.Revision), Verb: verb, Unit: "tasks",
			Done: int64(ours.RunningCount), Total: int64(ours.DesiredCount), Ended: ours.RolloutState == types.DeploymentRolloutStateCompleted})
	}
}

// look asks AWS once, and judges. An answer that fails is no verdict: it is
// asked again, for a while.
func (w *watch) look(ctx context.Context) (judgement, error) {
	var o observation
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { o.Briefs, err = w.briefs(gctx); return err })
	g.Go(func() error { return w.listStopped(gctx) })
	err := g.Wait()
	if err == nil {
		err = w.describe(ctx, &o)
	}
	switch {
	case err == nil:
		w.since = time.Time{}
		return w.take(ctx, o), nil
	case ctx.Err() != nil:
		return judgement{}, nil // run sees it too
	case w.since.IsZero():
		w.since = time.Now()
		w.story.Log("asking AWS about the deployment: %v", err)
	case time.Since(w.since) > patience:
		return judgement{}, fmt.Errorf("following deployment %s of service %s: %w", w.follow.target.Deployment, aws.ToString(w.service.ServiceName), w.explain(ctx, err))
	}
	return judgement{}, nil
}

// describe makes the one Describe call of this period.
func (w *watch) describe(ctx context.Context, o *observation) error {
	if len(w.pending) > 0 && !w.tasks {
		w.tasks = true
		batch := w.pending[:min(len(w.pending), 100)]
		out, err := w.ecs.DescribeTasks(ctx, &awsecs.DescribeTasksInput{Cluster: w.service.ClusterArn, Tasks: batch})
		if err != nil {
			return err
		}
		w.pending, o.Stopped = w.pending[len(batch):], out.Tasks
		return nil
	}
	w.tasks = false
	w.turn++
	switch {
	case w.blind:
	case w.staged() && w.turn%2 == 0:
		return w.describeStage(ctx, o)
	case len(groupsOf(w.service)) > 0 && w.turn%3 == 0:
		if told, err := w.describeTargets(ctx); told || err != nil {
			return err
		}
	}
	live, err := w.describeService(ctx, aws.ToString(w.service.ServiceArn))
	o.Service, w.seen = live, time.Now()
	return err
}

// staged reports whether the deployment moves traffic by stages, of which only
// its service deployment tells.
func (w *watch) staged() bool {
	c := w.service.DeploymentConfiguration
	return w.follow.target.ServiceDeployment != "" && !w.follow.target.Scale && c != nil && !rolling(c.Strategy)
}

// describeStage asks how far traffic has moved (DescribeServiceDeployments).
func (w *watch) describeStage(ctx context.Context, o *observation) error {
	out, err := w.ecs.DescribeServiceDeployments(ctx, &awsecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: []string{w.follow.target.ServiceDeployment}})
	if err != nil {
		return err
	}
	if len(out.ServiceDeployments) > 0 {
		o.Deployment, o.At = &out.ServiceDeployments[0], time.Now()
	}
	return nil
}

// describeTargets tells what the service's load balancers think of its tasks.
// It reports false if that cannot be asked.
func (w *watch) describeTargets(ctx context.Context) (bool, error) {
	groups := groupsOf(w.service)
	targets, err := w.health(ctx, groups[w.asked%len(groups)]) // one in each such period: it is one call
	w.asked++
	if err != nil {
		if mayNotAsk(err) {
			return false, nil
		}
		return false, err
	}
	for _, h := range targets {
		w.tellNew("target "+h.Target, strings.TrimSpace(h.State+" "+h.Reason))
	}
	return len(targets) > 0, nil
}

// tellNew tells what something is when it is not what it was.
func (w *watch) tellNew(what, is string) {
	if is != "" && w.was[what] != is {
		w.was[what] = is
		w.story.Log("%s is %s", what, is)
	}
}

// unknowable are the codes of a call that this account, region or caller has not got.
var unknowable = []string{"AccessDeniedException", "UnknownOperationException", "UnsupportedFeatureException", "InvalidAction"}

// briefs lists what became of the service's deployments since this one began
// (ListServiceDeployments).
func (w *watch) briefs(ctx context.Context) ([]types.ServiceDeploymentBrief, error) {
	if w.blind || w.follow.target.Scale {
		return nil, nil
	}
	in := &awsecs.ListServiceDeploymentsInput{Cluster: w.service.ClusterArn, Service: w.service.ServiceArn}
	if s := w.follow.target.Since; !s.IsZero() {
		in.CreatedAt = &types.CreatedAt{After: aws.Time(s.Add(-time.Minute))}
	}
	out, err := w.ecs.ListServiceDeployments(ctx, in)
	if amazon.IsCode(err, unknowable...) {
		w.blind = true
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return out.ServiceDeployments, nil
}

// listStopped notes the tasks of the service that stopped and were not seen yet.
func (w *watch) listStopped(ctx context.Context) error {
	if w.unlisted {
		return nil
	}
	arns, err := w.taskARNs(ctx, aws.ToString(w.service.ServiceName), types.DesiredStatusStopped)
	if amazon.IsCode(err, unknowable...) {
		w.unlisted = true
		w.story.Log("tasks cannot be listed: %v", err)
		return nil
	}
	for _, arn := range arns {
		if !w.known[arn] {
			w.known[arn] = true
			w.pending = append(w.pending, arn)
		}
	}
	return err
}

// tellStopped tells why a task stopped, with the last lines of its container.
func (w *watch) tellStopped(ctx context.Context, s StoppedTask) {
	w.story.Log("%s", s)
	kind := fmt.Sprint(s.Container, aws.ToInt32(s.ExitCode), s.Reason)
	if s.Container == "" || w.told[kind] {
		return // the same again: one example of its output is enough
	}
	w.told[kind] = true
	lines, where, err := w.tail(ctx, w.follow.target.Revision, s.Container, s.Task, tailLines)
	switch {
	case err != nil:
		w.story.Log("its output cannot be read: %v", err)
	case where == "":
		w.story.Log("its output is not kept in CloudWatch Logs")
	case len(lines) == 0:
		w.story.Log("it wrote nothing (%s)", where)
	default:
		w.story.Log("its last lines (%s):", where)
	}
	for _, line := range lines {
		w.story.Log("  | %s", line)
	}
	for i := range w.follow.failures {
		if w.follow.failures[i].ARN == s.ARN {
			w.follow.failures[i].Log = lines
		}
	}
}

// turnBack is what an interrupt does.
func (w *watch) turnBack(ctx context.Context) error {
	name := aws.ToString(w.service.ServiceName)
	w.story.Log("once more leaves the deployment as it is: `bake ecs wait --cluster %s --service %s` follows it then", short(aws.ToString(w.service.ClusterArn)), name)
	if w.follow.leaving || w.follow.target.Scale {
		return nil
	}
	return w.goBack(ctx, "interrupted")
}

// goBack asks the service to go back to what it ran before.
func (w *watch) goBack(ctx context.Context, why string) error {
	w.follow.leaving = true
	if w.follow.target.Before == "" {
		return errors.New("the service is new: there is nothing to go back to")
	}
	w.story.Log("%s: asking service %s to go back to %s", why, aws.ToString(w.service.ServiceName), short(w.follow.target.Before))
	arn := w.follow.target.ServiceDeployment
	if arn == "" {
		all, err := w.briefs(ctx)
		if err != nil {
			return w.explain(ctx, err)
		}
		if b := w.follow.brief(all); b != nil {
			arn = aws.ToString(b.ServiceDeploymentArn)
		}
	}
	if arn == "" {
		return w.deployBefore(ctx)
	}
	_, err := w.ecs.StopServiceDeployment(ctx, &awsecs.StopServiceDeploymentInput{ServiceDeploymentArn: &arn, StopType: types.StopServiceDeploymentStopTypeRollback})
	switch {
	case amazon.IsCode(err, "ConflictException"): // it goes back already, or is over
		return nil
	case amazon.IsCode(err, unknowable...):
		return w.deployBefore(ctx)
	case err != nil:
		return fmt.Errorf("asking it to go back: %w", w.explain(ctx, err))
	}
	return nil
}

// deployBefore goes back where service deployments cannot be stopped: it
// deploys the revision before. Doing it twice is doing it once.
func (w *watch) deployBefore(ctx context.Context) error {
	_, err := w.ecs.UpdateService(ctx, &awsecs.UpdateServiceInput{Service: w.service.ServiceArn, Cluster: w.service.ClusterArn, TaskDefinition: aws.String(w.follow.target.Before)})
	if err != nil {
		return fmt.Errorf("going back: %w", w.explain(ctx, err))
	}
	w.blind = true // what the service deployment says of itself is not what is waited for any more
	return nil
}

// ended is the error of a deployment that did not succeed, with what is
// serving now.
func (w *watch) ended(how Outcome, cause error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	live := w.follow.last
	if time.Since(w.seen) > period/2 {
		if fresh, err := w.describeService(ctx, aws.ToString(w.service.ServiceArn)); err == nil && fresh != nil {
			live = fresh
		}
	}
	if cause != nil && how == RolledBack {
		how = Interrupted
	}
	t := w.follow.target
	if n := len(w.follow.failures); n > 0 && !strings.Contains(w.follow.reason, w.follow.failures[n-1].Reason) {
		w.follow.reason = strings.Trim(w.follow.reason+"; "+w.follow.failures[n-1].String(), "; ")
	}
	if how == Superseded && live != nil {
		p := primaryOf(live)
		w.follow.reason = fmt.Sprintf("deployment %s of %s took its place", aws.ToString(p.Id), short(aws.ToString(p.TaskDefinition)))
	}
	e := &DeploymentError{
		Outcome: how, Cluster: aws.ToString(w.service.ClusterArn), Service: aws.ToString(w.service.ServiceName), Deployment: t.ServiceDeployment,
		Revision: short(t.Revision), Reason: w.follow.reason, Stopped: w.follow.failures, Cause: cause,
		Serving: servingOf(live, func(revision string) map[string]string { return w.imagesOf(ctx, revision) }),
	}
	if e.Deployment == "" {
		e.Deployment = t.Deployment
	}
	w.tellEnd(e)
	return e
}

// tellEnd tells at the end, where it is seen, what failed how often, the last
// lines of a container that failed, and what is serving now.
func (w *watch) tellEnd(e *DeploymentError) {
	const most = 10 // there were more when it failed
	count, lines := map[string]int{}, []string(nil)
	for _, s := range e.Stopped {
		count[s.what()]++
		if len(s.Log) > 0 {
			lines = s.Log[max(0, len(s.Log)-most):]
		}
	}
	for _, what := range slices.Sorted(maps.Keys(count)) {
		w.story.Log("failed: %d x %s", count[what], what)
	}
	for _, line := range lines {
		w.story.Log("  | %s", line)
	}
	for _, s := range e.Serving {
		w.story.Log("serving now: %s", s)
		for name, image := range s.Images {
			w.story.Log("  %s: %s", name, image)
		}
	}
}
