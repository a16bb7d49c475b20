package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/steps/amazon"
)

// Publish brings about what the template says of the AMI: its name, its
// copies, who may use them. It is all compared with what is there, so that a
// second run changes nothing.
func (o *AMI) Publish(ctx context.Context, sc *builder.Scope, in builder.Artifact) (builder.Published, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, &amazon.Explained{
		Err: fmt.Errorf("publishing the AMI has taken longer than %s", o.Timeout), Cure: "raise the output's timeout:",
	})
	defer cancel()
	home, from, err := o.home(ctx, sc, *in.AMI)
	if err != nil {
		return builder.Published{}, err
	}
	places, err := o.places(ctx, home)
	if err != nil {
		return builder.Published{}, err
	}
	images, err := o.everywhere(ctx, places, from)
	for _, p := range places {
		for _, r := range p.made {
			sc.Keep(r)
		}
	}
	if err != nil {
		return builder.Published{}, err
	}
	if err := o.tidy(ctx, places, from, images); err != nil {
		return builder.Published{}, err
	}
	return o.published(places, images, *in.AMI), nil
}

// home returns the place where the image was made, and the image.
func (o *AMI) home(ctx context.Context, sc *builder.Scope, in builder.AMI) (*place, types.Image, error) {
	access := amazon.Access{Region: in.Region}
	if in.Access != "" {
		var err error
		if access, err = amazon.ParseAccess(in.Access); err != nil {
			return nil, types.Image{}, err
		}
	}
	p, err := newPlace(ctx, o, sc, access)
	if err != nil {
		return nil, types.Image{}, err
	}
	p.home, p.homeRegion = true, p.access.Region
	if made, ok := p.cloud.TakeFresh(in.ID); ok {
		p.fresh = &made
		p.owner, p.origin = aws.ToString(made.Image.OwnerId), originOf(made.Image)
		return p, made.Image, nil
	}
	img, err := p.find(ctx, in.ID)
	if err != nil {
		return nil, types.Image{}, err
	}
	p.owner, p.origin = aws.ToString(img.OwnerId), originOf(img)
	return p, img, nil
}

// find returns the image. If an earlier run has got as far as to give it its
// name, it is another one now, which tells of its origin.
func (p *place) find(ctx context.Context, id string) (types.Image, error) {
	found, err := p.images(ctx, amazon.Filter("image-id", id))
	if err != nil || len(found) > 0 {
		return first(found), err
	}
	if found, err = p.images(ctx, amazon.Filter("tag:"+TagOrigin, id), amazon.Filter("state", string(types.ImageStateAvailable))); err != nil || len(found) > 0 {
		return first(found), err
	}
	img, err := p.available(ctx, id, "waiting for") // it may not be known everywhere yet
	if errors.Is(err, builder.ErrNotFound) {
		return img, &amazon.Explained{Err: err, Cure: "it was removed since it was made: build it anew with --no-cache"}
	}
	return img, err
}

func first(all []types.Image) types.Image {
	if len(all) == 0 {
		return types.Image{}
	}
	return all[0]
}

// places returns the home and then the copies' places. The home's own region
// among the copies means nothing more.
func (o *AMI) places(ctx context.Context, home *place) ([]*place, error) {
	all := []*place{home}
	for _, c := range o.Regions {
		access := c.access(home.access)
		p, err := newPlace(ctx, o.at(c), home.sc, access)
		if err != nil {
			return nil, err
		}
		p.owner, p.origin, p.homeRegion, p.alone = home.owner, home.origin, home.access.Region, home.fresh != nil
		if c.Profile != "" || len(c.Roles) > 0 {
			if p.owner, err = o.deps.Cloud.Account(ctx, access); err != nil {
				return nil, err
			}
		}
		if p.owner != home.owner {
			p.label += "/" + p.owner
		} else if c.Region == home.access.Region {
			continue
		}
		all = append(all, p)
	}
	return all, nil
}

// access is who copies: whoever has made the image, unless the template names a
// profile or roles, which are assumed from there.
func (c Copy) access(home amazon.Access) amazon.Access {
	a := home.In(c.Region)
	if c.Profile != "" {
		a.Profile, a.Roles = c.Profile, nil
	}
	a.Roles = append(slices.Clone(a.Roles), c.Roles...)
	return a
}

// at is what the template says of the AMI where the copy is.
func (o *AMI) at(c Copy) *AMI {
	out := *o
	out.Regions = nil
	if c.Name != "" {
		out.Name = c.Name
	}
	if c.Description != "" {
		out.Description = c.Description
	}
	if len(c.Tags) > 0 {
		out.Tags = maps.Clone(o.Tags)
		if out.Tags == nil {
			out.Tags = map[string]string{}
		}
		maps.Copy(out.Tags, c.Tags)
	}
	if c.Encrypt != nil {
		out.Encrypt = c.Encrypt
	}
	if c.KMSKey != "" {
		out.KMSKey = c.KMSKey
	}
	if c.LaunchPermissions != nil {
		out.LaunchPermissions = *c.LaunchPermissions
	}
	// These are of the image itself, which a copy takes over.
	out.BootMode, out.TPM, out.ENA = "", "", nil
	return &out
}

