// Package volume is the output `volume`: an EBS volume of a name that is made
// when it is missing, grown and retyped when it differs, and attached.
package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/steps/amazon"
	"bake/steps/amazon/launch"
	"bake/templates"
)

// kind is the resource's kind, by which Catalog.Cleaners knows it.
const kind = "ec2-volume"

// patience is how long a volume may take to become what it shall be.
const patience = 10 * time.Minute

// An Output keeps a volume as the template says.
type Output struct {
	amazon.Access
	launch.Disk
	Name   string            `yaml:"name" bake:"main,required" pattern:"^.{3,128}$" doc:"Its Name tag, by which it is found again."`
	Zone   string            `yaml:"zone" pattern:"^[a-z0-9-]+$" doc:"Availability zone; default: that of the instance it is attached to."`
	Attach *Attach           `yaml:"attach" doc:"Instance to attach it to."`
	Tags   map[string]string `yaml:"tags" doc:"Tags of the volume."`

	cloud *amazon.Cloud
}

// Attach says where a volume is attached.
type Attach struct {
	Instance string `yaml:"instance" bake:"main,required" pattern:"^i-[0-9a-f]+$" doc:"The instance, like ${{ outputs.instance.id }}."`
	Device   string `yaml:"device" default:"/dev/sdf" pattern:"^(/dev/)?(sd|xvd)[a-z]{1,2}[0-9]*$" doc:"Device name."`
	Move     bool   `yaml:"move" doc:"Detach it from another instance first. Nothing is written to it any more then: unmount it there."`
}

// New returns the output kind volume.
func New(cloud *amazon.Cloud) func() builder.Output {
	return func() builder.Output { return &Output{cloud: cloud} }
}

// Validate holds the volume against the limits of its type, before any call.
func (o *Output) Validate(b templates.Block) templates.Diagnostics {
	ds := o.Disk.Check(b, 0)
	if !b.Has("size") && !b.Has("snapshot") {
		ds = append(ds, b.Errorf("volume: size or snapshot is needed"))
	}
	if !b.Has("zone") && !b.Has("attach") {
		ds = append(ds, b.Errorf("volume: zone or attach is needed"))
	}
	return ds
}

// String is what the step is called.
func (o *Output) String() string { return "volume " + o.Name }

// Accepts every artifact: the volume has nothing to do with it.
func (o *Output) Accepts(builder.ArtifactKind) bool { return true }

// Publish makes, changes and attaches the volume as far as it is needed.
func (o *Output) Publish(ctx context.Context, sc *builder.Scope, _ builder.Artifact) (builder.Published, error) {
	out, err := o.publish(ctx, sc)
	return out, o.cloud.Explain(ctx, o.Access, err)
}

func (o *Output) publish(ctx context.Context, sc *builder.Scope) (builder.Published, error) {
	cfg, err := o.cloud.Config(ctx, o.Access)
	if err != nil {
		return builder.Published{}, err
	}
	k := &keeper{Output: o, sc: sc, client: ec2.NewFromConfig(cfg), access: o.Access.In(cfg.Region)}
	v, err := k.ensure(ctx)
	if err != nil {
		return builder.Published{}, err
	}
	if o.Attach != nil {
		if err := k.attach(ctx, v); err != nil {
			return builder.Published{}, err
		}
	}
	id := aws.ToString(v.VolumeId)
	summary := fmt.Sprintf("volume %s is %s in %s", o.Name, id, aws.ToString(v.AvailabilityZone))
	if len(k.did) > 0 {
		summary += ": " + strings.Join(k.did, ", ")
	}
	return builder.Published{
		Values:    map[string]string{"id": id, "zone": aws.ToString(v.AvailabilityZone), "region": cfg.Region},
		Summary:   summary,
		Unchanged: len(k.did) == 0,
	}, nil
}

// A keeper is one Publish.
type keeper struct {
	*Output
	sc     *builder.Scope
	client *ec2.Client
	access amazon.Access
	did    []string // what was changed
}

// ensure finds or makes the volume, and makes it as large and fast as it shall be.
func (k *keeper) ensure(ctx context.Context) (types.Volume, error) {
	zone, err := k.zone(ctx)
	if err != nil {
		return types.Volume{}, err
	}
	have, err := k.find(ctx, zone)
	if errors.Is(err, builder.ErrNotFound) {
		return k.create(ctx, zone)
	}
	if err != nil {
		return types.Volume{}, err
	}
	if err := k.modify(ctx, have); err != nil {
		return types.Volume{}, err
	}
	return have, k.retag(ctx, have)
}

func (k *keeper) zone(ctx context.Context) (string, error) {
	if k.Zone != "" {
		return k.Zone, nil
	}
	out, err := k.client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{k.Attach.Instance}})
	if err != nil {
		return "", fmt.Errorf("looking for instance %s: %w", k.Attach.Instance, err)
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			return aws.ToString(i.Placement.AvailabilityZone), nil
		}
	}
	return "", fmt.Errorf("instance %s: %w", k.Attach.Instance, builder.ErrNotFound)
}

// find looks for the volume by its Name tag, in its zone; one that is being
// deleted, or that failed, does not count.
func (k *keeper) find(ctx context.Context, zone string) (types.Volume, error) {
	out, err := k.client.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{Filters: []types.Filter{
		amazon.Filter("tag:Name", amazon.Literal(k.Name)), amazon.Filter("availability-zone", zone),
		amazon.Filter("status", "creating", "available", "in-use"),
	}})
	switch {
	case err != nil:
		return types.Volume{}, fmt.Errorf("looking for volume %s: %w", k.Name, err)
	case len(out.Volumes) == 0:
		return types.Volume{}, builder.ErrNotFound
	case len(out.Volumes) > 1:
		var ids []string
		for _, v := range out.Volumes {
			ids = append(ids, aws.ToString(v.VolumeId))
		}
		slices.Sort(ids)
		return types.Volume{}, &AmbiguousError{Name: k.Name, Zone: zone, IDs: ids}
	}
	return out.Volumes[0], nil
}

