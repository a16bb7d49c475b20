package instance

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/steps/amazon/launch"
)

// defaultPatience is how long an instance may take to be ready.
const defaultPatience = 10 * time.Minute

// ready waits until the instance runs and shows what the template wants to see.
func (s *starter) ready(ctx context.Context, id string) (types.Instance, error) {
	patience := cmp.Or(s.Wait.Timeout, defaultPatience)
	ctx, cancel := context.WithTimeoutCause(ctx, patience, &NotReadyError{ID: id, After: patience, Ports: s.Wait.Port})
	defer cancel()
	i, err := s.cloud.WaitInstance(ctx, s.access, id, func(i types.Instance) (bool, error) {
		return i.State != nil && i.State.Name == types.InstanceStateNameRunning && address(i) != "", launch.Alive(i)
	})
	if err != nil {
		return i, err
	}
	for _, port := range s.Wait.Port {
		if err := s.answers(ctx, net.JoinHostPort(address(i), port)); err != nil {
			return i, err
		}
	}
	if s.Wait.Checks {
		err = s.healthy(ctx, id)
	}
	return i, err
}

// NotReadyError is a new instance that did not get there.
type NotReadyError struct {
	ID    string
	After time.Duration
	Ports []string
}

func (e *NotReadyError) Error() string {
	return fmt.Sprintf("instance %s was not ready within %s", e.ID, e.After)
}

// Hint says where to look.
func (e *NotReadyError) Hint() string {
	if len(e.Ports) == 0 {
		return "aws ec2 get-console-output --instance-id " + e.ID + " shows how it booted"
	}
	return "does anything listen on port " + strings.Join(e.Ports, ", ") + " on all addresses, and do its security groups let this machine in?"
}

// answers waits until a connection is accepted.
func (s *starter) answers(ctx context.Context, address string) error {
	s.sc.Log("waiting for %s", address)
	dialer := net.Dialer{Timeout: 5 * time.Second}
	for {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// healthy waits for EC2's status checks (DescribeInstanceStatus).
func (s *starter) healthy(ctx context.Context, id string) error {
	for {
		out, err := s.client.DescribeInstanceStatus(ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: []string{id}})
		if err != nil {
			return fmt.Errorf("asking for the status checks of %s: %w", id, err)
		}
		for _, st := range out.InstanceStatuses {
			if ok(st.InstanceStatus) && ok(st.SystemStatus) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Second):
		}
	}
}

func ok(s *types.InstanceStatusSummary) bool {
	return s != nil && s.Status == types.SummaryStatusOk
}
