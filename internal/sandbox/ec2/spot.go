package ec2

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"bake/internal/sandbox/api"
)

// A spotRequest asks for one spot instance: RequestSpotInstances makes it, and
// every launch that asks for spot.
type spotRequest struct {
	meta
	State        string // open, active, closed, cancelled
	Status       stateReason
	Updated      time.Time
	Instance     string
	Price        string
	Type         string // one-time, persistent
	Interruption string
	Spec         launchSpec
	Zone         string
}

// The states of a spot request.
const (
	spotOpen      = "open"
	spotActive    = "active"
	spotClosed    = "closed"
	spotCancelled = "cancelled"
)

// noteSpot records what a launch asked of the spot market.
func (o *op) noteSpot(i *instance, tags []tag) {
	q := &spotRequest{meta: o.make(kindSpot, tags), State: spotActive, Updated: o.now, Instance: i.ID, Type: "one-time", Interruption: "terminate", Spec: i.Spec, Zone: i.Zone,
		Status: stateReason{"fulfilled", "Your Spot request is fulfilled."}, Price: onDemandPrice(i.Type)}
	q.ID = "sir-" + random(8)
	if m := i.Spec.Market; m != nil && m.Spot != nil {
		q.fill(m.Spot.MaxPrice, m.Spot.Type, m.Spot.Interruption)
	}
	i.SpotRequest = q.ID
	o.r.Spot[q.ID] = q
}

// fill takes over what was asked for.
func (q *spotRequest) fill(price, kind, interruption string) {
	for _, f := range []struct {
		to    *string
		value string
	}{{&q.Price, price}, {&q.Type, kind}, {&q.Interruption, interruption}} {
		if f.value != "" {
			*f.to = f.value
		}
	}
}

// settleSpot closes the request of an instance that is gone.
func (r *region) settleSpot(i *instance, at time.Time) {
	q := r.Spot[i.SpotRequest]
	if q == nil {
		return
	}
	if q.State == spotActive {
		q.State = spotClosed
	}
	q.Status, q.Updated = stateReason{"instance-terminated-by-user", "Spot Instance terminated due to user-initiated termination."}, at
}

type spotXML struct {
	ID           string      `xml:"spotInstanceRequestId"`
	Price        string      `xml:"spotPrice"`
	Type         string      `xml:"type"`
	State        string      `xml:"state"`
	Status       spotStatus  `xml:"status"`
	Spec         *launchSpec `xml:"launchSpecification,omitempty"`
	Instance     string      `xml:"instanceId,omitempty"`
	Created      string      `xml:"createTime"`
	Product      string      `xml:"productDescription"`
	Tags         set[tag]    `xml:"tagSet>item"`
	Zone         string      `xml:"launchedAvailabilityZone,omitempty"`
	Interruption string      `xml:"instanceInterruptionBehavior"`
}

type spotStatus struct {
	Code    string `xml:"code"`
	Updated string `xml:"updateTime"`
	Message string `xml:"message"`
}

func (q *spotRequest) view() spotXML {
	spec := q.Spec
	spec.Market, spec.TagSpecs = nil, nil // a launch's own
	return spotXML{ID: q.ID, Price: q.Price, Type: q.Type, State: q.State, Status: spotStatus{q.Status.Code, stamp(q.Updated), q.Status.Message}, Spec: &spec,
		Instance: q.Instance, Created: stamp(q.Created), Product: "Linux/UNIX", Tags: q.Tags, Zone: q.Zone, Interruption: q.Interruption}
}

type requestSpotIn struct {
	dry
	Price        string    `q:"SpotPrice"`
	Count        *int      `q:"InstanceCount"`
	Type         string    `q:"Type"`
	ValidFrom    string    `q:"ValidFrom"`
	ValidUntil   string    `q:"ValidUntil"`
	ClientToken  string    `q:"ClientToken"`
	Interruption string    `q:"InstanceInterruptionBehavior"`
	LaunchGroup  string    `q:"LaunchGroup"`
	ZoneGroup    string    `q:"AvailabilityZoneGroup"`
	Tags         []tagSpec `q:"TagSpecification"`
	Spec         struct {
		launchSpec
		Subnet     string `q:"SubnetId"`
		Addressing string `q:"AddressingType"`
	} `q:"LaunchSpecification,required"`
}

type spotOut struct {
	Requests  set[spotXML] `xml:"spotInstanceRequestSet>item"`
	NextToken string       `xml:"nextToken,omitempty"`
}

