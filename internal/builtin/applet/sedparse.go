package applet

import (
	"strconv"
	"strings"
)

// A sedParser reads a sed script.
type sedParser struct {
	text     string
	extended bool
	script   []command
	open     []int // indexes of { without }
}

func parseSed(text string, extended bool) ([]command, error) {
	p := &sedParser{text: text, extended: extended}
	for {
		p.text = strings.TrimLeft(p.text, " \t\n;")
		if p.text == "" {
			break
		}
		if err := p.command(); err != nil {
			return nil, err
		}
	}
	if len(p.open) > 0 {
		return nil, usagef("unmatched {")
	}
	return p.script, p.link()
}

// link finds the places that b, t and T jump to.
func (p *sedParser) link() error {
	labels := map[string]int{"": len(p.script)}
	for i, c := range p.script {
		if c.name == ':' {
			labels[c.text] = i
		}
	}
	for i := range p.script {
		c := &p.script[i]
		if c.name == 'b' || c.name == 't' || c.name == 'T' {
			at, ok := labels[c.text]
			if !ok {
				return usagef("can't find label '%s'", c.text)
			}
			c.jump = at
		}
	}
	return nil
}

func (p *sedParser) next() byte {
	if p.text == "" {
		return 0
	}
	ch := p.text[0]
	p.text = p.text[1:]
	return ch
}

func (p *sedParser) command() error {
	var c command
	var err error
	if c.from, err = p.address(); err != nil {
		return err
	}
	if c.from != nil && strings.HasPrefix(p.text, ",") {
		p.text = strings.TrimLeft(p.text[1:], " \t")
		if c.to, err = p.address(); err != nil {
			return err
		}
		if c.to == nil {
			return usagef("unexpected ','")
		}
	}
	p.text = strings.TrimLeft(p.text, " \t")
	for strings.HasPrefix(p.text, "!") {
		c.not = true
		p.text = strings.TrimLeft(p.text[1:], " \t!")
	}
	c.name = p.next()
	if err := p.arguments(&c); err != nil {
		return err
	}
	p.script = append(p.script, c)
	return nil
}

func (p *sedParser) arguments(c *command) (err error) {
	switch c.name {
	case '{':
		p.open = append(p.open, len(p.script))
		return nil
	case '}':
		if len(p.open) == 0 {
			return usagef("unexpected }")
		}
		p.script[p.open[len(p.open)-1]].jump = len(p.script)
		p.open = p.open[:len(p.open)-1]
	case '#':
		_, p.text, _ = strings.Cut(p.text, "\n")
		return nil
	case 'a', 'i', 'c':
		c.text = p.textArgument()
		return nil
	case ':':
		end := strings.IndexAny(p.text+"\n", ";\n")
		c.text = strings.TrimSpace(p.text[:end])
		p.text = p.text[end:]
		return nil
	case 'r', 'w':
		c.text, p.text, _ = strings.Cut(p.text, "\n")
		c.text = strings.TrimSpace(c.text)
		return nil
	case 'b', 't', 'T':
		p.text = strings.TrimLeft(p.text, " \t")
		end := strings.IndexAny(p.text+"\n", ";\n}")
		c.text = strings.TrimSpace(p.text[:end])
		p.text = p.text[end:]
	case 's':
		err = p.substitution(c)
	case 'y':
		err = p.transliteration(c)
	case 'q', 'Q':
		p.text = strings.TrimLeft(p.text, " \t")
		c.number = p.number()
	case 'd', 'D', 'p', 'P', 'n', 'N', 'g', 'G', 'h', 'H', 'x', 'l', '=':
	case 0:
		return usagef("missing command")
	default:
		return usagef("unknown command: '%c'", c.name)
	}
	if err != nil {
		return err
	}
	p.text = strings.TrimLeft(p.text, " \t")
	if p.text != "" && strings.IndexByte(";\n}#", p.text[0]) < 0 {
		return usagef("extra characters after command '%c'", c.name)
	}
	return nil
}

func (p *sedParser) number() int {
	end := 0
	for end < len(p.text) && p.text[end] >= '0' && p.text[end] <= '9' {
		end++
	}
	n, _ := strconv.Atoi(p.text[:end])
	p.text = p.text[end:]
	return n
}

