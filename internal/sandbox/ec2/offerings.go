package ec2

import (
	"fmt"
	"slices"

	"bake/internal/sandbox/api"
)

type processorInfo struct {
	Architectures set[string] `xml:"supportedArchitectures>item"`
	Clock         float64     `xml:"sustainedClockSpeedInGhz"`
	Manufacturer  string      `xml:"manufacturer"`
}

type cpuInfo struct {
	CPUs    int      `xml:"defaultVCpus"`
	Cores   int      `xml:"defaultCores"`
	Threads int      `xml:"defaultThreadsPerCore"`
	ValidT  set[int] `xml:"validThreadsPerCore>item"`
}

type ebsSpeed struct {
	BaselineBandwidth  int     `xml:"baselineBandwidthInMbps"`
	BaselineThroughput float64 `xml:"baselineThroughputInMBps"`
	BaselineIOPS       int     `xml:"baselineIops"`
	MaximumBandwidth   int     `xml:"maximumBandwidthInMbps"`
	MaximumThroughput  float64 `xml:"maximumThroughputInMBps"`
	MaximumIOPS        int     `xml:"maximumIops"`
}

type ebsInfo struct {
	Optimized   string    `xml:"ebsOptimizedSupport"`
	Encryption  string    `xml:"encryptionSupport"`
	Speed       *ebsSpeed `xml:"ebsOptimizedInfo,omitempty"`
	NVMe        string    `xml:"nvmeSupport"`
	Attachments int       `xml:"maximumEbsAttachments"`
	LimitType   string    `xml:"attachmentLimitType"`
}

type networkInfo struct {
	Performance string `xml:"networkPerformance"`
	Interfaces  int    `xml:"maximumNetworkInterfaces"`
	Cards       int    `xml:"maximumNetworkCards"`
	Card        int    `xml:"defaultNetworkCardIndex"`
	Addresses   int    `xml:"ipv4AddressesPerInterface"`
	Addresses6  int    `xml:"ipv6AddressesPerInterface"`
	IPv6        bool   `xml:"ipv6Supported"`
	ENA         string `xml:"enaSupport"`
	EFA         bool   `xml:"efaSupported"`
	Encryption  bool   `xml:"encryptionInTransitSupported"`
}

type typeXML struct {
	Name        string        `xml:"instanceType"`
	Current     bool          `xml:"currentGeneration"`
	Free        bool          `xml:"freeTierEligible"`
	Usage       set[string]   `xml:"supportedUsageClasses>item"`
	Roots       set[string]   `xml:"supportedRootDeviceTypes>item"`
	Virtual     set[string]   `xml:"supportedVirtualizationTypes>item"`
	BareMetal   bool          `xml:"bareMetal"`
	Hypervisor  string        `xml:"hypervisor,omitempty"`
	Processor   processorInfo `xml:"processorInfo"`
	CPU         cpuInfo       `xml:"vCpuInfo"`
	Memory      memoryInfo    `xml:"memoryInfo"`
	Storage     bool          `xml:"instanceStorageSupported"`
	EBS         ebsInfo       `xml:"ebsInfo"`
	Network     networkInfo   `xml:"networkInfo"`
	Placement   strategies    `xml:"placementGroupInfo"`
	Hibernation bool          `xml:"hibernationSupported"`
	Burstable   bool          `xml:"burstablePerformanceSupported"`
	Hosts       bool          `xml:"dedicatedHostsSupported"`
	Recovery    bool          `xml:"autoRecoverySupported"`
	BootModes   set[string]   `xml:"supportedBootModes>item"`
	Enclaves    string        `xml:"nitroEnclavesSupport"`
	TPM         string        `xml:"nitroTpmSupport"`
	TPMInfo     *tpmInfo      `xml:"nitroTpmInfo,omitempty"`
}

type memoryInfo struct {
	MiB int `xml:"sizeInMiB"`
}

type strategies struct {
	Supported set[string] `xml:"supportedStrategies>item"`
}

type tpmInfo struct {
	Versions set[string] `xml:"supportedVersions>item"`
}

func (t *machineType) view() typeXML {
	support := func(b bool) string {
		if b {
			return "supported"
		}
		return "unsupported"
	}
	v := typeXML{Name: t.ID, Current: t.nitro || t.family == "t2", Free: t.free, Usage: set[string]{"on-demand", "spot"}, Roots: set[string]{"ebs"}, Virtual: set[string]{"hvm"},
		BareMetal: t.bareMetal, Hypervisor: t.hypervisor(),
		Processor: processorInfo{set[string]{t.arch}, t.clock, t.maker},
		CPU:       cpuInfo{CPUs: t.cpus, Cores: t.cpus / t.threads, Threads: t.threads, ValidT: set[int]{1}}, Memory: memoryInfo{t.memory},
		EBS: ebsInfo{Optimized: "unsupported", Encryption: "supported", NVMe: "unsupported", Attachments: 39, LimitType: "dedicated"},
		Network: networkInfo{Performance: t.network, Interfaces: t.interfaces, Cards: 1, Addresses: 2 * t.interfaces, Addresses6: 2 * t.interfaces,
			IPv6: true, ENA: t.ena(), Encryption: t.nitro && !t.burstable},
		Placement: strategies{set[string]{"partition", "spread"}}, Hibernation: t.nitro && t.arch == "x86_64" && !t.bareMetal, Burstable: t.burstable,
		Hosts: !t.burstable, Recovery: !t.bareMetal, BootModes: t.bootModes(), Enclaves: support(t.enclaves()), TPM: support(t.tpm())}
	if t.threads > 1 {
		v.CPU.ValidT = set[int]{1, 2}
	}
	if t.nitro {
		v.EBS.Optimized, v.EBS.NVMe, v.EBS.Attachments, v.EBS.LimitType = "default", "required", 27, "shared"
		v.EBS.Speed = &ebsSpeed{t.baseline, float64(t.baseline) / 8, t.baseline * 6, t.peak, float64(t.peak) / 8, t.peak * 6}
	}
	if t.tpm() {
		v.TPMInfo = &tpmInfo{set[string]{"2.0"}}
	}
	return v
}

