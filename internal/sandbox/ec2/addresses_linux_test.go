package ec2_test

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"

	"bake/internal/need"
)

func TestMachinesOfAVPCReachOneAnotherByPrivateAddressAndNameAsTheGroupsAllow(t *testing.T) {
	need.Root(t)
	l := newLab(t)
	one, two := l.run(nil, nil), l.run(nil, nil)
	for _, i := range []types.Instance{one, two} {
		private := netip.MustParseAddr(*i.PrivateIpAddress)
		if !l.subnet(i.SubnetId).Contains(private) || *i.PublicIpAddress == *i.PrivateIpAddress || *i.PublicDnsName != *i.PublicIpAddress {
			t.Errorf("addresses %s and %s", private, *i.PublicIpAddress)
		}
		if want := "ip-" + strings.ReplaceAll(private.String(), ".", "-") + ".ec2.internal"; *i.PrivateDnsName != want {
			t.Errorf("private name %s, want %s", *i.PrivateDnsName, want)
		}
		if got := l.sh(i, "ec2-user", "hostname"); got != strings.TrimSuffix(*i.PrivateDnsName, ".ec2.internal") {
			t.Errorf("the machine is called %s", got)
		}
	}
	if through(l, one, *two.PrivateIpAddress) {
		t.Error("a connection came in that no rule allows")
	}
	l.open(types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &l.group}}})
	if !through(l, one, *two.PrivateIpAddress) {
		t.Error("the other machine is not reached by its private address")
	}
	if !through(l, one, *two.PrivateDnsName) {
		t.Error("the other machine is not reached by its private name")
	}
}

// through reports whether an SSH server answers at an address, asked from inside a machine.
func through(l *lab, from types.Instance, address string) bool {
	l.t.Helper()
	jump := l.dial(from, "ec2-user")
	defer jump.Close()
	c, err := jump.Dial("tcp", net.JoinHostPort(address, "22"))
	if err != nil {
		return false
	}
	defer c.Close()
	conn, _, _, err := ssh.NewClientConn(c, address, &ssh.ClientConfig{User: "ec2-user", Auth: []ssh.AuthMethod{ssh.PublicKeys(l.signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err == nil {
		conn.Close()
	}
	return err == nil
}

func (l *lab) subnet(id *string) netip.Prefix {
	l.t.Helper()
	out, err := l.c.DescribeSubnets(l.t.Context(), &sdk.DescribeSubnetsInput{SubnetIds: []string{*id}})
	want(l.t, err, "")
	return netip.MustParsePrefix(*out.Subnets[0].CidrBlock)
}

func TestThisMachineReachesAnInstanceAtItsPrivateAddressWhileItRuns(t *testing.T) {
	need.Root(t)
	l := newLab(t)
	i := l.run(nil, func(in *sdk.RunInstancesInput) {
		in.SecurityGroupIds = nil
		in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), AssociatePublicIpAddress: aws.Bool(false), Groups: []string{l.group}}}
	})
	if i.PublicIpAddress != nil {
		t.Fatalf("it has the public address %s", *i.PublicIpAddress)
	}
	if !slices.Contains(local(t), *i.PrivateIpAddress) {
		t.Fatalf("%s is not among this machine's addresses", *i.PrivateIpAddress)
	}
	i.PublicIpAddress = i.PrivateIpAddress // which is what sh dials
	if got := l.sh(i, "ec2-user", "whoami"); got != "root" {
		t.Errorf("on the machine: %q", got)
	}
	_, err := l.c.TerminateInstances(t.Context(), &sdk.TerminateInstancesInput{InstanceIds: []string{*i.InstanceId}})
	want(t, err, "")
	for deadline := time.Now().Add(20 * time.Second); slices.Contains(local(t), *i.PrivateIpAddress); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is still this machine's", *i.PrivateIpAddress)
		}
	}
}

// local are this machine's addresses.
func local(t *testing.T) []string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, a := range all {
		ip, _, _ := strings.Cut(a.String(), "/")
		texts = append(texts, ip)
	}
	return texts
}
