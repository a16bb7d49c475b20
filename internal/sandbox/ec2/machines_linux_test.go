package ec2_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"

	"bake/internal/need"
	"bake/internal/sandbox/ec2"
	"bake/internal/sandbox/machinetest"
)

// A lab is a cloud with machines whose states take no time, a key pair and a group that lets SSH in.
type lab struct {
	*cloud
	c      *sdk.Client
	signer ssh.Signer
	group  string
	// machines is the folder of its disks.
	machines string
}

// startIn starts a cloud whose machines are in a folder, and whose states take no time.
func startIn(t *testing.T, dir string) *cloud {
	t.Helper()
	c := start(t, ec2.Options{Machines: dir})
	c.world.Pace, c.world.Now = 0, time.Now
	return c
}

func newLab(t *testing.T) *lab {
	t.Helper()
	machinetest.Program(t)
	dir := t.TempDir()
	l := &lab{cloud: startIn(t, dir), machines: dir}
	l.c = l.in("us-east-1")
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err == nil {
		l.signer, err = ssh.NewSignerFromKey(private)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.c.ImportKeyPair(t.Context(), &sdk.ImportKeyPairInput{KeyName: aws.String("k"), PublicKeyMaterial: ssh.MarshalAuthorizedKey(l.signer.PublicKey())})
	want(t, err, "")
	g, err := l.c.CreateSecurityGroup(t.Context(), &sdk.CreateSecurityGroupInput{GroupName: aws.String("g"), Description: aws.String("d")})
	want(t, err, "")
	l.group = *g.GroupId
	l.open(types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []types.IpRange{{CidrIp: aws.String("127.0.0.1/32")}}})
	return l
}

func (l *lab) open(p types.IpPermission) {
	l.t.Helper()
	_, err := l.c.AuthorizeSecurityGroupIngress(l.t.Context(), &sdk.AuthorizeSecurityGroupIngressInput{GroupId: &l.group, IpPermissions: []types.IpPermission{p}})
	want(l.t, err, "")
}

// run launches a machine and waits until it runs.
func (l *lab) run(image *string, change func(*sdk.RunInstancesInput)) types.Instance {
	l.t.Helper()
	i := launch(l.t, l.c, func(in *sdk.RunInstancesInput) {
		if image != nil {
			in.ImageId = image
		}
		in.KeyName, in.SecurityGroupIds = aws.String("k"), []string{l.group}
		if change != nil {
			change(in)
		}
	})
	return l.await(*i.InstanceId, "running")
}

// await polls until the instance has a state.
func (l *lab) await(id string, state types.InstanceStateName) types.Instance {
	l.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		i := describe(l.t, l.c, id)
		switch {
		case i.State.Name == state:
			return i
		case time.Now().After(deadline):
			l.t.Fatalf("%s is %s (%v), want %s", id, i.State.Name, i.StateReason, state)
		}
	}
}

// awaitImage polls until the image is available.
func (l *lab) awaitImage(id *string) {
	l.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		m := describeImage(l.t, l.c, *id)
		if m.State == "available" {
			return
		}
		if m.State != "pending" || time.Now().After(deadline) {
			l.t.Fatalf("image is %s: %+v", m.State, m.StateReason)
		}
	}
}