// everywhere brings the image about in all places at once. What fails in one
// does not stop the others: what they have done will be there the next time.
func (o *AMI) everywhere(ctx context.Context, places []*place, from types.Image) ([]types.Image, error) {
	home := places[0]
	borrowers, err := borrowers(ctx, places, from)
	if err != nil {
		return nil, err
	}
	if err := home.lend(ctx, from, borrowers); err != nil {
		return nil, err
	}
	images, errs := make([]types.Image, len(places)), make([]error, len(places))
	var all sync.WaitGroup
	for i, p := range places {
		all.Go(func() {
			if images[i], errs[i] = p.make(ctx, from); errs[i] == nil {
				errs[i] = p.repair(ctx, images[i], !p.home || len(borrowers) == 0)
			}
			if errs[i] != nil && !p.home {
				errs[i] = fmt.Errorf("copy in %s: %w", p.label, errs[i])
			}
		})
	}
	all.Wait()
	if len(borrowers) > 0 && images[0].ImageId != nil {
		errs = append(errs, home.permit(ctx, images[0]))
	}
	return images, errors.Join(errs...)
}

// borrowers are the other accounts that have copies to make, for which they
// have to be allowed to use the image.
func borrowers(ctx context.Context, places []*place, from types.Image) ([]grantee, error) {
	var all []grantee
	for _, p := range places {
		if p.owner == places[0].owner || slices.Contains(all, grantee(p.owner)) {
			continue
		}
		have, err := p.images(ctx, amazon.Filter("tag:"+TagOrigin, p.origin), amazon.Filter("state", string(types.ImageStateAvailable)))
		if err != nil {
			return nil, fmt.Errorf("copy in %s: %w", p.label, err)
		}
		key, err := p.usableKey(ctx)
		if err != nil {
			return nil, fmt.Errorf("copy in %s: %w", p.label, err)
		}
		if have, err = p.encryptedAsAsked(ctx, have, key); err != nil {
			return nil, err
		}
		if len(have) == 0 {
			all = append(all, grantee(p.owner))
		}
	}
	return all, nil
}

// lend lets other accounts use the image for as long as they copy it.
func (p *place) lend(ctx context.Context, img types.Image, to []grantee) error {
	if len(to) == 0 {
		return nil
	}
	p.fresh = nil // it is shared from here on
	have, err := p.launchPermissions(ctx, *img.ImageId)
	if err != nil {
		return err
	}
	add, _ := difference(have, to)
	if err := p.mayShare(ctx, img, add); err != nil {
		return err
	}
	if err := p.shareKeys(ctx, img, to, nil); err != nil {
		return err
	}
	if err := p.modifyLaunchPermissions(ctx, img, add, nil); err != nil {
		return err
	}
	want := append(slices.Clone(to), Permissions{Accounts: p.want.LaunchPermissions.Accounts}.grantees(p.owner)...)
	slices.Sort(want)
	return p.permitSnapshots(ctx, img, slices.Compact(want))
}

// tidy removes what is not needed once all is there.
func (o *AMI) tidy(ctx context.Context, places []*place, from types.Image, images []types.Image) error {
	var errs []error
	for i, p := range places {
		errs = append(errs, p.removeTemporary(ctx, from, images[i]))
		errs = append(errs, p.removeReplaced(ctx, images[i]))
		errs = append(errs, p.retain(ctx, images[i]))
	}
	return errors.Join(errs...)
}

// published tells what is where.
func (o *AMI) published(places []*place, images []types.Image, in builder.AMI) builder.Published {
	home := images[0]
	id, name := aws.ToString(home.ImageId), aws.ToString(home.Name)
	values := map[string]string{
		"id": id, "name": name, "region": places[0].access.Region, "account": places[0].owner,
		"snapshots": strings.Join(snapshotsOf(home), ","),
	}
	var list, elsewhere []string
	unchanged := true
	for i, p := range places {
		values[p.label] = aws.ToString(images[i].ImageId)
		list = append(list, p.label+"="+values[p.label])
		unchanged = unchanged && len(p.done) == 0
		if i > 0 {
			elsewhere = append(elsewhere, p.label+" ("+values[p.label]+")")
		}
	}
	values["images"] = strings.Join(list, ",")
	summary := fmt.Sprintf("%s %q in %s", id, name, places[0].label)
	if len(elsewhere) > 0 {
		summary += ", copies in " + strings.Join(elsewhere, ", ")
	}
	out := builder.Published{Values: values, Summary: summary, Unchanged: unchanged}
	if in.ID != id {
		in.ID, in.Name, in.Snapshots = id, name, snapshotsOf(home)
		out.Artifact = &builder.Artifact{AMI: &in}
	}
	return out
}
