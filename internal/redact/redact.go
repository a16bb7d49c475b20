// Package redact replaces secrets by "***" in whatever is shown or kept, in
// every form in which a log usually has them: as they are, in base64, hex, or
// escaped for a URL, a shell, JSON, Go, Python or HTML.
//
// What it cannot see: a secret that was compressed, encrypted, reversed or cut
// into pieces by the program that printed it. It is the net under the rule that
// secrets are not printed, not a replacement for it.
package redact

import (
	"sync"
	"sync/atomic"
)

// Mask is what stands in place of a secret.
const Mask = "***"

// minSecret is the length in bytes of the shortest secret that is redacted. To
// hide each "1" or "dev" would garble the log and, by the holes, tell the secret.
const minSecret = 4

// A Redactor knows secrets and removes them from text. It is safe for
// concurrent use; the zero Redactor knows none.
type Redactor struct {
	mu    sync.Mutex // serialises Add
	known map[string]bool
	forms atomic.Pointer[matcher]
}

// New returns a Redactor that knows the secrets.
func New(secrets []string) *Redactor {
	r := new(Redactor)
	r.Add(secrets...)
	return r
}

// Add teaches r more secrets; writers that are open know them from their next
// Write on. A secret r knows already costs next to nothing. Those shorter than
// minSecret are left alone: Add returns how many of them there were.
func (r *Redactor) Add(secrets ...string) (short int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	learned := false
	for _, s := range secrets {
		switch {
		case r.known[s]:
		case len(s) < minSecret:
			short++
		default:
			if r.known == nil {
				r.known = map[string]bool{}
			}
			r.known[s] = true
			learned = true
		}
	}
	if learned {
		all := map[string]bool{}
		for s := range r.known {
			addForms(all, s)
		}
		r.forms.Store(newMatcher(all))
	}
	return short
}

// String returns s without the secrets. Where two of them overlap, all that
// belongs to either is gone.
func (r *Redactor) String(s string) string {
	m := r.forms.Load()
	if m == nil || !m.matches(s) {
		return s
	}
	out, _, _ := m.mask(nil, s, 0, true)
	return string(out)
}
