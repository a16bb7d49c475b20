// Package docker builds images in containers of a Docker engine. It is the
// only package that speaks to one.
//
// What it leaves in the engine besides the images that builds make:
//
//   - "bake-cache:base-*": the image a build starts from without its entrypoint,
//     labels, volumes and user, so that containers behave alike and nothing of
//     this survives in the result;
//   - untagged images with a label bake.key: one for each step, the cache;
//   - "bake-cache:image-*" and "bake-cache:key-*": images without content, whose
//     labels hold what the engine's API does not tell about an image, and
//     which key it was made from.
//
// Prune removes them.
package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
)

// engineName is what Image.Engine says of images that a Docker engine holds.
const engineName = "docker"

// oldestAPI is Docker 20.10's.
const oldestAPI = "1.41"

// Options say which engine to use. The zero value finds it as the docker
// command does.
type Options struct {
	Host    string                   // like DOCKER_HOST; wins over everything
	Context string                   // like DOCKER_CONTEXT
	Getenv  func(name string) string // nil: os.Getenv
	// Password returns credentials for a registry that bake has some of its own
	// for; empty: those of the user's docker config are used. May be nil.
	Password func(ctx context.Context, host string) (user, password string, err error)
}

// Engine is a Docker engine. It connects when it is first needed. It is safe
// for concurrent use.
type Engine struct {
	opts Options

	find    func() (endpoint, error)       // once
	connect func() (*client.Client, error) // once
	info    func() (system.Info, error)    // once

	turns   chan struct{} // see turn
	mu      sync.Mutex
	configs map[string][]byte      // config files of images, by image id
	bases   map[string]*sync.Mutex // one build at a time prepares a base
	others  map[string]*Engine     // engines of resources that were made elsewhere
	quiet   map[string]bool        // containers whose processes have all ended
}

// New returns the engine that opts describe. It does not connect.
func New(opts Options) *Engine {
	if opts.Getenv == nil {
		opts.Getenv = os.Getenv
	}
	e := &Engine{opts: opts, turns: make(chan struct{}, atOnce), configs: map[string][]byte{}, bases: map[string]*sync.Mutex{}, others: map[string]*Engine{}, quiet: map[string]bool{}}
	e.find = sync.OnceValues(func() (endpoint, error) { return find(opts) })
	e.connect = sync.OnceValues(func() (*client.Client, error) {
		ep, err := e.find()
		if err != nil {
			return nil, err
		}
		return dial(opts, ep)
	})
	e.info = sync.OnceValues(e.inquire)
	return e
}

// Name returns "docker".
func (e *Engine) Name() string { return engineName }

// where says which engine this is, for resources and machines.
func (e *Engine) where() string {
	ep, err := e.find()
	if err != nil {
		return ""
	}
	return ep.where()
}

// at returns the engine that where names: this one, unless the environment has
// changed since a resource was made.
func (e *Engine) at(where string) *Engine {
	if where == "" || where == e.where() {
		return e
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if other := e.others[where]; other != nil {
		return other
	}
	opts := Options{Host: where, Getenv: e.opts.Getenv}
	if name, ok := strings.CutPrefix(where, contextPrefix); ok {
		opts.Host, opts.Context = "", name
	}
	other := New(opts)
	e.others[where] = other
	return other
}

// Ping returns nil if an engine that bake can work with answers.
func (e *Engine) Ping(ctx context.Context) error {
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	if _, err := c.Ping(ctx); err != nil {
		return unreachable(c, err)
	}
	return nil
}

// client returns the connection, its API version settled.
func (e *Engine) client(ctx context.Context) (*client.Client, error) {
	c, err := e.connect()
	if err != nil {
		return nil, fmt.Errorf("finding the Docker engine: %w", err)
	}
	c.NegotiateAPIVersion(ctx)
	if versions.LessThan(c.ClientVersion(), oldestAPI) {
		if _, err := c.Ping(ctx); err != nil {
			return nil, unreachable(c, err)
		}
		return nil, &tooOldError{host: c.DaemonHost(), version: c.ClientVersion()}
	}
	return c, nil
}

func (e *Engine) inquire() (system.Info, error) {
	c, err := e.connect()
	if err != nil {
		return system.Info{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	return c.Info(ctx)
}

func unreachable(c *client.Client, err error) error {
	return &unreachableError{host: c.DaemonHost(), err: err}
}

// unreachableError is an engine that does not answer.
type unreachableError struct {
	host string
	err  error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("asking the Docker engine at %s: %v", e.host, e.err)
}

func (e *unreachableError) Unwrap() error { return e.err }

// Hint tells what to try.
func (e *unreachableError) Hint() string {
	if errors.Is(e.err, os.ErrPermission) || errdefs.IsPermissionDenied(e.err) {
		return "you may not use this engine: run as root, or join the group docker"
	}
	return "is it running? `docker info` asks the same engine; --engine embedded needs none"
}

// tooOldError is an engine whose API lacks what bake needs.
type tooOldError struct{ host, version string }

func (e *tooOldError) Error() string {
	return fmt.Sprintf("Docker engine at %s: API %s is older than %s", e.host, e.version, oldestAPI)
}

// Hint tells what to do.
func (e *tooOldError) Hint() string {
	return "Docker 20.10 or newer is needed (check DOCKER_API_VERSION); --engine embedded needs none"
}
