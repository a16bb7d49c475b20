package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bake/builder"
	"bake/internal/starter"
	"bake/provisioners"
	"bake/steps"
	"bake/templates"
)

// compile reads a template as `bake validate` does.
func compile(t *testing.T, file string) (*builder.Plan, templates.Diagnostics) {
	t.Helper()
	cat := builder.Catalog{Sources: steps.Sources(steps.Deps{}), Provisioners: provisioners.All(provisioners.Deps{}), Outputs: steps.Outputs(steps.Deps{})}
	tmpl, diags := templates.Parse(file, cat.Language(), templates.Options{Now: time.Unix(1700000000, 0), RunID: "test"})
	if len(diags) > 0 {
		return nil, diags
	}
	return builder.Compile(tmpl, cat)
}

func noDiagnostics(t *testing.T, file string) {
	t.Helper()
	_, diags := compile(t, file)
	var text strings.Builder
	if err := errors.Join(diags.Format(&text, false), diags.Err()); err != nil {
		t.Errorf("%s", text.String())
	}
}

func TestEveryStarterIsValidAsItIsWritten(t *testing.T) {
	list, err := starter.List()
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]map[string]string{
		"defaults": nil,
		"others":   {"name": "an-image", "version": "12.0.1", "title": `It's "new": #1 & more`, "port": "9090", "archive": "out/the image.tar"},
	}
	for _, s := range list {
		for name, given := range answers {
			t.Run(s.Name+" with "+name, func(t *testing.T) {
				fits := map[string]string{}
				for _, q := range s.Questions {
					if v, ok := given[q.Key]; ok {
						fits[q.Key] = v
					}
				}
				text, err := s.Render(fits)
				if err != nil {
					t.Fatal(err)
				}
				dir := t.TempDir()
				file := filepath.Join(dir, "bake.yaml")
				// What the template takes from beside itself.
				program := filepath.Join(dir, "dist", "service")
				if err := errors.Join(os.Mkdir(filepath.Dir(program), 0o755), os.WriteFile(program, nil, 0o755)); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, text, 0o644); err != nil {
					t.Fatal(err)
				}
				noDiagnostics(t, file)
			})
		}
	}
}

func TestTheDemoIsValid(t *testing.T) {
	noDiagnostics(t, filepath.Join(repository, "testdata", "demo", "bake.yaml"))
}