type describeTypesIn struct {
	dry
	page
	Names       []string `q:"InstanceType"`
	Filters     []filter `q:"Filter"`
	Unsupported bool     `q:"IncludeUnsupportedInRegion"`
}

type describeTypesOut struct {
	Types     set[typeXML] `xml:"instanceTypeSet>item"`
	NextToken string       `xml:"nextToken,omitempty"`
}

func (o *op) describeInstanceTypes(in *describeTypesIn) (*describeTypesOut, error) {
	all := typeTable()
	for _, name := range in.Names {
		if all[name] == nil {
			return nil, api.Errorf("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", name)
		}
	}
	text := func(get func(typeXML) string) func(*machineType) []string {
		return func(t *machineType) []string { return []string{get(t.view())} }
	}
	found, next, err := list(o, listing[*machineType]{all: all, filters: in.Filters, page: in.page, most: 100,
		visible: func(t *machineType) bool { return len(in.Names) == 0 || slices.Contains(in.Names, t.ID) },
		fields: fields[*machineType]{
			"instance-type":                         one(func(t *machineType) string { return t.ID }),
			"processor-info.supported-architecture": one(func(t *machineType) string { return t.arch }),
			"bare-metal":                            text(func(v typeXML) string { return fmt.Sprint(v.BareMetal) }),
			"burstable-performance-supported":       text(func(v typeXML) string { return fmt.Sprint(v.Burstable) }),
			"current-generation":                    text(func(v typeXML) string { return fmt.Sprint(v.Current) }),
			"free-tier-eligible":                    text(func(v typeXML) string { return fmt.Sprint(v.Free) }),
			"hypervisor":                            text(func(v typeXML) string { return v.Hypervisor }),
			"hibernation-supported":                 text(func(v typeXML) string { return fmt.Sprint(v.Hibernation) }),
			"memory-info.size-in-mib":               text(func(v typeXML) string { return fmt.Sprint(v.Memory.MiB) }),
			"vcpu-info.default-vcpus":               text(func(v typeXML) string { return fmt.Sprint(v.CPU.CPUs) }),
			"vcpu-info.default-cores":               text(func(v typeXML) string { return fmt.Sprint(v.CPU.Cores) }),
			"network-info.ena-support":              text(func(v typeXML) string { return v.Network.ENA }),
			"nitro-enclaves-support":                text(func(v typeXML) string { return v.Enclaves }),
			"nitro-tpm-support":                     text(func(v typeXML) string { return v.TPM }),
			"ebs-info.ebs-optimized-support":        text(func(v typeXML) string { return v.EBS.Optimized }),
			"ebs-info.nvme-support":                 text(func(v typeXML) string { return v.EBS.NVMe }),
			"supported-boot-mode":                   func(t *machineType) []string { return t.bootModes() },
			"supported-root-device-type":            func(*machineType) []string { return []string{"ebs"} },
			"supported-usage-class":                 func(*machineType) []string { return []string{"on-demand", "spot"} },
			"supported-virtualization-type":         func(*machineType) []string { return []string{"hvm"} },
			"instance-storage-supported":            func(*machineType) []string { return []string{"false"} },
		}})
	if err != nil {
		return nil, err
	}
	out := &describeTypesOut{NextToken: next}
	for _, t := range found {
		out.Types = append(out.Types, t.view())
	}
	return out, nil
}

// An offering is a type at a place.
type offering struct {
	meta
	Type         string `xml:"instanceType"`
	LocationType string `xml:"locationType"`
	Location     string `xml:"location"`
}

type offeringXML struct {
	Type         string `xml:"instanceType"`
	LocationType string `xml:"locationType"`
	Location     string `xml:"location"`
}

type describeOfferingsIn struct {
	dry
	page
	LocationType string   `q:"LocationType"`
	Filters      []filter `q:"Filter"`
}

type describeOfferingsOut struct {
	Offerings set[offeringXML] `xml:"instanceTypeOfferingSet>item"`
	NextToken string           `xml:"nextToken,omitempty"`
}

func (o *op) describeOfferings(in *describeOfferingsIn) (*describeOfferingsOut, error) {
	all := map[string]*offering{}
	add := func(t *machineType, kind, where string, i int) {
		all[t.ID+" "+where] = &offering{meta{ID: t.ID + " " + where, Seq: t.Seq*10 + int64(i)}, t.ID, kind, where}
	}
	for _, t := range typeTable() {
		switch in.LocationType {
		case "", "region":
			add(t, "region", o.r.Name, 0)
		case "availability-zone", "availability-zone-id":
			for i, z := range zonesOf(o.r.Name) {
				where := z.name
				if in.LocationType == "availability-zone-id" {
					where = z.id
				}
				if offered(t, z) {
					add(t, in.LocationType, where, i)
				}
			}
		default:
			return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter locationType is invalid.", in.LocationType)
		}
	}
	found, next, err := list(o, listing[*offering]{all: all, filters: in.Filters, page: in.page, visible: func(*offering) bool { return true }, fields: fields[*offering]{
		"instance-type": one(func(f *offering) string { return f.Type }),
		"location":      one(func(f *offering) string { return f.Location }),
	}})
	if err != nil {
		return nil, err
	}
	out := &describeOfferingsOut{NextToken: next}
	for _, f := range found {
		out.Offerings = append(out.Offerings, offeringXML{f.Type, f.LocationType, f.Location})
	}
	return out, nil
}
