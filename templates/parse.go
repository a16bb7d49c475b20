package templates

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Parse reads the template in file. The diagnostics are all that is wrong with
// it, sorted by place. If there are any the template is incomplete, good only
// for finding more that is wrong, or nil.
func Parse(file string, lang Language, opts Options) (*Template, Diagnostics) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, Diagnostics{{Message: fmt.Sprintf("reading template %q: %s", file, withoutPath(err))}}
	}
	data, err := readTemplate(file)
	if err != nil {
		d := &Diagnostic{Message: fmt.Sprintf("reading template %q: %s", file, withoutPath(err))}
		if os.IsNotExist(err) {
			d.Hint = "bake init writes a template to start from"
		}
		return nil, Diagnostics{d}
	}
	return ParseBytes(file, filepath.Dir(abs), data, lang, opts)
}

// readTemplate reads a file or a pipe, but no more than one byte too much.
func readTemplate(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.IsDir() {
		return nil, fmt.Errorf("it is a directory")
	}
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// ParseBytes is like Parse for a template in memory: name is what diagnostics
// call it, and dir is the absolute directory that its relative paths start from.
func ParseBytes(name, dir string, src []byte, lang Language, opts Options) (*Template, Diagnostics) {
	root, diags := loadYAML(name, src)
	if root == nil || !ours(root) {
		if d := foreign(newSource(name, string(src)), string(src)); d != nil {
			return nil, Diagnostics{d}
		}
	}
	r := &reader{file: name, lang: lang.withBuild(), opts: opts, env: newEnv(dir, opts),
		files: map[string]*node{}, checked: map[check]bool{}}
	r.add(diags...)
	if root == nil {
		return nil, r.report()
	}
	t := r.template(Block{node: root, file: name, env: r.env})
	return t, r.report()
}

// A reader turns the tree of a file into a Template, and collects what is wrong.
type reader struct {
	file     string
	lang     Language
	opts     Options
	env      *Env
	diags    Diagnostics
	made     made
	steps    int
	includes int
	files    map[string]*node // included files, by absolute path
	checked  map[check]bool
}

// A check is a block that was held against its kind already.
type check struct {
	body *node
	kind any
}

// add keeps diagnostics, within reason: a hostile template can be wrong in a
// million ways.
func (r *reader) add(ds ...*Diagnostic) {
	if len(r.diags) < 10*maxDiagnostics {
		r.diags = append(r.diags, ds...)
	}
}

// report returns what is wrong, sorted, without sensitive values.
func (r *reader) report() Diagnostics {
	out := r.diags.Sort()
	if more := len(out) - maxDiagnostics; more > 0 {
		last := *out[maxDiagnostics-1]
		last.Message, last.Hint = fmt.Sprintf("%d more mistakes from here on", more+1), ""
		out = append(out[:maxDiagnostics-1:maxDiagnostics-1], &last)
	}
	for _, secret := range r.env.Secrets() {
		// Short values are too likely to be part of something else.
		if len(secret) < 3 || secret == "true" || secret == "false" {
			continue
		}
		mask := strings.Repeat("*", utf8.RuneCountInString(secret))
		for _, d := range out {
			d.Line = strings.ReplaceAll(d.Line, secret, mask)
			d.Message = strings.ReplaceAll(d.Message, secret, mask)
			d.Hint = strings.ReplaceAll(d.Hint, secret, mask)
		}
	}
	return out
}

// buildDoc is what one build consists of.
type buildDoc struct {
	Source  Block `yaml:"source" bake:"required" doc:"what the build starts from: one kind of source"`
	Steps   Block `yaml:"steps" doc:"what is done to it, in order"`
	Tests   Block `yaml:"tests" doc:"steps that run on a fresh machine made from the result, which must all succeed"`
	Config  Block `yaml:"config" doc:"how a container of the image starts"`
	Outputs Block `yaml:"outputs" doc:"where the result goes, in order"`
	Squash  Block `yaml:"squash" doc:"make one layer of all steps"`
	Matrix  Block `yaml:"matrix" doc:"make the build once for each combination of these values"`
}

// headDoc is what every template has.
type headDoc struct {
	Name        Block `yaml:"name" doc:"what the template, and its only build, is called"`
	Description Block `yaml:"description" doc:"what it makes"`
	Variables   Block `yaml:"variables" doc:"values that are given from outside: var.NAME in expressions"`
}

// graphDoc is a template of several builds.
type graphDoc struct {
	headDoc
	Builds Block `yaml:"builds" bake:"required" doc:"builds by name; a source can be another build"`
}

// singleDoc is a template of one build.
type singleDoc struct {
	headDoc
	buildDoc
}

func (r *reader) template(b Block) *Template {
	if !b.IsMapping() {
		r.add(b.Errorf("a template is a mapping, not %s", b.node.what()))
		return nil
	}
	t := &Template{File: r.file, Dir: r.env.dir, Env: r.env}
	if !b.Has("builds") {
		var doc singleDoc
		r.add(Decode(b, &doc)...)
		r.head(t, doc.headDoc)
		r.matrixBuilds(t, t.Name, b, doc.buildDoc)
	} else {
		var doc graphDoc
		r.decodeGraph(b, &doc)
		r.head(t, doc.headDoc)
		r.graph(t, doc.Builds)
	}
	r.link(t)
	return t
}

// decodeGraph says of a build's keys beside `builds` where they belong.
func (r *reader) decodeGraph(b Block, doc *graphDoc) {
	mine := fieldNames(specs(typeOf[buildDoc]()))
	diags := Decode(b, doc)
	for _, d := range diags {
		for _, key := range mine {
			if b.Has(key) && d.Pos == b.Key(key).Pos() {
				d.Message = fmt.Sprintf("%q stands beside `builds`", key)
				d.Hint = "move it into one of the builds"
			}
		}
	}
	r.add(diags...)
}

func (r *reader) head(t *Template, doc headDoc) {
	r.variables(doc.Variables)
	t.Description, _ = r.text(doc.Description)
	name, given := r.text(doc.Name)
	if !given {
		t.Name = defaultName(r.file, t.Dir)
	} else if t.Name = name; !buildName.MatchString(name) {
		r.add(badName(doc.Name.node, name))
	}
}

// text reads a text that has to be known now. It is false if there is none.
func (r *reader) text(b Block) (string, bool) {
	if b.IsZero() || b.IsNull() {
		return "", false
	}
	var text string
	b = r.now(b, &scope{env: r.env})
	diags := decodeValue(b, &text)
	r.add(diags...)
	return text, len(diags) == 0 && !b.Unresolved()
}

// defaultName calls a template after its file, or, if that is called bake.yaml,
// after its directory.
func defaultName(file, dir string) string {
	name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	if name == "bake" || name == "template" || !buildName.MatchString(name) {
		name = filepath.Base(dir)
	}
	if !buildName.MatchString(name) {
		name = "image"
	}
	return name
}

// resolve works out the block's expressions as far as they are known.
func (r *reader) resolve(b Block, s *scope) Block {
	if b.node == nil || !b.node.open {
		return b
	}
	res := resolver{scope: s, made: &r.made}
	b.node = res.resolve(b.node)
	r.add(res.diags...)
	if r.made.tooMuch() {
		r.add(b.Errorf("the expressions of the template make more than %d values or %d MiB of text", maxNodes, maxMade>>20))
	}
	return b
}

// now is like resolve for a block that has to be known before anything runs.
func (r *reader) now(b Block, s *scope) Block {
	before := len(r.diags)
	out := r.resolve(b, s)
	if out.Unresolved() && len(r.diags) == before && !r.incomplete() {
		d := b.Errorf("%s has to be known before the run", b.name())
		d.Hint = "it cannot name source.*, outputs.* or a sensitive variable"
		r.add(d)
	}
	return out
}

// incomplete reports whether a variable has no value, so that expressions stay
// open that should not.
func (r *reader) incomplete() bool {
	for _, v := range r.env.vars {
		if v.missing {
			return true
		}
	}
	return false
}
