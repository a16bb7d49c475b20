// Package policy reads IAM policy documents and decides by them: identity
// policies, trust policies of roles and resource policies.
package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// A Document is a policy as it is written.
type Document struct {
	Version    string      `json:"Version,omitempty"`
	ID         string      `json:"Id,omitempty"`
	Statements []Statement `json:"-"`
}

// A Statement allows or denies actions on resources under conditions.
type Statement struct {
	Sid          string                      `json:"Sid"`
	Effect       string                      `json:"Effect"`
	Principal    *Principal                  `json:"Principal"`
	NotPrincipal *Principal                  `json:"NotPrincipal"`
	Action       Words                       `json:"Action"`
	NotAction    Words                       `json:"NotAction"`
	Resource     Words                       `json:"Resource"`
	NotResource  Words                       `json:"NotResource"`
	Condition    map[string]map[string]Words `json:"Condition"`
}

// Words are one string or a list of them.
type Words []string

// UnmarshalJSON reads a string, a list of strings, or a boolean or number as its text.
func (w *Words) UnmarshalJSON(data []byte) error {
	if !bytes.HasPrefix(data, []byte("[")) {
		data = append(append([]byte("["), data...), ']')
	}
	var all []any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		return err
	}
	for _, v := range all {
		switch v.(type) {
		case string, bool, json.Number:
			*w = append(*w, fmt.Sprint(v))
		default:
			return fmt.Errorf("%v is no string", v)
		}
	}
	return nil
}

// A Principal is whom a statement speaks of, by kind: AWS, Service, Federated.
// Anybody is {"*": ["*"]}.
type Principal map[string]Words

// UnmarshalJSON reads "*" or {"AWS": ..., "Service": ...}.
func (p *Principal) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		var text string
		if err := json.Unmarshal(data, &text); err != nil || text != "*" {
			return fmt.Errorf("the principal %s is neither \"*\" nor an object", data)
		}
		*p = Principal{"*": {"*"}}
		return nil
	}
	var kinds map[string]Words
	if err := json.Unmarshal(data, &kinds); err != nil {
		return err
	}
	for kind := range kinds {
		if kind != "AWS" && kind != "Service" && kind != "Federated" && kind != "CanonicalUser" {
			return fmt.Errorf("a principal of the kind %q", kind)
		}
	}
	*p = kinds
	return nil
}

// Parse reads a policy document and checks it: a member that is not known, or
// a statement without effect or action, is an error.
func Parse(text string) (*Document, error) {
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := strict([]byte(text), &raw); err != nil {
		return nil, err
	}
	d := &Document{Version: raw.Version, ID: raw.ID}
	list := bytes.TrimSpace(raw.Statement)
	if bytes.HasPrefix(list, []byte("{")) {
		list = append(append([]byte("["), list...), ']')
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("missing required field Statement")
	}
	if err := strict(list, &d.Statements); err != nil {
		return nil, err
	}
	for _, s := range d.Statements {
		if err := s.check(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

func (s *Statement) check() error {
	switch {
	case s.Effect != "Allow" && s.Effect != "Deny":
		return fmt.Errorf("invalid effect: %q", s.Effect)
	case (len(s.Action) == 0) == (len(s.NotAction) == 0):
		return fmt.Errorf("a statement has either Action or NotAction")
	}
	for _, a := range append(append(Words{}, s.Action...), s.NotAction...) {
		if a != "*" && !strings.Contains(a, ":") {
			return fmt.Errorf("actions/conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.: %q", a)
		}
	}
	for op := range s.Condition {
		if _, ok := operators()[bare(op)]; !ok {
			return fmt.Errorf("invalid condition type: %s", op)
		}
	}
	return nil
}

// CheckIdentity says what keeps a document from being attached to a user or role.
func (d *Document) CheckIdentity() error {
	for _, s := range d.Statements {
		switch {
		case s.Principal != nil || s.NotPrincipal != nil:
			return fmt.Errorf("policy document should not specify a principal")
		case (len(s.Resource) == 0) == (len(s.NotResource) == 0):
			return fmt.Errorf("policy statement must contain resources")
		}
	}
	return nil
}

// CheckTrust says what keeps a document from being the trust policy of a role.
func (d *Document) CheckTrust() error {
	for _, s := range d.Statements {
		switch {
		case len(s.Resource) > 0 || len(s.NotResource) > 0:
			return fmt.Errorf("has prohibited field Resource")
		case s.Principal == nil && s.NotPrincipal == nil:
			return fmt.Errorf("missing required field Principal")
		}
		for _, a := range s.Action {
			if service, _, _ := strings.Cut(a, ":"); service != "sts" {
				return fmt.Errorf("AssumeRole policy may only specify STS AssumeRole actions")
			}
		}
	}
	return nil
}
