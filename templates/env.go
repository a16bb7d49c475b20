package templates

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
)

// An Env holds the values that expressions may name. Sensitive values stay out
// of everything that is plain data: an expression that names one keeps its
// text until Resolve is called with final set. An Env does not change; it is
// safe for concurrent use. The nil Env knows no names.
type Env struct {
	dir     string // absolute directory of the template
	vars    map[string]variable
	environ map[string]string
	run     map[string]string
	git     func() Git // may be called often
	source  map[string]string
	outputs map[string]map[string]string
}

// A variable is the value of one variable.
type variable struct {
	data      any
	sensitive bool
	missing   bool // it has no value; that is a diagnostic already
}

// newEnv returns what opts tell, without variables.
func newEnv(dir string, opts Options) *Env {
	e := &Env{dir: dir, vars: map[string]variable{}, environ: map[string]string{}, git: func() Git { return Git{} }}
	for _, kv := range opts.Environ {
		if k, v, ok := strings.Cut(kv, "="); ok {
			e.environ[k] = v
		}
	}
	// 20060102-150405, in UTC: it sorts by time and fits into names and tags.
	e.run = map[string]string{"id": opts.RunID, "timestamp": opts.Now.UTC().Format("20060102-150405")}
	if opts.Git != nil {
		e.git = sync.OnceValue(opts.Git)
	}
	return e
}

func (e *Env) directory() string {
	if e == nil {
		return ""
	}
	return e.dir
}

// WithSource returns an Env in which source.* stands for values.
func (e *Env) WithSource(values map[string]string) *Env {
	out := e.clone()
	out.source = maps.Clone(values)
	if out.source == nil {
		out.source = map[string]string{}
	}
	return out
}

// WithOutputs returns an Env in which outputs.KIND.* stands for values[KIND].
func (e *Env) WithOutputs(values map[string]map[string]string) *Env {
	out := e.clone()
	out.outputs = map[string]map[string]string{}
	for kind, v := range values {
		out.outputs[kind] = maps.Clone(v)
	}
	return out
}

func (e *Env) clone() *Env {
	if e == nil {
		return newEnv("", Options{})
	}
	out := *e
	return &out
}

// Run returns what run.* stands for, by name.
func (e *Env) Run() map[string]string {
	if e == nil {
		return nil
	}
	return maps.Clone(e.run)
}

// Secrets returns the values of the sensitive variables, longest first, for
// redaction.
func (e *Env) Secrets() []string {
	if e == nil {
		return nil
	}
	var out []string
	for _, name := range sortedKeys(e.vars) {
		if v := e.vars[name]; v.sensitive {
			out = appendTexts(out, v.data)
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(out)
}

// Sensitive reports whether the variable of that name must not be shown or
// stored. A name that no variable has is taken for a sensitive one.
func (e *Env) Sensitive(name string) bool {
	v, ok := e.vars[name]
	return !ok || v.sensitive
}

func appendTexts(out []string, data any) []string {
	if list, is := data.([]any); is {
		for _, item := range list {
			out = appendTexts(out, item)
		}
		return out
	}
	if s, err := stringify(data); err == nil && s != "" {
		out = append(out, s)
	}
	return out
}

// ResolveString works out the expressions in s. If final is set, none may be
// left and the text is returned as it is meant; otherwise it is returned as a
// template has it, to be resolved again.
func (e *Env) ResolveString(s string, final bool) (string, error) {
	n := &node{kind: scalarNode, text: s, raw: s, src: &source{}}
	if diags := n.interpolate(); len(diags) > 0 {
		return "", asError(diags[0])
	}
	r := resolver{scope: lateScope(e), final: final}
	out := r.resolve(n.seal())
	if len(r.diags) > 0 {
		return "", asError(r.diags[0])
	}
	if !final {
		return out.template(), nil
	}
	if out.open || out.kind == listNode || out.kind == mappingNode {
		return "", errNotAText
	}
	return out.text, nil
}

// Truth works out the condition of a late `if`: the text of an expression
// without ${{ }}. It is an error if the expression is not true or false, or
// names what env does not know.
func (e *Env) Truth(expr string) (bool, error) {
	if strings.TrimSpace(expr) == "" {
		return true, nil
	}
	s := lateScope(e)
	s.final = true
	res, wrong := s.evaluate(expr)
	if len(wrong) > 0 {
		return false, wrong[0]
	}
	on, is := res.value.(bool)
	if !is {
		return false, errors.New("the condition is neither true nor false")
	}
	return on, nil
}

// asError keeps the message and the hint of a diagnostic without a place.
func asError(d *Diagnostic) error { return &exprError{message: d.Message, hint: d.Hint} }
