package templates

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// A result is what became of an expression: its value, or, if a name in it is
// not known yet, what is left of its text with the known names filled in.
type result struct {
	value  any
	left   string // empty if value is it
	secret bool   // value is made from a sensitive one
	made   int    // bytes of text that were made or read on the way
}

// evaluate works an expression out as far as the scope knows its names. Its
// names and types are checked in any case. What is wrong comes as one error, or
// one for each name that is.
func (s *scope) evaluate(text string) (result, []*exprError) {
	limit := maxExpr
	if s.late {
		limit = maxResidue // it holds the values of the names that were known
	}
	run := &evaluation{dir: s.env.directory()}
	config := newConfig(run, limit)
	e, err := parseExpr(text, config, limit)
	if err != nil {
		err.hint = cmp.Or(s.meantVariable(err.name), err.hint)
		return result{}, []*exprError{err}
	}
	names, wrong := s.bind(e)
	if len(wrong) > 0 {
		return result{}, wrong
	}
	config.WithEnv(names.kinds)
	program, err := e.compile(config)
	if err != nil {
		return result{}, []*exprError{err.hideIf(names.secret)}
	}
	res := result{secret: names.secret}
	switch {
	case s.dry:
		res.left = text
		return res, nil
	case names.wait:
		res.left, res.made = names.left, len(names.left)
		if len(res.left) > maxResidue {
			return result{}, []*exprError{{to: len(text), message: "the values in the expression are too long to keep until it can be worked out"}}
		}
		return res, nil
	}
	machine := vm.VM{MemoryBudget: maxElements}
	value, runErr := machine.Run(program, names.values)
	if runErr == nil {
		res.value, runErr = plainValue(value)
	}
	if runErr != nil {
		return result{}, []*exprError{newExprError(text, runErr).hideIf(names.secret)}
	}
	res.made = run.made + textSize(res.value)
	return res, nil
}

// meantVariable returns the hint for a name that lacks its `var.`, or nothing.
func (s *scope) meantVariable(name string) string {
	if s.env != nil {
		if _, is := s.env.vars[name]; is {
			return "write var." + name
		}
	}
	return ""
}

// bound is the names of an expression with what they stand for.
type bound struct {
	values map[string]any
	kinds  types.Map
	secret bool
	wait   bool   // at least one of them is not known yet
	left   string // the expression with those that are known filled in
}

// bind looks up the names of an expression.
func (s *scope) bind(e *expression) (bound, []*exprError) {
	b := bound{values: map[string]any{}, kinds: types.Map{}}
	left := splicer{text: e.text}
	var wrong []*exprError
	for _, r := range e.refs {
		v, err := s.lookup(r)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		b.secret = b.secret || v.secret
		place(b.values, b.kinds, r.path, v)
		if v.known {
			left.replace(r.from, r.to, v.literal())
		} else if b.wait = true; v.residue != "" {
			left.replace(r.from, r.to, v.residue)
		}
	}
	b.left = left.done()
	return b, wrong
}

// hideIf keeps a message that may quote a sensitive value from being seen.
func (e *exprError) hideIf(secret bool) *exprError {
	if secret {
		e.message, e.hint = "the expression cannot be worked out (why is not shown: it names a sensitive variable)", ""
	}
	return e
}

// compile checks the types and makes the program. + on texts becomes a call
// that counts what it makes.
func (e *expression) compile(config *conf.Config) (*vm.Program, *exprError) {
	config.Visitors = append(config.Visitors, countedPlus{})
	if _, err := new(checker.Checker).PatchAndCheck(e.tree, config); err != nil {
		return nil, newExprError(e.text, err)
	}
	program, err := compiler.Compile(e.tree, config)
	if err != nil {
		return nil, newExprError(e.text, err)
	}
	return program, nil
}

type countedPlus struct{}

// Visit implements ast.Visitor.
func (countedPlus) Visit(node *ast.Node) {
	n, is := (*node).(*ast.BinaryNode)
	if !is || n.Operator != "+" {
		return
	}
	left, right := n.Left.Type().Kind(), n.Right.Type().Kind()
	if textual(left) && textual(right) {
		ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: plus}, Arguments: []ast.Node{n.Left, n.Right}})
	}
}

func textual(k reflect.Kind) bool { return k == reflect.String || k == reflect.Interface }

// place puts the value under its path, for the run, and its type, for the check.
func place(vars map[string]any, kinds types.Map, path []string, v value) {
	kind := v.kind()
	for i, key := range path {
		if i == len(path)-1 {
			vars[key], kinds[key] = v.data, kind
			return
		}
		inner, ok := vars[key].(map[string]any)
		innerKinds, _ := kinds[key].(types.Map)
		if !ok {
			inner, innerKinds = map[string]any{}, types.Map{}
			vars[key], kinds[key] = inner, innerKinds
		}
		vars, kinds = inner, innerKinds
	}
}

// A value is what a name stands for.
type value struct {
	data    any  // nil, string, bool, int, float64, []any, map[string]any
	known   bool // data is it; else data is an example of its type
	secret  bool
	residue string // what to put in the name's place in an expression that waits; empty: the name itself
}

func (v value) kind() types.Type {
	switch v.data.(type) {
	case nil:
		return types.Any
	case []any:
		return types.Array(types.Any)
	}
	return types.TypeOf(v.data)
}

// literal returns the value as an expression.
func (v value) literal() string {
	var b strings.Builder
	writeLiteral(&b, v.data)
	return b.String()
}

func writeLiteral(b *strings.Builder, data any) {
	switch d := data.(type) {
	case nil:
		b.WriteString("nil")
	case string:
		b.WriteString(strconv.Quote(d))
	case []any:
		b.WriteByte('[')
		for i, item := range d {
			if i > 0 {
				b.WriteString(", ")
			}
			writeLiteral(b, item)
		}
		b.WriteByte(']')
	case map[string]any:
		b.WriteByte('{')
		for i, key := range sortedKeys(d) {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(strconv.Quote(key) + ": ")
			writeLiteral(b, d[key])
		}
		b.WriteByte('}')
	default:
		text, _ := stringify(data)
		if strings.HasPrefix(text, "-") {
			text = "(" + text + ")"
		}
		b.WriteString(text)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// A splicer replaces parts of a text from left to right.
type splicer struct {
	text string
	out  strings.Builder
	at   int
}

func (s *splicer) replace(from, to int, with string) {
	s.out.WriteString(s.text[s.at:from] + with)
	s.at = to
}

func (s *splicer) done() string { return s.out.String() + s.text[s.at:] }

var errNotAText = errors.New("a list or mapping cannot stand inside a text")

// stringify writes a scalar as it stands in a text.
func stringify(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case nil:
		return "", errors.New("the value is missing")
	}
	return "", errNotAText
}

// textSize returns the bytes of text in a value.
func textSize(v any) int {
	n := 0
	switch v := v.(type) {
	case string:
		return len(v)
	case []any:
		for _, item := range v {
			n += textSize(item)
		}
	case map[string]any:
		for key, item := range v {
			n += len(key) + textSize(item)
		}
	}
	return n
}

// plainValue reduces what a program returned to the types of a value.
func plainValue(v any) (any, error) {
	switch v := v.(type) {
	case nil, string, bool, int, float64, []any, map[string]any:
		return v, nil
	case []string:
		out := make([]any, len(v))
		for i := range v {
			out[i] = v[i]
		}
		return out, nil
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Slice {
		out := make([]any, r.Len())
		for i := range out {
			out[i] = r.Index(i).Interface()
		}
		return out, nil
	}
	return nil, fmt.Errorf("the expression gives a %T, which a template cannot hold", v)
}
