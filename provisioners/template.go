package provisioners

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"text/template"

	"bake/builder"
	"bake/internal/filetree"
	"bake/internal/lazyregexp"
	"bake/internal/shell"
	"bake/templates"
)

// Template fills a Go text/template of this machine with values and writes the
// result. A name that vars does not have is an error, not an empty string.
type Template struct {
	File       string         `yaml:"file" bake:"required" doc:"The Go text/template, relative to the bake template."`
	To         string         `yaml:"to" bake:"required" doc:"The file on the machine; a link in its place is replaced."`
	Vars       map[string]any `yaml:"vars" doc:"What the template may name: {{ .name }}."`
	Delimiters []string       `yaml:"delimiters" doc:"What stands around actions instead of {{ and }}: two strings."`
	Owner      Owner          `yaml:"owner" doc:"Whom the file belongs to: name or number, with :group if it is another. Default: root."`
	Mode       templates.Mode `yaml:"mode" default:"0644" doc:"Mode of the file."`

	Sums *filetree.Sums `yaml:"-"`
}

// Validate checks what the tags cannot say.
func (t *Template) Validate(b templates.Block) templates.Diagnostics {
	ds := absoluteFile(b, "to", t.To)
	if n := len(t.Delimiters); n != 0 && (n != 2 || t.Delimiters[0] == "" || t.Delimiters[1] == "") {
		ds = append(ds, b.At("delimiters").Errorf(`delimiters must be two strings, like ["<<", ">>"]`))
	}
	return ds
}

// Check parses the file and, if all values are known, fills it.
func (t *Template) Check(dir string, b templates.Block) templates.Diagnostics {
	if t.File == "" || b.At("file").Unresolved() || b.At("delimiters").Unresolved() {
		return nil
	}
	text, err := readLocal(dir, t.File)
	if err != nil {
		return templates.Diagnostics{localDiagnostic(err, b.At("file"))}
	}
	parsed, err := t.parse(text)
	if err != nil {
		return templates.Diagnostics{b.At("file").Errorf("%v", err)}
	}
	if b.Has("vars") && b.At("vars").Unresolved() {
		return nil
	}
	if _, err := t.fill(parsed); err != nil {
		d := b.At("vars").Errorf("%v", err)
		d.Hint = "give it a value under vars"
		return templates.Diagnostics{d}
	}
	return nil
}

// Fingerprint covers the file; the values are part of the step itself.
func (t *Template) Fingerprint(ctx context.Context, dir string) (builder.Digest, error) {
	sum, err := filetree.Digest(ctx, dir, t.File, filetree.Options{Sums: t.Sums})
	return builder.Digest(sum), err
}

// Provision writes the filled template unless it is there already.
func (t *Template) Provision(ctx context.Context, sc *builder.Scope, comm builder.Communicator) (builder.Outcome, error) {
	text, err := readLocal(sc.Dir, t.File)
	if err != nil {
		return builder.Outcome{}, err
	}
	parsed, err := t.parse(text)
	if err != nil {
		return builder.Outcome{}, err
	}
	content, err := t.fill(parsed)
	if err != nil {
		return builder.Outcome{}, err
	}
	n := newFile{path: t.To, owner: t.Owner, mode: fileMode(t.Mode, 0o644), size: int64(len(content)), open: opener(content)}
	return n.ensure(ctx, comm)
}

func (t *Template) parse(text []byte) (*template.Template, error) {
	tmpl := template.New(t.File).Option("missingkey=error").Funcs(templateFuncs())
	if len(t.Delimiters) == 2 {
		tmpl = tmpl.Delims(t.Delimiters[0], t.Delimiters[1])
	}
	parsed, err := tmpl.Parse(string(text))
	return parsed, withoutPrefix(err)
}

func (t *Template) fill(parsed *template.Template) ([]byte, error) {
	vars := t.Vars
	if vars == nil {
		vars = map[string]any{}
	}
	var out bytes.Buffer
	err := parsed.Execute(&out, vars)
	return out.Bytes(), withoutPrefix(err)
}

var executing = lazyregexp.New(`: executing "[^"]*" at `)

// withoutPrefix turns text/template's `template: F:1:2: executing "F" at <.x>: why`
// into `F:1:2: <.x>: why`.
func withoutPrefix(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s", executing.ReplaceAllString(strings.TrimPrefix(err.Error(), "template: "), ": "))
}

// templateFuncs are what a template can call beside Go's own functions.
func templateFuncs() template.FuncMap {
	return template.FuncMap{
		"lower":  strings.ToLower,
		"upper":  strings.ToUpper,
		"trim":   strings.TrimSpace,
		"split":  func(sep, s string) []string { return strings.Split(s, sep) },
		"indent": func(n int, s string) string { return strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", n)) },
		"quote":  shell.Quote,
		"base64": func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"join": func(sep string, list []any) string {
			words := make([]string, len(list))
			for i, v := range list {
				words[i] = fmt.Sprint(v)
			}
			return strings.Join(words, sep)
		},
		"json": func(v any) (string, error) {
			data, err := json.Marshal(v)
			return string(data), err
		},
	}
}
