package image

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"bake/steps/amazon"
)

// A grantee is who may launch an image: an account, an organization, an
// organizational unit, or everyone ("all").
type grantee string

const everyone grantee = "all"

func (g grantee) String() string {
	if g == everyone {
		return "everyone"
	}
	return string(g)
}

// grantees are those of the template. The owner needs no permission.
func (p Permissions) grantees(owner string) []grantee {
	var all []grantee
	for _, list := range [][]string{p.Accounts, p.Organizations, p.OrganizationalUnits} {
		for _, who := range list {
			if who != owner && who != "" {
				all = append(all, grantee(who))
			}
		}
	}
	if p.Public {
		all = append(all, everyone)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// granteeOf reads a permission of any kind; false for one of a kind that bake
// does not know, which is left alone.
func granteeOf(l types.LaunchPermission) (grantee, bool) {
	for _, who := range []string{aws.ToString(l.UserId), aws.ToString(l.OrganizationArn), aws.ToString(l.OrganizationalUnitArn), string(l.Group)} {
		if who != "" {
			return grantee(who), true
		}
	}
	return "", false
}

func (g grantee) launchPermission() types.LaunchPermission {
	who := string(g)
	switch {
	case g == everyone:
		return types.LaunchPermission{Group: types.PermissionGroupAll}
	case strings.Contains(who, ":organization/"):
		return types.LaunchPermission{OrganizationArn: &who}
	case strings.Contains(who, ":ou/"):
		return types.LaunchPermission{OrganizationalUnitArn: &who}
	}
	return types.LaunchPermission{UserId: &who}
}

// difference returns what is to be added to have and to be removed from it.
func difference(have, want []grantee) (add, remove []grantee) {
	for _, w := range want {
		if !slices.Contains(have, w) {
			add = append(add, w)
		}
	}
	for _, h := range have {
		if !slices.Contains(want, h) {
			remove = append(remove, h)
		}
	}
	return add, remove
}

// permit makes the launch permissions of an image, and the permissions to make
// volumes of its snapshots, what the template says.
func (p *place) permit(ctx context.Context, img types.Image) error {
	want := p.want.LaunchPermissions.grantees(p.owner)
	have, err := p.launchPermissions(ctx, *img.ImageId)
	if err != nil {
		return err
	}
	add, remove := difference(have, want)
	if err := p.mayShare(ctx, img, add); err != nil {
		return err
	}
	// Before the permissions, so that a run that dies between does it again.
	if err := p.shareKeys(ctx, img, want, remove); err != nil {
		return err
	}
	if err := p.modifyLaunchPermissions(ctx, img, add, remove); err != nil {
		return err
	}
	accounts := []grantee{}
	if p.want.ShareSnapshots {
		accounts = Permissions{Accounts: p.want.LaunchPermissions.Accounts}.grantees(p.owner)
	}
	return p.permitSnapshots(ctx, img, accounts)
}

// launchPermissions asks who may launch an image.
func (p *place) launchPermissions(ctx context.Context, id string) (all []grantee, err error) {
	if p.isFresh(id) {
		return nil, nil
	}
	var out *ec2.DescribeImageAttributeOutput
	err = settled(ctx, func() error {
		out, err = p.ec2.DescribeImageAttribute(ctx, &ec2.DescribeImageAttributeInput{ImageId: &id, Attribute: types.ImageAttributeNameLaunchPermission})
		return err
	})
	if err != nil {
		return nil, p.explain(ctx, "asking who may launch %s: %w", id, err)
	}
	for _, l := range out.LaunchPermissions {
		if g, ok := granteeOf(l); ok {
			all = append(all, g)
		}
	}
	return all, nil
}

func (p *place) modifyLaunchPermissions(ctx context.Context, img types.Image, add, remove []grantee) error {
	if len(add)+len(remove) == 0 {
		return nil
	}
	change := &types.LaunchPermissionModifications{}
	for _, g := range add {
		change.Add = append(change.Add, g.launchPermission())
	}
	for _, g := range remove {
		change.Remove = append(change.Remove, g.launchPermission())
	}
	// Adding who is there and removing who is not are no errors, so that the
	// call may be repeated.
	err := settled(ctx, func() error {
		_, err := p.ec2.ModifyImageAttribute(ctx, &ec2.ModifyImageAttributeInput{ImageId: img.ImageId, LaunchPermission: change})
		return err
	})
	if err != nil {
		return p.explain(ctx, "sharing image %s: %w", *img.ImageId, err)
	}
	if len(add) > 0 {
		p.changed("%s may be launched by %s", *img.ImageId, join(add))
	}
	if len(remove) > 0 {
		p.changed("%s may no longer be launched by %s", *img.ImageId, join(remove))
	}
	return nil
}

func join(all []grantee) string {
	words := make([]string, len(all))
	for i, g := range all {
		words[i] = g.String()
	}
	return strings.Join(words, ", ")
}

// permitSnapshots does the same for all snapshots of the image, at once.
func (p *place) permitSnapshots(ctx context.Context, img types.Image, want []grantee) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, id := range snapshotsOf(img) {
		g.Go(func() error { return p.permitSnapshot(ctx, id, want) })
	}
	return g.Wait()
}

// volumePermissions asks who may make volumes of a snapshot.
func (p *place) volumePermissions(ctx context.Context, id string) (have []grantee, err error) {
	if p.isFresh(id) {
		return nil, nil
	}
	var out *ec2.DescribeSnapshotAttributeOutput
	err = settled(ctx, func() (err error) {
		out, err = p.ec2.DescribeSnapshotAttribute(ctx, &ec2.DescribeSnapshotAttributeInput{SnapshotId: &id, Attribute: types.SnapshotAttributeNameCreateVolumePermission})
		return err
	})
	if err != nil {
		return nil, p.explain(ctx, "asking who may use snapshot %s: %w", id, err)
	}
	for _, v := range out.CreateVolumePermissions {
		if who := aws.ToString(v.UserId) + string(v.Group); who != "" {
			have = append(have, grantee(who))
		}
	}
	return have, nil
}

func (p *place) permitSnapshot(ctx context.Context, id string, want []grantee) error {
	have, err := p.volumePermissions(ctx, id)
	if err != nil {
		return err
	}
	add, remove := difference(have, want)
	if len(add)+len(remove) == 0 {
		return nil
	}
	change := &types.CreateVolumePermissionModifications{Add: volumePermissions(add), Remove: volumePermissions(remove)}
	err = settled(ctx, func() error {
		_, err := p.ec2.ModifySnapshotAttribute(ctx, &ec2.ModifySnapshotAttributeInput{
			SnapshotId: &id, Attribute: types.SnapshotAttributeNameCreateVolumePermission, CreateVolumePermission: change,
		})
		return err
	})
	if err != nil {
		return p.explain(ctx, "sharing snapshot %s: %w", id, err)
	}
	p.changed("%s is shared with %s", id, shownOr(want, "nobody"))
	return nil
}

func shownOr(all []grantee, none string) string {
	if len(all) == 0 {
		return none
	}
	return join(all)
}

func volumePermissions(all []grantee) []types.CreateVolumePermission {
	var out []types.CreateVolumePermission
	for _, g := range all {
		who := string(g)
		if g == everyone {
			out = append(out, types.CreateVolumePermission{Group: types.PermissionGroupAll})
		} else {
			out = append(out, types.CreateVolumePermission{UserId: &who})
		}
	}
	return out
}

// mayShare finds what AWS would refuse with words that do not help, before
// anything is changed.
func (p *place) mayShare(ctx context.Context, img types.Image, add []grantee) error {
	if len(add) == 0 {
		return nil
	}
	if slices.Contains(add, everyone) {
		if err := p.mayPublish(ctx, img); err != nil {
			return err
		}
	}
	keys, err := p.keysOf(ctx, img)
	if err != nil {
		return err
	}
	for _, key := range keys {
		own, err := p.isDefaultKey(ctx, key)
		if err != nil {
			return err
		}
		if own {
			return defaultKeyError("image "+*img.ImageId, add)
		}
	}
	return nil
}

// mayPublish tells why an image cannot be public.
func (p *place) mayPublish(ctx context.Context, img types.Image) error {
	for _, m := range img.BlockDeviceMappings {
		if m.Ebs != nil && aws.ToBool(m.Ebs.Encrypted) {
			return &amazon.Explained{Err: fmt.Errorf("making image %s public: its snapshots are encrypted", *img.ImageId), Cure: "an encrypted AMI can be shared with accounts and organizations only"}
		}
	}
	if len(img.ProductCodes) > 0 {
		return &amazon.Explained{
			Err:  fmt.Errorf("making image %s public: it has a product code of the AWS Marketplace (%s)", *img.ImageId, aws.ToString(img.ProductCodes[0].ProductCodeId)),
			Cure: "such an AMI can be shared with accounts and organizations only",
		}
	}
	out, err := p.ec2.GetImageBlockPublicAccessState(ctx, &ec2.GetImageBlockPublicAccessStateInput{})
	if err != nil {
		p.log("whether the account blocks public AMIs could not be asked: %v", err)
		return nil // the sharing itself tells
	}
	if state := aws.ToString(out.ImageBlockPublicAccessState); state == string(types.ImageBlockPublicAccessEnabledStateBlockNewSharing) {
		return &amazon.Explained{
			Err:  fmt.Errorf("making image %s public: account %s blocks public AMIs in %s (%s)", *img.ImageId, p.owner, p.label, state),
			Cure: "take public: true out of the template, or `aws ec2 disable-image-block-public-access --region " + p.access.Region + "`",
		}
	}
	return nil
}
