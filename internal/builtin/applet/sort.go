package applet

import (
	"cmp"
	"context"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// A sortKey is one -k: fields and characters count from 1, 0 is "to the end".
type sortKey struct {
	from, fromChar, to, toChar int
	flags                      string
}

func sortLines(_ context.Context, c *Call) error {
	o, err := c.parse("bcCdfghimnrsuVzk:o:t:", map[string]byte{"reverse": 'r', "unique": 'u', "numeric-sort": 'n',
		"key": 'k', "field-separator": 't', "output": 'o', "stable": 's', "ignore-case": 'f', "check": 'c', "version-sort": 'V'})
	if err != nil {
		return err
	}
	flags := ""
	for _, letter := range "bdfghinrV" {
		if o.has(string(letter)) {
			flags += string(letter)
		}
	}
	keys, err := parseKeys(o.all('k'), flags)
	if err != nil {
		return err
	}
	lines, err := c.allLines(o.rest)
	if err != nil {
		return err
	}
	sep := o.get('t', "")
	byKeys := func(a, b string) int {
		for _, k := range keys {
			if n := k.compare(a, b, sep); n != 0 {
				return n
			}
		}
		return 0
	}
	order := func(a, b string) int {
		n := byKeys(a, b)
		if n == 0 && !o.has("su") {
			if n = cmp.Compare(a, b); strings.Contains(flags, "r") {
				n = -n
			}
		}
		return n
	}
	if o.has("cC") {
		if slices.IsSortedFunc(lines, order) {
			return nil
		}
		return &Exit{1}
	}
	slices.SortStableFunc(lines, order)
	if o.has("u") {
		lines = slices.CompactFunc(lines, func(a, b string) bool { return byKeys(a, b) == 0 })
	}
	if name := o.get('o', ""); name != "" {
		f, err := os.Create(c.Path(name))
		if err != nil {
			return err
		}
		defer f.Close()
		c.Stdout = f
	}
	return c.printLines(lines)
}

// parseKeys reads what -k says; without it the key is the whole line.
func parseKeys(texts []string, flags string) ([]sortKey, error) {
	if len(texts) == 0 {
		return []sortKey{{from: 1, flags: flags}}, nil
	}
	var keys []sortKey
	for _, text := range texts {
		key, err := parseKey(text, flags)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// parseKey reads "2,2nr" or "1.3,1.5".
func parseKey(text, defaults string) (sortKey, error) {
	k := sortKey{}
	from, to, _ := strings.Cut(text, ",")
	read := func(s string) (field, char int, flags string) {
		end := strings.IndexFunc(s, unicode.IsLetter)
		if end < 0 {
			end = len(s)
		}
		f, ch, _ := strings.Cut(s[:end], ".")
		field, _ = strconv.Atoi(f)
		char, _ = strconv.Atoi(ch)
		return field, char, s[end:]
	}
	var f1, f2 string
	k.from, k.fromChar, f1 = read(from)
	k.to, k.toChar, f2 = read(to)
	if k.from < 1 {
		return k, usagef("invalid key '%s'", text)
	}
	if k.flags = f1 + f2; k.flags == "" {
		k.flags = defaults
	}
	return k, nil
}

func (k sortKey) compare(a, b, sep string) int {
	a, b = k.cut(a, sep), k.cut(b, sep)
	if strings.Contains(k.flags, "f") {
		a, b = strings.ToUpper(a), strings.ToUpper(b)
	}
	if strings.Contains(k.flags, "d") {
		a, b = dictionary(a), dictionary(b)
	}
	n := 0
	switch {
	case strings.ContainsAny(k.flags, "ngh"):
		n = cmp.Compare(leadingNumber(a, k.flags), leadingNumber(b, k.flags))
	case strings.Contains(k.flags, "V"):
		n = compareVersions(a, b)
	default:
		n = strings.Compare(a, b)
	}
	if strings.Contains(k.flags, "r") {
		n = -n
	}
	return n
}

// cut returns the part of a line that the key is.
func (k sortKey) cut(line, sep string) string {
	starts, ends := fieldBounds(line, sep)
	if k.from > len(starts) {
		return ""
	}
	from := starts[k.from-1]
	if strings.Contains(k.flags, "b") || strings.ContainsAny(k.flags, "ngh") {
		for from < len(line) && (line[from] == ' ' || line[from] == '\t') {
			from++
		}
	}
	from = min(len(line), from+max(0, k.fromChar-1))
	to := len(line)
	if k.to > 0 && k.to <= len(starts) {
		to = ends[k.to-1]
		if k.toChar > 0 {
			to = min(len(line), starts[k.to-1]+k.toChar)
		}
	}
	return line[from:max(from, to)]
}

// fieldBounds finds the fields of a line. Without a separator the blanks before
// a field belong to it.
func fieldBounds(line, sep string) (starts, ends []int) {
	if sep != "" {
		at := 0
		for part := range strings.SplitSeq(line, sep) {
			starts, ends = append(starts, at), append(ends, at+len(part))
			at += len(part) + len(sep)
		}
		return starts, ends
	}
	for at := 0; at < len(line); {
		end := at
		for end < len(line) && (line[end] == ' ' || line[end] == '\t') {
			end++
		}
		for end < len(line) && line[end] != ' ' && line[end] != '\t' {
			end++
		}
		starts, ends = append(starts, at), append(ends, end)
		at = end
	}
	return starts, ends
}

func dictionary(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == ' ' || r == '\t' {
			return r
		}
		return -1
	}, s)
}

func leadingNumber(s, flags string) float64 {
	s = strings.TrimLeft(s, " \t")
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || s[end] == '.' || s[end] == '-' && end == 0) {
		end++
	}
	if strings.Contains(flags, "g") {
		if f, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil {
			return f
		}
	}
	f, _ := strconv.ParseFloat(s[:end], 64)
	if strings.Contains(flags, "h") && end < len(s) {
		if i := strings.IndexByte("KMGTPE", s[end]&^0x20); i >= 0 {
			f *= math.Pow(1024, float64(i+1))
		}
	}
	return f
}

// compareVersions orders runs of digits by value and the rest as text.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		if isDigit(a[0]) && isDigit(b[0]) {
			x, y := strings.TrimLeft(digits(a), "0"), strings.TrimLeft(digits(b), "0")
			if n := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); n != 0 {
				return n
			}
			a, b = a[len(digits(a)):], b[len(digits(b)):]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

func digits(s string) string {
	end := 0
	for end < len(s) && isDigit(s[end]) {
		end++
	}
	return s[:end]
}
