package ec2

import (
	"net/netip"
	"slices"
	"time"
)

// The states of an instance, and their codes in answers.
const (
	pending      = "pending"
	running      = "running"
	stopping     = "stopping"
	stopped      = "stopped"
	shuttingDown = "shutting-down"
	terminated   = "terminated"
)

func stateCode(state string) int {
	return map[string]int{pending: 0, running: 16, shuttingDown: 32, terminated: 48, stopping: 64, stopped: 80}[state]
}

// How long things take on AWS.
const (
	bootTime      = 20 * time.Second
	stopTime      = 10 * time.Second
	terminateTime = 10 * time.Second
	forgetTime    = time.Hour // a terminated instance is shown for
)

// An instance is one machine, from its launch until an hour after its end.
type instance struct {
	meta
	State      string
	Next       *transition
	Reason     stateReason
	Transition string // "User initiated (2026-11-22 01:02:03 GMT)"

	Image, Type, Key string
	Reservation      string
	Requester        string
	Index            int
	Token            string
	Launched         time.Time
	Gone             time.Time // when it was terminated
	Booted           bool      // once, so that user data is not for the next boot

	Zone, ZoneID, Subnet, VPC string
	Groups                    []string   // of the first interface
	Address                   netip.Addr // 127.x.y.z, where this machine reaches it
	Private                   netip.Addr // in the subnet; invalid in a state of before there was one
	Public                    bool       // Address is its public address
	Elastic                   string     // the allocation that Address is of, if it is an Elastic IP address
	WasPublic                 bool       // before it got that
	Interfaces                []*networkInterface

	Root    string // its device name
	Devices []*attachment

	Profile        *instanceProfile
	UserData       string // base64
	ShutdownAction string
	NoStop         bool
	NoTermination  bool
	Metadata       metadataOptions
	Spot           bool
	SpotRequest    string
	Unchecked      bool // SourceDestCheck off

	// Of the image when it was launched.
	Architecture, BootMode, TPM, Virtualization string
	ENA                                         bool
	SRIOV                                       string
	// As asked.
	Spec launchSpec
}

// A transition is a state that an instance comes to.
type transition struct {
	At time.Time
	To string
}

type stateReason struct {
	Code    string `xml:"code,omitempty"`
	Message string `xml:"message,omitempty"`
}

type instanceProfile struct {
	ARN string `xml:"arn"`
	ID  string `xml:"id"`
}

// An attachment is a volume at an instance.
type attachment struct {
	Device              string
	Volume              string
	DeleteOnTermination bool
	At                  time.Time
}

// A networkInterface is one of an instance's.
type networkInterface struct {
	meta
	Attachment          string
	Instance            string
	Index               int
	Description         string
	Groups              []string
	Subnet, VPC, Zone   string
	MAC                 string
	DeleteOnTermination bool
	Public              bool
	Address             netip.Addr
	IPv6                []netip.Addr
}

// private is the address that the instance has in its subnet.
func (i *instance) private() netip.Addr {
	if i.Private.IsValid() {
		return i.Private
	}
	return i.Address
}

// ipv6 are the addresses of the first interface: the machine has one.
func (i *instance) ipv6() []netip.Addr {
	if len(i.Interfaces) == 0 {
		return nil
	}
	return i.Interfaces[0].IPv6
}

// has reports whether a connection from the address comes from the instance, as
// those of a VPC see it.
func (i *instance) has(a netip.Addr, vpc string) bool {
	return i.private() == a && i.VPC == vpc || i.Address == a || slices.Contains(i.ipv6(), a)
}

// interfaces are all network interfaces of instances that are not gone.
func (r *region) interfaces() map[string]*networkInterface {
	all := map[string]*networkInterface{}
	for _, i := range r.Instances {
		if i.State == terminated {
			continue
		}
		for _, n := range i.Interfaces {
			all[n.ID] = n
		}
	}
	return all
}

// become sets the state at once.
func (i *instance) become(state string) { i.State, i.Next = state, nil }

// comes sets the state, and the one that follows it at a time.
func (i *instance) comes(state, next string, at time.Time) {
	i.State, i.Next = state, &transition{at, next}
}

// settleInstances lets instances come to the states whose time it is, unless their machine is not there yet.
func (x *Control) settleInstances(r *region, now time.Time) {
	for id, i := range r.Instances {
		if g := x.live[id]; g != nil && g.busy > 0 {
			continue
		}
		if i.Next != nil && past(i.Next.At, now) {
			x.arrive(r, i, i.Next.To, i.Next.At)
		}
		if i.State == terminated && i.Next == nil && now.Sub(i.Gone) > forgetTime {
			delete(r.Instances, id)
			delete(r.Spot, i.SpotRequest)
		}
	}
}

// arrive puts the instance in a state that it was on the way to.
func (x *Control) arrive(r *region, i *instance, state string, at time.Time) {
	i.become(state)
	switch state {
	case running:
		i.Booted = true
		i.Reason = stateReason{}
	case terminated:
		i.Gone = at
		r.giveBack(i)
		r.settleSpot(i, at)
		x.dropVolumes(r, i, at)
	}
}
