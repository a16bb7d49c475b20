package templates

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/clipperhouse/displaywidth"
)

// The colours of a formatted diagnostic.
const (
	bold, red, cyan, faint, plain = "\x1b[1m", "\x1b[31m", "\x1b[36m", "\x1b[2m", "\x1b[0m"
)

// Format writes the diagnostics for people: place and message, the line with
// what is wrong underlined, and the hint.
func (ds Diagnostics) Format(w io.Writer, color bool) error {
	for _, d := range ds {
		if _, err := io.WriteString(w, d.format(color)); err != nil {
			return err
		}
	}
	return nil
}

func (d *Diagnostic) format(color bool) string {
	paint := func(code, text string) string {
		if !color {
			return text
		}
		return code + text + plain
	}
	var b strings.Builder
	if !d.Pos.IsZero() {
		b.WriteString(paint(bold, printable(d.Pos.String())) + ": ")
	}
	b.WriteString(paint(red, printable(d.Message)) + "\n")
	if d.Line != "" {
		line, before, marked := d.excerpt()
		number := strconv.Itoa(d.Pos.Line)
		bar := paint(faint, " | ")
		fmt.Fprintf(&b, "   %s%s%s\n", paint(faint, number), bar, line)
		fmt.Fprintf(&b, "   %s%s%s%s\n", strings.Repeat(" ", len(number)), bar,
			strings.Repeat(" ", before), paint(red, strings.Repeat("^", max(marked, 1))))
	}
	if d.Hint != "" {
		b.WriteString(paint(cyan, "hint: ") + printable(d.Hint) + "\n")
	}
	return b.String()
}

// widest is how many terminal cells of a line are shown.
const widest = 120

// excerpt returns the line as it is shown, the width in terminal cells of what
// comes before the mistake in it, and of the mistake. Of a long line it returns
// the part around the mistake.
func (d *Diagnostic) excerpt() (line string, before, marked int) {
	all := []rune(d.Line)
	from := min(max(d.Pos.Col-1, 0), len(all))
	to := min(max(d.End-1, from), len(all))
	line = expandTabs(d.Line)
	before = displaywidth.String(expandTabs(string(all[:from])))
	marked = displaywidth.String(expandTabs(string(all[:to]))) - before
	if displaywidth.String(line) <= widest {
		return line, before, marked
	}
	const dots = "..."
	if before > widest/2 {
		cut := before - widest/4
		line = dots + withoutCells(line, cut)
		before = displaywidth.String(dots) + widest/4
	}
	if displaywidth.String(line) > widest {
		line = displaywidth.TruncateString(line, widest, dots)
	}
	return line, before, min(marked, widest-before)
}

// withoutCells cuts off the first n terminal cells of s.
func withoutCells(s string, n int) string {
	for g := displaywidth.StringGraphemes(s); n > 0 && g.Next(); n -= g.Width() {
		s = s[len(g.Value()):]
	}
	return s
}

// expandTabs fills up to columns of 8, so that the underline fits everywhere,
// and replaces what a terminal would obey.
func expandTabs(s string) string {
	var b strings.Builder
	width := 0
	for part := range strings.SplitAfterSeq(s, "\t") {
		text, tab := strings.CutSuffix(part, "\t")
		text = printable(text)
		b.WriteString(text)
		width += displaywidth.String(text)
		if tab {
			fill := 8 - width%8
			b.WriteString(strings.Repeat(" ", fill))
			width += fill
		}
	}
	return b.String()
}

// printable replaces control characters: a template must not drive the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return '\ufffd'
		}
		return r
	}, s)
}
