package ami_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	gossh "golang.org/x/crypto/ssh"

	"bake/builder"
	"bake/builder/buildertest"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/sandboxtest"
	"bake/internal/sshtest"
	"bake/steps/ssh"
	"bake/templates"
)

// way is a template of one build with its ssh block.
func way(access, ssh string) string {
	return fmt.Sprintf(`
name: web
source:
  ami: {owner: amazon, name: "al2023-ami-2023.*-x86_64"%s}
  ssh: {%s}
steps:
  - script: echo one >>/log
  - script: reboot
  - script: echo two >>/log
outputs:
  - ami: web-1
`, access, ssh)
}

// TestABuildGoesThroughSessionManager: nothing lets the network in, the agent
// is not there at first, the machine reboots, and the caller is a role.
func TestABuildGoesThroughSessionManagerWithTheRightsOfARole(t *testing.T) {
	w := newWorld(t)
	admin := iam.NewFromConfig(sandboxtest.Config(w.sandbox, region))
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}`
	role, err := admin.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("builder"), AssumeRolePolicyDocument: &trust})
	if err != nil {
		t.Fatal(err)
	}
	all := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	if _, err := admin.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("builder"), PolicyName: aws.String("all"), PolicyDocument: &all}); err != nil {
		t.Fatal(err)
	}
	w.before = w.things()
	if err := w.sandbox.Faults.Add(api.Fault{Service: "ssm", Action: "StartSession", Kind: api.FaultError, Code: "TargetNotConnected"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.bake(way(", assume_role: "+*role.Role.Arn, "via: session-manager")); err != nil {
		t.Fatal(err)
	}
	w.wantOnly("after the build", "image web-1 available ready", "snapshot")
	if !w.told("its Systems Manager agent is not connected yet") {
		t.Error("nothing tells that the agent was not there")
	}
	if n := w.count("AuthorizeSecurityGroupIngress"); n != 0 {
		t.Errorf("the group lets somebody in: %d calls", n)
	}
	for _, c := range w.sandbox.Faults.Calls() {
		if c.Service == "ssm" && !strings.Contains(c.Caller, ":assumed-role/builder/") && strings.HasSuffix(c.Action, "Session") {
			t.Errorf("%s was called by %s", c.Action, c.Caller)
		}
	}
	if started, ended := w.succeeded("StartSession"), w.succeeded("TerminateSession"); started < 2 || ended != started {
		t.Errorf("%d sessions were started and %d ended", started, ended)
	}
	cfg := sandboxtest.Config(w.sandbox, region)
	left, err := ssm.NewFromConfig(cfg).DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: ssmtypes.SessionStateActive})
	if err != nil || len(left.Sessions) != 0 {
		t.Errorf("sessions are left: %v %+v", err, left)
	}
}

func TestASessionThatIsForbiddenEndsTheBuildAtOnce(t *testing.T) {
	w := newWorld(t)
	if err := w.sandbox.Faults.Add(api.Fault{Service: "ssm", Action: "StartSession", Times: -1, Kind: api.FaultError, Code: "AccessDeniedException", Message: "not authorized"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.bake(way("", "via: session-manager")); err == nil || !strings.Contains(err.Error(), "AccessDeniedException") {
		t.Errorf("got %v", err)
	}
	if n := w.count("StartSession"); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
	w.wantOnly("after the build")
}

func TestABuildThroughSessionManagerWorksUnderItsPolicy(t *testing.T) {
	w := newWorld(t)
	admin := iam.NewFromConfig(sandboxtest.Config(w.sandbox, region))
	name, trust := aws.String("managed"), `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	_, err := admin.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: &trust})
	if err == nil {
		_, err = admin.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore")})
	}
	if err == nil {
		_, err = admin.CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: name})
	}
	if err == nil {
		_, err = admin.AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name})
	}
	if err != nil {
		t.Fatal(err)
	}
	w.before = w.things()
	p := w.compile(way("", "via: session-manager, push_key: true}\n  machine: {profile: managed"))
	doc := policyOf(t, p, w.process())
	e := &builder.Engine{Catalog: w.as(doc), Journal: new(buildertest.Memory), Sink: w, WorkDir: w.work, Env: new(templates.Env)}
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

// TestAPushedKeyIsSentBeforeEachLogin: the machine forgets it when it reboots,
// and a minute after it came.
func TestAPushedKeyIsSentBeforeEachLogin(t *testing.T) {
	w := newWorld(t)
	if _, err := w.bake(way("", "push_key: true")); err != nil {
		t.Fatal(err)
	}
	w.wantOnly("after the build", "image web-1 available ready", "snapshot")
	if imported, sent := w.count("ImportKeyPair"), w.count("SendSSHPublicKey"); imported != 0 || sent < 2 {
		t.Errorf("%d keys were imported, and a key was sent %d times", imported, sent)
	}
}

