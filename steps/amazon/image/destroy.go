package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"bake/builder"
	"bake/steps/amazon"
	"bake/templates"
)

// A Query says which images to destroy.
type Query struct {
	// Name is an AMI's id or its name, in the region of the access that is asked.
	Name string
	// Plan, instead of a name, stands for every image that its builds have
	// made, in all regions and in the other accounts that it copies to.
	Plan *builder.Plan
}

// A Target is an image that could be destroyed.
type Target struct {
	Access    amazon.Access
	Account   string
	Region    string
	ID        string
	Name      string
	Created   string // RFC 3339
	State     string
	Template  string // and Build: what made it, if bake did
	Build     string
	Snapshots []string
	Protected bool     // against being deregistered
	Uses      []string // what would miss it, in words

	image types.Image
}

// Find returns the images that a query means, with all their copies: those in
// other regions, and those that were made under another name.
func Find(ctx context.Context, cloud *amazon.Cloud, a amazon.Access, q Query) ([]Target, error) {
	h := &hunt{cloud: cloud, seen: map[string]bool{}}
	if q.Plan != nil {
		return h.ofPlan(ctx, a, q.Plan)
	}
	return h.named(ctx, a, q.Name)
}

// A hunt looks for images in many regions at once.
type hunt struct {
	cloud *amazon.Cloud

	mu    sync.Mutex
	seen  map[string]bool
	found []Target
}

// named finds one image and then what comes from the same first image.
func (h *hunt) named(ctx context.Context, a amazon.Access, name string) ([]Target, error) {
	filter := amazon.Filter("name", amazon.Literal(name))
	if strings.HasPrefix(name, "ami-") {
		filter = amazon.Filter("image-id", name)
	}
	images, err := h.look(ctx, a, filter)
	if err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("image %s: %w", name, builder.ErrNotFound)
	}
	all, err := h.regions(ctx, a)
	if err != nil {
		return nil, err
	}
	for _, i := range images {
		origin := originOf(i)
		err := h.everywhere(ctx, all, amazon.Filter("tag:"+TagOrigin, origin))
		if _, here := h.look(ctx, a, amazon.Filter("image-id", origin)); err == nil {
			err = here
		}
		if err != nil {
			return nil, err
		}
	}
	return h.finish(ctx)
}

// ofPlan finds what the builds of a plan have made.
func (h *hunt) ofPlan(ctx context.Context, a amazon.Access, p *builder.Plan) ([]Target, error) {
	all, err := h.regions(ctx, a)
	if err != nil {
		return nil, err
	}
	var builds []string
	for _, b := range p.Builds {
		builds = append(builds, b.Name)
		for _, s := range b.Steps {
			if s.Phase != builder.Publish || s.Kind != Kind {
				continue
			}
			o, err := outputOf(s)
			if err != nil {
				return nil, err
			}
			for _, c := range o.Regions {
				if c.Profile != "" || len(c.Roles) > 0 {
					all = append(all, c.access(a))
				}
			}
		}
	}
	if err := h.everywhere(ctx, all, amazon.Filter("tag:"+amazon.TagTemplate, p.Name), amazon.Filter("tag:"+amazon.TagBuild, builds...)); err != nil {
		return nil, err
	}
	return h.finish(ctx)
}

// regions returns the access to every region that the account has enabled.
func (h *hunt) regions(ctx context.Context, a amazon.Access) ([]amazon.Access, error) {
	cfg, err := h.cloud.Config(ctx, a)
	if err != nil {
		return nil, err
	}
	out, err := ec2.NewFromConfig(cfg).DescribeRegions(ctx, &ec2.DescribeRegionsInput{})
	if err != nil {
		return nil, h.cloud.Explain(ctx, a, fmt.Errorf("listing regions: %w", err))
	}
	var all []amazon.Access
	for _, r := range out.Regions {
		all = append(all, a.In(aws.ToString(r.RegionName)))
	}
	return all, nil
}

func (h *hunt) everywhere(ctx context.Context, all []amazon.Access, filters ...types.Filter) error {
	errs := make([]error, len(all))
	var looks sync.WaitGroup
	for i, a := range all {
		looks.Go(func() { _, errs[i] = h.look(ctx, a, filters...) })
	}
	looks.Wait()
	return errors.Join(errs...)
}

