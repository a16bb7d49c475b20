package launch

import (
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// A Spec is everything that one instance is started with, but for where.
type Spec struct {
	Machine  Machine
	Image    string // id of the AMI
	Devices  []types.BlockDeviceMapping
	KeyName  string            // name of the key pair; empty: none
	Groups   []string          // ids of the security groups
	Profile  string            // name or ARN of the instance profile; empty: none
	UserData string            // as EncodeUserData returns it
	Tags     map[string]string // of everything that comes into being, beside Machine.Tags
	// Ends says that the instance is terminated, not stopped, when it shuts
	// itself down.
	Ends bool
}

// Input is the call that starts the instance (RunInstances) where t says.
func (s Spec) Input(t Try, token string) *ec2.RunInstancesInput {
	m := s.Machine
	in := &ec2.RunInstancesInput{
		ClientToken: text(token), ImageId: aws.String(s.Image), InstanceType: types.InstanceType(t.Type),
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		BlockDeviceMappings: s.Devices, KeyName: text(s.KeyName), UserData: text(s.UserData),
		NetworkInterfaces: s.interfaces(t), TagSpecifications: s.tagSpecifications(t),
		MetadataOptions: m.Metadata.options(), EbsOptimized: m.EBSOptimized,
		InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorStop,
	}
	if s.Ends {
		in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
	}
	if s.Profile != "" {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String(s.Profile)}
		if strings.HasPrefix(s.Profile, "arn:") {
			in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Arn: aws.String(s.Profile)}
		}
	}
	if m.Monitoring {
		in.Monitoring = &types.RunInstancesMonitoringEnabled{Enabled: aws.Bool(true)}
	}
	if m.Enclave {
		in.EnclaveOptions = &types.EnclaveOptionsRequest{Enabled: aws.Bool(true)}
	}
	if credits := m.credits(t.Type); credits != "" {
		in.CreditSpecification = &types.CreditSpecificationRequest{CpuCredits: aws.String(credits)}
	}
	if t.Spot {
		in.InstanceMarketOptions = m.Spot.options()
	}
	for _, arn := range m.Licenses {
		in.LicenseSpecifications = append(in.LicenseSpecifications, types.LicenseConfigurationRequest{LicenseConfigurationArn: aws.String(arn)})
	}
	in.Placement, in.CapacityReservationSpecification = m.Placement.request(), m.Reservation.request()
	return in
}

// credits are said for burstable types whatever the account's default is:
// unlimited credits cost extra.
func (m Machine) credits(kind string) string {
	family, _, _ := strings.Cut(kind, ".")
	if !slices.Contains([]string{"t2", "t3", "t3a", "t4g"}, family) {
		return ""
	}
	if m.CPUCredits != "" {
		return m.CPUCredits
	}
	return "standard"
}

func (s *Spot) options() *types.InstanceMarketOptionsRequest {
	return &types.InstanceMarketOptionsRequest{
		MarketType: types.MarketTypeSpot,
		SpotOptions: &types.SpotMarketOptions{
			MaxPrice: text(s.MaxPrice), SpotInstanceType: types.SpotInstanceTypeOneTime,
			InstanceInterruptionBehavior: types.InstanceInterruptionBehaviorTerminate,
		},
	}
}

func (m Metadata) options() *types.InstanceMetadataOptionsRequest {
	out := &types.InstanceMetadataOptionsRequest{
		HttpTokens: types.HttpTokensStateRequired, HttpEndpoint: types.InstanceMetadataEndpointStateEnabled,
		HttpPutResponseHopLimit: number(m.HopLimit),
	}
	if m.Tokens == "optional" {
		out.HttpTokens = types.HttpTokensStateOptional
	}
	if m.Endpoint != nil && !*m.Endpoint {
		out.HttpEndpoint = types.InstanceMetadataEndpointStateDisabled
	}
	if m.Tags {
		out.InstanceMetadataTags = types.InstanceMetadataTagsStateEnabled
	}
	if m.IPv6 {
		out.HttpProtocolIpv6 = types.InstanceMetadataProtocolStateEnabled
	}
	return out
}