// AmbiguousError says that several volumes have the name.
type AmbiguousError struct {
	Name, Zone string
	IDs        []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%d volumes in %s are called %q: %s", len(e.IDs), e.Zone, e.Name, strings.Join(e.IDs, ", "))
}

// Hint says what to do.
func (e *AmbiguousError) Hint() string { return "give all but one another Name tag, or delete them" }

func (k *keeper) create(ctx context.Context, zone string) (types.Volume, error) {
	r, err := k.sc.Create(ctx, builder.Resource{Kind: kind, Name: k.Name + " in " + zone, Where: k.access.Where()}, func(ctx context.Context, r builder.Resource) (string, error) {
		tags := map[string]string{"Name": k.Name, amazon.TagRun: string(k.sc.Run), amazon.TagToken: r.Token}
		if k.sc.Plan != nil {
			tags[amazon.TagTemplate] = k.sc.Plan.Name
		}
		for name, value := range k.Tags {
			tags[name] = value
		}
		in := &ec2.CreateVolumeInput{ClientToken: &r.Token, AvailabilityZone: &zone, VolumeType: types.VolumeType(k.kindOf()),
			Encrypted: k.Encrypted, TagSpecifications: launch.TagSpecifications(tags, types.ResourceTypeVolume)}
		if k.KMSKey != "" { // the API wants both
			in.KmsKeyId, in.Encrypted = &k.KMSKey, aws.Bool(true)
		}
		setInt(&in.Size, int(k.Size))
		setInt(&in.Iops, k.IOPS)
		setInt(&in.Throughput, k.Throughput)
		if k.Snapshot != "" {
			in.SnapshotId = &k.Snapshot
		}
		out, err := k.client.CreateVolume(ctx, in)
		if err != nil {
			return "", err
		}
		return aws.ToString(out.VolumeId), nil
	})
	if err != nil {
		return types.Volume{}, err
	}
	k.sc.Keep(r)
	k.did = append(k.did, "created")
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("volume %s was not available within %s", r.ID, patience))
	defer cancel()
	return k.cloud.WaitVolume(ctx, k.access, r.ID, func(v types.Volume) (bool, error) {
		if v.State == types.VolumeStateError {
			return false, fmt.Errorf("volume %s could not be made: AWS says error, as it does when the KMS key cannot be used", r.ID)
		}
		return v.State == types.VolumeStateAvailable || v.State == types.VolumeStateInUse, nil
	})
}

func (k *keeper) kindOf() string {
	if k.Type == "" {
		return launch.DefaultVolumeType
	}
	return k.Type
}

func setInt(to **int32, n int) {
	if n > 0 {
		*to = aws.Int32(int32(n))
	}
}

// modify brings size and speed to what they shall be (ModifyVolume). A volume
// grows; it does not shrink, and its key stays.
func (k *keeper) modify(ctx context.Context, have types.Volume) error {
	id := aws.ToString(have.VolumeId)
	switch {
	case k.Size > 0 && int32(k.Size) < aws.ToInt32(have.Size):
		return fmt.Errorf("volume %s (%s) has %d GiB and cannot shrink to %d", k.Name, id, aws.ToInt32(have.Size), k.Size)
	case (k.KMSKey != "" || aws.ToBool(k.Encrypted)) && !aws.ToBool(have.Encrypted):
		return fmt.Errorf("volume %s (%s) is not encrypted, and that cannot be changed: make another from a snapshot of it", k.Name, id)
	}
	in := &ec2.ModifyVolumeInput{VolumeId: &id}
	var what []string
	if k.Size > 0 && int32(k.Size) != aws.ToInt32(have.Size) {
		in.Size, what = aws.Int32(int32(k.Size)), append(what, fmt.Sprintf("grown to %d GiB", k.Size))
	}
	if k.Type != "" && k.Type != string(have.VolumeType) {
		in.VolumeType, what = types.VolumeType(k.Type), append(what, "type "+k.Type)
	}
	if k.IOPS > 0 && int32(k.IOPS) != aws.ToInt32(have.Iops) {
		in.Iops, what = aws.Int32(int32(k.IOPS)), append(what, fmt.Sprintf("%d IOPS", k.IOPS))
	}
	if k.Throughput > 0 && int32(k.Throughput) != aws.ToInt32(have.Throughput) {
		in.Throughput, what = aws.Int32(int32(k.Throughput)), append(what, fmt.Sprintf("%d MiB/s", k.Throughput))
	}
	if len(what) == 0 {
		return nil
	}
	if _, err := k.client.ModifyVolume(ctx, in); err != nil {
		return fmt.Errorf("changing volume %s (%s): %w", k.Name, id, err)
	}
	k.did = append(k.did, what...)
	return nil
}

func (k *keeper) retag(ctx context.Context, have types.Volume) error {
	missing := map[string]string{}
	for name, value := range k.Tags {
		if !slices.ContainsFunc(have.Tags, func(t types.Tag) bool { return aws.ToString(t.Key) == name && aws.ToString(t.Value) == value }) {
			missing[name] = value
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := k.client.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{aws.ToString(have.VolumeId)}, Tags: launch.Tags(missing)}); err != nil {
		return fmt.Errorf("tagging volume %s: %w", k.Name, err)
	}
	k.did = append(k.did, "tagged")
	return nil
}
