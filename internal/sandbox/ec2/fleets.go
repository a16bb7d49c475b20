package ec2

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"time"

	"bake/internal/sandbox/api"
)

// A fleet is a CreateFleet of type instant: it launches once, and that is all.
type fleet struct {
	meta
	State     string
	Token     string
	Instances []fleetInstance
	Errors    []fleetError
	Target    fleetTarget
}

type fleetTarget struct {
	Total    int    `q:"TotalTargetCapacity,required" xml:"totalTargetCapacity"`
	OnDemand *int   `q:"OnDemandTargetCapacity" xml:"onDemandTargetCapacity,omitempty"`
	Spot     *int   `q:"SpotTargetCapacity" xml:"spotTargetCapacity,omitempty"`
	Default  string `q:"DefaultTargetCapacityType" xml:"defaultTargetCapacityType,omitempty"`
	Unit     string `q:"TargetCapacityUnitType" xml:"targetCapacityUnitType,omitempty"`
}

type fleetOverride struct {
	Type      string        `q:"InstanceType" xml:"instanceType,omitempty"`
	MaxPrice  string        `q:"MaxPrice" xml:"maxPrice,omitempty"`
	Subnet    string        `q:"SubnetId" xml:"subnetId,omitempty"`
	Zone      string        `q:"AvailabilityZone" xml:"availabilityZone,omitempty"`
	ZoneID    string        `q:"AvailabilityZoneId" xml:"availabilityZoneId,omitempty"`
	Weight    *float64      `q:"WeightedCapacity" xml:"weightedCapacity,omitempty"`
	Priority  *float64      `q:"Priority" xml:"priority,omitempty"`
	Image     string        `q:"ImageId" xml:"imageId,omitempty"`
	Placement *placement    `q:"Placement" xml:"placement,omitempty"`
	Devices   []blockDevice `q:"BlockDeviceMapping" xml:"-"`
}

type fleetConfig struct {
	Template  templateID      `q:"LaunchTemplateSpecification"`
	Overrides []fleetOverride `q:"Overrides"`
}

// A fleetChoice is a template and an override: one way to launch.
type fleetChoice struct {
	Template  templateID    `xml:"launchTemplateSpecification"`
	Overrides fleetOverride `xml:"overrides"`
}

type fleetInstance struct {
	Choice    fleetChoice `xml:"launchTemplateAndOverrides"`
	Lifecycle string      `xml:"lifecycle"`
	IDs       set[string] `xml:"instanceIds>item"`
	Type      string      `xml:"instanceType"`
}

type fleetError struct {
	Choice    fleetChoice `xml:"launchTemplateAndOverrides"`
	Lifecycle string      `xml:"lifecycle"`
	Code      string      `xml:"errorCode"`
	Message   string      `xml:"errorMessage"`
}

type createFleetIn struct {
	dry
	ClientToken string        `q:"ClientToken"`
	Type        string        `q:"Type"`
	Configs     []fleetConfig `q:"LaunchTemplateConfigs,required"`
	Target      fleetTarget   `q:"TargetCapacitySpecification,required"`
	Excess      string        `q:"ExcessCapacityTerminationPolicy"`
	Tags        []tagSpec     `q:"TagSpecification"`
	ValidFrom   string        `q:"ValidFrom"`
	ValidUntil  string        `q:"ValidUntil"`
	Context     string        `q:"Context"`
	OnDemand    *fleetOptions `q:"OnDemandOptions"`
	Spot        *fleetOptions `q:"SpotOptions"`
	Expire      bool          `q:"TerminateInstancesWithExpiration"`
	Replace     bool          `q:"ReplaceUnhealthyInstances"`
}

type fleetOptions struct {
	Strategy     string `q:"AllocationStrategy"`
	Interruption string `q:"InstanceInterruptionBehavior"`
	Pools        *int   `q:"InstancePoolsToUseCount"`
	OneType      *bool  `q:"SingleInstanceType"`
	OneZone      *bool  `q:"SingleAvailabilityZone"`
	Least        *int   `q:"MinTargetCapacity"`
	MaxPrice     string `q:"MaxTotalPrice"`
	Reservation  *struct {
		Usage string `q:"UsageStrategy"`
	} `q:"CapacityReservationOptions"`
}

