package ec2

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"bake/internal/sandbox/api"
)

// completed is the state of a snapshot that is done.
const completed = "completed"

// snapshotTime is how long a small snapshot takes; each GiB adds a little.
const (
	snapshotTime = 60 * time.Second
	perGiB       = 500 * time.Millisecond
)

// A snapshot is what a volume held at a time.
type snapshot struct {
	meta
	Volume      string
	Size        int // GiB
	State       string
	Message     string // of the state error
	Description string
	Done        time.Time // when it will be
	Waiting     bool      // for the machine to give its disk
	Seal        seal
	Layer       string // of Options.Machines; copies share it
	Users       []string
	Public      bool
	Alias       string // "amazon"
}

// settleSnapshots completes what is due.
func (x *Control) settleSnapshots(r *region, now time.Time) {
	for _, s := range r.Snapshots {
		if s.State == pending && !s.Waiting && past(s.Done, now) && !x.stuck("snapshot") {
			s.State = completed
			if s.Message != "" {
				s.State = errored
			}
		}
	}
}

// seesSnapshot reports whether the snapshot is the caller's or shared with it.
func (o *op) seesSnapshot(s *snapshot) bool {
	return s.Owner == o.call.Account || s.Public || slices.Contains(s.Users, o.call.Account)
}

// snapshotDone is when a snapshot of the size that begins now is complete.
func (o *op) snapshotDone(gib int) time.Time {
	return o.now.Add(o.world.Takes(snapshotTime + time.Duration(gib)*perGiB))
}

type snapshotXML struct {
	ID          string   `xml:"snapshotId"`
	Volume      string   `xml:"volumeId"`
	State       string   `xml:"status"`
	Message     string   `xml:"statusMessage,omitempty"`
	Start       string   `xml:"startTime"`
	Completion  string   `xml:"completionTime,omitempty"`
	Progress    string   `xml:"progress"`
	Owner       string   `xml:"ownerId"`
	Alias       string   `xml:"ownerAlias,omitempty"`
	Size        int      `xml:"volumeSize"`
	Description string   `xml:"description"`
	Encrypted   bool     `xml:"encrypted"`
	Key         string   `xml:"kmsKeyId,omitempty"`
	Tier        string   `xml:"storageTier"`
	Tags        set[tag] `xml:"tagSet>item"`
}

// A snapshotInfo is a snapshot in the answer of CreateSnapshots, where its status is called state.
type snapshotInfo struct {
	snapshotXML
	Named string `xml:"state"`
}

func (o *op) snapshotXML(s *snapshot) snapshotXML {
	v := snapshotXML{ID: s.ID, Volume: s.Volume, State: s.State, Start: stamp(s.Created), Progress: s.progress(o.now), Owner: s.Owner, Alias: s.Alias,
		Size: s.Size, Description: s.Description, Encrypted: s.Seal.Encrypted, Key: s.Seal.Key, Tier: "standard", Tags: s.Tags}
	if s.State == errored {
		v.Message = s.Message
	}
	if s.State == completed {
		v.Completion = stamp(s.Done)
	}
	if s.Owner != o.call.Account {
		v.Tags = nil // tags are the owner's
	}
	return v
}

// progress is "0%" to "100%"; the last percent comes with the completion.
func (s *snapshot) progress(now time.Time) string {
	switch whole := s.Done.Sub(s.Created); {
	case s.State == completed:
		return "100%"
	case s.Waiting || whole <= 0:
		return "0%"
	default:
		return fmt.Sprintf("%d%%", min(99, int(100*now.Sub(s.Created)/whole)))
	}
}

// addSnapshot makes a snapshot of a volume. What is on the disk is frozen by the caller.
func (o *op) addSnapshot(v *volume, description string, tags []tag) *snapshot {
	s := &snapshot{meta: o.make(kindSnapshot, tags), Volume: v.ID, Size: v.Geometry.Size, State: pending, Description: description, Seal: v.Seal,
		Done: o.snapshotDone(v.Geometry.Size)}
	s.Layer = s.ID
	if reason, is := o.doomed("snapshot", nil); is {
		s.Message = reason.Message
	}
	o.r.Snapshots[s.ID] = s
	return s
}

type createSnapshotIn struct {
	dry
	Volume      string    `q:"VolumeId,required"`
	Description string    `q:"Description"`
	Location    string    `q:"Location"`
	Tags        []tagSpec `q:"TagSpecification"`
}

func (o *op) createSnapshot(in *createSnapshotIn) (*snapshotXML, error) {
	tags, err := tagsFor(in.Tags, kindSnapshot.name)
	if err != nil {
		return nil, err
	}
	v, err := find(o, kindVolume, o.r.Volumes, in.Volume)
	if err != nil {
		return nil, err
	}
	if err := checkDescription(in.Description); err != nil {
		return nil, err
	}
	if v.State != available && v.State != inUse {
		return nil, api.Errorf("IncorrectState", "The volume '%s' is '%s'", v.ID, v.State)
	}
	s := o.addSnapshot(v, in.Description, tags[kindSnapshot.name])
	o.freeze(map[string]string{v.ID: s.ID})
	return ref(o.snapshotXML(s)), nil
}

