package instance

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/steps/amazon"
	"bake/steps/amazon/launch"
	"bake/templates"
)

// Open says who may connect to the instance.
type Open struct {
	Ports templates.Strings `yaml:"ports" bake:"main,required" pattern:"^[0-9]{1,5}$" doc:"TCP ports that are open."`
	From  templates.Strings `yaml:"from" pattern:"^[0-9a-fA-F.:]+/[0-9]+$" doc:"Networks that may connect; default: 0.0.0.0/0, everybody."`
}

// rule is one network that may reach one port.
type rule struct{ port, from string }

func (o *Open) rules() []rule {
	from := o.From
	if len(from) == 0 {
		from = []string{"0.0.0.0/0"}
	}
	var all []rule
	for _, p := range o.Ports {
		for _, f := range from {
			all = append(all, rule{p, f})
		}
	}
	return all
}

// group keeps the security group of the instance: it lets in what Open says and
// nothing else. Its name makes it one per VPC, so a lost answer is no second group.
func (s *starter) group(ctx context.Context, vpc string) (string, error) {
	name := "bake-" + s.Name
	g, err := s.findGroup(ctx, name, vpc)
	if err != nil {
		return "", err
	}
	if g == nil {
		_, err := s.client.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: &name, VpcId: &vpc, Description: aws.String("who may connect to " + s.Name),
			TagSpecifications: launch.TagSpecifications(map[string]string{"Name": name, amazon.TagTemplate: s.sc.Plan.Name}, types.ResourceTypeSecurityGroup)})
		if err != nil && !amazon.IsCode(err, "InvalidGroup.Duplicate") {
			return "", fmt.Errorf("making the security group %s: %w", name, err)
		}
		if g, err = s.findGroup(ctx, name, vpc); err != nil || g == nil {
			return "", fmt.Errorf("making the security group %s: it is not there (%w)", name, err)
		}
	}
	return aws.ToString(g.GroupId), s.setRules(ctx, *g)
}

func (s *starter) findGroup(ctx context.Context, name, vpc string) (*types.SecurityGroup, error) {
	out, err := s.client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{amazon.Filter("group-name", amazon.Literal(name)), amazon.Filter("vpc-id", vpc)}})
	if err != nil {
		return nil, fmt.Errorf("looking for the security group %s: %w", name, err)
	}
	if len(out.SecurityGroups) == 0 {
		return nil, nil
	}
	return &out.SecurityGroups[0], nil
}

// setRules lets in what is missing and shuts out what is too much.
func (s *starter) setRules(ctx context.Context, g types.SecurityGroup) error {
	want, have := s.Open.rules(), rulesOf(g.IpPermissions)
	var missing, extra []rule
	for _, r := range want {
		if !slices.Contains(have, r) {
			missing = append(missing, r)
		}
	}
	for _, r := range have {
		if !slices.Contains(want, r) {
			extra = append(extra, r)
		}
	}
	if len(missing) > 0 {
		_, err := s.client.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: permissions(missing)})
		if err != nil && !amazon.IsCode(err, "InvalidPermission.Duplicate") {
			return fmt.Errorf("opening ports of %s: %w", s.Name, err)
		}
	}
	if len(extra) > 0 {
		_, err := s.client.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: permissions(extra)})
		if err != nil && !amazon.IsCode(err, "InvalidPermission.NotFound") {
			return fmt.Errorf("closing ports of %s: %w", s.Name, err)
		}
	}
	return nil
}

// rulesOf are the rules that Open could have made; others stay as they are.
func rulesOf(all []types.IpPermission) []rule {
	var list []rule
	for _, p := range all {
		if aws.ToString(p.IpProtocol) != "tcp" || aws.ToInt32(p.FromPort) != aws.ToInt32(p.ToPort) {
			continue
		}
		port := strconv.Itoa(int(aws.ToInt32(p.FromPort)))
		for _, r := range p.IpRanges {
			list = append(list, rule{port, aws.ToString(r.CidrIp)})
		}
		for _, r := range p.Ipv6Ranges {
			list = append(list, rule{port, aws.ToString(r.CidrIpv6)})
		}
	}
	return list
}

func permissions(list []rule) []types.IpPermission {
	var all []types.IpPermission
	for _, r := range list {
		n, _ := strconv.Atoi(r.port) // its pattern is digits
		p := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(int32(n)), ToPort: aws.Int32(int32(n))}
		if slices.Contains([]byte(r.from), ':') {
			p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: aws.String(r.from)}}
		} else {
			p.IpRanges = []types.IpRange{{CidrIp: aws.String(r.from)}}
		}
		all = append(all, p)
	}
	return all
}
