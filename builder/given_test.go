package builder_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"bake/builder"
	"bake/builder/buildertest"
)

func TestOutputsOfAGivenArtifactRunWithoutMakingAnything(t *testing.T) {
	c := newCloud(0)
	p, diags := compile(t, c, `
name: graph
builds:
  base: {source: {vm: small}}
  web:
    source: {build: base}
    steps: [{script: one}]
    tests: [{script: check}]
    outputs: [{send: there}, {final: all}]
`)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	p.Give(builder.Artifact{Image: &builder.Image{ID: "sha256:made-before"}}, func(s builder.Step) bool { return s.Kind == "send" })
	engine := c.engine(new(buildertest.Memory))
	if err := engine.Pin(t.Context(), "r1", p); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"web <- : publish/1"}, ids(p)); diff != "" {
		t.Error(diff)
	}
	h, err := engine.Run(t.Context(), "r1", p)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"sha256:made-before"}, c.puts["there"]); diff != "" {
		t.Error(diff)
	}
	if got := c.count("machine") + c.made["machine"]; got != 0 {
		t.Errorf("%d machines were made", got)
	}
	if got := h.Done["web/publish/1"].Artifact; got == nil || got.Image.ID != "sha256:made-before" {
		t.Errorf("the artifact of the output is %v", got)
	}
}
