package templates

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// A cursor reads the text of a file from a place on.
type cursor struct {
	src  *source
	line int // from 1
	rest string
}

// begin returns a cursor at the node's first character, behind its anchor and tag.
func (n *node) begin() (cursor, bool) {
	if n.src == nil || n.line < 1 || n.line > len(n.src.lines) {
		return cursor{}, false
	}
	c := cursor{n.src, n.line, skipRunes(n.src.line(n.line), n.col-1)}
	for strings.HasPrefix(c.rest, "&") || strings.HasPrefix(c.rest, "!") {
		i := strings.IndexAny(c.rest, " \t")
		if i < 0 {
			c.rest = ""
		} else {
			c.rest = strings.TrimLeft(c.rest[i:], " \t")
		}
		for c.rest == "" && c.line < len(c.src.lines) {
			c.next()
			c.rest = strings.TrimLeft(c.rest, " \t")
		}
	}
	return c, true
}

func skipRunes(s string, n int) string {
	for ; n > 0 && s != ""; n-- {
		_, size := utf8.DecodeRuneInString(s)
		s = s[size:]
	}
	return s
}

func (c *cursor) next() { c.line++; c.rest = c.src.line(c.line) }

// col returns the column the cursor is at, from 1.
func (c *cursor) col() int {
	line := c.src.line(c.line)
	return utf8.RuneCountInString(line[:len(line)-len(c.rest)]) + 1
}

// place finds the byte at off of the scalar's raw text in the file. YAML folds
// and strips white space by many rules but leaves everything else, so the n-th
// character that is not white space in the text is the n-th in the file.
func (n *node) place(off int) (line, col int, ok bool) {
	c, ok := n.begin()
	if !ok || off > len(n.raw) {
		return 0, 0, false
	}
	switch n.style & (yaml.LiteralStyle | yaml.FoldedStyle | yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle) {
	case yaml.LiteralStyle, yaml.FoldedStyle:
		c.next() // the line of the | or >
	case yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle:
		c.rest = skipRunes(c.rest, 1)
	}
	todo := 0
	for _, r := range n.raw[:off] {
		if !unicode.IsSpace(r) {
			todo++
		}
	}
	for todo > 0 || c.rest == "" || unicode.IsSpace(firstRune(c.rest)) {
		for c.rest == "" {
			if c.line >= len(c.src.lines) {
				return 0, 0, false
			}
			c.next()
		}
		if c.rest == "" {
			continue
		}
		if size, blank := n.unit(c.rest); !blank && todo == 0 {
			break
		} else if c.rest = c.rest[size:]; !blank {
			todo--
		}
	}
	return c.line, c.col(), true
}

func firstRune(s string) rune { r, _ := utf8.DecodeRuneInString(s); return r }

// unit returns how many bytes of the file make the scalar's next character, and
// whether that is white space or nothing.
func (n *node) unit(s string) (size int, blank bool) {
	switch {
	case n.style&yaml.SingleQuotedStyle != 0 && strings.HasPrefix(s, "''"):
		return 2, false
	case n.style&yaml.DoubleQuotedStyle != 0 && s[0] == '\\':
		if len(s) == 1 {
			return 1, true // the line break is escaped
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
		return min(2+digits, len(s)), strings.IndexByte("ntrvf N_LP\t", s[1]) >= 0
	}
	r, size := utf8.DecodeRuneInString(s)
	return size, unicode.IsSpace(r)
}
