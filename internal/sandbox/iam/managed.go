package iam

import (
	"context"
	"strings"
	"time"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/policy"
)

// A managed policy of the account.
type managed struct {
	Name        string    `json:"name"`
	Path        string    `json:"path"`
	ID          string    `json:"id"`
	ARN         string    `json:"arn"`
	Description string    `json:"description,omitempty"`
	Document    string    `json:"document"`
	Created     time.Time `json:"created"`
}

type managedXML struct {
	Name        string    `xml:"PolicyName"`
	ID          string    `xml:"PolicyId"`
	ARN         string    `xml:"Arn"`
	Path        string    `xml:"Path"`
	Version     string    `xml:"DefaultVersionId"`
	Attached    int       `xml:"AttachmentCount"`
	Attachable  bool      `xml:"IsAttachable"`
	Description string    `xml:"Description,omitempty"`
	Created     time.Time `xml:"CreateDate"`
	Updated     time.Time `xml:"UpdateDate"`
}

type managedOut struct {
	Policy managedXML `xml:"Policy"`
}

// amazons are the policies that AWS keeps, as far as builds and tasks use them.
func amazons() map[string]string {
	allow := func(actions string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[` + actions + `],"Resource":"*"}]}`
	}
	pull := `"ecr:GetAuthorizationToken","ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:BatchGetImage"`
	read := pull + `,"ecr:GetRepositoryPolicy","ecr:DescribeRepositories","ecr:ListImages","ecr:DescribeImages","ecr:GetLifecyclePolicy","ecr:ListTagsForResource","ecr:DescribeImageScanFindings"`
	return map[string]string{
		"AdministratorAccess":                                 allow(`"*"`),
		"PowerUserAccess":                                     `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":["iam:*","organizations:*","account:*"],"Resource":"*"}]}`,
		"AmazonEC2FullAccess":                                 allow(`"ec2:*","elasticloadbalancing:*","cloudwatch:*","autoscaling:*"`),
		"AmazonEC2ReadOnlyAccess":                             allow(`"ec2:Describe*","elasticloadbalancing:Describe*","cloudwatch:Describe*"`),
		"AmazonECS_FullAccess":                                allow(`"ecs:*","application-autoscaling:*","elasticloadbalancing:*","logs:*","ec2:Describe*"`),
		"AmazonSSMManagedInstanceCore":                        allow(`"ssm:GetParameter","ssm:GetParameters","ssm:UpdateInstanceInformation","ssmmessages:*","ec2messages:*"`),
		"AmazonSSMReadOnlyAccess":                             allow(`"ssm:Describe*","ssm:Get*","ssm:List*"`),
		"AmazonEC2ContainerRegistryReadOnly":                  allow(read),
		"AmazonEC2ContainerRegistryPowerUser":                 allow(read + `,"ecr:InitiateLayerUpload","ecr:UploadLayerPart","ecr:CompleteLayerUpload","ecr:PutImage"`),
		"AmazonEC2ContainerRegistryFullAccess":                allow(`"ecr:*","cloudtrail:LookupEvents"`),
		"CloudWatchLogsFullAccess":                            allow(`"logs:*"`),
		"SecretsManagerReadWrite":                             allow(`"secretsmanager:*"`),
		"ReadOnlyAccess":                                      allow(`"ec2:Describe*","ecs:Describe*","ecs:List*","ecr:Describe*","ecr:List*","ecr:Get*","ecr:BatchGet*","ssm:Get*","ssm:Describe*","iam:Get*","iam:List*","kms:Describe*","kms:List*","logs:Describe*","logs:Get*","elasticloadbalancing:Describe*","sts:GetCallerIdentity"`),
		"service-role/AmazonECSTaskExecutionRolePolicy":       allow(pull + `,"logs:CreateLogStream","logs:PutLogEvents"`),
		"service-role/AmazonEC2ContainerServiceforEC2Role":    allow(pull + `,"ecs:*","logs:CreateLogStream","logs:PutLogEvents"`),
		"service-role/AmazonEC2ContainerServiceAutoscaleRole": allow(`"ecs:DescribeServices","ecs:UpdateService","cloudwatch:*"`),
	}
}

// document returns a policy's text by its ARN: the account's, or one of AWS's.
func (a *account) document(arn string) (string, bool) {
	if m := a.Policies[arn]; m != nil {
		return m.Document, true
	}
	name, ok := strings.CutPrefix(arn, "arn:aws:iam::aws:policy/")
	if !ok {
		return "", false
	}
	d, ok := amazons()[name]
	return d, ok
}

type createPolicyIn struct {
	Name        string `q:"PolicyName,required"`
	Path        string `q:"Path"`
	Description string `q:"Description"`
	Document    string `q:"PolicyDocument,required"`
}

