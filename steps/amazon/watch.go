package amazon

import (
	"context"
	"fmt"
	"strings"
	"time"

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
	captures  map[string]*poller[Capture]
	snapshots map[string]*poller[types.Snapshot]
	volumes   map[string]*poller[types.Volume]
}

// A Wait says what is waited for, so that AWS is asked when it usually ends.
type Wait struct {
	// Name is what is remembered of the wait from run to run: what is waited for,
	// and what makes it take the time it takes, like "stop t3.small".
	Name  string
	From  time.Time // when what is waited for was begun; zero: now
	About Span      // how long it takes as a rule; zero: nobody knows
	Early bool      // done wants to see it also long before it usually ends
}

// timetable is when to look; name is that of the wait in this region of AWS.
func (c *Cloud) timetable(a Access, w Wait) (t timetable, name string) {
	if w.From.IsZero() {
		w.From = time.Now()
	}
	if w.Name != "" {
		name = w.Name + " in " + a.Region
		if c.options.Endpoint != "" {
			name += " at " + c.options.Endpoint
		}
	}
	return timetable{from: w.From, about: w.About, early: w.Early, usual: c.durations.usual(name)}, name
}

// WaitInstance waits until done says true of an instance's newest state
// (DescribeInstances), or returns an error. All waits of a process share their
// calls. The error is builder.ErrNotFound if there is no such instance.
func (c *Cloud) WaitInstance(ctx context.Context, a Access, id string, done func(types.Instance) (bool, error)) (types.Instance, error) {
	return c.FollowInstance(ctx, a, id, Wait{}, done)
}

// FollowInstance is WaitInstance for what usually takes its time.
func (c *Cloud) FollowInstance(ctx context.Context, a Access, id string, w Wait, done func(types.Instance) (bool, error)) (types.Instance, error) {
	p, err := c.instances(ctx, a)
	if err != nil {
		return types.Instance{}, err
	}
	return follow(ctx, c, a, p, id, w, done)
}

// GuardInstance is WaitInstance for who expects that nothing happens to the
// instance and does something else meanwhile, which the Wait is about: its
// state is asked for seldom. The time that took is noted with Took.
func (c *Cloud) GuardInstance(ctx context.Context, a Access, id string, w Wait, check func(types.Instance) error) error {
	p, err := c.instances(ctx, a)
	if err != nil {
		return err
	}
	plan, _ := c.timetable(a, w)
	plan.guard = true
	_, _, err = p.follow(ctx, id, plan, func(i types.Instance) (bool, error) { return false, check(i) })
	return c.explained(ctx, a, err)
}

// Usual returns how long the wait took the last few times; zero if it is not known.
func (c *Cloud) Usual(a Access, w Wait) Span {
	plan, _ := c.timetable(a, w)
	return plan.usual
}

// Took remembers how long something took that no poller has waited for.
func (c *Cloud) Took(a Access, w Wait) {
	plan, name := c.timetable(a, w)
	c.durations.note(name, time.Since(plan.from))
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
	return c.FollowImage(ctx, a, id, Wait{}, done)
}

// FollowImage is WaitImage for what usually takes its time.
func (c *Cloud) FollowImage(ctx context.Context, a Access, id string, w Wait, done func(types.Image) (bool, error)) (types.Image, error) {
	p, err := pollerOf(ctx, c, a, &c.watches.images, func(client *ec2.Client) *poller[types.Image] {
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
	if err != nil {
		return types.Image{}, err
	}
	return follow(ctx, c, a, p, id, w, done)
}

// A Capture is the snapshots that one CreateImage call makes, as far as they
// have shown yet: they bear its token (TagToken).
type Capture []types.Snapshot

// Progress is how far the slowest snapshot is, between 0 and 1.
func (c Capture) Progress() float64 {
	least := 1.0
	for _, s := range c {
		least = min(least, progress(s))
	}
	if len(c) == 0 {
		return 0
	}
	return least
}

// About is how long the capture takes in all, as far as its progress after some
// time tells; zero if it does not.
func (c Capture) About(after time.Duration) Span {
	far := c.Progress()
	if far < 0.5 {
		return Span{}
	}
	whole := time.Duration(float64(after) / far)
	return Span{Least: whole * 98 / 100, Most: whole}
}

// progress is how far a snapshot is, between 0 and 1.
func progress(s types.Snapshot) float64 {
	var percent float64
	_, _ = fmt.Sscanf(aws.ToString(s.Progress), "%g%%", &percent) // "" before it begins
	return percent / 100
}

// FollowCapture is like WaitInstance for the snapshots of an image that is being
// made with a token (DescribeSnapshots, own ones). What done returns true of
// does not count as the end of the Wait, which is that of the image.
func (c *Cloud) FollowCapture(ctx context.Context, a Access, token string, w Wait, done func(Capture) (bool, error)) (Capture, error) {
	p, err := pollerOf(ctx, c, a, &c.watches.captures, func(client *ec2.Client) *poller[Capture] {
		p := newPoller("capture", perCall, func(ctx context.Context, tokens []string) (map[string]Capture, error) {
			return captures(ctx, client, tokens)
		})
		p.progress = Capture.Progress
		return p
	})
	if err != nil {
		return nil, err
	}
	plan, _ := c.timetable(a, w)
	v, _, err := p.follow(ctx, token, plan, done)
	return v, c.explained(ctx, a, err)
}

// captures returns the snapshots that bear each of the tokens. One that shows
// none yet is not unknown: its image has just been asked for.
func captures(ctx context.Context, client *ec2.Client, tokens []string) (map[string]Capture, error) {
	found := map[string]Capture{}
	for _, t := range tokens {
		found[t] = nil
	}
	pages := ec2.NewDescribeSnapshotsPaginator(client, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{Filter("tag:"+TagToken, tokens...)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range page.Snapshots {
			for _, t := range s.Tags {
				if aws.ToString(t.Key) == TagToken {
					found[aws.ToString(t.Value)] = append(found[aws.ToString(t.Value)], s)
				}
			}
		}
	}
	return found, nil
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
		p.progress = progress
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

// follow waits with a poller and remembers how long it took.
func follow[T any](ctx context.Context, c *Cloud, a Access, p *poller[T], id string, w Wait, done func(T) (bool, error)) (T, error) {
	plan, name := c.timetable(a, w)
	v, took, err := p.follow(ctx, id, plan, done)
	c.durations.note(name, took)
	return v, c.explained(ctx, a, err)
}

// wait waits with the poller of an access.
func wait[T any](ctx context.Context, c *Cloud, a Access, id string, pollers *map[string]*poller[T],
	done func(T) (bool, error), make_ func(*ec2.Client) *poller[T]) (T, error) {
	p, err := pollerOf(ctx, c, a, pollers, make_)
	if err != nil {
		var none T
		return none, err
	}
	return follow(ctx, c, a, p, id, Wait{}, done)
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
