package ec2

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"bake/internal/sandbox/api"
)

// The states of a volume.
const (
	creating  = "creating"
	available = "available"
	inUse     = "in-use"
	deleting  = "deleting"
	errored   = "error"
)

const (
	volumeTime = 2 * time.Second
	attachTime = 2 * time.Second
)

// A volume is an EBS volume.
type volume struct {
	meta
	State     string
	Next      *transition
	Geometry  geometry
	Snapshot  string
	Zone      string
	Seal      seal
	Multi     bool
	Instance  string // it is attached to
	Detaching bool
	Held      bool          // by the machine, in which it is mounted
	Change    *volumeChange // the last modification
}

// A volumeChange is a modification of a volume.
type volumeChange struct {
	From, To geometry
	At, Done time.Time
}

// settleVolumes lets volumes come to the states whose time it is.
func (x *Control) settleVolumes(r *region, now time.Time) {
	for id, v := range r.Volumes {
		if v.Next == nil || !past(v.Next.At, now) || v.Held {
			continue
		}
		state := v.Next.To
		v.Next = nil
		switch {
		case state == "":
			delete(r.Volumes, id)
			x.dropDisk(id)
			continue
		case v.Detaching:
			if i := r.Instances[v.Instance]; i != nil {
				i.Devices = slices.DeleteFunc(i.Devices, func(a *attachment) bool { return a.Volume == id })
			}
			v.Instance, v.Detaching = "", false
		}
		v.State = state
	}
}

// dropVolumes deletes the volumes of a terminated instance that go with it, and lets go of the others.
func (x *Control) dropVolumes(r *region, i *instance, now time.Time) {
	for _, a := range i.Devices {
		v := r.Volumes[a.Volume]
		if v == nil {
			continue
		}
		if a.DeleteOnTermination {
			delete(r.Volumes, v.ID)
			x.dropDisk(v.ID)
			continue
		}
		v.State, v.Next, v.Instance, v.Detaching = available, nil, "", false
	}
	i.Devices = nil
}

type volumeXML struct {
	ID          string             `xml:"volumeId"`
	Size        int                `xml:"size"`
	Snapshot    string             `xml:"snapshotId"`
	Zone        string             `xml:"availabilityZone"`
	State       string             `xml:"status"`
	Created     string             `xml:"createTime"`
	Attachments set[attachmentXML] `xml:"attachmentSet>item"`
	Type        string             `xml:"volumeType"`
	IOPS        *int               `xml:"iops,omitempty"`
	Throughput  *int               `xml:"throughput,omitempty"`
	Encrypted   bool               `xml:"encrypted"`
	Key         string             `xml:"kmsKeyId,omitempty"`
	Multi       bool               `xml:"multiAttachEnabled"`
	Tags        set[tag]           `xml:"tagSet>item"`
}

type attachmentXML struct {
	Volume              string `xml:"volumeId"`
	Instance            string `xml:"instanceId"`
	Device              string `xml:"device"`
	State               string `xml:"status"`
	At                  string `xml:"attachTime"`
	DeleteOnTermination bool   `xml:"deleteOnTermination"`
}

// attached returns where the volume is attached, if it is.
func (r *region) attached(v *volume) *attachment {
	i := r.Instances[v.Instance]
	if i == nil {
		return nil
	}
	for _, a := range i.Devices {
		if a.Volume == v.ID {
			return a
		}
	}
	return nil
}

func (o *op) attachmentXML(v *volume, a *attachment) attachmentXML {
	state := "attached"
	switch {
	case v.Held && past(v.Next.At, o.now):
		state = "busy"
	case v.Detaching:
		state = "detaching"
	case v.Next != nil:
		state = "attaching"
	}
	return attachmentXML{v.ID, v.Instance, a.Device, state, stamp(a.At), a.DeleteOnTermination}
}