func (t *T) createPolicy(_ context.Context, c *api.Call, in *createPolicyIn) (*managedOut, error) {
	d, err := policy.Parse(in.Document)
	if err == nil {
		err = d.CheckIdentity()
	}
	if err != nil {
		return nil, api.Errorf("MalformedPolicyDocument", "%v", err)
	}
	if len(in.Document) > 6144 {
		return nil, conflict("LimitExceeded", "Cannot exceed quota for PolicySize: 6144")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	m := &managed{Name: in.Name, Path: path(in.Path), ID: uniqueID("ANPA", 17), Description: in.Description, Document: in.Document, Created: t.now()}
	m.ARN = "arn:aws:iam::" + c.Account + ":policy" + m.Path + m.Name
	if a.Policies[m.ARN] != nil {
		return nil, conflict("EntityAlreadyExists", "A policy called %s already exists. Duplicate names are not allowed.", in.Name)
	}
	a.Policies[m.ARN] = m
	return &managedOut{a.xml(m)}, nil
}

func (a *account) xml(m *managed) managedXML {
	return managedXML{m.Name, m.ID, m.ARN, m.Path, "v1", len(a.holders(m.ARN)), true, m.Description, m.Created, m.Created}
}

// holders are the users and roles that a policy is attached to.
func (a *account) holders(arn string) []string {
	var all []string
	has := func(name string, p policies) {
		for _, o := range p.Attached {
			if o == arn {
				all = append(all, name)
			}
		}
	}
	for _, r := range a.Roles {
		has(r.Name, r.policies)
	}
	for _, u := range a.Users {
		has(u.Name, u.policies)
	}
	return all
}

type policyIn struct {
	ARN     string `q:"PolicyArn,required"`
	Version string `q:"VersionId"`
}

// find returns a policy of the account or of AWS.
func (a *account) find(arn string) (*managed, error) {
	if m := a.Policies[arn]; m != nil {
		return m, nil
	}
	if d, ok := a.document(arn); ok {
		rest := strings.TrimPrefix(arn, "arn:aws:iam::aws:policy/")
		i := strings.LastIndexByte(rest, '/') + 1
		return &managed{Name: rest[i:], Path: "/" + rest[:i], ID: "ANPAI" + strings.Repeat("A", 16), ARN: arn, Document: d, Created: time.Date(2015, 2, 6, 18, 39, 46, 0, time.UTC)}, nil
	}
	return nil, missing("Policy %s does not exist or is not attachable.", arn)
}

func (t *T) getPolicy(_ context.Context, c *api.Call, in *policyIn) (*managedOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	m, err := a.find(in.ARN)
	if err != nil {
		return nil, err
	}
	return &managedOut{a.xml(m)}, nil
}

type versionXML struct {
	Document string    `xml:"Document,omitempty"`
	ID       string    `xml:"VersionId"`
	Default  bool      `xml:"IsDefaultVersion"`
	Created  time.Time `xml:"CreateDate"`
}

func (t *T) getPolicyVersion(_ context.Context, c *api.Call, in *policyIn) (*struct {
	Version versionXML `xml:"PolicyVersion"`
}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, err := t.of(c.Account).find(in.ARN)
	if err == nil && in.Version != "v1" {
		err = missing("Policy version %s does not exist.", in.Version)
	}
	if err != nil {
		return nil, err
	}
	return &struct {
		Version versionXML `xml:"PolicyVersion"`
	}{versionXML{quote(m.Document), "v1", true, m.Created}}, nil
}

func (t *T) listPolicyVersions(_ context.Context, c *api.Call, in *policyIn) (*struct {
	page
	Versions []versionXML `xml:"Versions>member"`
}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, err := t.of(c.Account).find(in.ARN)
	if err != nil {
		return nil, err
	}
	return &struct {
		page
		Versions []versionXML `xml:"Versions>member"`
	}{page{}, []versionXML{{"", "v1", true, m.Created}}}, nil
}

func (t *T) listPolicies(_ context.Context, c *api.Call, in *struct {
	paging
	Scope string `q:"Scope"`
}) (*struct {
	page
	Policies []managedXML `xml:"Policies>member"`
}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	var all []managedXML
	if in.Scope != "AWS" {
		for _, m := range sorted(a.Policies) {
			all = append(all, a.xml(m))
		}
	}
	if in.Scope != "Local" {
		names := amazons()
		for name := range names {
			names[name] = name
		}
		for _, name := range sorted(names) {
			m, err := a.find("arn:aws:iam::aws:policy/" + name)
			if err != nil {
				return nil, err
			}
			all = append(all, a.xml(m))
		}
	}
	all, page_, err := cut(all, in.paging)
	return &struct {
		page
		Policies []managedXML `xml:"Policies>member"`
	}{page_, all}, err
}

func (t *T) deletePolicy(_ context.Context, c *api.Call, in *policyIn) (*done, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.of(c.Account)
	if a.Policies[in.ARN] == nil {
		return nil, missing("Policy %s was not found.", in.ARN)
	}
	if len(a.holders(in.ARN)) > 0 {
		return nil, conflict("DeleteConflict", "Cannot delete a policy attached to entities.")
	}
	delete(a.Policies, in.ARN)
	return &done{}, nil
}
