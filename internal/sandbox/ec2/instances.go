package ec2

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"bake/internal/sandbox/api"
)

type instanceState struct {
	Code int    `xml:"code"`
	Name string `xml:"name"`
}

type instanceXML struct {
	ID             string            `xml:"instanceId"`
	Image          string            `xml:"imageId"`
	State          instanceState     `xml:"instanceState"`
	PrivateDNS     string            `xml:"privateDnsName"`
	PublicDNS      string            `xml:"dnsName"`
	Transition     string            `xml:"reason"`
	Key            string            `xml:"keyName,omitempty"`
	Index          int               `xml:"amiLaunchIndex"`
	Products       set[tag]          `xml:"productCodes>item"`
	Type           string            `xml:"instanceType"`
	Launched       string            `xml:"launchTime"`
	Placement      placement         `xml:"placement"`
	Monitoring     monitoringState   `xml:"monitoring"`
	Subnet         string            `xml:"subnetId,omitempty"`
	VPC            string            `xml:"vpcId,omitempty"`
	PrivateIP      string            `xml:"privateIpAddress,omitempty"`
	PublicIP       string            `xml:"ipAddress,omitempty"`
	IPv6           string            `xml:"ipv6Address,omitempty"`
	SourceCheck    *bool             `xml:"sourceDestCheck,omitempty"`
	Groups         set[groupRef]     `xml:"groupSet>item"`
	Reason         *stateReason      `xml:"stateReason,omitempty"`
	Architecture   string            `xml:"architecture"`
	RootType       string            `xml:"rootDeviceType"`
	Root           string            `xml:"rootDeviceName"`
	Devices        set[deviceXML]    `xml:"blockDeviceMapping>item"`
	Virtualization string            `xml:"virtualizationType"`
	Token          string            `xml:"clientToken"`
	Tags           set[tag]          `xml:"tagSet>item"`
	Hypervisor     string            `xml:"hypervisor"`
	Interfaces     set[interfaceXML] `xml:"networkInterfaceSet>item"`
	Profile        *instanceProfile  `xml:"iamInstanceProfile,omitempty"`
	EbsOptimized   bool              `xml:"ebsOptimized"`
	ENA            bool              `xml:"enaSupport"`
	SRIOV          string            `xml:"sriovNetSupport,omitempty"`
	Lifecycle      string            `xml:"instanceLifecycle,omitempty"`
	SpotRequest    string            `xml:"spotInstanceRequestId,omitempty"`
	CPU            *cpuOptions       `xml:"cpuOptions,omitempty"`
	Capacity       *capacitySpec     `xml:"capacityReservationSpecification,omitempty"`
	CapacityID     string            `xml:"capacityReservationId,omitempty"`
	Hibernation    hibernation       `xml:"hibernationOptions"`
	Licenses       set[license]      `xml:"licenseSet>item"`
	Metadata       metadataOptions   `xml:"metadataOptions"`
	Enclave        enclave           `xml:"enclaveOptions"`
	BootMode       string            `xml:"bootMode,omitempty"`
	CurrentBoot    string            `xml:"currentInstanceBootMode,omitempty"`
	TPM            string            `xml:"tpmSupport,omitempty"`
	Platform       string            `xml:"platformDetails"`
	Usage          string            `xml:"usageOperation"`
	UsageSince     string            `xml:"usageOperationUpdateTime"`
	DNSOptions     *privateDNS       `xml:"privateDnsNameOptions,omitempty"`
	Maintenance    *maintenance      `xml:"maintenanceOptions,omitempty"`
}

type monitoringState struct {
	State string `xml:"state"`
}

type deviceXML struct {
	Device string `xml:"deviceName"`
	Ebs    struct {
		Volume              string `xml:"volumeId"`
		State               string `xml:"status"`
		At                  string `xml:"attachTime"`
		DeleteOnTermination bool   `xml:"deleteOnTermination"`
	} `xml:"ebs"`
}

// hidesPublicIP: the answer of RunInstances has no public address yet; a Describe has.
func (o *op) hidesPublicIP() bool { return o.call.Action == "RunInstances" }

