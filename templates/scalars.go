package templates

import (
	"errors"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Size is a number of bytes, written "20GiB", "512MiB", "10MB" or as a plain number.
type Size int64

// Mode is a file mode, written as an octal string or number: "0755", 0644.
type Mode uint32

// Strings is a list that may be written as a single string.
type Strings []string

// scalar sets a string, bool or number.
func (d *decoder) scalar(b Block, v reflect.Value, s *fieldSpec) {
	n := b.node
	if n.kind != scalarNode {
		d.add(b.Errorf("%s must be %s, not %s", b.name(), wants(v.Type()), n.what()))
		return
	}
	ok := false
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.text)
		d.checkText(b, s)
		return
	case reflect.Bool:
		var on bool
		on, ok = n.boolean()
		v.SetBool(on)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var i int64
		i, ok = n.integer()
		ok = ok && !v.OverflowInt(i)
		v.SetInt(i)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var i int64
		i, ok = n.integer()
		ok = ok && i >= 0 && !v.OverflowUint(uint64(i))
		v.SetUint(uint64(i))
	case reflect.Float32, reflect.Float64:
		var f float64
		f, ok = n.float()
		v.SetFloat(f)
	default:
		panic("templates.Decode: a field of type " + v.Type().String() + " cannot be read from a template")
	}
	if !ok {
		d.add(d.wrongScalar(b, v.Type()))
		return
	}
	d.checkBounds(b, s, func(text string) (float64, bool) {
		f, err := strconv.ParseFloat(text, 64)
		return f, err == nil
	})
}

func (d *decoder) wrongScalar(b Block, t reflect.Type) *Diagnostic {
	wrong := b.Errorf("%s must be %s, not %s", b.name(), wants(t), b.node.what())
	if t.Kind() == reflect.Bool {
		switch strings.ToLower(b.node.text) {
		case "yes", "on", "y", "1":
			wrong.Hint = "write true"
		case "no", "off", "n", "0":
			wrong.Hint = "write false"
		}
	} else if _, is := (&node{tag: plainTag(b.node.text), text: b.node.text}).float(); is && b.node.tag == strTag {
		wrong.Hint = "write it without quotes"
	}
	if b.node.secret {
		wrong.Hint = ""
	}
	return wrong
}

func (n *node) boolean() (value, ok bool) {
	if n.tag != boolTag && !(n.loose && plainTag(n.text) == boolTag) {
		return false, false
	}
	return strings.EqualFold(n.text, "true"), true
}

func (n *node) integer() (int64, bool) {
	if n.tag != intTag && !n.loose {
		return 0, false
	}
	i, err := strconv.ParseInt(yamlInt(n.text), 0, 64)
	return i, err == nil
}

func (n *node) float() (float64, bool) {
	if n.tag != intTag && n.tag != floatTag && !n.loose {
		return 0, false
	}
	if i, ok := n.integer(); ok {
		return float64(i), true
	}
	f, err := strconv.ParseFloat(n.text, 64)
	return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
}

// yamlInt writes a number of YAML 1.1 or 1.2 as Go reads it in base 0.
func yamlInt(s string) string { return strings.TrimPrefix(s, "+") }

// checkText holds a string against enum and pattern.
func (d *decoder) checkText(b Block, s *fieldSpec) {
	if s == nil {
		return
	}
	text := b.node.text
	if len(s.enum()) > 0 && !slices.Contains(s.enum(), text) {
		wrong := b.Errorf("%s must be %s, not %s", b.name(), oneOf(s.enum()), b.node.what())
		if near := Nearest(text, s.enum()); near != "" && !b.node.secret {
			wrong.Hint = "did you mean " + strconv.Quote(near) + "?"
		}
		d.add(wrong)
	}
	if s.pattern() != "" && !regexp.MustCompile(s.pattern()).MatchString(text) {
		wrong := b.Errorf("%s must match %s, not %s", b.name(), s.pattern(), b.node.what())
		wrong.Hint = s.doc()
		d.add(wrong)
	}
}

func oneOf(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = strconv.Quote(v)
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}

