package steps_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"bake/builder"
	"bake/steps"
	"bake/steps/container"
)

func TestEveryKeyOfEveryKindIsExplained(t *testing.T) {
	kinds := map[string]any{}
	for name, make := range steps.Sources(steps.Deps{}) {
		kinds["source "+name] = make()
	}
	for name, make := range steps.Outputs(steps.Deps{}) {
		kinds["output "+name] = make()
	}
	if len(kinds) < 10 {
		t.Fatalf("only %d kinds", len(kinds))
	}
	for name, kind := range kinds {
		main := 0
		for _, f := range reflect.VisibleFields(reflect.TypeOf(kind).Elem()) {
			key, isKey := f.Tag.Lookup("yaml")
			if !isKey {
				continue
			}
			if doc := f.Tag.Get("doc"); doc == "" || doc[len(doc)-1] != '.' {
				t.Errorf("%s: %s: doc is %q, want a sentence", name, key, doc)
			}
			if tag := f.Tag.Get("bake"); tag != "" {
				main++
			}
		}
		if main == 0 {
			t.Errorf("%s has no short form", name)
		}
	}
}

func TestSourcesOfContainersCanBeCachedAndOutputsTellWhatTheyTake(t *testing.T) {
	for name, make := range container.Sources(container.Deps{}) {
		src := make()
		if _, ok := src.(builder.Snapshotter); !ok {
			t.Errorf("%s saves no snapshots", name)
		}
		if _, ok := src.(builder.Cacher); !ok {
			t.Errorf("%s finds no earlier images", name)
		}
	}
	for name, make := range steps.Outputs(steps.Deps{}) {
		var got []builder.ArtifactKind
		for _, kind := range []builder.ArtifactKind{builder.ImageArtifact, builder.AMIArtifact, builder.HostArtifact} {
			if make().Accepts(kind) {
				got = append(got, kind)
			}
		}
		want, ok := takes[name]
		if !ok {
			want = []builder.ArtifactKind{builder.ImageArtifact}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s takes %v, want %v", name, got, want)
		}
	}
}

// takes is what outputs take that are not for container images alone.
var takes = map[string][]builder.ArtifactKind{
	"manifest": {builder.ImageArtifact, builder.AMIArtifact, builder.HostArtifact},
	"instance": {builder.AMIArtifact},
	"volume":   {builder.ImageArtifact, builder.AMIArtifact, builder.HostArtifact},
	"keypair":  {builder.ImageArtifact, builder.AMIArtifact, builder.HostArtifact},

	"ami":             {builder.AMIArtifact},
	"ssm_parameter":   {builder.AMIArtifact},
	"launch_template": {builder.AMIArtifact},
}

func TestCleanersOfAllEnginesAreListed(t *testing.T) {
	d := steps.Deps{Cleaners: []map[string]builder.Cleaner{{"workspace": nil}, {"container": nil}}}
	got := steps.Cleaners(d)
	for _, kind := range []string{"workspace", "container", "ami-copy", "launch-template", "ecr-repository", "ecr-public-repository"} {
		if _, ok := got[kind]; !ok {
			t.Errorf("no cleaner of %s: %v", kind, fmt.Sprint(got))
		}
	}
}
