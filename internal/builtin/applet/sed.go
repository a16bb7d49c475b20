package applet

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// An editor is a sed script and the state it runs in.
type editor struct {
	c        *Call
	script   []command
	quiet    bool
	out      *bufio.Writer
	in       *lineSource
	line     int
	pattern  string
	hold     string
	appended []string
	ranges   map[int]bool // commands whose range has begun
	files    map[string]*os.File
	code     int
}

func sed(_ context.Context, c *Call) error {
	o, err := c.parse("nEre:f:i::sz", map[string]byte{"quiet": 'n', "silent": 'n', "regexp-extended": 'E', "expression": 'e', "file": 'f', "in-place": 'i'})
	if err != nil {
		return err
	}
	texts, files := o.all('e'), o.rest
	for _, name := range o.all('f') {
		data, err := os.ReadFile(c.Path(name))
		if err != nil {
			return err
		}
		texts = append(texts, string(data))
	}
	if !o.has("ef") {
		if len(files) == 0 {
			return usagef("no script")
		}
		texts, files = files[:1], files[1:]
	}
	script, err := parseSed(strings.Join(texts, "\n"), o.has("Er"))
	if err != nil {
		return err
	}
	e := &editor{c: c, script: script, quiet: o.has("n"), files: map[string]*os.File{}}
	defer e.close()
	if !o.has("i") {
		return e.stream(files, c.Stdout)
	}
	for _, name := range files {
		if err := e.inPlace(name, o.get('i', "")); err != nil {
			return err
		}
	}
	return nil
}

func (e *editor) close() {
	for _, f := range e.files {
		f.Close()
	}
}

