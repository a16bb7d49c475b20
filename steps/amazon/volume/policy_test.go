package volume_test

import (
	"testing"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/need"
	"bake/internal/sandbox/machinetest"
	"bake/steps/amazon/ami"
	"bake/steps/amazon/permit/permittest"
	"bake/steps/amazon/volume"
)

func TestAVolumeIsMadeChangedAndMovedUnderThePolicyThatIsPrinted(t *testing.T) {
	need.Root(t)
	machinetest.Program(t)
	l := newLab(t)
	first, second := l.instance(), l.instance()
	output := func(size, team, instance string) string {
		return `{"name": "data", "size": ` + size + `, "region": "eu-west-1", "tags": {"team": "` + team + `"}, "attach": {"instance": "` + instance + `", "move": true}}`
	}
	all := []string{output("5", "web", first), output("6", "ops", first), output("6", "ops", second)}
	asked := volume.New(nil)()
	if diags := decode(all[0], asked); len(diags) > 0 {
		t.Fatal(diags.Err())
	}
	doc := permittest.Document("web", asked)
	l.cloud = permittest.Limit(t, l.Sandbox, doc)
	engine := &builder.Engine{Catalog: builder.Catalog{Cleaners: ami.Cleaners(l.cloud)}, Journal: new(buildertest.Memory), Sink: buildertest.Log(t), WorkDir: t.TempDir()}
	sc := engine.Scope("run-1", &builder.Plan{Name: "web", Dir: t.TempDir()}, "web/publish/1")
	for _, text := range all {
		if _, err := l.output(text).Publish(t.Context(), sc, builder.Artifact{}); err != nil {
			t.Fatalf("under exactly the policy: %v", err)
		}
	}
	permittest.Covers(t, l.Sandbox, doc)
	permittest.Needed(t, l.Sandbox, doc, map[string]string{"ec2:DeleteVolume": "a volume that a run has made and not finished"})
	if _, err := l.output(`{"name": "other", "size": 5, "region": "eu-west-1", "zone": "eu-west-1a"}`).Publish(t.Context(), sc, builder.Artifact{}); err == nil {
		t.Error("a volume of another name was made")
	}
}