func (o *op) volumeXML(v *volume) volumeXML {
	out := volumeXML{ID: v.ID, Size: v.Geometry.Size, Snapshot: v.Snapshot, Zone: v.Zone, State: v.State, Created: stamp(v.Created), Type: v.Geometry.Type,
		IOPS: v.Geometry.IOPS, Throughput: v.Geometry.Throughput, Encrypted: v.Seal.Encrypted, Key: v.Seal.Key, Multi: v.Multi, Tags: v.Tags}
	if a := o.r.attached(v); a != nil {
		out.Attachments = set[attachmentXML]{o.attachmentXML(v, a)}
	}
	return out
}

type createVolumeIn struct {
	dry
	Zone        string    `q:"AvailabilityZone"`
	ZoneID      string    `q:"AvailabilityZoneId"`
	Encrypted   *bool     `q:"Encrypted"`
	IOPS        *int      `q:"Iops"`
	Key         string    `q:"KmsKeyId"`
	Size        *int      `q:"Size"`
	Snapshot    string    `q:"SnapshotId"`
	Type        string    `q:"VolumeType"`
	Tags        []tagSpec `q:"TagSpecification"`
	Multi       bool      `q:"MultiAttachEnabled"`
	Throughput  *int      `q:"Throughput"`
	Rate        *int      `q:"VolumeInitializationRate"`
	ClientToken string    `q:"ClientToken"`
}

func (o *op) createVolume(in *createVolumeIn) (*volumeXML, error) {
	use, err := o.token("CreateVolume", in.ClientToken, *in)
	if err != nil {
		return nil, err
	}
	if use != nil && len(use.IDs) > 0 {
		if v := o.r.Volumes[use.IDs[0]]; v != nil {
			return ref(o.volumeXML(v)), nil
		}
		return nil, kindVolume.notFound(use.IDs[0])
	}
	v, layer, err := o.newVolume(in)
	if err != nil {
		return nil, err
	}
	o.r.Volumes[v.ID] = v
	o.newDisk(v.ID, layer)
	if use != nil {
		use.IDs = []string{v.ID}
	}
	return ref(o.volumeXML(v)), nil
}

// newVolume checks the request and returns the volume and what is on its disk.
func (o *op) newVolume(in *createVolumeIn) (*volume, string, error) {
	tags, err := tagsFor(in.Tags, kindVolume.name)
	if err != nil {
		return nil, "", err
	}
	if in.Zone == "" && in.ZoneID == "" {
		return nil, "", api.Errorf("MissingParameter", "The request must contain the parameter AvailabilityZone")
	}
	z, err := zoneNamed(o.r.Name, in.Zone, in.ZoneID)
	if err != nil {
		return nil, "", api.Errorf("InvalidZone.NotFound", "The zone '%s' does not exist.", in.Zone+in.ZoneID)
	}
	if in.Size == nil && in.Snapshot == "" {
		return nil, "", api.Errorf("MissingParameter", "The request must contain the parameter size or snapshotId")
	}
	size, layer := or(in.Size, 0), ""
	var from seal
	if in.Snapshot != "" {
		s, err := o.usableSnapshot(in.Snapshot, nil)
		if err != nil {
			return nil, "", err
		}
		if in.Size == nil {
			size = s.Size
		}
		if size < s.Size {
			return nil, "", api.Errorf("InvalidParameterValue", "Volume of size %dGB is smaller than snapshot '%s', expect size >= %dGB", size, s.ID, s.Size)
		}
		from, layer = s.Seal, s.Layer
	}
	g, err := (geometry{in.Type, size, in.IOPS, in.Throughput}).complete()
	if err != nil {
		return nil, "", err
	}
	if in.Multi && g.Type != "io1" && g.Type != "io2" {
		return nil, "", api.Errorf("InvalidParameterCombination", "The parameter MultiAttachEnabled is not supported for %s volumes.", g.Type)
	}
	sealed, failed, err := o.sealFor(in.Encrypted, in.Key, from)
	if err != nil {
		return nil, "", err
	}
	v := &volume{meta: o.make(kindVolume, tags[kindVolume.name]), State: creating, Geometry: g, Snapshot: in.Snapshot, Zone: z.name, Seal: sealed, Multi: in.Multi}
	v.Next = &transition{o.now.Add(o.world.Takes(volumeTime)), available}
	if failed != "" {
		v.Next.To = "" // it is gone, which is all that AWS says
	}
	return v, layer, nil
}