type createFleetOut struct {
	ID        string             `xml:"fleetId"`
	Errors    set[fleetError]    `xml:"errorSet>item"`
	Instances set[fleetInstance] `xml:"fleetInstanceSet>item"`
}

// createFleet launches through the first choice that has room. Choices without
// room, or wrong in themselves, become errors beside what was launched.
func (o *op) createFleet(in *createFleetIn) (*createFleetOut, error) {
	use, err := o.token("CreateFleet", in.ClientToken, *in)
	if err != nil {
		return nil, err
	}
	if use != nil && len(use.IDs) > 0 && o.r.Fleets[use.IDs[0]] != nil {
		f := o.r.Fleets[use.IDs[0]]
		return &createFleetOut{f.ID, f.Errors, f.Instances}, nil
	}
	if in.Type != "instant" {
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter Type is invalid here: bake's sandbox has instant fleets", cmp.Or(in.Type, "maintain"))
	}
	tags, err := tagsFor(in.Tags, kindFleet.name, kindInstance.name, kindVolume.name)
	if err != nil {
		return nil, err
	}
	f := &fleet{meta: o.make(kindFleet, tags[kindFleet.name]), State: "active", Token: in.ClientToken, Target: in.Target}
	id := random(32)
	f.ID = "fleet-" + id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
	choices, err := o.choices(in)
	if err != nil {
		return nil, err
	}
	lifecycle := "on-demand"
	if in.Target.Default == "spot" || or(in.Target.Spot, 0) > 0 {
		lifecycle = "spot"
	}
	for _, c := range choices {
		ids, err := o.launchChoice(c, in.Target.Total, lifecycle, tags)
		if err == nil {
			f.Instances = append(f.Instances, fleetInstance{c, lifecycle, ids, o.r.Instances[ids[0]].Type})
			for _, id := range ids {
				o.r.Instances[id].Tags = overlay(o.r.Instances[id].Tags, []tag{{"aws:ec2:fleet-id", f.ID}})
			}
			break
		}
		e, ok := errors.AsType[*api.Error](err)
		if !ok {
			return nil, err
		}
		f.Errors = append(f.Errors, fleetError{c, lifecycle, e.Code, e.Message})
	}
	o.r.Fleets[f.ID] = f
	if use != nil {
		use.IDs = []string{f.ID}
	}
	return &createFleetOut{f.ID, f.Errors, f.Instances}, nil
}

// choices are all overrides of all templates, by priority if they have one.
func (o *op) choices(in *createFleetIn) ([]fleetChoice, error) {
	var all []fleetChoice
	for _, c := range in.Configs {
		t, err := o.template(c.Template.ID, c.Template.Name)
		if err != nil {
			return nil, err
		}
		if c.Template.Version == "" {
			return nil, api.Errorf("InvalidParameterValue", "The launch template version must be specified")
		}
		v, err := t.version(c.Template.Version)
		if err != nil {
			return nil, err
		}
		id := templateID{ID: t.ID, Version: strconv.Itoa(v.Number)}
		if len(c.Overrides) == 0 {
			all = append(all, fleetChoice{Template: id})
		}
		for _, x := range c.Overrides {
			all = append(all, fleetChoice{id, x})
		}
	}
	slices.SortStableFunc(all, func(a, b fleetChoice) int {
		if a.Overrides.Priority == nil || b.Overrides.Priority == nil {
			return 0
		}
		return cmp.Compare(*a.Overrides.Priority, *b.Overrides.Priority)
	})
	return all, nil
}

// launchChoice runs instances as one choice says.
func (o *op) launchChoice(c fleetChoice, count int, lifecycle string, tags map[string][]tag) ([]string, error) {
	x := c.Overrides
	in := &runInstancesIn{MinCount: count, MaxCount: count, Template: &c.Template, SubnetID: x.Subnet}
	in.InstanceType, in.ImageID, in.Devices = x.Type, x.Image, x.Devices
	if x.Zone != "" || x.ZoneID != "" {
		in.Placement = &placement{Zone: x.Zone, ZoneID: x.ZoneID}
	}
	if lifecycle == "spot" {
		in.Market = &marketOptions{Type: "spot", Spot: &spotOptions{MaxPrice: x.MaxPrice}}
	}
	for _, k := range []string{kindInstance.name, kindVolume.name} {
		if len(tags[k]) > 0 {
			in.TagSpecs = append(in.TagSpecs, tagSpec{k, tags[k]})
		}
	}
	v, err := o.templateVersion(c.Template)
	if err != nil {
		return nil, err
	}
	if len(in.TagSpecs) > 0 {
		in.TagSpecs = mergeTagSpecs(v.Data.TagSpecs, in.TagSpecs)
	}
	if len(v.Data.Interfaces) > 0 && x.Subnet != "" {
		nics := slices.Clone(v.Data.Interfaces)
		nics[0].Subnet = x.Subnet
		in.Interfaces, in.SubnetID = nics, ""
	}
	return o.run(in)
}

