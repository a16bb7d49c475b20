// Package permittest holds policies against the calls that are made in a
// sandbox: what runs there is a user who may do what a policy allows.
package permittest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"bake/builder"
	"bake/internal/sandbox"
	"bake/internal/sandbox/policy"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/permit"
)

const region, user = "eu-west-1", "ci"

// Document is the policy of one output of a template of the name, in the
// sandbox's account.
func Document(template string, out builder.Output) permit.Document {
	return permit.Merge(out.(permit.Asker).Permissions(permit.Env{Plan: &builder.Plan{Name: template}, Account: sandboxtest.Account}))
}

// Limit makes callers that use the environment's credentials a user who may do
// what the policy allows and nothing else. What was called before is forgotten.
func Limit(t *testing.T, box *sandbox.Sandbox, doc permit.Document) *amazon.Cloud {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	name, policy := user, string(text)
	admin := iam.NewFromConfig(sandboxtest.Config(box, region))
	if _, err := admin.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name}); err != nil && !amazon.IsCode(err, "EntityAlreadyExists") {
		t.Fatal(err)
	}
	if _, err := admin.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &name, PolicyName: &name, PolicyDocument: &policy}); err != nil {
		t.Fatal(err)
	}
	old, err := admin.ListAccessKeys(t.Context(), &iam.ListAccessKeysInput{UserName: &name})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range old.AccessKeyMetadata { // a user may have two
		if _, err := admin.DeleteAccessKey(t.Context(), &iam.DeleteAccessKeyInput{UserName: &name, AccessKeyId: k.AccessKeyId}); err != nil {
			t.Fatal(err)
		}
	}
	key, err := admin.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"AWS_ENDPOINT_URL": box.URL, "AWS_ACCESS_KEY_ID": *key.AccessKey.AccessKeyId, "AWS_SECRET_ACCESS_KEY": *key.AccessKey.SecretAccessKey,
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true", "AWS_PROFILE": "", "AWS_SESSION_TOKEN": "", "AWS_REGION": region} {
		t.Setenv(k, v)
	}
	box.Faults.Forget()
	box.Services.Rights.Begin()
	return amazon.New(amazon.Options{})
}

// LimitRole lets the user take a role of an account (both are made if need be)
// that may do what a policy allows and nothing else. It returns the role's ARN.
func LimitRole(t *testing.T, box *sandbox.Sandbox, account, name string, doc permit.Document) string {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	policy, trust := string(text), `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+sandboxtest.Account+`:root"},"Action":"sts:AssumeRole"}]}`
	admin := iam.NewFromConfig(sandboxtest.ConfigAs(box, region, account, "secret", ""))
	if _, err := admin.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust}); err != nil && !amazon.IsCode(err, "EntityAlreadyExists") {
		t.Fatal(err)
	}
	if _, err := admin.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &name, PolicyName: &name, PolicyDocument: &policy}); err != nil {
		t.Fatal(err)
	}
	return "arn:aws:iam::" + account + ":role/" + name
}

// Covers fails the test if the user called what the policy does not name, or if
// the user called nothing.
func Covers(t *testing.T, box *sandbox.Sandbox, doc permit.Document) {
	t.Helper()
	var called []string
	for _, c := range box.Faults.Calls() {
		if action := name(c.Service) + ":" + c.Action; strings.HasSuffix(c.Caller, ":user/"+user) && action != "sts:GetCallerIdentity" {
			called = append(called, action)
		}
	}
	slices.Sort(called)
	for _, action := range slices.Compact(called) {
		if !slices.Contains(doc.Actions(), action) {
			t.Errorf("%s was called and is not in the policy", action)
		}
	}
	if len(called) == 0 {
		t.Error("nothing was called as the user of the policy")
	}
}

// Needed fails the test for each action of the policy that was not asked for
// since Limit, and has no reason in idle: why it is there, by "Sid action" or by
// the action alone. It fails too if a reason is given for what was asked for
// and nothing else of the policy would have allowed.
func Needed(t *testing.T, box *sandbox.Sandbox, doc permit.Document, idle map[string]string) {
	t.Helper()
	needed(t, box, doc, permit.Document{}, idle, isUser)
}

// NeededBeyond is Needed for what another policy does not have.
func NeededBeyond(t *testing.T, box *sandbox.Sandbox, doc, base permit.Document, idle map[string]string) {
	t.Helper()
	needed(t, box, doc, base, idle, isUser)
}

