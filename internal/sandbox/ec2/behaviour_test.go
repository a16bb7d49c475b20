package ec2_test

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"

	"bake/internal/sandbox/ec2"
	"bake/internal/sandbox/sandboxtest"
)

// as returns a client of another account.
func (c *cloud) as(account, region string) *sdk.Client {
	return sdk.New(sdk.Options{Region: region, BaseEndpoint: &c.url, RetryMaxAttempts: 1, HTTPClient: sandboxtest.Whole{}, Credentials: credentials.NewStaticCredentialsProvider(account, "secret", "")})
}

func TestATypeWithoutCapacityNamesTheZonesThatHaveIt(t *testing.T) {
	cloud := start(t, ec2.Options{})
	c := cloud.in("us-east-1")
	cloud.control.Tune(func(k *ec2.Knobs) {
		k.NoCapacity = []ec2.Pool{{Type: "t3.micro", Zone: "us-east-1a"}, {Type: "t3.small"}}
	})
	image := amazonLinux(t, c)
	run := func(kind types.InstanceType, zone string) (*sdk.RunInstancesOutput, error) {
		in := &sdk.RunInstancesInput{ImageId: image.ImageId, InstanceType: kind, MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}
		if zone != "" {
			in.Placement = &types.Placement{AvailabilityZone: &zone}
		}
		return c.RunInstances(t.Context(), in)
	}
	_, err := run("t3.micro", "us-east-1a")
	want(t, err, "InsufficientInstanceCapacity")
	if !strings.Contains(err.Error(), "choosing us-east-1b, us-east-1c.") {
		t.Errorf("it says %v", err)
	}
	_, err = run("t3.small", "")
	want(t, err, "InsufficientInstanceCapacity")
	out, err := run("t3.micro", "") // the call leaves the zone open: EC2 takes another
	want(t, err, "")
	if zone := *out.Instances[0].Placement.AvailabilityZone; zone != "us-east-1b" {
		t.Errorf("it runs in %s", zone)
	}
}

func TestAFleetFallsToTheNextTypeAndSaysWhyNotTheFirst(t *testing.T) {
	cloud := start(t, ec2.Options{})
	c := cloud.in("us-east-1")
	cloud.control.Tune(func(k *ec2.Knobs) { k.NoCapacity = []ec2.Pool{{Type: "t3.micro"}} })
	_, err := c.CreateLaunchTemplate(t.Context(), &sdk.CreateLaunchTemplateInput{LaunchTemplateName: aws.String("lt-x"),
		LaunchTemplateData: &types.RequestLaunchTemplateData{ImageId: amazonLinux(t, c).ImageId}})
	want(t, err, "")
	out, err := c.CreateFleet(t.Context(), &sdk.CreateFleetInput{Type: types.FleetTypeInstant,
		TargetCapacitySpecification: &types.TargetCapacitySpecificationRequest{TotalTargetCapacity: aws.Int32(1), DefaultTargetCapacityType: types.DefaultTargetCapacityTypeOnDemand},
		LaunchTemplateConfigs: []types.FleetLaunchTemplateConfigRequest{{LaunchTemplateSpecification: &types.FleetLaunchTemplateSpecificationRequest{LaunchTemplateName: aws.String("lt-x"), Version: aws.String("$Latest")},
			Overrides: []types.FleetLaunchTemplateOverridesRequest{{InstanceType: "t3.micro"}, {InstanceType: "t3a.micro"}}}}})
	want(t, err, "")
	if len(out.Errors) != 1 || *out.Errors[0].ErrorCode != "InsufficientInstanceCapacity" || len(out.Instances) != 1 || out.Instances[0].InstanceType != "t3a.micro" {
		t.Errorf("got %+v", out)
	}
	if i := describe(t, c, out.Instances[0].InstanceIds[0]); i.InstanceType != "t3a.micro" {
		t.Errorf("it runs on %s", i.InstanceType)
	}
}

