package ec2

import (
	"context"
	"strings"

	"bake/internal/sandbox/machine"
)

// newDisk makes the disk of a volume, once the call has succeeded.
func (o *op) newDisk(volume, layer string) {
	if o.room == nil {
		return
	}
	o.then(func() {
		if err := o.room.newDisk(o.ctx, volume, layer); err != nil {
			o.options.Log("making the disk %s from %q: %v", volume, layer, err)
		}
	})
}

// freeze makes the snapshots of volumes, given by volume, of what is on their
// disks now. The disk of a machine that runs is copied in the background; the
// machine does not end before that.
func (o *op) freeze(cuts map[string]string) {
	if o.room == nil {
		return
	}
	for disk, id := range cuts {
		g := o.runsOn(disk)
		s := o.r.Snapshots[id]
		if g == nil {
			o.then(func() { o.cut(s, disk) })
			continue
		}
		s.Waiting = true
		o.then(func() {
			g.cuts.Add(1)
			o.work.Go(func() {
				defer g.cuts.Done()
				o.cutUnlocked(s, disk)
			})
		})
	}
}

// runsOn returns the guest whose machine has the disk, or nil.
func (o *op) runsOn(disk string) *guest {
	v := o.r.Volumes[disk]
	if v == nil || v.Instance == "" {
		return nil
	}
	if g := o.live[v.Instance]; g != nil && g.machine != nil {
		return g
	}
	return nil
}

// cut freezes one disk. A snapshot whose disk cannot be frozen becomes an error. The lock is held.
func (x *Control) cut(s *snapshot, disk string) {
	s.Waiting = false
	if err := x.snapshot(disk, s.ID); err != nil {
		x.options.Log("snapshot %s of the disk %s: %v", s.ID, disk, err)
		s.Message = "Internal error: " + err.Error()
	}
}

// cutUnlocked is cut for who does not hold the lock.
func (x *Control) cutUnlocked(s *snapshot, disk string) {
	err := x.snapshot(disk, s.ID)
	x.mu.Lock()
	defer x.mu.Unlock()
	s.Waiting = false
	if err != nil {
		x.options.Log("snapshot %s of the disk %s: %v", s.ID, disk, err)
		s.Message = "Internal error: " + err.Error()
	}
}

func (x *Control) snapshot(disk, id string) error {
	h, err := x.room.open()
	if err != nil {
		return err
	}
	return h.Snapshot(x.ctx, disk, id)
}

// quiesce freezes the disks of a running instance as CreateImage does without
// NoReboot: while its machine is down between two boots.
func (o *op) quiesce(i *instance, cuts map[string]string) {
	g := o.live[i.ID]
	if o.room == nil || g == nil || g.machine == nil {
		o.freeze(cuts)
		return
	}
	r, m := o.r, g.machine
	for _, id := range cuts {
		r.Snapshots[id].Waiting = true
	}
	o.then(func() {
		g.cuts.Add(1)
		o.work.Go(func() {
			defer g.cuts.Done()
			o.rebootWith(m, r, cuts)
		})
	})
}

// rebootWith freezes disks while the machine is down.
func (x *Control) rebootWith(m *machine.Machine, r *region, cuts map[string]string) {
	freeze := func(context.Context) error {
		for disk, id := range cuts {
			x.mu.Lock()
			s := r.Snapshots[id]
			x.mu.Unlock()
			if s != nil {
				x.cutUnlocked(s, disk)
			}
		}
		return nil
	}
	if err := m.RebootWith(x.ctx, freeze); err != nil {
		x.options.Log("rebooting for an image: %v", err)
		_ = freeze(x.ctx) // the machine had ended: its disks are as it left them
	}
}

// dropDisk deletes a volume's disk in the background.
func (x *Control) dropDisk(volume string) {
	x.drop("disk "+volume, func(ctx context.Context, h *machine.Host) error { return h.DeleteDisk(ctx, volume) })
}

// dropLayer deletes what snapshots shared, in the background. Bases stay: other regions want them.
func (x *Control) dropLayer(layer string) {
	if !strings.HasPrefix(layer, "base-") {
		x.drop("snapshot "+layer, func(ctx context.Context, h *machine.Host) error { return h.DeleteSnapshot(ctx, layer) })
	}
}

func (x *Control) drop(what string, f func(context.Context, *machine.Host) error) {
	if x.room == nil || x.ctx.Err() != nil {
		return
	}
	x.work.Go(func() {
		h, err := x.room.open()
		if err == nil {
			err = f(context.WithoutCancel(x.ctx), h)
		}
		if err != nil {
			x.options.Log("deleting the %s: %v", what, err)
		}
	})
}
