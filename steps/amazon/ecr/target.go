package ecr

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"

	"bake/internal/registry"
	"bake/steps/amazon"
)

// A target is one repository that the image goes to.
type target struct {
	place
	name  string // of the repository
	first bool   // the one that later outputs see

	// address is how the user wrote a repository of ECR Public; empty: its name alone.
	address string

	api     *ecr.Client       // nil for ECR Public
	publics *ecrpublic.Client // nil for a private registry
	repo    repository
	push    *registry.Pushing
	tags    []string

	pushed registry.Pushed
	scan   *scanned
	notes  []string // what was changed beside the push
}

// String names the target in errors and logs.
func (t *target) String() string {
	where := t.access.Region
	if t.public {
		where = PublicHost
	}
	if t.account != "" {
		where += " of " + t.account
	}
	return t.name + " in " + where
}

// targets lists where the image goes, the first first and none twice.
func (o *Output) targets(ctx context.Context) ([]*target, error) {
	access := o.access()
	if access.Region == "" && len(o.Regions) == 0 && !o.isPublic() {
		var err error
		if access.Region, err = o.deps.Cloud.Region(ctx, access); err != nil {
			return nil, o.deps.Cloud.Explain(ctx, access, err)
		}
	}
	return o.targetsFrom(access), nil
}

// access is where and as whom the template says that the image is pushed.
func (o *Output) access() amazon.Access {
	host, _, _ := splitName(o.Repository)
	return o.Access.In(cmp.Or(o.Region, host.Region))
}

// targetsFrom is targets for an access whose region is known, if none is named.
func (o *Output) targetsFrom(access amazon.Access) []*target {
	host, path, hasHost := splitName(o.Repository)
	name, _ := cutTag(path)
	if o.isPublic() {
		t := &target{place: place{access: o.Access.In(publicRegion), public: true}, name: name, first: true}
		if hasHost { // the first part is the registry's alias
			_, t.name, _ = strings.Cut(name, "/")
			t.address = PublicHost + "/" + name
		}
		return []*target{t}
	}
	account := cmp.Or(o.Account, host.Account)
	regions := slices.Clone(o.Regions)
	if len(regions) == 0 || access.Region != "" && !slices.Contains(regions, access.Region) {
		regions = append([]string{access.Region}, regions...)
	}
	var all []*target
	add := func(t *target) {
		if !slices.ContainsFunc(all, func(o *target) bool { return o.key() == t.key() && o.name == t.name }) {
			t.first = len(all) == 0
			all = append(all, t)
		}
	}
	for _, r := range regions {
		add(&target{place: place{access: access.In(r), account: account}, name: name})
	}
	for _, d := range o.Also {
		to := d.Access
		to.Region = cmp.Or(to.Region, regions[0])
		if to.Profile == "" && len(to.Roles) == 0 {
			to.Profile, to.Roles = access.Profile, access.Roles
		}
		add(&target{place: place{access: to, account: d.Account}, name: cmp.Or(d.Repository, name)})
	}
	return all
}

// pushTags are the tags the image gets.
func (o *Output) pushTags() []string {
	_, path, _ := splitName(o.Repository)
	_, tag := cutTag(path)
	tags := slices.Clone([]string(o.Tags))
	if tag != "" {
		tags = append([]string{tag}, slices.DeleteFunc(tags, func(t string) bool { return t == tag })...)
	}
	if len(tags) == 0 {
		tags = []string{"latest"}
	}
	return tags
}

// connect makes the target's client of the API.
func (t *target) connect(ctx context.Context, o *Output) error {
	cfg, err := o.deps.Cloud.Config(ctx, t.access)
	if err != nil {
		return fmt.Errorf("repository %s: %w", t, err)
	}
	if t.public {
		t.publics = ecrpublic.NewFromConfig(cfg)
	} else {
		t.api = ecr.NewFromConfig(cfg)
	}
	return nil
}