func TestAClientTokenLaunchesOnce(t *testing.T) {
	cloud := start(t, ec2.Options{})
	c := cloud.in("us-east-1")
	once := launch(t, c, func(in *sdk.RunInstancesInput) { in.ClientToken = aws.String("tok") })
	again := launch(t, c, func(in *sdk.RunInstancesInput) { in.ClientToken = aws.String("tok") })
	if *once.InstanceId != *again.InstanceId {
		t.Errorf("two instances: %s and %s", *once.InstanceId, *again.InstanceId)
	}
	_, err := c.RunInstances(t.Context(), &sdk.RunInstancesInput{ImageId: amazonLinux(t, c).ImageId, InstanceType: "t3.small", MinCount: aws.Int32(1), MaxCount: aws.Int32(1), ClientToken: aws.String("tok")})
	want(t, err, "IdempotentParameterMismatch")
}

func TestPagesAndWildcardsFindEachInstanceOnce(t *testing.T) {
	cloud := start(t, ec2.Options{})
	c := cloud.in("us-east-1")
	launch(t, c, func(in *sdk.RunInstancesInput) {
		in.MinCount, in.MaxCount = aws.Int32(12), aws.Int32(12)
		in.TagSpecifications = []types.TagSpecification{{ResourceType: "instance", Tags: []types.Tag{{Key: aws.String("bake:run"), Value: aws.String("r*1")}}}}
	})
	launch(t, c, nil)
	for pattern, count := range map[string]int{"r*": 12, `r\*1`: 12, `r\*`: 0, "r?1": 12, "R*": 0, "r??1": 0} {
		seen := map[string]bool{}
		pages := sdk.NewDescribeInstancesPaginator(c, &sdk.DescribeInstancesInput{MaxResults: aws.Int32(5), Filters: []types.Filter{
			{Name: aws.String("tag:bake:run"), Values: []string{pattern}}, {Name: aws.String("tag-key"), Values: []string{"bake:run"}}}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			want(t, err, "")
			for _, r := range page.Reservations {
				for _, i := range r.Instances {
					seen[*i.InstanceId] = true
				}
			}
		}
		if len(seen) != count {
			t.Errorf("%s finds %d instances, want %d", pattern, len(seen), count)
		}
	}
}

func TestFingerprintsAreAWSs(t *testing.T) {
	cloud := start(t, ec2.Options{})
	c := cloud.in("us-east-1")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	ed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(ed25519Key))
	if err != nil {
		t.Fatal(err)
	}
	edSum := sha256.Sum256(ed.Marshal())
	rsaSum := strings.TrimSuffix(strings.ReplaceAll(fmt.Sprintf("% x", md5.Sum(der)), " ", ":"), ":")
	for name, row := range map[string]struct{ material, fingerprint string }{
		"ed25519": {ed25519Key, base64.StdEncoding.EncodeToString(edSum[:])},
		"rsa":     {string(ssh.MarshalAuthorizedKey(public)), rsaSum},
		"der":     {base64.StdEncoding.EncodeToString(der), rsaSum},
	} {
		out, err := c.ImportKeyPair(t.Context(), &sdk.ImportKeyPairInput{KeyName: &name, PublicKeyMaterial: []byte(row.material)})
		want(t, err, "")
		if *out.KeyFingerprint != row.fingerprint {
			t.Errorf("%s: %s, want %s", name, *out.KeyFingerprint, row.fingerprint)
		}
		list, err := c.DescribeKeyPairs(t.Context(), &sdk.DescribeKeyPairsInput{KeyNames: []string{name}, IncludePublicKey: aws.Bool(true)})
		want(t, err, "")
		if k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(aws.ToString(list.KeyPairs[0].PublicKey))); err != nil || k == nil {
			t.Errorf("%s: public key %q", name, aws.ToString(list.KeyPairs[0].PublicKey))
		}
	}
	for range 2 { // the second time there is none, which is fine
		_, err = c.DeleteKeyPair(t.Context(), &sdk.DeleteKeyPairInput{KeyName: aws.String("rsa")})
		want(t, err, "")
	}
	for format, begins := range map[types.KeyFormat]string{"pem": "-----BEGIN", "ppk": "PuTTY-User-Key-File-2"} {
		out, err := c.CreateKeyPair(t.Context(), &sdk.CreateKeyPairInput{KeyName: aws.String(string(format)), KeyType: types.KeyTypeEd25519, KeyFormat: format})
		want(t, err, "")
		if !strings.HasPrefix(*out.KeyMaterial, begins) {
			t.Errorf("%s: %.40s", format, *out.KeyMaterial)
		}
	}
}

