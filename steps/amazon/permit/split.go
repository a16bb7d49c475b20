package permit

import (
	"encoding/json"
	"strings"
	"unicode"
)

// ManagedLimit is how many characters a managed policy may have, white space
// apart (IAM user guide, "IAM and AWS STS quotas").
const ManagedLimit = 6144

// Characters is the document's size as IAM counts it.
func (d Document) Characters() int {
	n := 0
	for _, r := range string(must(json.Marshal(d))) {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// Split cuts a policy into as few as hold it, each within IAM's limit for a
// managed policy. A statement that is too long by itself stays whole.
func (d Document) Split() []Document {
	var parts []Document
	for _, s := range d.Statements {
		placed := false
		for i := range parts {
			grown := parts[i]
			grown.Statements = append(grown.Statements[:len(grown.Statements):len(grown.Statements)], s)
			if grown.Characters() <= ManagedLimit {
				parts[i], placed = grown, true
				break
			}
		}
		if !placed {
			parts = append(parts, Document{Version: d.Version, Statements: []Allowed{s}})
		}
	}
	return parts
}

// Title is a name for the policy of a role, a profile or whoever runs bake, as
// IAM takes it.
func Title(template, actor string) string {
	if template == "" {
		template = "template"
	}
	name := "bake-" + template
	if actor != "" {
		name += "-" + actor[strings.LastIndexByte(actor, '/')+1:]
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("+=,.@-_", r) || r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return '-'
	}, name)
}
