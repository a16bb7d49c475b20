package templates

import (
	"strconv"
	"strings"
)

// A Block is a piece of a template that knows its place. The zero Block is
// "the template does not have it".
type Block struct {
	node  *node
	file  string
	label string // the key it stands under, for messages
	env   *Env
}

// Pos is where the block starts.
func (b Block) Pos() Pos {
	if b.node == nil {
		return Pos{File: b.file}
	}
	return Pos{File: b.node.src.name, Line: b.node.line, Col: b.node.col}
}

// IsZero reports whether the template does not have this block.
func (b Block) IsZero() bool { return b.node == nil }

// IsNull reports whether the block is there but empty, as in `reboot:`.
func (b Block) IsNull() bool { return b.node != nil && b.node.kind == nullNode }

// IsMapping reports whether the block is keys and values.
func (b Block) IsMapping() bool { return b.node != nil && b.node.kind == mappingNode }

// IsList reports whether the block is a list.
func (b Block) IsList() bool { return b.node != nil && b.node.kind == listNode }

// Text returns the text of a scalar. It is false for everything else, and for
// a scalar with an expression that is not resolved.
func (b Block) Text() (string, bool) {
	if b.node == nil || b.node.kind != scalarNode || b.node.open {
		return "", false
	}
	return b.node.text, true
}

// Keys returns the keys of a mapping in file order, nil for everything else.
func (b Block) Keys() []string {
	if b.node == nil {
		return nil
	}
	var keys []string
	for _, f := range b.node.fields {
		keys = append(keys, f.key.text)
	}
	return keys
}

// Len returns the number of elements of a list or keys of a mapping.
func (b Block) Len() int {
	if b.node == nil {
		return 0
	}
	return len(b.node.items) + len(b.node.fields)
}

// Dir is the absolute directory that relative paths in the template start
// from; empty if the block is of no template.
func (b Block) Dir() string {
	if b.env == nil {
		return ""
	}
	return b.env.dir
}

// At returns the block under the keys (or list indexes, as decimal numbers),
// or, if there is none, the nearest one above it that exists: good enough to
// point at.
func (b Block) At(path ...string) Block {
	for _, step := range path {
		below := b.below(step)
		if below.node == nil {
			return b
		}
		b = below
	}
	return b
}

// Key returns the key itself that path ends in, to point at it rather than at
// its value; where there is none, the same as At.
func (b Block) Key(path ...string) Block {
	if len(path) == 0 {
		return b
	}
	last := len(path) - 1
	above := b.At(path[:last]...)
	if f := above.node.field(path[last]); f != nil && b.Has(path...) {
		return above.with(f.key, f.key.text)
	}
	return b.At(path...)
}

// Has reports whether there is something under the keys.
func (b Block) Has(path ...string) bool {
	for _, step := range path {
		if b = b.below(step); b.node == nil {
			return false
		}
	}
	return b.node != nil
}

func (b Block) below(step string) Block {
	if b.node == nil {
		return Block{}
	}
	if n := b.node.get(step); n != nil {
		return b.with(n, step)
	}
	if b.node.kind == listNode {
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(b.node.items) {
			return b.item(i)
		}
	}
	return Block{}
}

func (b Block) with(n *node, label string) Block {
	return Block{node: n, file: b.file, label: label, env: b.env}
}

func (b Block) item(i int) Block { return b.with(b.node.items[i], b.label) }

// Unresolved reports whether the block is or contains an expression whose
// value is not known yet.
func (b Block) Unresolved() bool { return b.node != nil && b.node.open }

// Errorf returns a diagnostic at the block's place.
func (b Block) Errorf(format string, args ...any) *Diagnostic {
	if b.node == nil {
		return (&source{name: b.file}).at(0, 0, 0, format, args...)
	}
	return b.node.diag(format, args...)
}

// in says which block a message is about: ` in "run"`, or nothing.
func (b Block) in() string {
	if b.label == "" {
		return ""
	}
	return " in " + strconv.Quote(b.label)
}

// name is what a message calls the block's value: `"timeout"`, "the value".
func (b Block) name() string {
	if b.label == "" {
		return "the value"
	}
	return strconv.Quote(strings.TrimSpace(b.label))
}