// bakeImage makes an image of a fresh instance and returns it.
func bakeImage(t *testing.T, cloud *cloud, c *sdk.Client, name string, change func(*sdk.RunInstancesInput)) types.Image {
	t.Helper()
	i := launch(t, c, change)
	cloud.clock.advance(time.Minute)
	out, err := c.CreateImage(t.Context(), &sdk.CreateImageInput{InstanceId: i.InstanceId, Name: &name, NoReboot: aws.Bool(true)})
	want(t, err, "")
	cloud.clock.advance(5 * time.Minute)
	return describeImage(t, c, *out.ImageId)
}

func TestAnImageIsSeenByWhoItIsSharedWithAndNobodyElse(t *testing.T) {
	cloud := start(t, ec2.Options{Organizations: orgs{"222233334444": "arn:aws:organizations::999999999999:organization/o-abcdefghij"}})
	owner, friend, stranger := cloud.in("us-east-1"), cloud.as("222233334444", "us-east-1"), cloud.as("555566667777", "us-east-1")
	m := bakeImage(t, cloud, owner, "shared", nil)
	sees := func(c *sdk.Client) bool {
		t.Helper()
		_, err := c.DescribeImages(t.Context(), &sdk.DescribeImagesInput{ImageIds: []string{*m.ImageId}})
		if err != nil {
			want(t, err, "InvalidAMIID.NotFound")
		}
		return err == nil
	}
	change := func(add, remove []types.LaunchPermission) {
		t.Helper()
		_, err := owner.ModifyImageAttribute(t.Context(), &sdk.ModifyImageAttributeInput{ImageId: m.ImageId, LaunchPermission: &types.LaunchPermissionModifications{Add: add, Remove: remove}})
		want(t, err, "")
	}
	user := []types.LaunchPermission{{UserId: aws.String("222233334444")}}
	org := []types.LaunchPermission{{OrganizationArn: aws.String("arn:aws:organizations::999999999999:organization/o-abcdefghij")}}
	for _, step := range []struct {
		add, remove []types.LaunchPermission
		friend      bool
	}{{nil, nil, false}, {user, nil, true}, {user, nil, true}, {nil, user, false}, {nil, user, false}, {org, nil, true}, {nil, org, false}, {user, nil, true}} {
		if step.add != nil || step.remove != nil {
			change(step.add, step.remove)
		}
		if sees(friend) != step.friend || sees(stranger) {
			t.Errorf("after +%v -%v: friend %v, stranger %v", step.add, step.remove, sees(friend), sees(stranger))
		}
	}
	i := launch(t, friend, func(in *sdk.RunInstancesInput) { in.ImageId = m.ImageId }) // without its snapshots
	if *i.ImageId != *m.ImageId {
		t.Errorf("launched %s", *i.ImageId)
	}
	_, err := friend.CopyImage(t.Context(), &sdk.CopyImageInput{Name: aws.String("copy"), SourceImageId: m.ImageId, SourceRegion: aws.String("us-east-1")})
	want(t, err, "InvalidRequest") // which copying needs
	_, err = owner.ModifySnapshotAttribute(t.Context(), &sdk.ModifySnapshotAttributeInput{SnapshotId: m.BlockDeviceMappings[0].Ebs.SnapshotId, Attribute: "createVolumePermission",
		OperationType: "add", UserIds: []string{"222233334444"}})
	want(t, err, "")
	_, err = friend.CopyImage(t.Context(), &sdk.CopyImageInput{Name: aws.String("copy"), SourceImageId: m.ImageId, SourceRegion: aws.String("us-east-1")})
	want(t, err, "")
}

