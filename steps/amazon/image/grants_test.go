package image_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/go-cmp/cmp"

	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/image"
	"bake/steps/amazon/permit"
	"bake/steps/amazon/permit/permittest"
)

// grantees are who has grants of a key.
func (w *world) grantees(region, arn string) []string {
	w.t.Helper()
	out := must[*kms.ListGrantsOutput](w.t)(kms.NewFromConfig(sandboxtest.Config(w.box, region)).ListGrants(w.t.Context(), &kms.ListGrantsInput{KeyId: &arn}))
	all := []string{}
	for _, g := range out.Grants {
		all = append(all, strings.TrimSuffix(strings.TrimPrefix(aws.ToString(g.GranteePrincipal), "arn:aws:iam::"), ":root"))
	}
	slices.Sort(all)
	return all
}

const sharedOutputs = `
  - ami:
      name: web
      kms_key: alias/images
      launch_permissions: {accounts: ["444455556666", "777788889999"]}
      regions: [us-east-1]
`

func TestAnEncryptedImageIsSharedWithItsKeyInEachRegionAndTakenBackWithIt(t *testing.T) {
	w := newWorld(t)
	keys := map[string]string{home: w.key(home, "alias/images"), away: w.key(away, "alias/images")}
	w.frozen("web", "alias/images")
	both := []string{"444455556666", "777788889999"}
	check := func(when string, want []string) {
		t.Helper()
		for region, arn := range keys {
			if diff := cmp.Diff(want, w.grantees(region, arn)); diff != "" {
				t.Errorf("%s, in %s: %s", when, region, diff)
			}
		}
	}
	w.publish(sharedOutputs)
	check("shared", both)
	// The other account can copy it now, which needs its key.
	theirs := ec2.NewFromConfig(sandboxtest.ConfigAs(w.box, home, "444455556666", "any", ""))
	if _, err := theirs.CopyImage(t.Context(), &ec2.CopyImageInput{Name: aws.String("mine"), SourceImageId: w.only(home, "web").ImageId, SourceRegion: aws.String(home)}); err != nil {
		t.Errorf("copying it: %v", err)
	}
	w.calls()
	if got := w.publish(sharedOutputs); !got.Unchanged || w.calls()["kms:CreateGrant"] != 0 {
		t.Errorf("the same again: %+v", got)
	}
	check("the same again", both)
	w.publish(strings.Replace(sharedOutputs, `, "777788889999"`, "", 1))
	check("one account less", both[:1])
	w.publish("  - ami: {name: web, kms_key: alias/images, regions: [us-east-1]}\n")
	check("shared with nobody", []string{})
}

func TestAKeyWhosePolicyNamesTheAccountNeedsNoGrant(t *testing.T) {
	w := newWorld(t)
	arn := w.key(home, "alias/images")
	policy := `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::111122223333:root"]}, "Action": "kms:*", "Resource": "*"},
		{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:root"}, "Action": ["kms:Decrypt", "kms:CreateGrant", "kms:DescribeKey"], "Resource": "*"}]}`
	must[*kms.PutKeyPolicyOutput](t)(kms.NewFromConfig(sandboxtest.Config(w.box, home)).PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: &arn, Policy: &policy}))
	w.frozen("web", "alias/images")
	w.publish(`  - ami: {name: web, kms_key: alias/images, launch_permissions: {accounts: ["444455556666"]}}` + "\n")
	if got := w.grantees(home, arn); len(got) != 0 {
		t.Errorf("grants for %v", got)
	}
}

func TestGrantsOfAKeyAreAllowedByThePolicyThatIsPrinted(t *testing.T) {
	w := newWorld(t)
	arn := w.key(home, "alias/images")
	w.frozen("web", "alias/images")
	outputs := `  - ami: {name: web, kms_key: alias/images, launch_permissions: {accounts: ["444455556666"]}}` + "\n"
	doc := permit.Merge(w.newRun(outputs).statements())
	w.cloud = permittest.Limit(t, w.box, permittest.Without(t, doc, "LendKeysToAccounts"))
	w.refuse(outputs, "which that account may not use")
	w.cloud = permittest.Limit(t, w.box, doc)
	w.publish(outputs)
	if diff := cmp.Diff([]string{"444455556666"}, w.grantees(home, arn)); diff != "" {
		t.Error(diff)
	}
	w.publish("  - ami: {name: web, kms_key: alias/images}\n")
	if got := w.grantees(home, arn); len(got) != 0 {
		t.Errorf("grants for %v", got)
	}
}

