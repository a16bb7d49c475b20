package ami_test

import (
	"testing"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/ami"
	"bake/steps/amazon/image"
	"bake/steps/amazon/permit"
	"bake/steps/amazon/permit/permittest"
	"bake/templates"
)

// policyTemplate builds, tests, shares and copies an AMI.
const policyTemplate = `
name: web
source: {ami: {owner: amazon, name: "al2023-ami-2023.*-x86_64"}}
steps:
  - script: echo one >>/log
tests:
  - script: test -s /log
outputs:
  - ami: {name: web-1, tags: {app: web}, launch_permissions: {accounts: ["444455556666"]}, regions: [eu-west-1]}
`

// policyOf is the policy of a plan, as bake policy prints it.
func policyOf(t *testing.T, p *builder.Plan, cat builder.Catalog) permit.Document {
	t.Helper()
	var all []permit.Statement
	for _, s := range p.Builds[0].Steps {
		var kind any
		switch s.Phase {
		case builder.Open:
			kind = cat.Sources[s.Kind]()
		case builder.Publish:
			kind = cat.Outputs[s.Kind]()
		default:
			continue
		}
		block, err := templates.FromJSON(s.Config, s.Pos, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := templates.Decode(block, kind).Err(); err != nil {
			t.Fatal(err)
		}
		all = append(all, kind.(permit.Asker).Permissions(permit.Env{Plan: p, Build: "web", Home: amazon.Access{Region: region}, Account: sandboxtest.Account})...)
	}
	return permit.Merge(all)
}

// as makes the runs that follow those of a user with a policy.
func (w *world) as(doc permit.Document) builder.Catalog {
	w.t.Helper()
	cloud := permittest.Limit(w.t, w.sandbox, doc)
	w.t.Setenv("AWS_REGION", region)
	cat := w.process()
	cat.Sources = map[string]func() builder.Source{"ami": ami.New(cloud)}
	cat.Outputs = image.Outputs(image.Deps{Cloud: cloud})
	cat.Cleaners = ami.Cleaners(cloud)
	for kind, c := range image.Cleaners(image.Deps{Cloud: cloud}) {
		cat.Cleaners[kind] = c
	}
	return cat
}

// builds runs a template with a catalog, as a new process.
func (w *world) builds(run builder.RunID, cat builder.Catalog, text string) error {
	w.t.Helper()
	e, p := &builder.Engine{Catalog: cat, Journal: new(buildertest.Memory), Sink: w, WorkDir: w.t.TempDir(), Env: new(templates.Env)}, w.compile(text)
	if err := e.Pin(w.t.Context(), run, p); err != nil {
		return err
	}
	_, err := e.Run(w.t.Context(), run, p)
	return err
}

// retested fails in its tests, and changed is the same image with less said of it.
const (
	retested = `
name: web
source: {ami: {owner: amazon, name: "al2023-ami-2023.*-x86_64"}}
steps:
  - script: echo one >>/log
tests:
  - script: exit 1
outputs:
  - ami: {name: web-1}
`
	changed = `
name: web
source: {ami: {owner: amazon, name: "al2023-ami-2023.*-x86_64"}}
steps:
  - script: echo one >>/log
tests:
  - script: test -s /log
outputs:
  - ami: {name: web-1, regions: [eu-west-1]}
`
)

func TestAWholeBuildWorksUnderThePolicyThatIsPrintedAndNeedsAllOfIt(t *testing.T) {
	w := newWorld(t)
	doc := policyOf(t, w.compile(policyTemplate), w.process())
	cat := w.as(doc)
	if err := w.builds("failed", cat, retested); err == nil {
		t.Error("a test that fails does not fail the build")
	}
	w.wantOnly("after a build that failed")
	for _, run := range []builder.RunID{"made", "repaired"} {
		text := map[builder.RunID]string{"made": policyTemplate, "repaired": changed}[run]
		if err := w.builds(run, cat, text); err != nil {
			t.Fatalf("%s under exactly the policy: %v", run, err)
		}
	}
	w.wantOnly("after the builds", "image web-1 available ready", "snapshot", "image web-1 available ready in eu-west-1", "snapshot in eu-west-1")
	permittest.Covers(t, w.sandbox, doc)
	permittest.Needed(t, w.sandbox, doc, map[string]string{
		"kms:DescribeKey":            "asked of the keys of encrypted snapshots",
		"ec2:DescribeKeyPairs":       "looked up after a crash between intent and answer",
		"ec2:DescribeSecurityGroups": "looked up after a crash between intent and answer",
		"ec2:GetConsoleOutput":       "shown when SSH does not answer",
		"ec2:RegisterImage":          "an image that was made under another name",
	})
}

func TestABuildFailsWithoutAStatementOfItsPolicy(t *testing.T) {
	for _, sid := range []string{"StartMachines", "MakeImages", "CopyImages"} {
		t.Run(sid, func(t *testing.T) {
			w := newWorld(t)
			doc := permittest.Without(t, policyOf(t, w.compile(policyTemplate), w.process()), sid)
			if err := w.builds("r1", w.as(doc), policyTemplate); err == nil {
				t.Error("it works without it")
			}
		})
	}
}
