package ec2

import (
	"slices"
	"time"

	"bake/internal/sandbox/api"
)

type imageIn struct {
	dry
	Image string `q:"ImageId,required"`
}

type deregisterIn struct {
	dry
	Image           string `q:"ImageId,required"`
	DeleteSnapshots bool   `q:"DeleteAssociatedSnapshots"`
}

type deletedSnapshot struct {
	ID   string `xml:"snapshotId"`
	Code string `xml:"returnCode"`
}

type deregisterOut struct {
	Return    bool                  `xml:"return"`
	Snapshots *set[deletedSnapshot] `xml:"deleteSnapshotResultSet>item,omitempty"`
}

func (o *op) deregisterImage(in *deregisterIn) (*deregisterOut, error) {
	i, err := o.ownImage(in.Image)
	if err != nil {
		return nil, err
	}
	if p := i.protection(o.now); p != "disabled" {
		return nil, api.Errorf("OperationNotPermitted", "The image %s cannot be deregistered: deregistration protection is %s", i.ID, p)
	}
	delete(o.r.Images, i.ID)
	out := &deregisterOut{Return: true}
	if !in.DeleteSnapshots {
		return out, nil
	}
	var all set[deletedSnapshot]
	for _, d := range i.Devices {
		if d.Ebs == nil || d.Ebs.Snapshot == "" {
			continue
		}
		s, code := o.r.Snapshots[d.Ebs.Snapshot], "success"
		switch {
		case s == nil:
			code = "missing-permissions"
		case s.Owner != o.call.Account, o.r.imageOf(s.ID) != nil:
			code = "skipped"
		default:
			o.removeSnapshot(s)
		}
		all = append(all, deletedSnapshot{d.Ebs.Snapshot, code})
	}
	out.Snapshots = &all
	return out, nil
}

type deprecateIn struct {
	dry
	Image string    `q:"ImageId,required"`
	At    time.Time `q:"DeprecateAt,required"`
}

func (o *op) enableDeprecation(in *deprecateIn) (*returned, error) {
	i, err := o.ownImage(in.Image)
	if err != nil {
		return nil, err
	}
	at := in.At.Round(time.Minute) // AWS does
	switch {
	case in.At.Before(o.now):
		return nil, api.Errorf("InvalidParameterValue", "The DeprecateAt date %s is in the past", stamp(in.At))
	case at.After(o.now.AddDate(10, 0, 0)):
		return nil, api.Errorf("InvalidParameterValue", "The DeprecateAt date %s is more than 10 years ahead", stamp(in.At))
	}
	i.Deprecated = at
	return ok(), nil
}

func (o *op) disableDeprecation(in *imageIn) (*returned, error) {
	i, err := o.ownImage(in.Image)
	if err != nil {
		return nil, err
	}
	i.Deprecated = time.Time{}
	return ok(), nil
}

type protectIn struct {
	dry
	Image    string `q:"ImageId,required"`
	Cooldown bool   `q:"WithCooldown"`
}

type protection struct {
	Return string `xml:"return"`
}

func (o *op) enableProtection(in *protectIn) (*protection, error) {
	i, err := o.ownImage(in.Image)
	if err != nil {
		return nil, err
	}
	i.Protection = "enabled-without-cooldown"
	if in.Cooldown {
		i.Protection = "enabled-with-cooldown"
	}
	return &protection{i.Protection}, nil
}

func (o *op) disableProtection(in *imageIn) (*protection, error) {
	i, err := o.ownImage(in.Image)
	if err != nil {
		return nil, err
	}
	if i.Protection == "enabled-with-cooldown" {
		i.Cooldown = o.now.Add(24 * time.Hour)
	}
	i.Protection = ""
	return &protection{i.protection(o.now)}, nil
}

// disableImage takes the image out of use, and away from all that it was shared with.
func (o *op) disableImage(in *imageIn) (*returned, error) {
	i, err := o.ownImage(in.Image)
	if err != nil {
		return nil, err
	}
	if i.State != available {
		return nil, api.Errorf("InvalidAMIID.Unavailable", "The image id '[%s]' is not available: it is %s", i.ID, i.State)
	}
	i.Disabled = true
	i.unshare()
	return ok(), nil
}

func (o *op) enableImage(in *imageIn) (*returned, error) {
	i, err := o.ownImage(in.Image)
	if err != nil {
		return nil, err
	}
	i.Disabled = false
	return ok(), nil
}

type blockState struct {
	State string `xml:"imageBlockPublicAccessState"`
}

func (o *op) imageBlock() *blockState {
	if o.me.BlockPublicImages {
		return &blockState{"block-new-sharing"}
	}
	return &blockState{"unblocked"}
}

func (o *op) getImageBlock(*struct{ dry }) (*blockState, error) { return o.imageBlock(), nil }

type enableImageBlockIn struct {
	dry
	State string `q:"ImageBlockPublicAccessState,required"`
}

func (o *op) enableImageBlock(in *enableImageBlockIn) (*blockState, error) {
	if in.State != "block-new-sharing" {
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter ImageBlockPublicAccessState is invalid.", in.State)
	}
	o.me.BlockPublicImages = true
	return o.imageBlock(), nil
}

func (o *op) disableImageBlock(*struct{ dry }) (*blockState, error) {
	o.me.BlockPublicImages = false
	return o.imageBlock(), nil
}

type snapshotBlock struct {
	State string `q:"State" xml:"state"`
}

func (o *op) getSnapshotBlock(*struct{ dry }) (*snapshotBlock, error) {
	return &snapshotBlock{o.me.BlockPublicSnapshots}, nil
}

type enableSnapshotBlockIn struct {
	dry
	State string `q:"State,required"`
}

func (o *op) enableSnapshotBlock(in *enableSnapshotBlockIn) (*snapshotBlock, error) {
	if !slices.Contains([]string{"block-all-sharing", "block-new-sharing"}, in.State) {
		return nil, api.Errorf("InvalidParameterValue", "Value (%s) for parameter State is invalid.", in.State)
	}
	o.me.BlockPublicSnapshots = in.State
	return &snapshotBlock{in.State}, nil
}

func (o *op) disableSnapshotBlock(*struct{ dry }) (*snapshotBlock, error) {
	o.me.BlockPublicSnapshots = "unblocked"
	return &snapshotBlock{"unblocked"}, nil
}