// TestABuildGoesThroughABastion: the machine has no public address, and its
// group lets in the bastion alone.
func TestABuildGoesThroughABastion(t *testing.T) {
	w := newWorld(t)
	ctx, c := t.Context(), w.client()
	signer, private := sshtest.NewKey(t, "ed25519")
	file := filepath.Join(t.TempDir(), "bastion")
	if err := os.WriteFile(file, []byte(private), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ImportKeyPair(ctx, &ec2.ImportKeyPairInput{KeyName: aws.String("bastion"), PublicKeyMaterial: gossh.MarshalAuthorizedKey(signer.PublicKey())}); err != nil {
		t.Fatal(err)
	}
	group, err := c.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String("bastion"), Description: aws.String("of the bastion")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group.GroupId, IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), CidrIp: aws.String("127.0.0.1/32")}); err != nil {
		t.Fatal(err)
	}
	bastion := w.instance(&ec2.RunInstancesInput{KeyName: aws.String("bastion"), SecurityGroupIds: []string{*group.GroupId}})
	builders, err := c.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String("builders"), Description: aws.String("let in the bastion alone")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: builders.GroupId,
		IpPermissions: []types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: group.GroupId}}}}}); err != nil {
		t.Fatal(err)
	}
	w.before = w.things()
	jump := fmt.Sprintf("address: private_dns, jump: [{host: ec2-user@%s, key: %s, host_key: %q}]}\n  machine: {security_groups: [%s]", *bastion.PublicIpAddress, file, w.hostKey(*bastion.InstanceId), *builders.GroupId)
	if _, err := w.bake(way("", jump)); err != nil {
		t.Fatal(err)
	}
	w.wantOnly("after the build", "image web-1 available ready", "snapshot")
}

// succeeded returns how often a call was answered without an error.
func (w *world) succeeded(action string) int {
	n := 0
	for _, c := range w.sandbox.Faults.Calls() {
		if c.Action == action && c.Code == "" {
			n++
		}
	}
	return n
}

// instance starts an instance of the newest Amazon Linux, and waits until it runs.
func (w *world) instance(in *ec2.RunInstancesInput) types.Instance {
	w.t.Helper()
	ctx, c := w.t.Context(), w.client()
	images, err := c.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"amazon"}, Filters: []types.Filter{{Name: aws.String("name"), Values: []string{"al2023-ami-2023.*-x86_64"}}}})
	if err != nil || len(images.Images) == 0 {
		w.t.Fatalf("images: %v", err)
	}
	in.ImageId, in.InstanceType, in.MinCount, in.MaxCount = images.Images[0].ImageId, types.InstanceTypeT3Micro, aws.Int32(1), aws.Int32(1)
	out, err := c.RunInstances(ctx, in)
	if err != nil {
		w.t.Fatal(err)
	}
	id := *out.Instances[0].InstanceId
	if err := ec2.NewInstanceRunningWaiter(c, func(o *ec2.InstanceRunningWaiterOptions) { o.MinDelay, o.MaxDelay = 50e6, 50e6 }).Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}}, 60e9); err != nil {
		w.t.Fatal(err)
	}
	seen, err := c.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		w.t.Fatal(err)
	}
	return seen.Reservations[0].Instances[0]
}

// hostKey is what an instance tells of itself on its console.
func (w *world) hostKey(id string) string {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		out, err := w.client().GetConsoleOutput(w.t.Context(), &ec2.GetConsoleOutputInput{InstanceId: &id, Latest: aws.Bool(true)})
		if err != nil {
			w.t.Fatal(err)
		}
		text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
		if err != nil {
			w.t.Fatal(err)
		}
		if keys := ssh.ConsoleHostKeys(string(text)); len(keys) > 0 {
			return keys[0]
		}
	}
	w.t.Fatalf("instance %s tells no host keys", id)
	return ""
}

// TestABuildGoesThroughAnInstanceConnectEndpoint: the AWS CLI is told which
// machine and port, and the group lets in what endpoints come from: private
// addresses.
func TestABuildGoesThroughAnInstanceConnectEndpoint(t *testing.T) {
	w := newWorld(t)
	m := w.between(nil)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "aws"), []byte("#!/bin/sh\necho \"$*\" >>"+dir+"/said\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	_, err := w.bakeThrough(m, way("", "via: instance-connect, timeout: 2s"))
	if err == nil || !strings.Contains(err.Error(), "gave up") {
		t.Errorf("error %v", err)
	}
	said, err := os.ReadFile(filepath.Join(dir, "said"))
	want := "ec2-instance-connect open-tunnel --instance-id i-"
	if err != nil || !strings.HasPrefix(string(said), want) || !strings.Contains(string(said), "--remote-port 22 --region us-east-1 --endpoint-url "+m.URL+"\n") {
		t.Errorf("the CLI was told %q, want %q: %v", said, want, err)
	}
	rules := m.of("AuthorizeSecurityGroupIngress")
	if len(rules) != 1 || rules[0].Get("IpPermissions.1.IpRanges.1.CidrIp") != "10.0.0.0/8" || rules[0].Get("IpPermissions.1.IpRanges.3.CidrIp") != "192.168.0.0/16" || rules[0].Has("IpPermissions.1.IpRanges.4.CidrIp") {
		t.Errorf("rules %v", rules)
	}
	w.wantOnly("after the failure")
}