// mergeTagSpecs returns base with more over it, type by type.
func mergeTagSpecs(base, more []tagSpec) []tagSpec {
	all := slices.Clone(base)
	for _, s := range more {
		if i := slices.IndexFunc(all, func(b tagSpec) bool { return b.ResourceType == s.ResourceType }); i >= 0 {
			all[i].Tags = overlay(all[i].Tags, s.Tags)
		} else {
			all = append(all, s)
		}
	}
	return all
}

type deleteFleetsIn struct {
	dry
	IDs       []string `q:"FleetId,required"`
	Terminate bool     `q:"TerminateInstances"`
}

type deletedFleet struct {
	Current  string `xml:"currentFleetState"`
	Previous string `xml:"previousFleetState"`
	ID       string `xml:"fleetId"`
}

type keptFleet struct {
	Error stateReason `xml:"error"`
	ID    string      `xml:"fleetId"`
}

type deleteFleetsOut struct {
	Deleted set[deletedFleet] `xml:"successfulFleetDeletionSet>item"`
	Kept    set[keptFleet]    `xml:"unsuccessfulFleetDeletionSet>item"`
}

func (o *op) deleteFleets(in *deleteFleetsIn) (*deleteFleetsOut, error) {
	out := &deleteFleetsOut{}
	for _, id := range in.IDs {
		f, err := find(o, kindFleet, o.r.Fleets, id)
		switch {
		case err != nil:
			out.Kept = append(out.Kept, keptFleet{stateReason{"fleetIdDoesNotExist", "The fleet ID does not exist"}, id})
			continue
		case !in.Terminate:
			return nil, api.Errorf("InvalidParameterValue", "NoTerminateInstances option is not supported for instant fleet")
		}
		var ids []string
		for _, i := range f.Instances {
			ids = append(ids, i.IDs...)
		}
		if _, err := o.terminateInstances(&instancesIn{IDs: ids}); err != nil {
			return nil, err
		}
		f.State = "deleted_terminating"
		out.Deleted = append(out.Deleted, deletedFleet{"deleted_terminating", "active", id})
	}
	return out, nil
}

type fleetXML struct {
	ID        string             `xml:"fleetId"`
	State     string             `xml:"fleetState"`
	Created   string             `xml:"createTime"`
	Token     string             `xml:"clientToken,omitempty"`
	Type      string             `xml:"type"`
	Target    fleetTarget        `xml:"targetCapacitySpecification"`
	Errors    set[fleetError]    `xml:"errorSet>item"`
	Instances set[fleetInstance] `xml:"fleetInstanceSet>item"`
	Tags      set[tag]           `xml:"tagSet>item"`
}

type describeFleetsIn struct {
	dry
	page
	IDs     []string `q:"FleetId"`
	Filters []filter `q:"Filter"`
}

type describeFleetsOut struct {
	Fleets    set[fleetXML] `xml:"fleetSet>item"`
	NextToken string        `xml:"nextToken,omitempty"`
}

func (o *op) describeFleets(in *describeFleetsIn) (*describeFleetsOut, error) {
	found, next, err := list(o, listing[*fleet]{kind: kindFleet, all: o.r.Fleets, ids: in.IDs, filters: in.Filters, page: in.page, least: 1, fields: fields[*fleet]{
		"fleet-state": one(func(f *fleet) string { return f.State }),
		"type":        one(func(*fleet) string { return "instant" }),
	}})
	if err != nil {
		return nil, err
	}
	out := &describeFleetsOut{NextToken: next}
	for _, f := range found {
		out.Fleets = append(out.Fleets, fleetXML{f.ID, f.State, f.Created.UTC().Format(time.RFC3339), f.Token, "instant", f.Target, f.Errors, f.Instances, f.Tags})
	}
	return out, nil
}
