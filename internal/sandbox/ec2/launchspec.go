package ec2

import "reflect"

// A launchSpec is what RunInstances and launch templates both can say of an instance.
type launchSpec struct {
	ImageID        string              `q:"ImageId" xml:"imageId,omitempty"`
	InstanceType   string              `q:"InstanceType" xml:"instanceType,omitempty"`
	KeyName        string              `q:"KeyName" xml:"keyName,omitempty"`
	KernelID       string              `q:"KernelId" xml:"kernelId,omitempty"`
	RamdiskID      string              `q:"RamdiskId" xml:"ramDiskId,omitempty"`
	EbsOptimized   *bool               `q:"EbsOptimized" xml:"ebsOptimized,omitempty"`
	Devices        []blockDevice       `q:"BlockDeviceMapping" xml:"blockDeviceMappingSet>item"`
	Interfaces     []interfaceSpec     `q:"NetworkInterface" xml:"networkInterfaceSet>item"`
	Monitoring     *monitoring         `q:"Monitoring" xml:"monitoring,omitempty"`
	Placement      *placement          `q:"Placement" xml:"placement,omitempty"`
	GroupIDs       []string            `q:"SecurityGroupId" xml:"securityGroupIdSet>item"`
	GroupNames     []string            `q:"SecurityGroup" xml:"securityGroupSet>item"`
	UserData       *string             `q:"UserData" xml:"userData,omitempty"`
	Profile        *profileSpec        `q:"IamInstanceProfile" xml:"iamInstanceProfile,omitempty"`
	TagSpecs       []tagSpec           `q:"TagSpecification" xml:"tagSpecificationSet>item"`
	Market         *marketOptions      `q:"InstanceMarketOptions" xml:"instanceMarketOptions,omitempty"`
	Credit         *creditSpec         `q:"CreditSpecification" xml:"creditSpecification,omitempty"`
	CPU            *cpuOptions         `q:"CpuOptions" xml:"cpuOptions,omitempty"`
	Capacity       *capacitySpec       `q:"CapacityReservationSpecification" xml:"capacityReservationSpecification,omitempty"`
	Licenses       []license           `q:"LicenseSpecification" xml:"licenseSet>item"`
	Hibernation    *hibernation        `q:"HibernationOptions" xml:"hibernationOptions,omitempty"`
	Metadata       *metadataOptions    `q:"MetadataOptions" xml:"metadataOptions,omitempty"`
	Enclave        *enclave            `q:"EnclaveOptions" xml:"enclaveOptions,omitempty"`
	PrivateDNS     *privateDNS         `q:"PrivateDnsNameOptions" xml:"privateDnsNameOptions,omitempty"`
	Maintenance    *maintenance        `q:"MaintenanceOptions" xml:"maintenanceOptions,omitempty"`
	Performance    *networkPerformance `q:"NetworkPerformanceOptions" xml:"networkPerformanceOptions,omitempty"`
	NoStop         *bool               `q:"DisableApiStop" xml:"disableApiStop,omitempty"`
	NoTermination  *bool               `q:"DisableApiTermination" xml:"disableApiTermination,omitempty"`
	ShutdownAction string              `q:"InstanceInitiatedShutdownBehavior" xml:"instanceInitiatedShutdownBehavior,omitempty"`
}

// A blockDevice is a device of an image, or of an instance to be launched.
type blockDevice struct {
	Device  string     `q:"DeviceName" xml:"deviceName"`
	Virtual string     `q:"VirtualName" xml:"virtualName,omitempty"`
	Ebs     *ebsDevice `q:"Ebs" xml:"ebs,omitempty"`
	None    *string    `q:"NoDevice" xml:"noDevice,omitempty"`
}

