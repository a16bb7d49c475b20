package templates

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
)

// An expression is what stands between ${{ and }}, parsed. The names it uses
// are looked up apart from running it, so that what is not known yet can wait.
type expression struct {
	text string
	tree *parser.Tree
	refs []ref
}

// A ref is one use of a name: var.version, outputs.registry.digest.
type ref struct {
	path     []string // {"var", "version"}
	from, to int      // bytes of the text
	optional bool     // it may be missing: operand of ?? or default()
}

func (r ref) errorf(hint, format string, args ...any) *exprError {
	return &exprError{from: r.from, to: r.to, message: fmt.Sprintf(format, args...), hint: hint}
}

// An exprError is what is wrong with the bytes from..to of an expression.
type exprError struct {
	from, to int
	message  string
	hint     string
	name     string // the unknown name that it is about, if it is about one
}

func (e *exprError) Error() string { return e.message }

// Hint says what to do about the error; it may be empty.
func (e *exprError) Hint() string { return e.hint }

// The names that expressions begin with.
var roots = []string{"var", "env", "matrix", "with", "run", "git", "source", "outputs"}

// allowedBuiltins are the functions of expr-lang that a template may call. They
// take time and memory in proportion to their arguments.
var allowedBuiltins = []string{"len", "all", "any", "none", "one", "filter", "map", "count", "find",
	"first", "last", "int", "float", "min", "max", "abs", "keys", "values"}

// parseExpr reads an expression and finds the names in it.
func parseExpr(text string, config *conf.Config, limit int) (*expression, *exprError) {
	if len(text) > limit {
		return nil, &exprError{message: fmt.Sprintf("the expression is longer than %d bytes", limit)}
	}
	tree, err := parser.ParseWithConfig(text, config)
	if err != nil {
		return nil, newExprError(text, err)
	}
	w := &walker{text: text, used: map[ast.Node]bool{}, optional: map[ast.Node]bool{}}
	ast.Walk(&tree.Node, w)
	w.finish()
	if w.err != nil {
		return nil, w.err
	}
	return &expression{text: text, tree: tree, refs: w.refs}, nil
}

// newConfig returns the language of expressions, its functions bound to run,
// for expressions of at most limit bytes.
func newConfig(run *evaluation, limit int) *conf.Config {
	c := &conf.Config{
		MaxNodes:          uint(maxExprNodes * limit / maxExpr),
		ShortCircuit:      true,
		Optimize:          false, // it would run parts of the expression without limits
		DisableIfOperator: true,
		ConstFns:          map[string]reflect.Value{},
		Functions:         conf.FunctionsTable{},
		Builtins:          conf.FunctionsTable{},
	}
	for _, name := range allowedBuiltins {
		if i, ok := builtin.Index[name]; ok {
			c.Builtins[name] = builtin.Builtins[i]
		}
	}
	for _, f := range run.functions() {
		c.Functions[f.Name] = f
	}
	return c
}

// newExprError turns an error of expr-lang into one with a place in text.
func newExprError(text string, err error) *exprError {
	var e *file.Error
	if !errors.As(err, &e) {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return &exprError{to: len(text), message: plainWords(first)}
	}
	from, to := byteOffset(text, e.From), byteOffset(text, e.To)
	out := &exprError{from: from, to: max(from, to), message: plainWords(e.Message)}
	var inner *exprError
	if errors.As(e.Prev, &inner) {
		out.hint = inner.hint
	}
	if strings.Contains(e.Message, "mismatched types") {
		out.hint = "convert one side: int(x), float(x) or string(x)"
	}
	return out
}

// plainWords replaces Go's names of types by the template's.
func plainWords(s string) string {
	s = wrongArgument.ReplaceAllString(s, "$3 takes a $2, not a $1")
	return strings.TrimSpace(goTypes.Replace(s))
}

var wrongArgument = regexp.MustCompile(`cannot use (.+) as argument \(type (.+)\) to call (\w+)`)

var goTypes = strings.NewReplacer("[]interface {}", "list", "[]any", "list", "map[string]interface {}", "mapping",
	"map[string]any", "mapping", "interface {}", "any value", "float64", "number", "unexpected token EOF", "the expression ends too early",
	"memory budget exceeded", fmt.Sprintf("the expression makes lists of more than %d elements", maxElements),
	"compilation failed: expression exceeds maximum allowed nodes", fmt.Sprintf("the expression has more than %d parts", maxExprNodes))

func byteOffset(s string, runes int) int { return len(s) - len(skipRunes(s, runes)) }

// A walker collects the names of an expression and refuses what would take
// unbounded time or memory.
type walker struct {
	text     string
	refs     []ref
	members  []ast.Node // parallel to refs
	idents   []*ast.IdentifierNode
	used     map[ast.Node]bool // identifiers that are part of a ref or a call
	optional map[ast.Node]bool
	err      *exprError
}

func (w *walker) fail(n ast.Node, hint, format string, args ...any) {
	if w.err == nil {
		from, to := byteOffset(w.text, n.Location().From), byteOffset(w.text, n.Location().To)
		w.err = ref{from: from, to: to}.errorf(hint, format, args...)
	}
}

