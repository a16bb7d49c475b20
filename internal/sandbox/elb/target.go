package elb

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bake/internal/sandbox/api"
)

// The states of targets.
const (
	stateInitial   = "initial"
	stateHealthy   = "healthy"
	stateUnhealthy = "unhealthy"
	stateDraining  = "draining"
	stateUnused    = "unused"
)

// A member is a target that is registered, or drains.
type member struct {
	ID          string
	Port        int32
	State       string
	Reason      string
	Description string
	DrainedAt   time.Time // for one that drains
	goodInARow  int32
	badInARow   int32
	everHealthy bool
	cancel      context.CancelFunc
}

// end stops the member's health check.
func (m *member) end() {
	if m.cancel != nil {
		m.cancel()
	}
}

func (m *member) set(state, reason, description string) {
	m.State, m.Reason, m.Description = state, reason, description
}

type target struct {
	ID   string `q:"Id,required" xml:"Id"`
	Port int32  `q:"Port" xml:"Port"`
	Zone string `q:"AvailabilityZone" xml:"AvailabilityZone,omitempty"`
}

type targetsIn struct {
	groupIn
	Targets []target `q:"Targets"`
	Include []string `q:"Include"`
}

func (t *T) registerTargets(call *api.Call, r *region, in *targetsIn) (*done, error) {
	g, err := r.group(in.ARN)
	if err != nil {
		return nil, err
	}
	for _, x := range in.Targets {
		if g.TargetType == "ip" && net.ParseIP(x.ID) == nil {
			return nil, validation("'%s' is not a valid IPv4 address", x.ID)
		}
		if x.Port == 0 {
			x.Port = g.Port
		}
		t.register(r, g, x.ID, x.Port)
	}
	return &done{}, nil
}

// register adds a target, or takes one back that drains. The lock is held.
func (t *T) register(r *region, g *group, id string, port int32) {
	if i := g.index(id, port); i >= 0 {
		if g.Targets[i].State != stateDraining {
			return
		}
		g.Targets[i].end()
		g.Targets = slices.Delete(g.Targets, i, i+1)
	}
	m := &member{ID: id, Port: port}
	m.set(stateInitial, "Elb.RegistrationInProgress", "Target registration is in progress")
	g.Targets = append(g.Targets, m)
	t.watch(r, g, m)
}

func (g *group) index(id string, port int32) int {
	return slices.IndexFunc(g.Targets, func(m *member) bool { return m.ID == id && m.Port == port })
}

func (t *T) deregisterTargets(call *api.Call, r *region, in *targetsIn) (*done, error) {
	g, err := r.group(in.ARN)
	if err != nil {
		return nil, err
	}
	for _, x := range in.Targets {
		for _, m := range g.Targets {
			if m.ID == x.ID && (x.Port == 0 || m.Port == x.Port) {
				t.deregister(g, m)
			}
		}
	}
	return &done{}, nil
}

// deregister lets a target drain. The lock is held.
func (t *T) deregister(g *group, m *member) {
	if m.State == stateDraining {
		return
	}
	seconds, err := strconv.Atoi(g.Attributes["deregistration_delay.timeout_seconds"])
	if err != nil {
		seconds = 300
	}
	m.end()
	m.DrainedAt = t.now().Add(t.w.Takes(time.Duration(seconds) * time.Second))
	m.set(stateDraining, "Target.DeregistrationInProgress", "Target deregistration is in progress")
	t.sweep(g)
}

// sweep forgets targets that have drained. The lock is held.
func (t *T) sweep(g *group) {
	g.Targets = slices.DeleteFunc(g.Targets, func(m *member) bool { return m.State == stateDraining && !t.now().Before(m.DrainedAt) })
}

type healthOut struct {
	Healths []healthXML `xml:"TargetHealthDescriptions>member"`
}

type healthXML struct {
	Target    target `xml:"Target"`
	CheckPort string `xml:"HealthCheckPort"`
	Health    struct {
		State       string `xml:"State"`
		Reason      string `xml:"Reason,omitempty"`
		Description string `xml:"Description,omitempty"`
	} `xml:"TargetHealth"`
}

func (t *T) describeTargetHealth(call *api.Call, r *region, in *targetsIn) (*healthOut, error) {
	g, err := r.group(in.ARN)
	if err != nil {
		return nil, err
	}
	t.sweep(g)
	out := &healthOut{}
	add := func(id string, port int32, state, reason, description string) {
		x := healthXML{Target: target{ID: id, Port: port}, CheckPort: g.Check.Port}
		if x.CheckPort == "traffic-port" {
			x.CheckPort = strconv.Itoa(int(port))
		}
		x.Health.State, x.Health.Reason, x.Health.Description = state, reason, description
		out.Healths = append(out.Healths, x)
	}
	for _, m := range g.Targets {
		if len(in.Targets) == 0 {
			add(m.ID, m.Port, m.State, m.Reason, m.Description)
		}
	}
	for _, x := range in.Targets {
		if x.Port == 0 {
			x.Port = g.Port
		}
		if i := g.index(x.ID, x.Port); i >= 0 {
			m := g.Targets[i]
			add(m.ID, m.Port, m.State, m.Reason, m.Description)
		} else {
			add(x.ID, x.Port, stateUnused, "Target.NotRegistered", "Target is not registered to the target group")
		}
	}
	return out, nil
}

