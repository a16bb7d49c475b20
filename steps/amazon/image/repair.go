package image

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"bake/steps/amazon"
)

// The values of the tag bake:state.
const (
	stateCandidate = "candidate"
	stateReady     = "ready"
)

const imdsV2 = "v2.0"

// repair makes everything that can be changed about the image what the
// template says, and asks for nothing that is so already. Last of all, the
// image is called ready.
func (p *place) repair(ctx context.Context, img types.Image, permissions bool) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.describe(gctx, img) })
	g.Go(func() error { return p.requireTokens(gctx, img) })
	g.Go(func() error { return p.deprecate(gctx, img) })
	g.Go(func() error { return p.protect(gctx, img) })
	if permissions {
		g.Go(func() error { return p.permit(gctx, img) })
	}
	var snaps []types.Snapshot
	g.Go(func() (err error) { snaps, err = p.snapshots(gctx, img); return err })
	if err := g.Wait(); err != nil {
		return err
	}
	return p.tag(ctx, img, snaps)
}

// describe keeps the description up to date.
func (p *place) describe(ctx context.Context, img types.Image) error {
	have := aws.ToString(img.Description)
	if newWording(p.sc.Plan, p.want.Description).matches(have) {
		return nil
	}
	if p.want.Description == "" && !noted(tagOf(img.Tags, TagTags), notedDescription) {
		return nil
	}
	err := p.modify(ctx, &ec2.ModifyImageAttributeInput{ImageId: img.ImageId, Description: &types.AttributeValue{Value: &p.want.Description}})
	if err != nil {
		return p.explain(ctx, "describing image %s: %w", *img.ImageId, err)
	}
	p.changed("%s is described as %q", *img.ImageId, p.want.Description)
	return nil
}

// modify calls ModifyImageAttribute, which takes one attribute at a time.
func (p *place) modify(ctx context.Context, in *ec2.ModifyImageAttributeInput) error {
	return settled(ctx, func() error {
		_, err := p.ec2.ModifyImageAttribute(ctx, in)
		return err
	})
}

// requireTokens lets instances of the image have IMDSv2 alone.
func (p *place) requireTokens(ctx context.Context, img types.Image) error {
	switch is := img.ImdsSupport == types.ImdsSupportValuesV20; {
	case is && p.want.IMDS == "optional":
		return &amazon.Explained{
			Err:  fmt.Errorf("image %s requires IMDSv2 (imds_support: v2.0), which AWS does not take back", *img.ImageId),
			Cure: "leave imds_support: v2.0, or build under another name with --no-cache",
		}
	case is || p.want.IMDS != imdsV2:
		return nil
	}
	err := p.modify(ctx, &ec2.ModifyImageAttributeInput{ImageId: img.ImageId, ImdsSupport: &types.AttributeValue{Value: aws.String(imdsV2)}})
	if err != nil {
		return p.explain(ctx, "requiring IMDSv2 of image %s: %w", *img.ImageId, err)
	}
	p.changed("%s requires IMDSv2", *img.ImageId)
	return nil
}

// deprecation returns when the image is to be deprecated, to the minute, as
// AWS keeps it; zero: not at all.
func (o *AMI) deprecation(img types.Image) (time.Time, error) {
	switch {
	case o.DeprecateAt != "":
		t, err := parseDate(o.DeprecateAt)
		return t.UTC().Round(time.Minute), err
	case o.DeprecateAfter > 0:
		made, err := time.Parse(time.RFC3339, aws.ToString(img.CreationDate))
		return made.Add(o.DeprecateAfter).UTC().Round(time.Minute), err
	}
	return time.Time{}, nil
}

func (p *place) deprecate(ctx context.Context, img types.Image) error {
	want, err := p.want.deprecation(img)
	if err != nil {
		return fmt.Errorf("deprecating image %s: %w", *img.ImageId, err)
	}
	have, _ := time.Parse(time.RFC3339, aws.ToString(img.DeprecationTime)) // zero: none
	switch {
	case want.IsZero() && (have.IsZero() || !noted(tagOf(img.Tags, TagTags), notedDeprecation)):
		return nil
	case want.Equal(have.Round(time.Minute)):
		return nil
	case want.IsZero():
		err = settled(ctx, func() error {
			_, err := p.ec2.DisableImageDeprecation(ctx, &ec2.DisableImageDeprecationInput{ImageId: img.ImageId})
			return err
		})
	default:
		err = settled(ctx, func() error {
			_, err := p.ec2.EnableImageDeprecation(ctx, &ec2.EnableImageDeprecationInput{ImageId: img.ImageId, DeprecateAt: &want})
			return err
		})
	}
	if err != nil {
		return p.explain(ctx, "deprecating image %s: %w", *img.ImageId, err)
	}
	if want.IsZero() {
		p.changed("%s will not be deprecated", *img.ImageId)
	} else {
		p.changed("%s will be deprecated on %s", *img.ImageId, want.Format(time.RFC3339))
	}
	return nil
}