func isUser(arn string) bool { return strings.HasSuffix(arn, ":user/"+user) }

// NeededByRole is Needed for the policy of a role, by its name.
func NeededByRole(t *testing.T, box *sandbox.Sandbox, role string, doc permit.Document, idle map[string]string) {
	t.Helper()
	needed(t, box, doc, permit.Document{}, idle, func(arn string) bool { return strings.Contains(arn, ":assumed-role/"+role+"/") })
}

func needed(t *testing.T, box *sandbox.Sandbox, doc, base permit.Document, idle map[string]string, whose func(arn string) bool) {
	t.Helper()
	use := uses(t, box, doc, whose)
	reasons, others := map[string]bool{}, map[Part]bool{}
	for _, p := range Beyond(base, permit.Document{}) {
		others[p] = true
	}
	for i, s := range doc.Statements {
		for _, action := range s.Action {
			if others[Part{s.Sid, action}] {
				continue
			}
			key := s.Sid + " " + action
			for _, k := range []string{key, action} {
				if _, ok := idle[k]; !ok {
					continue
				}
				reasons[k] = true
				if use[i][action] && k == key {
					t.Errorf("%s was needed, and is said not to be: %s", k, idle[k])
				}
			}
			if !use[i][action] && idle[key] == "" && idle[action] == "" {
				t.Errorf("%s is in the policy, and nothing would have been refused without it", key)
			}
		}
	}
	for k := range idle {
		if !reasons[k] {
			t.Errorf("a reason is given for %s, which is not in the policy", k)
		}
	}
}

// uses tells for each statement which of its actions allowed a caller something
// that no other statement does.
func uses(t *testing.T, box *sandbox.Sandbox, doc permit.Document, whose func(arn string) bool) []map[string]bool {
	t.Helper()
	var parsed []*policy.Document
	use := make([]map[string]bool, len(doc.Statements))
	for i, s := range doc.Statements {
		use[i] = map[string]bool{}
		text, err := json.Marshal(permit.Document{Version: doc.Version, Statements: []permit.Allowed{s}})
		if err != nil {
			t.Fatal(err)
		}
		d, err := policy.Parse(string(text))
		if err != nil {
			t.Fatalf("statement %s: %v", s.Sid, err)
		}
		parsed = append(parsed, d)
	}
	for _, made := range box.Services.Rights.Decisions() {
		if !whose(made.Caller) {
			continue
		}
		var by []int
		for i, d := range parsed {
			if policy.Decide([]*policy.Document{d}, made.Request) == policy.Allowed {
				by = append(by, i)
			}
		}
		switch len(by) {
		case 0:
			t.Errorf("%s on %s was refused", made.Request.Action, made.Request.Resource)
		case 1:
			use[by[0]][made.Request.Action] = true
		}
	}
	return use
}

// name is what a service's actions begin with in policies.
func name(service string) string {
	if service == "monitoring" {
		return "cloudwatch"
	}
	return service
}

// Without is the policy without the statements of a Sid. The test fails if
// there are none.
func Without(t *testing.T, doc permit.Document, sid string) permit.Document {
	t.Helper()
	less := doc
	less.Statements = slices.DeleteFunc(slices.Clone(doc.Statements), func(s permit.Allowed) bool { return s.Sid == sid })
	if len(less.Statements) == len(doc.Statements) {
		t.Fatalf("the policy has no statement %s", sid)
	}
	return less
}

// A Part is one action of one statement of a policy.
type Part struct{ Sid, Action string }

// Beyond returns the parts of a policy that another has not.
func Beyond(doc, base permit.Document) []Part {
	known := map[Part]bool{}
	for _, s := range base.Statements {
		for _, a := range s.Action {
			known[Part{s.Sid, a}] = true
		}
	}
	var more []Part
	for _, s := range doc.Statements {
		for _, a := range s.Action {
			if p := (Part{s.Sid, a}); !known[p] {
				known[p] = true
				more = append(more, p)
			}
		}
	}
	return more
}

// WithoutPart is the policy without a part of it.
func WithoutPart(doc permit.Document, p Part) permit.Document {
	less := permit.Document{Version: doc.Version}
	for _, s := range doc.Statements {
		if s.Sid == p.Sid {
			s.Action = slices.DeleteFunc(slices.Clone(s.Action), func(a string) bool { return a == p.Action })
		}
		if len(s.Action) > 0 {
			less.Statements = append(less.Statements, s)
		}
	}
	return less
}
