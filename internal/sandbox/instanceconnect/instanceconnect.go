// Package instanceconnect is the sandbox's EC2 Instance Connect, as far as keys
// go: SendSSHPublicKey lets a key in to an instance for 60 seconds.
package instanceconnect

import (
	"context"
	"encoding/json"
	"regexp"
	"time"

	"golang.org/x/crypto/ssh"

	"bake/internal/sandbox/api"
)

// Instances are EC2's.
type Instances interface {
	// Lend finds a running instance, and returns what lets a user in with a key
	// for a while. Its availability zone is "" if there is no such instance,
	// and lend is nil while it does not run.
	Lend(account, region, id string) (zone string, lend func(user, key string, while time.Duration) error)
}

// T is EC2 Instance Connect of all accounts and regions. It keeps nothing.
type T struct{ instances Instances }

// New returns a service for instances.
func New(instances Instances) *T { return &T{instances} }

// Save returns nothing: keys do not outlive the sandbox.
func (t *T) Save() (json.RawMessage, error) { return json.RawMessage("{}"), nil }

// Load takes what Save returned.
func (t *T) Load(json.RawMessage) error { return nil }

// Service is EC2 Instance Connect as clients call it.
func (t *T) Service() *api.Service {
	return &api.Service{Name: "ec2-instance-connect", Protocol: api.JSON, Target: "AWSEC2InstanceConnectService", Actions: map[string]api.Action{
		"SendSSHPublicKey": api.Do(t.send),
	}}
}

// while is how long a key counts.
const while = 60 * time.Second

var (
	idForm   = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)
	userForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9@._-]{0,30}[A-Za-z0-9$_-]?$`)
)

type sendIn struct{ InstanceId, InstanceOSUser, SSHPublicKey, AvailabilityZone string }

type sendOut struct {
	RequestId string
	Success   bool
}

func (t *T) send(_ context.Context, c *api.Call, in *sendIn) (*sendOut, error) {
	switch {
	case !idForm.MatchString(in.InstanceId):
		return nil, api.Errorf("InvalidArgsException", "Instance ID is invalid.")
	case !userForm.MatchString(in.InstanceOSUser):
		return nil, api.Errorf("InvalidArgsException", "Instance OS User is invalid.")
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(in.SSHPublicKey)); err != nil {
		return nil, api.Errorf("InvalidArgsException", "SSH public key is invalid.")
	}
	zone, lend := t.instances.Lend(c.Account, c.Region, in.InstanceId)
	switch {
	case zone == "":
		return nil, api.Errorf("EC2InstanceNotFoundException", "Instance not found.")
	case in.AvailabilityZone != "" && in.AvailabilityZone != zone:
		return nil, api.Errorf("EC2InstanceNotFoundException", "Instance not found in the given Availability Zone.")
	case lend == nil:
		return nil, api.Errorf("EC2InstanceStateInvalidException", "Instance is not in a running state.")
	}
	if err := lend(in.InstanceOSUser, in.SSHPublicKey, while); err != nil {
		return nil, api.Errorf("EC2InstanceUnavailableException", "Instance is unavailable.")
	}
	return &sendOut{c.RequestID, true}, nil
}
