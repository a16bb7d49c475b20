package applet

import (
	"regexp"
	"strings"
)

// compile turns a POSIX regular expression, basic or extended, into one of
// Go's with leftmost-longest matching. Back-references are an error: Go's
// engine, which never takes exponential time, does not have them.
func compile(expr string, extended, ignoreCase bool) (*regexp.Regexp, error) {
	text, err := translate(expr, extended)
	if err != nil {
		return nil, err
	}
	if ignoreCase {
		text = "(?i)" + text
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, usagef("invalid regular expression '%s'", expr)
	}
	re.Longest()
	return re, nil
}

func translate(expr string, extended bool) (string, error) {
	var b strings.Builder
	start := true // nothing before that a * could repeat, and ^ is an anchor
	for i := 0; i < len(expr); i++ {
		ch := expr[i]
		wasStart := start
		start = false
		switch {
		case ch == '[':
			set, n := bracket(expr[i:])
			if n == 0 {
				return "", usagef("unmatched [ in '%s'", expr)
			}
			b.WriteString(set)
			i += n - 1
		case ch == '\\' && i+1 < len(expr):
			i++
			text, err := escaped(expr[i], extended)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			start = text == "(" || text == "|"
		case ch == '\\':
			return "", usagef("trailing backslash in '%s'", expr)
		case ch == '*' && wasStart:
			b.WriteString(`\*`)
		case ch == '^' && !wasStart && !extended, ch == '$' && !extended && !atEnd(expr[i+1:]):
			b.WriteString(`\` + string(ch))
		case ch == '^':
			b.WriteByte(ch)
			start = true
		case strings.IndexByte("(){}|+?", ch) < 0:
			b.WriteByte(ch)
		case !extended, ch == '{' && !isInterval(expr[i:]), ch == '}' && !strings.Contains(expr[:i], "{"):
			b.WriteString(`\` + string(ch))
		default:
			b.WriteByte(ch)
			start = ch == '(' || ch == '|'
		}
	}
	return b.String(), nil
}

// atEnd reports whether a $ before rest is an anchor in a basic expression.
func atEnd(rest string) bool {
	return rest == "" || strings.HasPrefix(rest, `\)`) || strings.HasPrefix(rest, `\|`)
}

func isInterval(s string) bool {
	end := strings.IndexByte(s, '}')
	return end > 1 && strings.Trim(s[1:end], "0123456789,") == ""
}

// escaped translates what stands behind a backslash.
func escaped(ch byte, extended bool) (string, error) {
	switch {
	case strings.IndexByte("(){}|+?", ch) >= 0:
		if extended {
			return `\` + string(ch), nil
		}
		return string(ch), nil
	case ch == '<' || ch == '>':
		return `\b`, nil
	case strings.IndexByte("wWsSbB", ch) >= 0:
		return `\` + string(ch), nil
	case ch == 'n':
		return `\n`, nil
	case ch == 't':
		return `\t`, nil
	case ch >= '1' && ch <= '9':
		return "", usagef("back-references are not supported")
	}
	return regexp.QuoteMeta(string(ch)), nil
}

// bracket translates the bracket expression s begins with and returns its
// length, 0 if it has no end. A backslash is itself in there.
func bracket(s string) (string, int) {
	i := 1
	var b strings.Builder
	b.WriteByte('[')
	if i < len(s) && s[i] == '^' {
		b.WriteByte('^')
		i++
	}
	for first := true; i < len(s); first = false {
		switch {
		case s[i] == ']' && !first:
			b.WriteByte(']')
			return b.String(), i + 1
		case strings.HasPrefix(s[i:], "[:"):
			end := strings.Index(s[i:], ":]")
			if end < 0 {
				return "", 0
			}
			b.WriteString(s[i : i+end+2])
			i += end + 2
			continue
		case strings.IndexByte(`\[]&~`, s[i]) >= 0:
			b.WriteString(`\` + string(s[i]))
		default:
			b.WriteByte(s[i])
		}
		i++
	}
	return "", 0
}