func checkDescription(text string) error {
	if len(text) > 255 {
		return api.Errorf("InvalidParameterValue", "Character sets beyond ASCII are not supported, and descriptions have at most 255 characters.")
	}
	for _, c := range text {
		if c > 126 {
			return api.Errorf("InvalidParameterValue", "Value (%s) for parameter description is invalid. Character sets beyond ASCII are not supported.", text)
		}
	}
	return nil
}

type createSnapshotsIn struct {
	dry
	Description string `q:"Description"`
	Instance    struct {
		ID          string   `q:"InstanceId,required"`
		ExcludeBoot bool     `q:"ExcludeBootVolume"`
		Exclude     []string `q:"ExcludeDataVolumeId"`
	} `q:"InstanceSpecification,required"`
	Tags     []tagSpec `q:"TagSpecification"`
	CopyTags string    `q:"CopyTagsFromSource"`
	Location string    `q:"Location"`
}

type createSnapshotsOut struct {
	Snapshots set[snapshotInfo] `xml:"snapshotSet>item"`
}

func (o *op) createSnapshots(in *createSnapshotsIn) (*createSnapshotsOut, error) {
	tags, err := tagsFor(in.Tags, kindSnapshot.name)
	if err != nil {
		return nil, err
	}
	if in.CopyTags != "" && in.CopyTags != "volume" {
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter CopyTagsFromSource is invalid.", in.CopyTags)
	}
	i, err := find(o, kindInstance, o.r.Instances, in.Instance.ID)
	if err != nil {
		return nil, err
	}
	for _, id := range in.Instance.Exclude {
		if !slices.ContainsFunc(i.Devices, func(a *attachment) bool { return a.Volume == id && a.Device != i.Root }) {
			return nil, api.Errorf("InvalidParameterValue", "The volume '%s' is not a data volume of the instance '%s'", id, i.ID)
		}
	}
	out, cuts := &createSnapshotsOut{}, map[string]string{}
	for _, a := range i.Devices {
		if a.Device == i.Root && in.Instance.ExcludeBoot || slices.Contains(in.Instance.Exclude, a.Volume) {
			continue
		}
		v := o.r.Volumes[a.Volume]
		all := tags[kindSnapshot.name]
		if in.CopyTags == "volume" {
			all = overlay(v.Tags, all)
		}
		s := o.addSnapshot(v, in.Description, all)
		cuts[v.ID] = s.ID
		view := o.snapshotXML(s)
		out.Snapshots = append(out.Snapshots, snapshotInfo{view, s.State})
	}
	o.freeze(cuts)
	return out, nil
}

type copySnapshotIn struct {
	dry
	Description  string    `q:"Description"`
	Destination  string    `q:"DestinationRegion"`
	Encrypted    *bool     `q:"Encrypted"`
	Key          string    `q:"KmsKeyId"`
	PresignedURL string    `q:"PresignedUrl"`
	SourceRegion string    `q:"SourceRegion,required"`
	Source       string    `q:"SourceSnapshotId,required"`
	Tags         []tagSpec `q:"TagSpecification"`
	Minutes      *int      `q:"CompletionDurationMinutes"`
}

type copySnapshotOut struct {
	ID   string   `xml:"snapshotId"`
	Tags set[tag] `xml:"tagSet>item"`
}

func (o *op) copySnapshot(in *copySnapshotIn) (*copySnapshotOut, error) {
	tags, err := tagsFor(in.Tags, kindSnapshot.name)
	if err != nil {
		return nil, err
	}
	from, err := o.region(in.SourceRegion, o.now)
	if err != nil {
		return nil, api.Errorf("InvalidParameterValue", "Invalid region: %s", in.SourceRegion)
	}
	if err := kindSnapshot.check(in.Source); err != nil {
		return nil, err
	}
	source, found := from.Snapshots[in.Source]
	if !found || !o.seesSnapshot(source) || o.call.Hidden(in.Source) {
		return nil, kindSnapshot.notFound(in.Source)
	}
	if source.State != completed {
		return nil, api.Errorf("IncorrectState", "Source snapshot is in state %s", source.State)
	}
	if err := checkDescription(in.Description); err != nil {
		return nil, err
	}
	s, err := o.copyOf(source, from.Name, in.Encrypted, in.Key)
	if err != nil {
		return nil, err
	}
	s.Tags = tags[kindSnapshot.name]
	s.Description = cmp.Or(in.Description, fmt.Sprintf("[Copied %s from %s] %s", source.ID, from.Name, source.Description))
	return &copySnapshotOut{s.ID, s.Tags}, nil
}

