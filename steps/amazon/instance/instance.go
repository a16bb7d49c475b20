// Package instance is the output `instance`: an EC2 instance of a name that
// runs the image which was just baked. A new one is started and answers before
// the old one is ended.
package instance

import (
	"context"
	"crypto/sha256"
	"encoding/json"
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
	"bake/steps/amazon/keypair"
	"bake/steps/amazon/launch"
	"bake/templates"
)

// kind is the resource's kind, by which Catalog.Cleaners knows it.
const kind = "ec2-instance"

// An Output keeps one instance running from the newest image.
type Output struct {
	amazon.Access
	Name      string         `yaml:"name" bake:"main,required" pattern:"^.{3,128}$" doc:"Its Name tag, by which it is found again."`
	Image     string         `yaml:"image" pattern:"^ami-[0-9a-f]+$" doc:"Image to start; default: the build's own. In another region: that of the copy."`
	Machine   launch.Machine `yaml:"machine" doc:"What the instance is like, as in a source."`
	Open      *Open          `yaml:"open" doc:"Ports that others may connect to: bake keeps a security group bake-NAME for them."`
	Wait      Wait           `yaml:"wait" doc:"When the new instance counts as good; until then the old one stays."`
	Protected bool           `yaml:"termination_protection" doc:"Refuse that the instance is terminated by others."`

	cloud *amazon.Cloud
}

// Wait says what a new instance has to show.
type Wait struct {
	Port    templates.Strings `yaml:"port" bake:"main" pattern:"^[0-9]+$" doc:"TCP ports that must answer; default: none, it is enough that it runs."`
	Checks  bool              `yaml:"status_checks" doc:"Wait for EC2's own status checks; they take some minutes."`
	Timeout time.Duration     `yaml:"timeout" min:"1s" doc:"How long it may take; default: 10m."`
}

// New returns the output kind instance.
func New(cloud *amazon.Cloud) func() builder.Output {
	return func() builder.Output { return &Output{cloud: cloud} }
}

// Validate refuses what goes away with a build.
func (o *Output) Validate(b templates.Block) templates.Diagnostics {
	if o.Machine.Profile.Temporary() {
		d := b.At("machine", "profile").Errorf("instance: the instance outlives the run, and a temporary profile does not")
		d.Hint = "name an instance profile that exists"
		return templates.Diagnostics{d}
	}
	return nil
}

// String is what the step is called.
func (o *Output) String() string { return "instance " + o.Name }

// Accepts AMIs.
func (o *Output) Accepts(k builder.ArtifactKind) bool { return k == builder.AMIArtifact }

// Publish starts the instance if it does not run the image yet, and ends those
// that it takes the place of.
func (o *Output) Publish(ctx context.Context, sc *builder.Scope, in builder.Artifact) (builder.Published, error) {
	out, err := o.publish(ctx, sc, in)
	return out, o.cloud.Explain(ctx, o.Access, err)
}

func (o *Output) publish(ctx context.Context, sc *builder.Scope, in builder.Artifact) (builder.Published, error) {
	cfg, err := o.cloud.Config(ctx, o.Access)
	if err != nil {
		return builder.Published{}, err
	}
	id := o.Image
	if id == "" {
		id = in.AMI.ID
		if in.AMI.Region != cfg.Region {
			return builder.Published{}, &RegionError{Image: in.AMI.ID, Made: in.AMI.Region, Wanted: cfg.Region}
		}
	}
	s := &starter{Output: o, sc: sc, cfg: cfg, client: ec2.NewFromConfig(cfg), access: o.Access.In(cfg.Region), image: id}
	return s.run(ctx)
}

// RegionError is an image of another region than the instance's.
type RegionError struct{ Image, Made, Wanted string }

func (e *RegionError) Error() string {
	return fmt.Sprintf("image %s is in %s and cannot be started in %s", e.Image, e.Made, e.Wanted)
}

// Hint says what to do.
func (e *RegionError) Hint() string {
	return "copy the image there (ami: regions: [" + e.Wanted + "]) and name the copy in image:"
}

// A starter is one Publish.
type starter struct {
	*Output
	sc     *builder.Scope
	cfg    aws.Config
	client *ec2.Client
	access amazon.Access
	image  string
}

