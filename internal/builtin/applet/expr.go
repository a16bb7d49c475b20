package applet

import (
	"context"
	"strconv"
)

// An exprParser evaluates the words of expr, lowest precedence first.
type exprParser struct{ words []string }

func expr(_ context.Context, c *Call) error {
	p := &exprParser{c.Args}
	value, err := p.binary(0)
	if err == nil && len(p.words) > 0 {
		err = usagef("syntax error: unexpected argument '%s'", p.words[0])
	}
	if err != nil {
		return err
	}
	if err := c.printf("%s\n", value); err != nil {
		return err
	}
	if isNull(value) {
		return &Exit{1}
	}
	return nil
}

func isNull(v string) bool { return v == "" || v == "0" }

// levels are the operators by precedence.
func levels() [][]string {
	return [][]string{{"|"}, {"&"}, {"=", "==", "!=", "<", "<=", ">", ">="}, {"+", "-"}, {"*", "/", "%"}, {":"}}
}

func (p *exprParser) binary(level int) (string, error) {
	if level == len(levels()) {
		return p.primary()
	}
	left, err := p.binary(level + 1)
	for err == nil && len(p.words) > 0 && contains(levels()[level], p.words[0]) {
		op := p.words[0]
		p.words = p.words[1:]
		var right string
		if right, err = p.binary(level + 1); err == nil {
			left, err = apply(op, left, right)
		}
	}
	return left, err
}

func contains(list []string, word string) bool {
	for _, w := range list {
		if w == word {
			return true
		}
	}
	return false
}

func (p *exprParser) primary() (string, error) {
	if len(p.words) == 0 {
		return "", usagef("syntax error: missing argument")
	}
	word := p.words[0]
	p.words = p.words[1:]
	switch {
	case word == "(":
		value, err := p.binary(0)
		if err == nil && (len(p.words) == 0 || p.words[0] != ")") {
			err = usagef("syntax error: expecting ')'")
		}
		if err == nil {
			p.words = p.words[1:]
		}
		return value, err
	case word == "length" && len(p.words) > 0:
		value, err := p.primary()
		return strconv.Itoa(len([]rune(value))), err
	case word == "match" && len(p.words) > 1:
		s, err := p.primary()
		if err != nil {
			return "", err
		}
		re, err := p.primary()
		if err != nil {
			return "", err
		}
		return apply(":", s, re)
	}
	return word, nil
}

func apply(op, a, b string) (string, error) {
	switch op {
	case "|":
		if isNull(a) {
			if isNull(b) {
				return "0", nil
			}
			return b, nil
		}
		return a, nil
	case "&":
		if isNull(a) || isNull(b) {
			return "0", nil
		}
		return a, nil
	case ":":
		return matchStart(a, b)
	}
	x, err1 := strconv.ParseInt(a, 10, 64)
	y, err2 := strconv.ParseInt(b, 10, 64)
	numbers := err1 == nil && err2 == nil
	if contains(levels()[2], op) {
		order := 0
		switch {
		case numbers && x < y || !numbers && a < b:
			order = -1
		case numbers && x > y || !numbers && a > b:
			order = 1
		}
		ok := map[string]bool{"=": order == 0, "==": order == 0, "!=": order != 0, "<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[op]
		return map[bool]string{true: "1", false: "0"}[ok], nil
	}
	if !numbers {
		return "", usagef("non-integer argument")
	}
	if y == 0 && (op == "/" || op == "%") {
		return "", usagef("division by zero")
	}
	switch op {
	case "+":
		x += y
	case "-":
		x -= y
	case "*":
		x *= y
	case "/":
		x /= y
	case "%":
		x %= y
	}
	return strconv.FormatInt(x, 10), nil
}

// matchStart is a : b, the length of the match or its first group.
func matchStart(s, pattern string) (string, error) {
	re, err := compile("^"+pattern, false, false)
	if err != nil {
		return "", err
	}
	m := re.FindStringSubmatch(s)
	switch {
	case re.NumSubexp() > 0 && m == nil:
		return "", nil
	case re.NumSubexp() > 0:
		return m[1], nil
	case m == nil:
		return "0", nil
	}
	return strconv.Itoa(len([]rune(m[0]))), nil
}
