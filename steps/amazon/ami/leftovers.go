package ami

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"golang.org/x/sync/errgroup"

	"bake/builder"
	"bake/steps/amazon"
)

// A Leftover is something that a run made and did not remove.
type Leftover struct {
	builder.Resource
	Run      builder.RunID
	Template string
	Expires  time.Time // zero: it says nothing of that
}

// abandoned is after how long a candidate image, which has no time of its own
// to expire, is one that nobody will accept.
const abandoned = 24 * time.Hour

// Leftovers finds what runs left behind in all regions of an access's account,
// by their tags: whatever belongs to a run that alive does not know and is
// temporary. What has not expired yet is left out unless all is true: it may
// belong to a run on another machine. It only reads; delete what it returns
// with Cleaners, in its order. unseen says where it may not look: some regions,
// as an organization may forbid them, or IAM's roles. To look nowhere is an error.
func Leftovers(ctx context.Context, cloud *amazon.Cloud, a amazon.Access, alive func(builder.RunID) bool, all bool) (found []Leftover, unseen []error, err error) {
	cfg, err := cloud.Config(ctx, a)
	if err != nil {
		return nil, nil, err
	}
	out, err := ec2.NewFromConfig(cfg).DescribeRegions(ctx, &ec2.DescribeRegionsInput{})
	if err != nil {
		return nil, nil, cloud.Explain(ctx, a, fmt.Errorf("listing the regions: %w", err))
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	add := func(list []Leftover, err error) error {
		mu.Lock()
		defer mu.Unlock()
		found = append(found, list...)
		if closed, ok := errors.AsType[*closedError](err); ok {
			unseen = append(unseen, closed)
			return nil
		}
		return err
	}
	g.Go(func() error { return add(profileLeftovers(gctx, cloud, a.In(cfg.Region))) })
	for _, r := range out.Regions {
		g.Go(func() error { return add(regionLeftovers(gctx, cloud, a.In(aws.ToString(r.RegionName)))) })
	}
	err = g.Wait()
	if err == nil && len(unseen) >= len(out.Regions) {
		err = unseen[len(unseen)-1]
	}
	if err != nil {
		return nil, nil, cloud.Explain(ctx, a, err)
	}
	now := time.Now()
	found = slices.DeleteFunc(found, func(l Leftover) bool { return alive(l.Run) || !all && (l.Expires.IsZero() || l.Expires.After(now)) })
	slices.SortStableFunc(found, func(x, y Leftover) int {
		return order(x.Kind) - order(y.Kind)
	})
	return found, unseen, nil
}

// order is in which leftovers are deleted: what uses others first.
func order(kind string) int {
	return slices.Index([]string{kindInstance, kindVolume, kindImage, kindSnapshot, kindGroup, kindKeyPair, kindProfile}, kind)
}

// regionLeftovers asks for everything in a region that has the tag of a run:
// one call for all kinds of resources.
func regionLeftovers(ctx context.Context, cloud *amazon.Cloud, a amazon.Access) ([]Leftover, error) {
	cfg, err := cloud.Config(ctx, a)
	if err != nil {
		return nil, err
	}
	client := ec2.NewFromConfig(cfg)
	tags := map[string]map[string]string{}
	kinds := map[string]types.ResourceType{}
	pages := ec2.NewDescribeTagsPaginator(client, &ec2.DescribeTagsInput{Filters: []types.Filter{amazon.Filter("key", "bake:*")}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, closed(fmt.Errorf("looking for leftovers in %s: %w", a.Region, err))
		}
		for _, t := range page.Tags {
			id := aws.ToString(t.ResourceId)
			if tags[id] == nil {
				tags[id] = map[string]string{}
			}
			tags[id][aws.ToString(t.Key)], kinds[id] = aws.ToString(t.Value), t.ResourceType
		}
	}
	var found []Leftover
	for id, t := range tags {
		kind := map[types.ResourceType]string{types.ResourceTypeInstance: kindInstance, types.ResourceTypeVolume: kindVolume, types.ResourceTypeImage: kindImage,
			types.ResourceTypeSnapshot: kindSnapshot, types.ResourceTypeSecurityGroup: kindGroup, types.ResourceTypeKeyPair: kindKeyPair}[kinds[id]]
		if kind == "" || t[amazon.TagRun] == "" || t[amazon.TagState] == stateReady {
			continue
		}
		l := Leftover{Resource: builder.Resource{Kind: kind, Name: id, Where: a.Where(), Token: t[amazon.TagToken], ID: id},
			Run: builder.RunID(t[amazon.TagRun]), Template: t[amazon.TagTemplate], Expires: expiry(t[amazon.TagExpires])}
		found = append(found, l)
	}
	return checkLeftovers(ctx, client, found)
}

func expiry(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

// checkLeftovers drops what is gone or goes with something else: instances
// that have ended keep their tags for an hour, and an image's snapshots are
// deleted with it. Key pairs are deleted by name.
func checkLeftovers(ctx context.Context, client *ec2.Client, found []Leftover) ([]Leftover, error) {
	ids := map[string][]string{}
	for _, l := range found {
		ids[l.Kind] = append(ids[l.Kind], l.ID)
	}
	state, owner := map[string]string{}, map[string]string{}
	if list := ids[kindInstance]; len(list) > 0 {
		out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{amazon.Filter("instance-id", list...)}})
		if err != nil {
			return nil, err
		}
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				state[aws.ToString(i.InstanceId)] = string(i.State.Name)
			}
		}
	}
	if list := ids[kindKeyPair]; len(list) > 0 {
		out, err := client.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{Filters: []types.Filter{amazon.Filter("key-pair-id", list...)}})
		if err != nil {
			return nil, err
		}
		for _, k := range out.KeyPairs {
			owner[aws.ToString(k.KeyPairId)] = aws.ToString(k.KeyName)
		}
	}
	made := map[string]time.Time{}
	if list := ids[kindImage]; len(list) > 0 {
		out, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []types.Filter{amazon.Filter("image-id", list...)}})
		if err != nil {
			return nil, err
		}
		for _, i := range out.Images {
			made[aws.ToString(i.ImageId)] = expiry(aws.ToString(i.CreationDate))
		}
	}
	images := map[string]bool{} // tokens: their snapshots go with them
	var left []Leftover
	for _, l := range found {
		switch l.Kind {
		case kindInstance:
			if s := state[l.ID]; s == "" || s == "terminated" || s == "shutting-down" {
				continue
			}
		case kindKeyPair:
			if l.ID = owner[l.ID]; l.ID == "" {
				continue
			}
		case kindImage:
			at, ok := made[l.ID]
			if !ok {
				continue
			}
			l.Expires, images[l.Token] = at.Add(abandoned), true
		}
		left = append(left, l)
	}
	return slices.DeleteFunc(left, func(l Leftover) bool { return l.Kind == kindSnapshot && (images[l.Token] || l.Expires.IsZero()) }), nil
}

