package image

import (
	"context"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/steps/amazon"
)

// copy copies the image from its home to this place (CopyImage), under name,
// or under a temporary name if that is empty.
func (p *place) copy(ctx context.Context, from types.Image, name, wanted string) (types.Image, error) {
	what := "copy"
	if name == "" {
		what = "candidate copy"
	}
	img, err := p.create(ctx, what, "copying to", func(ctx context.Context, r builder.Resource) (string, error) {
		called := name
		if called == "" {
			called = TemporaryName(wanted, r.Token)
		}
		return p.copyImage(ctx, from, called, p.homeRegion, p.tagSpecifications(from, r, types.ResourceTypeImage, types.ResourceTypeSnapshot), r)
	})
	if err == nil {
		p.changed("copied %s from %s as %s", aws.ToString(from.ImageId), p.homeRegion, aws.ToString(img.ImageId))
	}
	return img, err
}

// copyHere copies an image within its region, to give it a name or a key.
func (p *place) copyHere(ctx context.Context, from types.Image, name string) (types.Image, error) {
	img, err := p.create(ctx, "named copy", "copying in", func(ctx context.Context, r builder.Resource) (string, error) {
		specs := p.tagSpecifications(from, r, types.ResourceTypeImage, types.ResourceTypeSnapshot)
		markReplacing(specs, name)
		return p.copyImage(ctx, from, name, p.access.Region, specs, r)
	})
	if err == nil {
		p.changed("copied %s as %s, named %q", aws.ToString(from.ImageId), aws.ToString(img.ImageId), name)
	}
	return img, err
}

func (p *place) copyImage(ctx context.Context, from types.Image, name, region string, specs []types.TagSpecification, r builder.Resource) (string, error) {
	in := &ec2.CopyImageInput{
		Name: &name, SourceImageId: from.ImageId, SourceRegion: &region, ClientToken: &r.Token,
		TagSpecifications: specs,
	}
	if p.want.Description != "" {
		in.Description = &p.want.Description
	}
	if p.encrypt() {
		in.Encrypted = aws.Bool(true)
		if p.want.KMSKey != "" {
			in.KmsKeyId = &p.want.KMSKey
		}
	}
	var out *ec2.CopyImageOutput
	err := settled(ctx, func() (err error) { // the source may have become available, or been shared, just now
		out, err = p.ec2.CopyImage(ctx, in)
		return err
	})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ImageId), nil
}

// register makes another image of the snapshots of one (RegisterImage), under
// name, or under a temporary name if that is empty.
func (p *place) register(ctx context.Context, from types.Image, name, wanted string) (types.Image, error) {
	what := "named"
	if name == "" {
		what = "candidate"
	}
	img, err := p.create(ctx, what, "registering in", func(ctx context.Context, r builder.Resource) (string, error) {
		called := name
		if called == "" {
			called = TemporaryName(wanted, r.Token)
		}
		in, err := p.registration(ctx, from, called)
		if err != nil {
			return "", err
		}
		in.TagSpecifications = p.tagSpecifications(from, r, types.ResourceTypeImage)
		if name != "" {
			markReplacing(in.TagSpecifications, name)
		}
		return p.registerOnce(ctx, in, r)
	})
	if err == nil {
		p.changed("registered %s as %s, named %q", aws.ToString(from.ImageId), aws.ToString(img.ImageId), aws.ToString(img.Name))
	}
	return img, err
}

// registerOnce calls RegisterImage, which takes no client token. A second call
// after a lost answer is harmless: names are unique, so that it fails, and the
// image of the first call is found by its tag.
func (p *place) registerOnce(ctx context.Context, in *ec2.RegisterImageInput, r builder.Resource) (string, error) {
	for lost := false; ; lost = true {
		out, err := p.ec2.RegisterImage(ctx, in, func(o *ec2.Options) { o.Retryer = amazon.Once(o.Retryer) })
		switch {
		case err == nil:
			return aws.ToString(out.ImageId), nil
		case amazon.IsCode(err, "InvalidAMIName.Duplicate"):
			return p.registered(ctx, r, err, lost)
		case !amazon.IsUnsure(err) || lost || ctx.Err() != nil:
			return "", err
		}
		p.log("the answer to RegisterImage was lost, asking again: %v", err)
	}
}