// orgs are organizations by account.
type orgs map[string]string

func (o orgs) Organization(account string) (string, []string) { return o[account], nil }

// vault has keys that some accounts may use, and AWS's own.
type vault map[string][]string

func (v vault) Resolve(account, region, ref string) (string, error) {
	if ref == "alias/aws/ebs" || strings.HasSuffix(ref, "key/ebs-"+account) {
		return "arn:aws:kms:" + region + ":" + account + ":key/ebs-" + account, nil
	}
	if !slices.Contains(v[ref], account) {
		return "", errors.New("no such key")
	}
	return ref, nil
}

func (v vault) Shared(_, _, ref string) bool { return !strings.Contains(ref, "ebs") }

func TestAKeyThatCannotBeUsedEndsTheInstanceAndFailsTheCopy(t *testing.T) {
	cloud := start(t, ec2.Options{Keys: vault{"arn:aws:kms:us-east-1:111122223333:key/mine": {"111122223333"}}})
	c := cloud.in("us-east-1")
	encrypted := func(key string) func(*sdk.RunInstancesInput) {
		return func(in *sdk.RunInstancesInput) {
			in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{Encrypted: aws.Bool(true), KmsKeyId: &key}}}
		}
	}
	i := launch(t, c, encrypted("arn:aws:kms:us-east-1:111122223333:key/gone"))
	cloud.clock.advance(time.Minute)
	if i = describe(t, c, *i.InstanceId); i.State.Name != "terminated" || *i.StateReason.Code != "Client.InternalError" {
		t.Errorf("%s: %+v", i.State.Name, i.StateReason)
	}
	m := bakeImage(t, cloud, c, "sealed", encrypted("arn:aws:kms:us-east-1:111122223333:key/mine"))
	if !*m.BlockDeviceMappings[0].Ebs.Encrypted {
		t.Error("the image is not encrypted")
	}
	out, err := c.CopyImage(t.Context(), &sdk.CopyImageInput{Name: aws.String("copy"), SourceImageId: m.ImageId, SourceRegion: aws.String("us-east-1"), Encrypted: aws.Bool(true), KmsKeyId: aws.String("alias/gone")})
	want(t, err, "")
	cloud.clock.advance(5 * time.Minute)
	if m := describeImage(t, c, *out.ImageId); m.State != "failed" || !strings.Contains(aws.ToString(m.StateReason.Message), "not accessible") {
		t.Errorf("%s: %+v", m.State, m.StateReason)
	}
	byDefault := bakeImage(t, cloud, c, "default key", func(in *sdk.RunInstancesInput) {
		in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{Encrypted: aws.Bool(true)}}}
	})
	_, err = c.ModifyImageAttribute(t.Context(), &sdk.ModifyImageAttributeInput{ImageId: byDefault.ImageId, LaunchPermission: &types.LaunchPermissionModifications{Add: []types.LaunchPermission{{UserId: aws.String("222233334444")}}}})
	want(t, err, "InvalidParameter")
}

func TestACopyIsMadeOnceInItsRegionAndTime(t *testing.T) {
	cloud := start(t, ec2.Options{})
	here, there := cloud.in("us-east-1"), cloud.in("eu-west-1")
	m := bakeImage(t, cloud, here, "web", nil)
	_, err := here.CreateTags(t.Context(), &sdk.CreateTagsInput{Resources: []string{*m.ImageId}, Tags: []types.Tag{{Key: aws.String("app"), Value: aws.String("web")}}})
	want(t, err, "")
	in := &sdk.CopyImageInput{Name: aws.String("web"), SourceImageId: m.ImageId, SourceRegion: aws.String("us-east-1"), ClientToken: aws.String("t"), CopyImageTags: aws.Bool(true)}
	first, err := there.CopyImage(t.Context(), in)
	want(t, err, "")
	second, err := there.CopyImage(t.Context(), in)
	want(t, err, "")
	if *first.ImageId != *second.ImageId {
		t.Error("two copies")
	}
	if c := describeImage(t, there, *first.ImageId); c.State != "pending" || *c.Tags[0].Value != "web" || *c.SourceImageId != *m.ImageId || *c.SourceImageRegion != "us-east-1" {
		t.Errorf("copy: %+v", c)
	}
	cloud.clock.advance(5 * time.Minute)
	if c := describeImage(t, there, *first.ImageId); c.State != "available" {
		t.Errorf("copy is %s", c.State)
	}
}

