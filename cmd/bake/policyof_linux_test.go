package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"bake/internal/need"
	"bake/internal/sandbox"
	"bake/internal/sandbox/machinetest"
	"bake/internal/sandbox/sandboxtest"
	"bake/steps/amazon"
	"bake/steps/amazon/permit"
	"bake/steps/amazon/permit/permittest"
)

// A limited runs commands in a folder, as a user who may do what `bake policy`
// prints for them.
type limited struct {
	*testing.T
	box *sandbox.Sandbox
	dir string
}

func (l *limited) run(args ...string) (code int, stdout, stderr string) {
	l.Helper()
	cmd := exec.CommandContext(l.Context(), "bake", args...)
	cmd.Dir = l.dir
	cmd.Env = append(os.Environ(), "BAKE_CACHE_DIR="+filepath.Join(l.dir, "cache"), "NO_COLOR=1", "HOME="+l.dir)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), out.String(), errs.String()
	}
	if err != nil {
		l.Fatal(err)
	}
	return 0, out.String(), errs.String()
}

// policy is what bake prints for a command.
func (l *limited) policy(args ...string) permit.Document {
	l.Helper()
	code, out, errs := l.run(append([]string{"policy", "--account", sandboxtest.Account, "-o", "json", "--"}, args...)...)
	var printed struct{ Policies []policyOut }
	if err := json.Unmarshal([]byte(out), &printed); code != 0 || err != nil {
		l.Fatalf("bake policy -- %s: %d %v %s", strings.Join(args, " "), code, err, errs)
	}
	doc := permit.Document{Version: "2012-10-17"}
	for _, p := range printed.Policies {
		doc.Statements = append(doc.Statements, p.Document.Statements...)
	}
	return doc
}

// enough runs a command under its own policy alone, which allows all that it calls.
func (l *limited) enough(args ...string) (out string, doc permit.Document) {
	l.Helper()
	out, doc = l.works(args...)
	permittest.Covers(l.T, l.box, doc)
	return out, doc
}

