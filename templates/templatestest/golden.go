// Package templatestest holds a language against the golden templates in
// testdata/templates: what each says when it is wrong, and that the JSON schema
// agrees.
package templatestest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"bake/templates"
)

// A Compiler reads the template in file, as far as `bake validate` does.
type Compiler func(file string, opts templates.Options) templates.Diagnostics

// Invalid holds what compile says about root/NAME/bake.yaml against
// root/NAME/want.txt, or, if update is set, writes that file.
func Invalid(t *testing.T, root string, update bool, compile Compiler) {
	each(t, root, func(t *testing.T, dir string, opts templates.Options) {
		diags := compile("bake.yaml", opts)
		if len(diags) == 0 {
			t.Fatal("nothing is wrong with it")
		}
		var got bytes.Buffer
		if err := diags.Format(&got, false); err != nil {
			t.Fatal(err)
		}
		if update {
			if err := os.WriteFile("want.txt", got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		want, err := os.ReadFile("want.txt")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("want.txt (-) and what it says (+) differ; -update writes it:\n%s", diff)
		}
	})
}

// Valid checks that nothing is wrong with root/NAME/bake.yaml.
func Valid(t *testing.T, root string, compile Compiler) {
	each(t, root, func(t *testing.T, dir string, opts templates.Options) {
		var got bytes.Buffer
		if diags := compile("bake.yaml", opts); len(diags) > 0 {
			if err := diags.Format(&got, false); err != nil {
				t.Fatal(err)
			}
			t.Error(got.String())
		}
	})
}

// each runs a test in every directory below root, as the working directory.
func each(t *testing.T, root string, test func(t *testing.T, dir string, opts templates.Options)) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	root, err = filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			t.Run(e.Name(), func(t *testing.T) {
				t.Chdir(filepath.Join(root, e.Name()))
				test(t, e.Name(), Options(t, "args"))
			})
		}
	}
}

// Options are what every golden template is read with. The file, if there is
// one, holds more: a line `var x=y`, `var-file NAME` or `env X=y` for each.
func Options(t testing.TB, file string) templates.Options {
	t.Helper()
	opts := templates.Options{
		Vars: map[string]string{}, RunID: "20260102-030405-abcd", Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Environ: []string{"HOME=/home/me", "CI=true"},
		Git:     func() templates.Git { return templates.Git{SHA: "8f2e1c0", Branch: "main", Tag: "v1.4.2"} },
	}
	data, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return opts
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "var":
			name, value, _ := strings.Cut(rest, "=")
			opts.Vars[name] = value
		case "var-file":
			opts.VarFiles = append(opts.VarFiles, rest)
		case "env":
			opts.Environ = append(opts.Environ, rest)
		default:
			t.Fatalf("%s: unknown line %q", file, line)
		}
	}
	return opts
}

// structural is the first line of an invalid template that the schema rejects too.
const structural = "# the schema rejects this"

// Schema checks that the schema of lang accepts every template below
// root/valid, and rejects those below root/invalid that say so.
func Schema(t *testing.T, root string, lang templates.Language) {
	schema := compileSchema(t, templates.Schema(lang))
	rejected := 0
	for _, kind := range []string{"valid", "invalid"} {
		files, err := filepath.Glob(filepath.Join(root, kind, "*", "bake.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no templates below %s/%s: %v", root, kind, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			marked := strings.HasPrefix(string(text), structural)
			if kind == "invalid" && !marked {
				continue
			}
			err = validate(schema, text)
			switch {
			case kind == "valid" && err != nil:
				t.Errorf("the schema rejects %s: %v", file, err)
			case kind == "invalid" && err == nil:
				t.Errorf("the schema accepts %s", file)
			case kind == "invalid":
				rejected++
			}
		}
	}
	if rejected == 0 {
		t.Errorf("no template below %s/invalid begins with %q", root, structural)
	}
}

// SchemaAccepts checks that the schema of lang accepts a template.
func SchemaAccepts(t *testing.T, lang templates.Language, text []byte) {
	t.Helper()
	if err := validate(compileSchema(t, templates.Schema(lang)), text); err != nil {
		t.Errorf("the schema rejects it: %v", err)
	}
}

func compileSchema(t *testing.T, text []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("bake.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("bake.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// validate holds YAML, as an editor reads it, against the schema.
func validate(schema *jsonschema.Schema, text []byte) error {
	var data any
	if err := yaml.Unmarshal(text, &data); err != nil {
		return err
	}
	asJSON, err := json.Marshal(data)
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return err
	}
	return schema.Validate(doc)
}