type ebsDevice struct {
	Snapshot            string `q:"SnapshotId" xml:"snapshotId,omitempty"`
	Size                *int   `q:"VolumeSize" xml:"volumeSize,omitempty"`
	DeleteOnTermination *bool  `q:"DeleteOnTermination" xml:"deleteOnTermination,omitempty"`
	Type                string `q:"VolumeType" xml:"volumeType,omitempty"`
	IOPS                *int   `q:"Iops" xml:"iops,omitempty"`
	Throughput          *int   `q:"Throughput" xml:"throughput,omitempty"`
	Key                 string `q:"KmsKeyId" xml:"kmsKeyId,omitempty"`
	Encrypted           *bool  `q:"Encrypted" xml:"encrypted,omitempty"`
	InitializationRate  *int   `q:"VolumeInitializationRate" xml:"volumeInitializationRate,omitempty"`
}

// An interfaceSpec is a network interface of an instance to be launched.
type interfaceSpec struct {
	Index               *int          `q:"DeviceIndex" xml:"deviceIndex,omitempty"`
	PublicIP            *bool         `q:"AssociatePublicIpAddress" xml:"associatePublicIpAddress,omitempty"`
	DeleteOnTermination *bool         `q:"DeleteOnTermination" xml:"deleteOnTermination,omitempty"`
	Description         string        `q:"Description" xml:"description,omitempty"`
	Groups              []string      `q:"SecurityGroupId" xml:"groupSet>groupId"`
	Subnet              string        `q:"SubnetId" xml:"subnetId,omitempty"`
	ID                  string        `q:"NetworkInterfaceId" xml:"networkInterfaceId,omitempty"`
	PrivateIP           string        `q:"PrivateIpAddress" xml:"privateIpAddress,omitempty"`
	PrivateIPs          []privateIP   `q:"PrivateIpAddresses" xml:"privateIpAddressesSet>item"`
	IPv6Count           *int          `q:"Ipv6AddressCount" xml:"ipv6AddressCount,omitempty"`
	IPv6                []ipv6Address `q:"Ipv6Addresses" xml:"ipv6AddressesSet>item"`
	Type                string        `q:"InterfaceType" xml:"interfaceType,omitempty"`
	Card                *int          `q:"NetworkCardIndex" xml:"networkCardIndex,omitempty"`
}

type privateIP struct {
	Primary bool   `q:"Primary" xml:"primary"`
	Address string `q:"PrivateIpAddress" xml:"privateIpAddress"`
}

type ipv6Address struct {
	Address string `q:"Ipv6Address" xml:"ipv6Address"`
}

type monitoring struct {
	Enabled bool `q:"Enabled" xml:"enabled"`
}

type placement struct {
	Zone          string `q:"AvailabilityZone" xml:"availabilityZone,omitempty"`
	ZoneID        string `q:"AvailabilityZoneId" xml:"availabilityZoneId,omitempty"`
	Affinity      string `q:"Affinity" xml:"affinity,omitempty"`
	Group         string `q:"GroupName" xml:"groupName,omitempty"`
	GroupID       string `q:"GroupId" xml:"groupId,omitempty"`
	Partition     *int   `q:"PartitionNumber" xml:"partitionNumber,omitempty"`
	Host          string `q:"HostId" xml:"hostId,omitempty"`
	Tenancy       string `q:"Tenancy" xml:"tenancy,omitempty"`
	Spread        string `q:"SpreadDomain" xml:"spreadDomain,omitempty"`
	ResourceGroup string `q:"HostResourceGroupArn" xml:"hostResourceGroupArn,omitempty"`
}

type profileSpec struct {
	ARN  string `q:"Arn" xml:"arn,omitempty"`
	Name string `q:"Name" xml:"name,omitempty"`
}

type marketOptions struct {
	Type string       `q:"MarketType" xml:"marketType,omitempty"`
	Spot *spotOptions `q:"SpotOptions" xml:"spotOptions,omitempty"`
}

type spotOptions struct {
	MaxPrice     string `q:"MaxPrice" xml:"maxPrice,omitempty"`
	Type         string `q:"SpotInstanceType" xml:"spotInstanceType,omitempty"`
	Block        *int   `q:"BlockDurationMinutes" xml:"blockDurationMinutes,omitempty"`
	ValidUntil   string `q:"ValidUntil" xml:"validUntil,omitempty"`
	Interruption string `q:"InstanceInterruptionBehavior" xml:"instanceInterruptionBehavior,omitempty"`
}

