package image

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"bake/builder"
	"bake/steps/amazon"
)

// A reach is where an AMI is: in its own account, by region.
type reach struct {
	access amazon.Access     // of the region it was made in
	images map[string]string // region -> id of the AMI there
}

// reachOf tells where the AMI is: where it was made, and where the `ami` output
// before this one has copied it to.
func reachOf(sc *builder.Scope, in builder.AMI) (reach, error) {
	r := reach{access: amazon.Access{Region: in.Region}, images: map[string]string{in.Region: in.ID}}
	if in.Access != "" {
		var err error
		if r.access, err = amazon.ParseAccess(in.Access); err != nil {
			return r, err
		}
	}
	for _, one := range strings.Split(sc.Outputs[Kind]["images"], ",") {
		if region, id, ok := strings.Cut(one, "="); ok && !strings.Contains(region, "/") { // other accounts have their own
			r.images[region] = id
		}
	}
	return r, nil
}

// regions returns those asked for, all if none is.
func (r reach) regions(asked []string) ([]string, error) {
	if len(asked) == 0 {
		return slices.Sorted(maps.Keys(r.images)), nil
	}
	for _, region := range asked {
		if r.images[region] == "" {
			return nil, &amazon.Explained{
				Err:  fmt.Errorf("the AMI is not in %s", region),
				Cure: "name the region in regions: of an `ami` output before this one",
			}
		}
	}
	return asked, nil
}

// each calls do for every region at once and joins what goes wrong.
func each(ctx context.Context, regions []string, do func(ctx context.Context, i int, region string) error) []error {
	errs := make([]error, len(regions))
	var all sync.WaitGroup
	for i, region := range regions {
		all.Go(func() {
			if err := do(ctx, i, region); err != nil {
				errs[i] = fmt.Errorf("%s: %w", region, err)
			}
		})
	}
	all.Wait()
	return errs
}
