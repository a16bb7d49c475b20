package registrytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A Fault is what happens to one request instead of, or after, the real thing.
type Fault struct {
	Status      int // answered instead of asking the registry
	Header      http.Header
	Body        string
	CutRequest  int64 // the connection ends after that many bytes of the body have gone through
	CutResponse int64 // the connection ends after that many bytes of the answer
	DropRange   bool  // the registry never sees the Range header
	LoseAnswer  bool  // the registry acts, but its answer does not arrive
}

// A Proxy stands before a registry and does what its rule says.
type Proxy struct {
	Host string

	mu       sync.Mutex
	rule     func(r *http.Request) *Fault
	requests []string
	sent     int64
}

// NewProxy starts a proxy before the registry at upstream (host and port).
// rule is asked for each request, one at a time; nil lets it through.
func NewProxy(t testing.TB, upstream string, rule func(r *http.Request) *Fault) *Proxy {
	t.Helper()
	p := &Proxy{rule: rule}
	target := &url.URL{Scheme: "http", Host: upstream}
	rp := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // so that Location headers come back here
		},
		ModifyResponse: func(resp *http.Response) error {
			f, _ := resp.Request.Context().Value(faultKey{}).(*Fault)
			switch {
			case f == nil:
			case f.LoseAnswer:
				return http.ErrAbortHandler
			case f.CutResponse > 0:
				resp.Body = &cutReader{ReadCloser: resp.Body, left: f.CutResponse}
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	srv := httptest.NewUnstartedServer(p.handler(rp))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	t.Cleanup(srv.Close)
	p.Host = strings.TrimPrefix(srv.URL, "http://")
	return p
}

type faultKey struct{}

func (p *Proxy) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.requests = append(p.requests, r.Method+" "+r.URL.Path)
		var f *Fault
		if p.rule != nil {
			f = p.rule(r)
		}
		p.mu.Unlock()
		r.Body = &countReader{ReadCloser: r.Body, p: p}
		if f == nil {
			next.ServeHTTP(w, r)
			return
		}
		if f.Status != 0 {
			for k, v := range f.Header {
				w.Header()[k] = v
			}
			w.WriteHeader(f.Status)
			_, _ = io.WriteString(w, f.Body) // the client may be gone
			return
		}
		if f.DropRange {
			r.Header.Del("Range")
		}
		if f.CutRequest > 0 {
			r.Body = &cutReader{ReadCloser: r.Body, left: f.CutRequest}
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), faultKey{}, f)))
	})
}

// Requests returns what was asked so far, as "METHOD /path".
func (p *Proxy) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Count returns how many requests begin with the method.
func (p *Proxy) Count(method string) int {
	n := 0
	for _, r := range p.Requests() {
		if strings.HasPrefix(r, method+" ") {
			n++
		}
	}
	return n
}

// Sent returns how many bytes of request bodies have come in.
func (p *Proxy) Sent() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

// Reset forgets what was asked and sets another rule.
func (p *Proxy) Reset(rule func(r *http.Request) *Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule, p.requests, p.sent = rule, nil, 0
}

type countReader struct {
	io.ReadCloser
	p *Proxy
}

func (c *countReader) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.p.mu.Lock()
	c.p.sent += int64(n)
	c.p.mu.Unlock()
	return n, err
}

type cutReader struct {
	io.ReadCloser
	left int64
}

func (c *cutReader) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("cut by the test")
	}
	n, err := c.ReadCloser.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

// A TokenServer makes a registry ask for bearer tokens, as Docker Hub does.
type TokenServer struct {
	User, Password string // empty: anybody gets a token
	Uses           int    // how many requests a token is good for; 0: any number

	mu     sync.Mutex
	issued int
	left   map[string]int
}

// Rule is a proxy's rule that lets only requests with a good token through.
// Requests it lets through go on to next, if there is one.
func (s *TokenServer) Rule(next func(r *http.Request) *Fault) func(r *http.Request) *Fault {
	return func(r *http.Request) *Fault {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.URL.Path == "/token" {
			return s.issue(r)
		}
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		left, known := s.left[token]
		if !known || s.Uses > 0 && left == 0 {
			challenge := fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, r.Host)
			return &Fault{
				Status: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": {challenge}},
				Body: `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`,
			}
		}
		s.left[token] = left - 1
		if next == nil {
			return nil
		}
		return next(r)
	}
}

func (s *TokenServer) issue(r *http.Request) *Fault {
	user, password, _ := r.BasicAuth()
	if s.User != "" && (user != s.User || password != s.Password) {
		return &Fault{Status: http.StatusUnauthorized, Body: `{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}`}
	}
	if s.left == nil {
		s.left = map[string]int{}
	}
	s.issued++
	token := fmt.Sprintf("token-%d", s.issued)
	s.left[token] = s.Uses
	body, _ := json.Marshal(map[string]string{"token": token}) // strings only
	return &Fault{Status: http.StatusOK, Body: string(body)}
}

// A Lock makes a registry ask for a user and a password, as ECR does, whose
// password can run out at any time.
type Lock struct {
	Status  int    // of a refusal: 401 or, as ECR does for a token that has run out, 403
	Message string // of a refusal

	mu    sync.Mutex
	valid string
}

// Set makes password the only one that opens.
func (l *Lock) Set(password string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.valid = password
}

// Rule is a proxy's rule that lets only requests with the password through.
// Those go on to next, if there is one.
func (l *Lock) Rule(next func(r *http.Request) *Fault) func(r *http.Request) *Fault {
	return func(r *http.Request) *Fault {
		l.mu.Lock()
		valid := l.valid
		l.mu.Unlock()
		_, password, given := r.BasicAuth()
		switch {
		case given && password == valid && next != nil:
			return next(r)
		case given && password == valid:
			return nil
		}
		status := http.StatusUnauthorized
		if given {
			status = l.Status
		}
		body, _ := json.Marshal(map[string]any{"errors": []map[string]string{{"code": "DENIED", "message": l.Message}}}) // strings only
		return &Fault{Status: status, Header: http.Header{"Www-Authenticate": {fmt.Sprintf(`Basic realm="http://%s/",service="ecr.amazonaws.com"`, r.Host)}}, Body: string(body)}
	}
}