// TestGrantsGoWithTheImageTheyWereMadeFor: whichever way it goes. The grants of
// an image that stays are not touched.
func TestGrantsGoWithTheImageTheyWereMadeFor(t *testing.T) {
	outputs := func(name, more string) string {
		return `  - ami: {name: ` + name + `, kms_key: alias/images, launch_permissions: {accounts: ["444455556666"]}` + more + "}\n"
	}
	one := []string{"444455556666"}
	for _, c := range []struct {
		name string
		gone func(w *world)
		want []string
	}{
		{"destroyed", func(w *world) {
			all, err := image.Find(w.t.Context(), w.cloud, amazon.Access{Region: home}, image.Query{Name: "web-1"})
			if err != nil || len(all) != 1 {
				w.t.Fatalf("%v %v", all, err)
			}
			if err := image.Destroy(w.t.Context(), w.cloud, all[0], false); err != nil {
				w.t.Error(err)
			}
		}, []string{}},
		{"replaced", func(w *world) {
			w.frozen(temporary, "alias/images")
			w.publish(outputs("web-1", ", if_exists: replace"))
		}, one},
		{"removed by retention", func(w *world) {
			w.frozen(temporary, "alias/images")
			w.publish(outputs("web-2", ", keep: 1"))
		}, one},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			arn := w.key(home, "alias/images")
			w.frozen("web-1", "alias/images")
			w.publish(outputs("web-1", ""))
			old := w.grants(arn)
			if diff := cmp.Diff(one, w.grantees(home, arn)); diff != "" || len(old) != 1 {
				t.Fatalf("shared: %s", diff)
			}
			c.gone(w)
			if diff := cmp.Diff(c.want, w.grantees(home, arn)); diff != "" {
				t.Error(diff)
			}
			if now := w.grants(arn); slices.Contains(now, old[0]) {
				t.Errorf("the grant of the image that went is still there: %v", now)
			}
			if n := len(w.images(w.ec2(home))); n != len(c.want) {
				t.Errorf("%d images", n)
			}
		})
	}
}

// grants are the ids of a key's grants.
func (w *world) grants(arn string) []string {
	w.t.Helper()
	var all []string
	for _, g := range must[*kms.ListGrantsOutput](w.t)(kms.NewFromConfig(sandboxtest.Config(w.box, home)).ListGrants(w.t.Context(), &kms.ListGrantsInput{KeyId: &arn})).Grants {
		all = append(all, aws.ToString(g.GrantId))
	}
	return all
}

// TestAnEncryptedImageIsCopiedToAnotherAccountUnderBothPolicies: that of whoever
// runs bake, and that of the role in the other account.
func TestAnEncryptedImageIsCopiedToAnotherAccountUnderBothPolicies(t *testing.T) {
	w := newWorld(t)
	w.key(home, "alias/images")
	theirs := kms.NewFromConfig(sandboxtest.ConfigAs(w.box, away, other, "secret", ""))
	made := must[*kms.CreateKeyOutput](t)(theirs.CreateKey(t.Context(), &kms.CreateKeyInput{}))
	must[*kms.CreateAliasOutput](t)(theirs.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/theirs"), TargetKeyId: made.KeyMetadata.KeyId}))
	w.frozen("web", "alias/images")
	role := "arn:aws:iam::" + other + ":role/share"
	outputs := "  - ami: {name: web, kms_key: alias/images, regions: [{region: " + away + ", kms_key: alias/theirs, assume_role: [" + role + "]}]}\n"
	var own, roles []permit.Statement
	for _, s := range w.newRun(outputs).statements() {
		if s.As == "" {
			own = append(own, s)
		} else {
			roles = append(roles, s)
		}
	}
	without := permittest.WithoutPart(permit.Merge(roles), permittest.Part{Sid: "UseKeys", Action: "kms:ReEncryptFrom"})
	permittest.LimitRole(t, w.box, other, "share", without)
	w.cloud = permittest.Limit(t, w.box, permit.Merge(own))
	w.refuse(outputs, "kms:ReEncryptFrom")
	permittest.LimitRole(t, w.box, other, "share", permit.Merge(roles))
	w.publish(outputs)
	if all := w.images(w.as(other, away)); len(all) != 1 {
		t.Errorf("%d images in the other account", len(all))
	}
}