func (o *op) instanceXML(i *instance) instanceXML {
	t := typeTable()[i.Type]
	v := instanceXML{ID: i.ID, Image: i.Image, State: instanceState{stateCode(i.State), i.State}, Transition: i.Transition, Key: i.Key, Index: i.Index, Type: i.Type,
		Launched: stamp(i.Launched), Placement: placement{Zone: i.Zone, ZoneID: i.ZoneID, Tenancy: "default"}, Monitoring: monitoringState{"disabled"}, Architecture: i.Architecture, RootType: "ebs", Root: i.Root,
		Virtualization: i.Virtualization, Token: i.Token, Tags: i.Tags, Hypervisor: "xen", Profile: i.Profile, EbsOptimized: or(i.Spec.EbsOptimized, false), ENA: i.ENA, SRIOV: i.SRIOV,
		Capacity: &capacitySpec{Preference: "open"}, Licenses: i.Spec.Licenses, Metadata: i.Metadata, BootMode: i.BootMode, TPM: i.TPM, Platform: "Linux/UNIX", Usage: "RunInstances",
		UsageSince: stamp(i.Created), Hibernation: or(i.Spec.Hibernation, hibernation{}), Enclave: or(i.Spec.Enclave, enclave{})}
	if i.Reason.Code != "" {
		v.Reason = &i.Reason
	}
	if p := i.Spec.Placement; p != nil {
		v.Placement.Tenancy, v.Placement.Group = cmp.Or(p.Tenancy, "default"), p.Group
	}
	if or(i.Spec.Monitoring, monitoring{}).Enabled {
		v.Monitoring.State = "enabled"
	}
	if i.Spec.Capacity != nil {
		v.Capacity = i.Spec.Capacity
		v.CapacityID = or(i.Spec.Capacity.Target, capacityTarget{}).ID
	}
	if i.Spot {
		v.Lifecycle, v.SpotRequest = "spot", i.SpotRequest
	}
	v.CPU = &cpuOptions{Cores: ref(t.cpus / t.threads), Threads: ref(t.threads)}
	if c := i.Spec.CPU; c != nil {
		v.CPU.Cores, v.CPU.Threads = cmp.Or(c.Cores, v.CPU.Cores), cmp.Or(c.Threads, v.CPU.Threads)
	}
	v.CurrentBoot = i.currentBoot()
	v.Maintenance = &maintenance{cmp.Or(or(i.Spec.Maintenance, maintenance{}).Recovery, "default")}
	if i.State == terminated {
		return v
	}
	o.showNetwork(&v, i)
	return v
}

// showNetwork adds what an instance has until it is terminated: addresses, interfaces, volumes.
func (o *op) showNetwork(v *instanceXML, i *instance) {
	v.Subnet, v.VPC, v.SourceCheck = i.Subnet, i.VPC, ref(!i.Unchecked)
	v.Groups = o.groupRefs(i.Groups)
	v.PrivateIP = i.private().String()
	v.PrivateDNS = o.r.privateName(i.private())
	if i.Elastic != "" || i.Public && !o.hidesPublicIP() && slices.Contains([]string{pending, running, shuttingDown, stopping}, i.State) {
		v.PublicIP, v.PublicDNS = i.Address.String(), i.Address.String()
	}
	if six := i.ipv6(); len(six) > 0 {
		v.IPv6 = six[0].String()
	}
	v.DNSOptions = &privateDNS{Hostname: "ip-name"}
	if i.Spec.PrivateDNS != nil {
		v.DNSOptions = i.Spec.PrivateDNS
	}
	for _, n := range i.Interfaces {
		x := o.interfaceXML(n, i)
		if a := x.Association; a != nil {
			a.Allocation, a.Association = "", ""
		}
		v.Interfaces = append(v.Interfaces, x)
	}
	for _, a := range i.Devices {
		d := deviceXML{Device: a.Device}
		d.Ebs.Volume, d.Ebs.At, d.Ebs.DeleteOnTermination, d.Ebs.State = a.Volume, stamp(a.At), a.DeleteOnTermination, "attached"
		if vol := o.r.Volumes[a.Volume]; i.State == pending && !i.Booted || vol != nil && vol.Next != nil && !vol.Detaching {
			d.Ebs.State = "attaching"
		} else if vol != nil && vol.Detaching {
			d.Ebs.State = "detaching"
		}
		v.Devices = append(v.Devices, d)
	}
}

// privateName is the name by which the machines of a VPC know an address.
func (r *region) privateName(a netip.Addr) string {
	domain := r.Name + ".compute.internal"
	if r.Name == "us-east-1" { // the first region has the name of when it was the only one
		domain = "ec2.internal"
	}
	return "ip-" + strings.ReplaceAll(a.String(), ".", "-") + "." + domain
}

