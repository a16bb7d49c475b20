package ec2

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
)

// meta is what every resource has.
type meta struct {
	ID      string
	Owner   string
	Seq     int64 // order of creation
	Created time.Time
	Tags    []tag
}

func (m *meta) head() *meta { return m }

// A resource is anything with an id and tags.
type resource interface{ head() *meta }

// A kind is a type of resource, with AWS's errors for ids of it.
type kind struct {
	name      string // as TagSpecifications call it: "security-group"
	prefix    string // of ids
	malformed string // code
	missing   string // code
	text      string // of missing; %s is the id
}

// The kinds that there are; nothing changes them.
var (
	kindInstance  = kind{"instance", "i", "InvalidInstanceID.Malformed", "InvalidInstanceID.NotFound", "The instance ID '%s' does not exist"}
	kindImage     = kind{"image", "ami", "InvalidAMIID.Malformed", "InvalidAMIID.NotFound", "The image id '[%s]' does not exist"}
	kindSnapshot  = kind{"snapshot", "snap", "InvalidSnapshotID.Malformed", "InvalidSnapshot.NotFound", "The snapshot '%s' does not exist."}
	kindVolume    = kind{"volume", "vol", "InvalidVolumeID.Malformed", "InvalidVolume.NotFound", "The volume '%s' does not exist."}
	kindVPC       = kind{"vpc", "vpc", "InvalidVpcID.Malformed", "InvalidVpcID.NotFound", "The vpc ID '%s' does not exist"}
	kindSubnet    = kind{"subnet", "subnet", "InvalidSubnetID.Malformed", "InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist"}
	kindGroup     = kind{"security-group", "sg", "InvalidGroupId.Malformed", "InvalidGroup.NotFound", "The security group '%s' does not exist"}
	kindRule      = kind{"security-group-rule", "sgr", "InvalidSecurityGroupRuleId.Malformed", "InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist"}
	kindKeyPair   = kind{"key-pair", "key", "InvalidKeyPairID.Malformed", "InvalidKeyPair.NotFound", "The key pair '%s' does not exist"}
	kindInterface = kind{"network-interface", "eni", "InvalidNetworkInterfaceID.Malformed", "InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist"}
	kindAddress   = kind{"elastic-ip", "eipalloc", "InvalidAllocationID.Malformed", "InvalidAllocationID.NotFound", "The allocation ID '%s' does not exist"}
	kindTemplate  = kind{"launch-template", "lt", "InvalidLaunchTemplateId.Malformed", "InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID %s, does not exist."}
	kindSpot      = kind{"spot-instances-request", "sir", "InvalidSpotInstanceRequestID.Malformed", "InvalidSpotInstanceRequestID.NotFound", "The spot instance request ID '%s' does not exist"}
	kindFleet     = kind{"fleet", "fleet", "InvalidFleetId.Malformed", "InvalidFleetId.NotFound", "The fleet ID '%s' does not exist"}
	kindCapacity  = kind{"capacity-reservation", "cr", "InvalidCapacityReservationId.Malformed", "InvalidCapacityReservationId.NotFound", "The Capacity Reservation ID '%s' does not exist"}
	kindRoutes    = kind{"route-table", "rtb", "InvalidRouteTableID.Malformed", "InvalidRouteTableID.NotFound", "The routeTable ID '%s' does not exist"}
	kindGateway   = kind{"internet-gateway", "igw", "InvalidInternetGatewayID.Malformed", "InvalidInternetGatewayID.NotFound", "The internetGateway ID '%s' does not exist"}
)

// hexID is how ids end: 8 digits long ago, 17 today, a UUID for fleets.
var hexID = lazyregexp.New(`^([0-9a-f]{8}|[0-9a-f]{17}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)

func (k kind) check(id string) error {
	rest, ok := strings.CutPrefix(id, k.prefix+"-")
	if !ok || !hexID.MatchString(rest) {
		return api.Errorf(k.malformed, "Invalid id: \"%s\" (expecting \"%s-...\")", id, k.prefix)
	}
	return nil
}

func (k kind) notFound(id string) error { return api.Errorf(k.missing, k.text, id) }

// random returns n hexadecimal digits.
func random(n int) string {
	b := make([]byte, (n+1)/2)
	_, _ = rand.Read(b) // crypto/rand does not fail
	return hex.EncodeToString(b)[:n]
}

// make returns the head of a new resource of the caller's.
func (o *op) make(k kind, tags []tag) meta {
	return o.makeFor(o.call.Account, k, tags)
}

func (o *op) makeFor(owner string, k kind, tags []tag) meta {
	o.state.Seq++
	return meta{ID: k.prefix + "-" + random(17), Owner: owner, Seq: o.state.Seq, Created: o.now, Tags: tags}
}

// find returns the caller's resource id of all, or AWS's error.
func find[R resource](o *op, k kind, all map[string]R, id string) (R, error) {
	var none R
	if err := k.check(id); err != nil {
		return none, err
	}
	r, ok := all[id]
	if !ok || r.head().Owner != o.call.Account || o.call.Hidden(id) {
		return none, k.notFound(id)
	}
	return r, nil
}