type creditSpec struct {
	CPU string `q:"CpuCredits" xml:"cpuCredits"`
}

type cpuOptions struct {
	Cores   *int   `q:"CoreCount" xml:"coreCount,omitempty"`
	Threads *int   `q:"ThreadsPerCore" xml:"threadsPerCore,omitempty"`
	SEV     string `q:"AmdSevSnp" xml:"amdSevSnp,omitempty"`
}

type capacitySpec struct {
	Preference string          `q:"CapacityReservationPreference" xml:"capacityReservationPreference,omitempty"`
	Target     *capacityTarget `q:"CapacityReservationTarget" xml:"capacityReservationTarget,omitempty"`
}

type capacityTarget struct {
	ID    string `q:"CapacityReservationId" xml:"capacityReservationId,omitempty"`
	Group string `q:"CapacityReservationResourceGroupArn" xml:"capacityReservationResourceGroupArn,omitempty"`
}

type license struct {
	ARN string `q:"LicenseConfigurationArn" xml:"licenseConfigurationArn"`
}

type hibernation struct {
	Configured bool `q:"Configured" xml:"configured"`
}

type metadataOptions struct {
	State    string `xml:"state,omitempty"`
	Tokens   string `q:"HttpTokens" xml:"httpTokens,omitempty"`
	Hops     *int   `q:"HttpPutResponseHopLimit" xml:"httpPutResponseHopLimit,omitempty"`
	Endpoint string `q:"HttpEndpoint" xml:"httpEndpoint,omitempty"`
	IPv6     string `q:"HttpProtocolIpv6" xml:"httpProtocolIpv6,omitempty"`
	Tags     string `q:"InstanceMetadataTags" xml:"instanceMetadataTags,omitempty"`
}

type enclave struct {
	Enabled bool `q:"Enabled" xml:"enabled"`
}

type privateDNS struct {
	Hostname string `q:"HostnameType" xml:"hostnameType,omitempty"`
	A        bool   `q:"EnableResourceNameDnsARecord" xml:"enableResourceNameDnsARecord"`
	AAAA     bool   `q:"EnableResourceNameDnsAAAARecord" xml:"enableResourceNameDnsAAAARecord"`
}

type maintenance struct {
	Recovery string `q:"AutoRecovery" xml:"autoRecovery,omitempty"`
}

type networkPerformance struct {
	Weighting string `q:"BandwidthWeighting" xml:"bandwidthWeighting,omitempty"`
}

// over returns the spec with base (a launch template's) where it says nothing.
// Block devices are put together by their names.
func (s launchSpec) over(base launchSpec) launchSpec {
	devices := mergeDevices(base.Devices, s.Devices)
	to, from := reflect.ValueOf(&s).Elem(), reflect.ValueOf(base)
	for i := range to.NumField() {
		if f := to.Field(i); f.IsZero() {
			f.Set(from.Field(i))
		}
	}
	s.Devices = devices
	return s
}

// mergeDevices returns base with more over it, device by device.
func mergeDevices(base, more []blockDevice) []blockDevice {
	var all []blockDevice
	for _, d := range append(append(all, base...), more...) {
		at := -1
		for i := range all {
			if all[i].Device == d.Device {
				at = i
			}
		}
		if at < 0 {
			all = append(all, d)
			continue
		}
		all[at] = all[at].under(d)
	}
	return all
}

// under returns the device with what over says of it.
func (d blockDevice) under(over blockDevice) blockDevice {
	if over.None != nil || over.Virtual != "" || d.Ebs == nil || over.Ebs == nil {
		return over
	}
	merged := *d.Ebs
	if over.Ebs.Type != "" && over.Ebs.Type != merged.Type {
		merged.IOPS, merged.Throughput = nil, nil // they were the other type's
	}
	to, from := reflect.ValueOf(&merged).Elem(), reflect.ValueOf(*over.Ebs)
	for i := range to.NumField() {
		if f := from.Field(i); !f.IsZero() {
			to.Field(i).Set(f)
		}
	}
	d.Ebs = &merged
	return d
}
