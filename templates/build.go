package templates

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

var buildName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func badName(n *node, name string) *Diagnostic {
	d := n.diag("%q is not a name for a build", shorten(name))
	d.Hint = "use at most 100 letters, digits, dots, dashes and underscores, and begin with a letter or digit"
	return d
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// graph reads the builds of `builds`.
func (r *reader) graph(t *Template, b Block) {
	if b.IsZero() {
		return
	}
	if !b.IsMapping() || b.Len() == 0 {
		r.add(b.Errorf("builds must be a mapping of names to builds, not %s", emptyOr(b)))
		return
	}
	for _, f := range b.node.fields {
		build := b.with(f.value, f.key.text)
		if !buildName.MatchString(f.key.text) {
			r.add(badName(f.key, f.key.text))
			continue
		}
		if len(f.value.parts) > 0 {
			r.add(build.Errorf("the build %q must be a mapping, not an expression", f.key.text))
			continue
		}
		var doc buildDoc
		r.add(Decode(build, &doc)...)
		r.matrixBuilds(t, f.key.text, build, doc)
	}
}

func emptyOr(b Block) string {
	if b.IsMapping() {
		return "an empty one"
	}
	return b.node.what()
}

// matrixBuilds adds the build once, or once for each cell of its matrix.
func (r *reader) matrixBuilds(t *Template, name string, b Block, doc buildDoc) {
	if doc.Matrix.IsZero() || doc.Matrix.IsNull() {
		r.build(t, name, b, doc, nil)
		return
	}
	for _, cell := range r.matrix(doc.Matrix) {
		r.build(t, name+cell.suffix, b, doc, cell.values)
	}
}

// build reads one build with the matrix values it is made for.
func (r *reader) build(t *Template, name string, b Block, doc buildDoc, matrix map[string]any) {
	if len(t.Builds) >= maxBuilds {
		r.add(b.Errorf("the template makes more than %d builds", maxBuilds))
		return
	}
	for _, other := range t.Builds {
		if other.Name == name {
			at := b
			if matrix != nil {
				at = doc.Matrix
			}
			r.add(at.Errorf("two builds are called %q", name))
		}
	}
	before := &scope{env: r.env, matrix: matrix}
	after := &scope{env: r.env, matrix: matrix, source: true}
	out := Build{Name: name, Pos: b.Pos()}
	if !doc.Source.IsZero() {
		out.Source, out.Platforms = r.source(doc.Source, before)
	}
	out.Squash = r.squash(doc.Squash, before)
	out.Steps = r.stepList(doc.Steps, after)
	out.Tests = r.stepList(doc.Tests, after)
	if !doc.Config.IsZero() && !doc.Config.IsNull() {
		out.Config = r.resolve(doc.Config, after)
		r.add(Decode(out.Config, new(Config))...)
	}
	out.Outputs = r.outputs(doc.Outputs, after)
	t.Builds = append(t.Builds, out)
}

func (r *reader) squash(b Block, s *scope) bool {
	var squash bool
	if !b.IsZero() && !b.IsNull() {
		r.add(decodeValue(r.now(b, s), &squash)...)
	}
	return squash
}

// outputs reads the outputs of a build; each may name what those before it publish.
func (r *reader) outputs(b Block, s *scope) []Kind {
	var out []Kind
	if b.IsZero() || b.IsNull() {
		return nil
	}
	if !b.IsList() {
		r.add(b.Errorf("outputs must be a list, not %s", b.node.what()))
		return nil
	}
	for i := range b.node.items {
		here := *s
		here.outputs = []string{}
		for _, before := range out {
			here.outputs = append(here.outputs, before.Kind)
			if before.Name != "" {
				here.outputs = append(here.outputs, before.Name)
			}
		}
		if k, ok := r.output(b.item(i), &here); ok {
			out = append(out, k)
		}
	}
	return out
}

// outputDoc is the keys that stand beside an output's kind.
type outputDoc struct {
	Name string `yaml:"name" doc:"what the output is called in the display and in outputs.NAME.*"`
	If   Block  `yaml:"if" doc:"an expression; the output is left out if it is false"`
}

func (r *reader) output(b Block, s *scope) (Kind, bool) {
	entry, ok := r.entry(b, "output", r.lang.Outputs, typeOf[outputDoc]())
	if !ok {
		return Kind{}, false
	}
	var doc outputDoc
	r.add(Decode(r.shared(entry.shared, s, "name"), &doc)...)
	k := Kind{Kind: entry.kind, Name: doc.Name, Pos: b.with(entry.key, "").Pos()}
	applies := true
	applies, k.If = r.condition(doc.If, s)
	k.Body = r.body(b.with(entry.value, entry.kind), entry.proto, s, applies)
	return k, applies
}

// body resolves a kind's block and holds it against the kind. Of a block that
// does not apply only the form is checked: what it names need not exist.
func (r *reader) body(b Block, proto any, s *scope, applies bool) Block {
	if !applies {
		dry := *s
		dry.dry = true
		s = &dry
	}
	out := r.resolve(b, s)
	seen := check{out.node, reflect.TypeOf(proto)}
	if !r.checked[seen] {
		r.checked[seen] = true
		r.add(Decode(out, clone(proto))...)
	}
	return out
}

// clone returns a new zero struct of the prototype's type.
func clone(proto any) any { return reflect.New(reflect.TypeOf(proto).Elem()).Interface() }

// An entry is a step or output taken apart: its kind, and the keys beside it.
type entry struct {
	kind       string
	proto      any
	key, value *node
	shared     Block
}

// entry finds the one kind key of a block. What is the name of the block in
// messages; shared is a struct of the keys that may stand beside the kind.
func (r *reader) entry(b Block, what string, kinds map[string]any, shared reflect.Type) (entry, bool) {
	if !b.IsMapping() {
		d := b.Errorf("%s %s must be a mapping with one kind, not %s", article(what), what, b.node.what())
		if text, ok := b.Text(); ok && kinds[text] != nil {
			d.Hint = "write " + text + ":"
		} else if first, rest, _ := strings.Cut(text, " "); ok && kinds[first] != nil {
			d.Hint = fmt.Sprintf("is a colon missing? %s: %s", first, shorten(rest))
		}
		r.add(d)
		return entry{}, false
	}
	beside := fieldNames(specs(shared))
	var own, kind, unknown []field
	for _, f := range b.node.fields {
		switch isKind, isShared := kinds[f.key.text] != nil, slices.Contains(beside, f.key.text); {
		case isKind && !isShared:
			kind = append(kind, f)
		case isShared:
			own = append(own, f)
		default:
			unknown = append(unknown, f)
		}
	}
	for _, f := range unknown {
		r.add(unknownBeside(f.key, what, first(kind), kinds, beside))
	}
	if len(kind) == 0 && len(unknown) == 0 {
		// `user` is a kind of step and a key of every step.
		i := slices.IndexFunc(own, func(f field) bool { return kinds[f.key.text] != nil })
		if i < 0 {
			d := b.Errorf("the %s has no kind", what)
			d.Hint = suggest("", sortedKeys(kinds))
			r.add(d)
			return entry{}, false
		}
		kind = []field{own[i]}
		own = slices.Delete(own, i, i+1)
	}
	if len(kind) == 0 {
		return entry{}, false
	}
	for _, second := range kind[1:] {
		d := second.key.diag("%q is a second kind in one %s; the first is %q", second.key.text, what, kind[0].key.text)
		d.Hint = fmt.Sprintf("make it %s %s of its own", article(what), what)
		r.add(d)
	}
	one := kind[0]
	rest := b.with((&node{kind: mappingNode, fields: own, src: b.node.src, line: b.node.line, col: b.node.col}).seal(), "")
	return entry{one.key.text, kinds[one.key.text], one.key, one.value, rest}, true
}

func first(fields []field) *field {
	if len(fields) == 0 {
		return nil
	}
	return &fields[0]
}

// unknownBeside says of a key in a step, output or source what it may have
// been meant to be: a kind, a key beside the kind, or one that belongs under it.
func unknownBeside(key *node, what string, kind *field, kinds map[string]any, beside []string) *Diagnostic {
	d := key.diag("unknown key %q in %s", shorten(key.text), what)
	all := append(sortedKeys(kinds), beside...)
	word := suggestKey(what, key.text, nil)
	switch near := Nearest(key.text, all); {
	case kind != nil && known(specs(reflect.TypeOf(kinds[kind.key.text]).Elem()), key.text):
		d.Hint = fmt.Sprintf("it is a key of %q: write it under it", kind.key.text)
	case word != "" && !strings.EqualFold(near, key.text):
		d.Hint = word
	case near != "":
		d.Hint = fmt.Sprintf("did you mean %q?", near)
	case kind != nil:
		d.Hint = suggest("", beside)
	default:
		d.Hint = suggest("", sortedKeys(kinds))
	}
	return d
}

func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an"
	}
	return "a"
}

