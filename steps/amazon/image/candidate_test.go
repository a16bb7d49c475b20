package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bake/builder"
	"bake/templates"
)

// machine is a source that makes AMIs, for templates in tests.
type machine struct {
	builder.Source
	ID string `yaml:"id" bake:"main" doc:"Source AMI."`
}

func (*machine) Makes() builder.ArtifactKind { return builder.AMIArtifact }

func testCatalog() builder.Catalog {
	return builder.Catalog{
		Sources: map[string]func() builder.Source{"machine": func() builder.Source { return new(machine) }},
		Outputs: Outputs(Deps{}),
	}
}

// planOf compiles a template for a run at a time, which may be wrong.
func planOf(t *testing.T, text string, run builder.RunID, now time.Time) (*builder.Plan, templates.Diagnostics) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bake.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tmpl, diags := templates.Parse(file, testCatalog().Language(), templates.Options{RunID: string(run), Now: now, Environ: []string{"TOKEN=s3cret"}})
	if tmpl == nil {
		return nil, diags
	}
	p, more := builder.Compile(tmpl, testCatalog())
	p.Created, p.Run = now, tmpl.Env.Run()
	return p, append(diags, more...)
}

func plan(t *testing.T, text string) *builder.Plan {
	t.Helper()
	p, diags := planOf(t, text, "20270131-120000-ab2d", time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCandidateIsWhatTheOutputSays(t *testing.T) {
	p := plan(t, `
name: web
source: {machine: ami-1}
outputs:
  - ami:
      name: web-${{ run.timestamp }}
      description: the site
      tags: {app: web}
      snapshot_tags: {app: web-disk}
      encrypt: true
      kms_key: alias/images
      if_exists: replace
`)
	got, err := Candidate(p, "web")
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	want := CandidateSpec{
		Name: "web-20270131-120000", Description: "the site",
		Tags:         map[string]string{"Name": "web-20270131-120000", "app": "web", TagTags: noteOf("Name") + noteOf("app") + noteOf(notedDescription)},
		SnapshotTags: map[string]string{"Name": "web-20270131-120000", "app": "web-disk", TagTags: noteOf("Name") + noteOf("app")},
		Encrypt:      &yes, KMSKey: "alias/images", IfExists: IfExistsReplace,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCandidateWithoutAnOutputThatIsSureHasADerivedName(t *testing.T) {
	for name, outputs := range map[string]string{
		"no output":          "",
		"may not run":        "outputs: [{ami: {name: other}, if: '${{ source.arch == \"arm64\" }}'}]",
		"its name is secret": "outputs: [{ami: {name: 'x-${{ var.token }}'}}]",
	} {
		t.Run(name, func(t *testing.T) {
			p := plan(t, "name: web\nvariables: {token: {env: TOKEN, sensitive: true}}\nsource: {machine: ami-1}\n"+outputs+"\n")
			got, err := Candidate(p, "web")
			if err != nil {
				t.Fatal(err)
			}
			if !got.Derived || got.Name != "web-20270131-120000" {
				t.Errorf("got %q, derived %v", got.Name, got.Derived)
			}
		})
	}
}

func TestDerivedNamesAreOnesThatAWSTakes(t *testing.T) {
	for _, build := range []string{"web", strings.Repeat("long", 60), "änderung"} {
		p := &builder.Plan{Name: "ünï", Run: map[string]string{"timestamp": "20270131-120000"}}
		if err := CheckName(derivedName(p, build)); err != nil {
			t.Error(err)
		}
	}
}

func TestATextWithTheRunInItDoesNotChangeWithTheRun(t *testing.T) {
	p := &builder.Plan{Run: map[string]string{"id": "20270131-120000-ab2d", "timestamp": "20270131-120000"}}
	for _, c := range []struct {
		text, have string
		same       bool
	}{
		{"web-1.4.2", "web-1.4.2", true},
		{"web-1.4.2", "web-1.4.3", false},
		{"web-20270131-120000", "web-20270130-093000", true},
		{"web-1.5-20270131-120000", "web-1.4-20270130-093000", false},
		{"web-20270131-120000-ab2d", "web-20270130-093000-x3zz", true},
		{"web-20270131-120000-ab2d", "web-20270130-093000", false},
		{"web-20270131", "web-20270130", true},
		{"web-20270131-120000", "web-20270130-093000-arm", false},
		{"web-20270131-120000", "web-latest", false},
		{"a.b-20270131", "axb-20270130", false},
	} {
		if got := newWording(p, c.text).matches(c.have); got != c.same {
			t.Errorf("%q and %q: same is %v, want %v", c.text, c.have, got, c.same)
		}
	}
	short := &builder.Plan{Run: map[string]string{"id": "r1", "timestamp": "20270131-120000"}}
	if !newWording(short, "web-r1").matches("web-z9") || newWording(short, "web-r1").matches("web-longer") {
		t.Error("an id of another form is not recognized")
	}
}

func TestATemporaryNameIsAnotherOneThatAWSTakes(t *testing.T) {
	for _, name := range []string{"web", strings.Repeat("x", nameMax)} {
		got := TemporaryName(name, "0123456789abcdef0123456789abcdef")
		if err := CheckName(got); err != nil || got == name {
			t.Errorf("%q: %v", got, err)
		}
	}
}

func TestValidateTellsWhatAWSWouldRefuse(t *testing.T) {
	for _, c := range []struct{ name, ami, want string }{
		{"characters", `{name: "web:1.0"}`, `has ':' in it`},
		{"too short", `{name: ab}`, "too short"},
		{"too long", `{name: ` + strings.Repeat("x", 129) + `}`, "129 characters"},
		{"reserved tag", `{name: web, tags: {"aws:x": y}}`, "AWS's own"},
		{"bake's tag", `{name: web, tags: {"bake:key": y}}`, "bake's own"},
		{"long value", `{name: web, tags: {a: ` + strings.Repeat("x", 257) + `}}`, "longer than 256"},
		{"account", `{name: web, launch_permissions: {accounts: ["123"]}}`, "accounts"},
		{"organization", `{name: web, launch_permissions: {organizations: [o-abcdefghij]}}`, "organizations"},
		{"key", `{name: web, kms_key: images}`, "does not name a KMS key"},
		{"key but not encrypted", `{name: web, encrypt: false, kms_key: alias/images}`, "exclude each other"},
		{"key of one region", `{name: web, kms_key: 01234567-0123-0123-0123-0123456789ab, regions: [eu-west-1]}`, "is of one region only"},
		{"decrypted copy", `{name: web, encrypt: true, regions: [{region: eu-west-1, encrypt: false}]}`, "always encrypted"},
		{"twice", `{name: web, regions: [eu-west-1, eu-west-1]}`, "two copies in eu-west-1"},
		{"not a region", `{name: web, regions: [ireland]}`, "region"},
		{"date", `{name: web, deprecate_at: soon}`, "is not a time"},
		{"two dates", `{name: web, deprecate_at: 2027-01-31, deprecate_after: 30d}`, "exclude each other"},
		{"tpm", `{name: web, tpm_support: v2.0}`, "needs boot_mode: uefi"},
		{"cooldown alone", `{name: web, deregistration_protection: {cooldown: true}}`, "protects nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, diags := planOf(t, "name: web\nsource: {machine: ami-1}\noutputs:\n  - ami: "+c.ami+"\n", "r1", time.Unix(0, 0))
			if err := diags.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			} else if diags[0].Pos.Line != 4 {
				t.Errorf("the place is %v", diags[0].Pos)
			}
		})
	}
}

func TestWhatNamesAKMSKey(t *testing.T) {
	const id, mrk = "1234abcd-12ab-34cd-56ef-1234567890ab", "mrk-1234abcd12ab34cd56ef1234567890ab"
	for _, name := range []string{
		id, mrk, "alias/images", "alias/team/images_1-a", "alias/aws/ebs",
		"arn:aws:kms:eu-west-1:111122223333:key/" + id, "arn:aws:kms:eu-west-1:111122223333:key/" + mrk, "arn:aws:kms:eu-west-1:111122223333:alias/images",
		"arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/" + id, "arn:aws-cn:kms:cn-north-1:111122223333:alias/images",
	} {
		if !keyName.MatchString(name) {
			t.Errorf("%s is refused", name)
		}
	}
	for _, name := range []string{"images", "alias/", "alias/a b", id[:35], id + "0", "mrk-1234", "key/images", "arn:aws:kms:eu-west-1:111122223333:images", "arn:aws:kms:eu-west-1:1111:key/" + id,
		"arn:aws:s3:eu-west-1:111122223333:key/" + id, "arn:aws:kms:eu-west-1:111122223333:" + "alias/"} {
		if keyName.MatchString(name) {
			t.Errorf("%s is taken", name)
		}
	}
	for name, elsewhere := range map[string]bool{id: false, mrk: true, "alias/images": true, "arn:aws:kms:eu-west-1:111122223333:key/" + id: false} {
		if travels(name) != elsewhere {
			t.Errorf("%s means a key in another region: %v", name, !elsewhere)
		}
	}
}