type volumeIn struct {
	dry
	Volume string `q:"VolumeId,required"`
}

func (o *op) deleteVolume(in *volumeIn) (*returned, error) {
	v, err := find(o, kindVolume, o.r.Volumes, in.Volume)
	if err != nil {
		return nil, err
	}
	switch {
	case v.Instance != "":
		return nil, api.Errorf("VolumeInUse", "Volume %s is currently attached to %s", v.ID, v.Instance)
	case v.State != available && v.State != errored:
		return nil, api.Errorf("IncorrectState", "Volume %s is in state %s: it must be available or error", v.ID, v.State)
	}
	v.State, v.Next = deleting, &transition{o.now.Add(o.world.Takes(volumeTime)), ""}
	return ok(), nil
}

type attachVolumeIn struct {
	dry
	Device   string `q:"Device,required"`
	Instance string `q:"InstanceId,required"`
	Volume   string `q:"VolumeId,required"`
}

func (o *op) attachVolume(in *attachVolumeIn) (*attachmentXML, error) {
	v, err := find(o, kindVolume, o.r.Volumes, in.Volume)
	if err != nil {
		return nil, err
	}
	i, err := find(o, kindInstance, o.r.Instances, in.Instance)
	if err != nil {
		return nil, err
	}
	switch {
	case !deviceName.MatchString(in.Device):
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter device is invalid. %s is not a valid EBS device name.", in.Device, in.Device)
	case v.Instance != "":
		return nil, api.Errorf("VolumeInUse", "%s is already attached to an instance", v.ID)
	case v.State != available:
		return nil, api.Errorf("IncorrectState", "%s is not 'available'.", v.ID)
	case i.State != running && i.State != stopped:
		return nil, api.Errorf("IncorrectState", "Instance '%s' is not 'running'.", i.ID)
	case i.Zone != v.Zone:
		return nil, api.Errorf("InvalidVolume.ZoneMismatch", "The volume '%s' is not in the same availability zone as instance '%s'", v.ID, i.ID)
	case slices.ContainsFunc(i.Devices, func(a *attachment) bool { return a.Device == in.Device }):
		return nil, api.Errorf("InvalidParameterValue", "Invalid value '%s' for unixDevice. Attachment point %s is already in use", in.Device, in.Device)
	}
	a := &attachment{Device: in.Device, Volume: v.ID, At: o.now}
	i.Devices = append(i.Devices, a)
	v.Instance, v.State = i.ID, inUse
	v.Next = &transition{o.now.Add(o.world.Takes(attachTime)), inUse}
	o.plug(v, a)
	out := o.attachmentXML(v, a)
	out.State = "attaching"
	return &out, nil
}

type detachVolumeIn struct {
	dry
	Device   string `q:"Device"`
	Force    bool   `q:"Force"`
	Instance string `q:"InstanceId"`
	Volume   string `q:"VolumeId,required"`
}

func (o *op) detachVolume(in *detachVolumeIn) (*attachmentXML, error) {
	v, err := find(o, kindVolume, o.r.Volumes, in.Volume)
	if err != nil {
		return nil, err
	}
	a := o.r.attached(v)
	switch {
	case a == nil || v.Detaching:
		return nil, api.Errorf("IncorrectState", "Volume '%s' is in the '%s' state.", v.ID, v.State)
	case in.Instance != "" && in.Instance != v.Instance, in.Device != "" && in.Device != a.Device:
		return nil, api.Errorf("InvalidAttachment.NotFound", "The volume '%s' is not attached to instance '%s' as device '%s'.", v.ID, in.Instance, in.Device)
	}
	if i := o.r.Instances[v.Instance]; i != nil && a.Device == i.Root && i.State != stopped {
		return nil, api.Errorf("OperationNotPermitted", "Unable to detach root volume '%s' from instance '%s'", v.ID, i.ID)
	}
	v.Detaching = true
	v.Next = &transition{o.now.Add(o.world.Takes(attachTime)), available}
	o.unplug(v, in.Force)
	return ref(o.attachmentXML(v, a)), nil
}

