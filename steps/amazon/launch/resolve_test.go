package launch

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/internal/sandbox"
	"bake/internal/sandbox/api"
	"bake/internal/sandbox/sandboxtest"
)

const region = "eu-west-1"

// resolve reads a machine block and finds out what it means in a sandbox.
func resolve(t *testing.T, s *sandbox.Sandbox, machine string) (Resolved, error) {
	t.Helper()
	m, err := decode(t, machine)
	if err != nil {
		t.Fatal(err)
	}
	return m.Resolve(t.Context(), sandboxtest.Config(s, region), types.ArchitectureValuesX8664)
}

// where are the tries of a machine: type and zone.
func where(r Resolved) string {
	var all []string
	for _, t := range r.Tries {
		all = append(all, t.Type+" "+strings.TrimPrefix(t.Subnet.Zone, region))
	}
	return strings.Join(all, ", ")
}

func fault(t *testing.T, s *sandbox.Sandbox, f api.Fault) {
	t.Helper()
	f.Kind = api.FaultError
	if err := s.Faults.Add(f); err != nil {
		t.Fatal(err)
	}
}

// TestASubnetHasToOfferTheType: c5 is not to be had in the region's zone c.
func TestASubnetHasToOfferTheType(t *testing.T) {
	s := sandboxtest.Start(t)
	for machine, want := range map[string]string{
		"type: [c5.large, t3.small]":                       "c5.large a, c5.large b, t3.small a, t3.small b, t3.small c",
		"{type: c5.large, zone: [eu-west-1b, eu-west-1a]}": "c5.large b, c5.large a",
		"{}": "t3.small a, t3.small b, t3.small c",
	} {
		if r, err := resolve(t, s, machine); err != nil || where(r) != want {
			t.Errorf("%s: %s, %v, want %s", machine, where(r), err, want)
		}
	}
	_, err := resolve(t, s, "{type: c5.large, zone: eu-west-1c}")
	var none *NotFoundError
	if !errors.As(err, &none) || !strings.Contains(err.Error(), "with c5.large among eu-west-1c") || none.Hint() == "" {
		t.Errorf("a type that its zone does not have: %v", err)
	}
}

func TestACallerWhoMayNotAskForOfferingsTriesEverySubnet(t *testing.T) {
	s := sandboxtest.Start(t)
	for _, action := range []string{"DescribeInstanceTypeOfferings", "DescribeInstanceTypes"} {
		fault(t, s, api.Fault{Action: action, Code: "UnauthorizedOperation", Status: 403, Times: -1})
	}
	if r, err := resolve(t, s, "type: c5.large"); err != nil || where(r) != "c5.large a, c5.large b, c5.large c" {
		t.Errorf("%s, %v", where(r), err)
	}
	s.Faults.Clear()
	fault(t, s, api.Fault{Action: "DescribeInstanceTypeOfferings", Code: "InvalidParameterValue"})
	if r, err := resolve(t, s, "type: c5.large"); err == nil {
		t.Errorf("another error was taken for a denial: %s", where(r))
	}
}

// A lan is a VPC of the account with subnets in zones; the first has fewer free
// addresses than the others.
func lan(t *testing.T, c *ec2.Client, name, network string, zones ...string) (vpc string, subnets []string) {
	t.Helper()
	tag := func(kind types.ResourceType, tier string) []types.TagSpecification {
		return []types.TagSpecification{{ResourceType: kind, Tags: []types.Tag{{Key: aws.String("Name"), Value: &name}, {Key: aws.String("tier"), Value: &tier}}}}
	}
	v, err := c.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String(network + ".0.0/16"), TagSpecifications: tag(types.ResourceTypeVpc, "build")})
	if err != nil {
		t.Fatal(err)
	}
	for i, z := range zones {
		size := "/24"
		if i == 0 {
			size = "/28"
		}
		s, err := c.CreateSubnet(t.Context(), &ec2.CreateSubnetInput{VpcId: v.Vpc.VpcId, AvailabilityZone: aws.String(region + z), CidrBlock: aws.String(network + "." + string(rune('0'+i)) + ".0" + size),
			TagSpecifications: tag(types.ResourceTypeSubnet, "build")})
		if err != nil {
			t.Fatal(err)
		}
		subnets = append(subnets, *s.Subnet.SubnetId)
	}
	return *v.Vpc.VpcId, subnets
}

