package templates

import (
	"errors"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// A part is a piece of a scalar: literal text, or an expression.
type part struct {
	lit  string
	expr string // the text between ${{ and }}
	off  int    // byte offset of expr in the scalar's raw text, -1 if it is not from there
}

func (p part) isExpr() bool { return p.expr != "" }

var errOpenExpr = errors.New("the expression is not closed: }} is missing")
var errEmptyExpr = errors.New("the expression is empty")

// interpolate finds the expressions in a scalar that YAML gave as n.raw.
func (n *node) interpolate() Diagnostics {
	if !strings.Contains(n.raw, "{{") {
		return nil
	}
	parts, off, err := splitExprs(n.raw)
	if err != nil {
		d := n.diagAt(off, off+len("${{"), "%s", err)
		if n.style == 0 && strings.Contains(d.Line, " #") {
			d.Hint = "put the value in quotes: YAML takes what follows # for a comment"
		}
		return Diagnostics{d}
	}
	if len(parts) == 1 && !parts[0].isExpr() {
		n.text = parts[0].lit
		return nil
	}
	n.text, n.parts = "", parts
	return nil
}

// splitExprs cuts a text into literals and expressions. `$${{` is a literal
// `${{`, and every further `$` before it stands for itself. An error comes with
// the offset of the `${{` it is about.
func splitExprs(s string) (parts []part, off int, err error) {
	var lit strings.Builder
	for i := 0; i < len(s); {
		j := strings.Index(s[i:], "${{")
		if j < 0 {
			lit.WriteString(s[i:])
			break
		}
		start := i + j
		dollars := 1
		for start > i && s[start-1] == '$' {
			start, dollars = start-1, dollars+1
		}
		lit.WriteString(s[i:start])
		open := start + dollars - 1 // the last $
		if dollars > 1 {
			lit.WriteString(s[start+1 : open+3])
			i = open + 3
			continue
		}
		end := closing(s, open+3)
		if end < 0 {
			return nil, open, errOpenExpr
		}
		if strings.TrimSpace(s[open+3:end]) == "" {
			return nil, open, errEmptyExpr
		}
		if lit.Len() > 0 {
			parts = append(parts, part{lit: lit.String()})
			lit.Reset()
		}
		parts = append(parts, part{expr: s[open+3 : end], off: open + 3})
		i = end + 2
	}
	if lit.Len() > 0 || len(parts) == 0 {
		parts = append(parts, part{lit: lit.String()})
	}
	return parts, 0, nil
}

// closing returns the offset of the }} that ends an expression which begins at
// i, or -1. Braces and quotes of the expression itself are passed over.
func closing(s string, i int) int {
	depth := 0
	for i < len(s) {
		switch c := s[i]; c {
		case '"', '\'', '`':
			for i++; i < len(s) && s[i] != c; i++ {
				if s[i] == '\\' && c != '`' {
					i++
				}
			}
		case '{':
			depth++
		case '}':
			if depth == 0 {
				if strings.HasPrefix(s[i:], "}}") {
					return i
				}
				return -1
			}
			depth--
		}
		i++
	}
	return -1
}

// template returns the node's text as a template has it: expressions in ${{ }}
// and literals escaped, so that reading it again gives the same parts.
func (n *node) template() string {
	if len(n.parts) == 0 {
		return escape(n.text)
	}
	var b strings.Builder
	for i, p := range n.parts {
		switch {
		case p.isExpr():
			b.WriteString("${{" + p.expr + "}}")
		case i+1 < len(n.parts) && strings.HasSuffix(p.lit, "$"):
			// A $ before ${{ would escape it.
			text := strings.TrimRight(p.lit, "$")
			b.WriteString(escape(text) + `${{"` + p.lit[len(text):] + `"}}`)
		default:
			b.WriteString(escape(p.lit))
		}
	}
	return b.String()
}

func escape(s string) string { return strings.ReplaceAll(s, "${{", "$${{") }

// diagAt returns a diagnostic that covers the bytes from off to end of the
// node's raw text, or the node if they cannot be found in the file.
func (n *node) diagAt(off, end int, format string, args ...any) *Diagnostic {
	line, col, ok := n.place(off)
	if !ok {
		return n.diag(format, args...)
	}
	endCol := col + 1
	if end > off {
		if l, c, ok := n.place(end - 1); ok && l == line {
			endCol = c + 1
		} else {
			endCol = utf8.RuneCountInString(n.src.line(line)) + 1
		}
	}
	return n.src.at(line, col, endCol, format, args...)
}

// end returns the column after the last character of the node on its first line.
func (n *node) end() int {
	c, ok := n.begin()
	if !ok || c.line != n.line {
		return 0
	}
	col, text := c.col(), strings.TrimRight(c.rest, " \t")
	switch {
	case n.kind == nullNode:
		return col + 1
	case n.kind == mappingNode && n.style&yaml.FlowStyle == 0 && len(n.fields) > 0:
		return col + utf8.RuneCountInString(n.fields[0].key.raw)
	case n.kind == mappingNode || n.kind == listNode:
		return col + bracketed(text)
	case n.style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		return col + quoted(text)
	case n.style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 && strings.HasPrefix(text, n.raw):
		return col + utf8.RuneCountInString(n.raw)
	}
	return col + utf8.RuneCountInString(text)
}

// quoted returns the characters of the quoted scalar that s begins with, or all of s.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[0] == '"' && s[i] == '\\':
			i++
		case s[i] == s[0] && s[0] == '\'' && strings.HasPrefix(s[i:], "''"):
			i++
		case s[i] == s[0]:
			return utf8.RuneCountInString(s[:i+1])
		}
	}
	return utf8.RuneCountInString(s)
}

// bracketed returns the characters of the flow list or mapping that s begins
// with, or, if it goes on in the next line or is not one, of all of s.
func bracketed(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return utf8.RuneCountInString(s[:i+1])
			}
		case '"', '\'':
			if depth > 0 && strings.ContainsRune("[{,: ", rune(s[i-1])) {
				if j := strings.IndexByte(s[i+1:], s[i]); j >= 0 {
					i += j + 1
				}
			}
		}
		if depth == 0 {
			break
		}
	}
	return utf8.RuneCountInString(s)
}
