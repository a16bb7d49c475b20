package ec2_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/internal/need"
)

func TestAnImageOfTwoVolumesIsAMachineWithBoth(t *testing.T) {
	need.Root(t)
	l := newLab(t)
	i := l.run(nil, func(in *sdk.RunInstancesInput) {
		in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/sdf"), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(2)}}}
	})
	l.sh(i, "ec2-user", "sudo mkfs.ext4 -L data /dev/sdf && sudo mkdir /data && echo LABEL=data /data ext4 defaults 0 2 | sudo tee -a /etc/fstab && sudo mount -a && echo two | sudo tee /data/file")
	m, err := l.c.CreateImage(t.Context(), &sdk.CreateImageInput{InstanceId: i.InstanceId, Name: aws.String("two volumes")})
	want(t, err, "")
	l.awaitImage(m.ImageId)
	if n := len(describeImage(t, l.c, *m.ImageId).BlockDeviceMappings); n != 2 {
		t.Fatalf("the image has %d volumes", n)
	}
	copied := l.run(m.ImageId, nil)
	if got := l.sh(copied, "ec2-user", "cat /data/file; lsblk -no NAME,SIZE,MOUNTPOINT"); got != "two\nnvme1n1 2G /data" {
		t.Errorf("a machine of the image: %q", got)
	}
}

func TestAVolumeIsMovedBetweenRunningMachines(t *testing.T) {
	need.Root(t)
	l := newLab(t)
	one, two := l.run(nil, nil), l.run(nil, nil)
	v, err := l.c.CreateVolume(t.Context(), &sdk.CreateVolumeInput{AvailabilityZone: one.Placement.AvailabilityZone, Size: aws.Int32(1)})
	want(t, err, "")
	attach := func(volume *string, to types.Instance) {
		t.Helper()
		_, err := l.c.AttachVolume(t.Context(), &sdk.AttachVolumeInput{VolumeId: volume, InstanceId: to.InstanceId, Device: aws.String("/dev/sdg")})
		want(t, err, "")
	}
	attach(v.VolumeId, one)
	l.sh(one, "ec2-user", "while ! test -b /dev/sdg; do sleep 0.01; done; sudo mkfs.xfs /dev/sdg; sudo mkdir /data; sudo mount /dev/sdg /data; echo x | sudo tee /data/file")
	s, err := l.c.CreateSnapshot(t.Context(), &sdk.CreateSnapshotInput{VolumeId: v.VolumeId})
	want(t, err, "")
	_, err = l.c.DetachVolume(t.Context(), &sdk.DetachVolumeInput{VolumeId: v.VolumeId})
	want(t, err, "")
	// It is mounted: it stays where it is until it is not.
	if got := l.volume(v.VolumeId); got.State != "in-use" || got.Attachments[0].State != "busy" {
		t.Errorf("while it is mounted: %s, %+v", got.State, got.Attachments)
	}
	l.sh(one, "ec2-user", "sudo umount /data")
	l.awaitVolume(v.VolumeId, "available")
	attach(v.VolumeId, two)
	if got := l.sh(two, "ec2-user", "while ! test -b /dev/sdg; do sleep 0.01; done; sudo mkdir /data; sudo mount /dev/sdg /data; cat /data/file"); got != "x" {
		t.Errorf("on the other machine: %q", got)
	}
	_, err = l.c.DetachVolume(t.Context(), &sdk.DetachVolumeInput{VolumeId: v.VolumeId, Force: aws.Bool(true)})
	want(t, err, "")
	l.awaitVolume(v.VolumeId, "available")
	l.awaitSnapshot(s.SnapshotId)
	restored, err := l.c.CreateVolume(t.Context(), &sdk.CreateVolumeInput{AvailabilityZone: one.Placement.AvailabilityZone, SnapshotId: s.SnapshotId})
	want(t, err, "")
	attach(restored.VolumeId, one)
	if got := l.sh(one, "ec2-user", "while ! test -b /dev/sdg; do sleep 0.01; done; sudo mount /dev/sdg /data; cat /data/file; sudo umount /data"); got != "x" {
		t.Errorf("of the snapshot: %q", got)
	}
}

func (l *lab) volume(id *string) types.Volume {
	l.t.Helper()
	out, err := l.c.DescribeVolumes(l.t.Context(), &sdk.DescribeVolumesInput{VolumeIds: []string{*id}})
	want(l.t, err, "")
	return out.Volumes[0]
}

func (l *lab) awaitVolume(id *string, state types.VolumeState) {
	l.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); l.volume(id).State != state; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("the volume is %+v, not %s", l.volume(id), state)
		}
	}
}

func (l *lab) awaitSnapshot(id *string) {
	l.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, err := l.c.DescribeSnapshots(l.t.Context(), &sdk.DescribeSnapshotsInput{SnapshotIds: []string{*id}})
		want(l.t, err, "")
		if out.Snapshots[0].State == "completed" {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("the snapshot is %+v", out.Snapshots[0])
		}
	}
}