func (s *starter) run(ctx context.Context) (builder.Published, error) {
	have, err := s.find(ctx)
	if err != nil {
		return builder.Published{}, err
	}
	key := s.key()
	good := slices.IndexFunc(have, func(i types.Instance) bool { return tag(i, amazon.TagKey) == key })
	note := "runs already"
	var now types.Instance
	switch {
	case good < 0:
		note = "started"
		if now, err = s.start(ctx, key); err != nil {
			return builder.Published{}, err
		}
	default:
		now = have[good]
		have = slices.Delete(have, good, good+1)
		if stopped(now) {
			note = "started again"
			if err := s.startAgain(ctx, aws.ToString(now.InstanceId)); err != nil {
				return builder.Published{}, err
			}
		}
		if err := s.reopen(ctx, now); err != nil {
			return builder.Published{}, err
		}
		if now, err = s.ready(ctx, aws.ToString(now.InstanceId)); err != nil {
			return builder.Published{}, err
		}
	}
	ended, err := s.end(ctx, have)
	if err != nil {
		return builder.Published{}, err
	}
	return s.published(now, note, ended), nil
}

func (s *starter) published(i types.Instance, note string, ended []string) builder.Published {
	id := aws.ToString(i.InstanceId)
	summary := fmt.Sprintf("instance %s %s: %s from %s at %s", s.Name, note, id, s.image, address(i))
	if len(ended) > 0 {
		summary += ", in place of " + strings.Join(ended, ", ")
	}
	return builder.Published{
		Values: map[string]string{"name": s.Name, "id": id, "region": s.cfg.Region, "image": s.image, "address": address(i),
			"public_ip": aws.ToString(i.PublicIpAddress), "private_ip": aws.ToString(i.PrivateIpAddress), "type": string(i.InstanceType)},
		Summary:   summary,
		Unchanged: note == "runs already" && len(ended) == 0,
	}
}

// reopen brings the ports of an instance that runs already to what they shall be.
func (s *starter) reopen(ctx context.Context, i types.Instance) error {
	if s.Open == nil {
		return nil
	}
	_, err := s.group(ctx, aws.ToString(i.VpcId))
	return err
}

// key is what the instance is started from and how: an instance that carries it
// is as it shall be. Tags and the way of waiting are not part of it.
func (s *starter) key() string {
	m := s.Machine
	m.Tags = nil
	data, err := json.Marshal(struct {
		Image   string
		Machine launch.Machine
	}{s.image, m})
	if err != nil {
		panic(err) // plain data out of a template
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(data))
}

// find lists the instances that this output made and that are not ended, the newest first.
func (s *starter) find(ctx context.Context) ([]types.Instance, error) {
	pages := ec2.NewDescribeInstancesPaginator(s.client, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		amazon.Filter("tag:Name", amazon.Literal(s.Name)), amazon.Filter("tag:"+amazon.TagTemplate, amazon.Literal(s.sc.Plan.Name)),
		amazon.Filter("tag-key", amazon.TagKey), amazon.Filter("instance-state-name", "pending", "running", "stopping", "stopped"),
	}})
	var all []types.Instance
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("looking for instance %s: %w", s.Name, err)
		}
		for _, r := range page.Reservations {
			all = append(all, r.Instances...)
		}
	}
	slices.SortFunc(all, func(a, b types.Instance) int { return aws.ToTime(b.LaunchTime).Compare(aws.ToTime(a.LaunchTime)) })
	return all, nil
}

func tag(i types.Instance, key string) string {
	for _, t := range i.Tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

func stopped(i types.Instance) bool {
	return i.State.Name == types.InstanceStateNameStopped || i.State.Name == types.InstanceStateNameStopping
}

// address is where the instance is reached.
func address(i types.Instance) string {
	if ip := aws.ToString(i.PublicIpAddress); ip != "" {
		return ip
	}
	return aws.ToString(i.PrivateIpAddress)
}

func (s *starter) startAgain(ctx context.Context, id string) error {
	_, err := s.cloud.WaitInstance(ctx, s.access, id, func(i types.Instance) (bool, error) { return i.State.Name != types.InstanceStateNameStopping, nil })
	if err != nil {
		return err
	}
	if _, err := s.client.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}}); err != nil {
		return fmt.Errorf("starting instance %s again: %w", id, err)
	}
	return nil
}

