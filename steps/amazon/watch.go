package amazon

import (
	"context"
	"fmt"
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
	p, err := c.instances(ctx, a)
	if err != nil {
		return types.Instance{}, err
	}
	i, err := p.wait(ctx, id, done)
	return i, c.explained(ctx, a, err)
}

// GuardInstance is WaitInstance for who expects that nothing happens to the
// instance and does something else meanwhile: its state is asked for seldom.
func (c *Cloud) GuardInstance(ctx context.Context, a Access, id string, check func(types.Instance) error) error {
	p, err := c.instances(ctx, a)
	if err != nil {
		return err
	}
	_, err = p.guard(ctx, id, func(i types.Instance) (bool, error) { return false, check(i) })
	return c.explained(ctx, a, err)
}

func (c *Cloud) instances(ctx context.Context, a Access) (*poller[types.Instance], error) {
	return pollerOf(ctx, c, a, &c.watches.instances, func(client *ec2.Client) *poller[types.Instance] {
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
		p := newPoller("snapshot", perCall, func(ctx context.Context, ids []string) (map[string]types.Snapshot, error) {
			out, err := client.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{Filter("snapshot-id", ids...)}})
			if err != nil {
				return nil, err
			}
			return byID(out.Snapshots, func(s types.Snapshot) *string { return s.SnapshotId }), nil
		})
		p.progress = func(s types.Snapshot) float64 {
			var percent float64
			_, _ = fmt.Sscanf(aws.ToString(s.Progress), "%g%%", &percent) // "" before it begins
			return percent / 100
		}
		return p
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

// wait waits with the poller of an access.
func wait[T any](ctx context.Context, c *Cloud, a Access, id string, pollers *map[string]*poller[T],
	done func(T) (bool, error), make_ func(*ec2.Client) *poller[T]) (T, error) {
	p, err := pollerOf(ctx, c, a, pollers, make_)
	if err != nil {
		var none T
		return none, err
	}
	v, err := p.wait(ctx, id, done)
	return v, c.explained(ctx, a, err)
}

// pollerOf finds or makes the poller of an access.
func pollerOf[T any](ctx context.Context, c *Cloud, a Access, pollers *map[string]*poller[T], make_ func(*ec2.Client) *poller[T]) (*poller[T], error) {
	cfg, err := c.Config(ctx, a)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if *pollers == nil {
		*pollers = map[string]*poller[T]{}
	}
	p := (*pollers)[a.key()]
	if p == nil {
		p = make_(ec2.NewFromConfig(cfg))
		(*pollers)[a.key()] = p
	}
	return p, nil
}

// explained is Explain for what may be no error.
func (c *Cloud) explained(ctx context.Context, a Access, err error) error {
	if err == nil {
		return nil
	}
	return c.Explain(ctx, a, err)
}
