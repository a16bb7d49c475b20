package ssm

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"bake/internal/sandbox/api"
	"bake/internal/sandbox/session"
)

// An Agent is Systems Manager's on an instance: sessions go through it.
type Agent struct {
	// Dial connects to a port of the instance, from inside.
	Dial func(ctx context.Context, port uint16) (net.Conn, error)
	Gone <-chan struct{} // closed when the instance has ended
}

// A started session, until it is forgotten.
type started struct {
	ID, Owner, Document, Reason, Target string
	UserID                              string // the owner's
	account, region                     string
	began, ended                        time.Time // ended: zero while it goes on
}

// Close ends all sessions.
func (t *T) Close() error {
	t.mu.Lock()
	channels := t.channels
	t.mu.Unlock()
	if channels == nil {
		return nil
	}
	return channels.Close()
}

type startSessionIn struct {
	Target, DocumentName, Reason string
	Parameters                   map[string][]string
}

type sessionOut struct {
	SessionId, StreamUrl, TokenValue string
}

// sshDocument is the document of sessions that ssh's ProxyCommand uses.
const sshDocument = "AWS-StartSSHSession"

func (t *T) startSession(_ context.Context, c *api.Call, in *startSessionIn) (*sessionOut, error) {
	if in.Target == "" {
		return nil, api.Errorf("ValidationException", "1 validation error detected: Value null at 'target' failed to satisfy constraint: Member must not be null")
	}
	if len(in.Reason) > 256 {
		return nil, api.Errorf("ValidationException", "1 validation error detected: Value '%s' at 'reason' failed to satisfy constraint: Member must have length less than or equal to 256", in.Reason)
	}
	if in.DocumentName != sshDocument {
		return nil, api.Errorf("InvalidDocument", "Document with name %s does not exist.", cmp.Or(in.DocumentName, "SSM-SessionManagerRunShell"))
	}
	for name := range in.Parameters {
		if name != "portNumber" {
			return nil, api.Errorf("InvalidParameters", "Parameter %q is not defined in document %s", name, sshDocument)
		}
	}
	text := "22"
	if p := in.Parameters["portNumber"]; len(p) == 1 {
		text = p[0]
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return nil, api.Errorf("InvalidParameters", "Parameter portNumber has an invalid value: %s", text)
	}
	var agent Agent
	connected := false
	if t.Agents != nil {
		agent, connected = t.Agents(c.Account, c.Region, in.Target)
	}
	if !connected {
		return nil, api.Errorf("TargetNotConnected", "%s is not connected.", in.Target)
	}
	return t.open(c, in, text, agent, uint16(port))
}

func (t *T) open(c *api.Call, in *startSessionIn, text string, agent Agent, port uint16) (*sessionOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.channels == nil {
		var err error
		if t.channels, err = session.Listen(context.Background()); err != nil {
			return nil, fmt.Errorf("listening for sessions: %w", err)
		}
	}
	var b [9]byte
	_, _ = rand.Read(b[:]) // it cannot fail: crypto/rand
	s := &started{ID: c.Caller[strings.LastIndexAny(c.Caller, "/:")+1:] + "-" + hex.EncodeToString(b[:])[:17], Owner: c.Caller, UserID: c.UserID, Document: in.DocumentName, Reason: in.Reason,
		Target: in.Target, account: c.Account, region: c.Region, began: t.world.Now()}
	t.sessions[s.ID] = s
	channels := t.channels
	url, token := channels.OpenPort(s.ID, text, func(ctx context.Context) (net.Conn, error) { return agent.Dial(ctx, port) })
	if agent.Gone != nil {
		go func() { // ends with the instance, at the latest with the sandbox
			<-agent.Gone
			channels.End(s.ID)
		}()
	}
	return &sessionOut{s.ID, url, token}, nil
}

type sessionIn struct{ SessionId string }

