package templates

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// buildKind is the source that is another build of the template.
const buildKind = "build"

// buildSource is what `build:` takes if the language does not say.
type buildSource struct {
	Build string `yaml:"build" bake:"main,required" doc:"the build whose result this one starts from"`
}

// withBuild returns the language with the source `build`.
func (l Language) withBuild() Language {
	if l.Sources[buildKind] == nil {
		l.Sources = maps.Clone(l.Sources)
		if l.Sources == nil {
			l.Sources = map[string]any{}
		}
		l.Sources[buildKind] = new(buildSource)
	}
	return l
}

// sourceDoc is the keys that stand beside every kind of source.
type sourceDoc struct {
	Platforms Strings `yaml:"platforms" doc:"what to build for, like linux/arm64; several make one image for each and an index"`
}

var platform = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$`)

// source reads the source of a build.
func (r *reader) source(b Block, s *scope) (Kind, []string) {
	if !b.IsMapping() {
		d := b.Errorf("source must be a mapping with one kind, not %s", b.node.what())
		if text, ok := b.Text(); ok {
			d.Hint = "write source: {image: " + shorten(text) + "}"
			if r.lang.Sources[text] != nil {
				d.Hint = "write source: {" + text + ": ...}"
			}
		}
		r.add(d)
		return Kind{}, nil
	}
	kind := r.sourceKind(b)
	if kind == nil {
		return Kind{}, nil
	}
	proto := r.lang.Sources[kind.key.text]
	body := r.sourceBody(b, kind, specs(reflect.TypeOf(proto).Elem()))
	out := Kind{Kind: kind.key.text, Pos: b.with(kind.key, "").Pos()}
	out.Body = r.body(b.with(body, out.Kind), proto, s, true)
	return out, r.platforms(b.At("platforms").orZero(b, "platforms"), s)
}

// sourceKind finds the one kind of a source.
func (r *reader) sourceKind(b Block) *field {
	var kind *field
	for i, f := range b.node.fields {
		if r.lang.Sources[f.key.text] == nil || r.standsBeside(b, f.key.text) {
			continue
		}
		if kind != nil {
			d := f.key.diag("%q is a second kind of source; the first is %q", f.key.text, kind.key.text)
			d.Hint = "a build has one source"
			r.add(d)
			continue
		}
		kind = &b.node.fields[i]
	}
	beside := fieldNames(specs(typeOf[sourceDoc]()))
	if kind != nil {
		beside = append(beside, besideKeys(r.lang.Sources[kind.key.text])...)
	}
	unknown := false
	for _, f := range b.node.fields {
		if (r.lang.Sources[f.key.text] == nil || r.standsBeside(b, f.key.text)) && !slices.Contains(beside, f.key.text) {
			unknown = true
			r.add(unknownBeside(f.key, "source", kind, r.lang.Sources, beside))
		}
	}
	if kind == nil && !unknown {
		d := b.Errorf("the source has no kind")
		d.Hint = suggest("", sortedKeys(r.lang.Sources))
		r.add(d)
	}
	return kind
}

// standsBeside reports whether a key is one that stands beside another kind
// that is there, though it is a kind too: `ssh` beside `ami`.
func (r *reader) standsBeside(b Block, key string) bool {
	return slices.ContainsFunc(b.node.fields, func(f field) bool {
		proto := r.lang.Sources[f.key.text]
		return proto != nil && f.key.text != key && slices.Contains(besideKeys(proto), key)
	})
}

// besideKeys lists the keys of a kind that stand beside it.
func besideKeys(proto any) []string {
	var out []string
	for _, s := range specs(reflect.TypeOf(proto).Elem()) {
		if s.beside {
			out = append(out, s.name)
		}
	}
	return out
}

// sourceBody returns the kind's block with the keys that stand beside it inside.
func (r *reader) sourceBody(b Block, kind *field, all []fieldSpec) *node {
	var beside []field
	for _, s := range all {
		if !s.beside {
			continue
		}
		if f := b.node.field(s.name); f != nil {
			beside = append(beside, *f)
		}
		if f := kind.value.field(s.name); f != nil {
			d := f.key.diag("%q stands beside %q, not under it", s.name, kind.key.text)
			d.Hint = "move it one level up"
			r.add(d)
		}
	}
	if len(beside) == 0 {
		return kind.value
	}
	body := *kind.value
	switch main := mainField(all); {
	case body.kind == mappingNode:
		body.fields = append(slices.Clone(body.fields), beside...)
	case main != nil && body.kind != nullNode:
		key := *kind.key
		key.text = main.name
		body = node{kind: mappingNode, src: body.src, line: body.line, col: body.col, style: body.style, fields: append([]field{{&key, kind.value}}, beside...)}
	case body.kind == nullNode:
		body.kind, body.fields = mappingNode, beside
	}
	return body.seal()
}

func (r *reader) platforms(b Block, s *scope) []string {
	if b.IsZero() {
		return nil
	}
	var platforms Strings
	b = r.now(b, s)
	r.add(decodeValue(b, &platforms)...)
	seen := map[string]bool{}
	for i, p := range platforms {
		at := b
		if b.IsList() {
			at = b.item(i)
		}
		switch {
		case at.Unresolved(): // is a diagnostic already
		case !platform.MatchString(p):
			d := at.Errorf("%q is not a platform", shorten(p))
			d.Hint = "write OS/ARCH or OS/ARCH/VARIANT, like linux/arm64"
			r.add(d)
		case seen[p]:
			r.add(at.Errorf("the platform %s is here twice", p))
		}
		seen[p] = true
	}
	return platforms
}

// link finds the builds that builds start from, and refuses circles.
func (r *reader) link(t *Template) {
	index := map[string]int{}
	for i, b := range t.Builds {
		index[b.Name] = i
	}
	for i := range t.Builds {
		b := &t.Builds[i]
		if b.Source.Kind != buildKind {
			continue
		}
		at, name, ok := r.baseName(b.Source)
		if !ok {
			continue
		}
		if _, exists := index[name]; !exists {
			d := at.Errorf("there is no build %q", shorten(name))
			d.Hint = suggest(name, sortedKeys(index))
			if cells := multiplied(t.Builds, name); len(cells) > 0 {
				d.Hint = "its matrix makes " + strings.Join(cells[:min(len(cells), 8)], ", ")
			}
			r.add(d)
			continue
		}
		b.Needs = []string{name}
	}
	r.refuseCircles(t, index)
}

// baseName returns the name in a source of kind `build`, and where it stands.
func (r *reader) baseName(k Kind) (at Block, name string, ok bool) {
	at = k.Body
	if main := mainField(specs(reflect.TypeOf(r.lang.Sources[buildKind]).Elem())); at.IsMapping() && main != nil {
		at = at.At(main.name)
	}
	if at.Unresolved() && !r.incomplete() {
		d := at.Errorf("the build to start from has to be known before the run")
		r.add(d)
	}
	name, ok = at.Text()
	return at, name, ok
}

// refuseCircles reports each circle of builds once, at the build of it that
// comes first in the file.
func (r *reader) refuseCircles(t *Template, index map[string]int) {
	done := make([]bool, len(t.Builds))
	for i := range t.Builds {
		var path []int
		for at := i; !done[at]; {
			if from := slices.Index(path, at); from >= 0 {
				names := make([]string, 0, len(path)-from+1)
				for _, j := range append(slices.Clone(path[from:]), at) {
					names = append(names, t.Builds[j].Name)
				}
				where, _, _ := r.baseName(t.Builds[at].Source)
				d := where.Errorf("the builds need one another in a circle: %s", strings.Join(names, " -> "))
				if len(names) == 2 {
					d.Message = fmt.Sprintf("the build %q starts from itself", names[0])
				}
				r.add(d)
				break
			}
			path = append(path, at)
			if len(t.Builds[at].Needs) == 0 {
				break
			}
			at = index[t.Builds[at].Needs[0]]
		}
		for _, j := range path {
			done[j] = true
		}
	}
}
