package applet

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

func cut(_ context.Context, c *Call) error {
	o, err := c.parse("f:d:c:b:sn", map[string]byte{"fields": 'f', "delimiter": 'd', "characters": 'c', "bytes": 'b', "only-delimited": 's'})
	if err != nil {
		return err
	}
	kind := o.last("fcb")
	if kind == 0 {
		return usagef("you must specify a list of bytes, characters, or fields")
	}
	wanted, err := ranges(o.get(kind, ""))
	if err != nil {
		return err
	}
	delim := o.get('d', "\t")
	out := bufio.NewWriter(c.Stdout)
	err = c.eachInput(o.rest, func(_ string, r io.Reader) error {
		return eachLine(r, func(line string) error {
			line = strings.TrimSuffix(line, "\n")
			switch {
			case kind != 'f':
				line = strings.Join(pick(strings.Split(line, ""), wanted), "")
			case strings.Contains(line, delim):
				line = strings.Join(pick(strings.Split(line, delim), wanted), delim)
			case o.has("s"):
				return nil
			}
			_, err := out.WriteString(line + "\n")
			return err
		})
	})
	return errors.Join(err, out.Flush())
}

// ranges reads "1,3-5,7-" as pairs; an open end is 0.
func ranges(list string) ([][2]int, error) {
	var pairs [][2]int
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		lo, err1 := strconv.Atoi(cmp.Or(from, "1"))
		hi, err2 := strconv.Atoi(cmp.Or(to, "0"))
		if !isRange {
			hi = lo
		}
		if err1 != nil || err2 != nil || lo < 1 || part == "" || part == "-" {
			return nil, usagef("invalid list '%s'", list)
		}
		pairs = append(pairs, [2]int{lo, hi})
	}
	return pairs, nil
}

func pick(fields []string, wanted [][2]int) []string {
	var out []string
	for i, f := range fields {
		if slices.ContainsFunc(wanted, func(r [2]int) bool { return i+1 >= r[0] && (r[1] == 0 || i+1 <= r[1]) }) {
			out = append(out, f)
		}
	}
	return out
}

// tr works on characters; its sets know ranges, classes and escapes.
func tr(_ context.Context, c *Call) error {
	o, err := c.parse("+dscCt", map[string]byte{"delete": 'd', "squeeze-repeats": 's', "complement": 'c'})
	if err != nil {
		return err
	}
	if len(o.rest) == 0 {
		return usagef("missing operand")
	}
	from := charSet(o.rest[0])
	var to []rune
	if len(o.rest) > 1 {
		to = charSet(o.rest[1])
	} else if !o.has("ds") {
		return usagef("missing operand after '%s'", o.rest[0])
	}
	in := func(set []rune, r rune) bool { return slices.Contains(set, r) }
	inFrom := func(r rune) bool { return in(from, r) != o.has("cC") }
	squeeze := from
	inSqueeze := inFrom
	if len(to) > 0 {
		squeeze = to
		inSqueeze = func(r rune) bool { return in(squeeze, r) }
	}
	src, out := bufio.NewReader(c.Stdin), bufio.NewWriter(c.Stdout)
	last := rune(-1)
	for {
		r, _, err := src.ReadRune()
		if err == io.EOF {
			return out.Flush()
		}
		if err != nil {
			return err
		}
		switch {
		case o.has("d") && inFrom(r):
			continue
		case !o.has("d") && len(to) > 0 && inFrom(r):
			at := len(to) - 1
			if !o.has("cC") {
				at = min(at, slices.Index(from, r))
			}
			r = to[at]
		}
		if o.has("s") && r == last && inSqueeze(r) {
			continue
		}
		last = r
		if _, err := out.WriteRune(r); err != nil {
			return err
		}
	}
}

// charSet spells a set of tr out.
func charSet(text string) []rune {
	classes := map[string]string{"upper": "A-Z", "lower": "a-z", "digit": "0-9", "alpha": "A-Za-z", "alnum": "0-9A-Za-z",
		"space": "\t\n\v\f\r ", "blank": " \t", "xdigit": "0-9A-Fa-f", "punct": "!-/:-@[-`{-~", "cntrl": "\x00-\x1f\x7f", "print": " -~", "graph": "!-~"}
	var set []rune
	runes := []rune(text)
	for i := 0; i < len(runes); i++ {
		if rest := string(runes[i:]); strings.HasPrefix(rest, "[:") {
			if name, _, ok := strings.Cut(rest[2:], ":]"); ok && classes[name] != "" {
				set = append(set, charSet(classes[name])...)
				i += len(name) + 3
				continue
			}
		}
		r := runes[i]
		if r == '\\' && i+1 < len(runes) {
			n := 2
			for n < 4 && i+n < len(runes) && runes[i+1] >= '0' && runes[i+1] <= '7' && runes[i+n] >= '0' && runes[i+n] <= '7' {
				n++
			}
			r = []rune(unescape(string(runes[i : i+n])))[0]
			i += n - 1
		}
		if i+2 < len(runes) && runes[i+1] == '-' {
			for ; r <= runes[i+2]; r++ {
				set = append(set, r)
			}
			i += 2
			continue
		}
		set = append(set, r)
	}
	return set
}

