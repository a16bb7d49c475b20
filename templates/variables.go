package templates

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// variableDoc is one entry of `variables`. A scalar or list is the default.
type variableDoc struct {
	Default     Block   `yaml:"default" bake:"main" doc:"its value if nothing else gives one"`
	Description string  `yaml:"description" doc:"what it is for"`
	Type        string  `yaml:"type" enum:"string|number|bool|list" doc:"what its value is; without it: what the default is, numbers being text"`
	Pattern     string  `yaml:"pattern" doc:"a regular expression that the value, or each element of a list, must match"`
	Enum        Strings `yaml:"enum" doc:"the only values it may have"`
	Sensitive   bool    `yaml:"sensitive" doc:"never show or store the value"`
	Required    bool    `yaml:"required" doc:"an empty value counts as none"`
	Env         string  `yaml:"env" pattern:"^[A-Za-z_][A-Za-z0-9_]*$" doc:"the environment variable that gives its value"`
	File        string  `yaml:"file" doc:"a file that holds its value, path relative to the template"`
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// A setting is a value that somebody gave a variable: text, or a node of a file.
type setting struct {
	text string
	node *node
	from string // "--var", "RELEASE_TOKEN": for messages; empty for the template
	// failed says that it could not be read, and that there is a diagnostic.
	failed bool
}

// Validate checks that the pattern is one.
func (v *variableDoc) Validate(b Block) Diagnostics {
	if _, err := regexp.Compile(v.Pattern); err != nil {
		return Diagnostics{b.At("pattern").Errorf("%q is not a regular expression: %s", shorten(v.Pattern), regexpError(err))}
	}
	return nil
}

func regexpError(err error) string {
	return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}

// variables works out every variable of the template into r.env.
func (r *reader) variables(b Block) {
	files := r.varFiles()
	declared := map[string]bool{}
	if !b.IsZero() && !b.IsNull() && !b.IsMapping() {
		r.add(b.Errorf("variables must be a mapping of names to variables, not %s", b.node.what()))
	} else if !b.IsZero() {
		for _, f := range b.node.fields {
			declared[f.key.text] = true
			r.variable(f, b.with(f.value, f.key.text), files)
		}
	}
	names := sortedKeys(declared)
	for _, name := range sortedKeys(r.opts.Vars) {
		if !declared[name] {
			r.add(&Diagnostic{Message: fmt.Sprintf("unknown variable %q in --var", shorten(name)), Hint: suggest(name, names)})
		}
	}
	for _, f := range files {
		for _, key := range f.fields {
			if !declared[key.key.text] {
				d := key.key.diag("unknown variable %q", shorten(key.key.text))
				d.Hint = suggest(key.key.text, names)
				r.add(d)
			}
		}
	}
}

func (r *reader) variable(f field, b Block, files []*node) {
	name := f.key.text
	if !variableName.MatchString(name) {
		d := f.key.diag("%q is not a name for a variable", shorten(name))
		d.Hint = "use letters, digits and _, and begin with a letter"
		r.add(d)
		return
	}
	r.env.vars[name] = variable{missing: true, data: ""}
	var doc variableDoc
	diags := Decode(b, &doc)
	for _, key := range b.node.fields {
		if key.key.text != "default" && key.value.open {
			d := key.value.diag("%q of a variable cannot hold an expression", key.key.text)
			d.Hint = "only its default can"
			diags = append(diags, d)
		}
	}
	if len(diags) > 0 {
		r.add(diags...)
		return
	}
	v := variable{sensitive: doc.Sensitive, missing: true, data: ""}
	if data, given := r.value(f, b, &doc, files); given {
		v.data, v.missing = data, false
	}
	r.env.vars[name] = v
}

// value finds the setting that counts and checks it. It is false if the
// variable has no good value; that is a diagnostic then.
func (r *reader) value(f field, b Block, doc *variableDoc, files []*node) (any, bool) {
	s, given := r.setting(f.key.text, b, doc, files)
	if given && doc.Required && s.node == nil && s.text == "" {
		given = false
	}
	if s.failed {
		return nil, false
	}
	if !given {
		d := f.key.diag("variable %q has no value", f.key.text)
		d.Hint = "give it with --var " + f.key.text + "=..., or set BAKE_VAR_" + f.key.text
		if doc.Env != "" {
			d.Hint += " or " + doc.Env
		}
		r.add(d)
		return nil, false
	}
	at := f.key
	if s.node != nil {
		if at = s.node; at.open {
			if s.node = r.defaultValue(at, doc); s.node == nil {
				return nil, false
			}
		}
	}
	data, err := doc.convert(s)
	if err == nil {
		err = doc.check(data)
	}
	if err != nil {
		message := fmt.Sprintf("variable %q %s", f.key.text, err)
		if s.from != "" {
			message += " (from " + s.from + ")"
		}
		d := at.diag("%s", message)
		if doc.Sensitive {
			d.Line = ""
		}
		r.add(d)
		return nil, false
	}
	return data, true
}

// setting returns what counts: --var, then --var-file, BAKE_VAR_x, env, file, default.
func (r *reader) setting(name string, b Block, doc *variableDoc, files []*node) (setting, bool) {
	if text, ok := r.opts.Vars[name]; ok {
		return setting{text: text, from: "--var"}, true
	}
	for _, file := range slices.Backward(files) {
		if n := file.get(name); n != nil {
			return setting{node: n}, true
		}
	}
	for _, env := range []string{"BAKE_VAR_" + name, doc.Env} {
		if text, ok := r.env.environ[env]; ok && env != "" {
			return setting{text: text, from: env}, true
		}
	}
	if doc.File != "" {
		run := evaluation{dir: r.env.dir}
		text, err := run.file([]any{doc.File})
		if err == nil {
			return setting{text: strings.TrimRight(text.(string), "\r\n"), from: doc.File}, true
		}
		if doc.Default.IsZero() {
			r.add(b.At("file").Errorf("%s", err))
			return setting{failed: true}, false
		}
	}
	return setting{node: doc.Default.node}, !doc.Default.IsZero()
}

// defaultValue resolves the expressions of a default. It may name the
// environment and variables above it.
func (r *reader) defaultValue(n *node, doc *variableDoc) *node {
	res := resolver{scope: &scope{env: r.env}, made: &r.made, final: doc.Sensitive}
	out := res.resolve(n)
	for _, d := range res.diags {
		if strings.HasPrefix(d.Message, "unknown variable") {
			d.Hint = "a default may name the variables above it"
		}
	}
	r.add(res.diags...)
	if len(res.diags) > 0 {
		return nil
	}
	if out.open {
		d := n.diag("the default is made from a sensitive variable")
		d.Hint = "make this variable sensitive too"
		r.add(d)
		return nil
	}
	return out
}

// kind returns the type that the value has to have.
func (v *variableDoc) kind() string {
	n := v.Default.node
	switch {
	case v.Type != "":
		return v.Type
	case n != nil && n.kind == listNode:
		return "list"
	case n != nil && n.kind == scalarNode && n.tag == boolTag:
		return "bool"
	}
	return "string"
}

// convert makes the variable's type out of a setting. The error goes on after
// the variable's name, and shows a value only if the variable is not sensitive.
func (v *variableDoc) convert(s setting) (any, error) {
	n := s.node
	if n == nil {
		n = &node{kind: scalarNode, text: s.text, loose: true, secret: v.Sensitive}
		if v.kind() == "list" {
			n = listFromText(s.text)
		}
	} else if v.Sensitive {
		hidden := *n
		hidden.secret = true
		n = &hidden
	}
	wrong := func(want string) error { return fmt.Errorf("must be %s, not %s", want, n.what()) }
	switch v.kind() {
	case "number":
		if i, ok := n.integer(); ok && n.kind == scalarNode {
			return int(i), nil
		}
		if f, ok := n.float(); ok && n.kind == scalarNode {
			return f, nil
		}
		return nil, wrong("a number")
	case "bool":
		if on, ok := n.boolean(); ok && n.kind == scalarNode {
			return on, nil
		}
		return nil, wrong("true or false")
	case "list":
		if n.kind == nullNode {
			return []any{}, nil
		}
		if n.kind != listNode {
			return nil, wrong("a list")
		}
		return listValue(n)
	}
	if n.kind == nullNode {
		return "", nil
	}
	if n.kind != scalarNode {
		return nil, wrong("a string")
	}
	return n.text, nil
}

// listFromText reads `a,b` and `[a, b]`.
func listFromText(text string) *node {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "[") {
		if n, diags := loadYAML("", []byte(text)); len(diags) == 0 && !n.open {
			return n
		}
	}
	n := &node{kind: listNode}
	if text == "" {
		return n
	}
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		n.items = append(n.items, &node{kind: scalarNode, text: item, tag: plainTag(item)})
	}
	return n
}