// inPlace edits one file into a new one that then takes its place.
func (e *editor) inPlace(name, suffix string) error {
	path := e.c.Path(name)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	e.line, e.hold, e.ranges = 0, "", nil
	if err := e.stream([]string{name}, &out); err != nil {
		return err
	}
	if suffix != "" {
		if err := os.Link(path, path+suffix); err != nil {
			return err
		}
	}
	tmp := path + ".sed-tmp"
	if err := os.WriteFile(tmp, out.Bytes(), 0o600); err != nil {
		return err
	}
	if err := copyMeta(tmp, info); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// lineSource reads lines of several files as one, with one line of look-ahead
// for the address $.
type lineSource struct {
	c     *Call
	names []string
	r     *bufio.Reader
	f     io.Closer
	next  string
	ok    bool
}

func (s *lineSource) read() (string, bool) {
	for {
		if s.r == nil {
			if len(s.names) == 0 {
				return "", false
			}
			name := s.names[0]
			s.names = s.names[1:]
			if name == "-" {
				s.r = bufio.NewReader(s.c.Stdin)
			} else if f, err := os.Open(s.c.Path(name)); err != nil {
				s.c.Warn(relabel(err, name))
				continue
			} else {
				s.r, s.f = bufio.NewReader(f), f
			}
		}
		line, err := s.r.ReadString('\n')
		if line != "" {
			return line, true
		}
		if err != nil && err != io.EOF {
			s.c.Warn(err)
		}
		if s.f != nil {
			s.f.Close()
		}
		s.r, s.f = nil, nil
	}
}

func (s *lineSource) advance() (string, bool) {
	line, ok := s.next, s.ok
	s.next, s.ok = s.read()
	return line, ok
}

// stream runs the script over all lines of the files.
func (e *editor) stream(names []string, w io.Writer) error {
	if len(names) == 0 {
		names = []string{"-"}
	}
	e.in = &lineSource{c: e.c, names: names}
	e.in.advance()
	e.out = bufio.NewWriter(w)
	if e.ranges == nil {
		e.ranges = map[int]bool{}
	}
	for {
		if !e.nextLine() {
			break
		}
		again, err := e.cycle()
		for err == nil && again {
			again, err = e.cycle()
		}
		if err == errQuit {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := e.out.Flush(); err != nil {
		return err
	}
	if e.code != 0 {
		return &Exit{e.code}
	}
	return nil
}

var errQuit = &Exit{0}

func (e *editor) nextLine() bool {
	line, ok := e.in.advance()
	if !ok {
		return false
	}
	e.line++
	e.pattern = strings.TrimSuffix(line, "\n")
	return true
}

func (e *editor) print(s string) { e.out.WriteString(s + "\n") }

// endCycle prints the pattern space and what was appended.
func (e *editor) endCycle(autoprint bool) {
	if autoprint && !e.quiet {
		e.print(e.pattern)
	}
	for _, text := range e.appended {
		e.out.WriteString(text)
	}
	e.appended = nil
}

// cycle runs the script once; again means to run it without a new line (D).
func (e *editor) cycle() (again bool, err error) {
	substituted := false
	for pc := 0; pc < len(e.script); pc++ {
		cmd := &e.script[pc]
		if e.selects(pc) == cmd.not {
			if cmd.name == '{' {
				pc = cmd.jump
			}
			continue
		}
		switch cmd.name {
		case '{', '}', ':', '#':
		case 'b', 't', 'T':
			if cmd.name == 'b' || substituted == (cmd.name == 't') {
				pc = cmd.jump
			}
			if cmd.name != 'b' {
				substituted = false
			}
		case 's':
			if e.substitute(cmd) {
				substituted = true
			}
		case 'd':
			e.endCycle(false)
			return false, nil
		case 'D':
			_, rest, more := strings.Cut(e.pattern, "\n")
			e.endCycle(false)
			e.pattern = rest
			return more, nil
		case 'n', 'N':
			if err := e.next(cmd.name == 'N'); err != nil {
				return false, err
			}
		case 'q', 'Q':
			e.code = cmd.number
			e.endCycle(cmd.name == 'q')
			return false, errQuit
		case 'c':
			if cmd.to == nil || !e.ranges[pc] || cmd.not {
				e.out.WriteString(cmd.text)
			}
			e.endCycle(false)
			return false, nil
		default:
			if err := e.simple(cmd); err != nil {
				return false, err
			}
		}
	}
	e.endCycle(true)
	return false, nil
}

// next takes the next line, in place of this one or added to it.
func (e *editor) next(add bool) error {
	if !e.in.ok {
		e.endCycle(true) // GNU prints on N without a next line, too
		return errQuit
	}
	old := e.pattern
	if !add {
		e.endCycle(true)
	}
	e.nextLine()
	if add {
		e.pattern = old + "\n" + e.pattern
	}
	return nil
}

// simple runs a command that does not change what runs next.
func (e *editor) simple(cmd *command) error {
	switch cmd.name {
	case 'p':
		e.print(e.pattern)
	case 'P':
		first, _, _ := strings.Cut(e.pattern, "\n")
		e.print(first)
	case '=':
		e.print(fmt.Sprint(e.line))
	case 'l':
		e.print(strings.Trim(fmt.Sprintf("%q", e.pattern), `"`) + "$")
	case 'a':
		e.appended = append(e.appended, cmd.text)
	case 'i':
		e.out.WriteString(cmd.text)
	case 'g':
		e.pattern = e.hold
	case 'G':
		e.pattern += "\n" + e.hold
	case 'h':
		e.hold = e.pattern
	case 'H':
		e.hold += "\n" + e.pattern
	case 'x':
		e.pattern, e.hold = e.hold, e.pattern
	case 'y':
		e.pattern = strings.Map(func(r rune) rune {
			if to, ok := cmd.translate[r]; ok {
				return to
			}
			return r
		}, e.pattern)
	case 'r':
		if data, err := os.ReadFile(e.c.Path(cmd.text)); err == nil {
			e.appended = append(e.appended, string(data))
		}
	case 'w':
		return e.write(cmd.text)
	}
	return nil
}

func (e *editor) write(name string) error {
	if name == "/dev/stdout" {
		e.print(e.pattern)
		return nil
	}
	f := e.files[name]
	if f == nil {
		var err error
		if f, err = os.Create(e.c.Path(name)); err != nil {
			return err
		}
		e.files[name] = f
	}
	_, err := f.WriteString(e.pattern + "\n")
	return err
}

// selects reports whether the addresses of a command take the current line.
func (e *editor) selects(pc int) bool {
	cmd := &e.script[pc]
	switch {
	case cmd.from == nil:
		return true
	case cmd.to == nil:
		return e.at(cmd.from)
	case e.ranges[pc]:
		if e.at(cmd.to) || cmd.to.re == nil && !cmd.to.last && e.line >= cmd.end(e) {
			e.ranges[pc] = false
			return cmd.to.re != nil || cmd.to.last || e.line <= cmd.end(e)
		}
		return true
	case e.at(cmd.from):
		cmd.began = e.line
		// A range whose end is not behind its beginning is one line.
		e.ranges[pc] = cmd.to.re != nil || cmd.to.last && e.in.ok || !cmd.to.last && cmd.end(e) > e.line
		return true
	}
	return false
}

func (e *editor) at(a *address) bool {
	switch {
	case a.last:
		return !e.in.ok
	case a.re != nil:
		return a.re.MatchString(e.pattern)
	case a.step > 0:
		return e.line >= a.line && (e.line-a.line)%a.step == 0
	}
	return !a.relative && e.line == a.line
}

// substitute runs s///; it reports whether something was replaced.
func (e *editor) substitute(cmd *command) bool {
	var b strings.Builder
	done, count := 0, 0
	for _, m := range cmd.re.FindAllStringSubmatchIndex(e.pattern, -1) {
		if count++; count < cmd.number || count > cmd.number && !cmd.global {
			continue
		}
		b.WriteString(e.pattern[done:m[0]])
		cmd.replacement(&b, e.pattern, m)
		done = m[1]
	}
	if count < cmd.number || count == 0 {
		return false
	}
	e.pattern = b.String() + e.pattern[done:]
	if cmd.printIt {
		e.print(e.pattern)
	}
	if cmd.text != "" {
		if err := e.write(cmd.text); err != nil {
			e.c.Warn(err)
		}
	}
	return true
}

// A command is one of a sed script.
type command struct {
	from, to  *address
	not       bool
	name      byte
	text      string // of a, i, c; a file; a label
	jump      int    // where b, t and a { that does not apply go on
	re        *regexp.Regexp
	parts     []replacePart
	number    int
	global    bool
	printIt   bool
	translate map[rune]rune
	began     int
}

// end is the last line of a range with a number.
func (c *command) end(*editor) int {
	if c.to.relative {
		return c.began + c.to.line
	}
	return c.to.line
}

type address struct {
	line, step int
	relative   bool // +N
	last       bool
	re         *regexp.Regexp
}

// A replacePart is literal text, a group of the match, or a change of case.
type replacePart struct {
	text  string
	group int // -1: text
	mode  byte
}

func (c *command) replacement(b *strings.Builder, line string, m []int) {
	mode, once := byte(0), byte(0)
	put := func(s string) {
		switch {
		case s == "":
			return
		case mode == 'U':
			s = strings.ToUpper(s)
		case mode == 'L':
			s = strings.ToLower(s)
		}
		switch once {
		case 'u':
			s = strings.ToUpper(s[:1]) + s[1:]
		case 'l':
			s = strings.ToLower(s[:1]) + s[1:]
		}
		once = 0
		b.WriteString(s)
	}
	for _, p := range c.parts {
		switch {
		case p.mode == 'u' || p.mode == 'l':
			once = p.mode
		case p.mode == 'E':
			mode = 0
		case p.mode != 0:
			mode = p.mode
		case p.group < 0:
			put(p.text)
		case 2*p.group+1 < len(m) && m[2*p.group] >= 0:
			put(line[m[2*p.group]:m[2*p.group+1]])
		}
	}
}