// requestSpot launches at once what there is room for at the price; what there is
// none for stays an open request, which nothing fulfils later.
func (o *op) requestSpot(in *requestSpotIn) (*spotOut, error) {
	use, err := o.token("RequestSpotInstances", in.ClientToken, *in)
	if err != nil {
		return nil, err
	}
	if use != nil && len(use.IDs) > 0 {
		return o.spotRequests(use.IDs), nil
	}
	tags, err := tagsFor(in.Tags, kindSpot.name)
	if err != nil {
		return nil, err
	}
	if in.Price != "" {
		if p, err := strconv.ParseFloat(in.Price, 64); err != nil || p <= 0 {
			return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter price is invalid. \"%s\" is an invalid spot instance price", in.Price, in.Price)
		}
	}
	count := or(in.Count, 1)
	run := &runInstancesIn{MinCount: count, MaxCount: count, launchSpec: in.Spec.launchSpec, SubnetID: in.Spec.Subnet}
	run.Market = &marketOptions{Type: "spot", Spot: &spotOptions{MaxPrice: in.Price, Type: in.Type, Interruption: in.Interruption}}
	if len(tags) > 0 {
		run.TagSpecs = []tagSpec{{kindSpot.name, tags[kindSpot.name]}}
	}
	ids, err := o.bid(run, in.Price)
	if err != nil {
		return nil, err
	}
	if use != nil {
		use.IDs = ids
	}
	return o.spotRequests(ids), nil
}

// bid launches, and returns the requests that did; or requests that are open.
func (o *op) bid(run *runInstancesIn, price string) ([]string, error) {
	status := stateReason{"price-too-low", "Your Spot request price is lower than the minimum required Spot request fulfillment price."}
	low, _ := strconv.ParseFloat(price, 64) // it was checked
	if price == "" || low >= spotPrice(typeTable()[run.InstanceType]) {
		instances, err := o.run(run)
		if err == nil {
			var ids []string
			for _, id := range instances {
				ids = append(ids, o.r.Instances[id].SpotRequest)
			}
			return ids, nil
		}
		e, ok := errors.AsType[*api.Error](err)
		if !ok || e.Code != "InsufficientInstanceCapacity" {
			return nil, err
		}
		status = stateReason{"capacity-not-available", "There is no Spot capacity available that matches your request."}
	} else if _, err := o.plan(run); err != nil {
		return nil, err
	}
	var ids []string
	for range run.MaxCount {
		q := &spotRequest{meta: o.make(kindSpot, nil), State: spotOpen, Status: status, Updated: o.now, Price: onDemandPrice(run.InstanceType), Type: "one-time", Interruption: "terminate", Spec: run.launchSpec}
		q.ID = "sir-" + random(8)
		for _, s := range run.TagSpecs {
			q.Tags = s.Tags
		}
		q.fill(run.Market.Spot.MaxPrice, run.Market.Spot.Type, run.Market.Spot.Interruption)
		o.r.Spot[q.ID] = q
		ids = append(ids, q.ID)
	}
	return ids, nil
}

func (o *op) spotRequests(ids []string) *spotOut {
	out := &spotOut{}
	for _, id := range ids {
		if q := o.r.Spot[id]; q != nil {
			out.Requests = append(out.Requests, q.view())
		}
	}
	return out
}

type describeSpotIn struct {
	dry
	page
	IDs     []string `q:"SpotInstanceRequestId"`
	Filters []filter `q:"Filter"`
}

func (o *op) describeSpot(in *describeSpotIn) (*spotOut, error) {
	f := fields[*spotRequest]{}
	for name, get := range map[string]func(*spotRequest) string{
		"spot-instance-request-id": func(q *spotRequest) string { return q.ID }, "state": func(q *spotRequest) string { return q.State },
		"instance-id": func(q *spotRequest) string { return q.Instance }, "type": func(q *spotRequest) string { return q.Type },
		"status-code": func(q *spotRequest) string { return q.Status.Code }, "spot-price": func(q *spotRequest) string { return q.Price },
		"launch.image-id": func(q *spotRequest) string { return q.Spec.ImageID }, "launch.instance-type": func(q *spotRequest) string { return q.Spec.InstanceType },
		"launch.key-name": func(q *spotRequest) string { return q.Spec.KeyName }, "launched-availability-zone": func(q *spotRequest) string { return q.Zone },
	} {
		f[name] = one(get)
	}
	found, next, err := list(o, listing[*spotRequest]{kind: kindSpot, all: o.r.Spot, ids: in.IDs, filters: in.Filters, page: in.page, fields: f})
	if err != nil {
		return nil, err
	}
	out := &spotOut{NextToken: next}
	for _, q := range found {
		out.Requests = append(out.Requests, q.view())
	}
	return out, nil
}