// works runs a command under its own policy alone.
func (l *limited) works(args ...string) (out string, doc permit.Document) {
	l.Helper()
	doc = l.policy(args...)
	permittest.Limit(l.T, l.box, doc)
	code, stdout, errs := l.run(args...)
	if code != 0 {
		l.Errorf("bake %s under its policy: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, errs)
	}
	return stdout + errs, doc
}

// under runs a command under its own policy alone, which has to be enough and
// no more, but for what idle gives a reason for.
func (l *limited) under(idle map[string]string, args ...string) string {
	l.Helper()
	out, doc := l.enough(args...)
	permittest.Needed(l.T, l.box, doc, idle)
	return out
}

// refused runs a command without each part of its policy in turn: it fails, but
// for parts that spare gives a reason for.
func (l *limited) refused(spare map[string]string, args ...string) {
	l.Helper()
	doc := l.policy(args...)
	for _, p := range permittest.Beyond(doc, permit.Document{}) {
		permittest.Limit(l.T, l.box, permittest.WithoutPart(doc, p))
		if code, out, errs := l.run(args...); code == 0 && spare[p.Action] == "" {
			l.Errorf("bake %s works without %s of %s: %s%s", strings.Join(args, " "), p.Action, p.Sid, out, errs)
		}
	}
}

func newLimited(t *testing.T) *limited {
	t.Helper()
	return &limited{t, sandboxtest.Start(t), t.TempDir()}
}

const inRegion = "eu-west-1"

func TestKeyPairsAreKeptUnderThePoliciesOfTheCommands(t *testing.T) {
	l := newLimited(t)
	for _, name := range []string{"a", "b"} {
		if out, err := exec.CommandContext(t.Context(), need.Tool(t, "ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(l.dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	tags := map[string]string{"TagKeyPairs ec2:CreateTags": "TagNewKeyPairs allows it as the pair is made"}
	l.refused(nil, "keypair", "list")
	l.under(map[string]string{"ec2:DeleteKeyPair": "the first of the name", "TagKeyPairs ec2:CreateTags": tags["TagKeyPairs ec2:CreateTags"], "TagNewKeyPairs ec2:CreateTags": "TagKeyPairs allows it too"},
		"keypair", "import", "ops", "a.pub", "--tag", "team=ops")
	l.under(map[string]string{"TagNewKeyPairs ec2:CreateTags": "the older pair has the same tags", "TagKeyPairs ec2:CreateTags": "TagNewKeyPairs allows it"}, "keypair", "import", "ops", "b.pub", "--tag", "team=ops")
	l.under(nil, "keypair", "list")
	l.under(nil, "keypair", "show", "ops")
	if code, _, errs := l.run("keypair", "delete", "other"); code == 0 || !strings.Contains(errs, "other") {
		t.Errorf("another pair: %d %s", code, errs)
	}
	l.refused(nil, "keypair", "delete", "ops")
	l.under(nil, "keypair", "delete", "ops")
}

func TestImagesOfECRAreListedUnderThePoliciesOfTheCommands(t *testing.T) {
	l := newLimited(t)
	c := ecr.NewFromConfig(sandboxtest.Config(l.box, inRegion))
	if _, err := c.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("team/api")}); err != nil {
		t.Fatal(err)
	}
	l.refused(nil, "images", "ecr:team/api")
	l.under(nil, "images", "ecr:team/api")
	l.under(nil, "images", "ecr:")
}

func TestLeftoversAreFoundAndRemovedUnderThePolicyOfTheCommand(t *testing.T) {
	need.Root(t)
	machinetest.Program(t)
	l := newLimited(t)
	left := leave(t, l.box)
	l.refused(map[string]string{"iam:ListRoles": "without it there is a warning"}, "clean", "--aws", "--all")
	out := l.under(nil, "clean", "--aws", "--all")
	for _, what := range left {
		if !strings.Contains(out, what) {
			t.Errorf("%s is not found:\n%s", what, out)
		}
	}
	l.under(map[string]string{
		"ec2:DescribeSnapshots": "those of an image that is still being made", "ec2:DetachVolume": "a volume of an instance that lives on",
	}, "clean", "--aws", "--all", "--yes")
	if _, out, errs := l.run("clean", "--aws", "--all"); !strings.Contains(errs, "no run has left anything") {
		t.Errorf("there is still:\n%s%s", out, errs)
	}
}

// leave makes one of each thing that a run may leave, expired, and something
// else's beside it; it returns words that a list of them has.
func leave(t *testing.T, box *sandbox.Sandbox) []string {
	t.Helper()
	ctx, cfg := t.Context(), sandboxtest.Config(box, inRegion)
	c, roles := ec2.NewFromConfig(cfg), iam.NewFromConfig(cfg)
	pairs := map[string]string{amazon.TagRun: "20200101-000000-lost", amazon.TagTemplate: "web", amazon.TagToken: "token", amazon.TagExpires: "2020-01-01T00:00:00Z"}
	var tags []ec2types.Tag
	var roleTags []iamtypes.Tag
	for k, v := range pairs {
		tags, roleTags = append(tags, ec2types.Tag{Key: &k, Value: &v}), append(roleTags, iamtypes.Tag{Key: &k, Value: &v})
	}
	spec := func(kind ec2types.ResourceType) []ec2types.TagSpecification {
		return []ec2types.TagSpecification{{ResourceType: kind, Tags: tags}}
	}
	images, err := c.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"amazon"}, Filters: []ec2types.Filter{amazon.Filter("architecture", "x86_64")}})
	if err != nil {
		t.Fatal(err)
	}
	started, err := c.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: images.Images[0].ImageId, InstanceType: "t3.small", MinCount: aws.Int32(1), MaxCount: aws.Int32(1), TagSpecifications: spec("instance")})
	if err != nil {
		t.Fatal(err)
	}
	volume, err := c.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String(inRegion + "a"), Size: aws.Int32(1), TagSpecifications: spec("volume")})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := c.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: volume.VolumeId, TagSpecifications: spec("snapshot")})
	if err != nil {
		t.Fatal(err)
	}
	candidate, err := c.RegisterImage(ctx, &ec2.RegisterImageInput{Name: aws.String("candidate"), RootDeviceName: aws.String("/dev/xvda"), VirtualizationType: aws.String("hvm"), TagSpecifications: spec("image"),
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &ec2types.EbsBlockDevice{SnapshotId: snapshot.SnapshotId}}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := c.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String("bake-left"), Description: aws.String("left"), TagSpecifications: spec("security-group")})
	_, err2 := c.CreateKeyPair(ctx, &ec2.CreateKeyPairInput{KeyName: aws.String("bake-left"), TagSpecifications: spec("key-pair")})
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	name, path := aws.String("bake-left"), aws.String("/bake/")
	_, err3 := roles.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, Path: path, AssumeRolePolicyDocument: &trust, Tags: roleTags})
	_, err4 := roles.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: name, PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}]}`)})
	_, err5 := roles.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore")})
	_, err6 := roles.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: name, Path: path})
	_, err7 := roles.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name})
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		t.Fatal(err)
	}
	return []string{*started.Instances[0].InstanceId, *volume.VolumeId, *candidate.ImageId, "ec2-key-pair", "ec2-security-group", "iam-instance-profile"}
}

func TestImagesAreDestroyedUnderThePolicyOfTheCommand(t *testing.T) {
	l := newLimited(t)
	if err := os.WriteFile(filepath.Join(l.dir, "web.yaml"), []byte("name: web\nsource: {ami: {id: ami-0123456789abcdef0, region: eu-west-1}}\noutputs: [{ami: web}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	idle := map[string]string{"kms:ListGrants": "of an encrypted image", "kms:RevokeGrant": "of an encrypted image", "ec2:DescribeImageAttribute": "of an encrypted image",
		"RemoveImages ec2:DeregisterImage": "copies of the image", "RemoveTheImage ec2:DeregisterImage": "RemoveImages allows it, as bake has made it"}
	byTemplate := map[string]string{}
	for _, k := range []string{"kms:ListGrants", "kms:RevokeGrant", "ec2:DescribeImageAttribute"} {
		byTemplate[k] = idle[k]
	}
	mine := product(t, l.box, "web", "web-1")
	other := product(t, l.box, "db", "db-1")
	l.under(nil, "destroy", "web.yaml")
	l.under(byTemplate, "destroy", "web.yaml", "--yes")
	if left := ownImages(t, l.box); !slices.Equal(left, []string{other}) {
		t.Errorf("left are %q of %s and %s", left, mine, other)
	}
	again := product(t, l.box, "web", "web-2")
	permittest.Limit(t, l.box, l.policy("destroy", "web.yaml", "--yes"))
	if code, _, _ := l.run("destroy", "db-1", "--yes"); code == 0 {
		t.Error("another template's image is destroyed with the policy of this one's")
	}
	l.under(byTemplate, "destroy", "db-1", "--yes")
	l.under(idle, "destroy", again, "--yes")
	if left := ownImages(t, l.box); len(left) != 0 {
		t.Errorf("left are %q", left)
	}
}

// product is an image that a build has made.
func product(t *testing.T, box *sandbox.Sandbox, template, name string) string {
	t.Helper()
	c := ec2.NewFromConfig(sandboxtest.Config(box, inRegion))
	tags := []ec2types.Tag{}
	for k, v := range map[string]string{amazon.TagRun: "r1", amazon.TagTemplate: template, amazon.TagBuild: template, amazon.TagState: "ready"} {
		tags = append(tags, ec2types.Tag{Key: &k, Value: &v})
	}
	spec := func(kind ec2types.ResourceType) []ec2types.TagSpecification {
		return []ec2types.TagSpecification{{ResourceType: kind, Tags: tags}}
	}
	volume, err := c.CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String(inRegion + "a"), Size: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := c.CreateSnapshot(t.Context(), &ec2.CreateSnapshotInput{VolumeId: volume.VolumeId, TagSpecifications: spec("snapshot")})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.RegisterImage(t.Context(), &ec2.RegisterImageInput{Name: &name, RootDeviceName: aws.String("/dev/xvda"), VirtualizationType: aws.String("hvm"), Architecture: "x86_64", TagSpecifications: spec("image"),
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &ec2types.EbsBlockDevice{SnapshotId: snapshot.SnapshotId}}}})
	if err != nil {
		t.Fatal(err)
	}
	return *out.ImageId
}

func ownImages(t *testing.T, box *sandbox.Sandbox) []string {
	t.Helper()
	out, err := ec2.NewFromConfig(sandboxtest.Config(box, inRegion)).DescribeImages(t.Context(), &ec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, i := range out.Images {
		all = append(all, *i.ImageId)
	}
	return all
}

// TestServicesAreKeptUnderThePoliciesOfTheCommands runs each command of bake ecs
// in a row, from a cluster to its end.
func TestServicesAreKeptUnderThePoliciesOfTheCommands(t *testing.T) {
	w := newECSWorld(t)
	w.write("api.yaml", apiTemplate)
	w.write("task.yaml", apiTask)
	l := &limited{t, w.sandbox, w.dir}
	at := []string{"--cluster", "prod", "--service", "api"}
	do := func(idle map[string]string, words string, more ...string) string {
		t.Helper()
		return l.under(idle, append(strings.Fields(words), more...)...)
	}
	// What is looked at before a deployment depends on what the service names.
	enough := func(words string, more ...string) {
		t.Helper()
		l.enough(append(strings.Fields(words), more...)...)
	}
	balanced := map[string]string{"elasticloadbalancing:DescribeTargetHealth": "of a service behind a load balancer"}
	do(nil, "ecs clusters create prod --tag team=web")
	do(nil, "ecs clusters")
	do(nil, "ecs clusters describe prod")
	// A registry on loopback may be the sandbox's ECR, which is asked whether it is.
	l.works("ecs", "deploy", "api.yaml", "-o", "plain", "--var", "image="+w.image("v1"))
	do(balanced, "ecs status", at...)
	do(nil, "ecs services --cluster prod")
	do(balanced, "ecs services describe api --cluster prod")
	out := do(nil, "ecs tasks -o json", at...)
	var tasks []struct{ ID string }
	if err := json.Unmarshal([]byte(out), &tasks); err != nil || len(tasks) == 0 {
		t.Fatalf("%v %s", err, out)
	}
	do(nil, "ecs tasks show --cluster prod", tasks[0].ID)
	do(nil, "ecs tasks stop --cluster prod", tasks[0].ID)
	enough("ecs wait", at...)
	enough("ecs diff", at...)
	enough("ecs render", at...)
	enough("ecs scale 1 -o plain", at...)
	enough("ecs refresh -o plain", at...)
	do(nil, "ecs init --dir live", at...)
	do(nil, "ecs revisions", at...)
	do(map[string]string{"ecs:DeregisterTaskDefinition": "all revisions are in use"}, "ecs revisions --keep 0", at...)
	enough("ecs run --cluster prod --like api -o plain -- true")
	do(nil, "ecs services destroy api --cluster prod --yes")
	do(nil, "ecs clusters destroy prod --yes")
}
