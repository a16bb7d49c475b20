package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bake/builder"
	"bake/templates"
)

func TestAPlanTellsWhatIsThereAndWhatWouldBeMade(t *testing.T) {
	source := builder.Step{Phase: builder.Open, Kind: "ami", Name: "ami al2023-*",
		Config: templates.JSON(`{"machine":{"type":["t3.small","t3a.small"]},"name":"al2023-*","owner":"amazon","region":"eu-west-1"}`)}
	output := builder.Step{Phase: builder.Publish, Kind: "ami", Name: "ami web-1",
		Config: templates.JSON(`{"launch_permissions":{"accounts":["222233334444"]},"name":"web-1","description":"` + strings.Repeat("long", 100) + `"}`)}
	plan := &builder.Plan{Builds: []builder.Build{
		{Name: "web", Pin: builder.Pin{Summary: "ami-1 in eu-west-1"}, Steps: []builder.Step{source, {Phase: builder.Provision, Name: "run make"}, output}},
		{Name: "tool", Steps: []builder.Step{{Phase: builder.Open, Config: templates.JSON(`"word"`)}, {Phase: builder.Test, Name: "run tool"}}},
		{Name: "host", Steps: []builder.Step{{Phase: builder.Open}}},
		{Name: "new", Steps: []builder.Step{{Phase: builder.Open}}},
	}}
	made := map[string]builder.Artifact{
		"web":  {AMI: &builder.AMI{ID: "ami-2", Region: "eu-west-1"}},
		"tool": {Image: &builder.Image{ID: "sha256:1"}},
		"host": {Host: &builder.Host{}},
	}
	var out strings.Builder
	if err := printPlan(&out, plan, made); err != nil {
		t.Fatal(err)
	}
	want := `web       exists: ami-2 in eu-west-1
  from    ami-1 in eu-west-1
          machine: {type: [t3.small, t3a.small]}
          owner: amazon
  step    run make
  output  ami web-1
          launch_permissions: {accounts: ["222233334444"]}
          description: ` + strings.Repeat("long", 40) + `…
tool      exists: sha256:1
  test    run tool
host      exists: the machine itself
new       to build
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
