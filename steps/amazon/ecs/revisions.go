package ecs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"golang.org/x/sync/errgroup"
)

// A Revision is one revision of a task definition.
type Revision struct {
	Name       string            `json:"name"` // "api:42"
	ARN        string            `json:"arn"`
	Registered time.Time         `json:"registered,omitzero"`
	Images     map[string]string `json:"images"`
	Uses       []string          `json:"uses,omitempty"` // what needs it: services, tasks, "last good of service api"
}

// Revisions lists the active revisions of a family, newest first, with what
// uses them in this cluster.
func (c *Client) Revisions(ctx context.Context, family string, limit int) ([]Revision, error) {
	arns, err := c.activeRevisions(ctx, family)
	if err != nil {
		return nil, err
	}
	if limit > 0 && len(arns) > limit {
		arns = arns[:limit]
	}
	uses, err := c.uses(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Revision, len(arns))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, arn := range arns {
		g.Go(func() error {
			td, err := c.revision(gctx, arn)
			if err != nil {
				return err
			}
			out[i] = Revision{Name: short(arn), ARN: arn, Registered: aws.ToTime(td.RegisteredAt), Images: c.imagesOf(gctx, arn), Uses: uses[short(arn)]}
			return nil
		})
	}
	return out, g.Wait()
}

// activeRevisions lists the ARNs of a family's active revisions, newest first.
// AWS filters by the beginning of the family's name; others are dropped here.
func (c *Client) activeRevisions(ctx context.Context, family string) ([]string, error) {
	var arns []string
	in := &awsecs.ListTaskDefinitionsInput{FamilyPrefix: &family, Status: types.TaskDefinitionStatusActive, Sort: types.SortOrderDesc}
	for p := awsecs.NewListTaskDefinitionsPaginator(c.ecs, in); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("revisions of %s: %w", family, c.explain(ctx, err))
		}
		for _, arn := range page.TaskDefinitionArns {
			if name, _, _ := strings.Cut(short(arn), ":"); name == family {
				arns = append(arns, arn)
			}
		}
	}
	slices.SortFunc(arns, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(b, a)) })
	return arns, nil
}

// uses says what needs each revision, by its short name: services of every
// cluster of the region, with all their deployments and the revision that
// they would go back to, and tasks that run.
func (c *Client) uses(ctx context.Context) (map[string][]string, error) {
	clusters, err := c.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	uses := map[string][]string{}
	add := func(revision, by string) {
		if revision != "" && !slices.Contains(uses[revision], by) {
			uses[revision] = append(uses[revision], by)
		}
	}
	for _, k := range clusters {
		in := *c.in(k.ARN)
		services, err := in.Services(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range services {
			add(s.Revision, "service "+k.Name+"/"+s.Service)
			add(s.Good, "last good of service "+k.Name+"/"+s.Service)
			for _, d := range s.Deployments {
				add(d.Revision, "service "+k.Name+"/"+s.Service)
			}
		}
		tasks, err := in.Tasks(ctx, "")
		if err != nil {
			return nil, err
		}
		for _, t := range tasks {
			add(t.Revision, "tasks")
		}
	}
	return uses, nil
}

// in returns the client for another cluster.
func (c *Client) in(cluster string) *Client {
	return &Client{Cluster: cluster, deps: c.deps, access: c.access, cfg: c.cfg, ecs: c.ecs, logs: c.logs, elb: c.elb, alarms: c.alarms, iam: c.iam,
		secrets: c.secrets, ssm: c.ssm, ec2: c.ec2, scaling: c.scaling, quotas: c.quotas, revisions: map[string]*types.TaskDefinition{}}
}

// Prune deregisters the active revisions of a family but the newest keep of
// them. One that a service runs or would go back to, or that a task runs, is
// never deregistered. remove also deletes what was deregistered.
func (c *Client) Prune(ctx context.Context, family string, keep int, remove bool) ([]Revision, error) {
	all, err := c.Revisions(ctx, family, 0)
	if err != nil {
		return nil, err
	}
	gone := []Revision{}
	for i, r := range all {
		if i < keep || len(r.Uses) > 0 {
			continue
		}
		if _, err := c.ecs.DeregisterTaskDefinition(ctx, &awsecs.DeregisterTaskDefinitionInput{TaskDefinition: &r.ARN}); err != nil {
			return gone, fmt.Errorf("deregistering %s: %w", r.Name, c.explain(ctx, err))
		}
		gone = append(gone, r)
	}
	if !remove {
		return gone, nil
	}
	for batch := range slices.Chunk(gone, 10) {
		var arns []string
		for _, r := range batch {
			arns = append(arns, r.ARN)
		}
		out, err := c.ecs.DeleteTaskDefinitions(ctx, &awsecs.DeleteTaskDefinitionsInput{TaskDefinitions: arns})
		if err != nil {
			return gone, fmt.Errorf("deleting revisions of %s: %w", family, c.explain(ctx, err))
		}
		for _, f := range out.Failures {
			return gone, fmt.Errorf("deleting %s: %s %s", short(aws.ToString(f.Arn)), aws.ToString(f.Reason), aws.ToString(f.Detail))
		}
	}
	return gone, nil
}

// Family is the family of what a service runs.
func (c *Client) Family(ctx context.Context, service string) (string, error) {
	s, err := c.mustService(ctx, service)
	if err != nil {
		return "", err
	}
	family, _, _ := strings.Cut(short(aws.ToString(s.TaskDefinition)), ":")
	return family, nil
}
