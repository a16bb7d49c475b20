package ami

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"bake/builder"
	"bake/steps/amazon"
	"bake/steps/amazon/image"
	"bake/steps/amazon/launch"
)

func itoa(i int) string { return strconv.Itoa(i) }

// pinned is what the source found, for Open: plain data in the plan.
type pinned struct {
	Access string          `json:"access"` // amazon.Access.Where, with the region
	Image  base            `json:"image"`
	Launch launch.Resolved `json:"launch"`
}

// base is what Open needs to know of the image that a machine starts from.
type base struct {
	ID           string        `json:"id"`
	Name         string        `json:"name"`
	Created      string        `json:"created,omitempty"`
	Owner        string        `json:"owner,omitempty"`
	Architecture string        `json:"architecture"`
	RootDevice   string        `json:"root_device,omitempty"`
	User         string        `json:"user"`
	Devices      []imageDevice `json:"devices,omitempty"`
}

// imageDevice is an EBS volume that the image has.
type imageDevice struct {
	Name      string `json:"name"`
	Snapshot  string `json:"snapshot,omitempty"`
	Size      int32  `json:"size,omitempty"` // GiB
	Type      string `json:"type,omitempty"`
	IOPS      int32  `json:"iops,omitempty"`
	Encrypted bool   `json:"encrypted,omitempty"`
	Delete    bool   `json:"delete_on_termination,omitempty"`
}

func baseOf(i types.Image, user string) base {
	b := base{ID: aws.ToString(i.ImageId), Name: aws.ToString(i.Name), Created: aws.ToString(i.CreationDate), Owner: aws.ToString(i.OwnerId),
		Architecture: string(i.Architecture), RootDevice: aws.ToString(i.RootDeviceName), User: user}
	if user == "" {
		b.User = defaultUser(i)
	}
	for _, m := range i.BlockDeviceMappings {
		if e := m.Ebs; e != nil {
			b.Devices = append(b.Devices, imageDevice{Name: aws.ToString(m.DeviceName), Snapshot: aws.ToString(e.SnapshotId), Size: aws.ToInt32(e.VolumeSize),
				Type: string(e.VolumeType), IOPS: aws.ToInt32(e.Iops), Encrypted: aws.ToBool(e.Encrypted), Delete: aws.ToBool(e.DeleteOnTermination)})
		}
	}
	return b
}

// image is the base as far as block devices need it.
func (b base) image() types.Image {
	out := types.Image{RootDeviceName: aws.String(b.RootDevice)}
	for _, d := range b.Devices {
		e := &types.EbsBlockDevice{SnapshotId: aws.String(d.Snapshot), VolumeSize: aws.Int32(d.Size), VolumeType: types.VolumeType(d.Type),
			Encrypted: aws.Bool(d.Encrypted), DeleteOnTermination: aws.Bool(d.Delete)}
		if d.IOPS > 0 {
			e.Iops = aws.Int32(d.IOPS)
		}
		out.BlockDeviceMappings = append(out.BlockDeviceMappings, types.BlockDeviceMapping{DeviceName: aws.String(d.Name), Ebs: e})
	}
	return out
}

// platform is the architecture in the words of Go.
func (b base) platform() builder.Platform {
	p := builder.Platform{OS: "linux", Arch: b.Architecture}
	switch b.Architecture {
	case "x86_64":
		p.Arch = "amd64"
	case "i386":
		p.Arch = "386"
	}
	return p
}

// Pin finds the image, and where an instance of it may be started.
func (s *Source) Pin(ctx context.Context, _ builder.PinEnv) (builder.Pin, error) {
	cfg, err := s.cloud.Config(ctx, s.Access)
	if err != nil {
		return builder.Pin{}, err
	}
	access := s.Access.In(cfg.Region)
	found, err := s.Choice.find(ctx, cfg)
	if err != nil {
		return builder.Pin{}, s.cloud.Explain(ctx, access, err)
	}
	p := pinned{Access: access.Where(), Image: baseOf(found, s.SSH.User)}
	if p.Launch, err = s.machine().Resolve(ctx, cfg, found.Architecture); err != nil {
		return builder.Pin{}, s.cloud.Explain(ctx, access, err)
	}
	if _, err := launch.Devices(p.Image.image(), s.Machine.Volumes, launch.Encryption{}); err != nil {
		return builder.Pin{}, err
	}
	config, err := json.Marshal(p)
	if err != nil {
		return builder.Pin{}, err
	}
	platform := p.Image.platform()
	return builder.Pin{Digest: s.digest(p), Config: config, Values: p.values(cfg.Region), Summary: p.summary(cfg.Region), Platform: &platform}, nil
}

