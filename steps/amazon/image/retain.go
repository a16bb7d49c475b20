package image

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/steps/amazon"
)

// launchedLately is how long after its last start an older image is kept:
// accounts that it is shared with may use it, and this account cannot see their
// instances. AWS tells the day of the last start of any.
const launchedLately = 7 * 24 * time.Hour

// retain removes older images of the same build, all but the newest few, as
// far as nobody is known to use them.
func (p *place) retain(ctx context.Context, current types.Image) error {
	if p.want.Keep == 0 {
		return nil
	}
	all, err := p.images(ctx, amazon.Filter("tag:"+amazon.TagTemplate, p.sc.Plan.Name), amazon.Filter("tag:"+amazon.TagBuild, p.sc.Step.Build()), amazon.Filter("tag:"+amazon.TagState, stateReady))
	if err != nil {
		return err
	}
	var old []types.Image
	left := p.want.Keep - 1
	for _, i := range all { // the newest first
		if originOf(i) == p.origin || aws.ToString(i.CreationDate) > aws.ToString(current.CreationDate) {
			continue
		}
		if left--; left < 0 {
			old = append(old, i)
		}
	}
	used, err := uses(ctx, p.ec2, idsOf(old))
	if err != nil {
		return p.explain(ctx, "keeping %d images: %w", p.want.Keep, err)
	}
	for _, i := range old {
		why, err := p.mustStay(ctx, i, used[*i.ImageId])
		switch {
		case err != nil:
			return err
		case why != "":
			p.log("%s (%s) stays: %s", *i.ImageId, aws.ToString(i.Name), why)
			continue
		}
		if err := p.remove(ctx, i); err != nil {
			return err
		}
		p.changed("removed %s (%s), of which there are %d newer ones", *i.ImageId, aws.ToString(i.Name), p.want.Keep)
	}
	return nil
}

func idsOf(images []types.Image) []string {
	var ids []string
	for _, i := range images {
		ids = append(ids, aws.ToString(i.ImageId))
	}
	return ids
}

// mustStay returns why an older image is not removed; "" if it may be.
func (p *place) mustStay(ctx context.Context, i types.Image, used []string) (string, error) {
	if len(used) > 0 {
		return "used by " + used[0], nil
	}
	if isProtected(i) {
		return "it is protected against being deregistered", nil
	}
	if t, err := time.Parse(time.RFC3339, aws.ToString(i.LastLaunchedTime)); err == nil && time.Since(t) < launchedLately {
		return "it was launched on " + t.Format(time.DateOnly), nil
	}
	have, err := p.launchPermissions(ctx, *i.ImageId)
	if err != nil {
		return "", err
	}
	if others := slices.DeleteFunc(have, func(g grantee) bool {
		return slices.Contains(p.want.LaunchPermissions.grantees(p.owner), g)
	}); len(others) > 0 {
		return "it is shared with " + join(others), nil
	}
	return "", nil
}
