package applet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A finder walks trees and asks an expression about each file.
type finder struct {
	c                  *Call
	ctx                context.Context
	args               []string
	acts               bool // an action was named: no implicit -print
	depth, follow      bool
	minDepth, maxDepth int
	batches            []*batch
	prune              bool
	quit               bool
}

// A found file, as an expression sees it.
type found struct {
	name  string // as find prints it
	path  string
	depth int
	info  fs.FileInfo
}

// A predicate says whether a file is meant, and may act on it.
type predicate func(f found) (bool, error)

func find(ctx context.Context, c *Call) error {
	f := &finder{c: c, ctx: ctx, args: c.Args, maxDepth: -1}
	for len(f.args) > 0 && (f.args[0] == "-L" || f.args[0] == "-H" || f.args[0] == "-P") {
		f.follow = f.args[0] == "-L"
		f.args = f.args[1:]
	}
	var roots []string
	for len(f.args) > 0 && !strings.HasPrefix(f.args[0], "-") && f.args[0] != "(" && f.args[0] != "!" {
		roots = append(roots, f.args[0])
		f.args = f.args[1:]
	}
	if len(roots) == 0 {
		roots = []string{"."}
	}
	test := predicate(func(found) (bool, error) { return true, nil })
	if len(f.args) > 0 {
		var err error
		if test, err = f.or(); err != nil {
			return err
		}
		if len(f.args) > 0 {
			return usagef("unexpected '%s'", f.args[0])
		}
	}
	if !f.acts {
		test = and(test, f.print("\n"))
	}
	for _, root := range roots {
		if err := f.walk(root, c.Path(root), 0, test); err != nil {
			return err
		}
	}
	for _, b := range f.batches {
		if err := b.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (f *finder) walk(name, path string, depth int, test predicate) error {
	if f.quit {
		return nil
	}
	if err := f.ctx.Err(); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err == nil && f.follow {
		if target, statErr := os.Stat(path); statErr == nil {
			info = target
		}
	}
	if err != nil {
		f.c.Warn(relabel(err, name))
		return nil
	}
	visit := func() error {
		if depth < f.minDepth {
			return nil
		}
		_, err := test(found{name, path, depth, info})
		return err
	}
	f.prune = false
	if !f.depth {
		if err := visit(); err != nil {
			return err
		}
	}
	if info.IsDir() && !f.prune && (f.maxDepth < 0 || depth < f.maxDepth) {
		entries, err := os.ReadDir(path)
		if err != nil {
			f.c.Warn(relabel(err, name))
		}
		for _, e := range entries {
			sub := strings.TrimSuffix(name, "/") + "/" + e.Name()
			if err := f.walk(sub, filepath.Join(path, e.Name()), depth+1, test); err != nil {
				return err
			}
		}
	}
	if f.depth {
		return visit()
	}
	return nil
}

func (f *finder) next() (string, error) {
	if len(f.args) == 0 {
		return "", usagef("missing argument")
	}
	word := f.args[0]
	f.args = f.args[1:]
	return word, nil
}

func (f *finder) or() (predicate, error) {
	left, err := f.and()
	for err == nil && len(f.args) > 0 && (f.args[0] == "-o" || f.args[0] == "-or") {
		f.args = f.args[1:]
		var right predicate
		right, err = f.and()
		l := left
		left = func(x found) (bool, error) {
			ok, err := l(x)
			if ok || err != nil {
				return ok, err
			}
			return right(x)
		}
	}
	return left, err
}

func (f *finder) and() (predicate, error) {
	left, err := f.not()
	for err == nil && len(f.args) > 0 && f.args[0] != "-o" && f.args[0] != "-or" && f.args[0] != ")" {
		if f.args[0] == "-a" || f.args[0] == "-and" {
			f.args = f.args[1:]
		}
		var right predicate
		right, err = f.not()
		left = and(left, right)
	}
	return left, err
}

func and(l, r predicate) predicate {
	return func(x found) (bool, error) {
		ok, err := l(x)
		if !ok || err != nil {
			return ok, err
		}
		return r(x)
	}
}

func (f *finder) not() (predicate, error) {
	word, err := f.next()
	if err != nil {
		return nil, err
	}
	switch word {
	case "!", "-not":
		inner, err := f.not()
		return func(x found) (bool, error) {
			ok, err := inner(x)
			return !ok, err
		}, err
	case "(":
		inner, err := f.or()
		if err != nil {
			return nil, err
		}
		if end, err := f.next(); err != nil || end != ")" {
			return nil, usagef("missing ')'")
		}
		return inner, nil
	}
	return f.primary(word)
}

// primary reads the tests and actions that take no argument.
func (f *finder) primary(word string) (predicate, error) {
	constant := func(v bool) predicate { return func(found) (bool, error) { return v, nil } }
	switch word {
	case "-true", "-noleaf":
		return constant(true), nil
	case "-false":
		return constant(false), nil
	case "-depth":
		f.depth = true
		return constant(true), nil
	case "-xdev", "-mount":
		return constant(true), nil
	case "-print":
		return f.print("\n"), nil
	case "-print0":
		return f.print("\x00"), nil
	case "-prune":
		return func(found) (bool, error) { f.prune = true; return true, nil }, nil
	case "-quit":
		f.acts = true
		return func(found) (bool, error) { f.quit = true; return true, nil }, nil
	case "-delete":
		f.acts, f.depth = true, true
		return func(x found) (bool, error) {
			if err := os.Remove(x.path); err != nil {
				f.c.Warn(relabel(err, x.name))
				return false, nil
			}
			return true, nil
		}, nil
	case "-empty":
		return isEmpty, nil
	case "-nouser", "-nogroup":
		return constant(false), nil
	case "-exec", "-ok":
		return f.exec()
	}
	arg, err := f.next()
	if err != nil {
		return nil, usagef("unknown or incomplete predicate '%s'", word)
	}
	return f.test(word, arg)
}

func isEmpty(x found) (bool, error) {
	if !x.info.IsDir() {
		return x.info.Mode().IsRegular() && x.info.Size() == 0, nil
	}
	entries, err := os.ReadDir(x.path)
	return len(entries) == 0, err
}

// test reads the tests that take an argument.
func (f *finder) test(word, arg string) (predicate, error) {
	stat := func(x found) *syscall.Stat_t { return x.info.Sys().(*syscall.Stat_t) }
	switch word {
	case "-name", "-iname", "-path", "-wholename", "-ipath":
		fold := strings.HasPrefix(word, "-i")
		whole := strings.HasSuffix(word, "path") || word == "-wholename"
		return func(x found) (bool, error) { return nameMatches(arg, x.name, whole, fold), nil }, nil
	case "-type":
		return func(x found) (bool, error) {
			return slices.Contains(strings.Split(arg, ","), typeLetter(x.info.Mode())), nil
		}, nil
	case "-maxdepth", "-mindepth":
		n, err := strconv.Atoi(arg)
		if word == "-maxdepth" {
			f.maxDepth = n
		} else {
			f.minDepth = n
		}
		return func(found) (bool, error) { return true, nil }, err
	case "-user", "-uid":
		u, err := findUser(arg)
		return func(x found) (bool, error) { return int(stat(x).Uid) == u.uid, nil }, err
	case "-group", "-gid":
		g, err := findGroup(arg)
		return func(x found) (bool, error) { return int(stat(x).Gid) == g, nil }, err
	case "-perm":
		return permTest(arg)
	case "-newer":
		info, err := os.Stat(f.c.Path(arg))
		return func(x found) (bool, error) { return x.info.ModTime().After(info.ModTime()), nil }, err
	case "-size", "-links", "-inum", "-mtime", "-mmin":
		return numberTest(word, arg)
	}
	return nil, usagef("unknown predicate '%s'", word)
}

func nameMatches(pattern, name string, whole, fold bool) bool {
	if !whole {
		name = path.Base(name)
	} else {
		// In -path a slash is a character like any other.
		pattern, name = strings.ReplaceAll(pattern, "/", "\x01"), strings.ReplaceAll(name, "/", "\x01")
	}
	if fold {
		pattern, name = strings.ToLower(pattern), strings.ToLower(name)
	}
	ok, err := path.Match(strings.ReplaceAll(pattern, "[!", "[^"), name)
	return ok && err == nil
}

func typeLetter(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "d"
	case m&fs.ModeSymlink != 0:
		return "l"
	case m&fs.ModeNamedPipe != 0:
		return "p"
	case m&fs.ModeSocket != 0:
		return "s"
	case m&fs.ModeCharDevice != 0:
		return "c"
	case m&fs.ModeDevice != 0:
		return "b"
	}
	return "f"
}

func permTest(arg string) (predicate, error) {
	text := strings.TrimLeft(arg, "-/")
	want, err := newMode(0, false, text)
	if err != nil {
		return nil, err
	}
	return func(x found) (bool, error) {
		bits := uint32(x.info.Sys().(*syscall.Stat_t).Mode) & 0o7777
		switch arg[0] {
		case '-':
			return bits&want == want, nil
		case '/':
			return want == 0 || bits&want != 0, nil
		}
		return bits == want, nil
	}, nil
}

// numberTest reads +N, -N and N; sizes are in units of 512 bytes or as their letter says.
func numberTest(word, arg string) (predicate, error) {
	text := strings.TrimLeft(arg, "+-")
	unit := int64(512)
	if i := strings.IndexAny(text, "cwbkMG"); i >= 0 && word == "-size" {
		unit = map[byte]int64{'c': 1, 'w': 2, 'b': 512, 'k': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}[text[i]]
		text = text[:i]
	}
	want, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, usagef("invalid number '%s' for %s", arg, word)
	}
	now := time.Now()
	return func(x found) (bool, error) {
		st := x.info.Sys().(*syscall.Stat_t)
		got := map[string]int64{"-size": (st.Size + unit - 1) / unit, "-links": int64(st.Nlink), "-inum": int64(st.Ino),
			"-mtime": int64(now.Sub(x.info.ModTime()) / (24 * time.Hour)), "-mmin": int64(now.Sub(x.info.ModTime()) / time.Minute)}[word]
		switch arg[0] {
		case '+':
			return got > want, nil
		case '-':
			return got < want, nil
		}
		return got == want, nil
	}, nil
}

