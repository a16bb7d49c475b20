package launch

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/steps/amazon"
)

// A Subnet is where an instance may be started.
type Subnet struct {
	ID     string `json:"id"`
	Zone   string `json:"zone"`
	VPC    string `json:"vpc"`
	Public bool   `json:"public,omitempty"` // instances get public addresses
}

// NotFoundError says that the account has nothing that a selector names.
type NotFoundError struct {
	Kind   string // "subnet", "security group", "VPC"
	Wanted string
	Region string
	Cure   string
}

func (e *NotFoundError) Error() string {
	if e.Wanted == "" {
		return fmt.Sprintf("there is no %s in %s", e.Kind, e.Region)
	}
	return fmt.Sprintf("there is no %s %s in %s", e.Kind, e.Wanted, e.Region)
}

// Hint says what to do.
func (e *NotFoundError) Hint() string { return e.Cure }

// AmbiguousError says that a selector names several where one is wanted.
type AmbiguousError struct {
	Kind, Wanted string
	Found        []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%s %s: it could be any of %v", e.Kind, e.Wanted, e.Found)
}

// Hint says what to do.
func (e *AmbiguousError) Hint() string { return "name its id, or a tag that only one has" }

// filters are the selector's as the API takes them. nameFilter is what Name is
// looked up by.
func (s Selector) filters(idFilter, nameFilter string) []types.Filter {
	var f []types.Filter
	if s.ID != "" {
		f = append(f, amazon.Filter(idFilter, s.ID))
	}
	if s.Name != "" {
		f = append(f, amazon.Filter(nameFilter, s.Name))
	}
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		f = append(f, amazon.Filter("tag:"+k, s.Tags[k]))
	}
	for _, k := range slices.Sorted(maps.Keys(s.Filters)) {
		f = append(f, amazon.Filter(k, s.Filters[k]...))
	}
	return f
}

// subnets returns where the machine may be started, in the order to try:
// as the template lists them; of those that one selector finds, the one with
// the most free addresses first.
func (m Machine) subnets(ctx context.Context, client *ec2.Client, region string) ([]Subnet, error) {
	if len(m.Interfaces) > 0 && m.Interfaces[0].ID != "" {
		return m.interfaceSubnet(ctx, client, region)
	}
	selectors := m.Subnet
	if len(m.Interfaces) > 0 && m.Interfaces[0].Subnet != "" {
		selectors = Selectors{{ID: m.Interfaces[0].Subnet}}
	}
	if len(selectors) == 0 {
		one, err := m.vpcSelector(ctx, client, region)
		if err != nil {
			return nil, err
		}
		selectors = Selectors{one}
	}
	all, err := describeSubnets(ctx, client, selectors)
	if err != nil {
		return nil, err
	}
	var found []Subnet
	bare := true
	for i, s := range selectors {
		if len(all[i]) == 0 {
			return nil, m.noSubnet(s, region)
		}
		for _, n := range all[i] {
			if m.wantsIPv6() && !hasIPv6(n) {
				continue
			}
			bare = false
			if len(m.Zone) == 0 || slices.Contains(m.Zone, aws.ToString(n.AvailabilityZone)) {
				found = append(found, Subnet{ID: aws.ToString(n.SubnetId), Zone: aws.ToString(n.AvailabilityZone),
					VPC: aws.ToString(n.VpcId), Public: aws.ToBool(n.MapPublicIpOnLaunch)})
			}
		}
	}
	if bare {
		return nil, &NotFoundError{Kind: "subnet", Wanted: "with IPv6 addresses among those that the template names", Region: region,
			Cure: "give the subnet an IPv6 block: aws ec2 associate-subnet-cidr-block; its VPC needs one too"}
	}
	if len(found) == 0 {
		return nil, &NotFoundError{Kind: "subnet", Wanted: fmt.Sprintf("in zone %v", []string(m.Zone)), Region: region, Cure: "the subnets are in other zones: leave zone out, or name other subnets"}
	}
	slices.SortStableFunc(found, func(a, b Subnet) int { // zones in the order of the template
		return cmp.Compare(slices.Index(m.Zone, a.Zone), slices.Index(m.Zone, b.Zone))
	})
	return unique(found), nil
}

// wantsIPv6 reports whether the machine is to have an IPv6 address whatever the subnet says.
func (m Machine) wantsIPv6() bool {
	return m.IPv6 != nil && *m.IPv6 || len(m.Interfaces) > 0 && m.Interfaces[0].IPv6 > 0
}

func hasIPv6(s types.Subnet) bool {
	return slices.ContainsFunc(s.Ipv6CidrBlockAssociationSet, func(a types.SubnetIpv6CidrBlockAssociation) bool {
		return a.Ipv6CidrBlockState != nil && a.Ipv6CidrBlockState.State == types.SubnetCidrBlockStateCodeAssociated
	})
}

