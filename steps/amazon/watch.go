package amazon

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// perCall is how many ids one Describe call asks for: the most values that a
// filter takes. Filters are used and not ids, since one unknown id fails the
// whole call.
const perCall = 200

// watches are the pollers of a Cloud, by access.
type watches struct {
	instances map[string]*poller[types.Instance]
	images    map[string]*poller[types.Image]
	snapshots map[string]*poller[types.Snapshot]
	volumes   map[string]*poller[types.Volume]
}

// WaitInstance waits until done says true of an instance's newest state
// (DescribeInstances), or returns an error. All waits of a process share their
// calls. The error is builder.ErrNotFound if there is no such instance.
func (c *Cloud) WaitInstance(ctx context.Context, a Access, id string, done func(types.Instance) (bool, error)) (types.Instance, error) {
	return wait(ctx, c, a, id, &c.watches.instances, done, func(client *ec2.Client) *poller[types.Instance] {
		return newPoller("instance", perCall, func(ctx context.Context, ids []string) (map[string]types.Instance, error) {
			found := map[string]types.Instance{}
			pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{Filters: []types.Filter{Filter("instance-id", ids...)}})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return nil, err
				}
				for _, r := range page.Reservations {
					for _, i := range r.Instances {
						found[aws.ToString(i.InstanceId)] = i
					}
				}
			}
			return found, nil
		})
	})
}

// WaitImage is like WaitInstance for an image (DescribeImages, own ones).
func (c *Cloud) WaitImage(ctx context.Context, a Access, id string, done func(types.Image) (bool, error)) (types.Image, error) {
	return wait(ctx, c, a, id, &c.watches.images, done, func(client *ec2.Client) *poller[types.Image] {
		return newPoller("image", perCall, func(ctx context.Context, ids []string) (map[string]types.Image, error) {
			out, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{
				Owners: []string{"self"}, IncludeDeprecated: aws.Bool(true), IncludeDisabled: aws.Bool(true),
				Filters: []types.Filter{Filter("image-id", ids...)},
			})
			if err != nil {
				return nil, err
			}
			return byID(out.Images, func(i types.Image) *string { return i.ImageId }), nil
		})
	})
}

// WaitSnapshot is like WaitInstance for a snapshot (DescribeSnapshots, own ones).
func (c *Cloud) WaitSnapshot(ctx context.Context, a Access, id string, done func(types.Snapshot) (bool, error)) (types.Snapshot, error) {
	return wait(ctx, c, a, id, &c.watches.snapshots, done, func(client *ec2.Client) *poller[types.Snapshot] {
		return newPoller("snapshot", perCall, func(ctx context.Context, ids []string) (map[string]types.Snapshot, error) {
			out, err := client.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{Filter("snapshot-id", ids...)}})
			if err != nil {
				return nil, err
			}
			return byID(out.Snapshots, func(s types.Snapshot) *string { return s.SnapshotId }), nil
		})
	})
}

// WaitVolume is like WaitInstance for a volume (DescribeVolumes).
func (c *Cloud) WaitVolume(ctx context.Context, a Access, id string, done func(types.Volume) (bool, error)) (types.Volume, error) {
	return wait(ctx, c, a, id, &c.watches.volumes, done, func(client *ec2.Client) *poller[types.Volume] {
		return newPoller("volume", perCall, func(ctx context.Context, ids []string) (map[string]types.Volume, error) {
			out, err := client.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{Filters: []types.Filter{Filter("volume-id", ids...)}})
			if err != nil {
				return nil, err
			}
			return byID(out.Volumes, func(v types.Volume) *string { return v.VolumeId }), nil
		})
	})
}

// Filter is a filter of a Describe call.
func Filter(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}

// Literal is text as the value of a Filter that means just it: in a filter *
// and ? stand for other characters.
func Literal(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(text)
}

func byID[T any](list []T, id func(T) *string) map[string]T {
	found := map[string]T{}
	for _, v := range list {
		found[aws.ToString(id(v))] = v
	}
	return found
}

// wait finds or makes the poller of an access and waits with it.
func wait[T any](ctx context.Context, c *Cloud, a Access, id string, pollers *map[string]*poller[T],
	done func(T) (bool, error), make_ func(*ec2.Client) *poller[T]) (T, error) {
	cfg, err := c.Config(ctx, a)
	if err != nil {
		var none T
		return none, err
	}
	c.mu.Lock()
	if *pollers == nil {
		*pollers = map[string]*poller[T]{}
	}
	p := (*pollers)[a.key()]
	if p == nil {
		p = make_(ec2.NewFromConfig(cfg))
		(*pollers)[a.key()] = p
	}
	c.mu.Unlock()
	v, err := p.wait(ctx, id, done)
	if err != nil {
		return v, c.Explain(ctx, a, err)
	}
	return v, nil
}
