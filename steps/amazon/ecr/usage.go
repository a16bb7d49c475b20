package ecr

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"golang.org/x/sync/errgroup"

	"bake/internal/registry"
	"bake/steps/amazon"
)

// A usage is which images ECS uses: those that tasks run now, those that the
// task definitions of services and their deployments name, and those of every
// family's newest revision, which schedules and other services start.
type usage struct {
	cloud *amazon.Cloud

	mu sync.Mutex
	// byRepository holds digests and tags, by the repository's name alone: the
	// same repository in another region or account counts as well.
	byRepository map[string]map[string]bool
}

// calls at once; ECS allows some 20 reads a second.
const readers = 4

// of returns digests and tags of a repository that are in use.
func (u *usage) of(repository string) map[string]bool { return u.byRepository[repository] }

func (u *usage) add(image, digest string) {
	ref, err := registry.ParseReference(image, false)
	if err != nil {
		return // nothing that could be in ECR
	}
	path := ref.Repository.RepositoryStr()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byRepository == nil {
		u.byRepository = map[string]map[string]bool{}
	}
	if u.byRepository[path] == nil {
		u.byRepository[path] = map[string]bool{}
	}
	for _, id := range []string{ref.Tag, ref.Digest, digest} {
		if id != "" {
			u.byRepository[path][id] = true
		}
	}
}

// read asks ECS in every place.
func (u *usage) read(ctx context.Context, places []amazon.Access) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range places {
		g.Go(func() error {
			cfg, err := u.cloud.Config(ctx, p)
			if err == nil {
				err = (&reader{usage: u, api: ecs.NewFromConfig(cfg), definitions: map[string]bool{}}).read(ctx)
			}
			if err != nil {
				return u.cloud.Explain(ctx, p, fmt.Errorf("asking ECS in %s: %w", p.Region, err))
			}
			return nil
		})
	}
	return g.Wait()
}

// A reader asks ECS in one place.
type reader struct {
	*usage
	api *ecs.Client

	lock        sync.Mutex
	definitions map[string]bool // ARNs, or families, to look at
}

func (r *reader) see(definition *string) {
	if aws.ToString(definition) != "" {
		r.lock.Lock()
		defer r.lock.Unlock()
		r.definitions[*definition] = true
	}
}

func (r *reader) read(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	g.Go(func() error { return r.families(gctx) })
	clusters := ecs.NewListClustersPaginator(r.api, &ecs.ListClustersInput{})
	for clusters.HasMorePages() {
		page, err := clusters.NextPage(gctx)
		if err != nil {
			return firstError(g.Wait(), fmt.Errorf("listing clusters: %w", err))
		}
		for _, c := range page.ClusterArns {
			g.Go(func() error { return r.services(gctx, c) })
			g.Go(func() error { return r.tasks(gctx, c) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	g, gctx = errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for d := range r.definitions {
		g.Go(func() error { return r.definition(gctx, d) })
	}
	return g.Wait()
}

// firstError is the cause: what a group's own error has cancelled says less.
func firstError(group, other error) error {
	if group != nil {
		return group
	}
	return other
}

func (r *reader) families(ctx context.Context) error {
	pages := ecs.NewListTaskDefinitionFamiliesPaginator(r.api, &ecs.ListTaskDefinitionFamiliesInput{Status: types.TaskDefinitionFamilyStatusActive})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("listing task definitions: %w", err)
		}
		for _, f := range page.Families {
			r.see(&f)
		}
	}
	return nil
}

func (r *reader) services(ctx context.Context, cluster string) error {
	pages := ecs.NewListServicesPaginator(r.api, &ecs.ListServicesInput{Cluster: &cluster, MaxResults: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("listing services of %s: %w", cluster, err)
		}
		for some := range slices.Chunk(page.ServiceArns, 10) {
			out, err := r.api.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &cluster, Services: some})
			if err != nil {
				return fmt.Errorf("describing services of %s: %w", cluster, err)
			}
			for _, s := range out.Services {
				r.see(s.TaskDefinition)
				for _, d := range s.Deployments {
					r.see(d.TaskDefinition)
				}
				for _, set := range s.TaskSets {
					r.see(set.TaskDefinition)
				}
			}
		}
	}
	return nil
}

func (r *reader) tasks(ctx context.Context, cluster string) error {
	pages := ecs.NewListTasksPaginator(r.api, &ecs.ListTasksInput{Cluster: &cluster})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("listing tasks of %s: %w", cluster, err)
		}
		for some := range slices.Chunk(page.TaskArns, 100) {
			out, err := r.api.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &cluster, Tasks: some})
			if err != nil {
				return fmt.Errorf("describing tasks of %s: %w", cluster, err)
			}
			for _, t := range out.Tasks {
				r.see(t.TaskDefinitionArn)
				for _, c := range t.Containers {
					r.add(aws.ToString(c.Image), aws.ToString(c.ImageDigest))
				}
			}
		}
	}
	return nil
}

func (r *reader) definition(ctx context.Context, id string) error {
	out, err := r.api.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: &id})
	if amazon.IsCode(err, "ClientException") && !strings.HasPrefix(id, "arn:") {
		return nil // a family whose revisions are all gone by now
	}
	if err != nil {
		return fmt.Errorf("reading task definition %s: %w", id, err)
	}
	if out.TaskDefinition != nil {
		for _, c := range out.TaskDefinition.ContainerDefinitions {
			r.add(aws.ToString(c.Image), "")
		}
	}
	return nil
}