func listValue(n *node) (any, error) {
	if len(n.items) > maxElements {
		return nil, fmt.Errorf("has more than %d elements", maxElements)
	}
	out := make([]any, len(n.items))
	for i, item := range n.items {
		if item.kind != scalarNode {
			return nil, fmt.Errorf("must be a list of texts, numbers and truth values; element %d is %s", i+1, item.what())
		}
		out[i] = item.element()
	}
	return out, nil
}

// element returns a scalar as an element of a list or matrix. A number keeps
// its text unless that is the only way to write it: 1.10 is a version.
func (n *node) element() any {
	switch data := n.scalarData().(type) {
	case bool:
		return data
	case int:
		if strconv.Itoa(data) == n.text {
			return data
		}
	}
	return n.text
}

// check holds the value against pattern, enum and required.
func (v *variableDoc) check(data any) error {
	list, isList := data.([]any)
	if !isList {
		list = []any{data}
	}
	if v.Required && len(list) == 0 {
		return fmt.Errorf("must not be empty")
	}
	for _, item := range list {
		text, err := stringify(item)
		if err != nil {
			return err
		}
		shown := strconv.Quote(shorten(text))
		if v.Sensitive {
			shown = "the value it has"
		}
		switch {
		case v.Required && text == "":
			return fmt.Errorf("must not be empty")
		case v.Pattern != "" && !regexp.MustCompile(v.Pattern).MatchString(text):
			return fmt.Errorf("must match %s, not %s", v.Pattern, shown)
		case len(v.Enum) > 0 && !slices.Contains(v.Enum, text):
			return fmt.Errorf("must be %s, not %s", oneOf(v.Enum), shown)
		}
	}
	return nil
}
