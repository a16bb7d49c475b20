// Package lazyregexp is regular expressions that are compiled when they are first
// used. bake links some hundred of them and a command uses a few: compiled at
// the start of the process they were a tenth of `bake version`, and of every
// step of the embedded engine, whose first process is bake again.
package lazyregexp

import (
	"regexp"
	"sync"
)

// A Regexp is a regular expression in package regexp's syntax. It may be used
// by several goroutines at once.
type Regexp struct{ compiled func() *regexp.Regexp }

// New is the regular expression expr. A mistake in it panics at the first use.
func New(expr string) *Regexp {
	return &Regexp{sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })}
}

// MatchString reports whether s holds a match.
func (r *Regexp) MatchString(s string) bool { return r.compiled().MatchString(s) }

// FindString is the leftmost match in s; empty if there is none.
func (r *Regexp) FindString(s string) string { return r.compiled().FindString(s) }

// FindStringSubmatch is the leftmost match in s and its groups; nil if there is none.
func (r *Regexp) FindStringSubmatch(s string) []string { return r.compiled().FindStringSubmatch(s) }

// FindAllString is the first n matches in s; all of them if n is negative.
func (r *Regexp) FindAllString(s string, n int) []string { return r.compiled().FindAllString(s, n) }

// FindStringIndex is where the leftmost match in s begins and ends; nil if there is none.
func (r *Regexp) FindStringIndex(s string) []int { return r.compiled().FindStringIndex(s) }

// ReplaceAllString is s with every match replaced by with, in which $1 is the first group.
func (r *Regexp) ReplaceAllString(s, with string) string {
	return r.compiled().ReplaceAllString(s, with)
}

// ReplaceAllStringFunc is s with every match replaced by what with makes of it.
func (r *Regexp) ReplaceAllStringFunc(s string, with func(string) string) string {
	return r.compiled().ReplaceAllStringFunc(s, with)
}

// String is the expression.
func (r *Regexp) String() string { return r.compiled().String() }

// FindSubmatch is FindStringSubmatch of bytes.
func (r *Regexp) FindSubmatch(b []byte) [][]byte { return r.compiled().FindSubmatch(b) }

// FindAllSubmatch is the first n matches in b with their groups; all of them if n is negative.
func (r *Regexp) FindAllSubmatch(b []byte, n int) [][][]byte {
	return r.compiled().FindAllSubmatch(b, n)
}
