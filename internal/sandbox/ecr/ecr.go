// Package ecr is the sandbox's Elastic Container Registry: its API, and a real
// registry (OCI distribution) for each account and region, on a port of its own
// so that a repository's URI is one that docker, skopeo and crane take.
//
// The registry is our own and not a library's: what matters here is how ECR
// differs from every other (immutability, layer parts, policies, errors, what a
// push makes visible in the API), and that all of it survives a restart.
package ecr

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"bake/internal/sandbox/api"
)

// Deps is what ECR asks other services. What is nil is not asked.
type Deps struct {
	// Key says as an *api.Error why a KMS key cannot be used.
	Key func(account, region, idOrAlias string) error
	// Allowed reports whether a caller's own policies allow an action on a resource.
	Allowed func(account, callerARN, action, resource string) bool
	// Secret returns a secret's text, for upstream registries that want a login.
	Secret func(account, region, ref string) (string, error)
}

// Knobs are what tests turn, and AWS does not have. The zero value is AWS.
type Knobs struct {
	// TokenLasts is how long an authorization token is good; 0: twelve hours.
	TokenLasts api.Duration `json:"token_lasts,omitempty"`
	// CutAfter cuts the connection of an upload after so many bytes; 0: not.
	CutAfter int64 `json:"cut_after,omitempty"`
	// Cuts is how often CutAfter does so; 0 is once, -1 always.
	Cuts int `json:"cuts,omitempty"`
	// BytesPerSecond limits each upload; 0: not.
	BytesPerSecond int64 `json:"bytes_per_second,omitempty"`
}

// T is the ECR of all accounts and regions.
type T struct {
	world *api.World
	deps  Deps
	blobs *store

	mu         sync.Mutex
	registries map[string]*registry // by account/region
	tokens     map[string]*token    // by password
	uploads    map[string]*upload   // by id
	knobs      Knobs
	closed     bool
}

// A registry is what one account has in one region, and where it listens.
type registry struct {
	Account      string                  `json:"account"`
	Region       string                  `json:"region"`
	Public       bool                    `json:"public,omitempty"` // the account's part of ECR Public
	Port         int                     `json:"port"`
	Repositories map[string]*repository  `json:"repositories"`
	Settings     map[string]string       `json:"settings,omitempty"`
	Policy       string                  `json:"policy,omitempty"`
	Scanning     *scanning               `json:"scanning,omitempty"`
	Replication  *replication            `json:"replication,omitempty"`
	Pending      []*copying              `json:"pending,omitempty"`
	Rules        map[string]*pullThrough `json:"rules,omitempty"`     // by prefix
	Templates    map[string]*template    `json:"templates,omitempty"` // by prefix
	server       *http.Server
}

// New returns an ECR without repositories. It keeps blobs in the world's folder.
func New(w *api.World, d Deps) (*T, error) {
	blobs, err := openStore(filepath.Join(w.Dir, "ecr"))
	if err != nil {
		return nil, err
	}
	return &T{world: w, deps: d, blobs: blobs, registries: map[string]*registry{}, tokens: map[string]*token{}, uploads: map[string]*upload{}}, nil
}

type state struct {
	Registries map[string]*registry `json:"registries"`
	Tokens     map[string]*token    `json:"tokens"`
}

// Save returns the state as JSON. Blobs are in files already.
func (t *T) Save() (json.RawMessage, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for password, k := range t.tokens {
		if t.world.Now().After(k.Expires) {
			delete(t.tokens, password)
		}
	}
	return json.Marshal(state{t.registries, t.tokens})
}

// Load takes the state that Save returned, and listens where it listened then,
// since images are named by that.
func (t *T) Load(data json.RawMessage) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	t.registries, t.tokens = s.Registries, s.Tokens
	if t.tokens == nil {
		t.tokens = map[string]*token{}
	}
	for _, r := range t.registries {
		r.fill()
		if err := t.listen(r); err != nil {
			return err
		}
	}
	return nil
}

// fill makes the maps that were empty when they were saved.
func (r *registry) fill() {
	if r.Settings == nil {
		r.Settings = map[string]string{}
	}
	if r.Repositories == nil {
		r.Repositories = map[string]*repository{}
	}
	if r.Rules == nil {
		r.Rules = map[string]*pullThrough{}
	}
	if r.Templates == nil {
		r.Templates = map[string]*template{}
	}
	for _, p := range r.Repositories {
		if p.Tags == nil {
			p.Tags = map[string]string{}
		}
	}
}

// Close stops the registries.
func (t *T) Close() error {
	t.mu.Lock()
	t.closed = true
	var servers []*http.Server
	for _, r := range t.registries {
		if r.server != nil {
			servers = append(servers, r.server)
		}
	}
	t.mu.Unlock()
	var errs []error
	for _, s := range servers {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, t.blobs.close())...)
}

// Turn sets the knobs.
func (t *T) Turn(k Knobs) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.knobs = k
}

// of returns the registry of an account in a region, which exists as soon as
// it is asked for, and listens.
func (t *T) of(account, region string) (*registry, error) {
	return t.open(account+"/"+region, &registry{Account: account, Region: region})
}

func (t *T) open(name string, fresh *registry) (*registry, error) {
	if r := t.registries[name]; r != nil {
		t.settle(r)
		return r, nil
	}
	fresh.fill()
	if err := t.listen(fresh); err != nil {
		return nil, err
	}
	t.registries[name] = fresh
	return fresh, nil
}

// listen opens a registry's port: the one it had, if that is free.
func (t *T) listen(r *registry) error {
	if t.closed {
		return errors.New("the sandbox is closed")
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", r.Port))
	if err != nil && r.Port != 0 {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return fmt.Errorf("the registry of %s in %s: %w", r.Account, r.Region, err)
	}
	r.Port = l.Addr().(*net.TCPAddr).Port
	r.server = &http.Server{Handler: &distribution{t: t, r: r}, ReadHeaderTimeout: 30 * time.Second}
	go func() { _ = r.server.Serve(l) }() // it ends when Close closes it
	return nil
}

// host is where a registry listens, as image names begin.
func (r *registry) host() string { return fmt.Sprintf("127.0.0.1:%d", r.Port) }

// uri is a repository's, as docker takes it.
func (r *registry) uri(name string) string { return r.host() + "/" + name }

func (r *registry) arn(name string) string {
	if r.Public {
		return "arn:aws:ecr-public::" + r.Account + ":repository/" + name
	}
	return "arn:aws:ecr:" + r.Region + ":" + r.Account + ":repository/" + name
}

// at returns the registry of a call, or another account's that it names.
func (t *T) at(c *api.Call, registryID string) (*registry, error) {
	if registryID == "" {
		registryID = c.Account
	}
	return t.of(registryID, c.Region)
}

func (t *T) now() time.Time { return t.world.Now().UTC() }
