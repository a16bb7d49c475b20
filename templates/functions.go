package templates

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/vm/runtime"
)

// An evaluation is one run of an expression: what its functions may read, and
// how much text they have made.
type evaluation struct {
	dir  string
	made int
}

// A function is one that templates add to expr-lang.
type function struct {
	name      string
	signature any // a func whose type is the function's
	doc       string
	call      func(run *evaluation, args []any) (any, error)
}

// plus is what + on texts becomes; nobody can type its name.
const plus = "text + text"

// ownFunctions lists the functions that are bake's own.
func ownFunctions() []function {
	type text = func(string) string
	return []function{
		{"file", text(nil), "the content of a text file, path relative to the template", (*evaluation).file},
		{"sha256", text(nil), "the SHA-256 of a text, in hex", onText(func(s string) string {
			sum := sha256.Sum256([]byte(s))
			return hex.EncodeToString(sum[:])
		})},
		{"base64", text(nil), "a text in base64", onText(func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) })},
		{"unbase64", text(nil), "the text that base64 encodes", unbase64},
		{"lower", text(nil), "a text in lower case", onText(strings.ToLower)},
		{"upper", text(nil), "a text in upper case", onText(strings.ToUpper)},
		{"trim", text(nil), "a text without white space around it", onText(strings.TrimSpace)},
		{"slug", text(nil), "a text as a name: lower case letters and digits joined by -", onText(slug)},
		{"trimPrefix", (func(string, string) string)(nil), "a text without the text it begins with", func(run *evaluation, a []any) (any, error) {
			return run.text(strings.TrimPrefix(a[0].(string), a[1].(string)))
		}},
		{"trimSuffix", (func(string, string) string)(nil), "a text without the text it ends with", func(run *evaluation, a []any) (any, error) {
			return run.text(strings.TrimSuffix(a[0].(string), a[1].(string)))
		}},
		{"replace", (func(string, string, string) string)(nil), "a text with one text in it replaced by another", replace},
		{"split", (func(string, string) []any)(nil), "the list of texts between a separator", split},
		{"join", (func([]any, string) string)(nil), "a list as one text with a separator", join},
		{"json", (func(any) string)(nil), "a value as JSON", toJSON},
		{"string", (func(any) string)(nil), "a number or truth value as text", func(run *evaluation, a []any) (any, error) {
			s, err := stringify(a[0])
			if err != nil {
				return nil, err
			}
			return run.text(s)
		}},
		{"default", (func(any, any) any)(nil), "a value, or the second if the first is missing or empty", func(_ *evaluation, a []any) (any, error) {
			if a[0] == nil || a[0] == "" {
				return a[1], nil
			}
			return a[0], nil
		}},
		{plus, (func(any, any) any)(nil), "", (*evaluation).add},
	}
}

// functionNames lists every function that an expression may call.
func functionNames() []string {
	names := slices.Clone(allowedBuiltins)
	for _, f := range ownFunctions() {
		if f.name != plus {
			names = append(names, f.name)
		}
	}
	return names
}

// functions returns bake's own functions as expr-lang takes them, bound to run.
func (run *evaluation) functions() []*builtin.Function {
	own := ownFunctions()
	out := make([]*builtin.Function, len(own))
	for i, f := range own {
		signature := reflect.TypeOf(f.signature)
		out[i] = &builtin.Function{Name: f.name, Types: []reflect.Type{signature}, Func: func(args ...any) (any, error) {
			if err := checkArgs(f.name, signature, args); err != nil {
				return nil, err
			}
			return f.call(run, args)
		}}
	}
	return out
}

// checkArgs holds arguments whose type was not known before against the signature.
func checkArgs(name string, signature reflect.Type, args []any) error {
	if len(args) != signature.NumIn() {
		return fmt.Errorf("%s takes %d arguments, not %d", name, signature.NumIn(), len(args))
	}
	for i, arg := range args {
		if want := signature.In(i); want.Kind() != reflect.Interface && reflect.TypeOf(arg) != want {
			return fmt.Errorf("argument %d of %s must be %s", i+1, name, wants(want))
		}
	}
	return nil
}

var errTooMuchText = fmt.Errorf("the expression makes more than %d bytes of text", maxText)

// text counts what an expression makes, so that none grows without bounds.
func (run *evaluation) text(s string) (any, error) {
	if run.made += len(s); run.made > maxText {
		return nil, errTooMuchText
	}
	return s, nil
}

func onText(f func(string) string) func(*evaluation, []any) (any, error) {
	return func(run *evaluation, a []any) (any, error) { return run.text(f(a[0].(string))) }
}

func (run *evaluation) add(a []any) (any, error) {
	left, ok := a[0].(string)
	right, both := a[1].(string)
	if !ok || !both {
		return runtime.Add(a[0], a[1]), nil
	}
	if run.made+len(left)+len(right) > maxText {
		return nil, errTooMuchText
	}
	return run.text(left + right)
}

func (run *evaluation) file(a []any) (any, error) {
	name := a[0].(string)
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(run.dir, path)
	}
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", shorten(name), err)
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("reading %q: not UTF-8 text", shorten(name))
	}
	return run.text(string(data))
}

var errNotRegular = errors.New("not a regular file")

// readFile reads a regular file of at most maxText bytes. The error does not
// repeat the path.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err == nil && info.Size() > maxText {
		err = fmt.Errorf("larger than %d MiB", maxText>>20)
	}
	if err != nil {
		return nil, withoutPath(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxText))
	return data, withoutPath(err)
}

// withoutPath strips what os adds to an error: the caller names the file in
// the user's words.
func withoutPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func unbase64(run *evaluation, a []any) (any, error) {
	data, err := base64.StdEncoding.DecodeString(a[0].(string))
	if err != nil || !utf8.Valid(data) {
		return nil, errors.New("not the base64 of a text")
	}
	return run.text(string(data))
}

// slug keeps letters and digits and makes everything else one dash.
func slug(s string) string {
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	return strings.Join(words, "-")
}

func replace(run *evaluation, a []any) (any, error) {
	s, from, to := a[0].(string), a[1].(string), a[2].(string)
	if n := strings.Count(s, from); n*len(to) > maxText {
		return nil, errTooMuchText
	}
	return run.text(strings.ReplaceAll(s, from, to))
}

func split(_ *evaluation, a []any) (any, error) {
	s, sep := a[0].(string), a[1].(string)
	if strings.Count(s, sep) >= maxElements {
		return nil, fmt.Errorf("split makes more than %d elements", maxElements)
	}
	var out []any
	for part := range strings.SplitSeq(s, sep) {
		out = append(out, part)
	}
	return out, nil
}

func join(run *evaluation, a []any) (any, error) {
	var b strings.Builder
	for i, v := range a[0].([]any) {
		if i > 0 {
			b.WriteString(a[1].(string))
		}
		s, err := stringify(v)
		if err != nil {
			return nil, err
		}
		if b.WriteString(s); b.Len() > maxText {
			return nil, errTooMuchText
		}
	}
	return run.text(b.String())
}

func toJSON(run *evaluation, a []any) (any, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(a[0]); err != nil {
		return nil, errors.New("the value has no JSON")
	}
	return run.text(strings.TrimSuffix(buf.String(), "\n"))
}