func TestSubnetsAreFoundByIDByFilterAndByTheirVPC(t *testing.T) {
	s := sandboxtest.Start(t)
	c := ec2.NewFromConfig(sandboxtest.Config(s, region))
	first, mine := lan(t, c, "first", "10.1", "a", "b", "c")
	second, _ := lan(t, c, "second", "10.2", "a")
	for machine, want := range map[string]struct{ vpc, tries string }{
		"vpc: " + first:                                   {first, "t3.small b, t3.small c, t3.small a"}, // the most free addresses first
		"vpc: {name: second}":                             {second, "t3.small a"},
		"vpc: {filters: {cidr: 10.2.0.0/16}}":             {second, "t3.small a"},
		"{vpc: {name: first}, zone: [eu-west-1a]}":        {first, "t3.small a"},
		"subnet: [" + mine[0] + ", " + mine[2] + "]":      {first, "t3.small a, t3.small c"}, // as they are listed
		"subnet: {name: second}":                          {second, "t3.small a"},
		"subnet: [" + mine[0] + ", {name: second}]":       {first, "t3.small a"}, // security groups belong to one VPC
		"network_interfaces: [{subnet: " + mine[1] + "}]": {first, "t3.small b"},
	} {
		r, err := resolve(t, s, machine)
		if err != nil || r.VPC != want.vpc || where(r) != want.tries {
			t.Errorf("%s: %s in %s, %v; want %s in %s", machine, where(r), r.VPC, err, want.tries, want.vpc)
		}
	}
	var both *AmbiguousError
	if _, err := resolve(t, s, "vpc: {tags: {tier: build}}"); !errors.As(err, &both) || len(both.Found) != 2 || both.Hint() == "" {
		t.Errorf("two VPCs fit: %v", err)
	}
}

func TestSecurityGroupsAreFoundByIDByNameAndByTag(t *testing.T) {
	s := sandboxtest.Start(t)
	c := ec2.NewFromConfig(sandboxtest.Config(s, region))
	var ids []string
	for _, name := range []string{"web", "ops"} {
		out, err := c.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: &name, Description: &name,
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSecurityGroup, Tags: []types.Tag{{Key: aws.String("of"), Value: &name}}}}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, *out.GroupId)
	}
	r, err := resolve(t, s, "security_groups: ["+ids[0]+", {tags: {of: ops}}]")
	if err != nil || !slices.Equal(r.Groups, ids) {
		t.Errorf("%q, %v, want %q", r.Groups, err, ids)
	}
	if r, err = resolve(t, s, "security_groups: {name: web}"); err != nil || !slices.Equal(r.Groups, ids[:1]) {
		t.Errorf("%q, %v, want %q", r.Groups, err, ids[:1])
	}
}

func TestTheTypeFitsTheImageAlsoWhereTheTemplateNamesNone(t *testing.T) {
	s := sandboxtest.Start(t)
	m := Machine{}
	for arch, want := range map[types.ArchitectureValues]string{"x86_64": "t3.small", "arm64": "t4g.small"} {
		r, err := m.Resolve(t.Context(), sandboxtest.Config(s, region), arch)
		if err != nil || r.Tries[0].Type != want {
			t.Errorf("%s: %s, %v", arch, where(r), err)
		}
	}
	var wrong *TypeError
	if _, err := resolve(t, s, "type: [t3.small, t4g.small]"); !errors.As(err, &wrong) || wrong.Type != "t4g.small" || !strings.Contains(wrong.Hint(), "t3.small") {
		t.Errorf("one of the types does not fit: %v", err)
	}
}