// end terminates the instances that the new one takes the place of.
func (s *starter) end(ctx context.Context, old []types.Instance) ([]string, error) {
	var ids []string
	for _, i := range old {
		ids = append(ids, aws.ToString(i.InstanceId))
	}
	if len(ids) == 0 {
		return nil, nil
	}
	if s.Protected {
		for _, id := range ids { // bake's own protection; EC2 takes one instance a call
			_, err := s.client.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &id, DisableApiTermination: &types.AttributeBooleanValue{Value: aws.Bool(false)}})
			if err != nil {
				return nil, fmt.Errorf("ending instance %s: %w", id, err)
			}
		}
	}
	if _, err := s.client.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		return nil, fmt.Errorf("ending %s: %w", strings.Join(ids, ", "), err)
	}
	return ids, nil
}

// start starts a new instance and returns it when it is ready. It is given up,
// and the old one stays, if it does not get there.
func (s *starter) start(ctx context.Context, key string) (types.Instance, error) {
	spec, tries, err := s.spec(ctx, key)
	if err != nil {
		return types.Instance{}, err
	}
	r, err := s.sc.Create(ctx, builder.Resource{Kind: kind, Name: s.Name, Where: s.access.Where()}, func(ctx context.Context, r builder.Resource) (string, error) {
		spec.Tags[amazon.TagToken] = r.Token
		starter := launch.Starter{Client: s.client, Spec: spec, Tries: tries, Log: s.sc.Log}
		i, err := starter.Start(ctx, r.Token)
		return aws.ToString(i.InstanceId), err
	})
	if err != nil {
		return types.Instance{}, err
	}
	s.sc.Keep(r)
	if s.Protected {
		_, err := s.client.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &r.ID, DisableApiTermination: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
		if err != nil {
			return types.Instance{}, fmt.Errorf("protecting instance %s: %w", r.ID, err)
		}
	}
	return s.ready(ctx, r.ID)
}

// spec is what the instance is started with, all names looked up.
func (s *starter) spec(ctx context.Context, key string) (launch.Spec, []launch.Try, error) {
	none := launch.Spec{}
	out, err := s.client.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{s.image}})
	if err != nil || len(out.Images) == 0 {
		return none, nil, errors.Join(fmt.Errorf("looking for image %s", s.image), err)
	}
	image := out.Images[0]
	resolved, err := s.Machine.Resolve(ctx, s.cfg, image.Architecture)
	if err != nil {
		return none, nil, err
	}
	devices, err := s.devices(image)
	if err != nil {
		return none, nil, err
	}
	data, err := s.Machine.UserData.Read(s.sc.Dir)
	if err != nil {
		return none, nil, err
	}
	encoded, err := launch.EncodeUserData(data)
	if err != nil {
		return none, nil, err
	}
	spec := launch.Spec{Machine: s.Machine, Image: s.image, Devices: devices, Groups: resolved.Groups, UserData: encoded,
		Tags: map[string]string{"Name": s.Name, amazon.TagRun: string(s.sc.Run), amazon.TagTemplate: s.sc.Plan.Name, amazon.TagKey: key}}
	if p := s.Machine.Profile; p != nil {
		spec.Profile = p.Name
	}
	if s.Open != nil {
		group, err := s.group(ctx, resolved.VPC)
		if err != nil {
			return none, nil, err
		}
		spec.Groups = append(spec.Groups, group)
	}
	spec.KeyName, err = s.keyName(ctx)
	return spec, resolved.Tries, err
}

// devices are the machine's volumes. Unlike those of a build they stay when the
// template says so.
func (s *starter) devices(image types.Image) ([]types.BlockDeviceMapping, error) {
	devices, err := launch.Devices(image, s.Machine.Volumes, launch.Encryption{})
	for i := range devices {
		for _, v := range s.Machine.Volumes {
			same := v.Device == aws.ToString(devices[i].DeviceName) || v.Device == launch.Root && aws.ToString(devices[i].DeviceName) == aws.ToString(image.RootDeviceName)
			if same && v.Delete != nil && devices[i].Ebs != nil {
				devices[i].Ebs.DeleteOnTermination = v.Delete
			}
		}
	}
	return devices, err
}

func (s *starter) keyName(ctx context.Context) (string, error) {
	k := s.Machine.KeyPair
	if k == nil {
		return "", nil
	}
	if k.PublicKey == "" {
		return k.Name, nil
	}
	key, err := keypair.Load(s.sc.Dir, k.PublicKey)
	if err != nil {
		return "", fmt.Errorf("machine: key_pair: public_key: %w", err)
	}
	_, err = keypair.Ensure(ctx, s.client, k.Name, key, nil)
	return k.Name, err
}
