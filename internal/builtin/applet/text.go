package applet

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

func cat(_ context.Context, c *Call) error {
	o, err := c.parse("un", nil)
	if err != nil {
		return err
	}
	number := 0
	return c.eachInput(o.rest, func(_ string, r io.Reader) error {
		if !o.has("n") {
			_, err := io.Copy(c.Stdout, r)
			return err
		}
		return eachLine(r, func(line string) error {
			number++
			return c.printf("%6d\t%s", number, line)
		})
	})
}

// eachLine calls do with every line, its newline included if it has one.
func eachLine(r io.Reader, do func(line string) error) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			if doErr := do(line); doErr != nil {
				return doErr
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// allLines reads the lines of all files, without newlines.
func (c *Call) allLines(names []string) ([]string, error) {
	var lines []string
	err := c.eachInput(names, func(_ string, r io.Reader) error {
		return eachLine(r, func(line string) error {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
			return nil
		})
	})
	return lines, err
}

func (c *Call) printLines(lines []string) error {
	out := bufio.NewWriter(c.Stdout)
	for _, line := range lines {
		out.WriteString(line)
		out.WriteByte('\n')
	}
	return out.Flush()
}

func tac(_ context.Context, c *Call) error {
	lines, err := c.allLines(c.Args)
	slices.Reverse(lines)
	return errors.Join(err, c.printLines(lines))
}

func rev(_ context.Context, c *Call) error {
	lines, err := c.allLines(c.Args)
	for i, line := range lines {
		runes := []rune(line)
		slices.Reverse(runes)
		lines[i] = string(runes)
	}
	return errors.Join(err, c.printLines(lines))
}

func nl(_ context.Context, c *Call) error {
	o, err := c.parse("b:w:s:v:", nil)
	if err != nil {
		return err
	}
	width, err := strconv.Atoi(o.get('w', "6"))
	if err != nil {
		return usagef("invalid line number field width: '%s'", o.get('w', ""))
	}
	lines, err := c.allLines(o.rest)
	number := 0
	for i, line := range lines {
		if line == "" && o.get('b', "t") != "a" {
			lines[i] = strings.Repeat(" ", width+1)
			continue
		}
		number++
		lines[i] = fmt.Sprintf("%*d%s%s", width, number, o.get('s', "\t"), line)
	}
	return errors.Join(err, c.printLines(lines))
}

// count reads "head -5" as "head -n 5".
func (c *Call) count() {
	for i, arg := range c.Args {
		if i > 0 && (c.Args[i-1] == "-n" || c.Args[i-1] == "-c") {
			continue // its value: "-n -2"
		}
		if len(arg) > 1 && arg[0] == '-' && strings.Trim(arg[1:], "0123456789") == "" {
			c.Args = slices.Concat(c.Args[:i], []string{"-n", arg[1:]}, c.Args[i+1:])
			return
		}
	}
}

func head(_ context.Context, c *Call) error {
	c.count()
	o, err := c.parse("n:c:qv", map[string]byte{"lines": 'n', "bytes": 'c', "quiet": 'q', "verbose": 'v'})
	if err != nil {
		return err
	}
	text := o.get('n', "10")
	if o.has("c") {
		text = o.get('c', "")
	}
	n, err := parseSize(text)
	if err != nil {
		return usagef("invalid number: '%s'", text)
	}
	first := true
	return c.eachInput(o.rest, func(name string, r io.Reader) error {
		if err := c.header(o, name, first); err != nil {
			return err
		}
		first = false
		if o.has("c") && n >= 0 {
			_, err := io.CopyN(c.Stdout, r, n)
			if err == io.EOF {
				return nil
			}
			return err
		}
		return c.headLines(r, n, o.has("c"))
	})
}

// headLines prints the first n lines, or all but the last -n (or bytes).
func (c *Call) headLines(r io.Reader, n int64, asBytes bool) error {
	if n < 0 {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		units := bytes.SplitAfter(data, []byte("\n"))
		if len(units[len(units)-1]) == 0 {
			units = units[:len(units)-1]
		}
		if asBytes {
			_, err = c.Stdout.Write(data[:max(0, int64(len(data))+n)])
			return err
		}
		_, err = c.Stdout.Write(bytes.Join(units[:max(0, int64(len(units))+n)], nil))
		return err
	}
	lines := bufio.NewReader(r)
	for ; n > 0; n-- {
		line, err := lines.ReadString('\n')
		if _, werr := io.WriteString(c.Stdout, line); werr != nil {
			return werr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	// What was read too much is given back to whoever shares the file; a pipe cannot take it.
	if f, ok := r.(io.Seeker); ok {
		f.Seek(-int64(lines.Buffered()), io.SeekCurrent)
	}
	return nil
}

// header names the file if there are several, as head and tail do.
func (c *Call) header(o options, name string, first bool) error {
	if len(o.rest) < 2 && !o.has("v") || o.has("q") {
		return nil
	}
	gap := "\n"
	if first {
		gap = ""
	}
	if name == "-" {
		name = "standard input"
	}
	return c.printf("%s==> %s <==\n", gap, name)
}

func tail(ctx context.Context, c *Call) error {
	c.count()
	o, err := c.parse("n:c:qvfF", map[string]byte{"lines": 'n', "bytes": 'c', "quiet": 'q', "follow": 'f'})
	if err != nil {
		return err
	}
	text := o.get('n', "10")
	if o.has("c") {
		text = o.get('c', "")
	}
	n, err := parseSize(strings.TrimLeft(text, "+-"))
	if err != nil {
		return usagef("invalid number: '%s'", text)
	}
	first := true
	return c.eachInput(o.rest, func(name string, r io.Reader) error {
		if err := c.header(o, name, first); err != nil {
			return err
		}
		first = false
		if err := c.tailOf(r, n, strings.HasPrefix(text, "+"), o.has("c")); err != nil || !o.has("fF") {
			return err
		}
		return follow(ctx, c.Stdout, r)
	})
}

func (c *Call) tailOf(r io.Reader, n int64, fromStart, asBytes bool) error {
	switch {
	case fromStart && asBytes:
		if _, err := io.CopyN(io.Discard, r, n-1); err != nil && err != io.EOF {
			return err
		}
		_, err := io.Copy(c.Stdout, r)
		return err
	case fromStart:
		number := int64(0)
		return eachLine(r, func(line string) error {
			if number++; number < n {
				return nil
			}
			_, err := io.WriteString(c.Stdout, line)
			return err
		})
	case asBytes:
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		_, err = c.Stdout.Write(data[max(0, int64(len(data))-n):])
		return err
	}
	var last []string
	err := eachLine(r, func(line string) error {
		if last = append(last, line); int64(len(last)) > n {
			last = last[1:]
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(c.Stdout, strings.Join(last, ""))
	return err
}

func wc(_ context.Context, c *Call) error {
	o, err := c.parse("lwcmL", map[string]byte{"lines": 'l', "words": 'w', "bytes": 'c', "chars": 'm'})
	if err != nil {
		return err
	}
	var total [4]int
	show := func(n [4]int, name string) error {
		var cols []string
		for i, letter := range "lwmc" {
			if o.has(string(letter)) || !o.has("lwmc") && letter != 'm' {
				cols = append(cols, strconv.Itoa(n[i]))
			}
		}
		line := strings.Join(cols, " ")
		if len(cols) > 1 {
			line = fmt.Sprintf("%7s", cols[0])
			for _, col := range cols[1:] {
				line += fmt.Sprintf(" %7s", col)
			}
		}
		if name != "-" || len(o.rest) > 0 {
			line += " " + name
		}
		return c.printf("%s\n", line)
	}
	err = c.eachInput(o.rest, func(name string, r io.Reader) error {
		n, err := countText(r)
		if err != nil {
			return err
		}
		for i := range n {
			total[i] += n[i]
		}
		return show(n, name)
	})
	if err != nil || len(o.rest) < 2 {
		return err
	}
	return show(total, "total")
}

// countText counts lines, words, characters and bytes.
func countText(r io.Reader) (n [4]int, err error) {
	buf := make([]byte, 64<<10)
	inWord := false
	for {
		k, err := r.Read(buf)
		for _, b := range buf[:k] {
			if b == '\n' {
				n[0]++
			}
			if utf8.RuneStart(b) {
				n[2]++
			}
			space := b == ' ' || b >= '\t' && b <= '\r'
			if !space && !inWord {
				n[1]++
			}
			inWord = !space
		}
		n[3] += k
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

func uniq(_ context.Context, c *Call) error {
	o, err := c.parse("cdui f:s:", map[string]byte{"count": 'c', "repeated": 'd', "unique": 'u', "ignore-case": 'i'})
	if err != nil {
		return err
	}
	names := o.rest
	if len(names) > 1 {
		f, err := os.Create(c.Path(names[1]))
		if err != nil {
			return err
		}
		defer f.Close()
		c.Stdout, names = f, names[:1]
	}
	lines, err := c.allLines(names)
	if err != nil {
		return err
	}
	fields, _ := strconv.Atoi(o.get('f', "0"))
	skip, _ := strconv.Atoi(o.get('s', "0"))
	key := func(line string) string {
		for range fields {
			line = strings.TrimLeft(line, " \t")
			line = line[min(len(line), max(strings.IndexAny(line+" ", " \t"), 0)):]
		}
		line = line[min(skip, len(line)):]
		if o.has("i") {
			line = strings.ToLower(line)
		}
		return line
	}
	var out []string
	for i := 0; i < len(lines); {
		j := i + 1
		for j < len(lines) && key(lines[j]) == key(lines[i]) {
			j++
		}
		if (j-i > 1 || !o.has("d")) && (j-i == 1 || !o.has("u")) {
			line := lines[i]
			if o.has("c") {
				line = fmt.Sprintf("%7d %s", j-i, line)
			}
			out = append(out, line)
		}
		i = j
	}
	return c.printLines(out)
}

func tee(_ context.Context, c *Call) error {
	o, err := c.parse("ai", map[string]byte{"append": 'a'})
	if err != nil {
		return err
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if o.has("a") {
		flags = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	}
	writers := []io.Writer{c.Stdout}
	for _, name := range o.rest {
		f, err := os.OpenFile(c.Path(name), flags, 0o666)
		if err != nil {
			c.Warn(relabel(err, name))
			continue
		}
		defer f.Close()
		writers = append(writers, f)
	}
	_, err = io.Copy(io.MultiWriter(writers...), c.Stdin)
	return err
}

func yes(ctx context.Context, c *Call) error {
	word := "y"
	if len(c.Args) > 0 {
		word = strings.Join(c.Args, " ")
	}
	block := []byte(strings.Repeat(word+"\n", max(1, 4096/(len(word)+1))))
	for ctx.Err() == nil {
		if _, err := c.Stdout.Write(block); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func seq(_ context.Context, c *Call) error {
	// A number may be negative: only -s and -w are options.
	sep, width, args := "\n", 0, c.Args
	for len(args) > 0 && len(args[0]) > 1 && (strings.HasPrefix(args[0], "-s") || args[0] == "-w") {
		switch {
		case args[0] == "-w":
			width = -1
		case args[0] != "-s":
			sep = args[0][2:]
		case len(args) > 1:
			sep, args = args[1], args[1:]
		}
		args = args[1:]
	}
	first, step, last := 1.0, 1.0, 0.0
	into := map[int][]*float64{1: {&last}, 2: {&first, &last}, 3: {&first, &step, &last}}[len(args)]
	if into == nil {
		return usagef("missing operand")
	}
	decimals := 0
	for i, p := range into {
		v, err := strconv.ParseFloat(args[i], 64)
		if err != nil {
			return usagef("invalid floating point argument: '%s'", args[i])
		}
		if _, frac, ok := strings.Cut(args[i], "."); ok && i < len(into)-1 {
			decimals = max(decimals, len(frac))
		}
		*p = v
	}
	if step == 0 {
		return usagef("invalid zero increment value")
	}
	format := func(v float64) string { return strconv.FormatFloat(v, 'f', decimals, 64) }
	if width < 0 {
		width = max(len(format(first)), len(format(last)))
	}
	out := bufio.NewWriter(c.Stdout)
	for i := 0; ; i++ {
		v := first + float64(i)*step
		if step > 0 && v > last || step < 0 && v < last {
			if i > 0 {
				out.WriteByte('\n')
			}
			return out.Flush()
		}
		if i > 0 {
			out.WriteString(sep)
		}
		if _, err := fmt.Fprintf(out, "%0*s", width, format(v)); err != nil {
			return err
		}
	}
}
