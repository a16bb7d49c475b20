package volume

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/steps/amazon"
)

// AttachedError is a volume that another instance uses.
type AttachedError struct{ Volume, Instance string }

func (e *AttachedError) Error() string {
	return fmt.Sprintf("volume %s is attached to instance %s", e.Volume, e.Instance)
}

// Hint says what to do.
func (e *AttachedError) Hint() string {
	return "unmount it there, and write move: true beside instance: to have it detached"
}

// attach attaches the volume, unless it is attached as it shall be already.
func (k *keeper) attach(ctx context.Context, v types.Volume) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("volume %s was not attached within %s", k.Name, patience))
	defer cancel()
	id := aws.ToString(v.VolumeId)
	for _, a := range v.Attachments {
		if a.State == types.VolumeAttachmentStateDetached {
			continue
		}
		if aws.ToString(a.InstanceId) == k.Attach.Instance {
			if a.State != types.VolumeAttachmentStateDetaching {
				return k.settled(ctx, id)
			}
		} else if !k.Attach.Move {
			return &AttachedError{id, aws.ToString(a.InstanceId)}
		}
		if err := k.detach(ctx, id, aws.ToString(a.InstanceId), a.State); err != nil {
			return err
		}
	}
	device := k.Attach.Device
	if !strings.HasPrefix(device, "/dev/") {
		device = "/dev/" + device
	}
	_, err := k.client.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: &id, InstanceId: &k.Attach.Instance, Device: &device})
	if amazon.IsCode(err, "VolumeInUse") { // the answer of an earlier attempt was lost, or somebody was faster: it shows
		err = nil
	}
	if err != nil {
		return fmt.Errorf("attaching volume %s to %s: %w", id, k.Attach.Instance, err)
	}
	k.did = append(k.did, "attached to "+k.Attach.Instance)
	return k.settled(ctx, id)
}

func (k *keeper) detach(ctx context.Context, id, instance string, state types.VolumeAttachmentState) error {
	if state != types.VolumeAttachmentStateDetaching {
		if _, err := k.client.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: &id, InstanceId: &instance}); err != nil {
			return fmt.Errorf("detaching volume %s from %s: %w", id, instance, err)
		}
		k.did = append(k.did, "detached from "+instance)
	}
	_, err := k.cloud.WaitVolume(ctx, k.access, id, func(v types.Volume) (bool, error) { return v.State == types.VolumeStateAvailable, nil })
	return err
}

// settled waits until the volume is attached.
func (k *keeper) settled(ctx context.Context, id string) error {
	_, err := k.cloud.WaitVolume(ctx, k.access, id, func(v types.Volume) (bool, error) {
		for _, a := range v.Attachments {
			if other := aws.ToString(a.InstanceId); other != k.Attach.Instance && a.State == types.VolumeAttachmentStateAttached {
				return false, &AttachedError{id, other}
			}
			if a.State == types.VolumeAttachmentStateAttached {
				return true, nil
			}
		}
		return false, nil
	})
	return err
}
