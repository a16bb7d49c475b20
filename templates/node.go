package templates

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

type nodeKind uint8

const (
	nullNode nodeKind = iota
	scalarNode
	listNode
	mappingNode
)

// A node is one value of a template. Unlike a yaml.Node it has no aliases and
// no merge keys, it knows its file, and a scalar may consist of expressions.
// Nodes do not change once they are made, so they are shared freely.
type node struct {
	kind   nodeKind
	tag    scalarTag
	text   string // of a scalar without expressions, escapes undone
	parts  []part // of a scalar with expressions; nil otherwise
	raw    string // of a scalar, as YAML had it
	items  []*node
	fields []field
	src    *source
	line   int
	col    int
	style  yaml.Style

	loose  bool // a scalar from JSON or an expression: "5" may be a number
	secret bool // made from a sensitive value: never shown
	open   bool // it is or contains an expression
	size   int  // nodes it stands for, itself included
}

// A field is one key of a mapping and its value.
type field struct {
	key, value *node
}

// scalarTag is the type that YAML gives a scalar.
type scalarTag uint8

const (
	strTag scalarTag = iota
	intTag
	floatTag
	boolTag
)

// get returns the value under key, or nil.
func (n *node) get(key string) *node {
	if f := n.field(key); f != nil {
		return f.value
	}
	return nil
}

func (n *node) field(key string) *field {
	if n == nil {
		return nil
	}
	for i := range n.fields {
		if n.fields[i].key.text == key {
			return &n.fields[i]
		}
	}
	return nil
}

// seal works out what a node knows of the nodes below it.
func (n *node) seal() *node {
	n.size, n.open = 1, len(n.parts) > 0
	for _, item := range n.items {
		n.add(item)
	}
	for _, f := range n.fields {
		n.size++
		n.add(f.value)
	}
	return n
}

func (n *node) add(below *node) {
	// Aliases of aliases overflow an int: sizes stop growing past the limit.
	n.size = min(n.size+below.size, 2*maxNodes)
	n.open = n.open || below.open
	n.secret = n.secret || below.secret
}

// diag returns a diagnostic that covers the node.
func (n *node) diag(format string, args ...any) *Diagnostic {
	return n.src.at(n.line, n.col, n.end(), format, args...)
}

// what describes the node in a message: `"many"`, "a list".
func (n *node) what() string {
	switch {
	case n.kind == nullNode:
		return "empty"
	case n.kind == listNode:
		return "a list"
	case n.kind == mappingNode:
		return "a mapping"
	case n.secret:
		return "the sensitive value"
	case n.tag == strTag:
		return strconv.Quote(shorten(n.text))
	default:
		return n.text
	}
}

// shorten keeps a value that is quoted in a message readable.
func shorten(s string) string {
	const most = 60
	if i := strings.IndexByte(s, '\n'); i >= 0 && i < most {
		return s[:i] + "..."
	}
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// plainTag returns the type of a plain scalar, for values that do not come
// through YAML: flags, environment variables, defaults in struct tags.
func plainTag(text string) scalarTag {
	switch text {
	case "true", "false":
		return boolTag
	}
	if text == "" || !strings.ContainsRune("+-.0123456789", rune(text[0])) {
		return strTag
	}
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return intTag
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return floatTag
	}
	return strTag
}