func (p *Placement) request() *types.Placement {
	if p == nil {
		return nil
	}
	out := &types.Placement{Tenancy: types.Tenancy(p.Tenancy), PartitionNumber: number(p.Partition),
		HostId: text(p.Host), HostResourceGroupArn: text(p.HostGroup), Affinity: text(p.Affinity)}
	if strings.HasPrefix(p.Group, "pg-") {
		out.GroupId = text(p.Group)
	} else {
		out.GroupName = text(p.Group)
	}
	return out
}

func (r *Reservation) request() *types.CapacityReservationSpecification {
	if r == nil {
		return nil
	}
	out := &types.CapacityReservationSpecification{CapacityReservationPreference: types.CapacityReservationPreference(r.Preference)}
	switch {
	case r.ID == "none" || r.ID == "open":
		out.CapacityReservationPreference = types.CapacityReservationPreference(r.ID)
	case r.ID != "":
		out.CapacityReservationTarget = &types.CapacityReservationTarget{CapacityReservationId: text(r.ID)}
	case r.Group != "":
		out.CapacityReservationTarget = &types.CapacityReservationTarget{CapacityReservationResourceGroupArn: text(r.Group)}
	}
	return out
}

// interfaces are always said: only an interface can be told to have a public
// address.
func (s Spec) interfaces(t Try) []types.InstanceNetworkInterfaceSpecification {
	m := s.Machine
	list := m.Interfaces
	if len(list) == 0 {
		list = []Interface{{PublicIP: m.PublicIP, PrivateIP: m.PrivateIP}}
		if m.IPv6 != nil && *m.IPv6 {
			list[0].IPv6 = 1
		}
	}
	var out []types.InstanceNetworkInterfaceSpecification
	for i, n := range list {
		e := types.InstanceNetworkInterfaceSpecification{DeviceIndex: aws.Int32(int32(i))}
		if n.Card > 0 {
			e.NetworkCardIndex, e.DeviceIndex = number(n.Card), aws.Int32(1)
		}
		if n.ID != "" {
			e.NetworkInterfaceId = text(n.ID)
			out = append(out, e)
			continue
		}
		e.SubnetId, e.Groups = text(n.Subnet), n.SecurityGroups
		if n.Subnet == "" {
			e.SubnetId = text(t.Subnet.ID)
		}
		if len(n.SecurityGroups) == 0 {
			e.Groups = s.Groups
		}
		e.AssociatePublicIpAddress, e.PrivateIpAddress = n.PublicIP, text(n.PrivateIP)
		e.Ipv6AddressCount, e.InterfaceType, e.Description = number(n.IPv6), text(n.Type), text(n.Description)
		e.DeleteOnTermination = aws.Bool(true)
		out = append(out, e)
	}
	return out
}

// tagSpecifications tag what comes into being, in the call that makes it.
func (s Spec) tagSpecifications(t Try) []types.TagSpecification {
	kinds := []types.ResourceType{types.ResourceTypeInstance, types.ResourceTypeVolume}
	if len(s.Machine.Interfaces) == 0 || slices.ContainsFunc(s.Machine.Interfaces, func(n Interface) bool { return n.ID == "" }) {
		kinds = append(kinds, types.ResourceTypeNetworkInterface)
	}
	if t.Spot {
		kinds = append(kinds, types.ResourceTypeSpotInstancesRequest)
	}
	all := maps.Clone(s.Machine.Tags)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, s.Tags)
	return TagSpecifications(all, kinds...)
}

// TagSpecifications gives resources of each kind all the tags.
func TagSpecifications(tags map[string]string, kinds ...types.ResourceType) []types.TagSpecification {
	if len(tags) == 0 {
		return nil
	}
	var out []types.TagSpecification
	for _, k := range kinds {
		out = append(out, types.TagSpecification{ResourceType: k, Tags: Tags(tags)})
	}
	return out
}

// Tags are the tags as the API takes them, sorted by key.
func Tags(tags map[string]string) []types.Tag {
	var out []types.Tag
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
	}
	return out
}
