package templates

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// A loader turns the YAML of one file into nodes.
type loader struct {
	src   *source
	made  map[*yaml.Node]*node // of what has an anchor; nil while it is being made
	count int                  // nodes and merged fields so far
	diags Diagnostics
}

var (
	yamlLine     = regexp.MustCompile(`^line (\d+): `)
	standardTags = map[string]bool{"!!str": true, "!!int": true, "!!float": true, "!!bool": true, "!!null": true, "!!map": true, "!!seq": true}
)

// loadYAML reads one YAML document. The node is nil if nothing of it is usable.
func loadYAML(name string, data []byte) (*node, Diagnostics) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(data) > maxFile {
		return nil, Diagnostics{tooBig(name)}
	}
	l := &loader{src: newSource(name, string(data)), made: map[*yaml.Node]*node{}}
	if d := l.checkText(data); d != nil {
		return nil, Diagnostics{d}
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, Diagnostics{l.src.at(1, 1, 0, "the file is empty")}
	} else if err != nil {
		return nil, Diagnostics{l.syntax(err)}
	}
	if err := dec.Decode(&second); err == nil {
		l.diags = append(l.diags, l.src.at(second.Line, second.Column, 0, "a second YAML document begins here: a template is one document"))
	} else if !errors.Is(err, io.EOF) {
		l.diags = append(l.diags, l.syntax(err))
	}
	if len(doc.Content) == 0 {
		return nil, Diagnostics{l.src.at(1, 1, 0, "the file is empty")}
	}
	n := l.load(doc.Content[0], 0)
	if n.size > maxNodes || l.count > maxNodes {
		return nil, append(l.diags, l.src.at(1, 1, 0, "the file stands for more than %d values once its aliases are expanded", maxNodes))
	}
	return n, l.diags
}

func tooBig(name string) *Diagnostic {
	d := &Diagnostic{Pos: Pos{name, 1, 1}, Message: "the file is larger than " + strconv.Itoa(maxFile>>20) + " MiB"}
	d.Hint = "put large content into files of its own and `copy` them"
	return d
}

// checkText finds what YAML refuses without saying where.
func (l *loader) checkText(data []byte) *Diagnostic {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		bad := r == utf8.RuneError && n == 1 || r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f ||
			r > 0x7f && r < 0xa0 && r != 0x85 || r == 0xfeff || r == 0xfffe || r == 0xffff
		if bad {
			before := splitLines(string(data[:i]))
			col := utf8.RuneCountInString(before[len(before)-1]) + 1
			if r == utf8.RuneError {
				// The line cannot be shown as it is.
				return &Diagnostic{Pos: Pos{l.src.name, len(before), col}, Message: "the file is not UTF-8 text"}
			}
			d := l.src.at(len(before), col, 0, "control character %U in the file", r)
			d.Line, d.End = "", 0
			return d
		}
		i += n
	}
	return nil
}

// load makes the node of y. It always returns one, if need be an empty one.
func (l *loader) load(y *yaml.Node, depth int) *node {
	if n, seen := l.made[y]; seen {
		if n == nil {
			l.errorf(y, "the anchor %q contains itself", y.Anchor)
			return l.node(y, nullNode).seal()
		}
		return n
	}
	if depth > maxDepth {
		l.errorf(y, "lists and mappings nest deeper than %d", maxDepth)
		return l.node(y, nullNode).seal()
	}
	if l.count++; l.count > maxNodes {
		return l.node(y, nullNode).seal()
	}
	if y.Anchor != "" {
		l.made[y] = nil
	}
	var n *node
	switch y.Kind {
	case yaml.AliasNode:
		n = l.load(y.Alias, depth+1)
	case yaml.MappingNode:
		n = l.mapping(y, depth)
	case yaml.SequenceNode:
		n = l.node(y, listNode)
		for _, item := range y.Content {
			n.items = append(n.items, l.load(item, depth+1))
		}
		n.seal()
	default:
		n = l.scalar(y)
	}
	if y.Anchor != "" {
		l.made[y] = n
	}
	return n
}

func (l *loader) node(y *yaml.Node, kind nodeKind) *node {
	if tag := y.ShortTag(); y.Style&yaml.TaggedStyle != 0 && !standardTags[tag] {
		l.errorf(y, "unknown YAML tag %s", y.Tag)
	}
	return &node{kind: kind, src: l.src, line: y.Line, col: y.Column, style: y.Style}
}

func (l *loader) scalar(y *yaml.Node) *node {
	n := l.node(y, scalarNode)
	n.text, n.raw = y.Value, y.Value
	switch y.ShortTag() {
	case "!!null":
		n.kind = nullNode
	case "!!bool":
		n.tag = boolTag
	case "!!int":
		n.tag = intTag
	case "!!float":
		n.tag = floatTag
	default:
		l.diags = append(l.diags, n.interpolate()...)
	}
	return n.seal()
}

