package ec2

import (
	"iter"
	"reflect"
	"slices"
	"time"

	"bake/internal/sandbox/api"
)

// A state is all of EC2, as plain data.
type state struct {
	Seq     int64
	Network [2]byte // second and third number of the machines' addresses
	NextIP  int
	Regions map[string]*region
	Knobs   Knobs
	Bases   []Base
}

func newState() *state { return &state{Regions: map[string]*region{}} }

// A region is what there is in one region, of all accounts.
type region struct {
	Name      string
	Accounts  map[string]*account
	Images    map[string]*image
	Snapshots map[string]*snapshot
	Volumes   map[string]*volume
	Instances map[string]*instance
	KeyPairs  map[string]*keyPair
	Groups    map[string]*group
	VPCs      map[string]*vpc
	Subnets   map[string]*subnet
	Routes    map[string]*routeTable
	Gateways  map[string]*gateway
	Addresses map[string]*elasticIP
	Templates map[string]*launchTemplate
	Fleets    map[string]*fleet
	Spot      map[string]*spotRequest
	Capacity  map[string]*reservedCapacity
	Tokens    map[string]*tokenUse // by account, action and ClientToken
}

// An account is what an account has set in a region.
type account struct {
	ID                   string
	DefaultVPC           string
	EncryptByDefault     bool
	DefaultKey           string // "": alias/aws/ebs
	BlockPublicImages    bool
	BlockPublicSnapshots string
}

// A tokenUse is what a call with a ClientToken asked for and made.
type tokenUse struct {
	Request string // hash of the parameters
	IDs     []string
	At      time.Time
}

// region returns the region of a name, with Amazon's images in it.
func (x *Control) region(name string, now time.Time) (*region, error) {
	if r, ok := x.state.Regions[name]; ok {
		return r, nil
	}
	if len(x.world.Regions) > 0 && !slices.Contains(x.world.Regions, name) {
		return nil, &api.Error{Code: "AuthFailure", Status: 401, Message: "AWS was not able to validate the provided access credentials: there is no region " + name}
	}
	r := &region{Name: name}
	r.fill()
	x.state.Regions[name] = r
	x.seed(r, now)
	return r, nil
}

// fill makes the maps that are not there, also those that a state of an older
// program has not.
func (r *region) fill() {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Map && f.IsNil() {
			f.Set(reflect.MakeMap(f.Type()))
		}
	}
}

// enter returns the account in the region, with its default VPC.
func (o *op) enter(r *region, id string) *account {
	if a, ok := r.Accounts[id]; ok {
		return a
	}
	a := &account{ID: id, BlockPublicImages: true, BlockPublicSnapshots: "block-new-sharing"}
	r.Accounts[id] = a
	if !slices.Contains(o.state.Knobs.NoDefaultVPC, id) {
		o.makeDefaultVPC(a)
	}
	return a
}

// resources yields everything in the region that can have tags.
func (r *region) resources() iter.Seq2[resource, kind] {
	return func(yield func(resource, kind) bool) {
		_ = each(r.Images, kindImage, yield) && each(r.Snapshots, kindSnapshot, yield) && each(r.Volumes, kindVolume, yield) &&
			each(r.Instances, kindInstance, yield) && each(r.KeyPairs, kindKeyPair, yield) && each(r.Groups, kindGroup, yield) &&
			each(r.VPCs, kindVPC, yield) && each(r.Subnets, kindSubnet, yield) && each(r.Routes, kindRoutes, yield) &&
			each(r.Gateways, kindGateway, yield) && each(r.Addresses, kindAddress, yield) && each(r.Spot, kindSpot, yield) && each(r.Templates, kindTemplate, yield) && each(r.Fleets, kindFleet, yield) &&
			each(r.Capacity, kindCapacity, yield) &&
			each(r.rules(), kindRule, yield) && each(r.interfaces(), kindInterface, yield)
	}
}

func each[R resource](all map[string]R, k kind, yield func(resource, kind) bool) bool {
	for _, v := range all {
		if !yield(v, k) {
			return false
		}
	}
	return true
}

// resource returns the resource of an id and its kind; the kind alone if there
// is no such resource, neither if there are no such ids.
func (r *region) resource(id string) (resource, kind) {
	for v, k := range r.resources() {
		if v.head().ID == id {
			return v, k
		}
	}
	for _, k := range []kind{kindImage, kindSnapshot, kindVolume, kindInstance, kindKeyPair, kindGroup, kindVPC, kindSubnet, kindRoutes,
		kindGateway, kindAddress, kindSpot, kindTemplate, kindFleet, kindCapacity, kindRule, kindInterface} {
		if len(id) > len(k.prefix) && id[:len(k.prefix)+1] == k.prefix+"-" {
			return nil, k
		}
	}
	return nil, kind{}
}

// settleAll brings every resource to the state it has at the time.
func (x *Control) settleAll(now time.Time) {
	for _, r := range x.state.Regions {
		x.settleSnapshots(r, now)
		x.settleImages(r, now)
		x.settleVolumes(r, now)
		x.settleInstances(r, now)
	}
}

// past reports whether the time t has come.
func past(t, now time.Time) bool { return !now.Before(t) }
