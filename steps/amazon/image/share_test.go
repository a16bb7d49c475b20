package image_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/go-cmp/cmp"

	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/image"
)

// key makes a KMS key with an alias in a region and returns its ARN.
func (w *world) key(region, alias string) string {
	w.t.Helper()
	c := kms.NewFromConfig(sandboxtest.Config(w.box, region))
	out := must[*kms.CreateKeyOutput](w.t)(c.CreateKey(w.t.Context(), &kms.CreateKeyInput{}))
	must[*kms.CreateAliasOutput](w.t)(c.CreateAlias(w.t.Context(), &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: out.KeyMetadata.KeyId}))
	return *out.KeyMetadata.Arn
}

func TestAnImageUnderAWSsOwnKeyIsNotSharedAndWhyIsTold(t *testing.T) {
	w := newWorld(t)
	w.frozen("web", "alias/aws/ebs")
	w.calls()
	w.refuse(`  - ami: {name: web, launch_permissions: {accounts: ["444455556666"]}}`+"\n", "encrypted with AWS's own key for EBS")
	if n := w.calls()["ec2:ModifyImageAttribute"]; n > 1 { // IMDS alone
		t.Errorf("%d calls to share it", n)
	}
}

func TestAnEncryptedImageIsNotMadePublic(t *testing.T) {
	w := newWorld(t)
	w.key(home, "alias/own")
	w.frozen("web", "alias/own")
	w.refuse("  - ami: {name: web, launch_permissions: {public: true}}\n", "its snapshots are encrypted")
}

func TestAnAccountThatBlocksPublicImagesIsNamed(t *testing.T) {
	w := newWorld(t)
	w.frozen("web", "")
	c := w.ec2(home)
	if _, err := c.DisableImageBlockPublicAccess(t.Context(), &ec2.DisableImageBlockPublicAccessInput{}); err != nil {
		t.Fatal(err)
	}
	w.publish("  - ami: {name: web, launch_permissions: {public: true}}\n")
	if got := w.permissions(c, w.ami.ID); !cmp.Equal(got, []string{"all"}) {
		t.Errorf("%q", got)
	}
	w.publish("  - ami: {name: web}\n")
	if got := w.permissions(c, w.ami.ID); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if _, err := c.EnableImageBlockPublicAccess(t.Context(), &ec2.EnableImageBlockPublicAccessInput{ImageBlockPublicAccessState: types.ImageBlockPublicAccessEnabledStateBlockNewSharing}); err != nil {
		t.Fatal(err)
	}
	w.refuse("  - ami: {name: web, launch_permissions: {public: true}}\n", "account 111122223333 blocks public AMIs in eu-west-1")
}

func TestEachCopyHasItsKeyAndItsWords(t *testing.T) {
	w := newWorld(t)
	here, there := w.key(home, "alias/images"), w.key(away, "alias/there")
	w.frozen("web", "alias/images")
	w.publish(`
  - ami:
      name: web
      kms_key: alias/images
      tags: {app: web}
      launch_permissions: {accounts: ["444455556666"]}
      regions:
        - {region: us-east-1, kms_key: alias/there, name: web-us, description: over there, tags: {place: us}, launch_permissions: {accounts: ["777788889999"]}}
`)
	for _, c := range []struct{ region, name, key, account string }{{home, "web", here, "444455556666"}, {away, "web-us", there, "777788889999"}} {
		i := w.only(c.region, c.name)
		for _, s := range w.snapshots(w.ec2(c.region)) {
			if aws.ToString(s.KmsKeyId) != c.key {
				t.Errorf("%s: the key is %s, want %s", c.region, aws.ToString(s.KmsKeyId), c.key)
			}
		}
		if diff := cmp.Diff([]string{c.account}, w.permissions(w.ec2(c.region), *i.ImageId)); diff != "" {
			t.Errorf("%s: %s", c.region, diff)
		}
	}
	i := w.only(away, "web-us")
	if diff := cmp.Diff(map[string]string{"Name": "web-us", "app": "web", "place": "us"}, userTags(i.Tags)); diff != "" || aws.ToString(i.Description) != "over there" {
		t.Errorf("%q %s", aws.ToString(i.Description), diff)
	}
	if n := len(w.snapshots(w.ec2(home))); n != 1 {
		t.Errorf("%d snapshots at home: it was encrypted twice", n)
	}
}

func TestAnImageThatWasNotStartedEncryptedIsCopiedOnce(t *testing.T) {
	w := newWorld(t)
	key := w.key(home, "alias/images")
	w.frozen("web", "")
	outputs := "  - ami: {name: web, kms_key: alias/images}\n"
	w.publish(outputs)
	if diff := cmp.Diff([]string{"web"}, names(w.images(w.ec2(home)))); diff != "" {
		t.Error(diff)
	}
	snaps := w.snapshots(w.ec2(home))
	if len(snaps) != 1 || aws.ToString(snaps[0].KmsKeyId) != key {
		t.Errorf("%d snapshots, the first under %s", len(snaps), aws.ToString(snaps[0].KmsKeyId))
	}
	if got := w.publish(outputs); !got.Unchanged {
		t.Errorf("%+v", got)
	}
}

