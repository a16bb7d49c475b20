package ec2_test

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/internal/need"
)

// needIPv6 skips a test where the kernel has no IPv6.
func needIPv6(t *testing.T) {
	t.Helper()
	need.Root(t)
	if off, err := os.ReadFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6"); err != nil || strings.TrimSpace(string(off)) != "0" {
		need.Missing(t, "this machine's kernel has no IPv6, or it is disabled")
	}
}

func TestThisMachineReachesAnInstanceAtItsIPv6AddressAsTheGroupsAllow(t *testing.T) {
	needIPv6(t)
	l := newLab(t)
	s := makeSix(t, l.c)
	both := func(in *sdk.RunInstancesInput) {
		in.SecurityGroupIds = nil
		in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), SubnetId: &s.subnet,
			AssociatePublicIpAddress: aws.Bool(true), Ipv6AddressCount: aws.Int32(1), Groups: []string{l.group}}}
	}
	i := l.run(nil, both)
	if !slices.Contains(local(t), *i.Ipv6Address) {
		t.Fatalf("%s is not among this machine's addresses", *i.Ipv6Address)
	}
	other := l.run(nil, both)
	if through(l, other, *i.Ipv6Address) {
		t.Error("a connection came in that no rule allows: the group lets in IPv4 alone")
	}
	l.open(types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("::1/128")}}})
	l.open(types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &l.group}}})
	if !through(l, other, *i.Ipv6Address) {
		t.Error("a machine of the group that is let in does not reach it")
	}
	i.PublicIpAddress = i.Ipv6Address // which is what sh dials
	whole := netip.MustParseAddr(*i.Ipv6Address).StringExpanded()
	if got := l.sh(i, "ec2-user", "cat /proc/net/if_inet6"); !strings.Contains(got, strings.ReplaceAll(whole, ":", "")) {
		t.Errorf("the machine does not know its address: %q", got)
	}
	if got := l.sh(i, "ec2-user", "whoami"); got != "root" {
		t.Errorf("on the machine: %q", got)
	}
}
