package ami_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/internal/need"
	"bake/internal/sandbox/api"
	"bake/steps/amazon"
	"bake/steps/amazon/ami"
	"bake/steps/amazon/image"
	"bake/steps/amazon/launch"
	"bake/templates"
)

func TestAMachineIsBakedAtItsIPv6AddressAndTheGroupLetsThatInAlone(t *testing.T) {
	if off, err := os.ReadFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6"); err != nil || strings.TrimSpace(string(off)) != "0" {
		need.Missing(t, "this machine's kernel has no IPv6, or it is disabled")
	}
	w := newWorld(t)
	const template = `
name: web
source: {ami: {owner: amazon, name: "al2023-ami-2023.*-x86_64"}, ssh: {address: ipv6}}
steps: [{script: 'case "$SSH_CONNECTION" in *:*) ;; *) echo "$SSH_CONNECTION"; exit 1 ;; esac'}]
outputs: [{ami: web-1}]
`
	err := w.pin(template)
	if none, ok := errors.AsType[*launch.NotFoundError](err); !ok || !strings.Contains(none.Error(), "IPv6") || !strings.Contains(none.Hint(), "associate-subnet-cidr-block") {
		t.Fatalf("subnets without IPv6: %v", err)
	}
	c, ctx := w.client(), t.Context()
	subnets, err := c.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		t.Fatal(err)
	}
	one := subnets.Subnets[2]
	block, err := c.AssociateVpcCidrBlock(ctx, &ec2.AssociateVpcCidrBlockInput{VpcId: one.VpcId, AmazonProvidedIpv6CidrBlock: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	small := netip.PrefixFrom(netip.MustParsePrefix(*block.Ipv6CidrBlockAssociation.Ipv6CidrBlock).Addr(), 64)
	if _, err := c.AssociateSubnetCidrBlock(ctx, &ec2.AssociateSubnetCidrBlockInput{SubnetId: one.SubnetId, Ipv6CidrBlock: aws.String(small.String())}); err != nil {
		t.Fatal(err)
	}
	var rules []string
	w.sandbox.Faults.OnCall(func(call *api.Call, _ int, done bool) {
		if call.Action != "StopInstances" || done {
			return
		}
		out, err := c.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{amazon.Filter("tag-key", amazon.TagRun)}})
		if err != nil || len(out.SecurityGroups) != 1 {
			return
		}
		for _, p := range out.SecurityGroups[0].IpPermissions {
			for _, r := range p.IpRanges {
				rules = append(rules, *r.CidrIp)
			}
			for _, r := range p.Ipv6Ranges {
				rules = append(rules, *r.CidrIpv6)
			}
		}
	})
	if _, err := w.bake(template); err != nil {
		t.Fatal(err)
	}
	if len(rules) != 1 || rules[0] != "::1/128" {
		t.Errorf("the group lets in %v, want this machine's IPv6 address alone", rules)
	}
}

func TestATemplateWhoseMachineHasNoIPv6AddressToBeReachedAtIsRefused(t *testing.T) {
	for _, machine := range []string{"machine: {ipv6: false}", "machine: {network_interfaces: [{public_ip: true}]}"} {
		file := filepath.Join(t.TempDir(), "bake.yaml")
		text := strings.Replace(tiny, `x86_64"}}`, `x86_64"}, ssh: {address: ipv6}, `+machine+`}`, 1)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cat := builder.Catalog{
			Sources:      map[string]func() builder.Source{"ami": ami.New(amazon.New(amazon.Options{}))},
			Provisioners: map[string]func() builder.Provisioner{"script": func() builder.Provisioner { return new(script) }},
			Outputs:      image.Outputs(image.Deps{Cloud: amazon.New(amazon.Options{})}),
		}
		_, diags := templates.Parse(file, cat.Language(), templates.Options{RunID: "r1", Now: time.Now()})
		if err := diags.Err(); err == nil || !strings.Contains(err.Error(), "reached at its IPv6 address") {
			t.Errorf("%s: %v", machine, err)
		}
	}
}
