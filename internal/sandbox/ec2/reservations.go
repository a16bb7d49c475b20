package ec2

import (
	"time"

	"bake/internal/sandbox/api"
)

// A reservedCapacity is a capacity reservation. Launches are checked against its
// existence; that it makes room where there is none is not modelled.
type reservedCapacity struct {
	meta
	Type, Zone, ZoneID, Platform, Tenancy, Match, EndType string
	Count                                                 int
	State                                                 string
	End                                                   time.Time
}

type capacityXML struct {
	ID        string   `xml:"capacityReservationId"`
	Owner     string   `xml:"ownerId"`
	ARN       string   `xml:"capacityReservationArn"`
	Zone      string   `xml:"availabilityZone"`
	ZoneID    string   `xml:"availabilityZoneId"`
	Type      string   `xml:"instanceType"`
	Platform  string   `xml:"instancePlatform"`
	Tenancy   string   `xml:"tenancy"`
	Total     int      `xml:"totalInstanceCount"`
	Available int      `xml:"availableInstanceCount"`
	State     string   `xml:"state"`
	EndType   string   `xml:"endDateType"`
	Match     string   `xml:"instanceMatchCriteria"`
	Created   string   `xml:"createDate"`
	Tags      set[tag] `xml:"tagSet>item"`
}

func (o *op) capacityXML(c *reservedCapacity) capacityXML {
	used := 0
	for _, i := range o.r.Instances {
		if (i.State == running || i.State == pending) && i.Spec.Capacity != nil && i.Spec.Capacity.Target != nil && i.Spec.Capacity.Target.ID == c.ID {
			used++
		}
	}
	return capacityXML{c.ID, c.Owner, o.arn("capacity-reservation/" + c.ID), c.Zone, c.ZoneID, c.Type, c.Platform, c.Tenancy, c.Count, max(0, c.Count-used), c.State, c.EndType, c.Match, stamp(c.Created), c.Tags}
}

type createCapacityIn struct {
	dry
	ClientToken string    `q:"ClientToken"`
	Type        string    `q:"InstanceType,required"`
	Platform    string    `q:"InstancePlatform,required"`
	Zone        string    `q:"AvailabilityZone"`
	ZoneID      string    `q:"AvailabilityZoneId"`
	Tenancy     string    `q:"Tenancy"`
	Count       int       `q:"InstanceCount,required"`
	Optimized   bool      `q:"EbsOptimized"`
	Ephemeral   bool      `q:"EphemeralStorage"`
	EndType     string    `q:"EndDateType"`
	Match       string    `q:"InstanceMatchCriteria"`
	Tags        []tagSpec `q:"TagSpecifications"`
}

type createCapacityOut struct {
	Reservation capacityXML `xml:"capacityReservation"`
}

func (o *op) createCapacity(in *createCapacityIn) (*createCapacityOut, error) {
	tags, err := tagsFor(in.Tags, kindCapacity.name)
	if err != nil {
		return nil, err
	}
	t := typeTable()[in.Type]
	if t == nil {
		return nil, api.Errorf("InvalidParameterValue", "Invalid value '%s' for InstanceType.", in.Type)
	}
	if in.Zone == "" && in.ZoneID == "" {
		return nil, api.Errorf("MissingParameter", "The request must contain the parameter AvailabilityZone or AvailabilityZoneId")
	}
	z, err := zoneNamed(o.r.Name, in.Zone, in.ZoneID)
	if err != nil {
		return nil, err
	}
	if !offered(t, z) || !o.hasRoom(t, z.name, false) {
		return nil, &api.Error{Code: "InsufficientInstanceCapacity", Status: 500, Message: "Insufficient capacity."}
	}
	c := &reservedCapacity{meta: o.make(kindCapacity, tags[kindCapacity.name]), Type: t.ID, Zone: z.name, ZoneID: z.id, Platform: in.Platform, Tenancy: "default", Match: "open", EndType: "unlimited", Count: in.Count, State: "active"}
	if in.Match != "" {
		c.Match = in.Match
	}
	o.r.Capacity[c.ID] = c
	return &createCapacityOut{o.capacityXML(c)}, nil
}

type cancelCapacityIn struct {
	dry
	ID string `q:"CapacityReservationId,required"`
}

func (o *op) cancelCapacity(in *cancelCapacityIn) (*returned, error) {
	c, err := find(o, kindCapacity, o.r.Capacity, in.ID)
	if err != nil {
		return nil, err
	}
	c.State, c.Count = "cancelled", 0
	return ok(), nil
}

type describeCapacityIn struct {
	dry
	page
	IDs     []string `q:"CapacityReservationId"`
	Filters []filter `q:"Filter"`
}

type describeCapacityOut struct {
	Reservations set[capacityXML] `xml:"capacityReservationSet>item"`
	NextToken    string           `xml:"nextToken,omitempty"`
}

func (o *op) describeCapacity(in *describeCapacityIn) (*describeCapacityOut, error) {
	found, next, err := list(o, listing[*reservedCapacity]{kind: kindCapacity, all: o.r.Capacity, ids: in.IDs, filters: in.Filters, page: in.page, least: 1, fields: fields[*reservedCapacity]{
		"instance-type":     one(func(c *reservedCapacity) string { return c.Type }),
		"availability-zone": one(func(c *reservedCapacity) string { return c.Zone }),
		"state":             one(func(c *reservedCapacity) string { return c.State }),
		"instance-platform": one(func(c *reservedCapacity) string { return c.Platform }),
		"tenancy":           one(func(c *reservedCapacity) string { return c.Tenancy }),
	}})
	if err != nil {
		return nil, err
	}
	out := &describeCapacityOut{NextToken: next}
	for _, c := range found {
		out.Reservations = append(out.Reservations, o.capacityXML(c))
	}
	return out, nil
}