func TestDeregisteringObeysProtectionAndTakesSnapshotsIfAsked(t *testing.T) {
	cloud := start(t, ec2.Options{})
	c := cloud.in("us-east-1")
	m := bakeImage(t, cloud, c, "web", nil)
	_, err := c.EnableImageDeregistrationProtection(t.Context(), &sdk.EnableImageDeregistrationProtectionInput{ImageId: m.ImageId})
	want(t, err, "")
	_, err = c.DeregisterImage(t.Context(), &sdk.DeregisterImageInput{ImageId: m.ImageId})
	want(t, err, "OperationNotPermitted")
	_, err = c.DisableImageDeregistrationProtection(t.Context(), &sdk.DisableImageDeregistrationProtectionInput{ImageId: m.ImageId})
	want(t, err, "")
	out, err := c.DeregisterImage(t.Context(), &sdk.DeregisterImageInput{ImageId: m.ImageId, DeleteAssociatedSnapshots: aws.Bool(true)})
	want(t, err, "")
	if len(out.DeleteSnapshotResults) != 1 || out.DeleteSnapshotResults[0].ReturnCode != "success" {
		t.Errorf("snapshots: %+v", out.DeleteSnapshotResults)
	}
	_, err = c.DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{SnapshotIds: []string{*m.BlockDeviceMappings[0].Ebs.SnapshotId}})
	want(t, err, "InvalidSnapshot.NotFound")
}

func TestADeprecatedImageIsHiddenFromOthersUnlessTheyAsk(t *testing.T) {
	cloud := start(t, ec2.Options{})
	owner, other := cloud.in("us-east-1"), cloud.as("222233334444", "us-east-1")
	m := bakeImage(t, cloud, owner, "old", nil)
	_, err := owner.ModifyImageAttribute(t.Context(), &sdk.ModifyImageAttributeInput{ImageId: m.ImageId, LaunchPermission: &types.LaunchPermissionModifications{Add: []types.LaunchPermission{{UserId: aws.String("222233334444")}}}})
	want(t, err, "")
	_, err = owner.EnableImageDeprecation(t.Context(), &sdk.EnableImageDeprecationInput{ImageId: m.ImageId, DeprecateAt: aws.Time(cloud.clock.now().Add(time.Hour))})
	want(t, err, "")
	count := func(c *sdk.Client, all bool) int {
		t.Helper()
		out, err := c.DescribeImages(t.Context(), &sdk.DescribeImagesInput{Owners: []string{"111122223333"}, IncludeDeprecated: &all})
		want(t, err, "")
		return len(out.Images)
	}
	if n := count(other, false); n != 1 {
		t.Errorf("before its time: %d", n)
	}
	cloud.clock.advance(2 * time.Hour)
	if a, b, mine := count(other, false), count(other, true), count(owner, false); a != 0 || b != 1 || mine != 1 {
		t.Errorf("others see %d, %d if they ask; the owner %d", a, b, mine)
	}
}