// profileLeftovers lists temporary instance profiles: they lie in a path of
// their own.
func profileLeftovers(ctx context.Context, cloud *amazon.Cloud, a amazon.Access) ([]Leftover, error) {
	cfg, err := cloud.Config(ctx, a)
	if err != nil {
		return nil, err
	}
	client := iam.NewFromConfig(cfg)
	var found []Leftover
	names := map[string]bool{}
	roles := iam.NewListRolesPaginator(client, &iam.ListRolesInput{PathPrefix: aws.String(profilePath)})
	for roles.HasMorePages() {
		page, err := roles.NextPage(ctx)
		if err != nil {
			return nil, closed(fmt.Errorf("looking for leftover roles: %w", err))
		}
		for _, r := range page.Roles {
			names[aws.ToString(r.RoleName)] = true
		}
	}
	for name := range names {
		if !strings.HasPrefix(name, "bake-") {
			continue
		}
		out, err := client.ListRoleTags(ctx, &iam.ListRoleTagsInput{RoleName: &name})
		if amazon.IsCode(err, "NoSuchEntity") {
			continue
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("looking for leftover role %s", name), err)
		}
		t := map[string]string{}
		for _, tag := range out.Tags {
			t[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
		found = append(found, Leftover{Resource: builder.Resource{Kind: kindProfile, Name: name, Where: a.Where(), Token: t[amazon.TagToken], ID: name},
			Run: builder.RunID(t[amazon.TagRun]), Template: t[amazon.TagTemplate], Expires: expiry(t[amazon.TagExpires])})
	}
	return found, nil
}

// A closedError is where the caller may not even ask what there is.
type closedError struct{ error }

func (e *closedError) Unwrap() error { return e.error }

// closed tells a denial from other errors.
func closed(err error) error {
	if amazon.IsCode(err, "AccessDenied", "AccessDeniedException", "UnauthorizedOperation") {
		return &closedError{err}
	}
	return err
}