func (o *op) groupRefs(ids []string) set[groupRef] {
	var all set[groupRef]
	for _, id := range ids {
		if g := o.r.Groups[id]; g != nil {
			all = append(all, groupRef{id, g.Name})
		}
	}
	return all
}

type describeInstancesIn struct {
	dry
	page
	IDs     []string `q:"InstanceId"`
	Filters []filter `q:"Filter"`
	Managed bool     `q:"IncludeManagedResources"`
}

type describeInstancesOut struct {
	Reservations set[*reservationXML] `xml:"reservationSet>item"`
	NextToken    string               `xml:"nextToken,omitempty"`
}

func (o *op) describeInstances(in *describeInstancesIn) (*describeInstancesOut, error) {
	found, next, err := list(o, listing[*instance]{kind: kindInstance, all: o.r.Instances, ids: in.IDs, filters: in.Filters, page: in.page, alone: "instancesSet", fields: o.instanceFields()})
	if err != nil {
		return nil, err
	}
	out := &describeInstancesOut{NextToken: next}
	for _, i := range found {
		n := slices.IndexFunc(out.Reservations, func(r *reservationXML) bool { return r.ID == i.Reservation })
		if n < 0 {
			n = len(out.Reservations)
			out.Reservations = append(out.Reservations, &reservationXML{ID: i.Reservation, Owner: i.Owner, Requester: i.Requester})
		}
		out.Reservations[n].Instances = append(out.Reservations[n].Instances, o.instanceXML(i))
	}
	return out, nil
}