func (f *finder) print(end string) predicate {
	f.acts = true
	return func(x found) (bool, error) {
		_, err := io.WriteString(f.c.Stdout, x.name+end)
		return true, err
	}
}

// exec reads -exec CMD... ; or -exec CMD... {} +
func (f *finder) exec() (predicate, error) {
	f.acts = true
	var argv []string
	for {
		word, err := f.next()
		if err != nil {
			return nil, usagef("missing argument to '-exec'")
		}
		if word == ";" {
			break
		}
		if word == "+" && len(argv) > 0 && argv[len(argv)-1] == "{}" {
			b := &batch{c: f.c, ctx: f.ctx, argv: argv[:len(argv)-1]}
			f.batches = append(f.batches, b)
			return func(x found) (bool, error) { return true, b.add(x.name) }, nil
		}
		argv = append(argv, word)
	}
	if len(argv) == 0 {
		return nil, usagef("missing argument to '-exec'")
	}
	return func(x found) (bool, error) {
		cmd := make([]string, len(argv))
		for i, a := range argv {
			cmd[i] = strings.ReplaceAll(a, "{}", x.name)
		}
		return f.c.Exec(f.ctx, cmd) == 0, f.ctx.Err()
	}, nil
}

// A batch collects arguments for one command line, of find and xargs.
type batch struct {
	c      *Call
	ctx    context.Context
	argv   []string
	args   []string
	size   int
	max    int // arguments; 0: as many as fit
	trace  bool
	ran    bool
	status int
}

