package sandbox

import (
	"encoding/json"
	"path/filepath"
	"strings"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/authorize"
	"bake/internal/sandbox/cloudwatch"
	"bake/internal/sandbox/ec2"
	"bake/internal/sandbox/ecr"
	"bake/internal/sandbox/ecs"
	"bake/internal/sandbox/elb"
	"bake/internal/sandbox/iam"
	"bake/internal/sandbox/instanceconnect"
	"bake/internal/sandbox/kms"
	"bake/internal/sandbox/logs"
	"bake/internal/sandbox/quotas"
	"bake/internal/sandbox/scaling"
	"bake/internal/sandbox/secrets"
	"bake/internal/sandbox/ssm"
	"bake/internal/sandbox/sts"
)

// A part is a service that the sandbox is made of. One that holds processes or
// connections is an io.Closer too.
type part interface {
	Service() *api.Service
	Save() (json.RawMessage, error)
	Load(json.RawMessage) error
}

// Services are the parts of a sandbox, joined: a new one gets a field and a line in make.
type Services struct {
	IAM        *iam.T
	STS        *sts.T
	KMS        *kms.T
	EC2        *ec2.Control
	SSM        *ssm.T
	Secrets    *secrets.T
	Quotas     *quotas.T
	ECR        *ecr.T
	Logs       *logs.T
	ELB        *elb.T
	ECS        *ecs.T
	Scaling    *scaling.T
	CloudWatch *cloudwatch.T
	Connect    *instanceconnect.T
	// Rights is what callers with policies were allowed and refused.
	Rights *authorize.Record
}

// make makes all services, those that others ask first. log is told of what no
// caller hears of: a disk that cannot be made, a port that is taken.
func (s *Services) make(w *api.World, log func(format string, args ...any)) ([]part, error) {
	s.Rights = new(authorize.Record)
	s.IAM = iam.New(w)
	s.STS = sts.New(w, s.IAM)
	s.KMS = kms.New(w)
	s.EC2 = ec2.New(w, ec2.Options{Machines: filepath.Join(w.Dir, "machines"), Profiles: s.IAM, Keys: s.KMS, Log: log})
	s.SSM = ssm.New(w, ssm.Images{Exists: s.EC2.ImageExists, Public: s.EC2.ImageParameter}, s.KMS)
	s.SSM.Agents = s.agent
	s.Connect = instanceconnect.New(s.EC2)
	s.Secrets = secrets.New(w, s.KMS)
	s.Quotas = quotas.New(w)
	var err error
	if s.ECR, err = ecr.New(w, ecr.Deps{Key: s.KMS.Key, Secret: s.Secrets.Value, Allowed: s.guard().Allowed}); err != nil {
		return nil, err
	}
	s.Logs = logs.New(w)
	s.ELB = elb.New(w, nil)
	s.CloudWatch = cloudwatch.New(w)
	s.ECS, err = ecs.New(w, ecs.Deps{Images: pulls(s.ECR), Logs: s.Logs, Secrets: s.Secrets, Parameters: s.SSM, Roles: s.IAM, Targets: s.ELB, Alarms: s.CloudWatch})
	s.Scaling = scaling.New(w, s.ECS)
	return []part{s.IAM, s.STS, s.KMS, s.EC2, s.SSM, s.Secrets, s.Quotas, s.ECR, s.ECR.Public(), s.Logs, s.ELB, s.ECS, s.Scaling, s.CloudWatch, s.Connect}, err
}

// Caller returns whom an access key belongs to: a user's, or temporary ones.
func (s Services) Caller(accessKey string) (api.Caller, bool) {
	if c, ok := s.IAM.Caller(accessKey); ok {
		return c, true
	}
	return s.STS.Caller(accessKey)
}

// guard decides by the policies of callers that IAM knows.
func (s *Services) guard() *authorize.Guard {
	return &authorize.Guard{Identities: s.IAM, Sessions: s.STS, Tags: s.tagsOf, Key: s.KMS.Resolve, Sealed: s.EC2.KeysOf, Snapshots: s.EC2.SnapshotsOf, Aliases: s.KMS.Aliases, Linked: s.IAM.Linked, Record: s.Rights}
}

// tagsOf returns the tags of a resource, by its ARN, or by its id in EC2.
func (s *Services) tagsOf(account, region, id string) map[string]string {
	switch parts := strings.SplitN(id, ":", 4); {
	case len(parts) < 4:
		return s.EC2.TagsOf(account, region, id)
	case parts[2] == "ecr" || parts[2] == "ecr-public":
		return s.ECR.TagsOf(id)
	case parts[2] == "ecs":
		return s.ECS.TagsOf(id)
	case parts[2] == "ssm":
		return s.SSM.SessionTags(id)
	}
	return nil
}

// agent is Systems Manager's agent of an instance. It is there once the machine
// is up, if the role of its instance profile lets it be.
func (s *Services) agent(account, region, id string) (ssm.Agent, bool) {
	g := s.EC2.Guest(account, region, id)
	if g.Machine == nil || g.Profile == "" || !g.Machine.Ready() {
		return ssm.Agent{}, false
	}
	role, ok := s.IAM.ProfileRole(account, g.Profile)
	if !ok || !s.guard().Allowed(account, role, "ssmmessages:OpenDataChannel", "*") {
		return ssm.Agent{}, false
	}
	return ssm.Agent{Dial: g.Machine.Dial, Gone: g.Machine.Gone()}, true
}