// look asks one region and notes what it has.
func (h *hunt) look(ctx context.Context, a amazon.Access, filters ...types.Filter) ([]types.Image, error) {
	cfg, err := h.cloud.Config(ctx, a)
	if err != nil {
		return nil, err
	}
	p := &place{cloud: h.cloud, access: a.In(cfg.Region), ec2: ec2.NewFromConfig(cfg), label: cfg.Region, silent: true}
	images, err := p.images(ctx, filters...)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, i := range images {
		id := aws.ToString(i.OwnerId) + cfg.Region + aws.ToString(i.ImageId)
		if h.seen[id] {
			continue
		}
		h.seen[id] = true
		h.found = append(h.found, Target{
			Access: p.access, Account: aws.ToString(i.OwnerId), Region: cfg.Region, ID: aws.ToString(i.ImageId), Name: aws.ToString(i.Name),
			Created: aws.ToString(i.CreationDate), State: string(i.State), Template: tagOf(i.Tags, amazon.TagTemplate), Build: tagOf(i.Tags, amazon.TagBuild),
			Snapshots: snapshotsOf(i), Protected: isProtected(i), image: i,
		})
	}
	return images, nil
}

// finish finds out what uses the images, and puts them in order.
func (h *hunt) finish(ctx context.Context) ([]Target, error) {
	byPlace := map[string][]int{}
	for n, t := range h.found {
		byPlace[t.Access.Where()] = append(byPlace[t.Access.Where()], n)
	}
	for _, numbers := range byPlace {
		a := h.found[numbers[0]].Access
		cfg, err := h.cloud.Config(ctx, a)
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, n := range numbers {
			ids = append(ids, h.found[n].ID)
		}
		used, err := uses(ctx, ec2.NewFromConfig(cfg), ids)
		if err != nil {
			return nil, h.cloud.Explain(ctx, a, err)
		}
		for _, n := range numbers {
			h.found[n].Uses = used[h.found[n].ID]
		}
	}
	slices.SortFunc(h.found, func(a, b Target) int {
		return strings.Compare(a.Account+a.Region+a.Created+a.ID, b.Account+b.Region+b.Created+b.ID)
	})
	return h.found, nil
}

// Destroy deregisters an image and deletes its snapshots, but for those that
// another image has. With unprotect it ends the image's protection first. What
// is gone already is no error.
func Destroy(ctx context.Context, cloud *amazon.Cloud, t Target, unprotect bool) error {
	cfg, err := cloud.Config(ctx, t.Access)
	if err != nil {
		return err
	}
	client := ec2.NewFromConfig(cfg)
	if t.Protected {
		if !unprotect {
			return &amazon.Explained{Err: fmt.Errorf("image %s in %s is protected against being deregistered", t.ID, t.Region), Cure: "--unprotect ends the protection first"}
		}
		if _, err := client.DisableImageDeregistrationProtection(ctx, &ec2.DisableImageDeregistrationProtectionInput{ImageId: &t.ID}); err != nil {
			return cloud.Explain(ctx, t.Access, fmt.Errorf("ending the protection of image %s: %w", t.ID, err))
		}
	}
	p := &place{cloud: cloud, access: t.Access, ec2: client, label: t.Region, silent: true}
	if err := p.returnKeys(ctx, t.image); err != nil {
		return err
	}
	if err := removeImage(ctx, client, t.image); err != nil {
		if amazon.IsCode(err, "OperationNotPermitted") && t.Protected {
			return &amazon.Explained{Err: fmt.Errorf("removing image %s in %s: %w", t.ID, t.Region, err), Cure: "it was protected with a cooldown: try again in 24 hours"}
		}
		return cloud.Explain(ctx, t.Access, fmt.Errorf("removing image %s in %s: %w", t.ID, t.Region, err))
	}
	return nil
}

// SourceAccess is where the plan's images are made, as far as the sources say:
// that of the first that names a region, a profile or a role.
func SourceAccess(p *builder.Plan) (amazon.Access, error) {
	for _, b := range p.Builds {
		if len(b.Steps) == 0 || b.Steps[0].Phase != builder.Open || b.Steps[0].Kind != Kind {
			continue
		}
		block, err := templates.FromJSON(b.Steps[0].Config, b.Steps[0].Pos, nil)
		if err != nil {
			return amazon.Access{}, err
		}
		var a amazon.Access
		if block.Has("region") {
			a.Region, _ = block.At("region").Text()
		}
		if block.Has("profile") {
			a.Profile, _ = block.At("profile").Text()
		}
		for i := 0; block.Has("assume_role", fmt.Sprint(i)); i++ {
			var r amazon.Role
			if err := templates.Decode(block.At("assume_role", fmt.Sprint(i)), &r).Err(); err != nil {
				return amazon.Access{}, err
			}
			a.Roles = append(a.Roles, r)
		}
		if a.Where() != "" {
			return a, nil
		}
	}
	return amazon.Access{}, nil
}
