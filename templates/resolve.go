package templates

import (
	"strings"
)

// Resolve works out the expressions that env knows. final means that nothing
// may be left: what cannot be resolved is a diagnostic. Only the result of a
// final Resolve holds sensitive values: it is not for journals and plans.
func (b Block) Resolve(env *Env, final bool) (Block, Diagnostics) {
	out := b
	out.env = env
	if b.node == nil || !b.node.open {
		return out, nil
	}
	s := lateScope(env)
	s.final = final
	r := resolver{scope: s, final: final}
	out.node = r.resolve(b.node)
	return out, r.diags
}

// A resolver makes nodes without expressions out of nodes with them, as far as
// its scope knows the names. The nodes it is given stay as they are.
type resolver struct {
	scope *scope
	final bool
	diags Diagnostics
	made  *made // nil: not counted
}

// made counts what the expressions of a template make.
type made struct{ nodes, bytes int }

func (m *made) tooMuch() bool { return m.nodes > maxNodes || m.bytes > maxMade }

func (r *resolver) resolve(n *node) *node {
	if !n.open {
		return n
	}
	if r.made != nil {
		if r.made.nodes++; r.made.tooMuch() {
			return n
		}
	}
	if len(n.parts) > 0 {
		return r.scalar(n)
	}
	out := *n
	out.items = make([]*node, len(n.items))
	for i, item := range n.items {
		out.items[i] = r.resolve(item)
	}
	out.fields = make([]field, len(n.fields))
	for i, f := range n.fields {
		out.fields[i] = field{f.key, r.resolve(f.value)}
	}
	return out.seal()
}

// scalar resolves a text with expressions. If it is one expression and nothing
// else, the result has the expression's type.
func (r *resolver) scalar(n *node) *node {
	r.scope.final = r.final
	out := *n
	out.parts = nil
	failed := false
	for _, p := range n.parts {
		if !p.isExpr() {
			out.addPart(p)
			continue
		}
		res, wrong := r.scope.evaluate(p.expr)
		if len(wrong) > 0 {
			r.diags = append(r.diags, n.exprDiags(p, wrong)...)
			failed = true
			continue
		}
		if r.made != nil {
			r.made.bytes += res.made
		}
		out.secret = out.secret || res.secret
		if res.left != "" {
			left := part{expr: res.left, off: -1}
			if res.left == p.expr {
				left.off = p.off
			}
			out.parts = append(out.parts, left)
			continue
		}
		if len(n.parts) == 1 {
			whole := fromValue(res.value, n)
			whole.secret = out.secret
			return whole
		}
		text, bad := stringify(res.value)
		if bad != nil {
			hint := ""
			if bad == errNotAText {
				hint = "use join(list, \" \") or json(value)"
			}
			r.diags = append(r.diags, n.exprDiag(p, &exprError{to: len(p.expr), message: bad.Error(), hint: hint}))
			failed = true
			continue
		}
		out.addPart(part{lit: text})
	}
	if failed {
		return n
	}
	if len(out.parts) == 0 || len(out.parts) == 1 && !out.parts[0].isExpr() {
		out.text = ""
		if len(out.parts) == 1 {
			out.text = out.parts[0].lit
		}
		out.parts, out.loose = nil, true
	}
	secret := out.secret
	out.seal().secret = secret
	return &out
}

// addPart appends a part, joining literals.
func (n *node) addPart(p part) {
	if p.lit == "" && !p.isExpr() {
		return
	}
	if last := len(n.parts) - 1; last >= 0 && !p.isExpr() && !n.parts[last].isExpr() {
		n.parts[last].lit += p.lit
		return
	}
	n.parts = append(n.parts, p)
}

func (n *node) exprDiags(p part, wrong []*exprError) Diagnostics {
	var out Diagnostics
	for _, err := range wrong {
		out = append(out, n.exprDiag(p, err))
	}
	return out
}

// exprDiag turns an error inside an expression into a diagnostic at its place
// in the file.
func (n *node) exprDiag(p part, err *exprError) *Diagnostic {
	var d *Diagnostic
	if p.off < 0 {
		d = n.diag("%s", err.message)
	} else {
		from, to := err.from, err.to
		lead := len(p.expr) - len(strings.TrimLeft(p.expr, " \t\n"))
		end := len(strings.TrimRight(p.expr, " \t\n"))
		from = min(max(from, lead), end)
		to = min(max(to, from), end)
		d = n.diagAt(p.off+from, p.off+to, "%s", err.message)
	}
	d.Hint = err.hint
	return d
}

// fromValue returns a value as a node that stands where at is.
func fromValue(v any, at *node) *node {
	n := &node{kind: scalarNode, src: at.src, line: at.line, col: at.col, style: at.style, raw: at.raw, loose: true}
	switch v := v.(type) {
	case nil:
		n.kind = nullNode
	case []any:
		n.kind = listNode
		for _, item := range v {
			n.items = append(n.items, fromValue(item, at))
		}
	case map[string]any:
		n.kind = mappingNode
		for _, key := range sortedKeys(v) {
			k := *at
			k.kind, k.text, k.parts = scalarNode, key, nil
			n.fields = append(n.fields, field{&k, fromValue(v[key], at)})
		}
	default:
		n.text, _ = stringify(v)
		switch v.(type) {
		case bool:
			n.tag = boolTag
		case int:
			n.tag = intTag
		case float64:
			n.tag = floatTag
		}
	}
	return n.seal()
}