func (o *op) instanceFields() fields[*instance] {
	f := fields[*instance]{"block-device-mapping.volume-id": o.deviceField(func(d deviceXML) string { return d.Ebs.Volume }),
		"block-device-mapping.device-name":           o.deviceField(func(d deviceXML) string { return d.Device }),
		"block-device-mapping.status":                o.deviceField(func(d deviceXML) string { return d.Ebs.State }),
		"block-device-mapping.delete-on-termination": o.deviceField(func(d deviceXML) string { return fmt.Sprint(d.Ebs.DeleteOnTermination) }),
	}
	for name, get := range map[string]func(instanceXML) string{
		"instance-id": func(v instanceXML) string { return v.ID }, "image-id": func(v instanceXML) string { return v.Image },
		"instance-state-name": func(v instanceXML) string { return v.State.Name }, "instance-state-code": func(v instanceXML) string { return fmt.Sprint(v.State.Code) },
		"instance-type": func(v instanceXML) string { return v.Type }, "key-name": func(v instanceXML) string { return v.Key },
		"availability-zone": func(v instanceXML) string { return v.Placement.Zone }, "tenancy": func(v instanceXML) string { return v.Placement.Tenancy },
		"availability-zone-id": func(v instanceXML) string { return v.Placement.ZoneID },
		"subnet-id":            func(v instanceXML) string { return v.Subnet }, "vpc-id": func(v instanceXML) string { return v.VPC },
		"private-ip-address": func(v instanceXML) string { return v.PrivateIP }, "ip-address": func(v instanceXML) string { return v.PublicIP },
		"dns-name": func(v instanceXML) string { return v.PublicDNS }, "private-dns-name": func(v instanceXML) string { return v.PrivateDNS },
		"client-token": func(v instanceXML) string { return v.Token }, "architecture": func(v instanceXML) string { return v.Architecture },
		"root-device-name": func(v instanceXML) string { return v.Root }, "root-device-type": func(v instanceXML) string { return v.RootType },
		"virtualization-type": func(v instanceXML) string { return v.Virtualization }, "hypervisor": func(v instanceXML) string { return v.Hypervisor },
		"instance-lifecycle": func(v instanceXML) string { return v.Lifecycle }, "spot-instance-request-id": func(v instanceXML) string { return v.SpotRequest },
		"launch-time": func(v instanceXML) string { return v.Launched }, "launch-index": func(v instanceXML) string { return fmt.Sprint(v.Index) },
		"reason": func(v instanceXML) string { return v.Transition }, "monitoring-state": func(v instanceXML) string { return v.Monitoring.State },
		"iam-instance-profile.arn": func(v instanceXML) string { return or(v.Profile, instanceProfile{}).ARN },
		"iam-instance-profile.id":  func(v instanceXML) string { return or(v.Profile, instanceProfile{}).ID },
		"state-reason-code":        func(v instanceXML) string { return or(v.Reason, stateReason{}).Code },
		"state-reason-message":     func(v instanceXML) string { return or(v.Reason, stateReason{}).Message },
		"boot-mode":                func(v instanceXML) string { return v.BootMode }, "current-instance-boot-mode": func(v instanceXML) string { return v.CurrentBoot },
		"metadata-options.http-tokens":   func(v instanceXML) string { return v.Metadata.Tokens },
		"metadata-options.http-endpoint": func(v instanceXML) string { return v.Metadata.Endpoint },
		"capacity-reservation-id":        func(v instanceXML) string { return v.CapacityID }, "platform-details": func(v instanceXML) string { return v.Platform },
		"source-dest-check": func(v instanceXML) string { return fmt.Sprint(or(v.SourceCheck, true)) },
	} {
		f[name] = func(i *instance) []string { return []string{get(o.instanceXML(i))} }
	}
	for _, prefix := range []string{"instance.", "network-interface."} {
		f[prefix+"group-id"] = func(i *instance) []string { return i.Groups }
		f[prefix+"group-name"] = func(i *instance) []string {
			var names []string
			for _, g := range o.groupRefs(i.Groups) {
				names = append(names, g.Name)
			}
			return names
		}
	}
	f["ipv6-address"] = func(i *instance) []string { return texts(i.ipv6()) }
	f["network-interface.ipv6-addresses.ipv6-address"] = f["ipv6-address"]
	f["group-id"], f["group-name"] = f["instance.group-id"], f["instance.group-name"]
	f["reservation-id"] = one(func(i *instance) string { return i.Reservation })
	f["owner-id"] = one(func(i *instance) string { return i.Owner })
	f["requester-id"] = one(func(i *instance) string { return i.Requester })
	f["network-interface.network-interface-id"] = func(i *instance) []string { return []string{i.Interfaces[0].ID} }
	f["usage-operation"] = one(func(*instance) string { return "RunInstances" })
	for name, get := range map[string]func(*networkInterface, *instance) string{
		"addresses.private-ip-address": func(n *networkInterface, _ *instance) string { return n.Address.String() },
		"private-dns-name":             func(n *networkInterface, _ *instance) string { return o.r.privateName(n.Address) },
		"mac-address":                  func(n *networkInterface, _ *instance) string { return n.MAC },
		"availability-zone":            func(n *networkInterface, _ *instance) string { return n.Zone },
		"status":                       func(*networkInterface, *instance) string { return "in-use" },
		"association.public-ip": func(n *networkInterface, i *instance) string {
			return or(o.interfaceXML(n, i).Association, associationXML{}).PublicIP
		},
		"association.ip-owner-id": func(n *networkInterface, i *instance) string {
			return or(o.interfaceXML(n, i).Association, associationXML{}).Owner
		},
		"addresses.association.public-ip": func(n *networkInterface, i *instance) string {
			return or(o.interfaceXML(n, i).Association, associationXML{}).PublicIP
		},
		"description":              func(n *networkInterface, _ *instance) string { return n.Description },
		"owner-id":                 func(n *networkInterface, _ *instance) string { return n.Owner },
		"attachment.attachment-id": func(n *networkInterface, _ *instance) string { return n.Attachment },
		"attachment.device-index":  func(n *networkInterface, _ *instance) string { return fmt.Sprint(n.Index) },
		"source-dest-check":        func(_ *networkInterface, i *instance) string { return fmt.Sprint(!i.Unchecked) },
	} {
		f["network-interface."+name] = func(i *instance) []string {
			var values []string
			for _, n := range i.Interfaces {
				values = append(values, get(n, i))
			}
			return values
		}
	}
	f["network-interface.subnet-id"], f["network-interface.vpc-id"] = f["subnet-id"], f["vpc-id"]
	return f
}

func (o *op) deviceField(get func(deviceXML) string) func(*instance) []string {
	return func(i *instance) []string {
		var values []string
		for _, d := range o.instanceXML(i).Devices {
			values = append(values, get(d))
		}
		return values
	}
}

type describeStatusIn struct {
	dry
	page
	IDs     []string `q:"InstanceId"`
	Filters []filter `q:"Filter"`
	All     bool     `q:"IncludeAllInstances"`
}

