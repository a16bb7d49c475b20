package ec2

import (
	"context"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// locate finds an instance and its region by id.
func (x *Control) locate(id string) (*region, *instance) {
	for _, r := range x.state.Regions {
		if i := r.Instances[id]; i != nil {
			return r, i
		}
	}
	return nil, nil
}

// in runs f in the background, on behalf of the instance: until it returns, the
// instance keeps its state. The lock is held by the caller, not by f.
func (x *Control) in(id string, f func(ctx context.Context, g *guest)) {
	g := x.live[id]
	if g == nil {
		g = &guest{}
		x.live[id] = g
	}
	g.busy = true
	ctx, cancel := context.WithCancel(x.ctx)
	g.cancel = cancel
	x.work.Go(func() {
		defer cancel()
		f(ctx, g)
		x.mu.Lock()
		defer x.mu.Unlock()
		g.busy = false
		if r, i := x.locate(id); i != nil {
			x.settleInstances(r, x.world.Now())
		}
	})
}

// boot starts the machine of an instance once its boot time is over.
func (x *Control) boot(region, id string, after time.Duration) {
	if x.options.Machines == nil {
		return
	}
	x.in(id, func(ctx context.Context, g *guest) {
		select {
		case <-time.After(after):
		case <-ctx.Done():
			return
		}
		x.start(ctx, region, id, g)
	})
}

// start starts the machine now. If that does not work the instance stops, or ends if it has never run.
func (x *Control) start(ctx context.Context, region, id string, g *guest) {
	x.mu.Lock()
	r, i := x.locate(id)
	if i == nil || i.State != pending && i.State != running {
		x.mu.Unlock()
		return
	}
	l := x.launchOf(r, i)
	x.mu.Unlock()
	m, err := x.options.Machines.Start(ctx, l)
	x.mu.Lock()
	defer x.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			x.options.Log("starting the machine of %s: %v", id, err)
			i.Reason = stateReason{"Server.InternalError", "Server.InternalError: Internal error on launch: " + err.Error()}
			i.comes(i.State, stopped, x.world.Now())
			if !i.Booted {
				i.Next.To = terminated
			}
		}
		return
	}
	g.machine = m
	if i.State == shuttingDown || i.State == terminated || x.ctx.Err() != nil {
		m.Kill()
		g.machine = nil
	}
}

// launchOf is the machine that the instance stands for.
func (x *Control) launchOf(r *region, i *instance) Launch {
	data, _ := base64.StdEncoding.DecodeString(i.UserData) // it was checked when it came
	l := Launch{ID: i.ID, Hostname: "ip-" + dashed(i.Address.String()), Address: i.Address, Region: r.Name, UserData: data, FirstBoot: !i.Booted, Login: i.login(r),
		Allow: func(from netip.Addr, protocol string, port uint16) bool { return x.allows(i.ID, from, protocol, port) },
		Ended: func(rebooting bool) { x.ended(i.ID, rebooting) }}
	for _, a := range i.Devices {
		if a.Device == i.Root {
			l.Disk = a.Volume
		}
	}
	for _, k := range r.KeyPairs {
		if k.Owner == i.Owner && k.Name == i.Key {
			l.AuthorizedKeys = []string{k.PublicKey}
		}
	}
	return l
}