func (l *loader) mapping(y *yaml.Node, depth int) *node {
	n := l.node(y, mappingNode)
	seen := map[string]int{} // key -> line
	var merges []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode || k.ShortTag() == "!!null" {
			l.errorf(k, "a key must be a word")
			continue
		}
		if k.ShortTag() == "!!merge" {
			merges = append(merges, v)
			continue
		}
		key := l.node(k, scalarNode)
		key.text, key.raw = k.Value, k.Value
		if strings.Contains(k.Value, "${{") {
			l.diags = append(l.diags, key.diag("a key cannot hold an expression"))
		}
		if first, dup := seen[key.text]; dup {
			d := key.diag("the key %q is here twice", shorten(key.text))
			d.Hint = "it is already set in line " + strconv.Itoa(first)
			l.diags = append(l.diags, d)
			l.load(v, depth+1)
			continue
		}
		seen[key.text] = k.Line
		n.fields = append(n.fields, field{key, l.load(v, depth+1)})
	}
	for _, m := range merges {
		l.merge(n, seen, m, depth+1)
	}
	return n.seal()
}

// merge adds the fields of `<<:` that the mapping does not have itself.
func (l *loader) merge(into *node, seen map[string]int, y *yaml.Node, depth int) {
	from := l.load(y, depth)
	sources := []*node{from}
	if from.kind == listNode {
		sources = from.items
	}
	for _, m := range sources {
		if m.kind != mappingNode {
			l.errorf(y, "<< merges a mapping or a list of mappings, not %s", m.what())
			return
		}
		for _, f := range m.fields {
			if _, have := seen[f.key.text]; !have && l.count <= maxNodes {
				l.count++
				seen[f.key.text] = f.key.line
				into.fields = append(into.fields, f)
			}
		}
	}
}

func (l *loader) errorf(y *yaml.Node, format string, args ...any) {
	n := &node{src: l.src, line: y.Line, col: y.Column}
	l.diags = append(l.diags, n.diag(format, args...))
}

// syntax turns an error of yaml.v3, which knows a line at best, into a diagnostic.
func (l *loader) syntax(err error) *Diagnostic {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	m := yamlLine.FindStringSubmatch(text)
	if m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	switch {
	case strings.HasPrefix(text, "did not find expected"):
		// The parser counts from 0 and says where the list or mapping begins.
		if m != nil {
			line++
		}
		line = l.firstBadLine(line, text)
	case strings.HasPrefix(text, "unknown anchor '"):
		name, _, _ := strings.Cut(strings.TrimPrefix(text, "unknown anchor '"), "'")
		for i, have := range l.src.lines {
			if at := strings.Index(have, "*"+name); at >= 0 {
				col := utf8.RuneCountInString(have[:at]) + 1
				d := l.src.at(i+1, col, col+1+utf8.RuneCountInString(name), "there is no anchor %q above", name)
				d.Hint = "an anchor is set with &name before it is used with *name"
				return d
			}
		}
	}
	show := l.src.line(line)
	col := utf8.RuneCountInString(show[:len(show)-len(strings.TrimLeft(show, " \t"))]) + 1
	d := l.src.at(line, col, utf8.RuneCountInString(strings.TrimRight(show, " \t"))+1, "not YAML: %s", text)
	d.Hint = syntaxHint(text, show)
	return d
}

// firstBadLine returns the line with which the text stops being YAML in the
// same way; start if that cannot be found out.
func (l *loader) firstBadLine(start int, message string) int {
	if strings.Contains(message, "',' or") || len(l.src.lines) > 10_000 {
		return start
	}
	fails := func(lines int) bool {
		var doc yaml.Node
		err := yaml.Unmarshal([]byte(strings.Join(l.src.lines[:lines], "\n")), &doc)
		return err != nil && strings.Contains(err.Error(), message)
	}
	if n := sort.Search(len(l.src.lines), func(i int) bool { return fails(i + 1) }); n < len(l.src.lines) && fails(n+1) {
		return n + 1
	}
	return start
}

func syntaxHint(message, line string) string {
	switch {
	case strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
		return "indent with spaces: YAML takes no tabs"
	case strings.Contains(line, "${{"):
		return "put the value in quotes: YAML reads : # { } [ ] and , in an expression as its own"
	case strings.Contains(message, "mapping values are not allowed"):
		return "put a value that contains \": \" in quotes, and check the indentation"
	case strings.Contains(message, "end of stream"):
		return "a quote or bracket is opened here or above and never closed"
	case strings.Contains(message, "',' or"):
		return "a bracket is opened here and not closed, or a comma is missing"
	case strings.Contains(message, "did not find expected"):
		return "check the indentation here and in the line above"
	}
	return ""
}
