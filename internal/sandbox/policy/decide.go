package policy

import (
	"strings"

	"bake/internal/lazyregexp"
)

// A Request is what is decided about: one action on one resource.
type Request struct {
	Action   string // "ec2:RunInstances"
	Resource string // an ARN; "*" if the action knows no resources
	// Principal is who asks, by kind, for documents that name principals:
	// {"AWS": [the caller's ARN, its role's, its account]}.
	Principal map[string][]string
	// Context is what conditions ask about, by name in lower case: "aws:requestedregion".
	Context map[string][]string
}

// An Effect is what a document says.
type Effect int

// Effects, the stronger later.
const (
	Silent Effect = iota // no statement fits: denied, if no other document allows
	Allowed
	Denied // explicitly
)

// Decide returns what all documents together say.
func Decide(documents []*Document, r Request) Effect {
	effect := Silent
	for _, d := range documents {
		for _, s := range d.Statements {
			if !s.fits(r) {
				continue
			}
			if s.Effect == "Deny" {
				return Denied
			}
			effect = Allowed
		}
	}
	return effect
}

func (s *Statement) fits(r Request) bool {
	switch {
	case len(s.Action) > 0 && !anyMatch(s.Action, r.Action, true),
		len(s.NotAction) > 0 && anyMatch(s.NotAction, r.Action, true),
		len(s.Resource) > 0 && !anyMatch(r.fill(s.Resource), r.Resource, false),
		len(s.NotResource) > 0 && anyMatch(r.fill(s.NotResource), r.Resource, false),
		s.Principal != nil && !s.Principal.names(r.Principal),
		s.NotPrincipal != nil && s.NotPrincipal.names(r.Principal):
		return false
	}
	return s.holds(r)
}

// names reports whether one of the identities is a principal of p.
func (p Principal) names(ids map[string][]string) bool {
	if _, anybody := p["*"]; anybody {
		return true
	}
	for kind, words := range p {
		for _, w := range words {
			if account, ok := accountRoot(w); kind == "AWS" && ok {
				w = account
			}
			for _, id := range ids[kind] {
				if w == "*" || w == id {
					return true
				}
			}
		}
	}
	return false
}

var rootForm = lazyregexp.New(`^arn:[a-z-]+:iam::([0-9]{12}):root$`)

// accountRoot returns the account that arn:aws:iam::ACCOUNT:root means, which is all of it.
func accountRoot(arn string) (string, bool) {
	m := rootForm.FindStringSubmatch(arn)
	if m == nil {
		return "", false
	}
	return m[1], true
}

var variable = lazyregexp.New(`\$\{([^}]+)\}`)

// fill puts the context's values where a policy has ${aws:...}.
func (r Request) fill(words Words) Words {
	filled := make(Words, len(words))
	for i, w := range words {
		filled[i] = variable.ReplaceAllStringFunc(w, func(m string) string {
			switch name := m[2 : len(m)-1]; name {
			case "*", "?", "$":
				return name
			default:
				if values := r.Context[strings.ToLower(name)]; len(values) == 1 {
					return values[0]
				}
				return m
			}
		})
	}
	return filled
}

func anyMatch(patterns Words, text string, fold bool) bool {
	for _, p := range patterns {
		if fold && Match(strings.ToLower(p), strings.ToLower(text)) || !fold && Match(p, text) {
			return true
		}
	}
	return false
}

// Match reports whether text fits a pattern, where * is any text and ? any character.
func Match(pattern, text string) bool {
	star, mark := -1, 0
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p, t = p+1, t+1
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
