package templates

import (
	"fmt"
	"slices"
	"strings"
)

// A scope is what the expressions in one part of a template may name.
type scope struct {
	env    *Env
	matrix map[string]any   // nil: the build has none; a nil value: only other builds of the matrix have it
	with   map[string]*node // nil: not in an included file
	source bool             // source.* may be named
	// outputs are the kinds and names of the outputs before this one;
	// anyOutput says that they were looked at already.
	outputs   []string
	anyOutput bool
	late      bool // what can be known from the template is filled in already
	final     bool // everything has to be known
	dry       bool // only check: nothing is worked out, and what is missing may be
}

// lateScope is the scope of what was in a template's scope already.
func lateScope(e *Env) *scope { return &scope{env: e, source: true, anyOutput: true, late: true} }

// lookup finds what a name stands for.
func (s *scope) lookup(r ref) (value, *exprError) {
	fail := func(hint, format string, args ...any) (value, *exprError) {
		return value{}, r.errorf(hint, format, args...)
	}
	env, name := s.env, r.path[1]
	if env == nil {
		env = newEnv("", Options{})
	}
	switch r.path[0] {
	case "var":
		v, ok := env.vars[name]
		if !ok {
			hint := suggest(name, sortedKeys(env.vars))
			if len(env.vars) == 0 {
				hint = "declare it under `variables`"
			}
			return fail(hint, "unknown variable %q", name)
		}
		return s.variable(v), nil
	case "env":
		text, set := env.environ[name]
		switch {
		case set:
			return value{data: text, known: true}, nil
		case r.optional:
			return value{known: true}, nil
		case s.dry:
			return value{data: ""}, nil
		}
		return fail(fmt.Sprintf("set it, or write default(env.%s, \"...\")", name), "the environment variable %s is not set", name)
	case "run":
		if text, ok := env.run[name]; ok {
			return value{data: text, known: true}, nil
		}
		return fail(suggest(name, sortedKeys(env.run)), "unknown name run.%s", name)
	case "git":
		git := map[string]func(Git) string{
			"sha": func(g Git) string { return g.SHA }, "branch": func(g Git) string { return g.Branch }, "tag": func(g Git) string { return g.Tag }}
		if get, ok := git[name]; ok {
			return value{data: get(env.git()), known: true}, nil
		}
		return fail(suggest(name, sortedKeys(git)), "unknown name git.%s", name)
	case "matrix":
		return s.lookupMatrix(r)
	case "with":
		return s.lookupWith(r)
	case "source":
		return s.lookupSource(r, env)
	default:
		return s.lookupOutput(r, env)
	}
}

// variable returns the value of a variable: a sensitive one waits until the end.
func (s *scope) variable(v variable) value {
	out := value{data: v.data, known: !v.missing, secret: v.sensitive}
	if v.sensitive && !s.final {
		out.known = false
		if _, isText := v.data.(string); isText {
			out.data = ""
		}
	}
	return out
}

func (s *scope) lookupMatrix(r ref) (value, *exprError) {
	if s.matrix == nil {
		return value{}, r.errorf("add `matrix:` to the build", "this build has no matrix")
	}
	v, ok := s.matrix[r.path[1]]
	if !ok {
		return value{}, r.errorf(suggest(r.path[1], sortedKeys(s.matrix)), "the matrix has no %q", r.path[1])
	}
	switch {
	case v != nil || r.optional:
		return value{data: v, known: true}, nil
	case s.dry:
		return value{data: ""}, nil
	}
	return value{}, r.errorf(fmt.Sprintf("write default(matrix.%s, \"...\")", r.path[1]), "this combination of the matrix has no %q", r.path[1])
}

func (s *scope) lookupWith(r ref) (value, *exprError) {
	if s.with == nil {
		return value{}, r.errorf("", "with.* is known in included files only")
	}
	n, ok := s.with[r.path[1]]
	switch {
	case ok && !n.open:
		return value{data: n.data(), known: true}, nil
	case ok && n.kind == scalarNode:
		return value{data: "", residue: n.asExpr()}, nil
	case ok:
		return value{}, r.errorf("", "with.%s holds an expression inside a list or mapping whose value is not known yet", r.path[1])
	case r.optional:
		return value{known: true}, nil
	}
	return value{}, r.errorf(suggest(r.path[1], sortedKeys(s.with)), "the include gives no %q", r.path[1])
}

func (s *scope) lookupSource(r ref, env *Env) (value, *exprError) {
	name := r.path[1]
	switch {
	case !s.source:
		return value{}, r.errorf("steps, tests, config and outputs may name it", "source.* is not known here")
	case env.source != nil:
		if text, ok := env.source[name]; ok {
			return value{data: text, known: true}, nil
		} else if r.optional {
			return value{known: true}, nil
		}
		return value{}, r.errorf(suggest(name, sortedKeys(env.source)), "the source has no %q", name)
	case s.final:
		return value{}, r.errorf("", "source.%s is not known yet", name)
	}
	return value{data: ""}, nil
}

func (s *scope) lookupOutput(r ref, env *Env) (value, *exprError) {
	kind, name := r.path[1], r.path[2]
	if !s.anyOutput && !slices.Contains(s.outputs, kind) {
		if s.outputs == nil {
			return value{}, r.errorf("only outputs after that one may name it", "outputs.* is not known here")
		}
		return value{}, r.errorf(suggest(kind, s.outputs), "no output %q comes before this one", kind)
	}
	values, published := env.outputs[kind]
	if text, ok := values[name]; ok {
		return value{data: text, known: true}, nil
	}
	switch {
	case env.outputs == nil && !s.final:
		return value{data: ""}, nil
	case r.optional:
		return value{known: true}, nil
	case published:
		return value{}, r.errorf(suggest(name, sortedKeys(values)), "the output %q has no %q", kind, name)
	case !s.final:
		return value{data: ""}, nil
	}
	return value{}, r.errorf("", "outputs.%s.%s is not known: that output did not run", kind, name)
}

// asExpr returns a scalar with expressions as one expression.
func (n *node) asExpr() string {
	if len(n.parts) == 1 {
		return "(" + strings.TrimSpace(n.parts[0].expr) + ")"
	}
	var terms []string
	for _, p := range n.parts {
		if p.isExpr() {
			terms = append(terms, "string("+strings.TrimSpace(p.expr)+")")
		} else {
			terms = append(terms, value{data: p.lit}.literal())
		}
	}
	return "(" + strings.Join(terms, " + ") + ")"
}
