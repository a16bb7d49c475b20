package authorize

import (
	"slices"
	"sync"

	"bake/internal/sandbox/policy"
)

// A Decision is one action on one resource that a caller wanted.
type Decision struct {
	Caller  string // ARN
	Request policy.Request
	Effect  policy.Effect
}

// A Record keeps decisions, once it has begun: tests hold policies against them.
type Record struct {
	mu  sync.Mutex
	on  bool
	all []Decision
}

// Begin forgets what was decided, and keeps what is decided from now on.
func (r *Record) Begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on, r.all = true, nil
}

// Decisions returns what was decided since Begin, in order.
func (r *Record) Decisions() []Decision {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

func (r *Record) note(d Decision) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.on {
		r.all = append(r.all, d)
	}
}