func (p *sedParser) address() (*address, error) {
	if p.text == "" {
		return nil, nil
	}
	switch ch := p.text[0]; {
	case ch >= '0' && ch <= '9':
		a := &address{line: p.number()}
		if strings.HasPrefix(p.text, "~") {
			p.text = p.text[1:]
			a.step = p.number()
		}
		return a, nil
	case ch == '+':
		p.text = p.text[1:]
		return &address{line: p.number(), relative: true}, nil
	case ch == '$':
		p.text = p.text[1:]
		return &address{last: true}, nil
	case ch == '/' || ch == '\\':
		delim := p.next()
		if delim == '\\' {
			delim = p.next()
		}
		expr, ok := p.delimited(delim, true)
		if !ok {
			return nil, usagef("unterminated address regex")
		}
		ignoreCase := strings.HasPrefix(p.text, "I")
		p.text = strings.TrimPrefix(p.text, "I")
		re, err := compile(expr, p.extended, ignoreCase)
		return &address{re: re}, err
	}
	return nil, nil
}

// delimited reads up to the next delimiter that is neither escaped nor, in a
// regular expression, inside brackets.
func (p *sedParser) delimited(delim byte, regex bool) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(p.text); i++ {
		switch ch := p.text[i]; {
		case ch == delim:
			p.text = p.text[i+1:]
			return b.String(), true
		case ch == '\\' && i+1 < len(p.text):
			i++
			if p.text[i] != delim {
				b.WriteByte('\\')
			} else if !regex && delim == '&' {
				b.WriteByte('\\')
			}
			b.WriteByte(p.text[i])
		case ch == '[' && regex:
			_, n := bracket(p.text[i:])
			if n == 0 {
				b.WriteByte(ch)
				continue
			}
			b.WriteString(p.text[i : i+n])
			i += n - 1
		default:
			b.WriteByte(ch)
		}
	}
	return "", false
}

func (p *sedParser) substitution(c *command) error {
	delim := p.next()
	expr, ok1 := p.delimited(delim, true)
	with, ok2 := p.delimited(delim, false)
	if !ok1 || !ok2 {
		return usagef("unterminated 's' command")
	}
	c.number = 1
	ignoreCase := false
	for p.text != "" {
		switch ch := p.text[0]; {
		case ch == 'g':
			c.global = true
		case ch == 'p':
			c.printIt = true
		case ch == 'i' || ch == 'I':
			ignoreCase = true
		case ch >= '1' && ch <= '9':
			c.number = p.number()
			continue
		case ch == 'w':
			c.text, p.text, _ = strings.Cut(p.text[1:], "\n")
			c.text = strings.TrimSpace(c.text)
			p.text = "\n" + p.text
			continue
		default:
			goto done
		}
		p.text = p.text[1:]
	}
done:
	re, err := compile(expr, p.extended, ignoreCase)
	c.re, c.parts = re, replaceParts(with)
	return err
}

func replaceParts(s string) []replacePart {
	var parts []replacePart
	text := func(t string) { parts = append(parts, replacePart{text: t, group: -1}) }
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case ch == '&':
			parts = append(parts, replacePart{group: 0})
		case ch != '\\' || i+1 == len(s):
			text(string(ch))
		default:
			i++
			switch e := s[i]; {
			case e >= '0' && e <= '9':
				parts = append(parts, replacePart{group: int(e - '0')})
			case e == 'n':
				text("\n")
			case e == 't':
				text("\t")
			case strings.IndexByte("ULEul", e) >= 0:
				parts = append(parts, replacePart{group: -1, mode: e})
			default:
				text(string(e))
			}
		}
	}
	return parts
}

func (p *sedParser) transliteration(c *command) error {
	delim := p.next()
	from, ok1 := p.delimited(delim, false)
	to, ok2 := p.delimited(delim, false)
	a, b := []rune(unescape(from)), []rune(unescape(to))
	if !ok1 || !ok2 || len(a) != len(b) {
		return usagef("strings for 'y' command are different lengths")
	}
	c.translate = map[rune]rune{}
	for i, r := range a {
		c.translate[r] = b[i]
	}
	return nil
}

// textArgument reads the text of a, i and c: on the same line (GNU) or behind
// a backslash and a newline (POSIX), to the first line that does not end in a backslash.
func (p *sedParser) textArgument() string {
	p.text = strings.TrimLeft(p.text, " \t")
	if strings.HasPrefix(p.text, "\\\n") {
		p.text = p.text[2:]
	} else if strings.HasPrefix(p.text, "\\") {
		p.text = p.text[1:]
	}
	var b strings.Builder
	for i := 0; i < len(p.text); i++ {
		if p.text[i] == '\\' && i+1 < len(p.text) {
			i++
			b.WriteByte(p.text[i])
			continue
		}
		if p.text[i] == '\n' {
			p.text = p.text[i:]
			return b.String() + "\n"
		}
		b.WriteByte(p.text[i])
	}
	p.text = ""
	return b.String() + "\n"
}
