package amazon

import (
	"fmt"
	"net/url"
	"time"
)

// Access says where AWS is called and as whom. Sources and outputs embed it,
// so that one template may build in one account and publish to others.
type Access struct {
	Region  string `yaml:"region" doc:"AWS region; default: that of the profile or of AWS_REGION."`
	Profile string `yaml:"profile" doc:"Profile of ~/.aws/config; default: AWS_PROFILE, or the default credentials."`
	Roles   []Role `yaml:"assume_role" doc:"Roles to assume, one with the rights of the one before."`
}

// A Role is assumed with STS AssumeRole.
type Role struct {
	ARN         string            `yaml:"arn" bake:"main,required" pattern:"^arn:[a-z0-9-]+:iam::[0-9]{12}:role/.+$" doc:"The role."`
	ExternalID  string            `yaml:"external_id" doc:"What the role's trust policy asks for."`
	SessionName string            `yaml:"session_name" doc:"Name in CloudTrail; default: bake."`
	Duration    time.Duration     `yaml:"duration" min:"15m" max:"12h" doc:"How long credentials last before they are renewed; default 1h."`
	Tags        map[string]string `yaml:"tags" doc:"Session tags."`
	MFASerial   string            `yaml:"mfa_serial" doc:"ARN of the MFA device; bake asks for its code."`
}

// Where is the access as one word, for builder.Resource.Where and
// builder.Machine.Where: "eu-west-1", or with a query if it is not the default
// credentials'. ParseAccess reads it back. Session tags and MFA are not part of it.
func (a Access) Where() string {
	q := url.Values{}
	if a.Profile != "" {
		q.Set("profile", a.Profile)
	}
	for _, r := range a.Roles {
		q.Add("role", r.ARN)
		q.Add("external_id", r.ExternalID)
	}
	if len(q) == 0 {
		return a.Region
	}
	return a.Region + "?" + q.Encode()
}

// ParseAccess reads what Where wrote.
func ParseAccess(where string) (Access, error) {
	u, err := url.Parse(where)
	if err != nil || u.Path == "" {
		return Access{}, fmt.Errorf("%q does not name a region", where)
	}
	q := u.Query()
	a := Access{Region: u.Path, Profile: q.Get("profile")}
	for i, arn := range q["role"] {
		a.Roles = append(a.Roles, Role{ARN: arn, ExternalID: q["external_id"][i]})
	}
	return a, nil
}

// In returns the same access in another region.
func (a Access) In(region string) Access {
	a.Region = region
	return a
}