// checkBounds holds a value against min and max, all in the unit that read returns.
func (d *decoder) checkBounds(b Block, s *fieldSpec, read func(string) (float64, bool)) {
	if s == nil || s.min() == "" && s.max() == "" {
		return
	}
	value, ok := read(b.node.text)
	if !ok {
		return
	}
	if least, ok := read(s.min()); ok && value < least {
		d.add(b.Errorf("%s must be at least %s, not %s", b.name(), s.min(), b.node.what()))
	}
	if most, ok := read(s.max()); ok && value > most {
		d.add(b.Errorf("%s must be at most %s, not %s", b.name(), s.max(), b.node.what()))
	}
}

// quantity sets a duration, a size or a file mode.
func (d *decoder) quantity(b Block, v reflect.Value, s *fieldSpec) {
	read := parseDuration
	switch v.Type() {
	case sizeType:
		read = parseSize
	case modeType:
		read = parseMode
	}
	if b.node.kind != scalarNode {
		d.add(b.Errorf("%s must be %s, not %s", b.name(), wants(v.Type()), b.node.what()))
		return
	}
	n, err := read(b.node.text)
	if err != nil {
		wrong := b.Errorf("%s must be %s, not %s", b.name(), wants(v.Type()), b.node.what())
		if v.Type() == durationType && (b.node.tag == intTag || b.node.loose) && !b.node.secret {
			if _, isInt := b.node.integer(); isInt {
				wrong.Hint = "write the unit: " + b.node.text + "s, " + b.node.text + "m"
			}
		}
		d.add(wrong)
		return
	}
	if v.Type() == modeType {
		v.SetUint(uint64(n))
	} else {
		v.SetInt(n)
	}
	d.checkBounds(b, s, func(text string) (float64, bool) {
		n, err := read(text)
		return float64(n), err == nil
	})
}

var errForm = errors.New("not in the form of its type")

// parseDuration reads "90s", "1h30m" and "2d" (days of 24 hours); 0 needs no unit.
func parseDuration(text string) (int64, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, errForm
		}
		return int64(n) * int64(24*time.Hour), nil
	}
	dur, err := time.ParseDuration(text)
	if err != nil || dur < 0 {
		return 0, errForm
	}
	return int64(dur), nil
}

// parseSize reads a number of bytes with an optional unit.
func parseSize(text string) (int64, error) {
	i := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i < 0 {
		i = len(text)
	}
	unit, ok := sizeUnits[strings.TrimSpace(text[i:])]
	if !ok {
		return 0, errForm
	}
	if n, err := strconv.ParseInt(text[:i], 10, 64); err == nil && n <= math.MaxInt64/unit {
		return n * unit, nil
	}
	f, err := strconv.ParseFloat(text[:i], 64)
	if f *= float64(unit); err != nil || f != math.Trunc(f) || f >= math.MaxInt64 {
		return 0, errForm
	}
	return int64(f), nil
}

var sizeUnits = map[string]int64{
	"": 1, "B": 1,
	"KB": 1e3, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// parseMode reads permissions with setuid, setgid and sticky bit. YAML's 0755
// and 0o755 arrive as text, so they mean what they look like; 755 does too.
func parseMode(text string) (int64, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil || n > 0o7777 {
		return 0, errForm
	}
	return int64(n), nil
}

// wants says in the template's words what a field of type t takes.
func wants(t reflect.Type) string {
	switch t {
	case durationType:
		return "a duration like 90s, 10m or 1h30m"
	case sizeType:
		return "a size like 512MiB or 20GiB"
	case modeType:
		return `a file mode like "0644"`
	case stringsType:
		return "a string or a list of strings"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wants(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list of " + plural(wants(t.Elem()))
	case reflect.Map:
		return "a mapping of names to " + plural(wants(t.Elem()))
	case reflect.Struct:
		return "a mapping"
	case reflect.Interface:
		return "any value"
	}
	return "a whole number"
}

func plural(what string) string {
	first, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(what, "a "), "any "), " ")
	switch {
	case first == "whole":
		return "whole numbers"
	case strings.HasPrefix(what, "true"):
		return "true or false"
	case rest == "":
		return first + "s"
	}
	return first + "s " + rest
}

// parsePlain reads the default of a struct tag.
func parsePlain(text string) *node {
	if text != "" && strings.ContainsRune("[{\"'", rune(text[0])) {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			panic("templates.Decode: default:" + strconv.Quote(text) + ": " + err.Error())
		}
		l := &loader{src: &source{}, made: map[*yaml.Node]*node{}}
		return l.load(doc.Content[0], 0)
	}
	n := &node{kind: scalarNode, text: text, raw: text, tag: plainTag(text)}
	return n.seal()
}
