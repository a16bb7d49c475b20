package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bake/builder"
	"bake/templates"
	"bake/templates/templatestest"
)

var update = flag.Bool("update", false, "write testdata/templates/valid/*/plan.json")

// TestPlansOfValidTemplates holds what bake makes of every valid template
// against the plan beside it. Plans are not pinned: that is offline and the
// same everywhere.
func TestPlansOfValidTemplates(t *testing.T) {
	cat, err := offlineCatalog()
	if err != nil {
		t.Fatal(err)
	}
	compile := func(file string, opts templates.Options) templates.Diagnostics {
		tmpl, diags := templates.Parse(file, cat.Language(), opts)
		if len(diags) > 0 {
			return diags
		}
		plan, diags := builder.Compile(tmpl, cat)
		if len(diags) > 0 {
			return diags
		}
		comparePlan(t, filepath.Join(filepath.Dir(file), "plan.json"), plan)
		return nil
	}
	templatestest.Valid(t, "../../testdata/templates/valid", compile)
}

func comparePlan(t *testing.T, file string, plan *builder.Plan) {
	t.Helper()
	plan.Dir = "" // where the checkout lies
	got, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Errorf("%v (go test ./cmd/bake -run Plans -update writes it)", err)
		return
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}
