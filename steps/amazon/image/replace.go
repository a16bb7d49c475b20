package image

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/steps/amazon"
)

// tagReplaced is on the snapshots of an image that made way: the name that it
// had. They are removed when the new image is there, also after a crash: it has
// the tag too until they are.
const tagReplaced = "bake:replaced"

// makeWay takes the name from the image that has it. Its snapshots stay until
// the new image is there.
func (p *place) makeWay(ctx context.Context, old types.Image) error {
	if snaps := snapshotsOf(old); len(snaps) > 0 {
		_, err := p.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: snaps, Tags: tagList(map[string]string{tagReplaced: tagText(aws.ToString(old.Name))})})
		if err != nil {
			return p.explain(ctx, "marking the snapshots of %s: %w", *old.ImageId, err)
		}
	}
	if err := p.returnKeys(ctx, old); err != nil {
		return err
	}
	_, err := p.ec2.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: old.ImageId})
	if err != nil && !amazon.IsCode(err, "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable") {
		return p.explain(ctx, "removing image %s, which has the name %q: %w", *old.ImageId, aws.ToString(old.Name), err)
	}
	p.changed("removed %s, which had the name %q", *old.ImageId, aws.ToString(old.Name))
	return nil
}

// removeReplaced removes the snapshots of images that have made way.
func (p *place) removeReplaced(ctx context.Context, img types.Image) error {
	name := tagOf(img.Tags, tagReplaced)
	if name == "" {
		return nil
	}
	out, err := p.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{amazon.Filter("tag:"+tagReplaced, amazon.Literal(name))}})
	if err != nil {
		return p.explain(ctx, "looking for snapshots of replaced images: %w", err)
	}
	for _, s := range out.Snapshots {
		_, err := p.ec2.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: s.SnapshotId})
		switch {
		case err == nil:
			p.changed("removed snapshot %s of a replaced image", *s.SnapshotId)
		case amazon.IsCode(err, "InvalidSnapshot.NotFound"):
		case amazon.IsCode(err, "InvalidSnapshot.InUse"): // another image uses it, which will remove it
			if _, err := p.ec2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: []string{*s.SnapshotId}, Tags: []types.Tag{{Key: aws.String(tagReplaced)}}}); err != nil {
				return p.explain(ctx, "unmarking snapshot %s: %w", *s.SnapshotId, err)
			}
		default:
			return p.explain(ctx, "removing snapshot %s: %w", *s.SnapshotId, err)
		}
	}
	return p.applyTags(ctx, []string{*img.ImageId}, tagChange{remove: []string{tagReplaced}})
}

// tagText is a text as the value of a tag.
func tagText(s string) string { return s[:min(len(s), tagValueMax)] }

// removeTemporary removes what the image was called until it got its name.
func (p *place) removeTemporary(ctx context.Context, from, img types.Image) error {
	all, err := p.relatives(ctx, from)
	if err != nil {
		return err
	}
	for _, i := range all {
		if aws.ToString(i.ImageId) == aws.ToString(img.ImageId) || !temporaryName.MatchString(aws.ToString(i.Name)) {
			continue
		}
		if err := p.removeBeside(ctx, i, img); err != nil {
			return err
		}
		p.changed("removed %s, which had a temporary name", *i.ImageId)
	}
	return nil
}

// removeBeside removes an image whose snapshots another may have: then it does
// not even ask for their deletion.
func (p *place) removeBeside(ctx context.Context, i, other types.Image) error {
	if !slices.ContainsFunc(snapshotsOf(i), func(id string) bool { return slices.Contains(snapshotsOf(other), id) }) {
		return p.remove(ctx, i)
	}
	if err := p.returnKeys(ctx, i); err != nil {
		return err
	}
	err := amazon.OnceGranted(ctx, func() error {
		_, err := p.ec2.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: i.ImageId})
		return err
	})
	if err != nil && !amazon.IsCode(err, "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable") {
		return p.explain(ctx, "removing image %s in %s: %w", aws.ToString(i.ImageId), p.label, err)
	}
	return nil
}

// remove deregisters an image with its snapshots, but for those that other
// images have.
func (p *place) remove(ctx context.Context, i types.Image) error {
	if err := p.returnKeys(ctx, i); err != nil {
		return err
	}
	if err := removeImage(ctx, p.ec2, i); err != nil {
		return p.explain(ctx, "removing image %s in %s: %w", aws.ToString(i.ImageId), p.label, err)
	}
	return nil
}

// removeImage deregisters an image and deletes its snapshots. AWS keeps those
// that other images have; that of an image which is being made are deleted one
// by one, since AWS does not count them as its own yet.
func removeImage(ctx context.Context, client *ec2.Client, i types.Image) error {
	var out *ec2.DeregisterImageOutput
	err := amazon.OnceGranted(ctx, func() (err error) {
		out, err = client.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: i.ImageId, DeleteAssociatedSnapshots: aws.Bool(true)})
		return err
	})
	if err != nil {
		if !amazon.IsCode(err, "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable") {
			return err
		}
		return deleteSnapshots(ctx, client, snapshotsOf(i))
	}
	for _, r := range out.DeleteSnapshotResults {
		switch code := string(r.ReturnCode); r.ReturnCode {
		case types.SnapshotReturnCodesSuccess, types.SnapshotReturnCodesWarnSkipped:
		default:
			if err := deleteSnapshots(ctx, client, []string{aws.ToString(r.SnapshotId)}); err != nil {
				return fmt.Errorf("%s: %w", code, err)
			}
		}
	}
	return nil
}

// deleteSnapshots deletes what no image uses.
func deleteSnapshots(ctx context.Context, client *ec2.Client, ids []string) error {
	for _, id := range ids {
		err := amazon.OnceGranted(ctx, func() error {
			_, err := client.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: &id})
			return err
		})
		if err != nil && !amazon.IsCode(err, "InvalidSnapshot.NotFound", "InvalidSnapshot.InUse") {
			return fmt.Errorf("deleting snapshot %s: %w", id, err)
		}
	}
	return nil
}
