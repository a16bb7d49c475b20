package templates

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// varFiles reads the --var-file files, each as a mapping of names to values.
func (r *reader) varFiles() []*node {
	var files []*node
	for _, name := range r.opts.VarFiles {
		data, err := readFile(name)
		if err != nil {
			r.add(&Diagnostic{Message: fmt.Sprintf("reading var file %q: %s", name, err)})
			continue
		}
		n, diags := loadVarFile(name, data)
		// Whose values they are is not known yet: no line of the file is shown.
		for _, d := range diags {
			d.Line = ""
		}
		r.add(diags...)
		if n != nil && n.kind == mappingNode {
			files = append(files, n)
		}
	}
	return files
}

// loadVarFile reads KEY=VALUE lines if the file's name ends in .env, else a
// YAML mapping. Its values are data: expressions are not worked out.
func loadVarFile(name string, data []byte) (*node, Diagnostics) {
	if filepath.Ext(name) == ".env" {
		return loadDotenv(name, string(data))
	}
	n, diags := loadYAML(name, data)
	switch {
	case n == nil || len(diags) > 0:
	case n.kind == nullNode:
		n.kind = mappingNode
	case n.kind != mappingNode:
		diags = append(diags, n.diag("a var file is a mapping of names to values, not %s", n.what()))
	default:
		n = n.literal()
	}
	if n != nil && n.src != nil {
		n.src.secret = true
	}
	return n, diags
}

// literal returns the node with its texts as they were written, expressions
// and escapes included.
func (n *node) literal() *node {
	out := *n
	if n.kind == scalarNode {
		out.text, out.parts = n.raw, nil
		return out.seal()
	}
	out.items, out.fields = nil, nil
	for _, item := range n.items {
		out.items = append(out.items, item.literal())
	}
	for _, f := range n.fields {
		out.fields = append(out.fields, field{f.key, f.value.literal()})
	}
	return out.seal()
}

func loadDotenv(name, text string) (*node, Diagnostics) {
	src := newSource(name, text)
	src.secret = true
	n := &node{kind: mappingNode, src: src, line: 1, col: 1}
	var diags Diagnostics
	for i, line := range src.lines {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		key = strings.TrimSpace(key)
		if !ok || !variableName.MatchString(key) {
			diags = append(diags, src.at(i+1, 1, 0, "a line of a .env file is NAME=VALUE"))
			continue
		}
		scalar := func(text string) *node {
			return (&node{kind: scalarNode, src: src, line: i + 1, col: 1, text: text, raw: text, loose: true}).seal()
		}
		if again := n.field(key); again != nil { // the last one counts
			again.value = scalar(unquoteEnv(strings.TrimSpace(value)))
			continue
		}
		n.fields = append(n.fields, field{scalar(key), scalar(unquoteEnv(strings.TrimSpace(value)))})
	}
	return n.seal(), diags
}

// unquoteEnv undoes the quotes that .env files have around values: "..." with
// escapes, '...' without.
func unquoteEnv(s string) string {
	if len(s) < 2 || s[0] != s[len(s)-1] {
		return s
	}
	switch s[0] {
	case '\'':
		return s[1 : len(s)-1]
	case '"':
		if out, err := strconv.Unquote(s); err == nil {
			return out
		}
		return s[1 : len(s)-1]
	}
	return s
}