// digest covers what the image that is made depends on: not where and on what
// type of instance it is made.
func (s *Build) digest(p pinned) builder.Digest {
	volumes, _ := json.Marshal(s.Machine.Volumes) // plain data
	user, _ := json.Marshal(s.Machine.UserData)
	clean, _ := json.Marshal(s.Capture.Clean)
	sum := sha256.Sum256(fmt.Appendf(nil, "ami\x00%q %q %q %q %q %q", p.Access, p.Image.ID, p.Image.User, volumes, user, clean))
	return builder.Digest(fmt.Sprintf("sha256:%x", sum))
}

func (p pinned) values(region string) map[string]string {
	return map[string]string{"id": p.Image.ID, "name": p.Image.Name, "date": p.Image.Created, "owner": p.Image.Owner,
		"architecture": p.Image.Architecture, "root_device": p.Image.RootDevice, "user": p.Image.User, "region": region}
}

func (p pinned) summary(region string) string {
	text := fmt.Sprintf("%s (%s, %s", p.Image.ID, p.Image.Name, p.Image.Architecture)
	if at, err := time.Parse(time.RFC3339, p.Image.Created); err == nil {
		text += ", " + at.Format(time.DateOnly)
	}
	return text + ") in " + region
}

func readPin(pin builder.Pin) (pinned, amazon.Access, error) {
	var p pinned
	if err := json.Unmarshal(pin.Config, &p); err != nil {
		return p, amazon.Access{}, fmt.Errorf("reading what the plan says of the source AMI: %w", err)
	}
	a, err := amazon.ParseAccess(p.Access)
	return p, a, err
}

// States of images (tag bake:state).
const (
	stateCandidate = "candidate"
	stateReady     = "ready"
)

// Vet refuses a build that cannot work: its image's name is taken, or the
// caller may not start the instance. It only reads. What is made already needs
// no rights to make it, and is asked for only if there is something to refuse.
func (s *Source) Vet(ctx context.Context, p *builder.Plan, b builder.Build) error {
	pin, access, err := readPin(b.Pin)
	if err != nil {
		return err
	}
	cfg, err := s.cloud.Config(ctx, access)
	if err != nil {
		return err
	}
	client := ec2.NewFromConfig(cfg)
	spec, err := s.spec(p, b, pin.Image)
	if err != nil {
		return err
	}
	spec.Groups = pin.Launch.Groups
	start := launch.Starter{Client: client, Spec: spec, Tries: pin.Launch.Tries}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return image.Vet(gctx, s.cloud, access, p, b.Name) })
	g.Go(func() error { return start.Check(gctx) })
	refused := g.Wait()
	if refused == nil {
		return nil
	}
	made, err := readyImage(ctx, client, b.Key)
	if err == nil && made != nil {
		return nil
	}
	return s.cloud.Explain(ctx, access, errors.Join(refused, err))
}

// ownByName returns the caller's image of the name, whatever its state; nil if
// there is none.
func ownByName(ctx context.Context, client *ec2.Client, name string) (*types.Image, error) {
	out, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, IncludeDeprecated: aws.Bool(true), IncludeDisabled: aws.Bool(true),
		Filters: []types.Filter{amazon.Filter("name", name)}})
	if err != nil {
		return nil, fmt.Errorf("looking whether the name %q is free: %w", name, err)
	}
	for _, i := range out.Images {
		if aws.ToString(i.Name) == name { // the filter takes * and ? for patterns
			return &i, nil
		}
	}
	return nil, nil
}
