package elb

import (
	"cmp"
	"context"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// listen begins to listen for a listener at its load balancer's address. The
// lock is held. Where the port is one that this process may not have, the one
// that stands for it is taken.
func (t *T) listen(r *region, l *listener) error {
	address := r.Balancers[l.Balancer].Address.String()
	socket, err := net.Listen("tcp4", net.JoinHostPort(address, strconv.Itoa(int(l.Port))))
	if err != nil && l.Port < 1024 {
		socket, err = net.Listen("tcp4", net.JoinHostPort(address, strconv.Itoa(int(l.Port+standIn))))
	}
	if err != nil {
		return err
	}
	l.socket = socket
	if l.Protocol == "TCP" {
		t.start(func() { t.serveTCP(r, l, socket) })
		return nil
	}
	l.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { t.serveHTTP(r, l, w, req) }),
		ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	server := l.server
	serve := server.Serve
	if l.Protocol == "HTTPS" {
		server.TLSConfig = t.authority.config(address)
		serve = func(s net.Listener) error { return server.ServeTLS(s, "", "") }
	}
	t.start(func() { _ = serve(socket) }) // until close
	return nil
}

// close stops listening and cuts connections.
func (l *listener) close() {
	if l.server != nil {
		_ = l.server.Close()
	}
	if l.socket != nil {
		_ = l.socket.Close()
	}
	l.server, l.socket = nil, nil
}

// choose is what is done with a request: the actions of the first rule that applies.
func (t *T) choose(r *region, l *listener, req *http.Request) actions {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, u := range r.rulesOf(l) {
		if !slices.ContainsFunc(u.Conditions, func(c condition) bool { return !c.fits(req) }) {
			return slices.Clone(u.Actions)
		}
	}
	return nil
}

func (t *T) serveHTTP(r *region, l *listener, w http.ResponseWriter, req *http.Request) {
	for _, a := range t.choose(r, l, req) {
		switch a.Type {
		case "fixed-response":
			status, _ := strconv.Atoi(a.Fixed.Status)
			w.Header().Set("Content-Type", or(a.Fixed.Type, "text/plain"))
			w.WriteHeader(max(status, 200))
			_, _ = io.WriteString(w, a.Fixed.Body) // the client may be gone
			return
		case "redirect":
			status := http.StatusFound
			if a.Redirect.Status == "HTTP_301" {
				status = http.StatusMovedPermanently
			}
			http.Redirect(w, req, a.Redirect.to(l, req), status)
			return
		case "forward":
			t.forward(r, a.Forward, w, req)
			return
		}
	}
	http.Error(w, "503 Service Temporarily Unavailable", http.StatusServiceUnavailable)
}

// to is where a redirect leads.
func (d *redirect) to(l *listener, req *http.Request) string {
	host, _, _ := strings.Cut(req.Host, ":")
	known := strings.NewReplacer("#{protocol}", strings.ToLower(l.Protocol), "#{host}", host, "#{port}", strconv.Itoa(int(l.Port)), "#{path}", strings.TrimPrefix(req.URL.Path, "/"), "#{query}", req.URL.RawQuery)
	u := url.URL{Scheme: strings.ToLower(known.Replace(or(d.Protocol, "#{protocol}"))), Host: known.Replace(or(d.Host, "#{host}")) + ":" + known.Replace(or(d.Port, "#{port}")),
		Path: known.Replace(or(d.Path, "/#{path}")), RawQuery: known.Replace(or(d.Query, "#{query}"))}
	return u.String()
}

// forward passes a request to a target of one of the groups.
func (t *T) forward(r *region, f *forward, w http.ResponseWriter, req *http.Request) {
	g, m := t.pick(r, f)
	if m == nil {
		http.Error(w, "503 Service Temporarily Unavailable", http.StatusServiceUnavailable)
		return
	}
	port := strconv.Itoa(int(m.Port))
	to := &url.URL{Scheme: strings.ToLower(g.Protocol), Host: net.JoinHostPort(t.host(r, m.ID), port)}
	proxy := httputil.ReverseProxy{
		Transport: transport(t.host(r, m.ID), m.Port, true), ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Host = p.In.Host
			p.SetXForwarded()
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, "502 Bad Gateway", http.StatusBadGateway)
		},
	}
	proxy.ServeHTTP(w, req)
}

// pick chooses a group by weight and in it a target that is healthy; if none
// is, any that is registered, as AWS does ("fail open").
func (t *T) pick(r *region, f *forward) (*group, *member) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var sum int32
	for _, w := range f.Groups {
		sum += *w.Weight
	}
	if sum == 0 {
		return nil, nil
	}
	n := rand.Int32N(sum)
	for _, w := range f.Groups {
		if n -= *w.Weight; n >= 0 {
			continue
		}
		g := r.Groups[w.ARN]
		if g == nil {
			return nil, nil
		}
		all := slices.Clone(g.Targets)
		healthy := slices.DeleteFunc(slices.Clone(all), func(m *member) bool { return m.State != stateHealthy })
		if len(healthy) == 0 {
			healthy = slices.DeleteFunc(all, func(m *member) bool { return m.State == stateDraining })
		}
		if len(healthy) == 0 {
			return g, nil
		}
		g.LastCreated++
		slices.SortFunc(healthy, func(a, b *member) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Port, b.Port)) })
		m := *healthy[g.LastCreated%len(healthy)]
		return g, &m
	}
	return nil, nil
}

// serveTCP passes connections of a network load balancer on until socket is closed.
func (t *T) serveTCP(r *region, l *listener, socket net.Listener) {
	for {
		conn, err := socket.Accept()
		if err != nil {
			return
		}
		t.mu.Lock()
		var f *forward
		if len(l.Default) > 0 {
			f = l.Default[0].Forward
		}
		t.start(func() { t.join(r, f, conn) })
		t.mu.Unlock()
	}
}

// join moves bytes between a client and a target.
func (t *T) join(r *region, f *forward, conn net.Conn) {
	defer conn.Close()
	if f == nil {
		return
	}
	_, m := t.pick(r, f)
	if m == nil {
		return
	}
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	to, err := dial(ctx, t.host(r, m.ID), m.Port)
	if err != nil {
		return
	}
	defer to.Close()
	context.AfterFunc(ctx, func() {
		conn.Close()
		to.Close()
	})
	go func() {
		_, _ = io.Copy(to, conn) // ends with one of the two
		if half, ok := to.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
	}()
	_, _ = io.Copy(conn, to)
}

// host is where a target is reached: its address, or its instance's.
func (t *T) host(r *region, id string) string {
	if !strings.HasPrefix(id, "i-") {
		return id
	}
	if t.instances != nil {
		if address, ok := t.instances.Address(r.Account, r.Region, id); ok {
			return address
		}
	}
	return "127.0.0.1" // where ECS's simulated instances map their ports
}
