package amazon

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"bake/templates"
)

// Access says where AWS is called and as whom. Sources and outputs embed it,
// so that one template may build in one account and publish to others.
type Access struct {
	Region  string `yaml:"region" doc:"AWS region; default: that of the profile or of AWS_REGION."`
	Profile string `yaml:"profile" doc:"Profile of ~/.aws/config; default: AWS_PROFILE, or the default credentials."`
	Roles   Roles  `yaml:"assume_role" doc:"Role to assume: its ARN, or {arn, external_id, ...}; or several, one with the rights of the one before."`
}

// Roles are one role or several.
type Roles []Role

// UnmarshalBlock reads an ARN, a mapping, or a list of them.
func (r *Roles) UnmarshalBlock(b templates.Block) templates.Diagnostics {
	list := []templates.Block{b}
	if b.IsList() {
		list = nil
		for i := range b.Len() {
			list = append(list, b.At(strconv.Itoa(i)))
		}
	}
	*r = make(Roles, len(list))
	var ds templates.Diagnostics
	for i, one := range list {
		ds = append(ds, templates.Decode(one, &(*r)[i])...)
	}
	return ds
}

// JSONSchema says so to editors.
func (*Roles) JSONSchema() map[string]any {
	text := map[string]any{"type": "string"}
	texts := map[string]any{"type": "object", "additionalProperties": text}
	one := []any{text, map[string]any{"type": "object", "additionalProperties": false, "required": []string{"arn"}, "properties": map[string]any{
		"arn": text, "external_id": text, "session_name": text, "duration": text, "tags": texts, "mfa_serial": text}}}
	return map[string]any{"anyOf": []any{one[0], one[1], map[string]any{"type": "array", "items": map[string]any{"anyOf": one}}}}
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
// credentials': "eu-west-1?role=arn:aws:iam::123456789012:role/ci". ParseAccess
// reads it back.
func (a Access) Where() string {
	q := url.Values{}
	if a.Profile != "" {
		q.Set("profile", a.Profile)
	}
	for _, r := range a.Roles {
		q.Add("role", r.text())
	}
	if len(q) == 0 {
		return a.Region
	}
	return a.Region + "?" + q.Encode()
}

// text is the role's ARN, or all of it as JSON if there is more to it.
func (r Role) text() string {
	if reflect.DeepEqual(r, Role{ARN: r.ARN}) {
		return r.ARN
	}
	return string(mustJSON(r))
}

// ParseAccess reads what Where wrote.
func ParseAccess(where string) (Access, error) {
	u, err := url.Parse(where)
	if err != nil || u.Path == "" {
		return Access{}, fmt.Errorf("%q does not name a region", where)
	}
	a := Access{Region: u.Path, Profile: u.Query().Get("profile")}
	for _, text := range u.Query()["role"] {
		r := Role{ARN: text}
		if strings.HasPrefix(text, "{") {
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				return Access{}, fmt.Errorf("reading the role of %q: %w", where, err)
			}
		}
		a.Roles = append(a.Roles, r)
	}
	return a, nil
}

// In returns the same access in another region.
func (a Access) In(region string) Access {
	a.Region = region
	return a
}

// key tells accesses apart whose calls differ in any way.
func (a Access) key() string { return string(mustJSON(a)) }

// mustJSON encodes what cannot fail to be encoded: strings, durations, maps of strings.
func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
