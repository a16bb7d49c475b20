package ami_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/ami"
	"bake/steps/amazon/image"
	"bake/steps/amazon/permit"
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
		all = append(all, kind.(permit.Asker).Permissions(permit.Env{Plan: p, Build: "web"})...)
	}
	return permit.Merge(all)
}

// as makes the runs that follow those of a user with a policy.
func (w *world) as(name string, doc permit.Document) builder.Catalog {
	w.t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		w.t.Fatal(err)
	}
	admin, policy := iam.NewFromConfig(sandboxtest.Config(w.sandbox, region)), string(text)
	if _, err := admin.CreateUser(w.t.Context(), &iam.CreateUserInput{UserName: &name}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := admin.PutUserPolicy(w.t.Context(), &iam.PutUserPolicyInput{UserName: &name, PolicyName: &name, PolicyDocument: &policy}); err != nil {
		w.t.Fatal(err)
	}
	key, err := admin.CreateAccessKey(w.t.Context(), &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		w.t.Fatal(err)
	}
	for k, v := range map[string]string{"AWS_ENDPOINT_URL": w.sandbox.URL, "AWS_ACCESS_KEY_ID": *key.AccessKey.AccessKeyId, "AWS_SECRET_ACCESS_KEY": *key.AccessKey.SecretAccessKey,
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_PROFILE": "", "AWS_SESSION_TOKEN": "", "AWS_REGION": region} {
		w.t.Setenv(k, v)
	}
	cloud := amazon.New(amazon.Options{})
	cat := w.process()
	cat.Sources = map[string]func() builder.Source{"ami": ami.New(cloud)}
	cat.Outputs = image.Outputs(image.Deps{Cloud: cloud})
	cat.Cleaners = ami.Cleaners(cloud)
	for kind, c := range image.Cleaners(image.Deps{Cloud: cloud}) {
		cat.Cleaners[kind] = c
	}
	return cat
}

func TestAWholeBuildWorksUnderThePolicyThatIsPrinted(t *testing.T) {
	w := newWorld(t)
	p := w.compile(policyTemplate)
	doc := policyOf(t, p, w.process())
	cat := w.as("ci", doc)
	e := &builder.Engine{Catalog: cat, Journal: new(buildertest.Memory), Sink: w, WorkDir: w.work, Env: new(templates.Env)}
	if _, err := w.run(e, p); err != nil {
		t.Fatalf("under exactly the policy: %v", err)
	}
	w.wantOnly("after the build", "image web-1 available ready", "snapshot")
	for _, c := range w.sandbox.Faults.Calls() {
		action := c.Service + ":" + c.Action
		if strings.HasSuffix(c.Caller, ":user/ci") && action != "sts:GetCallerIdentity" && !slices.Contains(doc.Actions(), action) {
			t.Errorf("%s was called and is not in the policy", action)
		}
	}
}

func TestABuildFailsWithoutAStatementOfItsPolicy(t *testing.T) {
	for _, sid := range []string{"StartMachines", "MakeImages", "CopyImages"} {
		t.Run(sid, func(t *testing.T) {
			w := newWorld(t)
			p := w.compile(policyTemplate)
			doc := policyOf(t, p, w.process())
			n := len(doc.Statements)
			doc.Statements = slices.DeleteFunc(doc.Statements, func(s permit.Allowed) bool { return s.Sid == sid })
			if len(doc.Statements) != n-1 {
				t.Fatalf("the policy has %d statements %s", n-len(doc.Statements), sid)
			}
			e := &builder.Engine{Catalog: w.as("ci", doc), Journal: new(buildertest.Memory), Sink: w, WorkDir: w.work, Env: new(templates.Env)}
			if _, err := w.run(e, p); err == nil {
				t.Error("it works without it")
			}
		})
	}
}
