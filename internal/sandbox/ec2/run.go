package ec2

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"bake/internal/sandbox/api"
)

type runInstancesIn struct {
	dry
	launchSpec
	MaxCount       int           `q:"MaxCount,required"`
	MinCount       int           `q:"MinCount,required"`
	SubnetID       string        `q:"SubnetId"`
	PrivateIP      string        `q:"PrivateIpAddress"`
	IPv6Count      *int          `q:"Ipv6AddressCount"`
	IPv6           []ipv6Address `q:"Ipv6Address"`
	ClientToken    string        `q:"ClientToken"`
	AdditionalInfo string        `q:"AdditionalInfo"`
	Template       *templateID   `q:"LaunchTemplate"`
}

type reservationXML struct {
	ID        string           `xml:"reservationId"`
	Owner     string           `xml:"ownerId"`
	Requester string           `xml:"requesterId,omitempty"`
	Groups    set[groupRef]    `xml:"groupSet>item"`
	Instances set[instanceXML] `xml:"instancesSet>item"`
}

func (o *op) runInstances(in *runInstancesIn) (*reservationXML, error) {
	use, err := o.token("RunInstances", in.ClientToken, *in)
	if err != nil {
		return nil, err
	}
	if use != nil && len(use.IDs) > 0 {
		return o.reservation(use.IDs), nil
	}
	ids, err := o.run(in)
	if err != nil {
		return nil, err
	}
	if use != nil {
		use.IDs = ids
	}
	return o.reservation(ids), nil
}

