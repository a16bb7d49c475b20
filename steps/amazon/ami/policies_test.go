package ami_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"bake/builder"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps"
	"bake/steps/amazon"
	"bake/steps/amazon/permit"
	"bake/steps/amazon/permit/permittest"
)

// A feature is a template that asks for more than the tiny one, and so has a
// policy that allows more.
type feature struct {
	name, template string
	setup          func(w *world) // before; may be nil
	idle           map[string]string
	// spare is what a run does without, or whose denial is waited for: whether
	// something was made nevertheless.
	spare map[string]string
	// replayed says that the policy is held against what was asked for alone: its
	// outputs' packages run without each part.
	replayed bool
}

// features are the ways of building whose policies are their own.
func features(t *testing.T) []feature {
	private, public := newKey(t)
	machine := func(text string) string { return strings.Replace(tiny, `x86_64"}}`, `x86_64"}, `+text+`}`, 1) }
	crash, second := "after a crash between intent and answer", "a second run with another template"
	return []feature{
		{
			name: "volumes",
			template: machine(`extra_volumes: [{device: /dev/sdf, size: 1}, {device: /dev/sdg, size: 1, after: keep, name: data, encrypted: true, kms_key: alias/data},
  {device: /dev/sdh, size: 1, after: snapshot, tags: {app: web}}]`),
			setup: func(w *world) { w.key(region, "alias/data") },
			idle: map[string]string{
				"ec2:DetachVolume": "a volume whose instance lives on", "kms:ReEncryptFrom": "a snapshot under another key", "kms:ReEncryptTo": "a snapshot under another key", "kms:Decrypt": "a snapshot under a key",
			},
			spare: map[string]string{"ec2:CreateVolume": "waits", "TagNewVolumes": "waits", "kms:CreateGrant": "waits", "kms:GenerateDataKeyWithoutPlaintext": "waits", "kms:DescribeKey": "waits"},
		},
		{
			name: "machine",
			template: machine(`machine: {spot: true, profile: {policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:GetObject", Resource: "*"}]},
  policies: ["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"]}}, ssh: {via: session-manager, push_key: true}`),
			idle: map[string]string{
				"ssm:ResumeSession": "a WebSocket that broke", "iam:GetRole": crash, "iam:GetInstanceProfile": crash,
			},
			spare: map[string]string{
				"iam:AddRoleToInstanceProfile": "waits",
				"ssm:TerminateSession":         "a session ends by itself when nobody is there", "ssmmessages:OpenDataChannel": "asked for by AWS's documents",
			},
		},
		{
			name: "key pair and outputs",
			template: strings.Replace(machine(`machine: {key_pair: {name: ours, public_key: "`+public+`"}}, ssh: {key: `+private+`}`), "outputs: [{ami: web-1}]", "outputs:", 1) + `
  - ami: web-1
  - ssm_parameter: /web/latest
  - launch_template: {name: fleet, create: {type: t3.small}}
  - keypair: {name: theirs, public_key: "` + public + `", tags: {team: web}}
  - instance: {name: web-server, machine: {type: t3.small}}
  - volume: {name: web-data, size: 1, attach: "${{ outputs.instance.id }}"}
`,
			idle: map[string]string{
				"ec2:CreateLaunchTemplateVersion": second, "ec2:ModifyLaunchTemplate": second, "ec2:DescribeLaunchTemplateVersions": second, "ec2:ModifyVolume": second,
				"ec2:DeleteKeyPair": "a name that stands for another key", "TagNewKeyPairs ec2:CreateTags": "an older pair's other tags", "TagKeyPairs ec2:CreateTags": "TagNewKeyPairs allows that here",
				"ssm:ListTagsForResource": second, "ssm:RemoveTagsFromResource": second, "ec2:StartInstances": "an instance that somebody has stopped",
				"ec2:TerminateInstances": second, "ec2:GetConsoleOutput": "shown when SSH does not answer",
				"ec2:DeleteLaunchTemplate": crash, "ec2:DeleteVolume": crash,
			},
			replayed: true,
		},
	}
}

func (f feature) prepared(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	deps := steps.Deps{Amazon: amazon.New(amazon.Options{Endpoint: w.sandbox.URL})}
	w.sources, w.outputs = steps.Sources(deps), steps.Outputs(deps)
	if f.setup != nil {
		f.setup(w)
	}
	w.before = w.things()
	return w
}

// limitedTo are all kinds, for a user with a policy.
func (w *world) limitedTo(doc permit.Document) builder.Catalog {
	w.t.Helper()
	cat := w.as(doc)
	deps := steps.Deps{Amazon: permittest.Limit(w.t, w.sandbox, doc)}
	w.t.Setenv("AWS_REGION", region)
	cat.Sources, cat.Outputs, cat.Cleaners = steps.Sources(deps), steps.Outputs(deps), steps.Cleaners(deps)
	return cat
}

func (w *world) key(region, alias string) string {
	w.t.Helper()
	c := kms.NewFromConfig(sandboxtest.Config(w.sandbox, region))
	out, err := c.CreateKey(w.t.Context(), &kms.CreateKeyInput{})
	if err == nil {
		_, err = c.CreateAlias(w.t.Context(), &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: out.KeyMetadata.KeyId})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return *out.KeyMetadata.Arn
}

// hexID is the id of an instance, a volume or an interface, which no two have.
var hexID = regexp.MustCompile(`\b(i|vol|eni)-[0-9a-f]+`)

// left is what there is now and was neither there before nor is in more.
func (w *world) left(more []string) []string {
	w.t.Helper()
	counts := map[string]int{}
	for _, x := range append(slices.Clone(w.before), more...) {
		counts[hexID.ReplaceAllString(x, "$1")]++
	}
	var left []string
	for _, x := range w.things() {
		x = hexID.ReplaceAllString(x, "$1")
		if counts[x]--; counts[x] < 0 {
			left = append(left, x)
		}
	}
	return left
}

func TestEachFeatureOfAMachineWorksUnderItsPolicyAndNeedsAllOfIt(t *testing.T) {
	for _, f := range features(t) {
		t.Run(f.name, func(t *testing.T) {
			w := f.prepared(t)
			doc, base := policyOf(t, w.compile(f.template), w.process()), policyOf(t, w.compile(tiny), w.process())
			if err := w.builds("r1", w.limitedTo(doc), f.template); err != nil {
				t.Fatalf("under exactly the policy: %v", err)
			}
			permittest.Covers(t, w.sandbox, doc)
			permittest.NeededBeyond(t, w.sandbox, doc, base, f.idle)
			made := w.left(nil)
			for _, p := range permittest.Beyond(doc, base) {
				if f.idle[p.Action] != "" || f.spare[p.Action]+f.spare[p.Sid] != "" || f.replayed || testing.Short() {
					continue
				}
				t.Run("without "+p.Action+" of "+p.Sid, func(t *testing.T) {
					w := f.prepared(t)
					err := w.builds("r1", w.limitedTo(permittest.WithoutPart(doc, p)), f.template)
					if left := w.left(made); err == nil && len(left) == 0 {
						t.Error("the run works without it, and leaves nothing")
					}
				})
			}
		})
	}
}
