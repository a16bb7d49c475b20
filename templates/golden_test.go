package templates_test

import (
	"flag"
	"testing"

	"bake/builder"
	"bake/provisioners"
	"bake/steps"
	"bake/templates"
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
		Provisioners: provisioners.All(),
		Sources:      steps.Sources(steps.Deps{}),
		Outputs:      steps.Outputs(steps.Deps{}),
	}
}
