package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/internal/lazyregexp"
	"bake/steps/amazon"
)

// TagOrigin is on every image that was made of another image of the same
// build, by copying it or registering it anew: the id of the first.
const TagOrigin = "bake:origin"

// temporaryName is what TemporaryName makes.
var temporaryName = lazyregexp.New(` candidate [0-9a-f]{16}$`)

// originOf returns the id of the image that i comes from; its own if it is the first.
func originOf(i types.Image) string {
	if origin := tagOf(i.Tags, TagOrigin); origin != "" {
		return origin
	}
	return aws.ToString(i.ImageId)
}

// A NameTakenError is a name that another image of the account has.
type NameTakenError struct {
	Name, Region string
	Image        types.Image
}

func (e *NameTakenError) Error() string {
	what := ""
	if t := tagOf(e.Image.Tags, amazon.TagTemplate); t != "" {
		what = " of template " + t
	}
	return fmt.Sprintf("the name %q is taken in %s by %s%s, made %s", e.Name, e.Region, aws.ToString(e.Image.ImageId), what, aws.ToString(e.Image.CreationDate))
}

// Hint says how to get past it.
func (e *NameTakenError) Hint() string {
	return "put ${{ run.timestamp }} or a version into the name, or say if_exists: replace; `bake destroy " + aws.ToString(e.Image.ImageId) + "` removes the old one"
}

// make returns the image of this place under its name, which it makes of from,
// the image in its home, if it is not there. What else the template says of it
// is not done yet.
func (p *place) make(ctx context.Context, from types.Image) (types.Image, error) {
	if !registrable(from) && p.owner != aws.ToString(from.OwnerId) {
		return types.Image{}, &amazon.Explained{
			Err:  fmt.Errorf("image %s cannot be copied to account %s: AWS bills for what is on it", *from.ImageId, p.owner),
			Cure: "share it by launch_permissions: {accounts: [...]}, or build it in that account",
		}
	}
	all, err := p.relatives(ctx, from)
	if err != nil {
		return types.Image{}, err
	}
	if all, err = p.removeFailed(ctx, all); err != nil {
		return types.Image{}, err
	}
	key, err := p.usableKey(ctx)
	if err != nil {
		return types.Image{}, err
	}
	if all, err = p.encryptedAsAsked(ctx, all, key); err != nil {
		return types.Image{}, err
	}
	fits := func(i types.Image) bool { return p.name.matches(aws.ToString(i.Name)) && p.registeredAsAsked(i) }
	if n := slices.IndexFunc(all, fits); n >= 0 {
		return p.available(ctx, *all[n].ImageId, "waiting for")
	}
	name := p.newName(from)
	old, taken, err := p.named(ctx, name)
	if err != nil {
		return types.Image{}, err
	}
	if taken {
		if p.want.IfExists == IfExistsKeep && originOf(old) != p.origin {
			return p.available(ctx, *old.ImageId, "waiting for")
		}
		if err := p.mayReplace(old); err != nil {
			return types.Image{}, err
		}
	}
	base, err := p.base(ctx, from, all, name, taken)
	if err != nil || base.final {
		return base.Image, err
	}
	return p.rename(ctx, base.Image, name, old)
}

// relatives returns the images of this place that come from the same first
// image, the newest first.
func (p *place) relatives(ctx context.Context, from types.Image) ([]types.Image, error) {
	switch { // nobody can have made another of it yet, but for this very run
	case len(p.made) > 0:
	case p.fresh != nil:
		return []types.Image{from}, nil
	case p.alone:
		return nil, nil
	}
	all, err := p.images(ctx, amazon.Filter("tag:"+TagOrigin, p.origin))
	if err != nil || !p.home {
		return all, err
	}
	if !slices.ContainsFunc(all, func(i types.Image) bool { return aws.ToString(i.ImageId) == aws.ToString(from.ImageId) }) {
		all = append([]types.Image{from}, all...)
	}
	return all, nil
}

// removeFailed removes what an earlier run has begun and AWS has given up.
func (p *place) removeFailed(ctx context.Context, all []types.Image) ([]types.Image, error) {
	var good []types.Image
	for _, i := range all {
		switch i.State {
		case types.ImageStateAvailable, types.ImageStatePending, types.ImageStateTransient:
			good = append(good, i)
		case types.ImageStateFailed, types.ImageStateError, types.ImageStateInvalid:
			p.log("removing %s of an earlier run: %v", *i.ImageId, imageFailed(i))
			if err := p.remove(ctx, i); err != nil {
				return nil, err
			}
		}
	}
	return good, nil
}

// Leftover reports whether an image is one that AWS has failed to make for an
// earlier run of a template's build: nobody can use it, and nobody waits for it.
func Leftover(i types.Image, template, build string) bool {
	over := i.State == types.ImageStateFailed || i.State == types.ImageStateError || i.State == types.ImageStateInvalid
	return over && tagOf(i.Tags, amazon.TagState) != stateReady && tagOf(i.Tags, amazon.TagTemplate) == template && tagOf(i.Tags, amazon.TagBuild) == build
}

// encryptedAsAsked returns those of the images that the template's words on
// encryption hold for. key is the ARN of the key that is asked for, "" if any
// will do.
func (p *place) encryptedAsAsked(ctx context.Context, all []types.Image, key string) ([]types.Image, error) {
	var good []types.Image
	for _, i := range all {
		ok, err := p.isEncryptedAsAsked(ctx, i, key)
		if err != nil {
			return nil, err
		}
		if ok {
			good = append(good, i)
		}
	}
	return good, nil
}

