// Package ssm is the sandbox's Systems Manager: the Parameter Store, and Session
// Manager as far as ports of instances go.
package ssm

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/session"
)

// Images is what the Parameter Store knows of images. What is nil is not asked.
type Images struct {
	// Exists reports whether an account sees an image: for parameters of the data type aws:ec2:image.
	Exists func(account, region, id string) bool
	// Public returns the image that a parameter of AWS's own names
	// ("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64").
	Public func(region, name string) (id string, ok bool)
}

// Keys resolves KMS keys.
type Keys interface {
	// Resolve returns the ARN of a key that an account may use.
	Resolve(account, region, idOrAlias string) (arn string, err error)
}

// T is the Parameter Store of all accounts and regions, and their sessions.
type T struct {
	// Agents finds the agent of an instance; ok is false while there is none.
	// It is set before the first call; nil: there are none.
	Agents func(account, region, instance string) (agent Agent, ok bool)

	world  *api.World
	images Images
	keys   Keys

	mu       sync.Mutex
	stores   map[string]map[string]*parameter // by account/region, by name
	channels *session.Server                  // nil: there was no session yet
	sessions map[string]*started              // by id
}

// A parameter with its versions, the newest last.
type parameter struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	DataType    string            `json:"data_type"`
	Tier        string            `json:"tier"`
	Description string            `json:"description,omitempty"`
	Pattern     string            `json:"pattern,omitempty"`
	KeyID       string            `json:"key_id,omitempty"`
	Versions    []version         `json:"versions"`
	Tags        map[string]string `json:"tags,omitempty"`
}

type version struct {
	Number int64     `json:"number"`
	Value  string    `json:"value"`
	Time   time.Time `json:"time"`
	User   string    `json:"user"`
	Labels []string  `json:"labels,omitempty"`
}

// New returns a Parameter Store without parameters but AWS's own.
func New(w *api.World, images Images, keys Keys) *T {
	return &T{world: w, images: images, keys: keys, stores: map[string]map[string]*parameter{}, sessions: map[string]*started{}}
}

// Save returns the state as JSON.
func (t *T) Save() (json.RawMessage, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Marshal(t.stores)
}

// Load takes the state that Save returned.
func (t *T) Load(data json.RawMessage) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Unmarshal(data, &t.stores)
}

// Service is Systems Manager as clients call it.
func (t *T) Service() *api.Service {
	return &api.Service{Name: "ssm", Protocol: api.JSON, Target: "AmazonSSM", Actions: map[string]api.Action{
		"PutParameter":           api.Do(t.put),
		"GetParameter":           api.Do(t.get),
		"GetParameters":          api.Do(t.getSeveral),
		"GetParametersByPath":    api.Do(t.getByPath),
		"GetParameterHistory":    api.Do(t.history),
		"DescribeParameters":     api.Do(t.describe),
		"DeleteParameter":        api.Do(t.delete),
		"DeleteParameters":       api.Do(t.deleteSeveral),
		"LabelParameterVersion":  api.Do(t.label),
		"AddTagsToResource":      api.Do(t.addTags),
		"RemoveTagsFromResource": api.Do(t.removeTags),
		"ListTagsForResource":    api.Do(t.listTags),
		"StartSession":           api.Do(t.startSession),
		"ResumeSession":          api.Do(t.resumeSession),
		"TerminateSession":       api.Do(t.terminateSession),
		"DescribeSessions":       api.Do(t.describeSessions),
		"GetConnectionStatus":    api.Do(t.connectionStatus),
	}}
}

func (t *T) store(account, region string) map[string]*parameter {
	s := t.stores[account+"/"+region]
	if s == nil {
		s = map[string]*parameter{}
		t.stores[account+"/"+region] = s
	}
	return s
}

var (
	nameForm  = lazyregexp.New(`^[a-zA-Z0-9_.\-/]+$`)
	imageForm = lazyregexp.New(`^ami-([0-9a-f]{8}|[0-9a-f]{17})$`)
)

func checkName(name string) error {
	first := strings.ToLower(strings.TrimLeft(name, "/"))
	switch {
	case !nameForm.MatchString(name):
		return api.Errorf("ValidationException", "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_")
	case strings.HasPrefix(first, "aws"), strings.HasPrefix(first, "ssm"):
		return &api.Error{Code: "AccessDeniedException", Message: "No access to reserved parameter name: " + name + "."}
	case strings.Contains(name, "/") && !strings.HasPrefix(name, "/"):
		return api.Errorf("ValidationException", "Parameter name must be a fully qualified name.")
	case strings.Count(name, "/") > 15:
		return api.Errorf("HierarchyLevelLimitExceededException", "A hierarchy can have a maximum of 15 levels.")
	}
	return nil
}

func arn(account, region, name string) string {
	return "arn:aws:ssm:" + region + ":" + account + ":parameter/" + strings.TrimPrefix(name, "/")
}

// bare is a parameter's name of its name or ARN, and what selects a version: "3" or a label.
func bare(ref string) (name, selector string) {
	if rest, ok := strings.CutPrefix(ref, "arn:"); ok {
		if _, name, ok := strings.Cut(rest, ":parameter/"); ok {
			ref = name
			if strings.Contains(name, "/") {
				ref = "/" + name
			}
		}
	}
	name, selector, _ = strings.Cut(ref, ":")
	return name, selector
}

func notFound() *api.Error { return &api.Error{Code: "ParameterNotFound"} }

// find returns a parameter and the version that a reference means.
func (t *T) find(c *api.Call, ref string) (*parameter, *version, error) {
	name, selector := bare(ref)
	p := t.store(c.Account, c.Region)[name]
	if p == nil {
		p = t.public(c.Region, name)
	}
	if p == nil || c.Hidden(name) {
		return nil, nil, notFound()
	}
	if selector == "" {
		return p, &p.Versions[len(p.Versions)-1], nil
	}
	for i := range p.Versions {
		v := &p.Versions[i]
		if selector == number(v.Number) || slices.Contains(v.Labels, selector) {
			return p, v, nil
		}
	}
	return nil, nil, api.Errorf("ParameterVersionNotFound", "Systems Manager could not find version %s of %s. Verify the version and try again.", selector, name)
}

// public is a parameter that AWS keeps.
func (t *T) public(region, name string) *parameter {
	if t.images.Public == nil || !strings.HasPrefix(name, "/aws/service/") {
		return nil
	}
	id, ok := t.images.Public(region, name)
	if !ok {
		return nil
	}
	return &parameter{Name: name, Type: "String", DataType: "aws:ec2:image", Tier: "Standard",
		Versions: []version{{Number: 1, Value: id, Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}}}
}

// Value returns a parameter's value in the clear, by its name or ARN.
func (t *T) Value(account, region, nameOrARN string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, v, err := t.find(&api.Call{Account: account, Region: region}, nameOrARN)
	if err != nil {
		return "", err
	}
	return v.Value, nil
}