// maxCommandLine is well below what Linux takes (128 KiB for one argument, 2 MiB for all).
const maxCommandLine = 96 << 10

func (b *batch) add(arg string) error {
	b.args = append(b.args, arg)
	if b.size += len(arg) + 1; b.size > maxCommandLine || b.max > 0 && len(b.args) >= b.max {
		return b.flush()
	}
	return nil
}

func (b *batch) flush() error {
	if len(b.args) == 0 {
		return nil
	}
	args := b.args
	b.args, b.size = nil, 0
	return b.run(args)
}

func (b *batch) run(args []string) error {
	b.ran = true
	argv := slices.Concat(b.argv, args)
	if b.trace {
		fmt.Fprintln(b.c.Stderr, strings.Join(argv, " "))
	}
	switch code := b.c.Exec(b.ctx, argv); {
	case code == 0:
	case code == 126 || code == 127:
		return &Exit{code}
	case code == 255:
		return &Exit{124}
	default:
		b.status = 123
	}
	if b.status != 0 {
		b.c.failed = true
	}
	return b.ctx.Err()
}

func xargs(ctx context.Context, c *Call) error {
	o, err := c.parse("+0rtn:I:L:P:d:E:s:x", map[string]byte{"null": '0', "no-run-if-empty": 'r', "verbose": 't', "max-args": 'n', "replace": 'I', "max-procs": 'P', "delimiter": 'd'})
	if err != nil {
		return err
	}
	argv := o.rest
	if len(argv) == 0 {
		argv = []string{"echo"}
	}
	data, err := io.ReadAll(c.Stdin)
	if err != nil {
		return err
	}
	words, err := xargsWords(o, data)
	if err != nil {
		return err
	}
	call := *c
	call.Stdin = bytes.NewReader(nil)
	b := &batch{c: &call, ctx: ctx, argv: argv, trace: o.has("t")}
	b.max, _ = strconv.Atoi(o.get('n', o.get('L', "0")))
	for _, word := range words {
		if mark := o.get('I', ""); mark != "" {
			b.argv = make([]string, len(argv))
			for i, a := range argv {
				b.argv[i] = strings.ReplaceAll(a, mark, word)
			}
			err = b.run(nil)
		} else {
			err = b.add(word)
		}
		if err != nil {
			return err
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	if !b.ran && !o.has("rI") {
		if err := b.run(nil); err != nil {
			return err
		}
	}
	if b.status != 0 {
		return &Exit{b.status}
	}
	return nil
}

// xargsWords splits the input: at NULs, at a delimiter, at newlines (-I), or at
// blanks that are not quoted.
func xargsWords(o options, data []byte) ([]string, error) {
	split := ""
	switch {
	case o.has("0"):
		split = "\x00"
	case o.has("d"):
		split = unescape(o.get('d', ""))
	case o.has("IL"):
		split = "\n"
	default:
		return quotedWords(string(data))
	}
	words := strings.Split(string(data), split)
	if words[len(words)-1] == "" || words[len(words)-1] == "\n" {
		words = words[:len(words)-1]
	}
	if o.has("I") && split == "\n" {
		words = slices.DeleteFunc(words, func(w string) bool { return strings.TrimSpace(w) == "" })
		for i, w := range words {
			words[i] = strings.TrimLeft(w, " \t")
		}
	}
	return words, nil
}

func quotedWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	in := false
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case ch == '\'' || ch == '"':
			end := strings.IndexByte(s[i+1:], ch)
			if end < 0 {
				return nil, errors.New("unmatched quote")
			}
			word.WriteString(s[i+1 : i+1+end])
			in = true
			i += end + 1
		case ch == '\\' && i+1 < len(s):
			i++
			word.WriteByte(s[i])
			in = true
		case ch == ' ' || ch == '\t' || ch == '\n':
			if in {
				words = append(words, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteByte(ch)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}