// leastInterval is how often a target is checked at most.
const leastInterval = 100 * time.Millisecond

// watch checks a target's health until it is deregistered. The lock is held.
func (t *T) watch(r *region, g *group, m *member) {
	if m.State == stateDraining {
		return
	}
	ctx, cancel := context.WithCancel(t.ctx)
	m.cancel = cancel
	t.start(func() {
		defer cancel()
		for {
			t.mu.Lock()
			c := g.Check
			used := len(r.balancersOf(g.ARN)) > 0
			t.mu.Unlock()
			result := outcome{ok: true}
			if used && c.Enabled {
				result = t.probe(ctx, c, t.host(r, m.ID), m.Port)
			}
			if ctx.Err() != nil {
				return
			}
			t.mu.Lock()
			t.judge(g, m, used, result)
			t.mu.Unlock()
			select {
			case <-ctx.Done():
				return
			case <-time.After(max(t.w.Takes(time.Duration(c.Interval)*time.Second), leastInterval)):
			}
		}
	})
}

// An outcome is what one health check found.
type outcome struct {
	ok                  bool
	reason, description string
}

// judge draws from a check what the target's state is. The lock is held.
func (t *T) judge(g *group, m *member, used bool, o outcome) {
	switch {
	case m.State == stateDraining:
	case !used:
		m.goodInARow, m.badInARow = 0, 0
		m.set(stateUnused, "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer")
	case o.ok:
		m.goodInARow++
		m.badInARow = 0
		// The first success counts for all while a target is new.
		if !m.everHealthy || m.goodInARow >= g.Check.Healthy {
			m.everHealthy = true
			m.set(stateHealthy, "", "")
		}
	default:
		m.badInARow++
		m.goodInARow = 0
		if m.badInARow >= g.Check.Unhealthy {
			m.set(stateUnhealthy, o.reason, o.description)
		} else if m.State == stateUnused || m.State == stateInitial {
			m.set(stateInitial, "Elb.InitialHealthChecking", "Initial health checks in progress")
		}
	}
}

// probe checks one target once.
func (t *T) probe(ctx context.Context, c check, id string, port int32) outcome {
	if n, err := strconv.Atoi(c.Port); err == nil {
		port = int32(n)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.Timeout)*time.Second)
	defer cancel()
	if c.Protocol == "TCP" {
		conn, err := dial(ctx, id, port)
		if err != nil {
			return failed(err)
		}
		_ = conn.Close()
		return outcome{ok: true}
	}
	url := strings.ToLower(c.Protocol) + "://" + net.JoinHostPort(id, strconv.Itoa(int(port))) + c.Path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return outcome{reason: "Elb.InternalError", description: err.Error()}
	}
	req.Header.Set("User-Agent", "ELB-HealthChecker/2.0")
	client := http.Client{Transport: transport(id, port, true), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return failed(err)
	}
	_ = resp.Body.Close()
	if c.matches(resp.StatusCode) {
		return outcome{ok: true}
	}
	return outcome{reason: "Target.ResponseCodeMismatch", description: fmt.Sprintf("Health checks failed with these codes: [%d]", resp.StatusCode)}
}

func failed(err error) outcome {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return outcome{reason: "Target.Timeout", description: "Request timed out"}
	}
	return outcome{reason: "Target.FailedHealthChecks", description: "Health checks failed"}
}

// standIn is added to ports that the sandbox could not have at a machine's or
// task's address, because this process may not listen there (see package network).
const standIn = 8000

// dial connects to a target, or to the port that stands for one below 1024.
func dial(ctx context.Context, id string, port int32) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(id, strconv.Itoa(int(port))))
	if errors.Is(err, syscall.ECONNREFUSED) && port < 1024 && strings.HasPrefix(id, "127.") {
		if other, serr := d.DialContext(ctx, "tcp", net.JoinHostPort(id, strconv.Itoa(int(port+standIn)))); serr == nil {
			return other, nil
		}
	}
	return conn, err
}

// transport reaches one target. Its certificate is not verified, as AWS does not.
func transport(id string, port int32, once bool) *http.Transport {
	return &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, id, port) },
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: once, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
	}
}
