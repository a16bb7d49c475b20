package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/steps/amazon"
)

// A place is a region as one account sees it, and what the AMI is to be there.
type place struct {
	cloud      *amazon.Cloud
	access     amazon.Access
	ec2        *ec2.Client
	sc         *builder.Scope
	want       *AMI // what the template says, this place's own words put in
	home       bool // where the AMI was made
	homeRegion string
	label      string
	name       wording
	owner      string // the account, twelve digits
	origin     string // id of the image that all copies come from
	mu         sync.Mutex
	fresh      *amazon.Fresh      // the image at home, if this process has just made it
	alone      bool               // the image at home is fresh: there are no copies of it yet
	silent     bool               // it only reads: there is nobody to tell
	made       []builder.Resource // to be kept when all is well
	done       []string           // what was changed, for the log and for Published.Unchanged
}

// newPlace connects to a place.
func newPlace(ctx context.Context, o *AMI, sc *builder.Scope, a amazon.Access) (*place, error) {
	cfg, err := o.deps.Cloud.Config(ctx, a)
	if err != nil {
		return nil, err
	}
	return &place{
		cloud: o.deps.Cloud, access: a.In(cfg.Region), ec2: ec2.NewFromConfig(cfg), sc: sc, want: o,
		label: cfg.Region, name: newWording(sc.Plan, o.Name),
	}, nil
}

// explain says what an error of AWS means here.
func (p *place) explain(ctx context.Context, format string, args ...any) error {
	return p.cloud.Explain(ctx, p.access, fmt.Errorf(format, args...))
}

// changed notes a change and tells it.
func (p *place) changed(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.mu.Lock()
	p.done = append(p.done, text)
	p.mu.Unlock()
	p.log("%s", text)
}

// log tells the user something about this place.
func (p *place) log(format string, args ...any) {
	if !p.silent {
		p.sc.Log("%s: %s", p.label, fmt.Sprintf(format, args...))
	}
}

// images returns the account's own images that the filters find, also those
// that are deprecated or disabled.
func (p *place) images(ctx context.Context, filters ...types.Filter) ([]types.Image, error) {
	var all []types.Image
	pages := ec2.NewDescribeImagesPaginator(p.ec2, &ec2.DescribeImagesInput{
		Owners: []string{"self"}, Filters: filters, IncludeDeprecated: aws.Bool(true), IncludeDisabled: aws.Bool(true),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, p.explain(ctx, "looking for images in %s: %w", p.label, err)
		}
		all = append(all, page.Images...)
	}
	slices.SortStableFunc(all, func(a, b types.Image) int { // the newest first
		return strings.Compare(aws.ToString(b.CreationDate), aws.ToString(a.CreationDate))
	})
	return all, nil
}

// isFresh reports whether an image or a snapshot is as this process made it.
func (p *place) isFresh(id string) bool {
	return p.fresh != nil && (id == aws.ToString(p.fresh.Image.ImageId) || slices.Contains(snapshotsOf(p.fresh.Image), id))
}

// named returns the account's image of that name; false if there is none.
func (p *place) named(ctx context.Context, name string) (types.Image, bool, error) {
	found, err := p.images(ctx, amazon.Filter("name", amazon.Literal(name)))
	if err != nil {
		return types.Image{}, false, err
	}
	for _, i := range found {
		if aws.ToString(i.Name) == name {
			return i, true, nil
		}
	}
	return types.Image{}, false, nil
}

// available waits until an image can be used, and tells how far it is. doing is
// a verb and the word before the region: "copying to".
func (p *place) available(ctx context.Context, id, doing string) (types.Image, error) {
	if p.isFresh(id) {
		return p.fresh.Image, nil
	}
	shown := newPercent(p, doing)
	defer shown.stop()
	img, err := p.cloud.WaitImage(ctx, p.access, id, func(i types.Image) (bool, error) {
		switch i.State {
		case types.ImageStateAvailable:
			return true, nil
		case types.ImageStatePending, types.ImageStateTransient:
			shown.watch(ctx, i)
			return false, nil
		}
		return false, imageFailed(i)
	})
	if err != nil {
		return img, fmt.Errorf("waiting for image %s in %s: %w", id, p.label, err)
	}
	return img, nil
}

// imageFailed is an image that will never be available, and why.
func imageFailed(i types.Image) error {
	why := "no reason given"
	if r := i.StateReason; r != nil {
		why = strings.TrimSpace(aws.ToString(r.Message))
		if code := aws.ToString(r.Code); code != "" {
			why += " (" + code + ")"
		}
	}
	err := &amazon.Explained{Err: fmt.Errorf("the image is %s: %s", i.State, why)}
	if strings.Contains(strings.ToLower(why), "kms") || strings.Contains(why, "Client.InternalError") {
		err.Cure = "the KMS key must exist in that region, be enabled, and its policy must let the caller use it"
	}
	return err
}

// tagOf returns the value of a tag, "" if there is none.
func tagOf(tags []types.Tag, key string) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

// snapshotsOf returns the ids of an image's snapshots, the root's first.
func snapshotsOf(i types.Image) []string {
	var ids []string
	for _, m := range i.BlockDeviceMappings {
		if m.Ebs == nil || m.Ebs.SnapshotId == nil {
			continue
		}
		if aws.ToString(m.DeviceName) == aws.ToString(i.RootDeviceName) {
			ids = slices.Insert(ids, 0, *m.Ebs.SnapshotId)
		} else {
			ids = append(ids, *m.Ebs.SnapshotId)
		}
	}
	return ids
}

// unsettled are the codes of what was just made and is not known everywhere.
var unsettled = []string{"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidSnapshot.NotFound", "InvalidLaunchTemplateId.NotFound"}

// errUnsettled is an answer that lacks what is known to exist.
var errUnsettled = errors.New("AWS does not know it yet")

// settling is how long what was just made may be unknown.
const settling = 2 * time.Minute

// settled calls change until AWS knows what it is to change.
func settled(ctx context.Context, change func() error) error {
	start, pause := time.Now(), 200*time.Millisecond
	for {
		err := change()
		if !errors.Is(err, errUnsettled) && !amazon.IsCode(err, unsettled...) || time.Since(start) > settling {
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, 5*time.Second)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
