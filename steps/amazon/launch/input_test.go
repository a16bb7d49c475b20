package launch

import (
	"strings"
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
		{"the metadata service over IPv6", "metadata: {ipv6: true}", false, func(in *ec2.RunInstancesInput) bool { return in.MetadataOptions.HttpProtocolIpv6 == "enabled" }},
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
			return len(n) == 3 && *n[0].DeviceIndex == 0 && *n[0].SubnetId == "subnet-1" && n[0].Groups[0] == "sg-1" && *n[0].DeleteOnTermination &&
				*n[1].DeviceIndex == 1 && *n[1].SubnetId == "subnet-02" && n[1].Groups[0] == "sg-02" && *n[1].PrivateIpAddress == "10.0.0.9" && *n[2].DeviceIndex == 2 &&
				*n[2].NetworkInterfaceId == "eni-03" && n[2].SubnetId == nil
		}},
		{"what an interface of one's own is like", "network_interfaces: [{ipv6: 3, type: efa, description: data}, {card: 1, public_ip: false}]", false, func(in *ec2.RunInstancesInput) bool {
			n := in.NetworkInterfaces
			return *n[0].Ipv6AddressCount == 3 && *n[0].InterfaceType == "efa" && *n[0].Description == "data" && *n[1].NetworkCardIndex == 1 && *n[1].DeviceIndex == 1 &&
				!*n[1].AssociatePublicIpAddress
		}},
		{"a private address", "private_ip: 10.0.0.9", false, func(in *ec2.RunInstancesInput) bool { return *in.NetworkInterfaces[0].PrivateIpAddress == "10.0.0.9" }},
		{"an interface that exists has its tags already", "network_interfaces: [eni-03]", false, func(in *ec2.RunInstancesInput) bool { return len(in.TagSpecifications) == 2 }},
		{"placement", "placement: {tenancy: host, host: h-1, group: pg-1, affinity: host}", false, func(in *ec2.RunInstancesInput) bool {
			p := in.Placement
			return p.Tenancy == "host" && *p.HostId == "h-1" && *p.GroupId == "pg-1" && p.GroupName == nil && *p.Affinity == "host"
		}},
		{"placement in a group by name, and in a partition of it", "placement: {group: fleet, partition: 3}", false, func(in *ec2.RunInstancesInput) bool {
			return *in.Placement.GroupName == "fleet" && in.Placement.GroupId == nil && *in.Placement.PartitionNumber == 3
		}},
		{"placement in a host resource group", "placement: {tenancy: host, host_resource_group: 'arn:aws:resource-groups:x'}", false, func(in *ec2.RunInstancesInput) bool {
			return *in.Placement.HostResourceGroupArn == "arn:aws:resource-groups:x"
		}},
		{"a group of capacity reservations", "capacity_reservation: {group: 'arn:aws:resource-groups:x'}", false, func(in *ec2.RunInstancesInput) bool {
			return *in.CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationResourceGroupArn == "arn:aws:resource-groups:x"
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
				if s.ResourceType != kind || aws.ToString(s.Tags[0].Key) != "bake:run" || aws.ToString(s.Tags[0].Value) != "r1" || aws.ToString(s.Tags[1].Key) != "team" {
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

func TestCreditsAreSaidOfBurstableTypesAlone(t *testing.T) {
	for kind, want := range map[string]string{"t2.micro": "standard", "t3.small": "standard", "t3a.small": "standard", "t4g.small": "standard", "m5.large": "", "m7g.large": "", "c7i.large": "", "trn1.2xlarge": ""} {
		for template, credits := range map[string]string{"{}": want, "cpu_credits: unlimited": "unlimited"} {
			m, err := decode(t, template)
			if err != nil {
				t.Fatal(err)
			}
			in := Spec{Machine: m}.Input(Try{Type: kind}, "token")
			if want == "" { // AWS refuses to hear of credits
				credits = ""
			}
			if got := in.CreditSpecification; got == nil && credits != "" || got != nil && aws.ToString(got.CpuCredits) != credits {
				t.Errorf("%s, %s: %+v, want %q", kind, template, got, credits)
			}
		}
	}
}

func TestWhatContradictsItselfIsRefused(t *testing.T) {
	for machine, want := range map[string]string{
		"metadata: {endpoint: false, tags: true}":                                   "tags are not shown where the metadata service does not answer",
		"{public_ip: true, network_interfaces: [{}]}":                               "public_ip is the interfaces' own",
		"{ipv6: true, network_interfaces: [{}]}":                                    "ipv6 is the interfaces' own",
		"{private_ip: 10.0.0.9, network_interfaces: [{}]}":                          "private_ip is the interfaces' own",
		"{vpc: vpc-1, subnet: subnet-1}":                                            "the subnet says which VPC it is",
		"type: large":                                                               "not an instance type",
		"profile: {name: p, policies: ['arn:aws:iam::aws:policy/ReadOnlyAccess']}":  "name or policy, not both",
		"profile: {permissions_boundary: 'arn:aws:iam::aws:policy/ReadOnlyAccess'}": "want the name of an instance profile",
		"subnet: {id: subnet-1, name: a}":                                           "an id says it all",
		"vpc: {}":                                                                   "want an id, a name, tags or filters",
		"tags: {'aws:x': y}":                                                        "the prefix is reserved",
		"volumes: [{device: /dev/sdb, size: 1}, {device: /dev/sdb, size: 1}]":       "device /dev/sdb is here twice",
		"user_data: {text: '#!/bin/sh', file: x}":                                   "want one of text, file and template",
		"{capacity_reservation: here}":                                              "must match",
		"{cpu_credits: all}":                                                        "unlimited",
		"{network_interfaces: [{ipv6: 51}]}":                                        "50",
		"{metadata: {hop_limit: 65}}":                                               "64",
		"{placement: {partition: 8}}":                                               "7",
		"{spot: {max_price: cheap}}":                                                "must match",
		"{licenses: [x]}":                                                           "must match",
		"{key_pair: {public_key: x}}":                                               "name",
	} {
		if _, err := decode(t, machine); err == nil || !strings.Contains(hints(err), want) {
			t.Errorf("%s: %v, want %q", machine, err, want)
		}
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