type cancelSpotIn struct {
	dry
	IDs []string `q:"SpotInstanceRequestId,required"`
}

type cancelledSpot struct {
	ID    string `xml:"spotInstanceRequestId"`
	State string `xml:"state"`
}

type cancelSpotOut struct {
	Requests set[cancelledSpot] `xml:"spotInstanceRequestSet>item"`
}

// cancelSpot ends requests; the instances run on.
func (o *op) cancelSpot(in *cancelSpotIn) (*cancelSpotOut, error) {
	var all []*spotRequest
	for _, id := range in.IDs {
		q, err := find(o, kindSpot, o.r.Spot, id)
		if err != nil {
			return nil, err
		}
		all = append(all, q)
	}
	out := &cancelSpotOut{}
	for _, q := range all {
		switch q.State {
		case spotOpen:
			q.Status = stateReason{"canceled-before-fulfillment", "Your Spot request is canceled before it was fulfilled."}
		case spotActive:
			q.Status = stateReason{"request-canceled-and-instance-running", "Your Spot request is canceled, but your instance is still running."}
		}
		if q.State != spotClosed {
			q.State, q.Updated = spotCancelled, o.now
		}
		out.Requests = append(out.Requests, cancelledSpot{q.ID, q.State})
	}
	return out, nil
}

// spotPrice is what a type costs here in dollars an hour: a price that follows
// from its size, and never changes.
func spotPrice(t *machineType) float64 {
	if t == nil {
		return 0
	}
	return float64(t.memory) / 1024 * 0.0045
}

// onDemandPrice is the most that a request pays which names no price.
func onDemandPrice(kind string) string {
	return fmt.Sprintf("%.6f", 2.5*spotPrice(typeTable()[kind]))
}

type pricesIn struct {
	dry
	page
	Types    []string `q:"InstanceType"`
	Products []string `q:"ProductDescription"`
	Zone     string   `q:"AvailabilityZone"`
	Start    string   `q:"StartTime"`
	End      string   `q:"EndTime"`
	Filters  []filter `q:"Filter"`
}

// A price is what a type costs in a zone.
type price struct {
	meta
	zone, kind string
}

type priceXML struct {
	Type    string `xml:"instanceType"`
	Product string `xml:"productDescription"`
	Price   string `xml:"spotPrice"`
	At      string `xml:"timestamp"`
	Zone    string `xml:"availabilityZone"`
}

type pricesOut struct {
	Prices    set[priceXML] `xml:"spotPriceHistorySet>item"`
	NextToken string        `xml:"nextToken"`
}

// spotPrices tells the price of Linux in every zone that has the types: that of this hour.
func (o *op) spotPrices(in *pricesIn) (*pricesOut, error) {
	all := map[string]*price{}
	for _, name := range in.Types {
		if typeTable()[name] == nil {
			return nil, api.Errorf("InvalidParameterValue", "Invalid value '%s' for InstanceType.", name)
		}
	}
	linux := len(in.Products) == 0 || slices.ContainsFunc(in.Products, func(p string) bool { return p == linuxProduct || p == linuxProduct+" (Amazon VPC)" })
	for n, z := range zonesOf(o.r.Name) {
		for name, t := range typeTable() {
			if linux && offered(t, z) && (in.Zone == "" || in.Zone == z.name) && (len(in.Types) == 0 || slices.Contains(in.Types, name)) {
				id := z.name + " " + name
				all[id] = &price{meta{ID: id, Owner: o.call.Account, Seq: t.Seq*10 + int64(n)}, z.name, name}
			}
		}
	}
	found, next, err := list(o, listing[*price]{all: all, filters: in.Filters, page: in.page, least: 1, fields: fields[*price]{
		"availability-zone":   one(func(p *price) string { return p.zone }),
		"instance-type":       one(func(p *price) string { return p.kind }),
		"product-description": one(func(*price) string { return linuxProduct }),
	}})
	if err != nil {
		return nil, err
	}
	out := &pricesOut{NextToken: next}
	for _, p := range found {
		out.Prices = append(out.Prices, priceXML{p.kind, linuxProduct, fmt.Sprintf("%.6f", spotPrice(typeTable()[p.kind])), stamp(o.now.Truncate(time.Hour)), p.zone})
	}
	return out, nil
}

const linuxProduct = "Linux/UNIX"
