package ec2

import (
	"context"
	"encoding/base64"
	"net/netip"
	"slices"
	"sync"
	"time"

	"bake/internal/sandbox/machine"
)

// A guest is the machine of an instance, and what is being done with it.
type guest struct {
	machine *machine.Machine
	// busy counts what is under way: starting, stopping. The instance's state waits for it.
	busy    int
	booting chan struct{}      // closed when the last boot has come to an end, good or bad
	cancel  context.CancelFunc // of a boot
	// cuts are the snapshots that are being made of the machine's disk: it runs on until they are.
	cuts sync.WaitGroup
}

// locate finds an instance and its region by id.
func (x *Control) locate(id string) (*region, *instance) {
	for _, r := range x.state.Regions {
		if i := r.Instances[id]; i != nil {
			return r, i
		}
	}
	return nil, nil
}

// guestOf returns the instance's guest, and makes one if there is none. The lock is held.
func (x *Control) guestOf(id string) *guest {
	g := x.live[id]
	if g == nil {
		g = &guest{}
		x.live[id] = g
	}
	return g
}

// do runs f in the background; until it returns, the instance keeps its state.
// The lock is held by the caller, not by f.
func (x *Control) do(id string, f func(g *guest)) {
	g := x.guestOf(id)
	g.busy++
	x.work.Go(func() {
		f(g)
		x.mu.Lock()
		defer x.mu.Unlock()
		g.busy--
		r, i := x.locate(id)
		if i != nil {
			x.settleInstances(r, x.world.Now())
		}
		if g.busy == 0 && g.machine == nil && (i == nil || i.State == terminated) {
			delete(x.live, id)
		}
	})
}

// boot starts the machine of an instance once its boot time is over.
func (x *Control) boot(id string, after time.Duration) {
	if x.room == nil {
		return
	}
	ctx, cancel := context.WithCancel(x.ctx)
	booting := make(chan struct{})
	g := x.guestOf(id)
	g.cancel, g.booting = cancel, booting
	x.do(id, func(g *guest) {
		defer close(booting)
		defer cancel()
		select {
		case <-time.After(after):
			x.start(ctx, id, g)
		case <-ctx.Done():
		}
	})
}

// start starts the machine now. If that does not work the instance stops, or ends if it has never run.
func (x *Control) start(ctx context.Context, id string, g *guest) {
	x.mu.Lock()
	r, i := x.locate(id)
	if i == nil || i.State != pending {
		x.mu.Unlock()
		return
	}
	spec := x.specOf(r, i)
	x.mu.Unlock()
	host, err := x.room.open()
	var m *machine.Machine
	if err == nil {
		m, err = host.Start(ctx, spec)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil {
		g.machine = m // who stops it meanwhile waits until it is there
		return
	}
	if ctx.Err() != nil {
		return
	}
	x.options.Log("starting the machine of %s: %v", id, err)
	i.Reason = stateReason{"Server.InternalError", "Server.InternalError: Internal error on launch: " + err.Error()}
	i.comes(i.State, stopped, x.world.Now())
	if !i.Booted {
		i.Next.To = terminated
	}
}

// A Guest is a running instance as those see it who are inside: its agents.
type Guest struct {
	ID, Zone string           // no zone: there is no such instance
	Machine  *machine.Machine // nil: instances are states only, or it still boots
	Profile  string           // ARN of its instance profile; empty: it has none
	Gone     bool             // it does not run, or was never there
}

// Guest finds a running instance of an account.
func (x *Control) Guest(account, region, id string) Guest {
	x.mu.Lock()
	defer x.mu.Unlock()
	r, i := x.locate(id)
	if i == nil || i.Owner != account || r.Name != region {
		return Guest{ID: id, Gone: true}
	}
	x.settleInstances(r, x.world.Now())
	g := Guest{ID: id, Zone: i.Zone, Gone: i.State != running}
	if i.Profile != nil {
		g.Profile = i.Profile.ARN
	}
	if live := x.live[id]; live != nil && !g.Gone {
		g.Machine = live.machine
	}
	return g
}

// Lend finds an instance, and what lets a user in with a key for a while; nil:
// it does not run. Without a zone there is no such instance.
func (x *Control) Lend(account, region, id string) (zone string, lend func(user, key string, while time.Duration) error) {
	g := x.Guest(account, region, id)
	if g.Gone || g.Machine == nil {
		return g.Zone, nil
	}
	return g.Zone, g.Machine.Lend
}

// specOf is the machine that the instance stands for.
func (x *Control) specOf(r *region, i *instance) machine.Spec {
	data, _ := base64.StdEncoding.DecodeString(i.UserData) // it was checked when it came
	s := machine.Spec{ID: i.ID, Address: i.Address, Private: i.Private, Private6: i.ipv6(), Network: i.VPC, Near: true, Region: r.Name, UserData: data, FirstBoot: !i.Booted,
		Allow: func(from netip.Addr, protocol string, port uint16) bool { return x.allows(i.ID, from, protocol, port) },
		Ended: func(rebooting bool) { x.ended(i.ID, rebooting) }}
	if m := r.Images[i.Image]; m != nil {
		s.Login = m.Login
	}
	if a := i.root(); a != nil {
		s.Disk = a.Volume
	}
	if t := typeTable()[i.Type]; t != nil {
		s.NVMe = t.nitro
	}
	for _, a := range i.Devices {
		if v := r.Volumes[a.Volume]; v != nil && a.Device != i.Root && !v.Detaching {
			s.Volumes = append(s.Volumes, v.plugged(a))
		}
	}
	for _, k := range r.KeyPairs {
		if k.Owner == i.Owner && k.Name == i.Key {
			s.AuthorizedKeys = []string{k.PublicKey}
		}
	}
	return s
}

// root is the attachment of the root volume, or nil.
func (i *instance) root() *attachment {
	for _, a := range i.Devices {
		if a.Device == i.Root {
			return a
		}
	}
	return nil
}

// allows reports whether the instance's security groups let a connection in.
func (x *Control) allows(id string, from netip.Addr, protocol string, port uint16) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	r, i := x.locate(id)
	if i == nil {
		return false
	}
	inGroup := func(group string) bool {
		for _, other := range r.Instances {
			if other.has(from, i.VPC) && other.State != terminated && slices.Contains(other.Groups, group) {
				return true
			}
		}
		return false
	}
	for _, name := range i.Groups {
		g := r.Groups[name]
		if g != nil && slices.ContainsFunc(g.Rules, func(rule *rule) bool { return rule.admits(from, protocol, port, inGroup) }) {
			return true
		}
	}
	return false
}

