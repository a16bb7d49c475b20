package ec2

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"bake/internal/sandbox/api"
)

// Knobs are how the sandbox's EC2 differs from one where all goes well.
type Knobs struct {
	// NoCapacity are the pools that have no room.
	NoCapacity []Pool `json:"no_capacity"`
	// NoDefaultVPC are accounts without a default VPC, from their first call in a region on.
	NoDefaultVPC []string `json:"no_default_vpc"`
	// VCPUs is how many CPUs an account may have running in a region, for each group of types; 0: 1152.
	VCPUs int `json:"vcpus"`
	// MaxImages is how many images an account may have in a region; 0: no limit.
	MaxImages int `json:"max_images"`
	// Doomed are made as ever, and come to nothing.
	Doomed []Doom `json:"doomed"`
	// Stuck are the kinds ("image", "snapshot") of which nothing becomes ready as long as they stand here.
	Stuck []string `json:"stuck"`
	// Products are the Marketplace's product codes of images, by name.
	Products map[string]string `json:"products"`
}

// A Pool is a type in a zone; empty means every, and * and ? stand for what they do in filters.
type Pool struct {
	Type string `json:"type,omitempty"`
	Zone string `json:"zone,omitempty"`
	Spot bool   `json:"spot,omitempty"` // only what is asked for as spot
}

// Tune changes the knobs.
func (x *Control) Tune(f func(*Knobs)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f(&x.state.Knobs)
}

// hasRoom reports whether there is capacity for the type in the zone.
func (o *op) hasRoom(t *machineType, zone string, spot bool) bool {
	return !slices.ContainsFunc(o.state.Knobs.NoCapacity, func(p Pool) bool { return p.has(t.ID, zone, spot) })
}

func (p Pool) has(kind, zone string, spot bool) bool {
	return match(cmp.Or(p.Type, "*"), kind) && match(cmp.Or(p.Zone, "*"), zone) && (spot || !p.Spot)
}

// place chooses the subnet if the launch leaves it open, and checks that there is room.
func (o *op) place(p *plan, in *runInstancesIn) error {
	var zones []zone
	asked := ""
	if pl := p.spec.Placement; pl != nil && (pl.Zone != "" || pl.ZoneID != "") {
		z, err := zoneNamed(o.r.Name, pl.Zone, pl.ZoneID)
		if err != nil {
			return err
		}
		if p.subnet != nil && p.subnet.Zone != z.name {
			return api.Errorf("InvalidParameterValue", "The availability zone %s of the request is not that of the subnet %s: %s", z.name, p.subnet.ID, p.subnet.Zone)
		}
		asked, zones = z.name, []zone{z}
	}
	switch {
	case p.subnet != nil:
		z, err := zoneNamed(o.r.Name, p.subnet.Zone, "")
		if err != nil {
			return err
		}
		asked, zones = z.name, []zone{z}
	case zones == nil:
		zones = zonesOf(o.r.Name)
	}
	chosen, err := o.choose(p, zones, asked)
	if err != nil {
		return err
	}
	if p.subnet == nil {
		if p.subnet = o.defaultSubnet(chosen); p.subnet == nil {
			return api.Errorf("InvalidInput", "No default subnet for availability zone: '%s'.", chosen)
		}
	}
	for _, n := range p.nics {
		if err := o.checkIPv6Of(p.subnet, n, p.count); err != nil {
			return err
		}
	}
	if o.free(p.subnet) < p.count {
		return api.Errorf("InsufficientFreeAddressesInSubnet", "There are not enough free addresses in subnet '%s' to satisfy the requested number of instances.", p.subnet.ID)
	}
	p.public = or(p.nics[0].PublicIP, p.subnet.PublicIP)
	return nil
}

// choose returns the first of the zones that has the type, and room for it.
func (o *op) choose(p *plan, zones []zone, asked string) (string, error) {
	elsewhere := func(ok func(zone) bool) string {
		var names []string
		for _, z := range zonesOf(o.r.Name) {
			if ok(z) {
				names = append(names, z.name)
			}
		}
		return strings.Join(names, ", ")
	}
	has := func(z zone) bool { return offered(p.kind, z) }
	if !slices.ContainsFunc(zones, has) {
		return "", api.Errorf("Unsupported", "Your requested instance type (%s) is not supported in your requested Availability Zone (%s). Please retry your request by not specifying an Availability Zone or choosing %s.", p.kind.ID, asked, elsewhere(has))
	}
	free := func(z zone) bool { return has(z) && o.hasRoom(p.kind, z.name, p.spot) }
	for _, z := range zones {
		if free(z) && (p.subnet != nil || asked != "" || o.defaultSubnet(z.name) != nil) {
			return z.name, nil
		}
	}
	if others := elsewhere(free); others != "" && asked != "" {
		return "", &api.Error{Code: "InsufficientInstanceCapacity", Status: http.StatusInternalServerError,
			Message: "We currently do not have sufficient " + p.kind.ID + " capacity in the Availability Zone you requested (" + asked + "). Our system will be working on provisioning additional capacity. You can currently get " + p.kind.ID + " capacity by not specifying an Availability Zone in your request or choosing " + others + "."}
	}
	return "", &api.Error{Code: "InsufficientInstanceCapacity", Status: http.StatusInternalServerError,
		Message: "There is no " + kindOfCapacity(p.spot) + " capacity available that matches your request."}
}

func kindOfCapacity(spot bool) string {
	if spot {
		return "Spot"
	}
	return "On-Demand"
}

// checkQuota counts the CPUs that are running or asked for.
func (o *op) checkQuota(p *plan) error {
	limit := cmp.Or(o.state.Knobs.VCPUs, 1152)
	used := p.kind.cpus * p.count
	types := typeTable()
	for _, i := range o.r.Instances {
		if i.Owner == o.call.Account && slices.Contains([]string{pending, running}, i.State) && types[i.Type] != nil && types[i.Type].quota() == p.kind.quota() {
			used += types[i.Type].cpus
		}
	}
	if used <= limit {
		return nil
	}
	if p.spot {
		return api.Errorf("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
	}
	return api.Errorf("VcpuLimitExceeded", "You have requested more vCPU capacity than your current vCPU limit of %d allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.", limit)
}