// Visit implements ast.Visitor; children come before their parents.
func (w *walker) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		w.idents = append(w.idents, n)
	case *ast.MemberNode:
		w.member(n)
	case *ast.BinaryNode:
		if n.Operator == "??" {
			w.optional[unchain(n.Left)] = true
		}
	case *ast.CallNode:
		w.call(n)
	case *ast.BuiltinNode:
		if !slices.Contains(allowedBuiltins, n.Name) {
			w.fail(n, suggest(n.Name, functionNames()), "unknown function %q", n.Name)
		}
	case *ast.PredicateNode:
		if w.inside(n.Node, isPredicate) {
			w.fail(n, "work the inner one out in a variable's default", "a predicate inside another predicate")
		}
	case *ast.ArrayNode, *ast.MapNode:
		if w.inside(n, isPointer) {
			w.fail(n, "", "a list or mapping of # cannot be made")
		}
	case *ast.VariableDeclaratorNode, *ast.SequenceNode:
		w.fail(n, "declare a variable of the template instead", "let and ; cannot be used")
	}
}

func isPredicate(n ast.Node) bool { _, is := n.(*ast.PredicateNode); return is }
func isPointer(n ast.Node) bool   { _, is := n.(*ast.PointerNode); return is }

// inside reports whether a node below n is of a type.
func (w *walker) inside(n ast.Node, is func(ast.Node) bool) bool {
	f := finder{is: is}
	ast.Walk(&n, &f)
	return f.found
}

type finder struct {
	is    func(ast.Node) bool
	found bool
}

// Visit implements ast.Visitor.
func (f *finder) Visit(n *ast.Node) { f.found = f.found || f.is(*n) }

func unchain(n ast.Node) ast.Node {
	if c, is := n.(*ast.ChainNode); is {
		return c.Node
	}
	return n
}

func (w *walker) call(n *ast.CallNode) {
	callee, is := n.Callee.(*ast.IdentifierNode)
	if !is {
		w.fail(n, "", "only functions can be called")
		return
	}
	w.used[callee] = true
	if !slices.Contains(functionNames(), callee.Value) {
		w.fail(callee, suggest(callee.Value, functionNames()), "unknown function %q", callee.Value)
	}
	if callee.Value == "default" && len(n.Arguments) > 0 {
		w.optional[unchain(n.Arguments[0])] = true
	}
}

// member records var.x, and outputs.kind.x once its inner outputs.kind is seen.
func (w *walker) member(n *ast.MemberNode) {
	property, constant := n.Property.(*ast.StringNode)
	base := unchain(n.Node)
	if ident, is := base.(*ast.IdentifierNode); is && slices.Contains(roots, ident.Value) {
		w.used[ident] = true
		if !constant {
			w.fail(ident, "write "+ident.Value+".NAME", "%s needs a name that is known before it runs", ident.Value)
			return
		}
		w.record(n, ident, ident.Value, property)
		return
	}
	if last := len(w.members) - 1; last >= 0 && base == w.members[last] && w.refs[last].path[0] == "outputs" && len(w.refs[last].path) == 2 {
		if !constant {
			w.fail(n, "write outputs.KIND.NAME", "outputs needs a name that is known before it runs")
			return
		}
		w.members[last] = n
		w.refs[last].path = append(w.refs[last].path, property.Value)
		w.refs[last].to = w.propertyEnd(property)
	}
}

func (w *walker) record(n *ast.MemberNode, ident *ast.IdentifierNode, root string, property *ast.StringNode) {
	r := ref{path: []string{root, property.Value}, from: byteOffset(w.text, ident.Location().From), to: w.propertyEnd(property)}
	w.refs = append(w.refs, r)
	w.members = append(w.members, n)
}

// propertyEnd returns the offset behind .name or ["name"].
func (w *walker) propertyEnd(property *ast.StringNode) int {
	end := byteOffset(w.text, property.Location().To)
	if m := closeBracket.FindString(w.text[end:]); m != "" && strings.ContainsRune("\"'`", rune(w.text[end-1])) {
		return end + len(m)
	}
	return end
}

var (
	closeBracket = regexp.MustCompile(`^\s*\]`)
	plainRef     = regexp.MustCompile(`^\w+(\s*\??\.\s*\w+|\s*(\?\.)?\[\s*("[^"\\]*"|'[^'\\]*'|` + "`[^`]*`" + `)\s*\])+$`)
)

// finish looks at what only the whole expression shows, and sorts the names by
// where they stand.
func (w *walker) finish() {
	defer func() {
		slices.SortFunc(w.refs, func(a, b ref) int { return a.from - b.from })
	}()
	for i := range w.refs {
		r := &w.refs[i]
		r.optional = w.optional[w.members[i]]
		if w.err == nil && !plainRef.MatchString(w.text[r.from:r.to]) {
			w.err = r.errorf("write "+strings.Join(r.path, "."), "a name in parentheses")
		}
		if w.err == nil && r.path[0] == "outputs" && len(r.path) == 2 {
			w.err = r.errorf("write outputs."+r.path[1]+".NAME", "outputs.%s is not a value", r.path[1])
		}
	}
	for _, ident := range w.idents {
		switch {
		case w.used[ident]:
		case slices.Contains(roots, ident.Value):
			w.fail(ident, "write "+ident.Value+".NAME", "%s is not a value", ident.Value)
		default:
			if w.err == nil {
				w.fail(ident, suggest(ident.Value, roots), "unknown name %q", ident.Value)
				w.err.name = ident.Value
			}
		}
	}
}