// shared resolves the keys beside a kind; those in known have to be known now.
func (r *reader) shared(b Block, s *scope, known ...string) Block {
	out := *b.node
	out.fields = slices.Clone(b.node.fields)
	for i, f := range out.fields {
		switch name := f.key.text; {
		case name == "if": // the condition resolves itself
		case slices.Contains(known, name):
			out.fields[i].value = r.now(b.with(f.value, name), s).node
		default:
			out.fields[i].value = r.resolve(b.with(f.value, name), s).node
		}
	}
	return b.with(out.seal(), b.label)
}

// condition works out an `if`. It returns whether the block applies, and the
// expression if that cannot be told yet.
func (r *reader) condition(b Block, s *scope) (applies bool, late string) {
	if b.IsZero() || b.IsNull() {
		return true, ""
	}
	n := b.node
	if n.kind != scalarNode {
		r.add(b.Errorf(`"if" must be an expression, not %s`, n.what()))
		return true, ""
	}
	if on, is := n.boolean(); is && !n.open {
		return on, ""
	}
	p := part{expr: n.raw, off: 0}
	if n.open {
		if p = n.parts[0]; len(n.parts) > 1 {
			r.add(b.Errorf("\"if\" must be one expression; text around it makes it a text"))
			return true, ""
		}
	}
	res, wrong := s.evaluate(p.expr)
	if len(wrong) > 0 {
		r.add(n.exprDiags(p, wrong)...)
		return true, ""
	}
	if res.left != "" {
		return true, strings.TrimSpace(res.left)
	}
	on, is := res.value.(bool)
	if !is {
		d := n.exprDiag(p, &exprError{to: len(p.expr), message: `"if" must be true or false, not ` + fromValue(res.value, n).what(), hint: `compare it: x == "y", x != ""`})
		r.add(d)
	}
	return on || !is, ""
}