type statusXML struct {
	ID       string        `xml:"instanceId"`
	Zone     string        `xml:"availabilityZone"`
	ZoneID   string        `xml:"availabilityZoneId"`
	State    instanceState `xml:"instanceState"`
	System   statusSummary `xml:"systemStatus"`
	Instance statusSummary `xml:"instanceStatus"`
	Ebs      statusSummary `xml:"attachedEbsStatus"`
}

type statusSummary struct {
	Status  string            `xml:"status"`
	Details set[statusDetail] `xml:"details>item"`
}

type statusDetail struct {
	Name   string `xml:"name"`
	Status string `xml:"status"`
}

type describeStatusOut struct {
	Statuses  set[statusXML] `xml:"instanceStatusSet>item"`
	NextToken string         `xml:"nextToken,omitempty"`
}

func (o *op) describeStatus(in *describeStatusIn) (*describeStatusOut, error) {
	text := func(get func(statusXML) string) func(*instance) []string {
		return func(i *instance) []string { return []string{get(o.statusXML(i))} }
	}
	for _, id := range in.IDs {
		if _, err := find(o, kindInstance, o.r.Instances, id); err != nil {
			return nil, err
		}
	}
	found, next, err := list(o, listing[*instance]{kind: kindInstance, all: o.r.Instances, filters: in.Filters, page: in.page,
		visible: func(i *instance) bool {
			return i.Owner == o.call.Account && (in.All || i.State == running) && (len(in.IDs) == 0 || slices.Contains(in.IDs, i.ID))
		},
		fields: fields[*instance]{
			"availability-zone": text(func(v statusXML) string { return v.Zone }), "instance-state-name": text(func(v statusXML) string { return v.State.Name }),
			"instance-state-code":          text(func(v statusXML) string { return fmt.Sprint(v.State.Code) }),
			"instance-status.status":       text(func(v statusXML) string { return v.Instance.Status }),
			"instance-status.reachability": text(func(v statusXML) string { return v.Instance.reach() }),
			"system-status.status":         text(func(v statusXML) string { return v.System.Status }),
			"system-status.reachability":   text(func(v statusXML) string { return v.System.reach() }),
			"event.code":                   func(*instance) []string { return nil },
		}})
	if err != nil {
		return nil, err
	}
	out := &describeStatusOut{NextToken: next}
	for _, i := range found {
		out.Statuses = append(out.Statuses, o.statusXML(i))
	}
	return out, nil
}

func (s statusSummary) reach() string {
	if len(s.Details) == 0 {
		return ""
	}
	return s.Details[0].Status
}

// checkTime is how long the status checks of an instance that runs are about to begin.
const checkTime = 3 * bootTime

func (o *op) statusXML(i *instance) statusXML {
	s := statusSummary{Status: "not-applicable"}
	if i.State == running {
		s = statusSummary{"ok", set[statusDetail]{{"reachability", "passed"}}}
		if o.now.Sub(i.Launched) < o.world.Takes(bootTime+checkTime) {
			s = statusSummary{"initializing", set[statusDetail]{{"reachability", "initializing"}}}
		}
	}
	return statusXML{i.ID, i.Zone, i.ZoneID, instanceState{stateCode(i.State), i.State}, s, s, s}
}

type consoleIn struct {
	dry
	Instance string `q:"InstanceId,required"`
	Latest   bool   `q:"Latest"`
}

type consoleOut struct {
	Instance string `xml:"instanceId"`
	At       string `xml:"timestamp"`
	Output   string `xml:"output,omitempty"`
}

func (o *op) console(in *consoleIn) (*consoleOut, error) {
	i, err := find(o, kindInstance, o.r.Instances, in.Instance)
	if err != nil {
		return nil, err
	}
	t := typeTable()[i.Type]
	if in.Latest && !t.nitro {
		return nil, api.Errorf("UnsupportedOperation", "This instance type does not support retrieving the latest console logs.")
	}
	return &consoleOut{i.ID, stamp(o.now), o.consoleText(i)}, nil
}

// currentBoot is how the instance has booted.
func (i *instance) currentBoot() string {
	t := typeTable()[i.Type]
	if i.BootMode == "uefi" || t.arch == "arm64" || i.BootMode == "uefi-preferred" && slices.Contains(t.bootModes(), "uefi") {
		return "uefi"
	}
	return "legacy-bios"
}