func TestAKeyThatCannotBeUsedIsToldBeforeAnythingIsCopied(t *testing.T) {
	w := newWorld(t)
	arn := w.key(away, "alias/images")
	w.frozen("web", "")
	if _, err := kms.NewFromConfig(sandboxtest.Config(w.box, away)).DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &arn}); err != nil {
		t.Fatal(err)
	}
	w.calls()
	w.refuse("  - ami: {name: web, regions: [{region: us-east-1, kms_key: alias/images}]}\n", "copy in us-east-1: encrypting with KMS key alias/images in us-east-1: it is Disabled")
	w.refuse("  - ami: {name: web, regions: [{region: us-east-1, kms_key: alias/none}]}\n", "asking about KMS key alias/none")
	if n := w.calls()["ec2:CopyImage"]; n > 0 {
		t.Errorf("%d copies", n)
	}
}

func TestACopyInAnotherAccountIsItsOwnAndNothingStaysShared(t *testing.T) {
	w := newWorld(t)
	role := w.role(other, "share")
	w.frozen("web", "")
	outputs := `
  - ami:
      name: web
      launch_permissions: {accounts: ["777788889999"]}
      regions: [{region: us-east-1, assume_role: [` + role + `]}]
`
	got := w.publish(outputs)
	theirs := w.images(w.as(other, away))
	if len(theirs) != 1 || *theirs[0].ImageId != got.Values["us-east-1/"+other] || aws.ToString(theirs[0].OwnerId) != other {
		t.Fatalf("%+v, there is %+v", got.Values, theirs)
	}
	if diff := cmp.Diff([]string{"777788889999"}, w.permissions(w.ec2(home), w.ami.ID)); diff != "" {
		t.Errorf("what was lent stays lent: %s", diff)
	}
	if diff := cmp.Diff([]string{"777788889999"}, w.volumePermissions(w.ec2(home), w.only(home, "web"))); diff != "" {
		t.Errorf("what was lent stays lent: %s", diff)
	}
	if got := w.publish(outputs); !got.Unchanged {
		t.Errorf("the second run: %+v", got)
	}
}

// role makes a role in another account that this account may assume and that
// may do everything.
func (w *world) role(account, name string) string {
	w.t.Helper()
	c := iam.NewFromConfig(sandboxtest.ConfigAs(w.box, home, account, "secret", ""))
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + sandboxtest.Account + `"},"Action":"sts:AssumeRole"}]}`
	all := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	out := must[*iam.CreateRoleOutput](w.t)(c.CreateRole(w.t.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust}))
	must[*iam.PutRolePolicyOutput](w.t)(c.PutRolePolicy(w.t.Context(), &iam.PutRolePolicyInput{RoleName: &name, PolicyName: &name, PolicyDocument: &all}))
	return *out.Role.Arn
}

// TestAnotherAccountsPublicImageOfTheNameIsNotLookedAt: a name is taken, and an
// image replaced or destroyed, within the account alone.
func TestAnotherAccountsPublicImageOfTheNameIsNotLookedAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.frozen("web-1", "")
	theirs := w.as(other, home)
	out := must[*ec2.RegisterImageOutput](t)(theirs.RegisterImage(t.Context(), &ec2.RegisterImageInput{Name: aws.String("web-2"), Architecture: types.ArchitectureValuesX8664,
		RootDeviceName: aws.String("/dev/xvda"), VirtualizationType: aws.String("hvm"),
		BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{SnapshotId: aws.String(w.snapshot(theirs, ""))}}}}))
	must[*ec2.DisableImageBlockPublicAccessOutput](t)(theirs.DisableImageBlockPublicAccess(t.Context(), nil))
	must[*ec2.ModifyImageAttributeOutput](t)(theirs.ModifyImageAttribute(t.Context(), &ec2.ModifyImageAttributeInput{ImageId: out.ImageId,
		LaunchPermission: &types.LaunchPermissionModifications{Add: []types.LaunchPermission{{Group: types.PermissionGroupAll}}}}))
	w.publish("  - ami: {name: web-2}\n")
	if diff := cmp.Diff([]string{"web-1", "web-2"}, names(w.images(w.ec2(home)))); diff != "" {
		t.Error(diff)
	}
	all, err := image.Find(t.Context(), w.cloud, amazon.Access{Region: home}, image.Query{Name: "web-2"})
	for _, target := range all {
		if target.ID == *out.ImageId {
			t.Errorf("it would be destroyed with %q", found(all))
		}
	}
	if err != nil || len(all) == 0 {
		t.Error(all, err)
	}
}
