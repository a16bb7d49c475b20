package templates

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// JSON returns the block as canonical JSON: sorted keys, no white space, no
// expression that is resolved, the text of those that are not. The zero block
// is null. A literal `${{` stands there as `$${{`, as in a template.
func (b Block) JSON() JSON {
	var buf bytes.Buffer
	b.node.appendJSON(&buf)
	return buf.Bytes()
}

func (n *node) appendJSON(buf *bytes.Buffer) {
	if n == nil {
		buf.WriteString("null")
		return
	}
	switch n.kind {
	case nullNode:
		buf.WriteString("null")
	case listNode:
		buf.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				buf.WriteByte(',')
			}
			item.appendJSON(buf)
		}
		buf.WriteByte(']')
	case mappingNode:
		fields := slices.SortedFunc(slices.Values(n.fields), func(a, b field) int {
			return strings.Compare(a.key.text, b.key.text)
		})
		buf.WriteByte('{')
		for i, f := range fields {
			if i > 0 {
				buf.WriteByte(',')
			}
			writeString(buf, f.key.text)
			buf.WriteByte(':')
			f.value.appendJSON(buf)
		}
		buf.WriteByte('}')
	default:
		n.scalarJSON(buf)
	}
}

func (n *node) scalarJSON(buf *bytes.Buffer) {
	switch {
	case len(n.parts) > 0 || n.tag == strTag:
		writeString(buf, n.template())
	case n.tag == boolTag:
		buf.WriteString(strings.ToLower(n.text))
	case json.Valid([]byte(n.text)):
		buf.WriteString(n.text)
	default: // 0644, 0x1f, .inf: a number for YAML only
		writeString(buf, n.text)
	}
}

func writeString(buf *bytes.Buffer, s string) {
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string always encodes
	}
	buf.Truncate(buf.Len() - 1) // Encode ends with a newline
}

// FromJSON returns the block that JSON wrote; all of it is at pos. Its
// expressions may name what env knows.
func FromJSON(data json.RawMessage, pos Pos, env *Env) (Block, error) {
	r := jsonReader{dec: json.NewDecoder(bytes.NewReader(data)), src: &source{name: pos.File}, pos: pos}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err == nil {
		if _, more := r.dec.Token(); more != io.EOF {
			err = fmt.Errorf("something follows the value")
		}
	}
	if err != nil {
		return Block{}, fmt.Errorf("reading a block: %w", err)
	}
	return Block{node: n, file: pos.File, env: env}, nil
}

type jsonReader struct {
	dec *json.Decoder
	src *source
	pos Pos
}

func (r *jsonReader) node(kind nodeKind) *node {
	return &node{kind: kind, src: r.src, line: r.pos.Line, col: r.pos.Col}
}

func (r *jsonReader) value(depth int) (*node, error) {
	if depth > maxDepth+1 {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	tok, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok := tok.(type) {
	case json.Delim:
		if tok == '[' {
			return r.list(depth)
		}
		return r.mapping(depth)
	case nil:
		return r.node(nullNode).seal(), nil
	case string:
		return r.scalar(tok)
	case bool:
		n := r.node(scalarNode)
		n.tag, n.text = boolTag, strconv.FormatBool(tok)
		return n.seal(), nil
	default:
		n := r.node(scalarNode)
		n.text = tok.(json.Number).String()
		n.tag = plainTag(n.text)
		return n.seal(), nil
	}
}

func (r *jsonReader) scalar(text string) (*node, error) {
	n := r.node(scalarNode)
	n.text, n.loose = text, true
	parts, _, err := splitExprs(text)
	if err != nil {
		return nil, fmt.Errorf("text %q: %w", shorten(text), err)
	}
	if len(parts) == 1 && !parts[0].isExpr() {
		n.text = parts[0].lit
	} else {
		n.text, n.parts = "", parts
	}
	n.raw = text
	return n.seal(), nil
}

func (r *jsonReader) list(depth int) (*node, error) {
	n := r.node(listNode)
	for r.dec.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
	}
	_, err := r.dec.Token()
	return n.seal(), err
}

func (r *jsonReader) mapping(depth int) (*node, error) {
	n := r.node(mappingNode)
	for r.dec.More() {
		tok, err := r.dec.Token()
		if err != nil {
			return nil, err
		}
		key := r.node(scalarNode)
		key.text, _ = tok.(string)
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.fields = append(n.fields, field{key, value})
	}
	_, err := r.dec.Token()
	return n.seal(), err
}