func (p *place) isEncryptedAsAsked(ctx context.Context, i types.Image, key string) (bool, error) {
	if i.State != types.ImageStateAvailable {
		return true, nil // what is being made was asked for by this template
	}
	encrypted := false
	for _, m := range i.BlockDeviceMappings {
		encrypted = encrypted || m.Ebs != nil && aws.ToBool(m.Ebs.Encrypted)
	}
	if !p.encrypt() {
		if encrypted && p.want.Encrypt != nil && p.home {
			return false, &amazon.Explained{
				Err:  fmt.Errorf("image %s is encrypted and encrypt: false is asked for: AWS does not take encryption away again", *i.ImageId),
				Cure: "build from an AMI that is not encrypted, in an account that does not encrypt by default",
			}
		}
		return true, nil
	}
	if !encrypted || key == "" {
		return encrypted, nil
	}
	keys, err := p.keysOf(ctx, i)
	return slices.Equal(keys, []string{key}), err
}

// encrypt reports whether the template asks for encryption.
func (p *place) encrypt() bool {
	return p.want.KMSKey != "" || p.want.Encrypt != nil && *p.want.Encrypt
}

// registeredAsAsked reports whether what can be said only when an image is
// registered is as the template says.
func (p *place) registeredAsAsked(i types.Image) bool {
	o := p.want
	return (o.BootMode == "" || string(i.BootMode) == o.BootMode) &&
		(o.TPM == "" || string(i.TpmSupport) == o.TPM) &&
		(o.ENA == nil || aws.ToBool(i.EnaSupport) == *o.ENA)
}

// newName is what a new image is called. If only the run differs, a copy is
// called what the image is called that it is a copy of.
func (p *place) newName(from types.Image) string {
	if have := aws.ToString(from.Name); p.name.matches(have) {
		return have
	}
	return p.name.text
}

// mayReplace returns why the image that has the name has to stay.
func (p *place) mayReplace(old types.Image) error {
	own := originOf(old) == p.origin
	if !own && p.want.IfExists != IfExistsReplace {
		return &NameTakenError{Name: aws.ToString(old.Name), Region: p.label, Image: old}
	}
	if isProtected(old) {
		return &amazon.Explained{
			Err:  fmt.Errorf("replacing image %s in %s: it is protected against being deregistered", *old.ImageId, p.label),
			Cure: "`bake destroy --unprotect " + *old.ImageId + "`, or `aws ec2 disable-image-deregistration-protection`",
		}
	}
	return nil
}

// A base is an image to get the wanted one from; final if it is that already.
type base struct {
	types.Image
	final bool
}

// base returns an image of this place that needs only its name: one that is
// there, or a copy. A copy gets its name at once if nobody has it.
func (p *place) base(ctx context.Context, from types.Image, all []types.Image, name string, taken bool) (base, error) {
	if len(all) > 0 {
		img, err := p.available(ctx, *all[0].ImageId, "waiting for")
		return base{Image: img}, err
	}
	if taken || !p.registeredAsAsked(from) {
		img, err := p.copy(ctx, from, "", name)
		return base{Image: img}, err
	}
	img, err := p.copy(ctx, from, name, name)
	return base{img, true}, err
}

// rename makes an image of its own under the name out of one that has another,
// and removes the image that has the name now. The old one goes as late as
// names allow: when all is ready for the new one, which is there in seconds
// then. What AWS bills for cannot be registered again and is copied instead.
func (p *place) rename(ctx context.Context, from types.Image, name string, old types.Image) (types.Image, error) {
	if !registrable(from) && !p.registeredAsAsked(from) {
		return types.Image{}, fmt.Errorf("image %s cannot be registered anew with another boot mode, TPM or ENA: AWS bills for what is on it", *from.ImageId)
	}
	if old.ImageId != nil {
		if *old.ImageId == *from.ImageId { // it must not be gone before there is another
			var err error
			if from, err = p.register(ctx, from, "", name); err != nil {
				return types.Image{}, err
			}
		}
		// From here on until the end, this is all there is of the image.
		if err := p.setState(ctx, from, stateReady); err != nil {
			return types.Image{}, err
		}
		if err := p.makeWay(ctx, old); err != nil {
			return types.Image{}, err
		}
	}
	if registrable(from) {
		return p.register(ctx, from, name, name)
	}
	return p.copyHere(ctx, from, name)
}

// registrable reports whether RegisterImage can make the same image of the
// snapshots. Billing codes get lost by it (EC2 user guide, "Understand AMI
// billing information"), and the platform of Windows.
func registrable(i types.Image) bool {
	usage := aws.ToString(i.UsageOperation)
	return len(i.ProductCodes) == 0 && i.Platform == "" && (usage == "" || usage == "RunInstances")
}

func isProtected(i types.Image) bool {
	return strings.HasPrefix(aws.ToString(i.DeregistrationProtection), "enabled")
}

// create makes an image through the scope, so that a crash leaves it findable.
func (p *place) create(ctx context.Context, what, doing string, call func(ctx context.Context, r builder.Resource) (string, error)) (types.Image, error) {
	r, err := p.sc.Create(ctx, builder.Resource{Kind: ResourceKind, Name: what + " " + p.label, Where: p.access.Where()}, call)
	if err != nil {
		return types.Image{}, p.explain(ctx, "%w", err)
	}
	img, err := p.available(ctx, r.ID, doing)
	if err != nil {
		if errors.Is(err, builder.ErrNotFound) {
			err = fmt.Errorf("%w: has somebody removed it?", err)
		}
		return types.Image{}, err
	}
	p.made = append(p.made, r)
	return img, nil
}
