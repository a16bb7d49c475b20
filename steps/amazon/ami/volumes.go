package ami

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"bake/builder"
	"bake/steps/amazon"
	"bake/steps/amazon/launch"
)

// volumeTime bounds the waits for volumes.
const volumeTime = 10 * time.Minute

// volumes makes the extra volumes in the instance's zone and attaches them.
func (o *opening) volumes(ctx context.Context, i types.Instance) error {
	ctx, cancel := context.WithTimeoutCause(ctx, volumeTime, fmt.Errorf("the extra volumes are not attached after %s", volumeTime))
	defer cancel()
	o.extra = make([]builder.Resource, len(o.Extra))
	g, ctx := errgroup.WithContext(ctx)
	for n, v := range o.Extra {
		g.Go(func() (err error) {
			if o.extra[n], err = o.volume(ctx, v, zoneOf(i)); err == nil {
				err = o.attach(ctx, o.extra[n].ID, aws.ToString(i.InstanceId), v.Device)
			}
			return err
		})
	}
	return g.Wait()
}

func (o *opening) volume(ctx context.Context, v Extra, zone string) (builder.Resource, error) {
	r, err := o.sc.Create(ctx, builder.Resource{Kind: kindVolume, Name: "volume " + v.Device, Where: o.access.Where()}, func(ctx context.Context, r builder.Resource) (string, error) {
		tags := maps.Clone(v.Tags)
		if tags == nil {
			tags = map[string]string{}
		}
		maps.Copy(tags, o.tags(r.Token))
		if v.Name != "" {
			tags["Name"] = v.Name
		}
		if v.After == "keep" { // it is a product
			delete(tags, amazon.TagExpires)
		}
		e := v.Disk.Request()
		out, err := o.client.CreateVolume(ctx, &ec2.CreateVolumeInput{
			AvailabilityZone: aws.String(zone), ClientToken: aws.String(r.Token),
			Size: e.VolumeSize, VolumeType: e.VolumeType, Iops: e.Iops, Throughput: e.Throughput, Encrypted: e.Encrypted, KmsKeyId: e.KmsKeyId,
			SnapshotId: e.SnapshotId, VolumeInitializationRate: e.VolumeInitializationRate,
			TagSpecifications: launch.TagSpecifications(tags, types.ResourceTypeVolume),
		})
		if err != nil {
			return "", err
		}
		return aws.ToString(out.VolumeId), nil
	})
	if err != nil {
		return r, err
	}
	_, err = o.cloud.WaitVolume(ctx, o.access, r.ID, func(v types.Volume) (bool, error) {
		if v.State == types.VolumeStateError {
			return false, fmt.Errorf("volume %s failed: its KMS key cannot be used, or its snapshot is damaged", r.ID)
		}
		return v.State == types.VolumeStateAvailable || v.State == types.VolumeStateInUse, nil
	})
	return r, err
}

// attach attaches a volume; one that an earlier attempt attached is left.
func (o *opening) attach(ctx context.Context, volume, instance, device string) error {
	err := settle(ctx, func() error {
		_, err := o.client.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: &volume, InstanceId: &instance, Device: &device})
		return err
	}, "InvalidVolume.NotFound", "InvalidInstanceID.NotFound")
	if err != nil && !amazon.IsCode(err, "VolumeInUse", "InvalidParameterValue") {
		return fmt.Errorf("attaching volume %s as %s: %w", volume, device, err)
	}
	cause := err
	_, err = o.cloud.WaitVolume(ctx, o.access, volume, func(v types.Volume) (bool, error) {
		for _, a := range v.Attachments {
			if aws.ToString(a.InstanceId) == instance {
				return a.State == types.VolumeAttachmentStateAttached, nil
			}
		}
		if cause != nil {
			return false, fmt.Errorf("attaching volume %s as %s: %w", volume, device, cause)
		}
		return false, nil
	})
	return err
}

// extraVolumes are those that Open noted in the machine, by device.
func extraVolumes(m builder.Machine) map[string]builder.Resource {
	out := map[string]builder.Resource{}
	for _, pair := range strings.Fields(m.Detail[detailExtra]) {
		if device, what, ok := strings.Cut(pair, "="); ok {
			id, token, _ := strings.Cut(what, "/")
			out[device] = builder.Resource{Kind: kindVolume, Where: m.Where, ID: id, Token: token}
		}
	}
	return out
}
