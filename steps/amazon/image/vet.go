package image

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"bake/builder"
	"bake/steps/amazon"
	"bake/templates"
)

// Vet tells, before anything starts, that the image a build is going to make in
// the region of an access could not be published as the template says: a name
// is taken, a key cannot be used, the account does not let AMIs be public. Such
// an error is a *builder.PlacedError of its output. It only reads.
func Vet(ctx context.Context, cloud *amazon.Cloud, a amazon.Access, p *builder.Plan, build string) error {
	b, ok := p.Build(build)
	if !ok {
		return fmt.Errorf("the plan has no build %q", build)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range b.Steps {
		if s.Phase != builder.Publish || s.Kind != Kind || s.If != "" {
			continue
		}
		o, err := outputOf(s)
		if err != nil {
			return err
		}
		o.deps.Cloud = cloud
		home, err := newPlace(ctx, o, &builder.Scope{Plan: p, Step: s.ID}, a)
		if err != nil {
			return err
		}
		home.home, home.homeRegion, home.silent = true, home.access.Region, true
		if o.concernsAccounts() {
			if home.owner, err = cloud.Account(ctx, home.access); err != nil {
				return err
			}
		}
		places, err := o.places(ctx, home)
		if err != nil {
			return err
		}
		for _, place := range places {
			place.silent = true
			g.Go(func() error {
				if err := place.vet(ctx, b); err != nil {
					return &builder.PlacedError{Pos: s.Pos, Err: err}
				}
				return nil
			})
		}
	}
	return g.Wait()
}

// concernsAccounts reports whether the template speaks of other accounts, from
// which the own one has to be told.
func (o *AMI) concernsAccounts() bool {
	return len(o.LaunchPermissions.grantees("")) > 0 || slices.ContainsFunc(o.Regions, func(c Copy) bool {
		return c.Profile != "" || len(c.Roles) > 0 || c.LaunchPermissions != nil
	})
}

// outputOf is an `ami` output of a plan, as far as it is known before it runs.
func outputOf(s builder.Step) (*AMI, error) {
	block, err := templates.FromJSON(s.Config, s.Pos, nil)
	if err != nil {
		return nil, err
	}
	o := new(AMI)
	return o, templates.Decode(block, o).Err()
}

func (p *place) vet(ctx context.Context, b builder.Build) error {
	made, err := p.vetName(ctx, b)
	if err != nil || made {
		return err
	}
	if _, err := p.usableKey(ctx); err != nil {
		return err
	}
	wanted := p.want.LaunchPermissions.grantees(p.owner)
	if len(wanted) == 0 {
		return nil
	}
	if slices.Contains(wanted, everyone) {
		if err := p.mayPublish(ctx, types.Image{ImageId: aws.String(p.want.Name)}); err != nil {
			return err
		}
	}
	return p.vetDefaultKey(ctx, wanted)
}

// vetName finds who has the name. It is true if that is what the build would
// make.
func (p *place) vetName(ctx context.Context, b builder.Build) (made bool, err error) {
	if p.want.Name == "" {
		return false, nil // not known yet
	}
	have, taken, err := p.named(ctx, p.want.Name)
	if err != nil || !taken || Leftover(have, p.sc.Plan.Name, b.Name) {
		return false, err
	}
	same := tagOf(have.Tags, amazon.TagTemplate) == p.sc.Plan.Name && tagOf(have.Tags, amazon.TagBuild) == b.Name
	if key := tagOf(have.Tags, amazon.TagKey); key != "" && key == string(b.Key) || same && b.Base != "" {
		return true, nil // what an image that is built on another has for its key is not known before
	}
	if p.want.IfExists == IfExistsKeep {
		return true, nil
	}
	return false, p.mayReplace(have)
}

// vetDefaultKey finds that the account's own key would be used, which is
// AWS's, and that nobody else could use the image then.
func (p *place) vetDefaultKey(ctx context.Context, wanted []grantee) error {
	if !p.encrypt() || p.want.KMSKey != "" {
		return nil
	}
	out, err := p.ec2.GetEbsDefaultKmsKeyId(ctx, &ec2.GetEbsDefaultKmsKeyIdInput{})
	if err != nil {
		return nil // the caller may not ask; publishing will tell
	}
	own, err := p.isDefaultKey(ctx, aws.ToString(out.KmsKeyId))
	if err != nil || !own {
		return err
	}
	return defaultKeyError("the AMI", wanted)
}

// defaultKeyError says why what is encrypted with AWS's own key stays private.
func defaultKeyError(what string, with []grantee) error {
	return &amazon.Explained{
		Err:  fmt.Errorf("sharing %s with %s: it is encrypted with AWS's own key for EBS, which no other account can use", what, join(with)),
		Cure: "name a key of your own in kms_key: and give the other accounts the use of it in its key policy",
	}
}

// Kept returns the image that a build need not make since one of its name is
// there and the template says if_exists: keep; builder.ErrNotFound if not.
func Kept(ctx context.Context, cloud *amazon.Cloud, a amazon.Access, p *builder.Plan, build string) (types.Image, error) {
	spec, err := Candidate(p, build)
	if err != nil {
		return types.Image{}, err
	}
	if spec.IfExists != IfExistsKeep || spec.Derived {
		return types.Image{}, builder.ErrNotFound
	}
	home, err := newPlace(ctx, &AMI{Name: spec.Name, deps: Deps{Cloud: cloud}}, &builder.Scope{Plan: p}, a)
	if err != nil {
		return types.Image{}, err
	}
	have, taken, err := home.named(ctx, spec.Name)
	switch {
	case err != nil:
		return types.Image{}, err
	case !taken || have.State != types.ImageStateAvailable:
		return types.Image{}, builder.ErrNotFound
	case tagOf(have.Tags, amazon.TagState) == stateCandidate:
		return types.Image{}, errors.Join(builder.ErrNotFound, fmt.Errorf("image %s is being made", *have.ImageId))
	}
	return have, nil
}
