package sandboxtest

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"bake/internal/sandbox"
	"bake/internal/sandbox/api"
)

// A Victim is a process that dies at one of its calls of AWS. It reaches the
// sandbox through a door of its own, which its death shuts: what AWS has begun to
// carry out by then is carried out and its answer lost; what comes later, also if
// it was sent before, is refused. Without the door, what a dead process has sent
// and the sandbox has not read yet would be carried out after another has
// cleaned up behind it, and a test cannot wait for that.
type Victim struct {
	// URL is where the process, and no other, reaches the sandbox.
	URL string

	sandbox *sandbox.Sandbox
	mu      sync.Mutex
	inside  int // calls that AWS is carrying out
	dead    bool
	less    sync.Cond
}

// killed is what AWS answers to a process that is dead: a denial ends its waits.
var killed = api.Fault{Kind: api.FaultError, Code: "UnauthorizedOperation", Message: "killed", Status: http.StatusForbidden, Times: -1}

// NewVictim returns a process that dies at the first call for which at reports
// true. at is told what an [api.Hook] is told: the number of the call among those
// of its action, since the log was forgotten last, and whether it has been carried
// out. A call that was not is not carried out any more. die is called as it dies,
// before the call is answered. The sandbox has one victim at a time; end it with
// Dead, and clear the faults, before another process uses the sandbox.
func NewVictim(t testing.TB, s *sandbox.Sandbox, at func(c *api.Call, number int, done bool) bool, die func()) *Victim {
	t.Helper()
	v := &Victim{sandbox: s}
	v.less.L = &v.mu
	door := httptest.NewServer(v)
	t.Cleanup(door.Close)
	v.URL = door.URL
	s.Faults.OnCall(func(c *api.Call, number int, done bool) {
		if !at(c, number, done) || !v.shut() {
			return
		}
		if err := s.Faults.Add(killed); err != nil {
			t.Error(err)
		}
		die()
	})
	return v
}

// shut ends the process; false: it is dead already.
func (v *Victim) shut() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	was := v.dead
	v.dead = true
	return !was
}

// enter lets a call in, unless the process is dead.
func (v *Victim) enter() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dead {
		return false
	}
	v.inside++
	return true
}

func (v *Victim) leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.inside--
	v.less.Broadcast()
}

// ServeHTTP passes a call on to the sandbox.
func (v *Victim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !v.enter() {
		v.sandbox.Refuse(w, r, killed.Asked())
		return
	}
	defer v.leave()
	v.sandbox.ServeHTTP(w, r)
}

// Dead reports whether the process died, when all that it had asked for is done.
func (v *Victim) Dead() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.inside > 0 {
		v.less.Wait()
	}
	return v.dead
}
