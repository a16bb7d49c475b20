package report

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/clipperhouse/displaywidth"
)

// clean returns one line as it may be shown anywhere: without control
// sequences and characters, so that the output of a build moves no cursor, sets
// no title and reorders no text. What a carriage return overwrote is gone, as
// it would be on a screen.
func clean(s string) string {
	if plain(s) {
		return s
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strip(s)
	s = strings.TrimRight(s, "\r\n")
	if i := strings.LastIndexByte(s, '\r'); i >= 0 {
		s = s[i+1:]
	}
	var b strings.Builder
	col := 0
	for _, r := range s {
		switch {
		case r == '\t':
			n := 8 - col%8
			b.WriteString("        "[:n])
			col += n
			continue
		case r == '\n' || r == '\u2028' || r == '\u2029':
			r = ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\uFEFF', r >= 0xE0000 && r <= 0xE007F:
			continue
		}
		b.WriteRune(r)
		col++
	}
	return b.String()
}

// strip takes the control sequences of ECMA-48 out of s.
func strip(s string) string {
	if strings.IndexByte(s, '\x1b') < 0 {
		return s
	}
	var b strings.Builder
	for g := sequences().StringGraphemes(s); g.Next(); {
		if v := g.Value(); v[0] != '\x1b' {
			b.WriteString(v)
		}
	}
	return b.String()
}

// sequences are the options under which control sequences have no width.
func sequences() displaywidth.Options { return displaywidth.Options{ControlSequences: true} }

// cells is how many cells of a terminal s takes.
func cells(s string) int { return sequences().String(s) }

// truncate cuts s to at most n cells, with tail at the end if anything is cut.
// Colours that were set are reset as in s.
func truncate(s string, n int, tail string) string { return sequences().TruncateString(s, n, tail) }

func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= utf8.RuneSelf || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// cleanLines returns text as lines that may be shown anywhere.
func cleanLines(text string) []string {
	var out []string
	for l := range strings.SplitSeq(strings.TrimRight(text, "\r\n"), "\n") {
		out = append(out, clean(l))
	}
	return out
}

func firstLine(s string) string {
	s = strings.TrimSpace(s)
	line, rest, more := strings.Cut(s, "\n")
	line = strings.TrimRight(line, "\r")
	if more && rest != "" {
		line += " …"
	}
	return line
}

// duration writes d as people say it: 0.04s, 3.2s, 42s, 2m05s, 1h02m.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return seconds(d)
}

// seconds writes d without fractions, for clocks that run.
func seconds(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
}

// size writes a number of bytes: 512 B, 3.4 KiB, 45.2 MiB.
func size(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n)/1024, "KMGTPE"
	i := 0
	for f >= 1023.95 && i < len(units)-1 {
		f /= 1024
		i++
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}

// amount writes a number in a unit of Progress.
func amount(n int64, unit string) string {
	switch unit {
	case "B":
		return size(n)
	case "":
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// count writes "1 step", "12 steps".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// short cuts a digest to what people compare: sha256:0123456789ab.
func short(digest string) string {
	algorithm, hex, ok := strings.Cut(digest, ":")
	if !ok || len(hex) <= 12 {
		return digest
	}
	return algorithm + ":" + hex[:12]
}

// shortRef shortens the digest at the end of a reference.
func shortRef(ref string) string {
	name, digest, ok := strings.Cut(ref, "@")
	if !ok {
		return ref
	}
	return name + "@" + short(digest)
}
