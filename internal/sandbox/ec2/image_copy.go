package ec2

import (
	"cmp"
	"fmt"

	"bake/internal/sandbox/api"
)

type copyImageIn struct {
	dry
	ClientToken  string    `q:"ClientToken"`
	Description  string    `q:"Description"`
	Encrypted    *bool     `q:"Encrypted"`
	Key          string    `q:"KmsKeyId"`
	Name         string    `q:"Name,required"`
	Source       string    `q:"SourceImageId,required"`
	SourceRegion string    `q:"SourceRegion,required"`
	CopyTags     bool      `q:"CopyImageTags"`
	Tags         []tagSpec `q:"TagSpecification"`
	Minutes      *int      `q:"SnapshotCopyCompletionDurationMinutes"`
}

// copyImage copies an image that the caller may use, and whose snapshots it may read, into its own account and region.
func (o *op) copyImage(in *copyImageIn) (*imageID, error) {
	use, err := o.token("CopyImage", in.ClientToken, *in)
	if err != nil {
		return nil, err
	}
	if use != nil && len(use.IDs) > 0 {
		return &imageID{use.IDs[0]}, nil
	}
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
	if in.Minutes != nil && (*in.Minutes < 15 || *in.Minutes > 2880 || *in.Minutes%15 != 0) {
		return nil, api.Errorf("InvalidParameterValue", "Value (%d) for parameter SnapshotCopyCompletionDurationMinutes is invalid. It must be between 15 and 2880 in steps of 15.", *in.Minutes)
	}
	source, from, err := o.sourceImage(in)
	if err != nil {
		return nil, err
	}
	m := &image{meta: o.make(kindImage, tags[kindImage.name]), Name: in.Name, State: pending, Root: source.Root,
		Description: cmp.Or(in.Description, fmt.Sprintf("[Copied %s from %s] %s", source.ID, from.Name, source.Name)),
		Location:    o.call.Account + "/" + in.Name, Architecture: source.Architecture, Virtualization: source.Virtualization, BootMode: source.BootMode, TPM: source.TPM,
		UEFIData: source.UEFIData, IMDS: source.IMDS, ENA: source.ENA, SRIOV: source.SRIOV, SourceImage: source.ID, SourceRegion: from.Name, Login: source.Login}
	m.Doom, _ = o.doomed("image", nil)
	m.Product = o.product(source)
	if in.CopyTags && source.Owner == o.call.Account {
		m.Tags = overlay(source.Tags, m.Tags)
	}
	if err := o.copyDevices(m, source, from, in, tags[kindSnapshot.name]); err != nil {
		return nil, err
	}
	o.r.Images[m.ID] = m
	if use != nil {
		use.IDs = []string{m.ID}
	}
	return &imageID{m.ID}, nil
}

func (o *op) sourceImage(in *copyImageIn) (*image, *region, error) {
	from, err := o.region(in.SourceRegion, o.now)
	if err != nil {
		return nil, nil, api.Errorf("InvalidParameterValue", "Invalid region: %s", in.SourceRegion)
	}
	there := *o
	there.r = from
	source, err := there.visibleImage(in.Source)
	if err != nil {
		return nil, nil, err
	}
	if source.State != available || source.Disabled {
		return nil, nil, api.Errorf("InvalidAMIID.Unavailable", "The image id '[%s]' is not available: it is %s", source.ID, source.State)
	}
	if source.Owner != o.call.Account && there.product(source) != "" {
		return nil, nil, api.Errorf("InvalidRequest", "Images from AWS Marketplace cannot be copied to another AWS account or region.")
	}
	for _, d := range source.Devices {
		if d.Ebs == nil || d.Ebs.Snapshot == "" {
			continue
		}
		if s := from.Snapshots[d.Ebs.Snapshot]; s == nil || !o.seesSnapshot(s) {
			return nil, nil, api.Errorf("InvalidRequest", "You do not have permission to access the storage of this ami.")
		}
	}
	return source, from, nil
}

// copyDevices copies the snapshots of the source.
func (o *op) copyDevices(m, source *image, from *region, in *copyImageIn, tags []tag) error {
	for _, d := range source.Devices {
		if d.Ebs != nil && d.Ebs.Snapshot != "" {
			snap := from.Snapshots[d.Ebs.Snapshot]
			s, err := o.copyOf(snap, from.Name, in.Encrypted, in.Key)
			if err != nil {
				return err
			}
			s.Tags = tags
			s.Description = fmt.Sprintf("Copied for DestinationAmi %s from SourceAmi %s for SourceSnapshot %s. Task created on %d.", m.ID, source.ID, snap.ID, o.now.UnixMilli())
			e := *d.Ebs
			e.Snapshot = s.ID
			d.Ebs = &e
		}
		m.Devices = append(m.Devices, d)
	}
	return nil
}