// sh runs a command on the instance, as soon as it can be reached.
func (l *lab) sh(i types.Instance, user, command string) string {
	l.t.Helper()
	client := l.dial(i, user)
	defer client.Close()
	s, err := client.NewSession()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := s.CombinedOutput(command)
	if err != nil {
		l.t.Fatalf("%s: %v: %s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (l *lab) dial(i types.Instance, user string) *ssh.Client {
	l.t.Helper()
	config := &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(l.signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: time.Second}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		client, err := ssh.Dial("tcp", net.JoinHostPort(*i.PublicIpAddress, "22"), config)
		if err == nil {
			return client
		}
		if time.Now().After(deadline) {
			l.t.Fatal(err)
		}
	}
}

func TestAnImageOfAMachineHasWhatWasWrittenOnIt(t *testing.T) {
	l := newLab(t)
	i := l.run(nil, func(in *sdk.RunInstancesInput) {
		in.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\necho told > /data\n")))
	})
	if got := l.sh(i, "ec2-user", "sudo sh -c 'echo baked > /baked; sync'; whoami; cat /baked"); got != "root\nbaked" {
		t.Errorf("on the machine: %q", got)
	}
	for _, stop := range []bool{false, true} {
		name := "running"
		if stop {
			name = "stopped"
			_, err := l.c.StopInstances(t.Context(), &sdk.StopInstancesInput{InstanceIds: []string{*i.InstanceId}})
			want(t, err, "")
			l.await(*i.InstanceId, "stopped")
		}
		m, err := l.c.CreateImage(t.Context(), &sdk.CreateImageInput{InstanceId: i.InstanceId, Name: &name})
		want(t, err, "")
		l.awaitImage(m.ImageId)
		copied := l.run(m.ImageId, nil)
		if got := l.sh(copied, "ec2-user", "cat /baked"); got != "baked" {
			t.Errorf("%s: %q", name, got)
		}
		_, err = l.c.TerminateInstances(t.Context(), &sdk.TerminateInstancesInput{InstanceIds: []string{*copied.InstanceId}})
		want(t, err, "")
		l.await(*copied.InstanceId, "terminated")
	}
	_, err := l.c.StartInstances(t.Context(), &sdk.StartInstancesInput{InstanceIds: []string{*i.InstanceId}})
	want(t, err, "")
	i = l.await(*i.InstanceId, "running")
	if got := l.sh(i, "ec2-user", "cat /baked"); got != "baked" {
		t.Errorf("started again: %q", got)
	}
	out, err := l.c.GetConsoleOutput(t.Context(), &sdk.GetConsoleOutputInput{InstanceId: i.InstanceId, Latest: aws.Bool(true)})
	want(t, err, "")
	if text, _ := base64.StdEncoding.DecodeString(aws.ToString(out.Output)); len(text) == 0 {
		t.Error("the console is empty")
	}
}

func TestSecurityGroupsDecideWhoConnectsAlsoWhenTheyChange(t *testing.T) {
	l := newLab(t)
	i := l.run(nil, nil)
	l.dial(i, "ec2-user").Close()
	all := []types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []types.IpRange{{CidrIp: aws.String("127.0.0.1/32")}}}}
	_, err := l.c.RevokeSecurityGroupIngress(t.Context(), &sdk.RevokeSecurityGroupIngressInput{GroupId: &l.group, IpPermissions: all})
	want(t, err, "")
	config := &ssh.ClientConfig{User: "ec2-user", Auth: []ssh.AuthMethod{ssh.PublicKeys(l.signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: time.Second}
	if c, err := ssh.Dial("tcp", *i.PublicIpAddress+":22", config); err == nil {
		c.Close()
		t.Error("a connection came in after its rule was revoked")
	}
	l.open(types.IpPermission{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("127.0.0.0/8")}}})
	c, err := ssh.Dial("tcp", *i.PublicIpAddress+":22", config)
	if err != nil {
		t.Fatalf("after a rule was added: %v", err)
	}
	c.Close()
}

func TestAGuestThatPowersOffStopsOrTerminatesItsInstance(t *testing.T) {
	l := newLab(t)
	for behaviour, state := range map[types.ShutdownBehavior]types.InstanceStateName{"stop": "stopped", "terminate": "terminated"} {
		i := l.run(nil, func(in *sdk.RunInstancesInput) { in.InstanceInitiatedShutdownBehavior = behaviour })
		client := l.dial(i, "ec2-user")
		s, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Run("sudo poweroff") // the connection ends with it
		client.Close()
		i = l.await(*i.InstanceId, state)
		if aws.ToString(i.StateReason.Code) != "Client.InstanceInitiatedShutdown" {
			t.Errorf("%s: %+v", behaviour, i.StateReason)
		}
	}
}

func TestInstancesRunAgainWhenTheSandboxDoes(t *testing.T) {
	l := newLab(t)
	i := l.run(nil, nil)
	l.sh(i, "ec2-user", "echo kept > /kept")
	data, err := l.control.Save()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.control.Close(); err != nil {
		t.Fatal(err)
	}
	again := &lab{cloud: startIn(t, l.machines), signer: l.signer, group: l.group}
	again.c = again.in("us-east-1")
	if err := again.control.Load(data); err != nil {
		t.Fatal(err)
	}
	i = again.await(*i.InstanceId, "running")
	if got := again.sh(i, "ec2-user", "cat /kept"); got != "kept" {
		t.Errorf("the disk holds %q", got)
	}
}