func TestAnAccountWithoutDefaultVPCMustNameASubnet(t *testing.T) {
	cloud := start(t, ec2.Options{})
	cloud.control.Tune(func(k *ec2.Knobs) { k.NoDefaultVPC = []string{"111122223333"} })
	c := cloud.in("us-east-1")
	image := amazonLinux(t, c)
	in := &sdk.RunInstancesInput{ImageId: image.ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}
	_, err := c.RunInstances(t.Context(), in)
	want(t, err, "VPCIdNotSpecified")
	v, err := c.CreateVpc(t.Context(), &sdk.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	want(t, err, "")
	s, err := c.CreateSubnet(t.Context(), &sdk.CreateSubnetInput{VpcId: v.Vpc.VpcId, CidrBlock: aws.String("10.0.1.0/28"), AvailabilityZone: aws.String("us-east-1b")})
	want(t, err, "")
	in.SubnetId, in.MinCount, in.MaxCount = s.Subnet.SubnetId, aws.Int32(11), aws.Int32(11)
	out, err := c.RunInstances(t.Context(), in)
	want(t, err, "")
	cloud.clock.advance(time.Minute)
	if i := describe(t, c, *out.Instances[0].InstanceId); i.PublicIpAddress != nil || *i.Placement.AvailabilityZone != "us-east-1b" {
		t.Errorf("launched %+v", i)
	}
	in.ClientToken = nil                     // the SDK has put one there
	_, err = c.RunInstances(t.Context(), in) // /28: 16 - 5 addresses
	want(t, err, "InsufficientFreeAddressesInSubnet")
}

func TestATemplateVersionAndTheCallMakeALaunchTogether(t *testing.T) {
	cloud := start(t, ec2.Options{})
	c := cloud.in("us-east-1")
	_, err := c.CreateLaunchTemplate(t.Context(), &sdk.CreateLaunchTemplateInput{LaunchTemplateName: aws.String("web"), LaunchTemplateData: &types.RequestLaunchTemplateData{
		ImageId: amazonLinux(t, c).ImageId, InstanceType: "t3.small", BlockDeviceMappings: []types.LaunchTemplateBlockDeviceMappingRequest{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.LaunchTemplateEbsBlockDeviceRequest{VolumeSize: aws.Int32(20)}}}}})
	want(t, err, "")
	v, err := c.CreateLaunchTemplateVersion(t.Context(), &sdk.CreateLaunchTemplateVersionInput{LaunchTemplateName: aws.String("web"), SourceVersion: aws.String("1"), LaunchTemplateData: &types.RequestLaunchTemplateData{InstanceType: "t3.medium"}})
	want(t, err, "")
	if d := v.LaunchTemplateVersion.LaunchTemplateData; d.InstanceType != "t3.medium" || d.ImageId == nil || *d.BlockDeviceMappings[0].Ebs.VolumeSize != 20 {
		t.Errorf("version 2: %+v", d)
	}
	out, err := c.RunInstances(t.Context(), &sdk.RunInstancesInput{MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		LaunchTemplate: &types.LaunchTemplateSpecification{LaunchTemplateName: aws.String("web"), Version: aws.String("$Latest")}})
	want(t, err, "")
	i := describe(t, c, *out.Instances[0].InstanceId)
	volumes, err := c.DescribeVolumes(t.Context(), &sdk.DescribeVolumesInput{VolumeIds: []string{*i.BlockDeviceMappings[0].Ebs.VolumeId}})
	want(t, err, "")
	if i.InstanceType != "t3.medium" || *volumes.Volumes[0].Size != 20 {
		t.Errorf("launched %s with %d GiB", i.InstanceType, *volumes.Volumes[0].Size)
	}
}

func TestAStateThatWasSavedIsTheSameAfterLoading(t *testing.T) {
	cloud := start(t, ec2.Options{})
	c := cloud.in("us-east-1")
	m := bakeImage(t, cloud, c, "web", nil)
	before := cloud.save()
	data, err := cloud.control.Save()
	if err != nil {
		t.Fatal(err)
	}
	other := start(t, ec2.Options{})
	other.clock.advance(cloud.clock.now().Sub(other.clock.now()))
	if err := other.control.Load(data); err != nil {
		t.Fatal(err)
	}
	if after := other.save(); len(after) < len(before)/2 || !strings.Contains(after, *m.ImageId) {
		t.Errorf("the state is\n%s\nit was\n%s", after, before)
	}
	if got := describeImage(t, other.in("us-east-1"), *m.ImageId); got.State != "available" {
		t.Errorf("the image is %s", got.State)
	}
}