// unescape reads the backslash sequences of tr, stat and printf.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if at := strings.IndexByte("abfnrtv\\", s[i]); at >= 0 {
			b.WriteByte("\a\b\f\n\r\t\v\\"[at])
			continue
		}
		n := 0
		for n < 3 && i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '7' {
			n++
		}
		if n == 0 {
			b.WriteByte(s[i])
			continue
		}
		v, _ := strconv.ParseUint(s[i:i+n], 8, 16)
		b.WriteByte(byte(v))
		i += n - 1
	}
	return b.String()
}

func fold(_ context.Context, c *Call) error {
	o, err := c.parse("w:s", map[string]byte{"width": 'w', "spaces": 's'})
	if err != nil {
		return err
	}
	width, err := strconv.Atoi(o.get('w', "80"))
	if err != nil || width < 1 {
		return usagef("invalid number of columns: '%s'", o.get('w', ""))
	}
	return c.eachInput(o.rest, func(_ string, r io.Reader) error {
		return eachLine(r, func(line string) error {
			for text := []rune(strings.TrimSuffix(line, "\n")); len(text) > width; {
				at := width
				if i := strings.LastIndex(string(text[:width]), " "); o.has("s") && i >= 0 {
					at = len([]rune(string(text[:width])[:i])) + 1
				}
				if err := c.printf("%s\n", string(text[:at])); err != nil {
					return err
				}
				text = text[at:]
				line = string(text) + "\n"
			}
			return c.printf("%s", line)
		})
	})
}

func paste(_ context.Context, c *Call) error {
	o, err := c.parse("sd:", map[string]byte{"serial": 's', "delimiters": 'd'})
	if err != nil {
		return err
	}
	delims := []rune(unescape(o.get('d', "\t")))
	join := func(cells []string) string {
		var b strings.Builder
		for i, cell := range cells {
			if i > 0 && len(delims) > 0 {
				b.WriteRune(delims[(i-1)%len(delims)])
			}
			b.WriteString(cell)
		}
		return b.String()
	}
	names := o.rest
	if len(names) == 0 {
		names = []string{"-"}
	}
	var columns [][]string
	longest := 0
	for _, name := range names {
		lines, err := c.allLines([]string{name})
		if err != nil {
			return err
		}
		columns = append(columns, lines)
		longest = max(longest, len(lines))
	}
	var out []string
	if o.has("s") {
		for _, lines := range columns {
			out = append(out, join(lines))
		}
		return c.printLines(out)
	}
	for i := range longest {
		cells := make([]string, len(columns))
		for j, lines := range columns {
			if i < len(lines) {
				cells[j] = lines[i]
			}
		}
		out = append(out, join(cells))
	}
	return c.printLines(out)
}

func comm(_ context.Context, c *Call) error {
	o, err := c.parse("123", nil)
	if err != nil {
		return err
	}
	if len(o.rest) != 2 {
		return usagef("want two files")
	}
	a, err1 := c.allLines(o.rest[:1])
	b, err2 := c.allLines(o.rest[1:])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	var out []string
	add := func(column byte, line string) {
		if o.has(string(column)) {
			return
		}
		for col := byte('1'); col < column; col++ {
			if !o.has(string(col)) {
				line = "\t" + line
			}
		}
		out = append(out, line)
	}
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
			add('1', a[0])
			a = a[1:]
		case len(a) == 0 || b[0] < a[0]:
			add('2', b[0])
			b = b[1:]
		default:
			add('3', a[0])
			a, b = a[1:], b[1:]
		}
	}
	return c.printLines(out)
}

// cmpFiles says how two files differ, "" if they do not.
func cmpFiles(c *Call, o options) (string, error) {
	var data [2][]byte
	for i, name := range o.rest {
		var err error
		if name == "-" {
			data[i], err = io.ReadAll(c.Stdin)
		} else {
			data[i], err = os.ReadFile(c.Path(name))
		}
		if err != nil {
			return "", &usageError{message(relabel(err, name))}
		}
	}
	a, b := data[0], data[1]
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return o.rest[0] + " " + o.rest[1] + " differ: byte " + strconv.Itoa(i+1) +
				", line " + strconv.Itoa(1+bytes.Count(a[:i], []byte("\n"))), nil
		}
	}
	if len(a) == len(b) {
		return "", nil
	}
	short := o.rest[0]
	if len(b) < len(a) {
		short = o.rest[1]
	}
	return "EOF on " + short, nil
}

func cmpCommand(_ context.Context, c *Call) error {
	o, err := c.parse("sl", map[string]byte{"quiet": 's', "silent": 's'})
	if err != nil {
		return err
	}
	if len(o.rest) == 1 {
		o.rest = append(o.rest, "-")
	}
	if len(o.rest) != 2 {
		return usagef("want two files")
	}
	difference, err := cmpFiles(c, o)
	if err != nil || difference == "" {
		return err
	}
	if !o.has("s") {
		c.printf("%s\n", difference)
	}
	return &Exit{1}
}