func TestARootFilesystemOfTheUsersBecomesAnImage(t *testing.T) {
	l := newLab(t)
	i := l.run(nil, nil)
	path := t.TempDir() + "/root.tar"
	tarball, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	client := l.dial(i, "ec2-user")
	defer client.Close()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	s.Stdout = tarball
	if err := s.Run("echo mine > /mine; rm -r /root/.ssh; tar -c -f - -C / bin etc home root usr var mine"); err != nil {
		t.Fatal(err)
	}
	if err := tarball.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := l.c.RegisterImage(t.Context(), &sdk.RegisterImageInput{Name: aws.String("mine"), ImageLocation: &path})
	want(t, err, "")
	l.awaitImage(out.ImageId)
	if got := l.sh(l.run(out.ImageId, nil), "root", "cat /mine"); got != "mine" {
		t.Errorf("it holds %q", got)
	}
	missing, err := l.c.RegisterImage(t.Context(), &sdk.RegisterImageInput{Name: aws.String("missing"), ImageLocation: aws.String("/nowhere.tar")})
	want(t, err, "")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		m := describeImage(t, l.c, *missing.ImageId)
		if m.State == "failed" && strings.Contains(*m.StateReason.Message, "/nowhere.tar") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is %s: %+v", m.State, m.StateReason)
		}
	}
	response, err := http.Post(l.url+"/_sandbox/ec2/images", "application/json", strings.NewReader(`{"name": "everybodys", "path": "`+path+`", "parameter": "/aws/service/mine"}`))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if id, ok := l.control.ImageParameter("us-east-1", "/aws/service/mine"); !ok || response.StatusCode != http.StatusCreated || describeImage(t, l.in("us-east-1"), id).State != "available" {
		t.Errorf("the base: %d, %s", response.StatusCode, id)
	}
}

func TestAMachineThatEndsAtOnceIsStillWholeInItsSnapshot(t *testing.T) {
	l := newLab(t)
	i := l.run(nil, nil)
	l.sh(i, "ec2-user", "head -c 20000000 /dev/zero > /big; echo last > /last")
	out, err := l.c.CreateImage(t.Context(), &sdk.CreateImageInput{InstanceId: i.InstanceId, Name: aws.String("live"), NoReboot: aws.Bool(true)})
	want(t, err, "")
	_, err = l.c.TerminateInstances(t.Context(), &sdk.TerminateInstancesInput{InstanceIds: []string{*i.InstanceId}})
	want(t, err, "")
	l.awaitImage(out.ImageId)
	again := l.run(out.ImageId, nil)
	if got := l.sh(again, "ec2-user", "wc -c < /big; cat /last"); got != "20000000\nlast" {
		t.Errorf("the image holds %q", got)
	}
	_, err = l.c.TerminateInstances(t.Context(), &sdk.TerminateInstancesInput{InstanceIds: []string{*again.InstanceId}})
	want(t, err, "")
	l.await(*i.InstanceId, "terminated")
	l.await(*again.InstanceId, "terminated")
	_, err = l.c.DeregisterImage(t.Context(), &sdk.DeregisterImageInput{ImageId: out.ImageId, DeleteAssociatedSnapshots: aws.Bool(true)})
	want(t, err, "")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		disks, err := os.ReadDir(l.machines + "/disks")
		snapshots, err2 := os.ReadDir(l.machines + "/snapshots")
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if len(disks) == 0 && len(snapshots) == 1 { // the built-in base
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left on disk: %v and %v", disks, snapshots)
		}
	}
}

func TestAnElasticIPLeadsToTheMachineAndTheOldAddressNowhere(t *testing.T) {
	need.Root(t)
	l := newLab(t)
	i := l.run(nil, nil)
	l.dial(i, "ec2-user").Close()
	ip, err := l.c.AllocateAddress(t.Context(), &sdk.AllocateAddressInput{})
	want(t, err, "")
	_, err = l.c.AssociateAddress(t.Context(), &sdk.AssociateAddressInput{AllocationId: ip.AllocationId, InstanceId: i.InstanceId})
	want(t, err, "")
	if c, err := net.Dial("tcp", *i.PublicIpAddress+":22"); err == nil {
		c.Close()
		t.Errorf("somebody still answers at %s", *i.PublicIpAddress)
	}
	i.PublicIpAddress = ip.PublicIp
	if got := l.sh(i, "ec2-user", "whoami"); got != "root" {
		t.Errorf("on the machine: %q", got)
	}
	for _, step := range []func(){
		func() {
			_, err := l.c.StopInstances(t.Context(), &sdk.StopInstancesInput{InstanceIds: []string{*i.InstanceId}})
			want(t, err, "")
			l.await(*i.InstanceId, "stopped")
		},
		func() {
			_, err := l.c.StartInstances(t.Context(), &sdk.StartInstancesInput{InstanceIds: []string{*i.InstanceId}})
			want(t, err, "")
			l.await(*i.InstanceId, "running")
		},
	} {
		step()
	}
	l.dial(i, "ec2-user").Close()
}
