package applet

import (
	"bufio"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A search is what grep was asked for.
type search struct {
	c        *Call
	o        options
	patterns []*regexp.Regexp
	names    bool // file names before lines
	found    bool
}

func grep(_ context.Context, c *Call) error {
	o, err := c.parse("EFGivnclLqsxwohHrRe:f:m:A:B:C:a", map[string]byte{"quiet": 'q', "silent": 'q', "count": 'c',
		"ignore-case": 'i', "invert-match": 'v', "extended-regexp": 'E', "fixed-strings": 'F', "line-number": 'n',
		"files-with-matches": 'l', "recursive": 'r', "only-matching": 'o', "no-messages": 's', "regexp": 'e',
		"line-regexp": 'x', "word-regexp": 'w', "max-count": 'm', "text": 'a'})
	if err != nil {
		return err
	}
	s := search{c: c, o: o}
	files, err := s.compile()
	if err != nil {
		return err
	}
	if o.has("rR") {
		files = c.expand(files)
	}
	s.names = (len(files) > 1 || o.has("rR")) && o.last("hH") != 'h' || o.last("hH") == 'H'
	if o.has("s") {
		c.Stderr = io.Discard
	}
	stop := c.eachInput(files, s.file)
	switch {
	case stop != nil && stop != errEnough:
		return stop
	case c.failed && !(s.found && o.has("q")):
		return &Exit{2}
	case !s.found:
		return &Exit{1}
	}
	return nil
}

// errEnough stops eachInput when the answer is known.
var errEnough = &Exit{0}

// compile reads the patterns and returns the files to search.
func (s *search) compile() ([]string, error) {
	texts, files := s.o.all('e'), s.o.rest
	for _, name := range s.o.all('f') {
		data, err := os.ReadFile(s.c.Path(name))
		if err != nil {
			return nil, &usageError{message(err)}
		}
		texts = append(texts, strings.TrimSuffix(string(data), "\n"))
	}
	if !s.o.has("ef") {
		if len(files) == 0 {
			return nil, usagef("missing pattern")
		}
		texts, files = files[:1], files[1:]
	}
	kind := s.o.last("EFG")
	switch {
	case kind == 0 && s.c.Name == "egrep":
		kind = 'E'
	case kind == 0 && s.c.Name == "fgrep":
		kind = 'F'
	}
	for _, text := range texts {
		for pattern := range strings.SplitSeq(text, "\n") {
			re, err := s.pattern(pattern, kind)
			if err != nil {
				return nil, err
			}
			s.patterns = append(s.patterns, re)
		}
	}
	return files, nil
}

func (s *search) pattern(text string, kind byte) (*regexp.Regexp, error) {
	if kind == 'F' {
		text = regexp.QuoteMeta(text)
	} else {
		var err error
		if text, err = translate(text, kind == 'E'); err != nil {
			return nil, err
		}
	}
	if s.o.has("w") {
		text = `(?:^|\b)(?:` + text + `)(?:\b|$)`
	}
	if s.o.has("x") {
		text = `^(?:` + text + `)$`
	}
	if s.o.has("i") {
		text = "(?i)" + text
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, usagef("invalid regular expression '%s'", text)
	}
	re.Longest()
	return re, nil
}

// expand replaces directories by the files below them.
func (c *Call) expand(names []string) []string {
	if len(names) == 0 {
		names = []string{"."}
	}
	var files []string
	for _, name := range names {
		root := c.Path(name)
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				files = append(files, name+strings.TrimPrefix(path, root))
			}
			return err
		})
		if err != nil {
			c.Warn(relabel(err, name))
		}
	}
	return files
}

func (s *search) file(name string, r io.Reader) error {
	if name == "-" {
		name = "(standard input)"
	}
	limit, _ := strconv.Atoi(s.o.get('m', "-1"))
	count, number, after := 0, 0, 0
	before := newContext(s.o)
	lines := bufio.NewReaderSize(r, 64<<10)
	for limit < 0 || count < limit {
		line, err := lines.ReadString('\n')
		if err != nil && err != io.EOF {
			return err
		}
		if line == "" {
			break
		}
		number++
		line = strings.TrimSuffix(line, "\n")
		if s.matches(line) == s.o.has("v") {
			if after--; after >= 0 {
				err = s.show(name, number, '-', line)
			} else {
				before.push(number, line)
			}
		} else {
			s.found = true
			count++
			after = before.after
			if s.o.has("q") {
				return errEnough
			}
			err = s.hit(name, number, line, before)
		}
		if err != nil && err != io.EOF {
			return err
		}
		if count > 0 && s.o.has("lL") && !s.o.has("c") {
			break
		}
	}
	return s.summary(name, count)
}

func (s *search) summary(name string, count int) error {
	switch {
	case s.o.has("c"):
		if s.names {
			return s.c.printf("%s:%d\n", name, count)
		}
		return s.c.printf("%d\n", count)
	case s.o.has("l") && count > 0, s.o.has("L") && count == 0:
		return s.c.printf("%s\n", name)
	}
	return nil
}

func (s *search) matches(line string) bool {
	for _, re := range s.patterns {
		if re.MatchString(line) {
			return true
		}
	}
	return false
}

// hit prints a line that was looked for, or its parts (-o).
func (s *search) hit(name string, number int, line string, before *lineContext) error {
	if s.o.has("clL") {
		return nil
	}
	for _, b := range before.take() {
		if err := s.show(name, b.number, '-', b.text); err != nil {
			return err
		}
	}
	if !s.o.has("o") {
		return s.show(name, number, ':', line)
	}
	for _, re := range s.patterns {
		for _, part := range re.FindAllString(line, -1) {
			if part == "" {
				continue
			}
			if err := s.show(name, number, ':', part); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *search) show(name string, number int, sep byte, line string) error {
	if s.o.has("clL") {
		return nil
	}
	head := ""
	if s.names {
		head = name + string(sep)
	}
	if s.o.has("n") {
		head += strconv.Itoa(number) + string(sep)
	}
	return s.c.printf("%s%s\n", head, line)
}

// lineContext keeps the lines before a match (-B).
type lineContext struct {
	before, after int
	lines         []numbered
}

type numbered struct {
	number int
	text   string
}

func newContext(o options) *lineContext {
	both := o.get('C', "0")
	before, _ := strconv.Atoi(o.get('B', both))
	after, _ := strconv.Atoi(o.get('A', both))
	return &lineContext{before: before, after: after}
}

func (l *lineContext) push(number int, text string) {
	if l.before == 0 {
		return
	}
	if len(l.lines) == l.before {
		l.lines = l.lines[1:]
	}
	l.lines = append(l.lines, numbered{number, text})
}

func (l *lineContext) take() []numbered {
	lines := l.lines
	l.lines = nil
	return lines
}
