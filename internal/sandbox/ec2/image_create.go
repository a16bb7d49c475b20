package ec2

import (
	"fmt"
	"slices"

	"bake/internal/sandbox/api"
)

type createImageIn struct {
	dry
	Instance    string        `q:"InstanceId,required"`
	Name        string        `q:"Name,required"`
	Description string        `q:"Description"`
	NoReboot    bool          `q:"NoReboot"`
	Devices     []blockDevice `q:"BlockDeviceMapping"`
	Location    string        `q:"SnapshotLocation"`
	BootMode    string        `q:"BootModeOverride"`
	Tags        []tagSpec     `q:"TagSpecification"`
}

type imageID struct {
	ID string `xml:"imageId"`
}

func (o *op) createImage(in *createImageIn) (*imageID, error) {
	tags, err := tagsFor(in.Tags, kindImage.name, kindSnapshot.name)
	if err != nil {
		return nil, err
	}
	if err := o.freeName(in.Name); err != nil {
		return nil, err
	}
	if err := checkDescription(in.Description); err != nil {
		return nil, err
	}
	if err := checkDeviceList(in.Devices); err != nil {
		return nil, err
	}
	i, err := find(o, kindInstance, o.r.Instances, in.Instance)
	if err != nil {
		return nil, err
	}
	if i.State != running && i.State != stopped {
		return nil, api.Errorf("InvalidParameterValue", "Instance is not in state 'running' or 'stopped'")
	}
	switch {
	case in.BootMode == "":
		in.BootMode = i.BootMode
	case in.BootMode != "uefi":
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter bootModeOverride is invalid.", in.BootMode)
	case i.currentBoot() != "uefi":
		return nil, api.Errorf("InvalidParameterCombination", "The boot mode uefi can be specified only for an instance whose current boot mode is uefi")
	}
	m := &image{meta: o.make(kindImage, tags[kindImage.name]), Name: in.Name, Description: in.Description, State: pending, Instance: i.ID, Root: i.Root,
		Location: o.call.Account + "/" + in.Name, Architecture: i.Architecture, Virtualization: i.Virtualization, BootMode: in.BootMode, TPM: i.TPM, ENA: i.ENA,
		SRIOV: i.SRIOV, SourceImage: i.Image, SourceRegion: o.r.Name}
	if base := o.r.Images[i.Image]; base != nil {
		m.IMDS, m.Login, m.UEFIData, m.Product = base.IMDS, base.Login, base.UEFIData, o.product(base)
	}
	m.Doom, _ = o.doomed("image", nil)
	cuts, err := o.capture(m, i, in.Devices, tags[kindSnapshot.name])
	if err != nil {
		return nil, err
	}
	o.r.Images[m.ID] = m
	if i.State == running && !in.NoReboot {
		o.quiesce(i, cuts)
	} else {
		o.freeze(cuts)
	}
	return &imageID{m.ID}, nil
}

// capture gives the image a snapshot of every volume of the instance that the
// request does not leave out, and the devices that it adds.
func (o *op) capture(m *image, i *instance, asked []blockDevice, tags []tag) (map[string]string, error) {
	cuts := map[string]string{}
	rest := slices.Clone(asked)
	for _, a := range i.Devices {
		v := o.r.Volumes[a.Volume]
		var over *blockDevice
		if n := slices.IndexFunc(rest, func(d blockDevice) bool { return d.Device == a.Device }); n >= 0 {
			over = &asked[slices.IndexFunc(asked, func(d blockDevice) bool { return d.Device == a.Device })]
			rest = slices.Delete(rest, n, n+1)
		}
		if over != nil && over.None != nil {
			if a.Device == i.Root {
				return nil, api.Errorf("InvalidBlockDeviceMapping", "The device '%s' is the root device: it can not be left out", a.Device)
			}
			continue
		}
		d, err := v.device(a, over)
		if err != nil {
			return nil, err
		}
		s := o.addSnapshot(v, fmt.Sprintf("Created by CreateImage(%s) for %s", i.ID, m.ID), tags)
		d.Ebs.Snapshot = s.ID
		cuts[v.ID] = s.ID
		m.Devices = append(m.Devices, d)
	}
	for _, d := range rest {
		if d.None != nil {
			continue
		}
		if d.Ebs != nil {
			var err error
			if d, err = o.device(d, m); err != nil {
				return nil, err
			}
			d.Ebs.inImage()
		}
		m.Devices = append(m.Devices, d)
	}
	return cuts, nil
}

// device is how an image has the volume: as it is, but for what over says.
func (v *volume) device(a *attachment, over *blockDevice) (blockDevice, error) {
	g := v.Geometry
	e := &ebsDevice{DeleteOnTermination: &a.DeleteOnTermination}
	if over != nil && over.Ebs != nil {
		x := over.Ebs
		switch {
		case x.Encrypted != nil || x.Key != "":
			return blockDevice{}, api.Errorf("InvalidBlockDeviceMapping", "The parameter encrypted cannot be specified for the device '%s': it is as its volume is", a.Device)
		case x.Snapshot != "":
			return blockDevice{}, api.Errorf("InvalidBlockDeviceMapping", "The parameter snapshotId cannot be specified for the device '%s': it gets one", a.Device)
		}
		if x.DeleteOnTermination != nil {
			e.DeleteOnTermination = x.DeleteOnTermination
		}
		if x.Type != "" && x.Type != g.Type {
			g = geometry{Type: x.Type, Size: g.Size}
		}
		if x.Size != nil {
			if *x.Size < v.Geometry.Size {
				return blockDevice{}, api.Errorf("InvalidBlockDeviceMapping", "Volume of size %dGB is smaller than snapshot, expect size >= %dGB", *x.Size, v.Geometry.Size)
			}
			g.Size = *x.Size
			if g.Type == "gp2" {
				g.IOPS = nil
			}
		}
		if x.IOPS != nil {
			g.IOPS = x.IOPS
		}
		if x.Throughput != nil {
			g.Throughput = x.Throughput
		}
	}
	if g.Type == "gp2" {
		g.IOPS = nil // it follows from the size
	}
	g, err := g.complete()
	e.Size, e.Type, e.IOPS, e.Throughput = &g.Size, g.Type, g.IOPS, g.Throughput
	e.inImage()
	return blockDevice{Device: a.Device, Ebs: e}, err
}

