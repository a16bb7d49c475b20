package templates

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A source is the text of one file, for excerpts and for places inside scalars.
type source struct {
	name  string // as the user named it
	lines []string
	// secret says that lines are never shown.
	secret bool
}

func newSource(name, text string) *source {
	return &source{name: name, lines: splitLines(text)}
}

// line returns the text of line n, counted from 1, or "" if there is none.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return s.lines[n-1]
}

// at returns a diagnostic that covers the columns from col up to end.
func (s *source) at(line, col, end int, format string, args ...any) *Diagnostic {
	d := &Diagnostic{Pos: Pos{s.name, line, col}, Message: fmt.Sprintf(format, args...)}
	if len(s.lines) == 0 {
		return d
	}
	// What YAML says lies past the end of the file is shown on its last line.
	if line > len(s.lines) {
		d.Pos.Line, d.Pos.Col, end = len(s.lines), utf8.RuneCountInString(s.lines[len(s.lines)-1])+1, 0
	}
	d.Pos.Line, d.Pos.Col = max(d.Pos.Line, 1), max(d.Pos.Col, 1)
	text := s.line(d.Pos.Line)
	width := utf8.RuneCountInString(text)
	d.Pos.Col = min(d.Pos.Col, width+1)
	d.End = min(max(end, d.Pos.Col+1), max(width, d.Pos.Col)+1)
	if !s.secret {
		d.Line = text
	}
	return d
}

// splitLines cuts a text where YAML 1.1 (and so yaml.v3) counts lines.
func splitLines(text string) []string {
	var lines []string
	for text != "" {
		i := strings.IndexAny(text, "\n\r\u0085\u2028\u2029")
		if i < 0 {
			break
		}
		lines = append(lines, text[:i])
		_, n := utf8.DecodeRuneInString(text[i:])
		if strings.HasPrefix(text[i:], "\r\n") {
			n = 2
		}
		text = text[i+n:]
	}
	return append(lines, text)
}