// token finds or notes the use of a ClientToken: nil if there is none. The same
// token with other parameters is an error.
func (o *op) token(action, token string, in any) (*tokenUse, error) {
	if token == "" {
		return nil, nil
	}
	if len(token) > 64 {
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter clientToken is invalid. Maximum length is 64 characters", token)
	}
	request := hash(in)
	name := o.call.Account + " " + action + " " + token
	use, ok := o.r.Tokens[name]
	if ok && len(use.IDs) == 0 { // that call failed
		ok = false
	}
	if !ok {
		use = &tokenUse{Request: request, At: o.now}
		o.r.Tokens[name] = use
		return use, nil
	}
	if use.Request != request {
		return nil, api.Errorf("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
	}
	return use, nil
}

func (o *op) reservation(ids []string) *reservationXML {
	var r *reservationXML
	for _, id := range ids {
		i, ok := o.r.Instances[id]
		if !ok {
			continue
		}
		if r == nil {
			r = &reservationXML{ID: i.Reservation, Owner: i.Owner, Requester: i.Requester}
		}
		r.Instances = append(r.Instances, o.instanceXML(i))
	}
	if r == nil { // a token of instances that are long gone
		r = &reservationXML{ID: "r-" + random(17), Owner: o.call.Account}
	}
	return r
}

// A plan is a launch that has been checked.
type plan struct {
	spec     launchSpec
	image    *image
	kind     *machineType
	subnet   *subnet
	nics     []interfaceSpec
	groups   []string
	public   bool
	profile  *instanceProfile
	devices  []blockDevice
	tags     map[string][]tag
	count    int
	token    string
	spot     bool
	requests string // who: a fleet
}

// run checks the launch and makes the instances; it returns their ids.
func (o *op) run(in *runInstancesIn) ([]string, error) {
	p, err := o.plan(in)
	if err != nil {
		return nil, err
	}
	if err := o.place(p, in); err != nil {
		return nil, err
	}
	if err := o.checkQuota(p); err != nil {
		return nil, err
	}
	reservation := "r-" + random(17)
	var ids []string
	for n := range p.count {
		i := o.launch(p, n)
		i.Reservation = reservation
		ids = append(ids, i.ID)
	}
	return ids, nil
}

// plan checks everything about a launch but where there is room for it.
func (o *op) plan(in *runInstancesIn) (*plan, error) {
	p := &plan{spec: in.launchSpec, count: in.MaxCount, token: in.ClientToken}
	if in.Template != nil {
		v, err := o.templateVersion(*in.Template)
		if err != nil {
			return nil, err
		}
		p.spec = in.launchSpec.over(v.Data)
	}
	for _, check := range []func(*plan, *runInstancesIn) error{
		o.checkCounts, o.checkImage, o.checkType, o.checkKey, o.checkUserData, o.checkProfile, o.checkOptions, o.checkLaunchTags, o.checkNetwork, o.checkDevices,
	} {
		if err := check(p, in); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (o *op) checkCounts(_ *plan, in *runInstancesIn) error {
	switch {
	case in.MinCount < 1:
		return api.Errorf("InvalidParameterValue", "Value (%d) for parameter minCount is invalid. The minimum count must be positive", in.MinCount)
	case in.MaxCount < in.MinCount:
		return api.Errorf("InvalidParameterCombination", "You must specify a maxCount that is greater than or equal to minCount")
	}
	return nil
}

func (o *op) checkImage(p *plan, _ *runInstancesIn) error {
	if p.spec.ImageID == "" {
		return api.Errorf("MissingParameter", "The request must contain the parameter ImageId")
	}
	id := p.spec.ImageID
	if parameter, ok := strings.CutPrefix(id, "resolve:ssm:"); ok {
		return api.Errorf("InvalidParameterValue", "The parameter %s can not be resolved here: ask SSM for it", parameter)
	}
	i, err := o.visibleImage(id)
	if err != nil {
		return err
	}
	switch {
	case i.Disabled:
		return api.Errorf("InvalidAMIID.Unavailable", "The image '%s' is disabled", id)
	case i.State != available:
		return api.Errorf("InvalidAMIID.Unavailable", "The image id '[%s]' is not available: it is %s", id, i.State)
	}
	p.image = i
	return nil
}

func (o *op) checkType(p *plan, _ *runInstancesIn) error {
	name := cmp.Or(p.spec.InstanceType, "m1.small")
	t := typeTable()[name]
	if t == nil {
		if p.spec.InstanceType == "" {
			return api.Errorf("InvalidParameterCombination", "The default instance type m1.small is not supported: the request must contain the parameter InstanceType")
		}
		return api.Errorf("InvalidParameterValue", "Invalid value '%s' for InstanceType.", name)
	}
	p.kind = t
	switch i := p.image; {
	case i.Architecture != t.arch:
		return api.Errorf("InvalidParameterValue", "The architecture '%s' of the specified instance type does not match the architecture '%s' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again. You can use 'describe-instance-types' or 'describe-images' to discover the architecture of the instance type or AMI.", t.arch, i.Architecture)
	case t.nitro && !i.ENA:
		return api.Errorf("InvalidParameterCombination", "Enhanced networking with the Elastic Network Adapter (ENA) is required for the '%s' instance type. Ensure that you are using an AMI that is enabled for ENA.", t.ID)
	case i.BootMode == "uefi" && !slices.Contains(t.bootModes(), "uefi"), i.BootMode == "legacy-bios" && !slices.Contains(t.bootModes(), "legacy-bios"):
		return api.Errorf("InvalidParameterValue", "The instance type '%s' does not support the boot mode '%s' of the AMI.", t.ID, i.BootMode)
	case i.TPM != "" && !t.tpm():
		return api.Errorf("InvalidParameterCombination", "The instance type '%s' does not support NitroTPM, which the AMI requires.", t.ID)
	}
	return nil
}

func (o *op) checkKey(p *plan, _ *runInstancesIn) error {
	if name := p.spec.KeyName; name != "" {
		if k := o.keyPair(name); k == nil || o.call.Hidden(k.ID) {
			return kindKeyPair.notFound(name)
		}
	}
	return nil
}

// maxUserData is the limit before base64.
const maxUserData = 16 << 10

func (o *op) checkUserData(p *plan, _ *runInstancesIn) error {
	if p.spec.UserData == nil {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(*p.spec.UserData)
	if err != nil {
		return api.Errorf("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.")
	}
	if len(data) > maxUserData {
		return api.Errorf("InvalidParameterValue", "User data is limited to %d bytes", maxUserData)
	}
	return nil
}

func (o *op) checkProfile(p *plan, _ *runInstancesIn) (err error) {
	if s := p.spec.Profile; s != nil && (s.ARN != "" || s.Name != "") {
		p.profile, err = o.findProfile(*s)
	}
	return err
}

// checkOptions checks what is chosen from a few words.
func (o *op) checkOptions(p *plan, _ *runInstancesIn) error {
	s := &p.spec
	word := func(name, value string, words ...string) error {
		if value != "" && !slices.Contains(words, value) {
			return api.Errorf("InvalidParameterValue", "Value (%s) for parameter %s is invalid.", value, name)
		}
		return nil
	}
	var err error
	check := func(name, value string, words ...string) { err = cmp.Or(err, word(name, value, words...)) }
	check("InstanceInitiatedShutdownBehavior", s.ShutdownAction, "stop", "terminate")
	if m := s.Metadata; m != nil {
		err = cmp.Or(err, m.check())
	}
	if m := s.Market; m != nil {
		check("MarketType", m.Type, "spot", "capacity-block")
		p.spot = m.Type == "spot"
		if m.Spot != nil {
			check("SpotInstanceType", m.Spot.Type, "one-time", "persistent")
			check("InstanceInterruptionBehavior", m.Spot.Interruption, "hibernate", "stop", "terminate")
		}
	}
	if s.Placement != nil {
		check("Tenancy", s.Placement.Tenancy, "default", "dedicated", "host")
	}
	if s.Credit != nil {
		check("CpuCredits", s.Credit.CPU, "standard", "unlimited")
		if err == nil && !p.kind.burstable {
			err = api.Errorf("InvalidParameterCombination", "The specified credit specification is not supported for the instance type '%s'.", p.kind.ID)
		}
	}
	if s.Capacity != nil {
		check("CapacityReservationPreference", s.Capacity.Preference, "capacity-reservations-only", "open", "none")
		if t := s.Capacity.Target; err == nil && t != nil && t.ID != "" {
			_, err = find(o, kindCapacity, o.r.Capacity, t.ID)
		}
	}
	if err == nil && s.Enclave != nil && s.Enclave.Enabled && !p.kind.enclaves() {
		err = api.Errorf("InvalidParameterCombination", "The specified instance type '%s' does not support Nitro Enclaves.", p.kind.ID)
	}
	if err == nil && p.spot && s.ShutdownAction == "stop" && (s.Market.Spot == nil || s.Market.Spot.Type != "persistent") {
		err = api.Errorf("InvalidParameterCombination", "The instance initiated shutdown behavior 'stop' is not supported for one-time Spot requests.")
	}
	return err
}

func (m *metadataOptions) check() error {
	for name, v := range map[string][]string{
		"HttpTokens": {m.Tokens, "optional", "required"}, "HttpEndpoint": {m.Endpoint, "enabled", "disabled"},
		"HttpProtocolIpv6": {m.IPv6, "enabled", "disabled"}, "InstanceMetadataTags": {m.Tags, "enabled", "disabled"},
	} {
		if v[0] != "" && !slices.Contains(v[1:], v[0]) {
			return api.Errorf("InvalidParameterValue", "Value (%s) for parameter %s is invalid.", v[0], name)
		}
	}
	if m.Hops != nil && (*m.Hops < 1 || *m.Hops > 64) {
		return api.Errorf("InvalidParameterValue", "Value (%d) for parameter HttpPutResponseHopLimit is invalid. It must be between 1 and 64.", *m.Hops)
	}
	return nil
}

func (o *op) checkLaunchTags(p *plan, _ *runInstancesIn) error {
	var err error
	p.tags, err = tagsFor(p.spec.TagSpecs, "instance", "volume", "network-interface", "spot-instances-request", "elastic-gpu")
	if err == nil && p.tags["spot-instances-request"] != nil && !p.spot {
		err = api.Errorf("InvalidParameterValue", "'spot-instances-request' is not a valid taggable resource type for this operation without InstanceMarketOptions.")
	}
	return err
}

// launch makes one instance of the plan, with its volumes and interfaces, and starts it.
func (o *op) launch(p *plan, index int) *instance {
	i := &instance{
		meta: o.make(kindInstance, p.tags["instance"]), Image: p.image.ID, Type: p.kind.ID, Key: p.spec.KeyName, Index: index, Token: p.token, Requester: p.requests,
		Launched: o.now, Zone: p.subnet.Zone, Subnet: p.subnet.ID, VPC: p.subnet.VPC, Groups: p.groups, Address: o.nextAddress(), Private: o.privateAddress(p.subnet, p.nics[0].PrivateIP), Public: p.public,
		Root: p.image.Root, Profile: p.profile, UserData: or(p.spec.UserData, ""), ShutdownAction: cmp.Or(p.spec.ShutdownAction, "stop"),
		NoStop: or(p.spec.NoStop, false), NoTermination: or(p.spec.NoTermination, false), Spot: p.spot, Spec: p.spec,
		Architecture: p.image.Architecture, BootMode: p.image.BootMode, TPM: p.image.TPM, Virtualization: p.image.Virtualization, ENA: p.image.ENA, SRIOV: p.image.SRIOV,
	}
	if z, err := zoneNamed(o.r.Name, i.Zone, ""); err == nil {
		i.ZoneID = z.id
	}
	if p.spot {
		o.noteSpot(i, p.tags[kindSpot.name])
		i.ShutdownAction = cmp.Or(p.spec.ShutdownAction, "terminate")
	}
	i.Metadata = p.image.metadata(p.spec.Metadata)
	o.addInterfaces(i, p)
	o.r.Instances[i.ID] = i
	o.r.Images[p.image.ID].LastLaunched = o.now
	failed := o.addVolumes(i, p)
	doom, is := o.doomed("instance", func(d Doom) bool { return d.has(i.Type, i.Zone, i.Spot) })
	if failed != "" {
		doom, is = stateReason{"Client.InternalError", failed}, true
	}
	if is {
		// AWS takes the launch, and the instance dies on the way.
		i.Reason = doom
		i.comes(pending, terminated, o.now.Add(o.world.Takes(bootTime/2)))
		i.Transition = "Server.InternalError"
		if failed == "" {
			i.Transition = doom.Code
		}
		return i
	}
	i.comes(pending, running, o.now.Add(o.world.Takes(bootTime)))
	o.then(func() { o.boot(i.ID, o.world.Takes(bootTime)) })
	return i
}

// metadata are the options of an instance of the image: AWS's defaults, the image's, what the launch asks for.
func (i *image) metadata(asked *metadataOptions) metadataOptions {
	m := metadataOptions{State: "applied", Tokens: "optional", Hops: ref(1), Endpoint: "enabled", IPv6: "disabled", Tags: "disabled"}
	if i.IMDS == "v2.0" {
		m.Tokens, m.Hops = "required", ref(2)
	}
	return m.with(asked)
}

// with returns the options with those over them that are given.
func (m metadataOptions) with(over *metadataOptions) metadataOptions {
	if over == nil {
		return m
	}
	m.Tokens, m.Endpoint = cmp.Or(over.Tokens, m.Tokens), cmp.Or(over.Endpoint, m.Endpoint)
	m.IPv6, m.Tags = cmp.Or(over.IPv6, m.IPv6), cmp.Or(over.Tags, m.Tags)
	if over.Hops != nil {
		m.Hops = over.Hops
	}
	return m
}

// userInitiated is a state transition's reason.
func userInitiated(now time.Time) string {
	return fmt.Sprintf("User initiated (%s GMT)", now.UTC().Format("2006-01-02 15:04:05"))
}