// registered finds the image that an earlier call has made; taken is the error
// if there is none. After a lost answer it is looked for until it must show.
func (p *place) registered(ctx context.Context, r builder.Resource, taken error, lost bool) (string, error) {
	var id string
	err := settled(ctx, func() error {
		found, err := p.images(ctx, amazon.Filter("tag:"+amazon.TagToken, r.Token))
		switch {
		case err != nil:
			return err
		case len(found) > 0:
			id = aws.ToString(found[0].ImageId)
			return nil
		case lost:
			return errUnsettled
		}
		return taken
	})
	if err == errUnsettled {
		err = taken
	}
	return id, err
}

// registration is the call that makes the same image again.
func (p *place) registration(ctx context.Context, from types.Image, name string) (*ec2.RegisterImageInput, error) {
	in := &ec2.RegisterImageInput{
		Name: &name, Architecture: from.Architecture, RootDeviceName: from.RootDeviceName,
		VirtualizationType: aws.String(string(from.VirtualizationType)), EnaSupport: from.EnaSupport, SriovNetSupport: from.SriovNetSupport,
		BootMode: from.BootMode, TpmSupport: from.TpmSupport, ImdsSupport: from.ImdsSupport, KernelId: from.KernelId, RamdiskId: from.RamdiskId,
	}
	o := p.want
	if o.Description != "" {
		in.Description = &o.Description
	}
	if o.BootMode != "" {
		in.BootMode = types.BootModeValues(o.BootMode)
	}
	if o.TPM != "" {
		in.TpmSupport = types.TpmSupportValues(o.TPM)
	}
	if o.ENA != nil {
		in.EnaSupport = o.ENA
	}
	if o.IMDS == imdsV2 {
		in.ImdsSupport = types.ImdsSupportValuesV20
	}
	for _, m := range from.BlockDeviceMappings {
		in.BlockDeviceMappings = append(in.BlockDeviceMappings, again(m))
	}
	if in.BootMode == types.BootModeValuesUefi || in.BootMode == types.BootModeValuesUefiPreferred {
		data, err := p.uefiData(ctx, from)
		if err != nil {
			return nil, err
		}
		in.UefiData = data
	}
	return in, nil
}

// again is a device as RegisterImage takes it: a snapshot's encryption is its own.
func again(m types.BlockDeviceMapping) types.BlockDeviceMapping {
	if m.Ebs == nil {
		return m
	}
	e := *m.Ebs
	e.Encrypted, e.KmsKeyId, e.OutpostArn = nil, nil, nil
	if e.VolumeType != types.VolumeTypeGp3 && e.VolumeType != types.VolumeTypeIo1 && e.VolumeType != types.VolumeTypeIo2 {
		e.Iops = nil
	}
	m.Ebs = &e
	return m
}

// uefiData are the variables that the firmware starts with, nil if there are none.
func (p *place) uefiData(ctx context.Context, from types.Image) (*string, error) {
	out, err := p.ec2.DescribeImageAttribute(ctx, &ec2.DescribeImageAttributeInput{ImageId: from.ImageId, Attribute: types.ImageAttributeNameUefiData})
	if err != nil {
		return nil, err
	}
	if out.UefiData == nil || aws.ToString(out.UefiData.Value) == "" {
		return nil, nil
	}
	return out.UefiData.Value, nil
}

// markReplacing notes on an image that another may have made way for it.
func markReplacing(specs []types.TagSpecification, name string) {
	for i, s := range specs {
		if s.ResourceType == types.ResourceTypeImage {
			specs[i].Tags = append(s.Tags, types.Tag{Key: aws.String(tagReplaced), Value: aws.String(tagText(name))})
		}
	}
}

// candidateLife is how long what is being made is left alone by `bake clean --aws`.
const candidateLife = 24 * time.Hour

// tagSpecifications are the tags that an image and its snapshots are born with.
func (p *place) tagSpecifications(from types.Image, r builder.Resource, kinds ...types.ResourceType) []types.TagSpecification {
	own := map[string]string{
		amazon.TagRun: string(p.sc.Run), amazon.TagTemplate: p.sc.Plan.Name, amazon.TagBuild: p.sc.Step.Build(), amazon.TagToken: r.Token,
		amazon.TagState: stateCandidate, amazon.TagExpires: time.Now().Add(candidateLife).UTC().Format(time.RFC3339), TagOrigin: p.origin,
	}
	if key := tagOf(from.Tags, amazon.TagKey); key != "" {
		own[amazon.TagKey] = key
	}
	var all []types.TagSpecification
	for _, kind := range kinds {
		tags := p.want.imageTags(p.want.Name)
		if kind == types.ResourceTypeSnapshot {
			tags = p.want.snapshotTags(p.want.Name)
		}
		maps.Copy(tags, own)
		all = append(all, types.TagSpecification{ResourceType: kind, Tags: tagList(tags)})
	}
	return all
}
