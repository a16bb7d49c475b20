package image

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"bake/builder"
	"bake/internal/lazyregexp"
)

// The limits of a name (EC2 API reference, CreateImage: Name).
const (
	nameMin = 3
	nameMax = 128
)

// nameChars are the characters of a name beside letters and digits.
const nameChars = "()[] ./-'@_"

func nameChar(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(nameChars, r)
}

// CheckName returns what is wrong with the name of an AMI.
func CheckName(name string) error {
	switch bad := strings.IndexFunc(name, func(r rune) bool { return !nameChar(r) }); {
	case bad >= 0:
		return fmt.Errorf("the name %q has %q in it: an AMI's name is made of letters, digits and %s", name, []rune(name[bad:])[0], nameChars)
	case len(name) < nameMin:
		return fmt.Errorf("the name %q is too short: an AMI's name has at least %d characters", name, nameMin)
	case len(name) > nameMax:
		return fmt.Errorf("the name %q has %d characters: an AMI's name has at most %d", name, len(name), nameMax)
	}
	return nil
}

// cleanName makes an AMI's name of any text.
func cleanName(text string) string {
	text = strings.Map(func(r rune) rune {
		if nameChar(r) {
			return r
		}
		return '-'
	}, text)
	for len(text) < nameMin {
		text += "-"
	}
	return text[:min(len(text), nameMax)]
}

// TemporaryName is what an image is called until it gets its name: an image
// that exists may have that name still, and names cannot be changed.
func TemporaryName(name, token string) string {
	suffix := " candidate " + token[:min(len(token), 16)]
	return name[:min(len(name), nameMax-len(suffix))] + suffix
}

// A wording is a text of the template in which values that differ from run to
// run (run.id, run.timestamp) may stand. A text that differs in nothing else
// has not changed.
type wording struct {
	text  string
	shape *regexp.Regexp // nil: the text holds no such value
}

// newWording finds the values of the plan's run in a text.
func newWording(p *builder.Plan, text string) wording {
	shapes := map[string]string{} // value -> what stands in its place in another run
	var values []string
	for _, name := range slices.Sorted(maps.Keys(p.Run)) {
		value := p.Run[name]
		if value == "" || shapes[value] != "" {
			continue
		}
		values, shapes[value] = append(values, value), shapeOf(value)
		if day, _, ok := strings.Cut(value, "-"); ok && len(day) == 8 && shapes[day] == "" {
			values, shapes[day] = append(values, day), shapeOf(day)
		}
	}
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) }) // the id begins with the timestamp
	var quoted []string
	for _, v := range values {
		quoted = append(quoted, regexp.QuoteMeta(v))
	}
	if len(quoted) == 0 {
		return wording{text: text}
	}
	found := regexp.MustCompile(strings.Join(quoted, "|"))
	if !found.MatchString(text) {
		return wording{text: text}
	}
	var expr strings.Builder
	at := 0
	for _, m := range found.FindAllStringIndex(text, -1) {
		expr.WriteString(regexp.QuoteMeta(text[at:m[0]]) + shapes[text[m[0]:m[1]]])
		at = m[1]
	}
	expr.WriteString(regexp.QuoteMeta(text[at:]))
	return wording{text: text, shape: regexp.MustCompile("^(?s:" + expr.String() + ")$")}
}

var (
	digits  = lazyregexp.New(`[0-9]+`)
	letters = lazyregexp.New(`[A-Za-z]`)
)

// shapeOf is an expression for values like v: digits for digits, and after the
// first letter letters and digits.
func shapeOf(v string) string {
	lead := v
	if i := letters.FindStringIndex(v); i != nil {
		lead = v[:i[0]]
	}
	if i := strings.LastIndexByte(lead, '-'); i >= 0 {
		lead = lead[:i+1]
	} else if lead != v {
		lead = ""
	}
	shape := digits.ReplaceAllStringFunc(lead, func(d string) string { return fmt.Sprintf("[0-9]{%d}", len(d)) })
	if rest := v[len(lead):]; rest != "" {
		shape += fmt.Sprintf("[0-9A-Za-z-]{%d}", len(rest))
	}
	return shape
}

// matches reports whether have is the text as this or another run writes it.
func (w wording) matches(have string) bool {
	return have == w.text || w.shape != nil && w.shape.MatchString(have)
}
