package ecs

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"bake/internal/lazyregexp"
)

// A StoppedTask is a task that ended, and why.
type StoppedTask struct {
	Task      string    `json:"task"`                // its id
	Code      string    `json:"code,omitempty"`      // AWS's stop code: EssentialContainerExited, ...
	Reason    string    `json:"reason"`              // what AWS says, of the task or its container
	Container string    `json:"container,omitempty"` // the one that ended it
	ExitCode  *int32    `json:"exit_code,omitempty"`
	Ran       float64   `json:"ran_seconds,omitempty"`
	Stopped   time.Time `json:"stopped,omitzero"`
	Cure      string    `json:"cure,omitempty"` // what to do, where that is known
	Log       []string  `json:"log,omitempty"`  // the container's last lines

	// Hopeless says that no later task of the same revision can do better.
	Hopeless bool `json:"hopeless,omitempty"`
	// Crashed says that a container ended by itself, soon after it began.
	Crashed bool   `json:"crashed,omitempty"`
	ARN     string `json:"-"`
}

// String is the task and its reason in one line.
func (s StoppedTask) String() string { return "task " + short(s.Task) + " stopped: " + s.what() }

// what is the reason alone, which tasks may have in common.
func (s StoppedTask) what() string {
	var b strings.Builder
	if s.Container != "" {
		fmt.Fprintf(&b, "container %s", s.Container)
		if s.ExitCode != nil {
			fmt.Fprintf(&b, " exited with %d", *s.ExitCode)
			if signal := signalOf(*s.ExitCode); signal != "" {
				fmt.Fprintf(&b, " (%s)", signal)
			}
		}
	}
	if s.Reason != "" && b.Len() > 0 {
		b.WriteString(": ")
	}
	return b.String() + s.Reason
}

// signalOf names what a shell's exit code above 128 means, for those that
// need explaining.
func signalOf(code int32) string {
	switch code {
	case 137:
		return "killed: out of memory, or it did not stop in time"
	case 139:
		return "segmentation fault"
	case 143:
		return "terminated"
	case 127:
		return "command not found"
	case 126:
		return "command cannot be executed"
	}
	return ""
}

// soon is how long a container has to run at least not to count as one that
// ends as soon as it begins.
const soon = time.Minute

// stopped explains a stopped task. ok is false for a task that was stopped
// because there are to be fewer of it: that is no failure.
func stopped(t types.Task) (s StoppedTask, ok bool) {
	s = StoppedTask{
		ARN: aws.ToString(t.TaskArn), Task: short(aws.ToString(t.TaskArn)), Code: string(t.StopCode),
		Reason: aws.ToString(t.StoppedReason), Stopped: aws.ToTime(t.StoppedAt),
	}
	if isScaling(s.Reason) {
		return s, false
	}
	end := t.ExecutionStoppedAt
	if end == nil {
		end = t.StoppedAt
	}
	if t.StartedAt != nil && end != nil {
		s.Ran = end.Sub(*t.StartedAt).Seconds()
	}
	if c := culprit(t); c != nil {
		s.Container, s.ExitCode = aws.ToString(c.Name), c.ExitCode
		if why := aws.ToString(c.Reason); why != "" {
			s.Reason = why
		}
	}
	s.Cure, s.Hopeless = hopeless(s.Reason)
	s.Crashed = t.StopCode == types.TaskStopCodeEssentialContainerExited && s.Ran < soon.Seconds()
	return s, true
}

// isScaling recognises what the scheduler says of tasks that it does not need
// any more.
func isScaling(reason string) bool {
	return strings.HasPrefix(reason, "Scaling activity initiated by")
}

// culprit is the container that ended the task: one that failed before one
// that merely ended.
func culprit(t types.Task) *types.Container {
	var ended, named *types.Container
	for i := range t.Containers {
		c := &t.Containers[i]
		switch {
		case c.ExitCode != nil && *c.ExitCode != 0 && *c.ExitCode != 143 && aws.ToInt32(c.ExitCode) != 137:
			return c
		case aws.ToString(c.Reason) != "":
			named = c
		case c.ExitCode != nil && ended == nil:
			ended = c
		}
	}
	if named != nil {
		return named
	}
	if ended == nil || t.StopCode == types.TaskStopCodeUserInitiated || t.StopCode == types.TaskStopCodeServiceSchedulerInitiated {
		return nil
	}
	return ended
}

// Reasons that no further attempt heals, with what to do. The first that fits counts.
var hopelessReasons = []struct {
	pattern *lazyregexp.Regexp
	cure    string
}{
	{lazyregexp.New(`(?i)CannotPull.*(timeout|deadline|connection reset|TooManyRequests|toomanyrequests|rate limit|5\d\d |EOF|temporar)`), ""},
	{lazyregexp.New(`(?i)CannotPull.*(not found|manifest unknown|does not exist|not exist)`),
		"the image or its tag is not in the registry: push it, or correct `image`"},
	{lazyregexp.New(`(?i)CannotPull.*(platform|descriptor matching|exec format)`),
		"the image is not made for the task's platform: build it for that, or set runtimePlatform in the task definition"},
	{lazyregexp.New(`(?i)CannotPull.*(denied|unauthorized|no basic auth|forbidden|401|403|authorization)`),
		"the execution role may not pull the image: it needs ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:GetDownloadUrlForLayer"},
	{lazyregexp.New(`(?i)CannotPull`), "look at the image's name, and at the way from the task's subnets to the registry"},
	{lazyregexp.New(`(?i)ResourceInitializationError.*(timeout|deadline|i/o|connect)`),
		"the task's subnets have no way to the service: it needs a NAT gateway, VPC endpoints or a public IP"},
	{lazyregexp.New(`(?i)ResourceInitializationError.*(secret|parameter|ssm|secretsmanager|AccessDenied|ResourceNotFound|ParameterNotFound|InvalidParameter)`),
		"a secret or parameter is missing, or the execution role may not read it; `bake ecs verify` says which"},
	{lazyregexp.New(`(?i)ResourceInitializationError`), "`bake ecs verify` looks at what the task needs"},
	{lazyregexp.New(`(?i)CannotStartContainer.*(no such file|not found|permission denied|exec format|not a directory)`),
		"the container's command or entrypoint is not in the image, or cannot be executed on the task's platform"},
	{lazyregexp.New(`(?i)CannotCreateContainer|CannotCreateVolume|InvalidParameter.*container`), "Docker refuses the container's definition"},
	{lazyregexp.New(`(?i)unable to assume the role`), "the role must exist and its trust policy must let ecs-tasks.amazonaws.com assume it; `bake ecs verify` looks at that"},
	{lazyregexp.New(`(?i)exec format error`), "the image is made for another processor than the task's"},
	{lazyregexp.New(`(?i)(log group|log stream).*(not exist|not found)|ResourceNotFoundException.*log`),
		"make the log group, or set awslogs-create-group"},
}

// hopeless reports whether no further task of the same revision can do better,
// and what can be done about it.
func hopeless(reason string) (cure string, is bool) {
	for _, h := range hopelessReasons {
		if h.pattern.MatchString(reason) {
			return h.cure, h.cure != ""
		}
	}
	return "", false
}
