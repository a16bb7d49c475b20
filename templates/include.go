package templates

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// including says how the reader came to the steps it is reading.
type including struct {
	files   []string // absolute paths, outermost first
	dir     string   // of the last of them; empty: of the template
	applies bool
	late    string // condition that could not be decided
}

// includeDoc is an entry of a step list that stands for the steps of a file.
type includeDoc struct {
	Include Block `yaml:"include" bake:"required" doc:"a YAML file with a list of steps, path relative to this file"`
	With    Block `yaml:"with" doc:"values that the file names as with.NAME"`
	If      Block `yaml:"if" doc:"an expression; the steps are left out if it is false"`
}

// include reads the steps of another file in the place of an entry.
func (r *reader) include(b Block, s *scope, from including) []Step {
	var doc includeDoc
	b.label = "include"
	diags := Decode(b, &doc)
	r.add(diags...)
	if len(diags) > 0 {
		return nil
	}
	applies, late := r.condition(doc.If, s)
	name, ok := r.now(doc.Include, s).Text()
	if !ok || name == "" {
		if !doc.Include.Unresolved() {
			r.add(doc.Include.Errorf(`"include" must be the path of a file, not %s`, doc.Include.node.what()))
		}
		return nil
	}
	if !applies || !from.applies {
		// The file may be there only when it is wanted.
		return nil
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.env.dir, from.dir, path)
	}
	list, ok := r.load(doc.Include, name, path, from)
	if !ok {
		return nil
	}
	inner := *s
	inner.with = r.withValues(doc.With, s)
	dir, err := filepath.Rel(r.env.dir, filepath.Dir(path))
	if err != nil {
		dir = filepath.Dir(path)
	}
	return r.entries(list, &inner, including{
		files: append(slices.Clone(from.files), path), dir: dir, applies: true, late: both(from.late, late),
	})
}

// load returns the list of steps in a file, and refuses circles and floods.
func (r *reader) load(at Block, name, path string, from including) (Block, bool) {
	fail := func(format string, args ...any) (Block, bool) {
		r.add(at.Errorf(format, args...))
		return Block{}, false
	}
	if i := slices.Index(from.files, path); i >= 0 {
		var circle []string
		for _, file := range append(slices.Clone(from.files[i:]), path) {
			circle = append(circle, r.show(file))
		}
		return fail("%q includes itself: %s", name, strings.Join(circle, " -> "))
	}
	if len(from.files) >= maxIncludeDepth {
		return fail("includes nest deeper than %d", maxIncludeDepth)
	}
	if r.includes++; r.includes > maxIncludes {
		return fail("the template includes more than %d files", maxIncludes)
	}
	n, known := r.files[path]
	if !known {
		data, err := readFile(path)
		if err != nil {
			return fail("including %q: %s", name, err)
		}
		var diags Diagnostics
		n, diags = loadYAML(r.show(path), data)
		r.add(diags...)
		if n != nil && n.kind != listNode {
			d := n.diag("an included file is a list of steps, not %s", n.what())
			d.Hint = "begin each step with -"
			r.add(d)
			n = nil
		}
		r.files[path] = n
	}
	return Block{node: n, file: r.show(path), env: r.env}, n != nil
}

// show returns an absolute path in the terms in which the template was named.
func (r *reader) show(path string) string {
	rel, err := filepath.Rel(r.env.dir, path)
	if err != nil {
		return path
	}
	return filepath.Join(filepath.Dir(r.file), rel)
}

// withValues resolves what an include hands on.
func (r *reader) withValues(b Block, s *scope) map[string]*node {
	out := map[string]*node{}
	if b.IsZero() || b.IsNull() {
		return out
	}
	if !b.IsMapping() {
		r.add(b.Errorf(`"with" must be a mapping of names to values, not %s`, b.node.what()))
		return out
	}
	for _, f := range r.resolve(b, s).node.fields {
		if !variableName.MatchString(f.key.text) {
			d := f.key.diag("%q is not a name for a value", shorten(f.key.text))
			d.Hint = fmt.Sprintf("expressions name it as with.%s: use letters, digits and _", "NAME")
			r.add(d)
			continue
		}
		out[f.key.text] = f.value
	}
	return out
}