// session finds a session of the caller's account. The lock is held.
func (t *T) session(c *api.Call, id string) (*started, error) {
	s := t.sessions[id]
	if s == nil || s.account != c.Account || s.region != c.Region {
		return nil, api.Errorf("DoesNotExistException", "Session with id %s does not exist", id)
	}
	t.settle(s)
	return s, nil
}

// SessionTags are the tags that AWS gives a session, by its ARN: who has started
// it, as policies know him (aws:userid), and on what.
func (t *T) SessionTags(arn string) map[string]string {
	parts := strings.SplitN(arn, ":", 6)
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sessions[strings.TrimPrefix(parts[len(parts)-1], "session/")]
	if s == nil || s.region != parts[3] || s.account != parts[4] {
		return nil
	}
	return map[string]string{"aws:ssmmessages:session-id": s.UserID, "aws:ssmmessages:target-id": s.Target}
}

// settle notes when a session has ended. The lock is held.
func (t *T) settle(s *started) {
	if s.ended.IsZero() && !slices.Contains(t.channels.Sessions(), s.ID) {
		s.ended = t.world.Now()
	}
}

// resumeSession gives a new token to who lost the connection. A session that
// has ended has none.
func (t *T) resumeSession(_ context.Context, c *api.Call, in *sessionIn) (*sessionOut, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.session(c, in.SessionId)
	if err != nil {
		return nil, err
	}
	url, token, _ := t.channels.Resume(s.ID)
	return &sessionOut{s.ID, url, token}, nil
}

func (t *T) terminateSession(_ context.Context, c *api.Call, in *sessionIn) (*sessionIn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, err := t.session(c, in.SessionId); err == nil { // AWS does not tell whether there was one
		t.channels.End(s.ID)
	}
	return in, nil
}

type describeSessionsIn struct {
	paging
	State   string
	Filters []struct{ Key, Value string }
}

type sessionShown struct {
	SessionId, Target, Status, DocumentName, Owner string
	Reason                                         string `json:",omitempty"`
	StartDate                                      time.Time
	EndDate                                        time.Time
}

type describeSessionsOut struct {
	Sessions  []sessionShown
	NextToken string `json:",omitempty"`
}

func (t *T) describeSessions(_ context.Context, c *api.Call, in *describeSessionsIn) (*describeSessionsOut, error) {
	if in.State != "Active" && in.State != "History" {
		return nil, api.Errorf("ValidationException", "1 validation error detected: Value '%s' at 'state' failed to satisfy constraint: Member must satisfy enum value set: [Active, History]", in.State)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []sessionShown
	for _, s := range t.sessions {
		if s.account != c.Account || s.region != c.Region {
			continue
		}
		t.settle(s)
		shown := sessionShown{s.ID, s.Target, "Connected", s.Document, s.Owner, s.Reason, s.began, s.ended}
		if !s.ended.IsZero() {
			shown.Status = "Terminated"
		}
		if (in.State == "Active") == s.ended.IsZero() && shown.fits(in.Filters) {
			all = append(all, shown)
		}
	}
	slices.SortFunc(all, func(a, b sessionShown) int { return compare(a.SessionId, b.SessionId) })
	page, next, err := cut(all, in.paging, 200)
	return &describeSessionsOut{page, next}, err
}

func (s sessionShown) fits(filters []struct{ Key, Value string }) bool {
	for _, f := range filters {
		if f.Key == "Target" && f.Value != s.Target || f.Key == "Owner" && f.Value != s.Owner || f.Key == "SessionId" && f.Value != s.SessionId {
			return false
		}
	}
	return true
}

type connectionStatusOut struct{ Target, Status string }

func (t *T) connectionStatus(_ context.Context, c *api.Call, in *struct{ Target string }) (*connectionStatusOut, error) {
	out := &connectionStatusOut{in.Target, "notconnected"}
	if t.Agents != nil {
		if _, ok := t.Agents(c.Account, c.Region, in.Target); ok {
			out.Status = "connected"
		}
	}
	return out, nil
}

// Cut breaks the connections of all sessions, as a network does: for tests.
func (t *T) Cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.channels != nil {
		t.channels.Cut()
	}
}