func (p *place) protect(ctx context.Context, img types.Image) error {
	want, have := p.want.Protection, aws.ToString(img.DeregistrationProtection)
	switch {
	case !want.Enabled && (!isProtected(img) || !noted(tagOf(img.Tags, TagTags), notedProtection)):
		return nil
	case want.Enabled && isProtected(img) && want.Cooldown == strings.HasSuffix(have, "with-cooldown"):
		return nil
	}
	err := settled(ctx, func() (err error) {
		if want.Enabled {
			_, err = p.ec2.EnableImageDeregistrationProtection(ctx, &ec2.EnableImageDeregistrationProtectionInput{ImageId: img.ImageId, WithCooldown: &want.Cooldown})
		} else {
			_, err = p.ec2.DisableImageDeregistrationProtection(ctx, &ec2.DisableImageDeregistrationProtectionInput{ImageId: img.ImageId})
		}
		return err
	})
	if err != nil {
		return p.explain(ctx, "protecting image %s: %w", *img.ImageId, err)
	}
	p.changed("%s: deregistration protection is %v now", *img.ImageId, want.Enabled)
	return nil
}

// tag makes the tags of the image and of its snapshots those of the template.
// Resources that want the same change share a call.
func (p *place) tag(ctx context.Context, img types.Image, snaps []types.Snapshot) error {
	tags := p.want.imageTags(p.want.Name)
	tags[amazon.TagState] = stateReady
	changes := []tagChange{p.tagChange(*img.ImageId, img.Tags, tags)}
	for _, s := range snaps {
		want := p.want.snapshotTags(p.want.Name)
		if tagOf(s.Tags, amazon.TagState) != "" {
			want[amazon.TagState] = stateReady
		}
		changes = append(changes, p.tagChange(*s.SnapshotId, s.Tags, want))
	}
	for len(changes) > 0 {
		first, ids := changes[0], []string{}
		changes = slices.DeleteFunc(changes, func(c tagChange) bool {
			same := maps.Equal(c.set, first.set) && slices.Equal(c.remove, first.remove)
			if same {
				ids = append(ids, c.id)
			}
			return same
		})
		if err := p.applyTags(ctx, ids, first); err != nil {
			return err
		}
	}
	return nil
}

// A tagChange is what to do to the tags of a resource.
type tagChange struct {
	id     string
	set    map[string]string
	remove []string
}

// tagChange compares the tags that a resource has with those it is to have. It
// removes those that the template has set before, and the date on which a
// candidate expires.
func (p *place) tagChange(id string, have []types.Tag, want map[string]string) tagChange {
	c := tagChange{id: id, set: map[string]string{}}
	note := tagOf(have, TagTags)
	values := map[string]string{}
	for _, t := range have {
		key := aws.ToString(t.Key)
		values[key] = aws.ToString(t.Value)
		_, wanted := want[key]
		if !wanted && (noted(note, key) || key == amazon.TagExpires || key == TagTags) {
			c.remove = append(c.remove, key)
		}
	}
	for k, v := range want {
		if is, ok := values[k]; !ok || !newWording(p.sc.Plan, v).matches(is) {
			c.set[k] = v
		}
	}
	slices.Sort(c.remove)
	return c
}

func (p *place) applyTags(ctx context.Context, ids []string, c tagChange) error {
	if len(c.set) > 0 {
		err := settled(ctx, func() error {
			_, err := p.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: ids, Tags: tagList(c.set)})
			return err
		})
		if err != nil {
			return p.explain(ctx, "tagging %s: %w", strings.Join(ids, ", "), err)
		}
	}
	if len(c.remove) > 0 {
		var tags []types.Tag
		for _, k := range c.remove {
			tags = append(tags, types.Tag{Key: aws.String(k)})
		}
		err := settled(ctx, func() error {
			_, err := p.ec2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: ids, Tags: tags})
			return err
		})
		if err != nil {
			return p.explain(ctx, "removing tags of %s: %w", strings.Join(ids, ", "), err)
		}
	}
	if shown := c.shown(); shown != "" {
		p.changed("tags of %s: %s", strings.Join(ids, ", "), shown)
	}
	return nil
}

// shown is the change in words, without what bake keeps for itself.
func (c tagChange) shown() string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(c.set)) {
		if !strings.HasPrefix(k, "bake:") {
			words = append(words, k+"="+c.set[k])
		}
	}
	for _, k := range c.remove {
		if !strings.HasPrefix(k, "bake:") {
			words = append(words, "-"+k)
		}
	}
	return strings.Join(words, " ")
}

// setState says what has become of an image, unless it says so already.
func (p *place) setState(ctx context.Context, img types.Image, state string) error {
	if tagOf(img.Tags, amazon.TagState) == state {
		return nil
	}
	return p.applyTags(ctx, []string{*img.ImageId}, tagChange{set: map[string]string{amazon.TagState: state}})
}
