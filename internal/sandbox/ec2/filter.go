package ec2

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"bake/internal/sandbox/api"
)

// A filter is a Filter.N of a Describe action: any of the values, with * and ?.
type filter struct {
	Name   string   `q:"Name"`
	Values []string `q:"Value"`
}

// page is what Describe actions take to answer in parts.
type page struct {
	MaxResults *int   `q:"MaxResults"`
	NextToken  string `q:"NextToken"`
}

// fields are the names that a resource can be filtered by, and what it has under them.
type fields[R any] map[string]func(R) []string

// A listing is a Describe action: which of all resources the caller asks for.
type listing[R resource] struct {
	kind    kind
	all     map[string]R
	visible func(R) bool // nil: the caller's own
	ids     []string
	filters []filter
	fields  fields[R]
	page    page
	least   int // that MaxResults may be; 0: 5
	most    int // that MaxResults may be; 0: 1000
	// alone says that ids and MaxResults exclude each other.
	alone string
}

// list returns the resources, in order of creation, and the token of the next page.
func list[R resource](o *op, l listing[R]) ([]R, string, error) {
	if l.visible == nil {
		l.visible = func(r R) bool { return r.head().Owner == o.call.Account }
	}
	if err := l.checkPage(); err != nil {
		return nil, "", err
	}
	if err := l.checkIDs(o); err != nil {
		return nil, "", err
	}
	if err := l.checkFilters(); err != nil {
		return nil, "", err
	}
	var found []R
	for id, r := range l.all {
		switch {
		case len(l.ids) > 0 && !slices.Contains(l.ids, id), !l.visible(r), o.call.Hidden(id), !l.passes(r):
		default:
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b R) int { return cmp.Compare(a.head().Seq, b.head().Seq) })
	return cut(found, l.page)
}

func (l *listing[R]) checkPage() error {
	if l.page.MaxResults == nil {
		return nil
	}
	least, most := cmp.Or(l.least, 5), cmp.Or(l.most, 1000)
	n := *l.page.MaxResults
	if l.alone != "" && len(l.ids) > 0 {
		return api.Errorf("InvalidParameterCombination", "The parameter %s cannot be used with the parameter maxResults", l.alone)
	}
	if n < least || n > most {
		return api.Errorf("InvalidParameterValue", "Value ( %d ) for parameter maxResults is invalid. Expecting a value greater than or equal to %d and less than or equal to %d.", n, least, most)
	}
	return nil
}

func (l *listing[R]) checkIDs(o *op) error {
	for _, id := range l.ids {
		if err := l.kind.check(id); err != nil {
			return err
		}
	}
	for _, id := range l.ids {
		r, ok := l.all[id]
		if !ok || !l.visible(r) || o.call.Hidden(id) {
			return l.kind.notFound(id)
		}
	}
	return nil
}

func (l *listing[R]) checkFilters() error {
	for _, f := range l.filters {
		if f.Name == "" {
			return api.Errorf("InvalidParameterValue", "The filter 'null' is invalid")
		}
		if len(f.Values) == 0 {
			return api.Errorf("MissingParameter", "The request must contain the parameter Filter.Value")
		}
		if len(f.Values) > 200 {
			return api.Errorf("FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200")
		}
		if _, ok := l.fields[f.Name]; !ok && f.Name != "tag-key" && f.Name != "tag-value" && !strings.HasPrefix(f.Name, "tag:") {
			return api.Errorf("InvalidParameterValue", "The filter '%s' is invalid", f.Name)
		}
	}
	return nil
}

// passes reports whether the resource passes every filter.
func (l *listing[R]) passes(r R) bool {
	for _, f := range l.filters {
		if !anyMatch(f.Values, l.values(r, f.Name)) {
			return false
		}
	}
	return true
}

func (l *listing[R]) values(r R, name string) []string {
	if get, ok := l.fields[name]; ok {
		return get(r)
	}
	var values []string
	for _, t := range r.head().Tags {
		switch key, isTag := strings.CutPrefix(name, "tag:"); {
		case isTag && key == t.Key, name == "tag-value":
			values = append(values, t.Value)
		case name == "tag-key":
			values = append(values, t.Key)
		}
	}
	return values
}

func anyMatch(patterns, values []string) bool {
	for _, v := range values {
		for _, p := range patterns {
			if match(p, v) {
				return true
			}
		}
	}
	return false
}

// match reports whether the value fits the pattern: * is any run of
// characters, ? is one, and a backslash takes their meaning from them.
func match(pattern, value string) bool {
	for pattern != "" {
		switch c := pattern[0]; {
		case c == '*':
			for i := range len(value) + 1 {
				if match(pattern[1:], value[i:]) {
					return true
				}
			}
			return false
		case value == "":
			return false
		case c == '\\' && len(pattern) > 1:
			pattern = pattern[1:]
			if pattern[0] != value[0] {
				return false
			}
		case c != '?' && c != value[0]:
			return false
		}
		pattern, value = pattern[1:], value[1:]
	}
	return value == ""
}

// cut returns the page of all that the token asks for. Tokens are positions:
// what is made or deleted between two pages shifts them, as it does on AWS.
func cut[R any](all []R, p page) ([]R, string, error) {
	from := 0
	if p.NextToken != "" {
		text, err := base64.StdEncoding.DecodeString(p.NextToken)
		if err == nil {
			from, err = strconv.Atoi(strings.TrimPrefix(string(text), "from:"))
		}
		if err != nil || from < 0 {
			return nil, "", api.Errorf("InvalidNextToken", "The token '%s' is invalid", p.NextToken)
		}
	}
	all = all[min(from, len(all)):]
	if p.MaxResults == nil || len(all) <= *p.MaxResults {
		return all, "", nil
	}
	next := base64.StdEncoding.EncodeToString([]byte("from:" + strconv.Itoa(from+*p.MaxResults)))
	return all[:*p.MaxResults], next, nil
}

// yes writes a boolean as filters do.
func yes(b bool) []string { return []string{strconv.FormatBool(b)} }

// one makes a filter field of a function that has one value.
func one[R any](f func(R) string) func(R) []string {
	return func(r R) []string { return []string{f(r)} }
}
