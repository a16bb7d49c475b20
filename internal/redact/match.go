package redact

import (
	"cmp"
	"slices"
	"strings"
)

// A matcher finds any of many strings in a text. Each of them has at least
// minSecret bytes, so four bytes of the text and one bit of a small filter
// rule out nearly every place where none begins.
type matcher struct {
	filter   [1 << 10]uint64     // one bit for each 16-bit hash of a form's first four bytes
	buckets  map[uint32][]string // those four bytes -> forms, longest first
	prefixes map[string]bool     // the first one to three bytes of each form
	longest  int                 // length of the longest form
}

func newMatcher(forms map[string]bool) *matcher {
	m := &matcher{buckets: map[uint32][]string{}, prefixes: map[string]bool{}}
	for f := range forms {
		key := word(f, 0)
		m.buckets[key] = append(m.buckets[key], f)
		h := hash(key)
		m.filter[h>>6] |= 1 << (h & 63)
		for n := 1; n < minSecret; n++ {
			m.prefixes[f[:n]] = true
		}
		m.longest = max(m.longest, len(f))
	}
	for _, b := range m.buckets {
		slices.SortFunc(b, func(x, y string) int { return cmp.Or(len(y)-len(x), cmp.Compare(x, y)) })
	}
	return m
}

func word(s string, i int) uint32 {
	return uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 | uint32(s[i+3])<<24
}

func hash(w uint32) uint32 { return w * 0x9E3779B1 >> 16 }

// next returns the first place from i on where a form may begin, or is too
// near the end to tell.
func (m *matcher) next(s string, i int) int {
	for ; i+minSecret <= len(s); i++ {
		h := hash(word(s, i))
		if m.filter[h>>6]&(1<<(h&63)) != 0 {
			return i
		}
	}
	return i
}

// at returns the length of the longest form that s begins with, or 0.
func (m *matcher) at(s string) int {
	if len(s) < minSecret {
		return 0
	}
	for _, f := range m.buckets[word(s, 0)] {
		if strings.HasPrefix(s, f) {
			return len(f)
		}
	}
	return 0
}

// open reports whether s is the beginning of a longer form.
func (m *matcher) open(s string) bool {
	if len(s) < minSecret {
		return m.prefixes[s]
	}
	for _, f := range m.buckets[word(s, 0)] {
		if len(f) <= len(s) {
			return false
		}
		if strings.HasPrefix(f, s) {
			return true
		}
	}
	return false
}

func (m *matcher) matches(s string) bool {
	for i := m.next(s, 0); i < len(s); i = m.next(s, i+1) {
		if m.at(s[i:]) > 0 {
			return true
		}
	}
	return false
}

// mask appends s to out with forms replaced. The first covered bytes of s
// belong to a form that is replaced already. Unless s is the end of the text,
// it stops where a form may begin that goes on after s, and returns that rest
// and how much of the rest is covered.
func (m *matcher) mask(out []byte, s string, covered int, end bool) ([]byte, string, int) {
	from := covered                    // first byte that is neither written nor replaced
	open := max(0, len(s)-m.longest+1) // from here on a form may reach beyond s
	i := 0
	for {
		i = m.next(s, i)
		for !end && i < len(s) && len(s)-i < minSecret && !m.prefixes[s[i:]] {
			i++
		}
		if i >= len(s) || !end && i >= open && m.open(s[i:]) {
			break
		}
		if n := m.at(s[i:]); n > 0 {
			if i >= covered {
				out = append(out, s[from:i]...)
				out = append(out, Mask...)
			}
			covered = max(covered, i+n)
			from = covered
		}
		i++
	}
	if from < i {
		out = append(out, s[from:i]...)
	}
	return out, s[i:], max(0, covered-i)
}
