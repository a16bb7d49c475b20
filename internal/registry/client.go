package registry

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// A Config says how a Client reaches registries. The zero Config is what a
// user on this machine expects.
type Config struct {
	Keychain authn.Keychain // nil: UserKeychain
	// Route says where a repository really is, for registries that stand in for
	// others; nil: where its name says.
	Route     func(ctx context.Context, ref Reference) (Reference, error)
	Transport http.RoundTripper // nil: one of its own, honouring HTTPS_PROXY and the like
	CacheDir  string            // for what is known of layers and manifests; empty: nothing is remembered
	Retry     Retry
	Jobs      int    // transfers at once; 0 means 4
	HubURL    string // Docker Hub's own API; empty: https://hub.docker.com
}

// A Client reads from and writes to registries. It is safe for concurrent
// use, and keeps connections and tokens for as long as it lives.
type Client struct {
	cfg   Config
	cache *cache

	mu       sync.Mutex
	sessions map[string]*session
}

// WithKeychain returns a client with other credentials that shares all else
// with c: connections, limits and what is remembered.
func (c *Client) WithKeychain(k authn.Keychain) *Client {
	cfg := c.cfg
	cfg.Keychain = k
	return &Client{cfg: cfg, cache: c.cache, sessions: map[string]*session{}}
}

// New returns a client; nothing is asked of any registry yet.
func New(cfg Config) *Client {
	if cfg.Keychain == nil {
		cfg.Keychain = UserKeychain{}
	}
	if cfg.Transport == nil {
		cfg.Transport = defaultTransport()
	}
	if cfg.Jobs == 0 {
		cfg.Jobs = 4
	}
	if cfg.HubURL == "" {
		cfg.HubURL = "https://hub.docker.com"
	}
	cfg.Retry = cfg.Retry.withDefaults()
	return &Client{cfg: cfg, cache: &cache{dir: cfg.CacheDir}, sessions: map[string]*session{}}
}

func defaultTransport() http.RoundTripper {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          64,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
}

// A session is an authenticated way to one repository.
type session struct {
	repo  name.Repository
	http  *http.Client
	retry Retry
	auth  Renewer // nil: credentials that last

	ready sync.Once
	err   error
}

// session returns the way to a repository with the actions ("pull",
// "push,pull") allowed, and pull on the repositories in also.
func (c *Client) session(ctx context.Context, ref Reference, action string, also ...name.Repository) (*session, error) {
	if c.cfg.Route != nil {
		var err error
		if ref, err = c.cfg.Route(ctx, ref); err != nil {
			return nil, err
		}
	}
	scopes := []string{ref.Repository.Scope(action)}
	for _, r := range also {
		scopes = append(scopes, r.Scope(transport.PullScope))
	}
	key := ref.Repository.String() + " " + strings.Join(scopes, " ")
	if ref.Insecure {
		key += " insecure"
	}
	for {
		s := c.keep(key, ref)
		s.ready.Do(func() { s.err = c.logIn(ctx, s, ref, scopes) })
		if s.err == nil {
			return s, nil
		}
		c.forget(key, s) // the next one tries again
		if ctx.Err() != nil || !errors.Is(s.err, context.Canceled) {
			return nil, s.err
		}
		// It was given up by somebody else, whose context ended.
	}
}

// keep returns the session of that key, a new one if there is none.
func (c *Client) keep(key string, ref Reference) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[key]
	if s == nil {
		s = &session{repo: ref.Repository, retry: c.cfg.Retry}
		c.sessions[key] = s
	}
	return s
}

// forget drops a session that did not come about.
func (c *Client) forget(key string, s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions[key] == s {
		delete(c.sessions, key)
	}
}

// logIn finds the scheme, the credentials and the first token.
func (c *Client) logIn(ctx context.Context, s *session, ref Reference, scopes []string) error {
	auth, err := authn.Resolve(ctx, c.cfg.Keychain, ref.Repository)
	if err != nil {
		return err
	}
	s.auth, _ = auth.(Renewer)
	guard := &plainGuard{inner: c.cfg.Transport, allowed: ref.Insecure}
	return c.cfg.Retry.do(ctx, func() error {
		rt, err := transport.NewWithContext(ctx, ref.Repository.Registry, auth, guard, scopes)
		if err != nil {
			return err
		}
		s.http = &http.Client{Transport: rt}
		return nil
	})
}

// plainGuard refuses plain HTTP to other machines, redirects and token
// servers included, unless it was asked for.
type plainGuard struct {
	inner   http.RoundTripper
	allowed bool
}

func (g *plainGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "http" && !g.allowed && !isLoopback(req.URL.Host) {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, &PlainHTTPError{Host: req.URL.Host}
	}
	if req.GetBody == nil {
		return g.inner.RoundTrip(req)
	}
	// After a 401 the same request comes again with a new token, but with a
	// body that is used up: give it a fresh one each time.
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	req.Body.Close()
	fresh := req.Clone(req.Context())
	fresh.Body = body
	return g.inner.RoundTrip(fresh)
}

// url returns the address of something in the session's repository.
func (s *session) url(kind, id string) *url.URL {
	return &url.URL{
		Scheme: s.repo.Scheme(),
		Host:   s.repo.RegistryStr(),
		Path:   "/v2/" + s.repo.RepositoryStr() + "/" + kind + "/" + id,
	}
}

// do sends a request without a body, again if need be, and returns an answer
// whose status is one of ok. The caller closes its body.
func (s *session) do(ctx context.Context, method, url string, header http.Header, ok ...int) (*http.Response, error) {
	return s.send(ctx, func() (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, method, url, nil)
		if err == nil && header != nil {
			req.Header = header.Clone()
		}
		return req, err
	}, ok...)
}

// send is do for requests with a body, which build makes anew for each try.
func (s *session) send(ctx context.Context, build func() (*http.Request, error), ok ...int) (*http.Response, error) {
	var resp *http.Response
	err := s.retry.do(ctx, func() error {
		req, err := build()
		if err != nil {
			return err
		}
		resp, err = s.once(req, ok...)
		return err
	})
	return resp, err
}

// once sends a request a single time.
func (s *session) once(req *http.Request, ok ...int) (*http.Response, error) {
	used := s.credentials(req.Context())
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	if err := checkStatus(resp, ok...); err != nil {
		resp.Body.Close()
		return nil, s.renewed(req.Context(), used, err)
	}
	s.accepted(used)
	return resp, nil
}

// withoutURL takes the address out of an error of net/http: the query of an
// upload's address is a credential of sorts.
func withoutURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// isCut reports whether a connection ended in the middle of something.
func isCut(err error) bool {
	cuts := []error{io.ErrUnexpectedEOF, io.EOF, io.ErrClosedPipe, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNREFUSED, net.ErrClosed}
	if slices.ContainsFunc(cuts, func(cut error) bool { return errors.Is(err, cut) }) {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne)
}

// drain empties and closes an answer so that its connection is used again.
func drain(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // only to keep the connection
	resp.Body.Close()
}