func (i *instance) login(r *region) string {
	if m := r.Images[i.Image]; m != nil && m.Login != "" {
		return m.Login
	}
	return "root"
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
			if other.Address == from && other.State != terminated && slices.Contains(other.Groups, group) {
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

// ended is what a guest did by itself: a poweroff obeys the instance's shutdown behaviour.
func (x *Control) ended(id string, rebooting bool) {
	if rebooting {
		return // the machine comes back by itself, and the instance keeps running
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	r, i := x.locate(id)
	if i == nil || i.State != running && i.State != pending {
		return // it was asked to
	}
	if g := x.live[id]; g != nil {
		g.machine = nil
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

// halt stops the machine of an instance.
func (x *Control) halt(id string) {
	g := x.live[id]
	if g == nil {
		return
	}
	g.cancelWork()
	x.in(id, func(ctx context.Context, g *guest) {
		x.mu.Lock()
		m := g.machine
		x.mu.Unlock()
		if m == nil {
			return
		}
		if err := m.Stop(ctx); err != nil {
			m.Kill()
		}
		x.mu.Lock()
		g.machine = nil
		x.mu.Unlock()
	})
}

// cancelWork ends what is being done for the instance.
func (g *guest) cancelWork() {
	if g.busy && g.cancel != nil {
		g.cancel()
	}
}

// kill ends the machine of an instance without asking it.
func (x *Control) kill(id string) {
	g := x.live[id]
	if g == nil {
		return
	}
	g.cancelWork()
	x.in(id, func(_ context.Context, g *guest) {
		x.mu.Lock()
		m := g.machine
		g.machine = nil
		x.mu.Unlock()
		if m != nil {
			m.Kill()
		}
	})
}

// reboot reboots the machine of an instance, which stays running all the while.
func (x *Control) reboot(id string) {
	g := x.live[id]
	if g == nil || g.machine == nil {
		return
	}
	x.in(id, func(ctx context.Context, g *guest) {
		if err := g.machine.Reboot(ctx); err != nil {
			x.options.Log("rebooting %s: %v", id, err)
		}
	})
}

// newDisk makes the disk of a volume, once the call has succeeded.
func (o *op) newDisk(volume, layer string) {
	if o.options.Machines == nil {
		return
	}
	o.then(func() {
		if layer == builtIn {
			o.importBuiltIn()
		}
		if err := o.options.Machines.NewDisk(o.ctx, volume, layer); err != nil {
			o.options.Log("making the disk %s from %q: %v", volume, layer, err)
		}
	})
}

// freeze makes the snapshots of volumes, given by volume, of what is on their disks now.
func (o *op) freeze(cuts map[string]string) {
	o.then(func() { o.cut(o.r, cuts) })
}

// cut freezes disks. A snapshot whose disk cannot be frozen becomes an error.
func (x *Control) cut(r *region, cuts map[string]string) {
	if x.options.Machines == nil {
		return
	}
	for disk, id := range cuts {
		if err := x.options.Machines.Snapshot(x.ctx, disk, id); err != nil {
			x.options.Log("snapshot %s of the disk %s: %v", id, disk, err)
			if s := r.Snapshots[id]; s != nil {
				s.Message = "Internal error: " + err.Error()
			}
		}
	}
}

// quiesce freezes the disks of a running instance as CreateImage does without
// NoReboot: the machine is stopped, and started again.
func (o *op) quiesce(i *instance, cuts map[string]string) {
	r, id := o.r, i.ID
	if o.options.Machines == nil {
		return
	}
	for _, s := range cuts {
		r.Snapshots[s].Waiting = true
	}
	o.then(func() {
		o.in(id, func(ctx context.Context, g *guest) {
			o.mu.Lock()
			m := g.machine
			g.machine = nil
			o.mu.Unlock()
			if m != nil {
				if err := m.Stop(ctx); err != nil {
					m.Kill()
				}
			}
			o.mu.Lock()
			o.cut(r, cuts)
			for _, name := range cuts {
				if s := r.Snapshots[name]; s != nil {
					s.Waiting = false
				}
			}
			o.mu.Unlock()
			o.start(ctx, r.Name, id, g)
		})
	})
}

// dropDisk deletes a volume's disk in the background.
func (x *Control) dropDisk(volume string) {
	if x.options.Machines == nil || x.ctx.Err() != nil {
		return
	}
	x.work.Go(func() {
		if err := x.options.Machines.DeleteDisk(context.WithoutCancel(x.ctx), volume); err != nil {
			x.options.Log("deleting the disk %s: %v", volume, err)
		}
	})
}

// dropLayer deletes what snapshots shared, in the background.
func (x *Control) dropLayer(layer string) {
	if x.options.Machines == nil || strings.HasPrefix(layer, "base-") {
		return // bases stay: images of other regions will want them
	}
	x.work.Go(func() {
		if err := x.options.Machines.DeleteSnapshot(context.WithoutCancel(x.ctx), layer); err != nil {
			x.options.Log("deleting the snapshot %s: %v", layer, err)
		}
	})
}

// revive starts the machines of a state that was loaded, and gives up on what was being done when it was saved.
func (x *Control) revive() {
	now := x.world.Now()
	for _, r := range x.state.Regions {
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
			switch i.State {
			case running, pending:
				i.comes(pending, running, now)
				x.boot(r.Name, id, 0)
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
	text := g.machine.Console()
	return base64.StdEncoding.EncodeToString(text[max(0, len(text)-maxConsole):])
}