type describeVolumesIn struct {
	dry
	page
	IDs     []string `q:"VolumeId"`
	Filters []filter `q:"Filter"`
}

type describeVolumesOut struct {
	Volumes   set[volumeXML] `xml:"volumeSet>item"`
	NextToken string         `xml:"nextToken,omitempty"`
}

func (o *op) describeVolumes(in *describeVolumesIn) (*describeVolumesOut, error) {
	text := func(get func(volumeXML) string) func(*volume) []string {
		return func(v *volume) []string { return []string{get(o.volumeXML(v))} }
	}
	attached := func(get func(attachmentXML) string) func(*volume) []string {
		return func(v *volume) []string {
			var values []string
			for _, a := range o.volumeXML(v).Attachments {
				values = append(values, get(a))
			}
			return values
		}
	}
	found, next, err := list(o, listing[*volume]{kind: kindVolume, all: o.r.Volumes, ids: in.IDs, filters: in.Filters, page: in.page, alone: "volumesSet", fields: fields[*volume]{
		"volume-id": text(func(v volumeXML) string { return v.ID }), "size": text(func(v volumeXML) string { return fmt.Sprint(v.Size) }),
		"status": text(func(v volumeXML) string { return v.State }), "snapshot-id": text(func(v volumeXML) string { return v.Snapshot }),
		"volume-type": text(func(v volumeXML) string { return v.Type }), "availability-zone": text(func(v volumeXML) string { return v.Zone }),
		"encrypted": text(func(v volumeXML) string { return fmt.Sprint(v.Encrypted) }), "create-time": text(func(v volumeXML) string { return v.Created }),
		"multi-attach-enabled":             text(func(v volumeXML) string { return fmt.Sprint(v.Multi) }),
		"attachment.instance-id":           attached(func(a attachmentXML) string { return a.Instance }),
		"attachment.device":                attached(func(a attachmentXML) string { return a.Device }),
		"attachment.status":                attached(func(a attachmentXML) string { return a.State }),
		"attachment.attach-time":           attached(func(a attachmentXML) string { return a.At }),
		"attachment.delete-on-termination": attached(func(a attachmentXML) string { return fmt.Sprint(a.DeleteOnTermination) }),
	}})
	if err != nil {
		return nil, err
	}
	out := &describeVolumesOut{NextToken: next}
	for _, v := range found {
		out.Volumes = append(out.Volumes, o.volumeXML(v))
	}
	return out, nil
}

type modifyVolumeIn struct {
	dry
	Volume     string `q:"VolumeId,required"`
	Size       *int   `q:"Size"`
	Type       string `q:"VolumeType"`
	IOPS       *int   `q:"Iops"`
	Throughput *int   `q:"Throughput"`
	Multi      *bool  `q:"MultiAttachEnabled"`
}

type changeXML struct {
	Volume             string `xml:"volumeId"`
	State              string `xml:"modificationState"`
	OriginalSize       int    `xml:"originalSize"`
	OriginalType       string `xml:"originalVolumeType"`
	OriginalIOPS       *int   `xml:"originalIops,omitempty"`
	OriginalThroughput *int   `xml:"originalThroughput,omitempty"`
	TargetSize         int    `xml:"targetSize"`
	TargetType         string `xml:"targetVolumeType"`
	TargetIOPS         *int   `xml:"targetIops,omitempty"`
	TargetThroughput   *int   `xml:"targetThroughput,omitempty"`
	Progress           int    `xml:"progress"`
	Start              string `xml:"startTime"`
	End                string `xml:"endTime,omitempty"`
}

