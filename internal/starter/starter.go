// Package starter is what stands behind `bake init`: it lists the starters of
// templates/starter, asks what each needs to know, and writes a template with
// the answers in place. It reads and writes what it is given; the command owns
// flags and files.
package starter

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"bake/internal/lazyregexp"
	embedded "bake/templates/starter"
)

// A Starter is a template to begin with.
type Starter struct {
	Name      string // "container"
	Title     string // what it is for, one line
	Questions []Question
	text      string
}

// A Question has a default answer, which stands in the template.
type Question struct {
	Key     string // for flags: --set KEY=VALUE
	Text    string // "What is the image called?"
	Default string
}

// UnknownError is a name or key that no starter has.
type UnknownError struct {
	What  string // "starter", "answer"
	Name  string
	Known []string
}

func (e *UnknownError) Error() string { return fmt.Sprintf("unknown %s %q", e.What, e.Name) }

// Hint lists what there is.
func (e *UnknownError) Hint() string { return "there are: " + strings.Join(e.Known, ", ") }

// preferred is the order for people who have not seen them: the simplest first.
func preferred() []string {
	return []string{"container", "static-site", "debian", "go-service", "ami", "ecs", "graph", "multi-platform"}
}

// List returns all starters, the ones to begin with first.
func List() ([]Starter, error) {
	names, err := fs.Glob(embedded.Files(), "*.yaml")
	if err != nil {
		return nil, err
	}
	var list []Starter
	for _, file := range names {
		data, err := fs.ReadFile(embedded.Files(), file)
		if err != nil {
			return nil, err
		}
		s, err := read(strings.TrimSuffix(path.Base(file), ".yaml"), string(data))
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	rank := func(s Starter) int {
		if i := slices.Index(preferred(), s.Name); i >= 0 {
			return i
		}
		return len(preferred())
	}
	slices.SortStableFunc(list, func(a, b Starter) int { return rank(a) - rank(b) })
	return list, nil
}

// Find returns the starter of a name, or *UnknownError.
func Find(name string) (Starter, error) {
	list, err := List()
	if err != nil {
		return Starter{}, err
	}
	var known []string
	for _, s := range list {
		if s.Name == name {
			return s, nil
		}
		known = append(known, s.Name)
	}
	return Starter{}, &UnknownError{"starter", name, known}
}

// marked is a line "key: value   #? name text" or "#= name".
var marked = lazyregexp.New(`^(\s*(?:- )?[\w-]+: +)(.*?)(\s+)#([?=]) (\w+) ?(.*)$`)

func read(name, text string) (Starter, error) {
	s := Starter{Name: name, text: text}
	scanner := bufio.NewScanner(strings.NewReader(text))
	for scanner.Scan() {
		line := scanner.Text()
		if s.Title == "" {
			s.Title = strings.TrimPrefix(line, "# ")
		}
		m := marked.FindStringSubmatch(line)
		if m == nil || m[4] != "?" {
			continue
		}
		value := m[2]
		if strings.HasPrefix(value, `"`) {
			if err := json.Unmarshal([]byte(value), &value); err != nil {
				return s, fmt.Errorf("reading starter %s: %s: %w", name, m[2], err)
			}
		}
		s.Questions = append(s.Questions, Question{Key: m[5], Text: m[6], Default: value})
	}
	return s, scanner.Err()
}

// Render returns the template with the answers in the place of the defaults.
// What is not answered keeps its default; an answer to no question is an
// *UnknownError, one that does not fit on a line an error.
func (s Starter) Render(answers map[string]string) ([]byte, error) {
	var known []string
	for _, q := range s.Questions {
		known = append(known, q.Key)
	}
	for key, value := range answers {
		if !slices.Contains(known, key) {
			return nil, &UnknownError{"answer", key, known}
		}
		if !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("answer %s: %q is not one line of text", key, value)
		}
	}
	var b strings.Builder
	for line := range strings.Lines(s.text) {
		line = strings.TrimSuffix(line, "\n")
		if m := marked.FindStringSubmatch(line); m != nil {
			value := m[2]
			if answer, ok := answers[m[5]]; ok {
				value = scalar(answer, strings.HasPrefix(m[2], `"`))
			}
			line = m[1] + value
		}
		b.WriteString(line + "\n")
	}
	return []byte(b.String()), nil
}

// plain is what YAML 1.1 and 1.2 read as the same string without quotes.
var (
	plain    = lazyregexp.New(`^[A-Za-z./][A-Za-z0-9_./:@+ -]*$`)
	notPlain = lazyregexp.New(`(?i)^(y|n|yes|no|on|off|true|false|null|\.nan|[+-]?\.inf)$|: | #|:$| $`)
	version  = lazyregexp.New(`^\d+\.\d+\.\d+[A-Za-z0-9.+-]*$`)
)

// scalar writes a string as YAML on one line, quoted if need be. bake's own
// expressions are text here: nobody who answers a question means one.
func scalar(s string, quote bool) string {
	s = strings.ReplaceAll(s, "${{", "$${{")
	if !quote && (plain.MatchString(s) && !notPlain.MatchString(s) || version.MatchString(s)) {
		return s
	}
	var b strings.Builder
	enc := json.NewEncoder(&b) // a JSON string is a YAML string
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""` // no string fails to encode
	}
	return strings.TrimSpace(b.String())
}
