package launch

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Encryption is what all volumes of an instance get unless they say otherwise.
type Encryption struct {
	Encrypt *bool
	KMSKey  string
}

// DeviceError is a volume that does not fit the image.
type DeviceError struct{ Device, Problem string }

func (e *DeviceError) Error() string { return fmt.Sprintf("volume %s: %s", e.Device, e.Problem) }

// Devices returns the block devices to start an instance from an image with:
// the template's, and those of the image that have to be changed. All of them
// go when the instance goes: what a build machine leaves behind nobody looks
// after. An image's encrypted volume stays encrypted.
func Devices(image types.Image, volumes []Volume, e Encryption) ([]types.BlockDeviceMapping, error) {
	var out []types.BlockDeviceMapping
	seen := map[string]bool{}
	for _, v := range volumes {
		name := v.Device
		if name == Root {
			name = aws.ToString(image.RootDeviceName)
		}
		if seen[name] {
			return nil, &DeviceError{v.Device, "it is here twice"}
		}
		seen[name] = true
		m, err := v.mapping(name, image, e)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	for _, m := range image.BlockDeviceMappings {
		if m.Ebs == nil || seen[aws.ToString(m.DeviceName)] {
			continue
		}
		ebs := &types.EbsBlockDevice{DeleteOnTermination: aws.Bool(true)}
		changed := !aws.ToBool(m.Ebs.DeleteOnTermination)
		if e.Encrypt != nil && *e.Encrypt && (!aws.ToBool(m.Ebs.Encrypted) || e.KMSKey != "") {
			ebs.Encrypted, ebs.KmsKeyId, changed = aws.Bool(true), text(e.KMSKey), true
		}
		if changed {
			out = append(out, types.BlockDeviceMapping{DeviceName: m.DeviceName, Ebs: ebs})
		}
	}
	return out, nil
}

func (v Volume) mapping(name string, image types.Image, e Encryption) (types.BlockDeviceMapping, error) {
	m := types.BlockDeviceMapping{DeviceName: aws.String(name)}
	switch {
	case v.NoDevice:
		m.NoDevice = aws.String("")
		return m, nil
	case v.VirtualName != "":
		m.VirtualName = aws.String(v.VirtualName)
		return m, nil
	}
	var from types.EbsBlockDevice
	if i := slices.IndexFunc(image.BlockDeviceMappings, func(m types.BlockDeviceMapping) bool { return aws.ToString(m.DeviceName) == name && m.Ebs != nil }); i >= 0 {
		from = *image.BlockDeviceMappings[i].Ebs
	}
	if v.Size == 0 && v.Snapshot == "" && from.SnapshotId == nil {
		return m, &DeviceError{v.Device, "the image does not have it, so it needs a size or a snapshot"}
	}
	if least := int(aws.ToInt32(from.VolumeSize)); v.Snapshot == "" && v.Size > 0 && int(v.Size) < least {
		return m, &DeviceError{v.Device, fmt.Sprintf("%d GiB are less than the %d GiB of the image's snapshot", v.Size, least)}
	}
	m.Ebs = v.Disk.ebs(e)
	if v.Type == "" && from.VolumeType != "" && v.IOPS == 0 && v.Throughput == 0 {
		m.Ebs.VolumeType, m.Ebs.Iops = from.VolumeType, from.Iops
	}
	if aws.ToBool(from.Encrypted) && m.Ebs.Encrypted != nil && !*m.Ebs.Encrypted {
		return m, &DeviceError{v.Device, "the image's snapshot is encrypted, and cannot become unencrypted"}
	}
	m.Ebs.DeleteOnTermination = aws.Bool(true)
	return m, nil
}

// ebs is the disk as the API takes it.
func (d Disk) ebs(e Encryption) *types.EbsBlockDevice {
	kind := d.Type
	if kind == "" {
		kind = DefaultVolumeType
	}
	out := &types.EbsBlockDevice{
		VolumeType: types.VolumeType(kind), VolumeSize: number(int(d.Size)), Iops: number(d.IOPS), Throughput: number(d.Throughput),
		Encrypted: d.Encrypted, KmsKeyId: text(d.KMSKey), SnapshotId: text(d.Snapshot), VolumeInitializationRate: number(d.Rate),
	}
	if out.Encrypted == nil && e.Encrypt != nil && *e.Encrypt {
		out.Encrypted = e.Encrypt
		if out.KmsKeyId == nil {
			out.KmsKeyId = text(e.KMSKey)
		}
	}
	if out.KmsKeyId != nil { // the API wants it said
		out.Encrypted = aws.Bool(true)
	}
	return out
}

// text is nil for what is not given.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// number is nil for what is not given.
func number(n int) *int32 {
	if n == 0 {
		return nil
	}
	return aws.Int32(int32(n))
}

// Request is the disk as the API takes it: with its type, encrypted if it has
// a key.
func (d Disk) Request() *types.EbsBlockDevice { return d.ebs(Encryption{}) }
