package image_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/google/go-cmp/cmp"

	"bake/builder"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/permit"
	"bake/templates"
)

// statements is what the outputs of a run ask for.
func (r *run) statements() []permit.Statement {
	r.w.t.Helper()
	var all []permit.Statement
	for _, s := range r.plan.Builds[0].Steps {
		if s.Phase != builder.Publish {
			continue
		}
		out := r.w.catalog().Outputs[s.Kind]()
		block, err := templates.FromJSON(s.Config, s.Pos, r.env)
		if err != nil {
			r.w.t.Fatal(err)
		}
		if err := templates.Decode(block, out).Err(); err != nil {
			r.w.t.Fatal(err)
		}
		all = append(all, out.(permit.Asker).Permissions(permit.Env{Plan: r.plan, Build: "web", Home: amazon.Access{Region: home}})...)
	}
	return all
}

// limited is a world whose runs are a user's that may do only what a policy
// allows. The policy is the document without its nth statement.
func limited(t *testing.T, outputs string, without int) (*world, *run, permit.Document) {
	w := &world{t: t, box: sandboxtest.Start(t), now: firstTime}
	w.restart()
	w.register("web", "", nil)
	w.publishAway("web")
	w.frozen(temporary, "")
	r := w.newRun(outputs)
	doc := permit.Merge(r.statements())
	allowed := doc
	if without >= 0 {
		allowed.Statements = slices.Delete(slices.Clone(doc.Statements), without, without+1)
	}
	text, err := json.Marshal(allowed)
	if err != nil {
		t.Fatal(err)
	}
	admin, name := iam.NewFromConfig(sandboxtest.Config(w.box, home)), "ci"
	must[*iam.CreateUserOutput](t)(admin.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name}))
	policy := string(text)
	must[*iam.PutUserPolicyOutput](t)(admin.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &name, PolicyName: &name, PolicyDocument: &policy}))
	key := must[*iam.CreateAccessKeyOutput](t)(admin.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &name})).AccessKey
	for k, v := range map[string]string{"AWS_ENDPOINT_URL": w.box.URL, "AWS_ACCESS_KEY_ID": *key.AccessKeyId, "AWS_SECRET_ACCESS_KEY": *key.SecretAccessKey,
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true", "AWS_PROFILE": "", "AWS_SESSION_TOKEN": "", "AWS_REGION": home} {
		t.Setenv(k, v)
	}
	w.cloud = amazon.New(amazon.Options{})
	w.box.Faults.Forget()
	return w, r, doc
}

// policyOutputs use every feature that has a statement of its own.
const policyOutputs = `
  - ami:
      name: web
      description: the site
      tags: {app: web}
      if_exists: replace
      launch_permissions: {accounts: ["444455556666"]}
      regions: [us-east-1]
      deprecate_after: 90d
      deregistration_protection: true
  - ssm_parameter: {name: /web/1, promote: /web/latest}
  - launch_template: {name: web, create: {type: t3.small}}
`

// namingOutputs give the image another name, without replacing one.
const namingOutputs = `
  - ami: {name: web-2, tags: {app: web}, launch_permissions: {accounts: ["444455556666"]}, regions: [us-east-1]}
  - launch_template: {name: web, create: {type: t3.small}}
`

func TestThePolicyIsEnoughAndEachOfItsStatementsIsNeeded(t *testing.T) {
	for _, c := range []struct {
		name, outputs string
		idle          []string // statements for what does not happen here
	}{
		{"replace", policyOutputs, []string{
			"AskAboutKeys",                                 // of snapshots that are encrypted
			"RemoveOwnImages", "TagImages", "TagNewImages", // ReplaceImages allows that too
			"RemoveOwnLaunchTemplates", "ChangeLaunchTemplates", // after a crash, and when there is one
		}},
		{"name", namingOutputs, []string{"AskAboutKeys", "RemoveOwnLaunchTemplates", "ChangeLaunchTemplates"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, r, doc := limited(t, c.outputs, -1)
			if _, err := r.do(t.Context(), nil); err != nil {
				t.Fatalf("under exactly the policy: %v", err)
			}
			for _, call := range w.box.Faults.Calls() {
				action := call.Service + ":" + call.Action
				if strings.HasSuffix(call.Caller, ":user/ci") && action != "sts:GetCallerIdentity" && !slices.Contains(doc.Actions(), action) {
					t.Errorf("%s was called and is not in the policy", action)
				}
			}
			for n, s := range doc.Statements {
				if slices.Contains(c.idle, s.Sid) {
					continue
				}
				t.Run("without "+s.Sid, func(t *testing.T) {
					_, r, _ := limited(t, c.outputs, n)
					if _, err := r.do(t.Context(), nil); err == nil {
						t.Errorf("it works without %+v", s)
					}
				})
			}
		})
	}
}

func TestADenialNamesTheStatementToAdd(t *testing.T) {
	_, _, doc := limited(t, policyOutputs, -1)
	n := slices.IndexFunc(doc.Actions(), func(a string) bool { return a == "ec2:CopyImage" })
	if n < 0 {
		t.Fatal("ec2:CopyImage is not in the policy")
	}
	for i, s := range doc.Statements {
		if s.Sid == "CopyImages" {
			_, r, _ := limited(t, policyOutputs, i)
			_, err := r.do(t.Context(), nil)
			if err == nil || !strings.Contains(fmt.Sprint(err), "CopyImage") {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestThePolicyGrowsWithWhatTheTemplateAsksFor(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		outputs string
		more    []string
	}{
		{"  - ami: {name: web}\n", nil},
		{"  - ami: {name: web, deprecate_after: 90d}\n", []string{"ec2:DisableImageDeprecation", "ec2:EnableImageDeprecation"}},
		{"  - ami: {name: web, launch_permissions: {public: true}}\n", []string{"ec2:GetImageBlockPublicAccessState", "kms:DescribeKey"}},
		{"  - ami: {name: web, regions: [us-east-1]}\n", []string{"ec2:CopyImage"}},
		{"  - ami: {name: web, regions: [{region: us-east-1, kms_key: alias/x}]}\n", []string{"ec2:CopyImage", "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ListGrants", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:RevokeGrant"}},
		{"  - ami: {name: web, keep: 3}\n", []string{"ec2:DescribeInstances", "ec2:DescribeLaunchTemplateVersions"}},
	} {
		base := permit.Merge(w.newRun("  - ami: {name: web}\n").statements()).Actions()
		got := permit.Merge(w.newRun(c.outputs).statements()).Actions()
		got = slices.DeleteFunc(got, func(a string) bool { return slices.Contains(base, a) })
		if diff := cmp.Diff(c.more, got); diff != "" && len(c.more)+len(got) > 0 {
			t.Errorf("%s: %s", c.outputs, diff)
		}
	}
}
