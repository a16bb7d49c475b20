package launch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/steps/amazon"
)

// noCapacity are the codes that say that there is no room here, and there may
// be elsewhere: another type, another zone, another market.
var noCapacity = []string{
	"InsufficientInstanceCapacity", "InsufficientCapacity", "InsufficientHostCapacity",
	"InsufficientReservedInstanceCapacity", "InsufficientFreeAddressesInSubnet", "InsufficientAddressCapacity",
	"ReservationCapacityExceeded", "InsufficientCapacityReservation", "CapacityReservationFull",
	"Unsupported", "UnsupportedInstanceTypeOnHost",
	"SpotMaxPriceTooLow", "MaxSpotInstanceCountExceeded", "MaxSpotFleetRequestCountExceeded",
	"InstanceLimitExceeded", "VcpuLimitExceeded",
}

// IsCapacity reports whether an error of RunInstances means that another type
// or zone may have room.
func IsCapacity(err error) bool { return amazon.IsCode(err, noCapacity...) }

// Died tells the reason of an instance that ended before it was of use, as its
// state says: "Server.InsufficientInstanceCapacity", "Client.InternalError".
type Died struct {
	ID, State string
	Code      string // of its state reason
	Message   string
}

func (e *Died) Error() string {
	text := fmt.Sprintf("instance %s is %s", e.ID, e.State)
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Hint says what to do.
func (e *Died) Hint() string {
	switch e.Code {
	case "Client.InternalError", "Client.InvalidSnapshot.NotFound":
		return "most often the KMS key of a volume cannot be used: is it enabled, and does its policy let EC2 and the caller use it?"
	case "Client.VolumeLimitExceeded":
		return "delete volumes or ask for a higher quota (Service Quotas, EBS)"
	case "Server.SpotInstanceTermination", "Server.SpotInstanceShutdown":
		return "AWS took the spot capacity back: build on demand, or try again"
	case "Client.InstanceInitiatedShutdown":
		return "something on the machine shut it down; its dead-man timer does so when bake is gone for too long (machine lifetime)"
	}
	return ""
}

// Elsewhere reports whether the instance may live when it is started elsewhere.
func (e *Died) Elsewhere() bool {
	return strings.HasPrefix(e.Code, "Server.Insufficient") || strings.HasPrefix(e.Code, "Server.Spot")
}

// Alive returns nil while an instance is on its way up or up, else *Died.
func Alive(i types.Instance) error {
	var state types.InstanceStateName
	if i.State != nil {
		state = i.State.Name
	}
	switch state {
	case types.InstanceStateNamePending, types.InstanceStateNameRunning, "":
		return nil
	}
	e := &Died{ID: aws.ToString(i.InstanceId), State: string(state)}
	if i.StateReason != nil {
		e.Code, e.Message = aws.ToString(i.StateReason.Code), aws.ToString(i.StateReason.Message)
	}
	if e.Message == "" {
		e.Message = aws.ToString(i.StateTransitionReason)
	}
	return e
}

// A CapacityError says that an instance could be started nowhere.
type CapacityError struct {
	Tries []Try
	Errs  []error // of each
}

func (e *CapacityError) Error() string {
	var b strings.Builder
	b.WriteString("no capacity for the instance anywhere")
	for i, t := range e.Tries {
		fmt.Fprintf(&b, "\n  %s: %s", t, reason(e.Errs[i]))
	}
	return b.String()
}

// Unwrap returns the errors of all tries.
func (e *CapacityError) Unwrap() []error { return e.Errs }

// Hint says what to do.
func (e *CapacityError) Hint() string {
	return "name more types and subnets in machine: {type: [...], subnet: [...]}; they are tried in turn"
}

// reason is the code and message of AWS alone.
func reason(err error) string {
	var api interface {
		ErrorCode() string
		ErrorMessage() string
	}
	if errors.As(err, &api) {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	return err.Error()
}

// A Starter starts one instance.
type Starter struct {
	Client *ec2.Client
	Spec   Spec
	Tries  []Try
	// First is the try to begin with: an earlier process was there when it died.
	First int
	// Trying is told of each try before its call; an error stops. It may be nil.
	Trying func(n int, t Try) error
	// Log is told of each try that has no room. It may be nil.
	Log func(format string, args ...any)
	// Settle is how long AWS may not know what the instance is started with,
	// because it was just made: its key pair, security group, profile, image.
	Settle time.Duration
}

// Start starts the instance at the first of the tries that has room
// (RunInstances, with a client token made of token). The error is a
// *CapacityError if none has.
func (s Starter) Start(ctx context.Context, token string) (types.Instance, error) {
	full := &CapacityError{}
	for n := s.First; n < len(s.Tries); n++ {
		t := s.Tries[n]
		if s.Trying != nil {
			if err := s.Trying(n, t); err != nil {
				return types.Instance{}, err
			}
		}
		instance, err := s.try(ctx, t, fmt.Sprintf("%s-%d", token, n))
		if !IsCapacity(err) {
			return instance, err
		}
		full.Tries, full.Errs = append(full.Tries, t), append(full.Errs, err)
		if s.Log != nil {
			s.Log("no room for %s: %s", t, reason(err))
		}
	}
	if len(full.Tries) == 1 {
		return types.Instance{}, fmt.Errorf("starting %s: %w", full.Tries[0], full.Errs[0])
	}
	return types.Instance{}, full
}

func (s Starter) try(ctx context.Context, t Try, token string) (types.Instance, error) {
	in := s.Spec.Input(t, token)
	began, wait := time.Now(), 200*time.Millisecond
	for {
		out, err := s.Client.RunInstances(ctx, in, notForCapacity)
		switch {
		case err == nil && len(out.Instances) == 1:
			return out.Instances[0], nil
		case err == nil:
			return types.Instance{}, fmt.Errorf("starting %s: AWS started %d instances", t, len(out.Instances))
		case amazon.IsCode(err, "IdempotentParameterMismatch"):
			return s.byToken(ctx, token, err)
		case time.Since(began) < s.Settle && (amazon.IsCode(err, notThereYet...) || profileUnknown(err)):
			if err := pause(ctx, wait); err != nil {
				return types.Instance{}, err
			}
			wait = min(2*wait, 5*time.Second)
		default:
			return types.Instance{}, fmt.Errorf("starting %s: %w", t, err)
		}
	}
}

// notThereYet are the codes for what is not there, or not known yet.
var notThereYet = []string{"InvalidKeyPair.NotFound", "InvalidGroup.NotFound", "InvalidGroupId.NotFound", "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidNetworkInterfaceID.NotFound"}

// notForCapacity keeps the SDK from asking again and again where there is no
// room: AWS answers that with a server error, which it would repeat for minutes.
func notForCapacity(o *ec2.Options) { o.Retryer = capacityRetryer{o.Retryer} }

type capacityRetryer struct{ aws.Retryer }

func (r capacityRetryer) IsErrorRetryable(err error) bool {
	return !IsCapacity(err) && r.Retryer.IsErrorRetryable(err)
}

// profileUnknown reports whether EC2 does not know an instance profile (yet):
// IAM is eventually consistent. The code is that of any wrong parameter.
func profileUnknown(err error) bool {
	return amazon.IsCode(err, "InvalidParameterValue") && strings.Contains(strings.ToLower(reason(err)), "iaminstanceprofile") ||
		amazon.IsCode(err, "InvalidParameterValue") && strings.Contains(reason(err), "Invalid IAM Instance Profile")
}

// byToken finds the instance that an earlier process started with the token,
// and with other parameters: an option of the machine has changed since.
func (s Starter) byToken(ctx context.Context, token string, cause error) (types.Instance, error) {
	out, err := s.Client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{amazon.Filter("client-token", token)}})
	if err != nil {
		return types.Instance{}, fmt.Errorf("looking for the instance of an earlier attempt: %w", err)
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			return i, nil
		}
	}
	return types.Instance{}, cause
}

// Check asks whether the caller may start the instance, and whether AWS takes
// what it is started with (RunInstances with DryRun).
func (s Starter) Check(ctx context.Context) error {
	in := s.Spec.Input(s.Tries[s.First], "")
	in.DryRun = aws.Bool(true)
	_, err := s.Client.RunInstances(ctx, in, notForCapacity)
	switch {
	case err == nil, amazon.IsCode(err, "DryRunOperation"), IsCapacity(err):
		return nil
	}
	return fmt.Errorf("trying out whether an instance can be started: %w", err)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