// copyOf makes a copy of a snapshot in the caller's region and account. What
// was encrypted is again, under the key asked for or the account's default.
func (o *op) copyOf(source *snapshot, region string, encrypted *bool, key string) (*snapshot, error) {
	if source.Seal.Encrypted && encrypted == nil {
		encrypted = ref(true)
	}
	sealed, failed, err := o.sealFor(encrypted, key, source.Seal)
	if err != nil {
		return nil, err
	}
	if source.Seal.Encrypted {
		if source.Owner != o.call.Account && source.Seal.Managed {
			failed = keyless
		} else if _, err := o.options.Keys.Resolve(o.call.Account, region, source.Seal.Key); err != nil {
			failed = keyless
		}
	}
	s := &snapshot{meta: o.make(kindSnapshot, nil), Volume: "vol-ffffffff", Size: source.Size, State: pending, Seal: sealed, Layer: source.Layer,
		Message: failed, Done: o.snapshotDone(source.Size)}
	if reason, is := o.doomed("snapshot", nil); is {
		s.Message = reason.Message
	}
	o.r.Snapshots[s.ID] = s
	return s, nil
}

type snapshotIn struct {
	dry
	Snapshot string `q:"SnapshotId,required"`
}

func (o *op) deleteSnapshot(in *snapshotIn) (*returned, error) {
	s, err := find(o, kindSnapshot, o.r.Snapshots, in.Snapshot)
	if err != nil {
		return nil, err
	}
	if i := o.r.imageOf(s.ID); i != nil {
		return nil, api.Errorf("InvalidSnapshot.InUse", "The snapshot %s is currently in use by %s", s.ID, i.ID)
	}
	o.removeSnapshot(s)
	return ok(), nil
}

// imageOf returns an image that has the snapshot, or nil.
func (r *region) imageOf(snapshot string) *image {
	for _, i := range r.Images {
		if slices.ContainsFunc(i.Devices, func(d blockDevice) bool { return d.Ebs != nil && d.Ebs.Snapshot == snapshot }) {
			return i
		}
	}
	return nil
}

// removeSnapshot deletes a snapshot, and its layer with the last that shares it.
func (o *op) removeSnapshot(s *snapshot) {
	delete(o.r.Snapshots, s.ID)
	for _, r := range o.state.Regions {
		for _, other := range r.Snapshots {
			if other.Layer == s.Layer {
				return
			}
		}
	}
	if s.Layer != "" {
		o.then(func() { o.dropLayer(s.Layer) })
	}
}

type describeSnapshotsIn struct {
	dry
	page
	IDs        []string `q:"SnapshotId"`
	Owners     []string `q:"Owner"`
	Restorable []string `q:"RestorableBy"`
	Filters    []filter `q:"Filter"`
}

type describeSnapshotsOut struct {
	Snapshots set[snapshotXML] `xml:"snapshotSet>item"`
	NextToken string           `xml:"nextToken,omitempty"`
}

func (o *op) describeSnapshots(in *describeSnapshotsIn) (*describeSnapshotsOut, error) {
	text := func(get func(snapshotXML) string) func(*snapshot) []string {
		return func(s *snapshot) []string { return []string{get(o.snapshotXML(s))} }
	}
	found, next, err := list(o, listing[*snapshot]{kind: kindSnapshot, all: o.r.Snapshots, ids: in.IDs, filters: in.Filters, page: in.page, alone: "snapshotSet",
		visible: func(s *snapshot) bool {
			return o.seesSnapshot(s) && o.ownedBy(s.Owner, s.Alias, in.Owners) && (len(in.Restorable) == 0 || s.restorable(in.Restorable, o.call.Account))
		},
		fields: fields[*snapshot]{
			"snapshot-id": text(func(v snapshotXML) string { return v.ID }), "volume-id": text(func(v snapshotXML) string { return v.Volume }),
			"status": text(func(v snapshotXML) string { return v.State }), "owner-id": text(func(v snapshotXML) string { return v.Owner }),
			"owner-alias": text(func(v snapshotXML) string { return v.Alias }), "description": text(func(v snapshotXML) string { return v.Description }),
			"encrypted": text(func(v snapshotXML) string { return fmt.Sprint(v.Encrypted) }), "progress": text(func(v snapshotXML) string { return v.Progress }),
			"start-time": text(func(v snapshotXML) string { return v.Start }), "volume-size": text(func(v snapshotXML) string { return fmt.Sprint(v.Size) }),
			"storage-tier": text(func(v snapshotXML) string { return v.Tier }),
		}})
	if err != nil {
		return nil, err
	}
	out := &describeSnapshotsOut{NextToken: next}
	for _, s := range found {
		out.Snapshots = append(out.Snapshots, o.snapshotXML(s))
	}
	return out, nil
}

// ownedBy reports whether an owner is among those asked for: ids, "self", or an alias.
func (o *op) ownedBy(owner, alias string, asked []string) bool {
	if len(asked) == 0 {
		return true
	}
	return slices.ContainsFunc(asked, func(a string) bool {
		return a == owner || a == "self" && owner == o.call.Account || alias != "" && a == alias
	})
}

func (s *snapshot) restorable(by []string, me string) bool {
	return slices.ContainsFunc(by, func(who string) bool {
		switch who {
		case "all":
			return s.Public
		case "self":
			who = me
		}
		return s.Owner == who || slices.Contains(s.Users, who)
	})
}
