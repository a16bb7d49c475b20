package ami

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	connect "github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"bake/builder"
	"bake/steps/amazon"
	"bake/steps/amazon/session"
	"bake/steps/ssh"
)

// Ways to a machine, as `ssh: {via: ...}` names them.
const (
	viaSession  = "session-manager"
	viaEndpoint = "instance-connect"
)

// way is how connections to the machine are made if not over the network; nil:
// they are. Each connection is a session of its own, as whoever cfg says.
func (s *Build) way(cfg aws.Config, m builder.Machine, run string) func(context.Context) (net.Conn, error) {
	if s.SSH.Via != viaSession {
		return nil
	}
	client := ssm.NewFromConfig(cfg)
	to := session.Target{Instance: m.ID, Port: s.port(), Reason: "bake run " + run}
	return func(ctx context.Context) (net.Conn, error) {
		c, err := session.Dial(ctx, client, to)
		if _, away := errors.AsType[*session.NotConnectedError](err); err == nil || away {
			return c, err
		}
		return nil, refused(err)
	}
}

// refused makes an answer that will not change one that is not asked for again.
func refused(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorFault() != smithy.FaultServer {
		return ssh.Fatal(err)
	}
	return err
}

// pushKey sends the login's key to the machine's metadata before each login:
// EC2 Instance Connect lets it in for 60 seconds. It is nil if the machine has
// the key already.
func (s *Build) pushKey(cfg aws.Config, m builder.Machine, sc *builder.Scope) func(context.Context) error {
	if !s.SSH.PushKey {
		return nil
	}
	client := connect.NewFromConfig(cfg)
	return func(ctx context.Context) error {
		work, err := openWorkfiles(sc, m.Detail[detailKeys])
		if err != nil {
			return ssh.Fatal(err)
		}
		_, public, err := work.key(loginKey)
		if err != nil {
			return ssh.Fatal(err)
		}
		user := m.Detail[detailUser]
		_, err = client.SendSSHPublicKey(ctx, &connect.SendSSHPublicKeyInput{InstanceId: &m.ID, InstanceOSUser: &user, SSHPublicKey: &public, AvailabilityZone: aws.String(m.Detail["zone"])})
		switch {
		case err == nil:
			return nil
		case amazon.IsCode(err, "EC2InstanceNotFoundException", "EC2InstanceStateInvalidException", "EC2InstanceUnavailableException", "ThrottlingException"):
			return &notYetError{err}
		}
		return refused(fmt.Errorf("sending the key of %s to %s with EC2 Instance Connect: %w", user, m.ID, err))
	}
}

// A notYetError says that a machine that still starts takes no key.
type notYetError struct{ err error }

func (e *notYetError) Error() string { return "EC2 Instance Connect does not reach it yet" }

func (e *notYetError) Unwrap() error { return e.err }

// proxyCommand is how the AWS CLI reaches a machine through an EC2 Instance
// Connect Endpoint.
func (s *Build) proxyCommand(ctx context.Context, a amazon.Access, m builder.Machine) string {
	if s.SSH.Via != viaEndpoint {
		return ""
	}
	args := []string{"aws", "ec2-instance-connect", "open-tunnel", "--instance-id", m.ID, "--remote-port", strconv.Itoa(s.port()), "--region", a.Region}
	if a.Profile != "" {
		args = append(args, "--profile", a.Profile)
	}
	if endpoint, err := s.cloud.Endpoint(ctx, a); err == nil && endpoint != "" {
		args = append(args, "--endpoint-url", endpoint)
	}
	for i, arg := range args {
		args[i] = quote(arg)
	}
	return strings.Join(args, " ")
}

// quote makes a word of the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
