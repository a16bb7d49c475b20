package ec2

import (
	"context"

	"bake/internal/sandbox/machine"
)

// plugged is the volume as a machine has it.
func (v *volume) plugged(a *attachment) machine.Volume {
	return machine.Volume{Disk: v.ID, Device: a.Device, Size: int64(v.Geometry.Size) << 30}
}

// plug gives a volume to the machine that runs for its instance, before the
// call is answered.
func (o *op) plug(v *volume, a *attachment) {
	g := o.runsOn(v.ID)
	if g == nil {
		return
	}
	m, given := g.machine, v.plugged(a)
	o.unlocked(func() {
		if err := m.Attach(given); err != nil {
			o.options.Log("attaching %s: %v", given.Disk, err)
		}
	})
}

// unplug takes a volume from the machine that runs for its instance. It is
// attached for as long as it is mounted there, unless it is taken by force.
func (o *op) unplug(v *volume, force bool) {
	g := o.runsOn(v.ID)
	if g == nil {
		return
	}
	v.Held = true
	m, id := g.machine, v.ID
	o.then(func() {
		o.work.Go(func() {
			if err := m.Detach(o.ctx, id, force); err != nil && context.Cause(o.ctx) == nil {
				o.options.Log("detaching %s: %v", id, err)
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			v.Held = false
		})
	})
}
