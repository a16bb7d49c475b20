package image_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"bake/steps/amazon"
)

func TestASecondRunChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.frozen("web-1", "")
	outputs := `
  - ami:
      name: web-1
      description: the site
      tags: {app: web}
      snapshot_tags: {kind: disk}
      launch_permissions: {accounts: ["444455556666"], organizations: ["arn:aws:organizations::111122223333:organization/o-abcdefghij"]}
      regions: [us-east-1]
      deprecate_after: 90d
      deregistration_protection: true
`
	first := w.publish(outputs)
	if first.Unchanged || first.Values["id"] != w.ami.ID || first.Values[away] == "" {
		t.Errorf("the first run: %+v", first)
	}
	w.calls()
	second := w.publish(outputs)
	if !second.Unchanged {
		t.Errorf("the second run: %+v", second)
	}
	if diff := cmp.Diff(map[string]int{}, w.calls()); diff != "" {
		t.Errorf("the second run changed something: %s", diff)
	}
	for _, region := range []string{home, away} {
		i := w.only(region, "web-1")
		if aws.ToString(i.Description) != "the site" || i.ImdsSupport != types.ImdsSupportValuesV20 || aws.ToString(i.DeprecationTime) == "" || aws.ToString(i.DeregistrationProtection) != "enabled-without-cooldown" {
			t.Errorf("%s: %+v", region, i)
		}
		if got := tags(i.Tags); got[amazon.TagState] != "ready" || got[amazon.TagKey] != "sha256:web-1" || got[amazon.TagExpires] != "" {
			t.Errorf("%s: tags %v", region, got)
		}
		if diff := cmp.Diff(map[string]string{"Name": "web-1", "app": "web"}, userTags(i.Tags)); diff != "" {
			t.Errorf("%s: %s", region, diff)
		}
		if diff := cmp.Diff([]string{"444455556666", "arn:aws:organizations::111122223333:organization/o-abcdefghij"}, w.permissions(w.ec2(region), *i.ImageId)); diff != "" {
			t.Errorf("%s: %s", region, diff)
		}
		if diff := cmp.Diff([]string{"444455556666"}, w.volumePermissions(w.ec2(region), i)); diff != "" {
			t.Errorf("%s: %s", region, diff)
		}
		for _, s := range w.snapshots(w.ec2(region)) {
			if diff := cmp.Diff(map[string]string{"Name": "web-1", "app": "web", "kind": "disk"}, userTags(s.Tags)); diff != "" {
				t.Errorf("%s: snapshot: %s", region, diff)
			}
		}
	}
}

func TestWhatIsTakenOutOfTheTemplateIsRemoved(t *testing.T) {
	w := newWorld(t)
	w.frozen("web-1", "")
	w.publish(`
  - ami:
      name: web-1
      description: the site
      tags: {app: web, team: ops}
      launch_permissions: {accounts: ["444455556666", "777788889999"], organizational_units: ["arn:aws:organizations::111122223333:ou/o-abcdefghij/ou-ab12-abcdefgh"]}
      regions: [us-east-1]
      deprecate_after: 90d
      deregistration_protection: true
`)
	_, err := w.ec2(home).CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{w.ami.ID}, Tags: []types.Tag{{Key: aws.String("cost"), Value: aws.String("42")}}})
	if err != nil {
		t.Fatal(err)
	}
	got := w.publish(`
  - ami:
      name: web-1
      tags: {app: web2}
      launch_permissions: {accounts: ["777788889999"]}
      regions: [us-east-1]
`)
	if got.Unchanged {
		t.Error("it is told that nothing has changed")
	}
	for _, region := range []string{home, away} {
		i := w.only(region, "web-1")
		if i.DeprecationTime != nil || aws.ToString(i.DeregistrationProtection) == "enabled-without-cooldown" || aws.ToString(i.Description) != "" {
			t.Errorf("%s: %+v", region, i)
		}
		want := map[string]string{"Name": "web-1", "app": "web2"}
		if region == home {
			want["cost"] = "42" // somebody else's tag
		}
		if diff := cmp.Diff(want, userTags(i.Tags)); diff != "" {
			t.Errorf("%s: %s", region, diff)
		}
		if diff := cmp.Diff([]string{"777788889999"}, w.permissions(w.ec2(region), *i.ImageId)); diff != "" {
			t.Errorf("%s: %s", region, diff)
		}
		if diff := cmp.Diff([]string{"777788889999"}, w.volumePermissions(w.ec2(region), i)); diff != "" {
			t.Errorf("%s: %s", region, diff)
		}
	}
}

func TestANameWithTheRunInItMakesNoNewImageEachNight(t *testing.T) {
	w := newWorld(t)
	w.frozen("web-20270130-093000", "")
	outputs := `
  - ami: {name: "web-${{ run.timestamp }}", description: "built ${{ run.id }}", tags: {run: "${{ run.timestamp }}"}, regions: [us-east-1]}
`
	first := w.publish(outputs)
	w.calls()
	second := w.publish(outputs)
	if first.Values["id"] != w.ami.ID || !second.Unchanged || second.Values["name"] != "web-20270130-093000" {
		t.Errorf("%+v, then %+v", first, second)
	}
	if diff := cmp.Diff(map[string]int{}, w.calls()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"web-20270130-093000"}, names(w.images(w.ec2(away)))); diff != "" {
		t.Errorf("a copy has the name of what it is a copy of: %s", diff)
	}
}

func TestANewNameOnAnUnchangedImageGivesItUnderThatName(t *testing.T) {
	w := newWorld(t)
	w.frozen("web-1.0", "")
	w.publish("  - ami: {name: web-1.0, regions: [us-east-1]}\n")
	got := w.publish("  - ami: {name: web-1.1, regions: [us-east-1]}\n")
	for _, region := range []string{home, away} {
		if diff := cmp.Diff([]string{"web-1.0", "web-1.1"}, names(w.images(w.ec2(region)))); diff != "" {
			t.Errorf("%s: %s", region, diff)
		}
		if n := len(w.snapshots(w.ec2(region))); n != 1 {
			t.Errorf("%s: %d snapshots: the data has been copied", region, n)
		}
	}
	if got.Values["id"] == w.ami.ID || got.Artifact == nil || got.Artifact.AMI.ID != got.Values["id"] {
		t.Errorf("%+v", got)
	}
	w.calls()
	if got := w.publish("  - ami: {name: web-1.1, regions: [us-east-1]}\n"); !got.Unchanged {
		t.Errorf("%+v", got)
	}
}