// rulesChanged lets machines ask again who may connect: after the answer to the
// call that changed the rules is certain, and without the lock, since they ask at once.
func (o *op) rulesChanged() {
	o.unlocked(func() {
		o.mu.Lock()
		var all []*machine.Machine
		for _, g := range o.live {
			if g.machine != nil {
				all = append(all, g.machine)
			}
		}
		o.mu.Unlock()
		for _, m := range all {
			m.RulesChanged()
		}
	})
}

// ended is what a guest did by itself: a poweroff obeys the instance's shutdown behaviour.
func (x *Control) ended(id string, rebooting bool) {
	if rebooting {
		return // it runs on, and the instance was running all the while
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	r, i := x.locate(id)
	if g := x.live[id]; g != nil {
		g.machine = nil
	}
	if i == nil || i.State != running && i.State != pending {
		return // it was asked to
	}
	now := x.world.Now()
	i.Transition = userInitiated(now)
	i.Reason = stateReason{"Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown"}
	if i.ShutdownAction == "terminate" {
		i.comes(shuttingDown, terminated, now.Add(x.world.Takes(terminateTime)))
	} else {
		i.comes(stopping, stopped, now.Add(x.world.Takes(stopTime)))
	}
	x.settleInstances(r, now)
}

// halt ends the machine of an instance as the function given does: by asking it, or not.
func (x *Control) halt(id string, end func(*machine.Machine)) {
	if x.room == nil {
		return
	}
	g := x.guestOf(id)
	if g.cancel != nil {
		g.cancel()
	}
	booting := g.booting
	x.do(id, func(g *guest) {
		if booting != nil {
			<-booting
		}
		g.cuts.Wait()
		x.mu.Lock()
		m := g.machine
		g.machine = nil
		x.mu.Unlock()
		if m != nil {
			end(m)
		}
	})
}

// stop asks the machine to end.
func (x *Control) stop(id string) {
	x.halt(id, func(m *machine.Machine) {
		if err := m.Stop(x.ctx); err != nil {
			x.options.Log("stopping the machine of %s: %v", id, err)
			m.Kill()
		}
	})
}

// kill ends the machine without asking it.
func (x *Control) kill(id string) { x.halt(id, (*machine.Machine).Kill) }

// reboot reboots the machine of an instance, which stays running all the while.
func (x *Control) reboot(id string) {
	g := x.live[id]
	if g == nil || g.machine == nil {
		return
	}
	m := g.machine
	x.work.Go(func() {
		if err := m.Reboot(x.ctx); err != nil && x.ctx.Err() == nil {
			x.options.Log("rebooting %s: %v", id, err)
		}
	})
}

// revive starts the machines of a state that was loaded, and gives up on what
// was being done when it was saved.
func (x *Control) revive() {
	now := x.world.Now()
	for _, r := range x.state.Regions {
		for _, v := range r.Volumes {
			v.Held = false // nothing runs
		}
		for _, s := range r.Snapshots {
			if s.Waiting {
				s.Waiting, s.Message = false, "The sandbox was stopped while the disk was being frozen"
			}
		}
		for _, i := range r.Images {
			if i.Importing {
				i.Importing, i.State, i.Reason = false, failed, stateReason{"Client.InternalError", "The sandbox was stopped while the root filesystem was being read"}
			}
		}
		for id, i := range r.Instances {
			if i.State == running || i.State == pending {
				i.comes(pending, running, now)
				x.boot(id, 0)
			}
		}
	}
}

// consoleText is the end of an instance's console, in base64.
func (x *Control) consoleText(i *instance) string {
	g := x.live[i.ID]
	if g == nil || g.machine == nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(g.machine.Console())
}