type modifyVolumeOut struct {
	Change changeXML `xml:"volumeModification"`
}

func (o *op) modifyVolume(in *modifyVolumeIn) (*modifyVolumeOut, error) {
	v, err := find(o, kindVolume, o.r.Volumes, in.Volume)
	if err != nil {
		return nil, err
	}
	if v.State != available && v.State != inUse {
		return nil, api.Errorf("IncorrectModificationState", "Volume %s is in state %s", v.ID, v.State)
	}
	if in.Size == nil && in.Type == "" && in.IOPS == nil && in.Throughput == nil && in.Multi == nil {
		return nil, api.Errorf("MissingParameter", "The request must contain the parameter size, volumeType, iops or throughput")
	}
	// Six hours must lie between two modifications of a volume.
	if v.Change != nil && o.now.Before(v.Change.At.Add(o.world.Takes(6*time.Hour))) {
		return nil, api.Errorf("VolumeModificationRateExceeded", "You've reached the maximum modification rate per volume limit. Wait at least 6 hours between modifications per EBS volume.")
	}
	g := geometry{cmp.Or(in.Type, v.Geometry.Type), or(in.Size, v.Geometry.Size), in.IOPS, in.Throughput}
	if g.Size < v.Geometry.Size {
		return nil, api.Errorf("InvalidParameterValue", "New size cannot be smaller than existing size")
	}
	if g.Type == v.Geometry.Type && g.Type != "gp2" {
		g.IOPS, g.Throughput = cmp.Or(in.IOPS, v.Geometry.IOPS), cmp.Or(in.Throughput, v.Geometry.Throughput)
	}
	if g, err = g.complete(); err != nil {
		return nil, err
	}
	v.Change = &volumeChange{From: v.Geometry, To: g, At: o.now, Done: o.now.Add(o.world.Takes(20 * time.Second))}
	v.Geometry = g
	if in.Multi != nil {
		v.Multi = *in.Multi
	}
	return &modifyVolumeOut{v.changeXML(o.now)}, nil
}

func (v *volume) changeXML(now time.Time) changeXML {
	c := v.Change
	out := changeXML{Volume: v.ID, State: "completed", OriginalSize: c.From.Size, OriginalType: c.From.Type, OriginalIOPS: c.From.IOPS, OriginalThroughput: c.From.Throughput,
		TargetSize: c.To.Size, TargetType: c.To.Type, TargetIOPS: c.To.IOPS, TargetThroughput: c.To.Throughput, Progress: 100, Start: stamp(c.At), End: stamp(c.Done)}
	if !past(c.Done, now) {
		out.State, out.End = "modifying", ""
		out.Progress = int(100 * now.Sub(c.At) / c.Done.Sub(c.At))
	}
	return out
}

type volumeChangesOut struct {
	Changes   set[changeXML] `xml:"volumeModificationSet>item"`
	NextToken string         `xml:"nextToken,omitempty"`
}

func (o *op) describeVolumeChanges(in *describeVolumesIn) (*volumeChangesOut, error) {
	found, next, err := list(o, listing[*volume]{kind: kindVolume, all: o.r.Volumes, ids: in.IDs, filters: in.Filters, page: in.page,
		fields: fields[*volume]{
			"volume-id": one(func(v *volume) string { return v.ID }),
			"modification-state": func(v *volume) []string {
				if v.Change == nil {
					return nil
				}
				return []string{v.changeXML(o.now).State}
			},
		}})
	if err != nil {
		return nil, err
	}
	out := &volumeChangesOut{NextToken: next}
	for _, v := range found {
		if v.Change != nil {
			out.Changes = append(out.Changes, v.changeXML(o.now))
		}
	}
	return out, nil
}
