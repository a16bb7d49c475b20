package ec2

import (
	"slices"

	"bake/internal/lazyregexp"
	"bake/internal/sandbox/api"
)

// deviceName is what EC2 takes: /dev/sda1, /dev/xvdf, xvdcz, sdb.
var deviceName = lazyregexp.New(`^(/dev/)?(sd[a-z]{1,2}[0-9]{0,2}|xvd[a-z]{1,2}[0-9]{0,2}|nvme[0-9]+n1)$`)

// checkDevices merges the image's devices with the launch's and checks the result.
func (o *op) checkDevices(p *plan, _ *runInstancesIn) error {
	if err := checkDeviceList(p.spec.Devices); err != nil {
		return err
	}
	for _, d := range mergeDevices(p.image.Devices, p.spec.Devices) {
		switch {
		case d.None != nil && d.Device == p.image.Root:
			return api.Errorf("InvalidBlockDeviceMapping", "The device '%s' is the root device: it can not be left out", d.Device)
		case d.None != nil, d.Ebs == nil: // left out, or a disk of the host: no such instance type is here
			continue
		}
		e, err := o.device(d, p.image)
		if err != nil {
			return err
		}
		p.devices = append(p.devices, e)
	}
	if !slices.ContainsFunc(p.devices, func(d blockDevice) bool { return d.Device == p.image.Root }) {
		return api.Errorf("InvalidBlockDeviceMapping", "The image has no volume for its root device '%s'", p.image.Root)
	}
	return nil
}

// checkDeviceList checks the mappings of a request by themselves.
func checkDeviceList(all []blockDevice) error {
	seen := map[string]bool{}
	for _, d := range all {
		switch {
		case d.Device == "":
			return api.Errorf("MissingParameter", "The request must contain the parameter deviceName")
		case !deviceName.MatchString(d.Device):
			return api.Errorf("InvalidBlockDeviceMapping", "Invalid device name %s", d.Device)
		case seen[d.Device]:
			return api.Errorf("InvalidBlockDeviceMapping", "The device '%s' is used in more than one block-device mapping", d.Device)
		case d.None == nil && d.Ebs == nil && d.Virtual == "":
			return api.Errorf("InvalidBlockDeviceMapping", "The device '%s' has no mapping: ebs, virtualName or noDevice", d.Device)
		case d.Ebs != nil && d.Virtual != "":
			return api.Errorf("InvalidBlockDeviceMapping", "The device '%s' has more than one mapping", d.Device)
		}
		seen[d.Device] = true
	}
	return nil
}

// device completes the mapping of one volume: its size and limits, and its snapshot.
func (o *op) device(d blockDevice, i *image) (blockDevice, error) {
	e := *d.Ebs
	d.Ebs = &e
	root := i != nil && d.Device == i.Root
	size := or(e.Size, 0)
	var from seal
	if e.Snapshot != "" {
		s, err := o.usableSnapshot(e.Snapshot, i)
		if err != nil {
			return d, err
		}
		if size == 0 {
			size = s.Size
		}
		if size < s.Size {
			return d, api.Errorf("InvalidBlockDeviceMapping", "Volume of size %dGB is smaller than snapshot '%s', expect size >= %dGB", size, s.ID, s.Size)
		}
		from = s.Seal
	} else if size == 0 {
		return d, api.Errorf("MissingParameter", "The request must contain the parameter size or snapshotId")
	}
	g, err := (geometry{e.Type, size, e.IOPS, e.Throughput}).complete()
	if err != nil {
		return d, err
	}
	if t, _ := volumeTypeNamed(g.Type); root && !t.root {
		return d, api.Errorf("InvalidParameterValue", "Volumes of type '%s' can not be used as the root device", g.Type)
	}
	if _, _, err := o.sealFor(e.Encrypted, e.Key, from); err != nil {
		return d, err
	}
	e.Type, e.Size, e.IOPS, e.Throughput = g.Type, &g.Size, g.IOPS, g.Throughput
	if e.DeleteOnTermination == nil {
		// What the image does not say otherwise goes with its instance.
		e.DeleteOnTermination = ref(true)
	}
	return d, nil
}

// usableSnapshot finds a snapshot that the caller may make a volume of; those of an image that it may launch are.
func (o *op) usableSnapshot(id string, i *image) (*snapshot, error) {
	if err := kindSnapshot.check(id); err != nil {
		return nil, err
	}
	s, ok := o.r.Snapshots[id]
	ofImage := ok && i != nil && slices.ContainsFunc(i.Devices, func(d blockDevice) bool { return d.Ebs != nil && d.Ebs.Snapshot == id })
	if !ok || !ofImage && !o.seesSnapshot(s) || o.call.Hidden(id) {
		return nil, kindSnapshot.notFound(id)
	}
	if s.State != completed {
		return nil, api.Errorf("IncorrectState", "Snapshot is in invalid state - %s", s.State)
	}
	return s, nil
}

// addVolumes makes the volumes of a new instance. If one of their keys can not be used it says why.
func (o *op) addVolumes(i *instance, p *plan) (failed string) {
	for _, d := range p.devices {
		e := d.Ebs
		var from seal
		layer := ""
		if s := o.r.Snapshots[e.Snapshot]; s != nil {
			from, layer = s.Seal, s.Layer
		}
		sealed, reason, _ := o.sealFor(e.Encrypted, e.Key, from) // it was checked with the plan
		if reason != "" {
			failed = "Client error on launch"
		}
		v := &volume{meta: o.make(kindVolume, p.tags["volume"]), State: inUse, Geometry: geometry{e.Type, *e.Size, e.IOPS, e.Throughput}, Snapshot: e.Snapshot,
			Zone: i.Zone, Seal: sealed, Instance: i.ID}
		o.r.Volumes[v.ID] = v
		i.Devices = append(i.Devices, &attachment{Device: d.Device, Volume: v.ID, DeleteOnTermination: or(e.DeleteOnTermination, true), At: o.now})
		o.newDisk(v.ID, layer)
	}
	return failed
}
