package launch

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestTheCallSaysWhatTheTemplateSays(t *testing.T) {
	try := Try{Type: "t3.small", Subnet: Subnet{ID: "subnet-1", Zone: "eu-west-1a"}}
	for _, c := range []struct {
		name, machine string
		spot          bool
		ok            func(in *ec2.RunInstancesInput) bool
	}{
		{"session tokens are required unless the template says otherwise", "{}", false, func(in *ec2.RunInstancesInput) bool {
			return in.MetadataOptions.HttpTokens == "required" && in.MetadataOptions.HttpEndpoint == "enabled"
		}},
		{"tokens may be optional", "metadata: {tokens: optional, hop_limit: 2}", false, func(in *ec2.RunInstancesInput) bool {
			return in.MetadataOptions.HttpTokens == "optional" && *in.MetadataOptions.HttpPutResponseHopLimit == 2
		}},
		{"a disabled metadata service is said", "metadata: {endpoint: false}", false, func(in *ec2.RunInstancesInput) bool { return in.MetadataOptions.HttpEndpoint == "disabled" }},
		{"tags in the metadata service", "metadata: {tags: true}", false, func(in *ec2.RunInstancesInput) bool { return in.MetadataOptions.InstanceMetadataTags == "enabled" }},
		{"burstable types get standard credits, said", "{}", false, func(in *ec2.RunInstancesInput) bool { return *in.CreditSpecification.CpuCredits == "standard" }},
		{"unlimited credits when asked", "cpu_credits: unlimited", false, func(in *ec2.RunInstancesInput) bool { return *in.CreditSpecification.CpuCredits == "unlimited" }},
		{"spot is one-time and ends", "spot: {max_price: '0.1'}", true, func(in *ec2.RunInstancesInput) bool {
			o := in.InstanceMarketOptions
			return o.MarketType == "spot" && *o.SpotOptions.MaxPrice == "0.1" && o.SpotOptions.SpotInstanceType == "one-time" && o.SpotOptions.InstanceInterruptionBehavior == "terminate"
		}},
		{"spot requests are tagged too", "spot: true", true, func(in *ec2.RunInstancesInput) bool {
			return len(in.TagSpecifications) == 4 && in.TagSpecifications[3].ResourceType == types.ResourceTypeSpotInstancesRequest
		}},
		{"a profile by name", "profile: p", false, func(in *ec2.RunInstancesInput) bool { return *in.IamInstanceProfile.Name == "p" }},
		{"a profile by ARN", "profile: arn:aws:iam::111122223333:instance-profile/p", false, func(in *ec2.RunInstancesInput) bool {
			return in.IamInstanceProfile.Name == nil && *in.IamInstanceProfile.Arn == "arn:aws:iam::111122223333:instance-profile/p"
		}},
		{"a public address is the interface's", "public_ip: false", false, func(in *ec2.RunInstancesInput) bool {
			n := in.NetworkInterfaces[0]
			return in.SubnetId == nil && in.SecurityGroupIds == nil && *n.SubnetId == "subnet-1" && !*n.AssociatePublicIpAddress && n.Groups[0] == "sg-1"
		}},
		{"the subnet decides about public addresses if the template does not", "{}", false, func(in *ec2.RunInstancesInput) bool { return in.NetworkInterfaces[0].AssociatePublicIpAddress == nil }},
		{"an IPv6 address", "ipv6: true", false, func(in *ec2.RunInstancesInput) bool { return *in.NetworkInterfaces[0].Ipv6AddressCount == 1 }},
		{"interfaces of one's own, with their device indexes", "network_interfaces: [{}, {subnet: subnet-02, security_groups: [sg-02], private_ip: 10.0.0.9}, eni-03]", false, func(in *ec2.RunInstancesInput) bool {
			n := in.NetworkInterfaces
			return len(n) == 3 && *n[0].DeviceIndex == 0 && *n[1].DeviceIndex == 1 && *n[1].SubnetId == "subnet-02" && n[1].Groups[0] == "sg-02" && *n[2].DeviceIndex == 2 &&
				*n[2].NetworkInterfaceId == "eni-03" && n[2].SubnetId == nil
		}},
		{"placement", "placement: {tenancy: host, host: h-1, group: pg-1, affinity: host}", false, func(in *ec2.RunInstancesInput) bool {
			p := in.Placement
			return p.Tenancy == "host" && *p.HostId == "h-1" && *p.GroupId == "pg-1" && p.GroupName == nil && *p.Affinity == "host"
		}},
		{"capacity reservation", "capacity_reservation: cr-1", false, func(in *ec2.RunInstancesInput) bool {
			return *in.CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId == "cr-1"
		}},
		{"no capacity reservation", "capacity_reservation: none", false, func(in *ec2.RunInstancesInput) bool {
			return in.CapacityReservationSpecification.CapacityReservationPreference == "none" && in.CapacityReservationSpecification.CapacityReservationTarget == nil
		}},
		{"licences, enclave, monitoring", "{licenses: 'arn:aws:license-manager:x', enclave: true, monitoring: true, ebs_optimized: true}", false, func(in *ec2.RunInstancesInput) bool {
			return *in.LicenseSpecifications[0].LicenseConfigurationArn == "arn:aws:license-manager:x" && *in.EnclaveOptions.Enabled && *in.Monitoring.Enabled && *in.EbsOptimized
		}},
		{"instance, volumes and interfaces are tagged by the call that makes them", "tags: {team: data}", false, func(in *ec2.RunInstancesInput) bool {
			for i, kind := range []types.ResourceType{"instance", "volume", "network-interface"} {
				s := in.TagSpecifications[i]
				if s.ResourceType != kind || aws.ToString(s.Tags[0].Key) != "bake:run" || aws.ToString(s.Tags[1].Key) != "team" {
					return false
				}
			}
			return true
		}},
		{"a build machine is terminated when it shuts itself down", "{}", false, func(in *ec2.RunInstancesInput) bool {
			return in.InstanceInitiatedShutdownBehavior == "terminate" && *in.ClientToken == "token"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := decode(t, c.machine)
			if err != nil {
				t.Fatal(err)
			}
			s := Spec{Machine: m, Image: "ami-1", Groups: []string{"sg-1"}, Tags: map[string]string{"bake:run": "r1"}, Ends: true}
			if m.Profile != nil {
				s.Profile = m.Profile.Name
			}
			at := try
			at.Spot = c.spot
			if in := s.Input(at, "token"); !c.ok(in) {
				t.Errorf("%+v", in)
			}
		})
	}
}

func TestTriesGoThroughAllZonesOfATypeBeforeTheNextAndSpotBeforeOnDemand(t *testing.T) {
	m, err := decode(t, "{type: [a.x, b.x], spot: true}")
	if err != nil {
		t.Fatal(err)
	}
	subnets := []Subnet{{ID: "s1", Zone: "z1"}, {ID: "s2", Zone: "z2"}}
	var got []string
	for _, try := range m.tries(m.Type, subnets, offerings{"a.x": {"z1", "z2"}, "b.x": {"z2"}}) {
		market := "demand"
		if try.Spot {
			market = "spot"
		}
		got = append(got, try.Type+" "+try.Subnet.Zone+" "+market)
	}
	want := []string{"a.x z1 spot", "a.x z2 spot", "b.x z2 spot", "a.x z1 demand", "a.x z2 demand", "b.x z2 demand"}
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("try %d is %q, want %q", i, got[i], want[i])
		}
	}
}