// unique drops repeats, and subnets of other VPCs than the first: security
// groups belong to one.
func unique(subnets []Subnet) []Subnet {
	var out []Subnet
	for _, s := range subnets {
		if s.VPC == subnets[0].VPC && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func (m Machine) noSubnet(s Selector, region string) error {
	switch {
	case len(m.Subnet) > 0:
		return &NotFoundError{Kind: "subnet", Wanted: s.String(), Region: region, Cure: "`aws ec2 describe-subnets` lists those that there are"}
	case m.VPC != nil:
		return &NotFoundError{Kind: "subnet", Wanted: "in VPC " + m.VPC.String(), Region: region, Cure: "add a subnet to the VPC, or name another VPC"}
	}
	return &NotFoundError{Kind: "default VPC", Region: region,
		Cure: "name a subnet: machine: {subnet: subnet-...}; or make a default VPC: aws ec2 create-default-vpc"}
}

// vpcSelector selects the subnets of the VPC, or the default ones.
func (m Machine) vpcSelector(ctx context.Context, client *ec2.Client, region string) (Selector, error) {
	if m.VPC == nil {
		return Selector{Filters: filter("default-for-az", "true")}, nil
	}
	id := m.VPC.ID
	if id == "" {
		out, err := client.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: m.VPC.filters("vpc-id", "tag:Name")})
		if err != nil {
			return Selector{}, fmt.Errorf("looking for VPC %s: %w", m.VPC, err)
		}
		var ids []string
		for _, v := range out.Vpcs {
			ids = append(ids, aws.ToString(v.VpcId))
		}
		switch len(ids) {
		case 0:
			return Selector{}, &NotFoundError{Kind: "VPC", Wanted: m.VPC.String(), Region: region, Cure: "`aws ec2 describe-vpcs` lists those that there are"}
		case 1:
			id = ids[0]
		default:
			return Selector{}, &AmbiguousError{Kind: "VPC", Wanted: m.VPC.String(), Found: ids}
		}
	}
	return Selector{Filters: filter("vpc-id", id)}, nil
}

// describeSubnets asks for what each selector finds; all plain ids in one call.
func describeSubnets(ctx context.Context, client *ec2.Client, selectors Selectors) ([][]types.Subnet, error) {
	found := make([][]types.Subnet, len(selectors))
	var ids []string
	for _, s := range selectors {
		if s.ID != "" {
			ids = append(ids, s.ID)
		}
	}
	ask := func(filters []types.Filter) ([]types.Subnet, error) {
		var all []types.Subnet
		pages := ec2.NewDescribeSubnetsPaginator(client, &ec2.DescribeSubnetsInput{Filters: append(filters, amazon.Filter("state", "available"))})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, fmt.Errorf("looking for subnets: %w", err)
			}
			all = append(all, page.Subnets...)
		}
		slices.SortStableFunc(all, func(a, b types.Subnet) int {
			return cmp.Or(-cmp.Compare(aws.ToInt32(a.AvailableIpAddressCount), aws.ToInt32(b.AvailableIpAddressCount)),
				cmp.Compare(aws.ToString(a.AvailabilityZone), aws.ToString(b.AvailabilityZone)))
		})
		return all, nil
	}
	named := map[string]types.Subnet{}
	if len(ids) > 0 {
		all, err := ask([]types.Filter{amazon.Filter("subnet-id", ids...)})
		if err != nil {
			return nil, err
		}
		for _, s := range all {
			named[aws.ToString(s.SubnetId)] = s
		}
	}
	for i, s := range selectors {
		if s.ID != "" {
			if n, ok := named[s.ID]; ok {
				found[i] = []types.Subnet{n}
			}
			continue
		}
		var err error
		if found[i], err = ask(s.filters("subnet-id", "tag:Name")); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// interfaceSubnet is the one subnet of an interface that exists.
func (m Machine) interfaceSubnet(ctx context.Context, client *ec2.Client, region string) ([]Subnet, error) {
	id := m.Interfaces[0].ID
	out, err := client.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{amazon.Filter("network-interface-id", id)}})
	if err != nil {
		return nil, fmt.Errorf("looking for network interface %s: %w", id, err)
	}
	if len(out.NetworkInterfaces) == 0 {
		return nil, &NotFoundError{Kind: "network interface", Wanted: id, Region: region, Cure: "`aws ec2 describe-network-interfaces` lists those that there are"}
	}
	n := out.NetworkInterfaces[0]
	return []Subnet{{ID: aws.ToString(n.SubnetId), Zone: aws.ToString(n.AvailabilityZone), VPC: aws.ToString(n.VpcId)}}, nil
}

// groups returns the ids of the security groups that the template names.
func (m Machine) groups(ctx context.Context, client *ec2.Client, region string) ([]string, error) {
	var ids []string
	for _, s := range m.SecurityGroups {
		if s.ID != "" {
			ids = append(ids, s.ID)
			continue
		}
		out, err := client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: s.filters("group-id", "group-name")})
		if err != nil {
			return nil, fmt.Errorf("looking for security group %s: %w", s, err)
		}
		if len(out.SecurityGroups) == 0 {
			return nil, &NotFoundError{Kind: "security group", Wanted: s.String(), Region: region, Cure: "`aws ec2 describe-security-groups` lists those that there are"}
		}
		for _, g := range out.SecurityGroups {
			ids = append(ids, aws.ToString(g.GroupId))
		}
	}
	return ids, nil
}