// inImage makes a volume's mapping an image's, which has no IOPS of gp2: they
// follow from the size, and a launch may not ask for them.
func (e *ebsDevice) inImage() {
	if e.Type == "gp2" {
		e.IOPS = nil
	}
}

type registerImageIn struct {
	dry
	Location       string        `q:"ImageLocation"`
	Name           string        `q:"Name,required"`
	Description    string        `q:"Description"`
	Architecture   string        `q:"Architecture"`
	Kernel         string        `q:"KernelId"`
	Ramdisk        string        `q:"RamdiskId"`
	Root           string        `q:"RootDeviceName"`
	Devices        []blockDevice `q:"BlockDeviceMapping"`
	Virtualization string        `q:"VirtualizationType"`
	SRIOV          string        `q:"SriovNetSupport"`
	ENA            bool          `q:"EnaSupport"`
	BootMode       string        `q:"BootMode"`
	TPM            string        `q:"TpmSupport"`
	UEFIData       string        `q:"UefiData"`
	IMDS           string        `q:"ImdsSupport"`
	Billing        []string      `q:"BillingProduct"`
	Tags           []tagSpec     `q:"TagSpecification"`
}

func (o *op) registerImage(in *registerImageIn) (*imageID, error) {
	tags, err := tagsFor(in.Tags, kindImage.name)
	if err != nil {
		return nil, err
	}
	if err := o.freeName(in.Name); err != nil {
		return nil, err
	}
	if err := checkDescription(in.Description); err != nil {
		return nil, err
	}
	if path, ok := localPath(in.Location); ok {
		return o.registerPath(in, path, tags[kindImage.name])
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	m := &image{meta: o.make(kindImage, tags[kindImage.name]), Name: in.Name, Description: in.Description, State: pending, Root: in.Root, Location: o.call.Account + "/" + in.Name,
		Architecture: in.Architecture, Virtualization: in.Virtualization, BootMode: in.BootMode, TPM: in.TPM, UEFIData: in.UEFIData, IMDS: in.IMDS, ENA: in.ENA, SRIOV: in.SRIOV}
	m.Doom, _ = o.doomed("image", nil)
	if m.Architecture == "" {
		m.Architecture = "i386" // AWS's default, still
	}
	if m.Virtualization == "" {
		m.Virtualization = "paravirtual" // this too
	}
	for _, d := range in.Devices {
		if d.Ebs != nil {
			if d.Ebs.Encrypted != nil && d.Ebs.Snapshot != "" {
				return nil, api.Errorf("InvalidBlockDeviceMapping", "the encrypted flag cannot be specified since device %s has a snapshot specified.", d.Device)
			}
			if d.Device == in.Root && d.Ebs.Snapshot == "" {
				return nil, api.Errorf("InvalidBlockDeviceMapping", "The root device '%s' must be mapped to a snapshot", in.Root)
			}
			if d, err = o.device(d, nil); err != nil {
				return nil, err
			}
			d.Ebs.inImage()
		}
		m.Devices = append(m.Devices, d)
	}
	o.r.Images[m.ID] = m
	o.settleImages(o.r, o.now)
	return &imageID{m.ID}, nil
}

// check checks what a registration of snapshots says.
func (in *registerImageIn) check() error {
	if in.Location != "" {
		return api.Errorf("InvalidParameterValue", "Images in S3 can not be registered here: ImageLocation is a path of a root filesystem on this machine, or empty")
	}
	if in.Root == "" {
		return api.Errorf("MissingParameter", "The request must contain the parameter RootDeviceName")
	}
	for name, v := range map[string][]string{
		"architecture": {in.Architecture, "i386", "x86_64", "arm64", "x86_64_mac", "arm64_mac"}, "virtualizationType": {in.Virtualization, "hvm", "paravirtual"},
		"bootMode": {in.BootMode, "legacy-bios", "uefi", "uefi-preferred"}, "tpmSupport": {in.TPM, "v2.0"}, "imdsSupport": {in.IMDS, "v2.0"}, "sriovNetSupport": {in.SRIOV, "simple"},
	} {
		if v[0] != "" && !slices.Contains(v[1:], v[0]) {
			return api.Errorf("InvalidParameterValue", "Value (%s) for parameter %s is invalid.", v[0], name)
		}
	}
	if in.TPM != "" && in.BootMode != "uefi" {
		return api.Errorf("InvalidParameterCombination", "TpmSupport requires the boot mode uefi")
	}
	if err := checkDeviceList(in.Devices); err != nil {
		return err
	}
	if !slices.ContainsFunc(in.Devices, func(d blockDevice) bool { return d.Device == in.Root && d.Ebs != nil }) {
		return api.Errorf("InvalidBlockDeviceMapping", "The root device name '%s' does not appear in the device name mappings", in.Root)
	}
	return nil
}
