package templates_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"bake/builder"
	"bake/provisioners"
	"bake/steps"
	"bake/templates"
	"bake/templates/starter"
	"bake/templates/templatestest"
)

var update = flag.Bool("update", false, "write testdata/templates/invalid/*/want.txt")

const testdata = "../testdata/templates"

func TestInvalidTemplatesSayWhatIsWrong(t *testing.T) {
	templatestest.Invalid(t, testdata+"/invalid", *update, compile)
}

func TestValidTemplatesAreValid(t *testing.T) {
	templatestest.Valid(t, testdata+"/valid", compile)
}

func TestSchemaAgreesWithParse(t *testing.T) {
	templatestest.Schema(t, testdata, catalog().Language())
}

func TestStartersAreAcceptedByTheSchema(t *testing.T) {
	files, err := fs.Glob(starter.Files(), "*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no starters", err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			text, err := fs.ReadFile(starter.Files(), file)
			if err != nil {
				t.Fatal(err)
			}
			templatestest.SchemaAccepts(t, catalog().Language(), text)
		})
	}
}

func compile(file string, opts templates.Options) templates.Diagnostics {
	cat := catalog()
	tmpl, diags := templates.Parse(file, cat.Language(), opts)
	if len(diags) > 0 {
		return diags
	}
	_, diags = builder.Compile(tmpl, cat)
	return diags
}

// catalog is what bake has. Nothing runs, so it needs no engine.
func catalog() builder.Catalog {
	return builder.Catalog{
		Provisioners: provisioners.All(provisioners.Deps{}),
		Sources:      steps.Sources(steps.Deps{}),
		Outputs:      steps.Outputs(steps.Deps{}),
	}
}

// FuzzCompile holds every kind against anything: what checks a block must not
// panic, whatever the block says.
func FuzzCompile(f *testing.F) {
	files, err := filepath.Glob(testdata + "/*/*/bake.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	dir, cat := f.TempDir(), catalog()
	opts := templatestest.Options(f, filepath.Join(dir, "args"))
	f.Fuzz(func(t *testing.T, text []byte) {
		tmpl, diags := templates.ParseBytes("bake.yaml", dir, text, cat.Language(), opts)
		if len(diags) == 0 {
			_, diags = builder.Compile(tmpl, cat)
		}
		for _, d := range diags {
			if d.Pos.File != "bake.yaml" || d.Pos.Line < 1 || d.Pos.Col < 1 {
				t.Errorf("%v: has no place in the template", d)
			}
		}
	})
}
