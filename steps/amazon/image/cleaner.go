package image

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/steps/amazon"
)

// ResourceKind is the kind of the images that publishing makes.
const ResourceKind = "ami-copy"

// Cleaners returns what removes copies and launch templates that were not
// finished.
func Cleaners(d Deps) map[string]builder.Cleaner {
	return map[string]builder.Cleaner{ResourceKind: cleaner{d.Cloud}, TemplateResourceKind: templateCleaner{d.Cloud}}
}

// A cleaner removes images that a run has begun to make. One that is ready is a
// product, whatever has become of the run: it is found by its tags and used
// when the template is built again, and perhaps by others already.
type cleaner struct{ cloud *amazon.Cloud }

// Lag is how long a new image may not be found by its tags.
func (cleaner) Lag() time.Duration { return 15 * time.Second }

// Find looks for the image by the token it was tagged with.
func (c cleaner) Find(ctx context.Context, r builder.Resource) (string, error) {
	client, a, err := c.connect(ctx, r)
	if err != nil {
		return "", err
	}
	out, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{
		Owners: []string{"self"}, IncludeDeprecated: aws.Bool(true), IncludeDisabled: aws.Bool(true),
		Filters: []types.Filter{amazon.Filter("tag:"+amazon.TagToken, r.Token)},
	})
	switch {
	case err != nil:
		return "", c.cloud.Explain(ctx, a, fmt.Errorf("looking for image %s: %w", r.Name, err))
	case len(out.Images) == 0:
		return "", builder.ErrNotFound
	}
	return aws.ToString(out.Images[0].ImageId), nil
}

// Delete deregisters the image and deletes its snapshots.
func (c cleaner) Delete(ctx context.Context, r builder.Resource) error {
	client, a, err := c.connect(ctx, r)
	if err != nil {
		return err
	}
	out, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{
		Owners: []string{"self"}, IncludeDeprecated: aws.Bool(true), IncludeDisabled: aws.Bool(true),
		Filters: []types.Filter{amazon.Filter("image-id", r.ID)},
	})
	if err != nil {
		return c.cloud.Explain(ctx, a, fmt.Errorf("looking for image %s: %w", r.ID, err))
	}
	img := types.Image{ImageId: &r.ID}
	if len(out.Images) > 0 {
		img = out.Images[0]
	}
	if tagOf(img.Tags, amazon.TagState) == stateReady {
		return nil
	}
	snaps, err := c.snapshots(ctx, client, r)
	if err = errors.Join(err, removeImage(ctx, client, img), deleteSnapshots(ctx, client, snaps)); err != nil {
		return c.cloud.Explain(ctx, a, err)
	}
	return nil
}

// snapshots returns the ids of the snapshots that the image's copying has made
// so far, which the image does not show before they are complete.
func (c cleaner) snapshots(ctx context.Context, client *ec2.Client, r builder.Resource) ([]string, error) {
	out, err := client.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{amazon.Filter("tag:"+amazon.TagToken, r.Token)}})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, s := range out.Snapshots {
		ids = append(ids, aws.ToString(s.SnapshotId))
	}
	return ids, nil
}

func (c cleaner) connect(ctx context.Context, r builder.Resource) (*ec2.Client, amazon.Access, error) {
	a, err := amazon.ParseAccess(r.Where)
	if err != nil {
		return nil, a, err
	}
	cfg, err := c.cloud.Config(ctx, a)
	if err != nil {
		return nil, a, err
	}
	return ec2.NewFromConfig(cfg), a, nil
}
